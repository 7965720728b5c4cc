"""One pass over memory learns what many do, half precision learns what single does, and a lost step is no step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from motion_embedding.optimising import Arriving, adamw, descend, sent


def rows() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 5), (2, 3, 5))]


def learnt(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int = 20) -> torch.Tensor:
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for step in range(steps):
        sum(((p - step) ** 2).sum() for p in parameters).backward()
        descend(optimiser, scaler)
    return torch.cat([p.detach().flatten() for p in parameters])


def test_one_pass_or_many_learn_the_same() -> None:
    first, second = rows(), rows()
    fused = adamw(first, 0.1, 0.01)
    assert fused.defaults["fused"]
    plain = torch.optim.AdamW(second, 0.1, weight_decay=0.01, foreach=False)
    torch.testing.assert_close(learnt(fused, first), learnt(plain, second), rtol=1e-5, atol=1e-6)


def test_a_device_without_it_takes_many_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motion_embedding.optimising._FUSED", {"cuda"})
    first, second = rows(), rows()
    ours = adamw([{"params": first, "lr": 0.2}], 0.1)
    assert not ours.defaults["fused"] and not ours.param_groups[0]["fused"]
    torch.testing.assert_close(learnt(ours, first), learnt(torch.optim.AdamW(second, 0.2), second))


def test_gradients_that_would_vanish_in_half_precision_are_those_of_single() -> None:
    """1.6e-8 is no number of float16; scaled it is one, and the step is by the gradient itself, without the scale."""
    results = []
    for dtype in (torch.float32, torch.float16):
        parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
        scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
        loss = parameter.to(dtype).float().sum() * 1.6e-8
        scaler.scale(loss).backward()
        descend(torch.optim.SGD([parameter], 1e8), scaler)
        results.append(parameter.detach())
    assert not torch.equal(results[0], torch.tensor([1.0, -2.0]))
    torch.testing.assert_close(results[1], results[0], rtol=2e-3, atol=0)


@pytest.mark.parametrize("fused", [True, False])
def test_an_overflow_is_no_step_and_lowers_the_scale(fused: bool) -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    optimiser = torch.optim.AdamW([parameter], 0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    scaled = []
    for _ in range(2):
        scaler.scale((parameter.half() * 4).float().sum()).backward()  # 4 * 65536 is more than float16 holds
        descend(optimiser, scaler)
        scaler.update()
        scaled.append((parameter.item(), scaler.get_scale()))
    assert scaled == [(1.0, 2.0**15), (1.0, 2.0**14)]
    scaler.scale((parameter.half() * 2).float().sum()).backward()
    descend(optimiser, scaler)
    assert parameter.item() == pytest.approx(1 - 0.1 - 0.1 * 0.01, rel=1e-4)


def test_gradients_are_gone_after_the_step() -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    parameter.square().sum().backward()
    descend(adamw([parameter], 0.1), torch.amp.GradScaler("cpu", enabled=False))
    assert parameter.grad is None


def test_numbers_come_and_go_as_they_are() -> None:
    assert Arriving(torch.tensor(0.25, requires_grad=True)).get() == 0.25
    values = torch.randn(4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sent(values, torch.empty(1, dtype=torch.bfloat16)), values.bfloat16())
