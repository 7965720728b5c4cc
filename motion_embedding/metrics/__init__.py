"""How well a result carries a reference's motion: pure functions on frames and tracks."""

from __future__ import annotations

from .fidelity import motion_fidelity, track_correlations, trajectory_correlation
from .tracks import fill_gaps, resample_paths, track_points

__all__ = [
    "fill_gaps",
    "motion_fidelity",
    "resample_paths",
    "track_correlations",
    "track_points",
    "trajectory_correlation",
]
