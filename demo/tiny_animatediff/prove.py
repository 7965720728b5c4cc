"""The proof: motions carry over on AnimateDiff, in a real ComfyUI, through the pack's own nodes.

    python -m demo.tiny_animatediff.prove [--references circle bounce ...] [--scenes 3]

For each reference clip a motion is learnt and put into new scenes, next to the same seeds without it. Videos, a contact
sheet and ``metrics.json`` are written under ``demo/output/tiny_animatediff``.
"""

from __future__ import annotations

from pathlib import Path

from ..host import link, prepare_base
from ..proving import Proof, node
from ..tiny_model.world import FRAMES, SIZE
from .config import MOTION

NODE = Path(__file__).parent / "comfyui_node"
# The stock empty latent is made for VAEs that shrink a picture eightfold; this one shrinks it fourfold.
_EMPTY = 2 * SIZE


def install(base: Path, motion: Path = MOTION) -> Path:
    """Make ``base`` a ComfyUI base directory with the pack, the demo's node and the motion model; returns it."""
    base = prepare_base(base)
    folder = base / "models" / "animatediff_models"
    folder.mkdir(parents=True, exist_ok=True)
    link(folder / motion.name, motion.resolve())
    link(base / "custom_nodes" / "motion_embeddings_demo", NODE)
    return base


_MOTION_MODEL = {"motion_model": MOTION.name, "beta_schedule": "as the model", "strength": 1.0}
PROOF = Proof(
    name="tiny_animatediff",
    title="AnimateDiff",
    install=install,
    loading={
        "base": node("ME_Demo_LoadTinyImageModel", "Image model"),
        "model": node("ME_LoadAnimateDiffModel", "Motion model", model=["base", 0], **_MOTION_MODEL),
        "empty": node("EmptyLatentImage", "Empty", width=_EMPTY, height=_EMPTY, batch_size=FRAMES),
    },
    clip=("base", 1),
    vae=("base", 2),
    sampling={"steps": 20, "cfg": 2.0, "sampler_name": "ddim", "scheduler": "sgm_uniform"},
)

if __name__ == "__main__":
    PROOF.main()
