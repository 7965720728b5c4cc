"""The proof: motions carry over on a video transformer, in a real ComfyUI, through the pack's own nodes.

    python -m demo.tiny_wan.prove [--references circle bounce ...] [--scenes 3]

For each reference clip a motion is learnt and put into new scenes, next to the same seeds without it. Videos, a contact
sheet and ``metrics.json`` are written under ``demo/output/tiny_wan``.
"""

from __future__ import annotations

from pathlib import Path

from ..host import link, prepare_base
from ..proving import Proof, node
from ..tiny_model.world import FRAMES, SIZE
from .files import MODEL

NODE = Path(__file__).parent / "comfyui_node"
# The stock empty latent is made for a VAE that shrinks a picture eightfold and four frames to one; this one shrinks
# pictures fourfold and no frames.
_EMPTY, _LENGTH = 2 * SIZE, 4 * (FRAMES - 1) + 1


def install(base: Path, model: Path = MODEL) -> Path:
    """Make ``base`` a ComfyUI base directory with the pack, the demo's node and the transformer; returns it."""
    base = prepare_base(base)
    folder = base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    link(folder / MODEL.name, model.resolve())
    link(base / "custom_nodes" / "motion_embeddings_demo", NODE)
    return base


PROOF = Proof(
    name="tiny_wan",
    title="Wan 2.1",
    install=install,
    loading={
        "model": node("UNETLoader", "Transformer", unet_name=MODEL.name, weight_dtype="default"),
        "text": node("ME_Demo_LoadTinyWanTextAndVAE", "Text and VAE"),
        "empty": node("EmptyHunyuanLatentVideo", "Empty", width=_EMPTY, height=_EMPTY, length=_LENGTH, batch_size=1),
    },
    clip=("text", 0),
    vae=("text", 1),
    sampling={"steps": 20, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple"},
)

if __name__ == "__main__":
    PROOF.main()
