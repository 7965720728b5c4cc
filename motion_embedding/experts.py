"""One motion for a model in two halves: Wan 2.2's experts, one for high noise and one for the rest.

Both have the same layers, so that those of a motion for both carry the half's name in front. Whatever edits a motion
layer by layer, saves or loads it, then does so for both halves.
"""

from __future__ import annotations

from dataclasses import dataclass

from .embedding import MotionEmbedding
from .errors import InputError

HIGH, LOW = "high_noise.", "low_noise."


@dataclass(frozen=True)
class Part:
    """A motion as a single model takes it, and the noise levels it is for: ``above <= sigma < below``."""

    embedding: MotionEmbedding
    above: float = float("-inf")
    below: float = float("inf")


def join_experts(high: MotionEmbedding, low: MotionEmbedding, boundary: float) -> MotionEmbedding:
    """``high`` where the noise level is at least ``boundary``, ``low`` below it.

    Debias, size, fps and training record are those of ``high``. Raises :class:`InputError` where the two cannot be
    halves of one motion.
    """
    for name, motion in (("high_noise", high), ("low_noise", low)):
        if motion.boundary:
            raise InputError(name, "it is a motion for both experts already.", "Wire a motion learnt on one model.")
    if (high.backbone, high.frames) != (low.backbone, low.frames):
        raise InputError(
            "low_noise",
            f"it was learnt on {low.describe()}, and high_noise on {high.describe()}.",
            "Train both on the same clip and the same kind of model.",
        )
    halves = ((HIGH, high), (LOW, low))
    layers = {half + name: layer for half, motion in halves for name, layer in motion.layers.items()}
    return high.replace(layers=layers, boundary=boundary)


def parts(embedding: MotionEmbedding, expert: str = "by noise level") -> list[Part]:
    """What of ``embedding`` acts on a model: all of it, or one half of a motion for both experts.

    expert: ``high noise`` or ``low noise`` takes that half at every noise level.
    """
    if not embedding.boundary:
        return [Part(embedding)]
    high, low = (
        embedding.replace(
            layers={k.removeprefix(half): v for k, v in embedding.layers.items() if k.startswith(half)}, boundary=0.0
        )
        for half in (HIGH, LOW)
    )
    if expert != "by noise level":
        return [Part(high if expert == "high noise" else low)]
    return [Part(high, above=embedding.boundary), Part(low, below=embedding.boundary)]
