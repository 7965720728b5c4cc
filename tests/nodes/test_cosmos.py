"""Learning, inverting and using a motion on Cosmos Predict2 in the real host, on a small random model."""

from __future__ import annotations

import importlib
import itertools
import math

import numpy as np
import pytest
import torch

from tests import small_cosmos
from tests.joint_rig import FRAMES, first_draw

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def cosmos(comfy, pack):
    return small_cosmos.joint(pack)


@pytest.mark.parametrize("checkpointing", ["none", "all"])
def test_the_loss_falls_and_every_layer_learns(cosmos, checkpointing) -> None:
    before = cosmos.state()
    trained = cosmos.train(steps=30, start_percent=0.3, end_percent=0.5, checkpointing=checkpointing)
    assert np.mean(trained.losses[-8:]) < 0.97 * np.mean(trained.losses[:8])
    embedding = trained.embedding
    assert (embedding.backbone, embedding.prediction) == ("cosmos_predict2", "cosmos_flow")
    assert list(embedding.layers) == small_cosmos.LAYERS
    for layer in embedding.layers.values():
        assert layer.query_key.abs().amax(1).min() > 0
        assert layer.value["self_attn"].abs().amax(-1).min() > 0
        assert layer.value["self_attn"].shape == (4, 3, FRAMES, small_cosmos.HIDDEN)
    cosmos.assert_unchanged(before)


def sigma_at(percent: float) -> float:
    """Noise levels run evenly in their logarithm from 80 to 0.002."""
    return math.exp(math.log(80) + percent * (math.log(0.002) - math.log(80)))


def said(cosmos, noisy: torch.Tensor, time: float, context: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return cosmos.model.model.diffusion_model(noisy, torch.tensor([time]), context=context)


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.02), (0.3, 0.7), (0.98, 1.0)])
def test_the_loss_is_that_of_the_networks_flow(cosmos, start, end) -> None:
    """At the first step nothing is learnt. The network sees a flow: clip and noise mixed, at the time s / (1 + s)."""
    trained = cosmos.train(steps=1, start_percent=start, end_percent=end)
    clip = cosmos.model.model.process_latent_in(cosmos.clip())
    percent, noise = first_draw(clip, start, end)
    time = sigma_at(percent) / (1 + sigma_at(percent))
    velocity = said(cosmos, (1 - time) * clip + time * noise, time, cosmos.positive[0][0])
    assert trained.losses[0] == pytest.approx((velocity - (noise - clip)).square().mean().item(), rel=1e-3)


@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_a_zero_motion_changes_no_bit_and_another_does_what_it_says(cosmos, cfg) -> None:
    before, plain = cosmos.state(), cosmos.sample(cfg=cfg)
    assert torch.equal(cosmos.sample(cosmos.apply(cosmos.motion(0.0)), cfg=cfg), plain)
    motion = cosmos.motion()
    with cosmos.by_hand(motion):
        expected = cosmos.sample(cfg=cfg)
    assert (expected - plain).abs().max() > 1e-2
    assert torch.allclose(cosmos.sample(cosmos.apply(motion), cfg=cfg), expected, atol=1e-3)
    assert torch.equal(cosmos.sample(cfg=cfg), plain)
    cosmos.assert_unchanged(before)


def test_a_lora_on_a_projection(cosmos) -> None:
    import comfy.sd

    generator, width = torch.Generator().manual_seed(11), small_cosmos.HIDDEN
    lora = {
        "diffusion_model.blocks.4.self_attn.v_proj.lora_down.weight": torch.randn(4, width, generator=generator) * 0.1,
        "diffusion_model.blocks.4.self_attn.v_proj.lora_up.weight": torch.randn(width, 4, generator=generator),
    }
    with torch.inference_mode():
        changed = comfy.sd.load_lora_for_models(cosmos.model, None, lora, 1.0, 0.0)[0]
    motion = cosmos.motion()
    with cosmos.by_hand(motion):
        expected, without = cosmos.sample(changed), cosmos.sample()
    assert (expected - without).abs().max() > 1e-3
    assert torch.allclose(cosmos.sample(cosmos.apply(motion, changed)), expected, atol=1e-3)


@pytest.fixture(scope="module")
def from_picture(comfy, pack):
    return small_cosmos.joint(pack, in_channels=17)


