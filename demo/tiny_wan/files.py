"""Where the tiny Wan lies, and what the stock loader takes for granted; imports nothing of the host."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"
MODEL = WEIGHTS / "tiny_wan.safetensors"
TEXT_AND_VAE = HERE.parent / "tiny_model" / "weights"

CHANNELS, TEXT_WIDTH = 16, 4096
