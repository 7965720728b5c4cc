"""A motion for two models in the real host: each half where the noise is its own."""

from __future__ import annotations

import pytest
import torch

from tests import small_wan
from tests.joint_rig import Joint

pytestmark = pytest.mark.host
BOUNDARY = 0.9


@pytest.fixture(scope="module")
def wan(comfy, pack) -> Joint:
    return small_wan.joint(pack)


@pytest.fixture(scope="module")
def halves(wan: Joint) -> tuple:
    return wan.motion(0.5), wan.motion(-0.5)


def sample(wan: Joint, model=None, **steps) -> torch.Tensor:
    """Of four steps, whose noise levels are 1, 0.96, 0.89 and 0.73: two of each half. Ends with noise left in."""
    import nodes

    latent = {"samples": torch.zeros(1, wan.channels, 3, wan.height, wan.width)}
    options = {"start_step": 0, "last_step": 4, **steps}
    with torch.inference_mode():
        return nodes.common_ksampler(
            model or wan.model, 0, 4, 1.0, "euler", "simple", wan.positive, wan.negative, latent, **options
        )[0]["samples"].clone()


def test_each_half_acts_at_its_noise_levels(wan: Joint, halves: tuple) -> None:
    high, low = halves
    joined = wan.part("experts").join_experts(high, low, BOUNDARY)
    first = {"last_step": 2, "force_full_denoise": False}
    assert torch.equal(sample(wan, wan.apply(joined), **first), sample(wan, wan.apply(high), **first))
    last = {"start_step": 2}
    assert torch.equal(sample(wan, wan.apply(joined), **last), sample(wan, wan.apply(low), **last))
    whole = sample(wan, wan.apply(joined))
    assert not torch.allclose(whole, sample(wan, wan.apply(high)))
    assert not torch.allclose(whole, sample(wan, wan.apply(low)))


def test_or_the_half_of_the_model_it_is_wired_to(wan: Joint, halves: tuple) -> None:
    joined = wan.part("experts").join_experts(*halves, BOUNDARY)
    apply = wan.part("injection").apply_embedding
    for expert, half in zip(("high noise", "low noise"), halves, strict=True):
        assert torch.equal(sample(wan, apply(wan.model, joined, expert=expert)), sample(wan, wan.apply(half)))


def test_training_does_not_go_on_from_both(wan: Joint, halves: tuple) -> None:
    training = wan.part("training")
    joined = wan.part("experts").join_experts(*halves, BOUNDARY)
    with pytest.raises(wan.part("errors").InputError, match=r"^initial: it is a motion for two models"):
        training.train_motion(wan.model, wan.positive, wan.clip(), training.Recipe(), joined)
