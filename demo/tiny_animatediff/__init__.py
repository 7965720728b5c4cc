"""A tiny AnimateDiff, small enough to commit, and the proof that motions carry over on it in a real ComfyUI.

- ``image_unet``, ``pretrain``, ``export``: ComfyUI's own SD1.5 UNet class with 96 channels and three levels, trained on
  single frames of the sprite world, then a motion module of version 3's layout trained on clips beside the frozen UNet.
  Text encoder and VAE are those of ``demo.tiny_model``, unchanged.
- ``comfyui_node``: gives the image model as stock MODEL, CLIP and VAE. It is the demo's, not the pack's.
- ``evaluate``: what the pictures and clips show, against what their prompts ask for.
- ``prove``: learns the motion of held-out clips with the pack's nodes over HTTP, puts them into new scenes, measures.

``make tiny-animatediff`` does all of it anew; the figures are in ``benchmarks/RESULTS.md``.
"""
