"""How far the picture that a model starts from is from the clip it shall learn from."""

from __future__ import annotations

import torch

FAR = 0.5


def distance(picture: torch.Tensor, frame: torch.Tensor) -> float:
    """How far two latents ``[C, h, w]`` are apart, in standard deviations of the second within a channel."""
    frame, picture = frame.float(), picture.to(frame.device).float()
    spread = frame.std((-2, -1), correction=0).square().mean().sqrt().clamp(min=1e-6)
    return float((picture - frame).square().mean().sqrt() / spread)


def far_message(node: str) -> str:
    """What to say where the first frames are further apart than :data:`FAR`. node: that takes the picture."""
    return (
        "The picture in positive differs from the first frame of latents. The motion is learnt best where "
        f"they are the same: give {node} the clip's first frame."
    )
