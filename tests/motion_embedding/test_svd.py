"""Stable Video Diffusion as a family, on the host's own UNet."""

from __future__ import annotations

import copy

import pytest
import torch

from motion_embedding.backbones import BACKBONES, find_backbone
from motion_embedding.backbones.svd import SVD
from motion_embedding.errors import InputError
from motion_embedding.install import Installation
from motion_embedding.trainable import TrainableMotion
from tests import small_sd15, small_svd

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy")]
TAIL = ".1.time_stack.0"
REAL_WIDTHS = (320, 640, 1280, 1280)


@pytest.fixture
def published():
    """The layout of the published checkpoints, without weights."""
    with torch.device("meta"):
        return small_svd.unet(widths=REAL_WIDTHS, num_head_channels=64)


@pytest.fixture(scope="module")
def small(comfy):
    unet = small_svd.unet().eval()
    small_sd15.fill(unet, 1)
    return unet


def test_every_frame_mixing_attention_of_the_published_layout(published) -> None:
    backbone, attentions = find_backbone(published)
    assert backbone.family == "svd"
    assert [(a.layer, a.name) for a in attentions] == [(layer, "attn1") for layer in small_svd.LAYERS]
    widths = {a.layer.removesuffix(TAIL): a.width for a in attentions}
    assert [widths[f"input_blocks.{n}"] for n in (1, 2, 4, 5, 7, 8)] == [320, 320, 640, 640, 1280, 1280]
    assert [widths[f"output_blocks.{n}"] for n in range(3, 12)] == [1280] * 3 + [640] * 3 + [320] * 3


def test_sv3d_without_its_cross_attention_has_the_same_layers(comfy) -> None:
    with torch.device("meta"):
        unet = small_svd.unet(disable_temporal_crossattention=True, adm_in_channels=256)
    assert unet.middle_block[1].time_stack[0].attn2 is None
    assert [a.layer for a in find_backbone(unet)[1]] == small_svd.LAYERS


class Compiled(torch.nn.Module):
    """What ``torch.compile`` puts in a module's place, without its slow import."""

    def __init__(self, module) -> None:
        super().__init__()
        self._orig_mod = module

    def __getattr__(self, name):
        return super().__getattr__(name) if name == "_orig_mod" else getattr(self._orig_mod, name)


def test_names_do_not_depend_on_compilation(published) -> None:
    """``torch.compile`` of parts of a model puts ``_orig_mod`` into the names of what lies in them."""
    linears = len(SVD().spatial_linears(published))
    published.input_blocks[4] = Compiled(published.input_blocks[4])
    published.middle_block[1].time_stack[0] = Compiled(published.middle_block[1].time_stack[0])
    assert [a.layer for a in SVD().attentions(Compiled(published))] == small_svd.LAYERS
    assert len(SVD().spatial_linears(published)) == linears


@pytest.mark.parametrize(
    ("preset", "places"),
    [
        ("paper", ["input_blocks.7", "input_blocks.8", *[f"output_blocks.{n}" for n in (3, 4, 5)]]),
        (
            "paper + next level + mid",
            [
                *[f"input_blocks.{n}" for n in (4, 5, 7, 8)],
                "middle_block",
                *[f"output_blocks.{n}" for n in range(3, 9)],
            ],
        ),
        ("recommended", [layer.removesuffix(TAIL) for layer in small_svd.LAYERS]),
    ],
)
def test_presets_on_the_published_layout(published, preset, places) -> None:
    backbone, attentions = find_backbone(published)
    assert [a.layer for a in backbone.select(attentions, preset)] == [place + TAIL for place in places]


def test_no_family_claims_the_models_of_another(published) -> None:
    with torch.device("meta"):
        plain = small_svd.unet(use_temporal_attention=False, use_temporal_resblock=False)
    assert [b.family for b in BACKBONES if b.attentions(published)] == ["svd"]
    assert SVD().attentions(plain) == []


def test_spatial_layers_are_those_that_see_one_frame(small) -> None:
    names = {module: name for name, module in small.named_modules()}
    spatial = [names[linear] for linear in SVD().spatial_linears(small)]
    assert not [name for name in spatial if "time_" in name]
    transformers = [m for m in small.modules() if type(m).__name__ == "SpatialVideoTransformer"]
    parts = [part for t in transformers for part in (t.transformer_blocks, t.proj_in, t.proj_out)]
    assert len(spatial) == sum(isinstance(m, torch.nn.Linear) for part in parts for m in part.modules())


class Numbers:
    """Adds ``100 * half + position + frame / 10`` to the values of one attention."""

    settled = whole = False

    def __init__(self, layer: str) -> None:
        self.layer = layer

    def addition(self, site, projection, grid, call, device=None):
        if site.layer != self.layer or projection == "query_key":
            return None
        numbers = (torch.arange(n) for n in (len(call.groups), grid[0] * grid[1], call.frames))
        half, position, frame = torch.meshgrid(*numbers, indexing="ij")
        return (100 * half + position + frame / 10)[..., None].expand(-1, -1, -1, site.width)


def inputs_of(linear, run) -> torch.Tensor:
    """What ``linear`` is given while ``run`` runs, by an override that :class:`Installation` goes through."""
    seen, forward = [], type(linear).forward

    def remember(x):
        seen.append(x)
        return forward(linear, x)

    linear.__dict__["forward"] = remember
    try:
        with torch.no_grad():
            run()
    finally:
        del linear.__dict__["forward"]
    return seen[0]


class PassThrough(torch.nn.Module):
    def forward(self, x, **_):
        return x


