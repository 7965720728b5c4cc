"""Latents as pictures: the format's colours where it has some, else the latents' own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from motion_embedding.latent_picture import latent_frames

LATENTS = torch.randn(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def test_the_formats_colours_by_hand() -> None:
    """Channel 1 is red, channel 3 is green and blue is a constant: -1 is black, 1 is full."""
    factors = [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0.5, 0]]
    latents = torch.zeros(1, 4, 2, 1, 2)
    latents[0, 1, 0] = torch.tensor([[1.0, -3.0]])
    latents[0, 3, 1] = torch.tensor([[2.0, -1.0]])
    picture = latent_frames(latents, SimpleNamespace(latent_rgb_factors=factors, latent_rgb_factors_bias=[0, 0, -0.5]))
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[[255, 128, 64], [0, 128, 64]]], [[[128, 255, 64], [128, 64, 64]]]]


def test_a_format_that_folds_its_channels() -> None:
    """Flux 2 has four positions of the picture in the channels of one."""
    fold = SimpleNamespace(
        latent_rgb_factors=[[1.0, 1.0, 1.0]],
        latent_rgb_factors_reshape=lambda t: torch.nn.functional.pixel_shuffle(t, 2),
    )
    latents = torch.tensor([1.0, -1.0, -1.0, 1.0])[None, :, None, None, None].expand(1, 4, 3, 1, 1)
    assert latent_frames(latents, fold)[2, :, :, 0].tolist() == [[255, 0], [0, 255]]


@pytest.mark.parametrize("latent_format", [None, SimpleNamespace(latent_rgb_factors=[[1.0, 1.0, 1.0]] * 3)])
def test_without_colours_the_widest_direction_shows_most(latent_format) -> None:
    latents = 0.01 * LATENTS
    latents[0, 2, :, :, :3] += 5  # the left half differs from the right in one channel, in no other
    picture = latent_frames(latents, latent_format).astype(int)
    left, right = picture[..., :3, 0], picture[..., 3:, 0]
    assert left.min() - right.max() > 240
    assert np.ptp(picture[..., 1:], axis=(0, 1, 2)).max() < 10


def test_own_colours_do_not_depend_on_scale_and_place() -> None:
    assert (latent_frames(LATENTS) == latent_frames(LATENTS * 7 + 3)).mean() > 0.99  # but for roundings


def test_several_latents_compare_by_the_directions_of_one() -> None:
    darker = LATENTS.clone()
    darker[0, :, 0] = LATENTS[0, :, 1]
    ours = latent_frames(darker, like=LATENTS)
    assert np.array_equal(ours[1:], latent_frames(LATENTS)[1:])
    assert np.array_equal(ours[0], ours[1])


def test_few_channels_still_latents_and_what_is_no_number() -> None:
    assert latent_frames(LATENTS[:, :2])[..., 2].std() == 0
    assert latent_frames(torch.ones(1, 4, 2, 3, 3)).std() == 0
    assert latent_frames(torch.full((1, 4, 2, 3, 3), torch.nan)).std() == 0


@pytest.mark.host
def test_every_video_format_of_the_host_has_colours_that_fit(comfy) -> None:
    from comfy import latent_formats

    for name in ("SD15", "Mochi", "LTXV", "HunyuanVideo", "Wan21", "Wan22", "HunyuanVideo15"):
        one = getattr(latent_formats, name)()
        assert len(one.latent_rgb_factors) == one.latent_channels, name
        latents = torch.zeros(1, one.latent_channels, 2, 3, 4)
        bias = one.latent_rgb_factors_bias or [0, 0, 0]
        expected = [round((value + 1) / 2 * 255) for value in bias]
        assert latent_frames(latents, one)[1, 2, 3].tolist() == pytest.approx(expected, abs=1), name
