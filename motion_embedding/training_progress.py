"""What a training tells while it runs, and when it takes the time to show what it has learnt."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SELDOM, NEVER = 0, -1
SHARE = 0.1  # of the training's time that showing takes where nobody says how often
_MOST_LOSSES = 240  # in one report: a few times what a curve on a node has pixels for
_APART = 0.2  # seconds between two reports


@dataclass(frozen=True)
class Shown:
    """The clip and what the model makes of it with the motion learnt so far: uint8 ``[F, h, w, 3]``, frame by frame.

    video_frames: that they stand for.
    """

    clip: np.ndarray
    made: np.ndarray
    video_frames: int


@dataclass(frozen=True)
class Progress:
    """A training after ``step`` of its ``steps``.

    losses: the course so far, each the mean of ``each`` steps; the last may be of fewer.
    loss: the mean of the last tenth of the steps.
    seconds, left: since the first step began, and until the last is likely to end.
    shown: what the model makes of the clip now, where it was just looked at.
    """

    step: int
    steps: int
    losses: list[float]
    each: int
    loss: float
    seconds: float
    left: float
    shown: Shown | None = None


def thinned(losses: Sequence[float], most: int = _MOST_LOSSES) -> tuple[list[float], int]:
    """At most ``most`` means of as many losses each, in order, and of how many."""
    each = max(1, -(-len(losses) // most))
    parts = (losses[start : start + each] for start in range(0, len(losses), each))
    return [sum(part) / len(part) for part in parts], each


def recent(losses: Sequence[float]) -> float:
    """The mean of the last tenth; 0 of none."""
    last = losses[-max(len(losses) // 10, 1) :]
    return sum(last) / max(len(last), 1)


class Pace:
    """When to show what is learnt: every ``every`` steps and after the last; :data:`NEVER`; or :data:`SELDOM`, as
    often as takes :data:`SHARE` of the time, which on a slow model may be never.

    calls: of the model, that showing takes. A step is as long as about three, which serves until one was shown.
    """

    def __init__(self, every: int, steps: int, calls: int) -> None:
        self.every, self.steps, self.calls = every, steps, calls
        self.spent = 0.0
        self.cost: float | None = None

    def due(self, step: int, seconds: float) -> bool:
        """Whether to show it after ``step`` steps that took ``seconds``, of which :attr:`spent` went into showing."""
        if self.every == NEVER:
            return False
        is_last = step == self.steps
        if self.every != SELDOM:
            return is_last or step % self.every == 0
        trained = seconds - self.spent
        cost = trained / step * self.calls / 3 if self.cost is None else self.cost
        return cost + (0 if is_last else self.spent) <= SHARE * trained

    def took(self, seconds: float) -> None:
        """It was shown, in so many seconds."""
        self.spent += seconds
        self.cost = seconds


class Reporter:
    """Follows a training and tells of it, five times a second at most, and after the last step.

    tell: called with every report; nobody listens if None, and nothing is shown either.
    every: as in :class:`Pace`.
    """

    def __init__(
        self,
        tell: Callable[[Progress], None] | None,
        steps: int,
        every: int = SELDOM,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tell, self.steps, self.every, self.clock = tell, steps, every, clock
        self.seconds = 0.0

    def start(self, show: Callable[[], Shown | None], calls: int) -> None:
        """The first step begins. show: looks at what is learnt in ``calls`` calls of the model; None if it cannot."""
        self._show, self._pace = show, Pace(self.every, self.steps, calls)
        self._began, self._told = self.clock(), float("-inf")

    def after(self, losses: Sequence[float]) -> None:
        """A step has ended; ``losses`` are those of all steps so far."""
        step = len(losses)
        self.seconds = self.clock() - self._began
        if self.tell is None:
            return
        shown = self._shown() if self._pace.due(step, self.seconds) else None
        if shown is None and step < self.steps and self.clock() - self._told < _APART:
            return
        left = self.seconds / step * (self.steps - step)
        self.tell(Progress(step, self.steps, *thinned(losses), recent(losses), self.seconds, left, shown))
        self._told = self.clock()

    def _shown(self) -> Shown | None:
        before = self.clock()
        shown = self._show()
        self._pace.took(self.clock() - before)
        self.seconds = self.clock() - self._began
        return shown
