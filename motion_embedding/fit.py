"""Whether a motion embedding fits the model and the clip it meets."""

from __future__ import annotations

from collections.abc import Sequence

from .applied import Applied
from .backbones import Call, TemporalAttention
from .embedding import MotionEmbedding
from .errors import InputError
from .install import reach


def fit_message(source: Applied, call: Call) -> str | None:
    """What is resampled when the embedding of ``source`` meets this clip, in words."""
    embedding, frames = source.embedding, call.length if source.whole else call.frames
    learnt, given = f"{embedding.frames} frames", f"{frames} frames"
    if embedding.height:  # 0 in an imported camera motion, which has no size
        learnt += f" at latent size {embedding.width}x{embedding.height}"
        given += f" at {call.size[1]}x{call.size[0]}"
    same_size = not embedding.height or (embedding.height, embedding.width) == call.size
    if embedding.frames == frames and same_size:
        return None
    return f"The motion embedding was learnt on {learnt}; it is resampled to the {given} of this latent."


def check_layers(attentions: Sequence[TemporalAttention], embedding: MotionEmbedding, name: str = "motion") -> None:
    """Raise :class:`InputError` about the input ``name`` unless ``attentions`` have the layers of ``embedding``."""
    mend = "Connect the model it was learnt on, or train the motion again on this one."
    if unknown := reach(attentions, embedding.layers):
        cause = f"this model has no layer {unknown[0]!r} ({len(unknown)} of {len(embedding.layers)} are missing)."
        raise InputError(name, cause, mend)
    widths = {a.layer: a.width for a in attentions}
    for layer, rows in embedding.layers.items():
        if rows.width != widths[layer]:
            cause = f"layer {layer!r} is {rows.width} wide, and {widths[layer]} in the connected model."
            raise InputError(name, cause, mend)


def check_range(start_percent: float, end_percent: float) -> None:
    """Raise :class:`InputError` unless the range holds anything."""
    if start_percent >= end_percent:
        raise InputError(
            "start_percent",
            f"{start_percent} is not before the end, {end_percent}.",
            "Lower it, or raise end_percent.",
        )