MASK = torch.tensor([0.0, 1.0, 1.0]).view(1, 1, FRAMES, 1, 1).expand(-1, -1, -1, 8, 6)


def test_a_picture_is_the_first_frame(from_picture) -> None:
    """Given in the latent, and masked; the host tells the network so in an own channel."""
    model = from_picture
    motion, given = model.motion(), model.clip()

    def sample(patcher) -> torch.Tensor:
        import nodes

        latent = {"samples": given, "noise_mask": MASK}
        with torch.inference_mode():
            return nodes.common_ksampler(patcher, 0, 2, 2.5, "euler", "simple", model.positive, model.negative, latent)[
                0
            ]["samples"].clone()

    with model.by_hand(motion):
        expected = sample(model.model)
    assert (expected - sample(model.model)).abs().max() > 1e-2
    assert torch.allclose(sample(model.apply(motion)), expected, atol=1e-3)


def test_a_picture_is_clean_in_training(from_picture) -> None:
    """The network sees it as it is, at the time 0, and it counts for nothing in the loss."""
    model = from_picture
    trained = model.train(latent={"samples": model.clip(), "noise_mask": MASK}, start_percent=0.3, end_percent=0.5)
    clip = model.model.model.process_latent_in(model.clip())
    percent, noise = first_draw(clip, 0.3, 0.5)
    time = sigma_at(percent) / (1 + sigma_at(percent))
    times = time * MASK
    seen = torch.cat([(1 - times) * clip + times * noise, 1 - MASK], 1)
    with torch.inference_mode():
        velocity = model.model.model.diffusion_model(seen, times[:, 0, :, 0, 0], context=model.positive[0][0])
    error = (velocity - (noise - clip)) * MASK
    assert trained.losses[0] == pytest.approx(error.square().mean().item(), rel=1e-3)
    learnt = trained.embedding.layers["blocks.9"].value["self_attn"]
    assert learnt.abs().amax(-1).min() > 0, "the first frame is part of the motion nevertheless"


def invert(cosmos, **changes) -> torch.Tensor:
    """Through the node, as a graph does."""
    node = importlib.import_module(f"{cosmos.pack.__name__}.nodes.noise").InvertVideoNoise
    options = {"latents": {"samples": cosmos.clip()}, "steps": 3, "cleaning": "as published", **changes}
    with torch.inference_mode():
        return node.execute(cosmos.model, cosmos.positive, **options).result[0]["inverted_noise"]


def test_inversion_adds_noise_and_asks_the_flow(cosmos) -> None:
    """By hand, in the clip-plus-noise form: each step adds the noise that the network's velocity implies."""
    found = invert(cosmos)  # first, since it has the host take off what another test put on the weights
    x, below = cosmos.model.model.process_latent_in(cosmos.clip()), 0.0
    for step in range(1, 4):
        sigma = sigma_at(1 - step / 3)
        time = sigma / (1 + sigma)
        guess = x * math.sqrt((1 + sigma**2) / (1 + below**2))  # as strong as what the network knows of this level
        velocity = said(cosmos, guess * (1 - time), time, cosmos.positive[0][0])
        noise = guess * (1 - time) + (1 - time) * velocity
        x, below = x + (sigma - below) * noise, sigma
    expected = x / math.sqrt(1 + 80**2)
    assert torch.allclose(found, expected, atol=1e-3 * float(expected.abs().max()))


def test_a_refined_inversion_is_undone_by_sampling(cosmos) -> None:
    """Euler steps down from the inverted noise, without a motion or guidance, lead back to the clip."""
    module, steps, errors = cosmos.model.model, 6, {}
    clip = module.process_latent_in(cosmos.clip())
    levels = [sigma_at(i / steps) for i in range(steps)] + [0.0]
    for refinements in (0, 5):
        x = invert(cosmos, steps=steps, refinements=refinements) * math.sqrt(1 + 80**2)
        for sigma, below in itertools.pairwise(levels):
            with torch.inference_mode():
                clean = module.apply_model(x, torch.tensor([sigma]), c_crossattn=cosmos.positive[0][0])
            x = x + (below - sigma) * (x - clean) / sigma
        errors[refinements] = ((x - clip).abs().mean() / clip.abs().mean()).item()
    assert errors[5] < 0.1 < 0.3 * errors[0]
