"""What a training tells, and when it shows what it has learnt: by hand, on a clock of the test's own."""

from __future__ import annotations

import numpy as np
import pytest

from motion_embedding.training_progress import NEVER, SELDOM, Pace, Progress, Reporter, Shown, recent, thinned

PICTURE = Shown(np.zeros((2, 1, 1, 3), np.uint8), np.zeros((2, 1, 1, 3), np.uint8), 2)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(steps: int, every: int, step_takes: float, showing_takes: float, listens: bool = True) -> list[Progress]:
    clock, told = Clock(), []

    def show() -> Shown:
        clock.now += showing_takes
        return PICTURE

    reporter = Reporter(told.append if listens else None, steps, every, clock)
    reporter.start(show, 6)
    for step in range(steps):
        clock.now += step_takes
        reporter.after([float(step)] * (step + 1))
    assert reporter.seconds == pytest.approx(clock.now - 100)
    return told


def shown_at(told: list[Progress]) -> list[int]:
    return [progress.step for progress in told if progress.shown]


def test_the_course_is_told_in_means() -> None:
    assert thinned([1.0, 2.0, 3.0], 3) == ([1.0, 2.0, 3.0], 1)
    assert thinned([1.0, 2.0, 3.0, 6.0, 7.0], 3) == ([1.5, 4.5, 7.0], 2)
    assert thinned([], 3) == ([], 1)
    losses, each = thinned(list(range(20_000)))
    assert len(losses) <= 240 and each == 84


def test_the_loss_is_that_of_the_last_tenth() -> None:
    assert recent([9.0] * 18 + [1.0, 3.0]) == 2.0
    assert recent([5.0, 4.0]) == 4.0
    assert recent([]) == 0


def test_five_reports_a_second_and_the_last() -> None:
    told = run(steps=101, every=NEVER, step_takes=1 / 16, showing_takes=0)
    assert [p.step for p in told] == [*range(1, 102, 4)]
    assert [p.step for p in run(100, NEVER, 1 / 16, 0)][-2:] == [97, 100]
    first = told[0]
    assert (first.steps, first.losses, first.each, first.loss) == (101, [0.0], 1, 0.0)
    assert (first.seconds, first.left) == (1 / 16, 100 / 16)
    assert told[-1].left == 0


def test_every_so_many_steps_and_after_the_last() -> None:
    assert shown_at(run(steps=10, every=4, step_takes=1, showing_takes=100)) == [4, 8, 10]
    assert shown_at(run(steps=8, every=4, step_takes=1, showing_takes=0)) == [4, 8]
    assert shown_at(run(steps=8, every=NEVER, step_takes=1, showing_takes=0)) == []


def test_a_tenth_of_the_time_at_most_and_one_at_the_end() -> None:
    """Six calls are taken for two steps: the first is due after 20. It takes 4 seconds, so the next is after 80."""
    told = run(steps=130, every=SELDOM, step_takes=1, showing_takes=4)
    assert shown_at(told) == [20, 80, 120, 130]
    assert shown_at(run(steps=19, every=SELDOM, step_takes=60, showing_takes=1)) == []


def test_a_preview_found_too_slow_is_not_made_again() -> None:
    assert shown_at(run(steps=130, every=SELDOM, step_takes=1, showing_takes=14)) == [20]


def test_nothing_is_shown_to_nobody() -> None:
    assert run(steps=50, every=1, step_takes=1, showing_takes=1, listens=False) == []


def test_one_that_cannot_be_shown_is_not_told() -> None:
    told: list[Progress] = []
    reporter = Reporter(told.append, 3, 1, clock := Clock())
    reporter.start(lambda: None, 6)
    for step in range(3):
        clock.now += 0.05
        reporter.after([1.0] * (step + 1))
    assert [(p.step, p.shown) for p in told] == [(1, None), (3, None)]


def test_the_pace_before_and_after_the_first() -> None:
    pace = Pace(SELDOM, 100, calls=3)  # as long as one step
    assert not pace.due(9, 9.0)
    assert pace.due(10, 10.0)
    pace.took(2.0)
    assert not pace.due(39, 41.0)  # 39 seconds of training, a tenth less than the two and two more
    assert pace.due(40, 42.0)
