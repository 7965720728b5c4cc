"""What a run says on the terminal while it goes and when it has ended."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from .failure import brief
from .run import Plan, Progress, Summary

_SHOWN_FAILURES = 20


class Ticker:
    """A line per item that has ended: how many, how long they take, how long the rest will."""

    def __init__(self) -> None:
        self._begin, self._shown = time.monotonic(), False

    def __call__(self, progress: Progress) -> None:
        elapsed = time.monotonic() - self._begin
        left = elapsed / progress.done * (progress.total - progress.done)
        failed = f", {progress.failed} failed" if progress.failed else ""
        last = f"{progress.last.id}: {brief(progress.last.error) if progress.last.error else 'made'}"
        tick(
            f"{progress.done}/{progress.total}{failed}, {progress.last.seconds:.1f} s, {_span(left)} left, {last}",
            last=False,
        )
        self._shown = True

    def end(self) -> None:
        if self._shown and sys.stdout.isatty():
            print()


def tick(line: str, last: bool) -> None:
    """One line that is written over on a terminal; lines elsewhere."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line}", end="\n" if last else "", flush=True)
    else:
        print(line, flush=True)


def print_plan(name: str, plan: Plan, folder: Path) -> None:
    left_out = len(plan.items) - plan.finished - len(plan.missing)
    rest = f", {left_out} left out" if left_out else ""
    print(f"{name}: {len(plan.items)} items, {plan.finished} finished, {len(plan.missing)} to make{rest}")
    print(f"Results: {shown(folder)}", flush=True)


def print_summary(summary: Summary) -> None:
    print(f"{summary.made} made, {len(summary.failures)} failed")
    for id, error in list(summary.failures.items())[:_SHOWN_FAILURES]:
        print(f"  {id}: {brief(error)}")
    if (more := len(summary.failures) - _SHOWN_FAILURES) > 0:
        print(f"  ... and {more} more; failed/ has all of each")


def _span(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"


def shown(path: Path) -> str:
    """A path as short as it can be said here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
