"""Learning and using a motion on Stable Video Diffusion in the real host, on a small random model of its shape."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from tests import small_svd

pytestmark = pytest.mark.host
FRAMES = 4


@dataclass
class Svd:
    """A model, the latents of a clip, and the conditioning made of its first frame."""

    pack: ModuleType
    model: Any
    clip: torch.Tensor
    positive: list
    negative: list

    def part(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.pack.__name__}.motion_embedding.{name}")

    def train(self, model: Any = None, positive: list | None = None, clip=None, keep=None, **changes: Any) -> Any:
        """As a node would: inside inference mode."""
        training = self.part("training")
        recipe = training.Recipe(**{"steps": 2, "learning_rate": 0.1, **changes})
        clip = self.clip if clip is None else clip
        with torch.inference_mode():
            return training.train_motion(model or self.model, positive or self.positive, clip, recipe, keep=keep)

    def apply(self, motion: Any, model: Any = None) -> Any:
        return self.part("injection").apply_embedding(model or self.model, motion)

    def state(self) -> dict[str, Any]:
        named = list(self.model.model.named_modules())
        return {
            "weights": {k: v.clone() for k, v in self.model.model.state_dict().items()},
            "flags": [p.requires_grad for p in self.model.model.parameters()],
            "overrides": [n for n, m in named if "forward" in m.__dict__ or "weight_function" in m.__dict__],
            "hooks": [n for n, m in named if m._forward_hooks or m._forward_pre_hooks],
        }

    def assert_unchanged(self, before: dict[str, Any]) -> None:
        after = self.state()
        weights = after.pop("weights")
        assert all(torch.equal(v, weights[k]) for k, v in before.pop("weights").items())
        assert after == before


@pytest.fixture(scope="module")
def svd(comfy, pack) -> Svd:
    with torch.inference_mode():
        clip = small_svd.clip(FRAMES)
        return Svd(pack, small_svd.model(), clip, *small_svd.conditioning(clip[:1].clone()))


@pytest.fixture(scope="module")
def motion(svd):
    return svd.train(steps=10).embedding


def sigma_at(percent: float) -> float:
    """Noise levels of SVD run evenly in their logarithm from 700 to 0.002."""
    return math.exp(math.log(700) + percent * (math.log(0.002) - math.log(700)))


def label(*numbers: float) -> torch.Tensor:
    """Cosines and sines of each number at 128 frequencies from 1 down to 1/10000."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(128) / 128)
    return torch.cat([f(n * frequencies) for n in numbers for f in (torch.cos, torch.sin)])


def by_hand(svd: Svd, sigma: float, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network says of the clip under this noise, and what it should say, by SVD's own equations."""
    clip, frames = svd.clip * 0.18215, len(svd.clip)
    noisy = clip + sigma * noise
    picture = svd.clip[:1].expand(frames, -1, -1, -1)
    with torch.inference_mode():
        said = svd.model.model.diffusion_model(
            torch.cat([noisy / math.sqrt(sigma**2 + 1), picture], 1),
            torch.full((frames,), 0.25 * math.log(sigma)),
            context=svd.positive[0][0].expand(frames, -1, -1),
            y=label(6 - 1, 127, 0).expand(frames, -1),
            num_video_frames=frames,
        )
    return said, (noise - sigma * clip) / math.sqrt(sigma**2 + 1)


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.02), (0.3, 0.7), (0.98, 1.0)])
def test_the_loss_is_that_of_svds_own_equations(svd, start, end) -> None:
    """At the first step nothing is learnt: the loss is the frozen network's error in its v-prediction."""
    trained = svd.train(steps=1, loss="base", start_percent=start, end_percent=end)
    generator = torch.Generator().manual_seed(0)
    offset = torch.rand((), generator=generator).item()
    torch.randint(FRAMES, (), generator=generator)
    noise = torch.randn(svd.clip.shape, generator=generator)
    low, high = max(start, 1e-3), min(end, 1 - 1e-3)
    percent = low + (high - low) * ((offset + 0.5 * 0.6180339887498949) % 1) ** 2
    said, wanted = by_hand(svd, sigma_at(percent), noise)
    assert trained.losses[0] == pytest.approx((said - wanted).square().mean().item(), rel=1e-3)
    assert trained.embedding.prediction == "v"


