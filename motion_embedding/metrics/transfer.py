"""Everything that is measured about one result and its reference.

What costs time (tracking, encoding) is done once per clip by :func:`gather`; :func:`measure` then takes
milliseconds, so that many clips can be compared with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .features import Encoder, appearance_leakage, temporal_consistency, text_similarity
from .fidelity import motion_fidelity
from .tracks import Tracker, track_points


@dataclass(frozen=True)
class Evidence:
    """What is computed once per clip.

    Attributes:
        frames: uint8 ``[F, H, W, 3]``.
        tracks: ``[N, F, 2]``, see :mod:`.tracks`.
        features: ``[F, D]`` of an encoder with a text tower (CLIP), or None.
        appearance: ``[F, D]`` of an encoder for appearance alone (DINO), or None: then ``features`` serve.
    """

    frames: np.ndarray
    tracks: np.ndarray
    features: np.ndarray | None = None
    appearance: np.ndarray | None = None


def gather(
    frames: np.ndarray,
    tracker: Tracker = track_points,
    encoder: Encoder | None = None,
    appearance_encoder: Encoder | None = None,
) -> Evidence:
    """Track and encode a clip, uint8 ``[F, H, W, 3]``.

    Raises:
        ValueError: when this is not a clip of at least two frames.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"a clip is uint8 [frames, height, width, 3], not {frames.dtype} {list(frames.shape)}")
    if len(frames) < 2:
        raise ValueError("a clip of one frame has no motion to measure: give at least two frames")
    return Evidence(
        frames,
        tracker(frames),
        encoder.images(frames) if encoder else None,
        appearance_encoder.images(frames) if appearance_encoder else None,
    )


def measure(
    reference: Evidence, result: Evidence, text: np.ndarray | None = None, unrelated: Sequence[Evidence] = ()
) -> dict[str, float | None]:
    """All metrics of one result; None where it cannot be said."""
    look = "features" if reference.appearance is None or result.appearance is None else "appearance"
    others = [getattr(other, look) for other in unrelated if getattr(other, look) is not None]
    features, shown = result.features, getattr(reference, look)
    comparable = shown is not None and getattr(result, look) is not None and others
    chance = [motion_fidelity(other.tracks, result.tracks) for other in unrelated]
    return {
        "motion_fidelity": motion_fidelity(reference.tracks, result.tracks),
        "motion_fidelity_chance": float(np.mean(chance)) if chance else None,
        "motion_fidelity_ceiling": motion_fidelity(reference.tracks, reference.tracks),
        "tracks_reference": len(reference.tracks),
        "tracks_result": len(result.tracks),
        "camera_pan_error": None,
        "camera_zoom_error": None,
        "camera_roll_error": None,
        "text_similarity": None if features is None or text is None else text_similarity(features, text),
        "temporal_consistency": None if features is None else temporal_consistency(features),
        "appearance_leakage": appearance_leakage(getattr(result, look), shown, others) if comparable else None,
    }
