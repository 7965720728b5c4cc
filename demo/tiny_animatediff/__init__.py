"""A tiny AnimateDiff: an SD1.5-shaped image UNet and a motion model for it, trained on the sprite world.

Text encoder, VAE and noise schedule are those of ``demo/tiny_model``. ``pretrain`` trains the UNet on single frames,
then the motion model on clips with the UNet frozen; ``export`` keeps the result; ``evaluate`` judges what it makes by
itself; ``prove`` learns motions on it in a real ComfyUI, through ``comfyui_node`` and the pack's own nodes.
"""
