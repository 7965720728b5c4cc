"""CoTracker3 as a tracker, for those who have it: an adapter to the user's own package and checkpoint.

CoTracker3 (Karaev et al., arXiv 2410.11831) and its weights are licensed CC-BY-NC 4.0: **non-commercial use only**.
Nothing of it is part of this pack and nothing is downloaded. Install it from a checkout of
github.com/facebookresearch/co-tracker (``pip install -e .``) and get ``scaled_offline.pth`` from its page.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .tracks import Tracker

_log = logging.getLogger(__name__)

LICENCE = "CoTracker is licensed CC-BY-NC 4.0: non-commercial use only."
_WINDOW = 60  # of the published offline weights


def cotracker(
    checkpoint: str | Path, name: str = "tracker", device: str | torch.device | None = None, points: int = 256
) -> Tracker:
    """A tracker that follows a regular grid of points from the first frame with CoTracker3 (offline).

    Where CoTracker calls a point hidden (visibility at most 0.9) its position is NaN: a guess is no evidence. The
    scores leave out points seen in less than half of the clip and thin the rest to their own count, so the grid holds
    more.

    Args:
        checkpoint: ``scaled_offline.pth`` or ``baseline_offline.pth``; read without unpickling code.
        name: what errors call the input.
        device: where to compute; None takes CUDA where there is one. When its memory does not suffice, the clip is
            tracked on the CPU, with a warning in the log.
        points: the least size of the grid, rounded up to a square number.

    Returns:
        A :data:`~.tracks.Tracker`: uint8 ``[F, H, W, 3]`` to float64 ``[N, F, 2]`` in pixels of those frames.

    Raises:
        InputError: the package is not installed, or the file is missing or of another model.
    """
    path = Path(checkpoint)
    if not path.is_file():
        mend = f"Put CoTracker3's scaled_offline.pth there. {LICENCE}"
        raise InputError(name, f"there is no checkpoint {path}.", mend)
    try:
        from cotracker.predictor import CoTrackerPredictor
    except ImportError as error:
        cause = f"the package cotracker cannot be imported ({error})."
        mend = f"Install it from a checkout of github.com/facebookresearch/co-tracker: pip install -e . {LICENCE}"
        raise InputError(name, cause, mend) from error
    predictor = CoTrackerPredictor(checkpoint=None, offline=True, v2=False, window_len=_WINDOW)
    _load(predictor.model, path, name)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    side = math.ceil(math.sqrt(points))

    def track(frames: np.ndarray) -> np.ndarray:
        try:
            return _track(predictor, frames, side, device)
        except torch.OutOfMemoryError:
            _log.warning("CoTracker does not fit into the memory of %s; tracking on the CPU, which is slow", device)
        return _track(predictor, frames, side, torch.device("cpu"))

    return track


def _track(predictor: torch.nn.Module, frames: np.ndarray, side: int, device: torch.device) -> np.ndarray:
    """Tracks ``[N, F, 2]``. The model is on ``device`` only while it works: others need the memory."""
    video = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)[None]
    try:
        with torch.inference_mode():
            paths, seen = predictor.to(device)(video.to(device).float(), grid_size=side, grid_query_frame=0)
        paths = paths.masked_fill(~seen[..., None], math.nan)
        return paths[0].permute(1, 0, 2).double().cpu().numpy()
    finally:
        predictor.to("cpu")


def _load(model: torch.nn.Module, path: Path, name: str) -> None:
    try:
        weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(weights.get("model", weights))
    except Exception as error:  # truncated, another file altogether, the online model's weights
        cause = f"{path} does not hold the weights of CoTracker3 (offline): {' '.join(str(error).split())[:160]}"
        mend = "Use scaled_offline.pth or baseline_offline.pth of CoTracker3, downloaded completely."
        raise InputError(name, cause, mend) from error