def test_tokens_lie_by_clip_then_position_then_frame(small) -> None:
    """In the host's transformer with its spatial half taken out, so that a token is a function of one pixel."""
    transformer = copy.deepcopy(small.input_blocks[4][1])
    transformer.norm, transformer.transformer_blocks = torch.nn.Identity(), torch.nn.ModuleList([PassThrough()])
    frames, height, width = 3, 4, 2
    x = torch.randn(2 * frames, 64, height, width, generator=torch.Generator().manual_seed(0))
    context = torch.ones(len(x), 1, small_svd.TEXT)

    def tokens(x):
        run = lambda: transformer(x, context, timesteps=frames)  # noqa: E731
        return inputs_of(transformer.time_stack[0].attn1.to_v, run)

    plain = tokens(x)
    for clip, frame, row, column in [(0, 0, 0, 0), (0, 2, 1, 1), (1, 1, 3, 0)]:
        changed = x.clone()
        changed[clip * frames + frame, :, row, column] += 1
        moved = (tokens(changed) != plain).any(-1).nonzero().tolist()
        assert moved == [[clip * height * width + row * width + column, frame]]


def test_what_is_added_meets_its_half_position_and_frame(small) -> None:
    """Positive and negative half of a clip of 3 frames, 8x6 in latent size, so that the second level is 4x3."""
    layer, frames = "input_blocks.4.1.time_stack.0", 3
    backbone, attentions = find_backbone(small)
    value = next(a.value for a in attentions if a.layer == layer)
    x = torch.randn(2 * frames, 8, 8, 6, generator=torch.Generator().manual_seed(0))
    call = backbone.call(x, (0, 1), frames=frames)
    assert (call.frames, call.batch, call.height, call.width) == (3, 2, 8, 6)

    def run(*sources):
        with Installation(small, sources, call):
            small(
                x,
                timesteps=torch.zeros(len(x)),
                context=torch.ones(len(x), 1, small_svd.TEXT),
                y=torch.zeros(len(x), 768),
                num_video_frames=frames,
            )

    added = inputs_of(value, lambda: run(Numbers(layer))) - inputs_of(value, run)
    assert added.shape == (2 * 4 * 3, frames, 64)
    for group, position, frame in [(0, 0, 0), (0, 11, 2), (1, 0, 1), (1, 7, 0)]:
        assert added[group * 12 + position, frame, 0] == pytest.approx(100 * group + position + frame / 10, abs=1e-3)


def test_gradients_are_those_of_differences(small) -> None:
    """In float64, along one random direction of all that is learnt; the host changes some tensors in place."""
    unet, frames = copy.deepcopy(small).double().requires_grad_(False), 2
    backbone, attentions = find_backbone(unet)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(frames, 8, 8, 8, generator=generator, dtype=torch.float64)
    call, trainable = backbone.call(x, (0,)), TrainableMotion(attentions)
    context = torch.randn(frames, 1, small_svd.TEXT, generator=generator, dtype=torch.float64)

    def loss() -> torch.Tensor:
        with Installation(unet, [trainable], call):
            label = torch.zeros(frames, 768, dtype=torch.float64)
            return unet(x, torch.zeros(frames), context=context, y=label, num_video_frames=frames).square().mean()

    with torch.no_grad():
        loss()
    parameters = trainable.allocate(torch.device("cpu"), dtype=torch.float64)
    directions = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    gradients = torch.autograd.grad(loss(), parameters)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    sides = []
    for step in (1e-4, -2e-4):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += step * direction
            sides.append(loss())
    assert all(g.abs().max() > 0 for g in gradients)
    assert slope.item() == pytest.approx((sides[0] - sides[1]).item() / 2e-4, rel=1e-5)


PICTURE = small_svd.clip()[:1]


def check(picture, clip=None) -> str | None:
    positive, _ = small_svd.conditioning(picture)
    clip = small_svd.clip() if clip is None else clip
    return SVD().check_conditioning(None, positive, clip, SVD().call(clip, (0,)))


def test_the_first_frame_and_the_first_frame_blurred_a_little_are_fine() -> None:
    assert check(PICTURE) is None
    assert check(PICTURE + 0.1 * torch.randn(PICTURE.shape, generator=torch.Generator().manual_seed(1))) is None
    assert check(torch.cat([PICTURE, torch.zeros(3, 4, 8, 8)])) is None


def test_another_picture_is_told_of_and_not_refused() -> None:
    assert "differs from the first frame" in check(small_svd.clip()[1:2])
    assert "differs from the first frame" in check(PICTURE + 1)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (torch.zeros(1, 4, 8, 8), r"positive: its picture is blank.*Wire positive of SVD_img2vid_Conditioning"),
        (torch.ones(1, 4, 6, 8), "positive: its picture is 8x6 in latent size, and the clip is 8x8"),
        (torch.ones(3, 4, 8, 8), "positive: it holds 3 pictures, for a clip of 4 frames.*ImageFromBatch"),
        (small_svd.clip(), "positive: its pictures are the whole clip.*ImageFromBatch"),
    ],
)
def test_pictures_that_cannot_be_learnt_with(picture, message) -> None:
    with pytest.raises(InputError, match=message):
        check(picture)


def test_a_prompt_without_a_picture_is_refused() -> None:
    clip = small_svd.clip()
    with pytest.raises(InputError, match=r"positive: it holds no picture.*first frame as init_image"):
        SVD().check_conditioning(None, small_sd15.text(1), clip, SVD().call(clip, (0,)))
