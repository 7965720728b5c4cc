"""Where the tiny AnimateDiff lies, and the shape of its UNet; imports nothing of the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..tiny_model import codec, text

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"
IMAGE, MOTION = WEIGHTS / "image.safetensors", WEIGHTS / "motion.safetensors"
TEXT_AND_VAE = HERE.parent / "tiny_model" / "weights"

# Group norms have 32 groups whatever the width; three channels in each still carry an absolute colour.
CONFIG: dict[str, Any] = {
    "image_size": 16,
    "in_channels": codec.CHANNELS,
    "out_channels": codec.CHANNELS,
    "model_channels": 96,
    "channel_mult": [1, 1, 1],
    "num_res_blocks": [1, 1, 1],
    "transformer_depth": [0, 1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [0, 0, 1, 1, 1, 1],
    "num_heads": 6,
    "context_dim": text.HIDDEN,
    "use_spatial_transformer": True,
    "legacy": False,
}
