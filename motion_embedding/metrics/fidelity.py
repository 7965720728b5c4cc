"""Agreement of motion between a reference and a result, from their tracks.

A score stands beside two others: the ceiling, ``motion_fidelity(reference, reference)``, which is 1, and the
level of chance, :func:`chance_fidelity`. Chance is not 0: the best of many matches is better than a typical one,
points at rest match points at rest, and where tracks go in all directions, as in a zoom, each finds a partner in
any other such clip, a roll for instance. A score near chance says nothing, whatever its value: a clip that is
mostly background at rest shows as a high chance, and a turning or zooming camera is judged by :mod:`.camera`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .tracks import LEAST_STEPS, fill_gaps, known_steps, lasting, resample_paths, spread

TRACKS = 64
EPSILON = 0.1
STATIC_FLOOR = 0.7
_LEAST_VISIBLE = 0.6
_TURNS = 8


def track_correlations(first: np.ndarray, second: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Correlation of every track of one clip with every track of another.

    With ``a_t`` and ``b_t`` the displacements from frame t to t + 1,

        corr(a, b) = mean_t (a_t . b_t + e^2) / (sqrt(|a_t|^2 + e^2) sqrt(|b_t|^2 + e^2))

    over the steps that both tracks know. It is the cosine of Yatim et al., "Space-Time Diffusion Features"
    (arXiv 2311.17009), of displacements given a third component ``e``. For displacements well above ``e`` it is
    the plain cosine; a point that rests agrees with one that rests (1) and not with one that moves (about 0);
    nothing is divided by zero.

    Args:
        first, second: ``[N, F, 2]`` and ``[M, F, 2]``, the same F, at least 2; NaN where a point is not followed.
        epsilon: the step below which a point counts as resting, in the unit of the tracks. The default suits
            tracks in percent of the frame's diagonal (:func:`.tracks.relative`): 0.1 % is what codecs and
            generated pictures jitter by, and the noise of the tracker is below it at any resolution. A fixed
            number of pixels would judge the same clip differently at another size.

    Returns:
        ``[N, M]`` in [-1, 1]; 0 for two tracks that share less than half of the steps: nothing speaks for or
        against them.
    """
    (a, a_known), (b, b_known) = _directions(first, epsilon), _directions(second, epsilon)
    shared = a_known.astype(float) @ b_known.T
    sums = a.reshape(len(a), -1) @ b.reshape(len(b), -1).T
    enough = shared >= max(1, LEAST_STEPS * a.shape[1])
    return np.divide(sums, shared, out=np.zeros_like(sums), where=enough)


def motion_fidelity(reference: np.ndarray, result: np.ndarray, tracks: int = TRACKS, epsilon: float = EPSILON) -> float:
    """Motion fidelity: how well each track of one clip is matched in the other, both ways.

        score = (mean over result tracks of the best corr + mean over reference tracks of the best corr) / 2

    after Yatim et al., arXiv 2311.17009 (see :func:`track_correlations` for ``corr``). A clip scores 1
    against itself. The level of chance rises with the number of tracks (the best of many), so the best is always
    of the same number: either side is thinned to ``tracks``, spread over the frame, and where one side has fewer,
    say k, "the best" means the best of k of the other, in the mean over every choice of k.

    Args:
        reference, result: ``[N, F, 2]`` and ``[M, G, 2]``, NaN where a point is not followed. The reference is
            resampled to the result's length; tracks known for less than half of the steps are left out.
        tracks: the most tracks that are taken from either side.

    Returns:
        In [-1, 1]; 0 when either side has no track or fewer than two frames.
    """
    return _score(*_alike(reference, result, tracks), tracks, epsilon)