def test_the_debiased_loss_compares_frames_of_the_batch_axis(svd) -> None:
    trained = svd.train(steps=1, loss="debiased", start_percent=0.3, end_percent=0.7)
    generator = torch.Generator().manual_seed(0)
    offset = torch.rand((), generator=generator).item()
    reference = int(torch.randint(FRAMES, (), generator=generator))
    noise = torch.randn(svd.clip.shape, generator=generator)
    said, wanted = by_hand(svd, sigma_at(0.3 + 0.4 * ((offset + 0.5 * 0.6180339887498949) % 1) ** 2), noise)
    error = said - wanted
    expected = error.square().mean() + (math.sqrt(2) * error - error[reference]).square().mean()
    assert trained.losses[0] == pytest.approx(expected.item(), rel=1e-3)


def test_the_loss_falls_and_every_layer_learns(svd) -> None:
    trained = svd.train(steps=30, learning_rate=0.05, start_percent=0.3, end_percent=0.7)
    assert np.mean(trained.losses[-8:]) < 0.9 * np.mean(trained.losses[:8])
    embedding = trained.embedding
    assert (embedding.backbone, embedding.frames, embedding.height, embedding.width) == ("svd", FRAMES, 8, 8)
    assert list(embedding.layers) == small_svd.LAYERS
    for layer in embedding.layers.values():
        assert set(layer.value) == {"attn1"}
        assert all(t.abs().max() > 0 for t in (layer.query_key, layer.value["attn1"]))


@pytest.mark.parametrize("loss", ["debiased_hybrid", "motion_distillation"])
def test_the_other_losses_train_and_leave_the_model_as_it_was(svd, loss) -> None:
    before = svd.state()
    trained = svd.train(steps=4, loss=loss)
    assert all(np.isfinite(trained.losses))
    assert all(v.value["attn1"].abs().max() > 0 for v in trained.embedding.layers.values())
    svd.assert_unchanged(before)


def test_the_look_is_learnt_from_clips_of_one_frame(svd) -> None:
    """By the throw-away LoRA of the hybrid loss: the host has counted the frames of the whole clip for every call."""
    network = Network(svd.model)
    svd.train(network.model, steps=6, loss="debiased_hybrid")
    sizes = {(len(call["picture"]), call["frames"]) for call in network.calls}
    assert sizes == {(FRAMES, FRAMES), (1, 1)}


