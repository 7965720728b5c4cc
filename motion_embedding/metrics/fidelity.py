"""Agreement of motion between a reference and a result, from their tracks."""

from __future__ import annotations

import numpy as np

from .tracks import fill_gaps, resample_paths

EPSILON = 0.1
STATIC_FLOOR = 0.7
_LEAST_VISIBLE = 0.6


def track_correlations(first: np.ndarray, second: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Correlation of every track of one clip with every track of another.

    With ``a_t`` and ``b_t`` the displacements from frame t to t + 1, in pixels,

        corr(a, b) = mean_t (a_t . b_t + e^2) / (sqrt(|a_t|^2 + e^2) sqrt(|b_t|^2 + e^2))

    which is the cosine of Yatim et al., "Space-Time Diffusion Features" (arXiv 2311.17009), of displacements
    given a third component ``e``. For displacements well above ``e`` it is the plain cosine; a point that
    rests agrees with one that rests (1) and not with one that moves (about 0); nothing is divided by zero.

    Args:
        first, second: ``[N, F, 2]`` and ``[M, F, 2]``, the same F, at least 2.

    Returns:
        ``[N, M]`` in [-1, 1].
    """
    a, b = _directions(first, epsilon), _directions(second, epsilon)
    return np.einsum("ntc,mtc->nm", a, b) / a.shape[1]


def motion_fidelity(reference: np.ndarray, result: np.ndarray, tracks: int = 64, epsilon: float = EPSILON) -> float:
    """Motion fidelity: how well each track of one clip is matched in the other, both ways.

        score = (mean over result tracks of the best corr + mean over reference tracks of the best corr) / 2

    after Yatim et al., arXiv 2311.17009 (see :func:`track_correlations` for ``corr``). A clip scores 1
    against itself. The chance level rises with the number of tracks (the best of many), so both sides are
    thinned to the same fixed number; report the score of unrelated clips beside it.

    Args:
        reference, result: ``[N, F, 2]`` and ``[M, G, 2]``. The reference is resampled to the result's length;
            tracks with a missing (NaN) frame are left out.
        tracks: the most tracks taken from either side, evenly over the list.

    Returns:
        In [-1, 1]; 0 when either side has no track or fewer than two frames.
    """
    reference, result = _thin(reference, tracks), _thin(result, tracks)
    if not len(reference) or not len(result) or min(reference.shape[1], result.shape[1]) < 2:
        return 0.0
    correlations = track_correlations(resample_paths(reference, result.shape[1]), result, epsilon)
    return float((correlations.max(0).mean() + correlations.max(1).mean()) / 2)


def trajectory_correlation(reference: np.ndarray, result: np.ndarray, floor: float = STATIC_FLOOR) -> float:
    """Cosine of two centred object paths: do they have the same form, wherever they are and however large.

        corr = <a, b> / (max(|a|, k) max(|b|, k)),   a, b the paths minus their means,   k = floor sqrt(F)

    The floor on the norms (``floor`` pixels root mean square) makes a path that only jitters score about 0.

    Args:
        reference, result: ``[F, 2]`` and ``[G, 2]`` in pixels, NaN where the object was not seen. The reference
            is resampled to the result's length, gaps are interpolated.

    Returns:
        In [-1, 1]; 0 when the object is seen in fewer than three frames or less than 60 % of them.
    """
    if not (_enough(reference) and _enough(result)):
        return 0.0
    a, b = resample_paths(fill_gaps(reference), len(result)), fill_gaps(result)
    a, b = a - a.mean(0), b - b.mean(0)
    least = floor * np.sqrt(len(b))
    return float((a * b).sum() / (max(np.linalg.norm(a), least) * max(np.linalg.norm(b), least)))


def _directions(tracks: np.ndarray, epsilon: float) -> np.ndarray:
    """Displacements ``[N, F - 1, 3]`` with ``epsilon`` as third component, each of length 1."""
    steps = np.diff(np.asarray(tracks, np.float64), axis=1)
    steps = np.concatenate([steps, np.full((*steps.shape[:2], 1), epsilon)], -1)
    return steps / np.linalg.norm(steps, axis=-1, keepdims=True)


def _thin(tracks: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` complete tracks, evenly over the list."""
    complete = tracks[np.isfinite(tracks).all((1, 2))]
    if len(complete) <= count:
        return complete
    return complete[np.linspace(0, len(complete) - 1, count).round().astype(int)]


def _enough(path: np.ndarray) -> bool:
    known = np.isfinite(path).all(-1).sum()
    return known >= max(3, _LEAST_VISIBLE * len(path))