def chance_fidelity(
    reference: np.ndarray,
    result: np.ndarray,
    unrelated: Sequence[np.ndarray] = (),
    tracks: int = TRACKS,
    epsilon: float = EPSILON,
) -> float:
    """The motion fidelity that the result would have if it had nothing to do with the reference.

    With ``unrelated`` clips' tracks (best: the other references of a benchmark): the result's mean score against
    those that have some, for the best of as many tracks as in its score against the reference.

    Without: its mean score against surrogates of the reference, as is usual for correlations in time (Theiler
    et al. 1992). A surrogate keeps what raises a score by luck (how many tracks, how many rest, how alike they
    are, how their speed varies) and gives up what was to be transferred: all displacements are turned by one
    angle, and in half of the surrogates they come in reverse order. The angles are 8 even ones, whose mean of a
    cosine is exactly that over all angles: one common translation has chance 0, and two still clips 1.

    Args:
        reference, result, tracks, epsilon: as in :func:`motion_fidelity`.

    Returns:
        In [-1, 1]; 0 when either side has no track.
    """
    reference, result = _alike(reference, result, tracks)
    count = min(len(reference), len(result))
    if not count:
        return 0.0
    followed = [other for clip in unrelated if len(other := _alike(clip, result, tracks)[0])]
    return float(np.mean([_score(other, result, count, epsilon) for other in followed or _surrogates(reference)]))


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


def _directions(tracks: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Displacements ``[N, F - 1, 3]`` with ``epsilon`` as third component, of length 1, and which are known.

    Unknown ones are 0, so that they add nothing to a sum of products.
    """
    known = known_steps(tracks)
    steps = np.diff(np.asarray(tracks, np.float64), axis=1)
    steps = np.concatenate([steps, np.full((*steps.shape[:2], 1), epsilon)], -1)
    return np.where(known[..., None], steps / np.linalg.norm(steps, axis=-1, keepdims=True), 0), known


def _surrogates(tracks: np.ndarray) -> Iterator[np.ndarray]:
    """The tracks turned by even angles, each forwards and with the displacements in reverse order."""
    for angle in (np.arange(_TURNS) + 0.5) * (2 * np.pi / _TURNS):
        cosine, sine = np.cos(angle), np.sin(angle)
        turned = tracks @ np.array([[cosine, sine], [-sine, cosine]])
        yield turned
        yield -turned[:, ::-1]  # backwards, and mirrored in a point, so that no displacement changes its sign


def _alike(reference: np.ndarray, result: np.ndarray, tracks: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sides with the result's number of frames, and at most so many tracks, of which there may be none."""
    if min(reference.shape[1], result.shape[1]) < 2:
        return reference[:0], result[:0]
    reference = resample_paths(reference, result.shape[1])
    return spread(reference[lasting(reference)], tracks), spread(result[lasting(result)], tracks)


def _score(reference: np.ndarray, result: np.ndarray, count: int, epsilon: float) -> float:
    """Motion fidelity of tracks of equal length, with the best of at most ``count``, and of what both sides have."""
    count = min(count, len(reference), len(result))
    if not count:
        return 0.0
    correlations = track_correlations(reference, result, epsilon)
    return float((_mean_best(correlations, count) + _mean_best(correlations.T, count)) / 2)


def _mean_best(correlations: np.ndarray, count: int) -> float:
    """Mean over rows ``[N, M]`` of the best of ``count`` of a row's entries, in the mean over all choices of them.

    The entry of rank r (0 the largest) is the best of a choice when none of the r before it is chosen: of the
    choices without those, the share that has it is ``count / (M - r)``.
    """
    ranked, none_before, mean = np.sort(correlations, axis=1)[:, ::-1].mean(0), 1.0, 0.0
    for rank, value in enumerate(ranked[: len(ranked) - count + 1]):
        share = count / (len(ranked) - rank)
        mean += none_before * share * value
        none_before *= 1 - share
    return mean


def _enough(path: np.ndarray) -> bool:
    known = np.isfinite(path).all(-1).sum()
    return known >= max(3, _LEAST_VISIBLE * len(path))
