"""Everything that is measured about one result and its reference.

What costs time (tracking, encoding) is done once per clip by :func:`gather`; :func:`measure` then takes
milliseconds, so that many clips can be compared with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .camera import Camera, camera_errors, camera_path
from .features import Encoder, appearance_leakage, temporal_consistency, text_similarity
from .fidelity import chance_fidelity, motion_fidelity
from .tracks import Tracker, relative, track_points


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

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.frames.shape[2], self.frames.shape[1]

    @cached_property
    def relative_tracks(self) -> np.ndarray:
        """The tracks in percent of the frame's diagonal."""
        return relative(self.tracks, self.size)

    @cached_property
    def camera(self) -> Camera | None:
        """The camera's path, None where it cannot be told."""
        return camera_path(self.tracks, self.size)


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
    """All metrics of one result.

    Motion fidelity is computed on tracks in percent of the frame's diagonal, so that size does not matter; clips of
    different length are compared from their beginnings to their ends.

    Args:
        reference, result: as :func:`gather` gives them, with the same tracker and encoders.
        text: ``[D]``, the prompt's features by the encoder of ``features``.
        unrelated: clips that have nothing to do with the result, best the other references of a benchmark. Chance and
            leakage are computed against them; without any, chance is that of the turned reference and leakage cannot
            be said.

    Returns:
        ``motion_fidelity``, ``motion_fidelity_chance``, ``motion_fidelity_chance_turned`` (against surrogates of the
        reference, always: a zoom finds a partner in a roll, which unrelated clips need not show; for both see
        :func:`.fidelity.chance_fidelity`), ``motion_fidelity_ceiling`` (the reference against itself; 0 where it has
        no track); ``tracks_reference``, ``tracks_result`` (numbers of tracks);
        ``camera_pan_error`` (% of the diagonal per step), ``camera_zoom_error`` (% per step), ``camera_roll_error``
        (degrees per step); ``text_similarity``, ``temporal_consistency``, ``appearance_leakage``. None where it
        cannot be said: no encoder, no text, no unrelated clip, or a camera that cannot be told.
    """
    tracks = reference.relative_tracks, result.relative_tracks
    others = [other.relative_tracks for other in unrelated]
    cameras = reference.camera, result.camera
    errors = camera_errors(*cameras) if all(cameras) else None
    features = result.features
    return {
        "motion_fidelity": motion_fidelity(*tracks),
        "motion_fidelity_chance": chance_fidelity(*tracks, others),
        "motion_fidelity_chance_turned": chance_fidelity(*tracks),
        "motion_fidelity_ceiling": motion_fidelity(tracks[0], tracks[0]),
        "tracks_reference": len(tracks[0]),
        "tracks_result": len(tracks[1]),
        "camera_pan_error": errors and errors.pan,
        "camera_zoom_error": errors and errors.zoom,
        "camera_roll_error": errors and errors.roll,
        "text_similarity": None if features is None or text is None else text_similarity(features, text),
        "temporal_consistency": None if features is None else temporal_consistency(features),
        "appearance_leakage": _leakage(reference, result, unrelated),
    }


def _leakage(reference: Evidence, result: Evidence, unrelated: Sequence[Evidence]) -> float | None:
    """Appearance leakage by the encoder for appearance where there is one, else by the other."""
    for seen in (lambda clip: clip.appearance, lambda clip: clip.features):
        if all(seen(clip) is not None for clip in (reference, result, *unrelated)) and unrelated:
            return appearance_leakage(seen(result), seen(reference), [seen(other) for other in unrelated])
    return None
