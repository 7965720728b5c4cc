"""What is known of a motion embedding, in words."""

from __future__ import annotations

import torch

from .backbones import title_of
from .embedding import MotionEmbedding

_HALF = 2


def saved_bytes(motion: MotionEmbedding) -> int:
    """Bytes of its tensors in a file of half precision whose values are saved full; a camera motion uses none."""
    camera = motion.debias.value == "camera"
    numbers = sum(layer.query_key.numel() for layer in motion.layers.values()) if camera else motion.parameters
    return _HALF * (numbers + (0 if motion.inverted_noise is None else motion.inverted_noise.numel()))


def facts(motion: MotionEmbedding) -> dict[str, str]:
    """What to tell a person, by its name; what is not known is left out."""
    training = motion.training
    found = {"family": title_of(motion.backbone), "layers": str(len(motion.layers)), "frames": _frames(motion)}
    if motion.fps:
        found["rate"] = f"{motion.fps:g} fps"
    if motion.height:
        found["size"] = f"latent {motion.width}x{motion.height}"
    found["holds"] = f"{_count(motion.parameters)} values, {_bytes(saved_bytes(motion))} saved full in half precision"
    if motion.file_bytes:
        found["file"] = _bytes(motion.file_bytes)
    if motion.values_error:
        found["compact"] = f"values {motion.values_error:.0%} off what was learnt"
    found["debias"] = _debias(motion)
    if recipe := _recipe(training):
        found["trained"] = recipe
    if motion.inverted_noise is not None:
        frames, height, width = motion.inverted_noise.shape[1:]
        found["noise"] = f"its clip's inverted noise is in it, {frames} frames of {width}x{height}"
    else:
        found["noise"] = "no inverted noise in it"
    if motion.boundary:
        found["two models"] = f"that change over at noise level {motion.boundary:g}"
    if isinstance(training.get("prompt"), str) and training["prompt"].strip():
        found["prompt"] = training["prompt"].strip()
    if broken := _broken(motion):
        found["trouble"] = f"{broken} values are no numbers; train it again, with a smaller learning_rate"
    return found


def as_text(found: dict[str, str]) -> str:
    """One line each."""
    return "\n".join(f"{name}: {value}" for name, value in found.items())


def _frames(motion: MotionEmbedding) -> str:
    if motion.video_frames == motion.frames:
        return str(motion.frames)
    return f"{motion.frames} latent, {motion.video_frames} of video"


def _count(numbers: int) -> str:
    return f"{numbers / 1e6:.2f} M" if numbers >= 1e4 else str(numbers)


def _bytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _recipe(training) -> str:
    done, steps = training.get("done", training.get("steps")), training.get("steps")
    parts = [] if done is None else [f"{done} steps" if done == steps or steps is None else f"{done} of {steps} steps"]
    if "loss" in training:
        parts.append(f"loss {training['loss']}")
    if isinstance(training.get("final_loss"), int | float):
        parts.append(f"final loss {training['final_loss']:.4g}")
    return ", ".join(parts)


_VALUES = {
    "plain": "values are used as learnt",
    "difference": "values are used as changes between frames",
    "difference_without_first": "values are used as changes between frames, the first frame's not at all",
    "without_mean": "values are used without what all frames share",
    "camera": "values are not used: camera motion only",
}


def _debias(motion: MotionEmbedding) -> str:
    debias = motion.debias
    text = _VALUES[debias.value]
    text += "" if debias.query_key == "plain" else "; query-keys without what all frames share"
    text += "" if debias.rescale == "off" else f"; rescaled by {debias.rescale}"
    return text + ("" if debias.until == 1 else f"; acts in the first {debias.until:.0%} of the sampling")


def _broken(motion: MotionEmbedding) -> int:
    return sum(int((~torch.isfinite(tensor)).sum()) for tensor in motion.tensors)
