"""What the features of an image and text encoder say about a result: text, steadiness, leaked appearance.

All three are means of cosines, so features need not be normalised. The encoder is the caller's choice: CLIP
for text similarity and temporal consistency, DINO or CLIP for appearance. Scores of different encoders must not
be compared: every table states the encoder's ``name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Encoder(Protocol):
    """Pictures and, where it has a text tower, texts as vectors of one space."""

    name: str

    def images(self, frames: np.ndarray) -> np.ndarray:
        """uint8 ``[F, H, W, 3]`` to float32 ``[F, D]``, not normalised."""
        ...

    def texts(self, prompts: Sequence[str]) -> np.ndarray:
        """``T`` prompts to float32 ``[T, D]``.

        Raises:
            NotImplementedError: when the encoder has no text tower.
        """
        ...


def text_similarity(frames: np.ndarray, text: np.ndarray) -> float:
    """Mean over frames of the cosine of frame and prompt: ``mean_f cos(v_f, t)``.

    The CLIP score of Radford et al. (arXiv 2103.00020) as used for video since Tune-A-Video (arXiv 2212.11565),
    without the factor 100 or 2.5 that some papers apply.

    Args:
        frames: ``[F, D]`` features of the result's frames.
        text: ``[D]`` feature of the prompt.

    Returns:
        In [-1, 1]; CLIP's usual values are 0.2 to 0.35.
    """
    return float((_unit(frames) @ _unit(text)).mean())


def temporal_consistency(frames: np.ndarray) -> float:
    """Mean cosine of consecutive frames: ``mean_f cos(v_f, v_(f+1))`` (Gen-1, arXiv 2302.03011).

    A still picture scores 1, so read it beside the motion fidelity, never alone.

    Args:
        frames: ``[F, D]``, F at least 2.

    Raises:
        ValueError: for fewer than two frames.
    """
    if len(frames) < 2:
        raise ValueError("temporal consistency needs at least two frames")
    unit = _unit(frames)
    return float((unit[:-1] * unit[1:]).sum(-1).mean())


def appearance_leakage(result: np.ndarray, reference: np.ndarray, unrelated: Sequence[np.ndarray]) -> float:
    """How much more the result looks like its reference than like clips it has never seen.

        leakage = s(result, reference) - mean_u s(result, u),    s(a, b) = mean over all pairs of frames of the cosine

    All pairs, not equal instants: appearance leaks without regard to time. The second term takes away what any
    two videos have in common for this encoder (a cosine of 0.5 between unrelated pictures is usual for CLIP).

    Args:
        result, reference: ``[F, D]`` and ``[G, D]`` features of the same encoder.
        unrelated: ``[H, D]`` of clips other than the reference, best the other references of the benchmark.

    Returns:
        In [-2, 2]; about 0 when nothing has leaked.

    Raises:
        ValueError: when there is no unrelated clip.
    """
    if not len(unrelated):
        raise ValueError("appearance leakage is a difference to unrelated clips, and there is none")
    return _resemblance(result, reference) - float(np.mean([_resemblance(result, other) for other in unrelated]))


def _resemblance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean cosine of all pairs: that of unit vectors is the product of their means."""
    return float(_unit(first).mean(0) @ _unit(second).mean(0))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors ``[..., D]`` of length 1, in float64; a zero vector stays zero."""
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
