from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import pytest
import torch

from motion_embedding import noise_now
from motion_embedding.noise_now import NoiseNow, Span, asks_once

LEVELS = torch.tensor([8.0, 4.0, 2.0, 0.0])


def sampler(name: str = "sample_euler", module: str = "comfy.k_diffusion.sampling", **options: float) -> object:
    def function() -> None: ...

    function.__name__, function.__module__ = name, module
    return SimpleNamespace(sampler_function=function, extra_options=options)


def unread() -> torch.Tensor:
    """A noise level that is not to be read: on the meta device nothing can be."""
    return torch.empty(2, device="meta")


def test_what_acts_throughout_is_known_without_a_level() -> None:
    always = Span(-math.inf, math.inf, math.inf, -math.inf)
    assert always.throughout(*NoiseNow().bounds()) is True
    early = Span(-math.inf, math.inf, 1e9, 3.0)
    assert early.throughout(4.0, 8.0) is True
    assert early.throughout(0.0, 3.0) is False  # not at its end itself
    assert early.throughout(2.0, 8.0) is None
    half = Span(2.0, 4.0, math.inf, -math.inf)  # of a motion for two models
    assert (half.throughout(2.0, 3.9), half.throughout(4.0, 9.0), half.throughout(0.0, 1.9)) == (True, False, False)
    assert half.throughout(3.0, 4.0) is None


def test_one_level_is_no_schedule() -> None:
    """A training chooses its levels itself: a motion that acts until 3.0 must not be taken to act never, or always."""
    noise = NoiseNow()
    with noise.run(torch.ones(1), object()):
        assert Span(-math.inf, math.inf, 1e9, 3.0).throughout(*noise.bounds()) is None
        with noise.prediction():
            assert noise.level(torch.tensor([5.0])) == 5.0


@pytest.mark.parametrize("level", [1.0, 2.0, 3.0, 4.0, 5.0])
def test_bounds_belong_to_a_span_as_they_did(level: float) -> None:
    span = Span(2.0, 5.0, 4.0, 1.0)
    assert span.holds(level) == (2.0 <= level < 5.0 and 4.0 >= level > 1.0)


def test_levels_of_a_run_are_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    noise, seen = NoiseNow(), []
    monkeypatch.setattr(noise, "_check", lambda: None)  # which would read the meta tensor
    called = []
    with noise.run(LEVELS, sampler()):
        step_done = noise.counting(called.append)
        for step in range(3):
            with noise.prediction():
                seen.append([noise.level(unread()), noise.level(unread())])  # however many calls there are
            step_done({"i": step})
    assert seen == [[8.0, 8.0], [4.0, 4.0], [2.0, 2.0]]
    assert called == [{"i": 0}, {"i": 1}, {"i": 2}]


def test_a_step_that_a_cache_answers_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = NoiseNow()
    monkeypatch.setattr(noise, "_check", lambda: None)
    with noise.run(LEVELS, sampler()):
        step_done = noise.counting(None)
        with noise.prediction():
            assert noise.level(unread()) == 8.0
        step_done({"i": 0})
        step_done({"i": 1})  # nobody asked
        with noise.prediction():
            assert noise.level(unread()) == 2.0


@pytest.mark.parametrize(
    "other", [sampler("sample_heun"), sampler(module="a_pack"), sampler(s_churn=0.1), SimpleNamespace()]
)
def test_of_other_samplers_one_level_is_read_for_each_question(other: object) -> None:
    assert asks_once(other) is None
    noise = NoiseNow()
    with noise.run(LEVELS, other):
        with noise.prediction():
            assert noise.level(torch.tensor([3.5, 3.0])) == 3.5
            assert noise.level(unread()) == 3.5
        assert noise.level(torch.tensor([7.0])) == 7.0


def test_outside_a_run_every_level_is_read() -> None:
    noise = NoiseNow()
    with noise.run(LEVELS, sampler()), noise.prediction():
        noise.level(torch.tensor([8.0]))
    assert noise.level(torch.tensor([0.25])) == 0.25


def test_a_wrong_guess_is_found_out_and_not_made_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(noise_now, "_misjudged", set())
    noise = NoiseNow()
    for expected in (4.0, 3.0):
        with noise.run(LEVELS, sampler()):
            step_done = noise.counting(None)
            with noise.prediction():
                assert noise.level(torch.tensor([8.0])) == 8.0
            step_done({"i": 0})
            with noise.prediction():
                assert noise.level(torch.tensor([3.0])) == expected
    assert caplog.text.count("sample_euler asked") == 1
    assert caplog.records[0].levelno == logging.WARNING
