"""UNets trained in less memory, in the real host: whatever runs again, the gradients are the same."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from tests import animatediff_evolved, families, small_sd15
from tests.families import FRAMES, HEIGHT, WIDTH, Family

pytestmark = pytest.mark.host


def evolved() -> Family:
    """AnimateDiff-Evolved's motion modules, in the UNet's blocks while it samples."""
    plain = small_sd15.model()
    moving = animatediff_evolved.evolved(plain, small_sd15.motion_model())
    family = object.__new__(Family)  # it has no attentions before it samples
    family.name, family.model, family.shape = "animatediff", moving, (FRAMES, 4, HEIGHT, WIDTH)
    family.positive, family.beside = small_sd15.text(5), animatediff_evolved.motion_models(moving)
    return family


@pytest.fixture(params=["unet3d", "animatediff", "evolved", "svd", "latte"])
def family(request: pytest.FixtureRequest, rig: Any, tmp_path: Any) -> Family:
    make = {
        "unet3d": lambda: families.unet3d(rig),
        "animatediff": lambda: families.animatediff(rig.part, tmp_path),
        "evolved": evolved,
        "svd": families.svd,
        "latte": lambda: families.latte(rig.part, tmp_path),
    }
    return make[request.param]()


@pytest.fixture
def gradients(rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    """Trains one step by plain descent at rate 1: what is learnt is the gradient, with its sign turned round."""
    training, loop = (rig.part(f"motion_embedding.{name}") for name in ("training", "training_loop"))
    monkeypatch.setattr(
        loop, "adamw", lambda groups, *_: torch.optim.SGD([p for g in groups for p in g["params"]], 1.0)
    )
    caplog.set_level(logging.INFO)

    def train(family: Family, positive: list | None = None, **changes: Any) -> tuple[torch.Tensor, tuple[int, int]]:
        caplog.clear()
        clip = torch.randn(family.shape, generator=torch.Generator().manual_seed(3))
        recipe = training.Recipe(steps=1, layers="all", **changes)
        with torch.inference_mode():
            layers = training.train_motion(family.model, positive or family.positive, clip, recipe).embedding.layers
        parts = [t.flatten() for layer in layers.values() for t in (layer.query_key, *layer.value.values())]
        assert all(part.any() for part in parts)
        said = next(line for line in caplog.text.splitlines() if "run again" in line)
        again, total = said.partition("(")[2].split(" blocks")[0].split(" of ")
        return torch.cat(parts), (int(again), int(total))

    return train


def assert_same(gradient: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_whatever_runs_again(family: Family, gradients: Any, rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, (none, total) = gradients(family, checkpointing="none")
    every, counted = gradients(family, checkpointing="all")
    assert (none, counted) == (0, (total, total))
    assert_same(every, expected)

    def every_second(self: Any, choice: str, free: int) -> int:
        self.again = set(range(0, len(self.blocks), 2))
        return 0

    monkeypatch.setattr(rig.part("motion_embedding.checkpointing").Checkpoints, "choose", every_second)
    some, (again, _) = gradients(family)
    assert 0 < again < total
    assert_same(some, expected)


def test_the_loss_with_a_throw_away_lora(rig: Any, gradients: Any, tmp_path: Any) -> None:
    """It hangs on the layers that run again."""
    for family in (families.unet3d(rig), families.animatediff(rig.part, tmp_path), families.svd()):
        settings = {"loss": "debiased_hybrid", "seed": 3}
        assert_same(
            gradients(family, checkpointing="all", **settings)[0],
            gradients(family, checkpointing="none", **settings)[0],
        )


def test_nothing_before_the_first_layer_that_learns_is_kept(rig: Any) -> None:
    """Of a step's forward only what follows has a graph."""
    backbone, attentions = rig.part("motion_embedding.backbones").find_backbone(rig.model.model)
    order, seen = [], []
    handles = [
        module.register_forward_hook(lambda module, _, out, name=name: seen.append((name, has_graph(out))))
        for name, module in rig.model.model.diffusion_model.named_modules()
        if not list(module.children())
    ]
    first = backbone.select(attentions, "mid_block*")[0].layer
    try:
        rig.train(steps=1, layers="mid_block*", checkpointing="none")
    finally:
        for handle in handles:
            handle.remove()
    order = seen[len(seen) // 2 :]  # after the probe
    start = next(i for i, (name, _) in enumerate(order) if name.startswith(f"{first}.attn1.to_q"))
    assert not any(graph for _, graph in order[:start])
    assert order[start][1] and sum(graph for _, graph in order[start:]) > len(order[start:]) // 2


def has_graph(out: Any) -> bool:
    return isinstance(out, torch.Tensor) and out.requires_grad
