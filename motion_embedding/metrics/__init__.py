"""How well a result carries a reference's motion: pure functions on frames and tracks."""

from __future__ import annotations

from .camera import camera_errors, camera_path
from .complexity import clip_complexity, split, trajectory_complexity
from .features import appearance_leakage, temporal_consistency, text_similarity
from .fidelity import chance_fidelity, motion_fidelity, track_correlations, trajectory_correlation
from .tracks import fill_gaps, resample_paths, track_points
from .transfer import Evidence, gather, measure

__all__ = [
    "Evidence",
    "appearance_leakage",
    "camera_errors",
    "camera_path",
    "chance_fidelity",
    "clip_complexity",
    "fill_gaps",
    "gather",
    "measure",
    "motion_fidelity",
    "resample_paths",
    "split",
    "temporal_consistency",
    "text_similarity",
    "track_correlations",
    "track_points",
    "trajectory_complexity",
    "trajectory_correlation",
]