class Network:
    """What the network is given at each call besides the noisy clip, on a clone of the model."""

    def __init__(self, model: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self.model = model.clone()
        self.model.add_wrapper("diffusion_model", self.remember)

    def remember(self, executor, x, timesteps, context, y, *args, **kwargs):
        given = {"picture": x[:, 4:].clone(), "seen": context.clone(), "label": y.clone()}
        self.calls.append({**given, "frames": kwargs["num_video_frames"]})
        return executor(x, timesteps, context, y, *args, **kwargs)


def test_training_sees_the_first_frame_exactly_as_sampling_does(svd) -> None:
    training, sampling = Network(svd.model), Network(svd.model)
    svd.train(training.model, steps=1)
    small_svd.sample(sampling.model, cfg=1.0)
    learnt, sampled = training.calls[-1], sampling.calls[-1]
    assert learnt.keys() == sampled.keys()
    assert learnt["frames"] == sampled["frames"] == FRAMES
    assert torch.equal(learnt["picture"], svd.clip[:1].expand(FRAMES, -1, -1, -1)), "unscaled, as SVD was trained"
    assert all(torch.equal(learnt[name], sampled[name]) for name in ("picture", "seen", "label"))


def test_speed_and_amount_of_motion_reach_the_training(svd) -> None:
    plain = svd.train(steps=1).losses
    positive, _ = small_svd.conditioning(svd.clip[:1], fps=12, motion_bucket_id=40)
    assert svd.train(positive=positive, steps=1).losses != plain


@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_a_zero_motion_changes_no_bit_and_a_learnt_one_does(svd, motion, cfg) -> None:
    before, plain = svd.state(), small_svd.sample(svd.model, cfg=cfg)
    zero = motion.replace(layers={n: v.map(torch.zeros_like, torch.zeros_like) for n, v in motion.layers.items()})
    assert torch.equal(small_svd.sample(svd.apply(zero), cfg=cfg), plain)
    assert (small_svd.sample(svd.apply(motion), cfg=cfg) - plain).abs().max() > 1e-2
    assert torch.equal(small_svd.sample(svd.model, cfg=cfg), plain)
    svd.assert_unchanged(before)


def test_guidance_that_rises_along_the_clip(svd, motion) -> None:
    """The stock node everyone puts on SVD, before and after ours."""
    from comfy_extras.nodes_video_model import VideoLinearCFGGuidance

    def guided(model):
        return VideoLinearCFGGuidance().patch(model, 1.0)[0]

    before, after = small_svd.sample(svd.apply(motion, guided(svd.model))), small_svd.sample(guided(svd.apply(motion)))
    assert torch.equal(before, after)
    assert (before - small_svd.sample(guided(svd.model))).abs().max() > 1e-2
    assert not torch.equal(before, small_svd.sample(svd.apply(motion)))


def test_halves_in_one_call_or_one_by_one_are_the_same(svd, motion, monkeypatch) -> None:
    """The host runs positive and negative apart when memory is short."""
    together = small_svd.sample(svd.apply(motion))
    calls = Network(svd.apply(motion))
    monkeypatch.setattr(type(svd.model.model), "memory_required", lambda *args, **kwargs: 2**60)
    apart = small_svd.sample(calls.model)
    assert {len(call["picture"]) for call in calls.calls} == {FRAMES}
    assert (apart - together).abs().max() < 1e-3


def test_another_number_of_frames_is_resampled(svd, motion) -> None:
    longer = small_svd.sample(svd.apply(motion), frames=6)
    assert longer.shape == (6, 4, 8, 8)
    assert torch.isfinite(longer).all()
    assert (longer - small_svd.sample(svd.model, frames=6)).abs().max() > 1e-2


@pytest.mark.parametrize("cancelled", [False, True], ids=["error", "cancel"])
def test_stopping_leaves_the_model_clean(svd, motion, monkeypatch, cancelled) -> None:
    """In the last temporal attention of the second call, where every projection is swapped."""
    import comfy.model_management as management

    error = management.InterruptProcessingException if cancelled else RuntimeError
    before, last, calls = svd.state(), svd.part("injection").wired_family(svd.model.model)[1][-1].value, []
    class_of = type(last)
    forward = class_of.forward

    def fail_in_the_second_call(self, *args, **kwargs):
        if self is last:
            calls.append("forward" in self.__dict__)
            if len(calls) == 2:
                raise error("stop")
        return forward(self, *args, **kwargs)

    for run in (lambda: small_svd.sample(svd.apply(motion)), lambda: svd.train(steps=4)):
        calls.clear()
        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(class_of, "forward", fail_in_the_second_call)
            run()
        assert calls == [True, True]
        svd.assert_unchanged(dict(before))


def test_a_file_gives_back_what_was_learnt(svd, motion, tmp_path) -> None:
    files = svd.part("files")
    files.save(motion, tmp_path / "wave.safetensors", dtype=torch.float32)
    loaded = files.load(tmp_path / "wave.safetensors")
    assert (loaded.backbone, loaded.prediction, loaded.frames) == ("svd", "v", FRAMES)
    assert torch.equal(small_svd.sample(svd.apply(loaded)), small_svd.sample(svd.apply(motion)))


def test_motions_of_other_families_are_refused(svd, motion, rig) -> None:
    error = svd.part("errors").InputError
    with pytest.raises(
        error, match=r"kind of model \(ModelScope, ZeroScope\) than the connected one \(Stable Video Diffusion\)"
    ):
        svd.apply(motion.replace(backbone="unet3d"))
    with pytest.raises(
        error, match=r"kind of model \(Stable Video Diffusion\) than the connected one \(ModelScope, ZeroScope\)"
    ):
        svd.apply(motion, rig.model)


def test_a_text_prompt_is_refused_before_anything_is_run(svd) -> None:
    network = Network(svd.model)
    with pytest.raises(svd.part("errors").InputError, match="positive: it holds no picture"):
        svd.train(network.model, positive=[[svd.positive[0][0], {}]])
    assert network.calls == []


def test_another_picture_is_told_of_on_the_node(svd, monkeypatch) -> None:
    said = []
    monkeypatch.setattr(svd.part("training"), "tell", said.append)
    svd.train(steps=1)
    assert said == []
    positive, _ = small_svd.conditioning(svd.clip[2:3])
    svd.train(positive=positive, steps=1)
    assert [message for message in said if "differs from the first frame" in message] == said != []


@pytest.mark.parametrize("kind", ["SV3D_u", "SV3D_p"])
def test_sv3d_learns_and_samples_alike(svd, kind) -> None:
    """The orbits around an object: per-frame angles in the label, no cross-attention over time in some."""
    model = small_svd.model(kind, disable_temporal_crossattention=True)
    angles = {"elevation": [10.0] * FRAMES, "azimuth": [120.0 * i for i in range(FRAMES)]}
    positive, _ = small_svd.conditioning(svd.clip[:1], **angles)
    trained = svd.train(model, positive=positive, steps=3)
    assert list(trained.embedding.layers) == small_svd.LAYERS
    assert all(v.query_key.abs().max() > 0 for v in trained.embedding.layers.values())
