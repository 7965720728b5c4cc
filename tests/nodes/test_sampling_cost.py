"""An applied motion asks nothing of the GPU in a step that the host does not, and makes nothing twice."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from motion_embedding.noise_now import ASKS_ONCE

STEPS = 6
WAITS = {"item", "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "lift_fresh", "masked_select"}


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a GPU: reading a number, sending one."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.count += func.overloadpacket.__name__ in WAITS
        return func(*args, **(kwargs or {}))


@pytest.fixture
def motion(rig) -> Any:
    learnt = rig.train(steps=1).embedding
    layers = {
        name: type(rows)(torch.randn(rows.query_key.shape), {k: torch.randn(v.shape) for k, v in rows.value.items()})
        for name, rows in learnt.layers.items()
    }
    return learnt.replace(layers=layers)


def sample(rig, model: Any, name: str, after_step: Any = None) -> torch.Tensor:
    import comfy.sample

    noise = torch.randn(1, 12, 4, 8, 6, generator=torch.Generator().manual_seed(1))
    prompts = rig.prompt("a red star on a navy background"), rig.prompt("")
    how = (STEPS, 2.0, name, "sgm_uniform", *prompts, torch.zeros_like(noise))
    with torch.inference_mode():
        return comfy.sample.sample(model, noise, *how, callback=after_step, disable_pbar=True, seed=0)


def waits_of_steps(rig, model: Any, name: str) -> list[int]:
    counts = []
    with Waits() as waits:
        sample(rig, model, name, lambda *_: counts.append(waits.count))
    return [after - before for before, after in pairwise(counts)]


def apply(rig, motion: Any, **when: float) -> Any:
    with torch.inference_mode():
        return rig.part("motion_embedding.injection").apply_embedding(rig.model, motion, **when)


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "euler_ancestral"])
@pytest.mark.parametrize("when", [{}, {"start_percent": 0.1, "end_percent": 0.6}])
def test_no_step_waits_longer_than_without(rig, motion: Any, name: str, when: dict) -> None:
    moved = apply(rig, motion, **when)
    assert waits_of_steps(rig, moved, name) == waits_of_steps(rig, rig.model, name)


def test_a_sampler_that_asks_elsewhere_waits_once_for_each_question(rig, motion: Any) -> None:
    plain = waits_of_steps(rig, rig.model, "heun")
    moved = waits_of_steps(rig, apply(rig, motion, end_percent=0.6), "heun")
    assert [m - p for m, p in zip(moved, plain, strict=True)] == [2, 2, 2, 2, 2]


NAMES = [name.removeprefix("sample_") for name in sorted(ASKS_ONCE) if not name.endswith(("_RF", "_gpu"))]


@pytest.mark.parametrize("name", NAMES)
def test_samplers_ask_where_it_is_foreseen(
    rig, motion: Any, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from comfy.samplers import SAMPLER_NAMES

    assert name in SAMPLER_NAMES
    asked, noise_now = [], rig.part("motion_embedding.noise_now")
    original = noise_now.NoiseNow._foreseen

    def both(self: Any, sigma: torch.Tensor) -> float | None:
        asked.append((original(self, sigma), float(sigma.max())))
        return asked[-1][0]

    monkeypatch.setattr(noise_now.NoiseNow, "_foreseen", both)
    sample(rig, apply(rig, motion, start_percent=0.1, end_percent=0.6), name)
    assert len(asked) == STEPS
    assert [foreseen for foreseen, _ in asked] == pytest.approx([true for _, true in asked], rel=1e-6)
    assert "not foreseen" not in caplog.text


def test_steps_that_a_cache_answers_move_no_bounds(rig, motion: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfy.patcher_extension import WrappersMP

    questions = []

    def cache(executor: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        questions.append(executor(*args, **kwargs) if len(questions) not in (1, 2) else questions[-1])
        return questions[-1]

    cached = rig.model.clone()
    cached.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "cache", cache)  # outside of ours, as LazyCache's
    with torch.inference_mode():
        model = rig.part("motion_embedding.injection").apply_embedding(cached, motion, end_percent=0.6)
    foreseen = sample(rig, model, "euler")
    questions.clear()
    monkeypatch.setattr(rig.part("motion_embedding.noise_now"), "_misjudged", {"sample_euler"})
    assert torch.equal(sample(rig, model, "euler"), foreseen)
    questions.clear()
    with torch.inference_mode():
        longer = rig.part("motion_embedding.injection").apply_embedding(cached, motion, end_percent=0.99)
    assert not torch.equal(sample(rig, longer, "euler"), foreseen)


def test_nothing_is_made_again_in_a_second_step(rig, motion: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, built, sums = [], [], []
    applied, install = rig.part("motion_embedding.applied"), rig.part("motion_embedding.install")
    base = rig.part("motion_embedding.backbones.unet3d")
    addition, changes, add = applied.Applied.addition, install._changes, base.add_position_major

    def count(calls: list, original: Any) -> Any:
        return lambda *args: calls.append(1) or original(*args)

    monkeypatch.setattr(applied.Applied, "addition", count(made, addition))
    monkeypatch.setattr(install, "_changes", count(built, changes))
    monkeypatch.setattr(base, "add_position_major", count(sums, add))
    per_step: list[tuple[int, int, int]] = []
    twice = rig.part("motion_embedding.injection")
    with torch.inference_mode():
        model = twice.apply_embedding(twice.apply_embedding(rig.model, motion), motion, 0.5, 0.5)
    sample(rig, model, "euler", lambda *_: per_step.append((len(made), len(built), len(sums))))
    attentions = sum(len(rows.value) for rows in motion.layers.values())
    sites = twice.wired_family(rig.model.model)[1]
    assert per_step[0][0] == 2 * 2 * len(sites)  # two motions; query-key and value
    assert per_step[0][1] == 1
    assert per_step[1][:2] == (per_step[0][0], 2)  # once more, when it is known what comes in where
    assert all(step[:2] == per_step[1][:2] for step in per_step[2:])
    # One sum for query and key, one for value.
    assert [step[2] for step in per_step] == [2 * attentions * n for n in range(1, STEPS + 1)]
