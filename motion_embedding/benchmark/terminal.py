"""What a run says on the terminal while it goes and when it has ended."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from .failure import brief
from .items import Item
from .run import Plan, Progress, Summary
from .work import Outcome

_SHOWN_CAUSES = 20
_SECONDS_BETWEEN_LINES = 10.0


class Ticker:
    """A line while items are made: how many have ended, how long the last took, how long the rest will.

    The first item that a worker makes of a group (a method and a clip) learns the motion, and costs a multiple of the
    others: the two are told apart, each counts its median, and the pace so far says how many are made side by side.
    """

    def __init__(self, items: Mapping[str, Item], clock: Callable[[], float] = time.monotonic) -> None:
        worked = {id: item for id, item in items.items() if not item.method.videos}
        self._groups = {id: item.group for id, item in worked.items()}
        self._methods = {item.group: item.method.name for item in worked.values()}
        self._left = Counter(self._groups.values())
        self._begun: set[str] = set()
        self._at: dict[str, str] = {}
        self._seconds: dict[tuple[str, bool], list[float]] = {}
        self._clock, self._begin = clock, None
        self._line = Line(clock)

    def __call__(self, progress: Progress) -> None:
        outcome = progress.last
        self._note(outcome)
        left = self._seconds_left()
        failed = f", {progress.failed} failed" if progress.failed else ""
        span = "" if left is None else f", about {_span(left)} left"
        came = brief(outcome.error) if outcome.error else f"made in {outcome.seconds:.1f} s"
        counts = f"{progress.done}/{progress.total}{failed}{span}"
        self._line.show(f"{counts}, {outcome.id}: {came}", last=progress.done == progress.total)

    def end(self) -> None:
        self._line.end()

    def _note(self, outcome: Outcome) -> None:
        group = self._groups.get(outcome.id)
        if group is None:
            return
        self._left[group] -= 1
        if self._begin is None:
            self._begin = self._clock() - outcome.seconds
        if not outcome.error:
            is_first = self._at.get(outcome.worker) != group
            self._seconds.setdefault((self._methods[group], is_first), []).append(outcome.seconds)
            self._at[outcome.worker] = group
            self._begun.add(group)

    def _seconds_left(self) -> float | None:
        """None while it cannot be said: no item of a kind (the first of a group, or not) still to come was made."""
        to_come: Counter[tuple[str, bool]] = Counter()
        for group, count in self._left.items():
            is_first = count > 0 and group not in self._begun
            to_come[self._methods[group], True] += is_first
            to_come[self._methods[group], False] += count - is_first
        costs = {kind: self._cost(*kind) if count else 0.0 for kind, count in to_come.items()}
        if None in costs.values():
            return None
        worked = sum(map(sum, self._seconds.values()))
        pace = worked / max(self._clock() - self._begin, 1e-9) if worked else 1.0
        return sum(costs[kind] * count for kind, count in to_come.items()) / pace

    def _cost(self, method: str, is_first: bool) -> float | None:
        """The median of the method's own items of a kind, else of all methods'."""
        own = self._seconds.get((method, is_first), [])
        of_all = [s for (_, kind), found in self._seconds.items() if kind == is_first for s in found]
        known = own or of_all
        return median(known) if known else None


class Line:
    """A line that is written over on a terminal; elsewhere (a log file) one in ten seconds, and the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._shown_at, self._open = clock, -math.inf, False

    def show(self, text: str, last: bool = False) -> None:
        if sys.stdout.isatty():
            room = shutil.get_terminal_size().columns - 1  # a longer line could not be written over
            print(f"\r\x1b[K{text[:room]}", end="", flush=True)
            self._open = True
        elif last or self._clock() >= self._shown_at + _SECONDS_BETWEEN_LINES:
            print(text, flush=True)
            self._shown_at = self._clock()

    def end(self) -> None:
        """What is printed next begins a line of its own."""
        if self._open:
            print()
        self._open = False


class ScoringTicker:
    """A line while results are scored."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begin = clock, clock()
        self._line = Line(clock)

    def __call__(self, done: int, total: int) -> None:
        left = (self._clock() - self._begin) / done * (total - done)
        self._line.show(f"scored {done}/{total}, about {_span(left)} left", last=done == total)

    def end(self) -> None:
        self._line.end()


def print_plan(name: str, plan: Plan, folder: Path) -> None:
    left_out = len(plan.items) - plan.finished - len(plan.missing)
    rest = f", {left_out} left out" if left_out else ""
    print(f"{name}: {len(plan.items)} items, {plan.finished} finished, {len(plan.missing)} to make{rest}")
    print(f"Results: {shown(folder)}", flush=True)


def print_summary(summary: Summary) -> None:
    """How many were made, and every cause of failure once, with the items that failed of it."""
    print(f"{summary.made} made, {len(summary.failures)} failed")
    by_cause: dict[str, list[str]] = {}
    for id, error in summary.failures.items():
        by_cause.setdefault(brief(error), []).append(id)
    for cause, ids in list(by_cause.items())[:_SHOWN_CAUSES]:
        print(f"  {ids[0]}{f' and {len(ids) - 1} more' if len(ids) > 1 else ''}: {cause}")
    if (more := len(by_cause) - _SHOWN_CAUSES) > 0:
        print(f"  ... and {more} more causes; failed/ has them all")


def _span(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"


def shown(path: Path) -> str:
    """A path as short as it can be said here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
