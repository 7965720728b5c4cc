"""Clips of the demo's sprite world, as a graph hands them on."""

from __future__ import annotations

import torch

from demo.references import REFERENCES
from demo.tiny_model.world import Look, render

STAR = Look("red", "star", "navy")


def clip(motion: str, look: Look = STAR) -> torch.Tensor:
    """One of the reference motions: IMAGE ``[F, 64, 64, 3]``."""
    return torch.from_numpy(render(look, REFERENCES[motion][1])).float() / 255
