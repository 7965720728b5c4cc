"""A call that is only a part of the clip or of the picture sees that part of the motion, row by row."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from motion_embedding.applied import Applied
from motion_embedding.backbones import Call, TemporalAttention
from motion_embedding.backbones.unet3d import UNet3D
from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.install import Additions, Prepared
from motion_embedding.resample import crop_grid, whole_grid

FRAMES, HEIGHT, WIDTH, CHANNELS = 6, 4, 6, 3
SITE = TemporalAttention("block", "attn1", *[nn.Linear(CHANNELS, CHANNELS)] * 3)


@pytest.fixture
def motion() -> MotionEmbedding:
    generator = torch.Generator().manual_seed(0)
    layer = LayerEmbedding(
        torch.randn(FRAMES, CHANNELS, generator=generator),
        {"attn1": torch.randn(HEIGHT, WIDTH, FRAMES, CHANNELS, generator=generator)},
    )
    return MotionEmbedding({"block": layer}, "unet3d", FRAMES, HEIGHT, WIDTH)


def on_tokens(sources: list, call: Call, projection: str, x: torch.Tensor, prepared: Prepared) -> torch.Tensor:
    (part,) = Additions(UNet3D(), sources, call, prepared).arrived(SITE, [projection], x)
    return UNet3D().add(x, part, call)


def added(motion: MotionEmbedding, call: Call, projection: str, whole: bool = True) -> torch.Tensor:
    """What reaches the tokens of ``call``, ``[batch, h, w, F, C]``."""
    x = torch.zeros(call.batch * call.height * call.width, call.frames, CHANNELS)
    result = on_tokens([Applied(motion, whole=whole)], call, projection, x, Prepared())
    return result.reshape(call.batch, call.height, call.width, call.frames, CHANNELS)


@pytest.mark.parametrize("window", [(2, 3, 4), (5, 0, 2)])
def test_a_window_sees_its_frames_of_the_motion(motion: MotionEmbedding, window: tuple[int, ...]) -> None:
    call = Call(3, HEIGHT, WIDTH).within(window, FRAMES)
    keys, values = added(motion, call, "query_key")[0], added(motion, call, "value")[0]
    for place, frame in enumerate(window):
        assert torch.equal(keys[1, 2, place], motion.layers["block"].query_key[frame])
        assert torch.equal(values[..., place, :], motion.layers["block"].value["attn1"][..., frame, :])


def test_differences_are_taken_on_the_time_line_of_the_whole_clip(motion: MotionEmbedding) -> None:
    """The first frame of a later window is its difference from the frame before, not the frame itself."""
    call = Call(3, HEIGHT, WIDTH).within((3, 4, 5), FRAMES)
    values = added(motion.replace(debias=Debias("difference")), call, "value")[0]
    trained = motion.layers["block"].value["attn1"]
    assert torch.allclose(values[..., 0, :], trained[..., 3, :] - trained[..., 2, :])


def test_a_longer_clip_is_stretched_before_its_windows_are_cut(motion: MotionEmbedding) -> None:
    """Six rows over twelve frames, linear with half-pixel centres: frame 7 lies at 3.25 of the trained ones."""
    call = Call(4, HEIGHT, WIDTH).within((6, 7, 8, 9), 12)
    rows = motion.layers["block"].query_key
    assert torch.allclose(added(motion, call, "query_key")[0, 0, 0, 1], 0.75 * rows[3] + 0.25 * rows[4])


def test_or_every_window_has_all_of_it(motion: MotionEmbedding) -> None:
    call = Call(FRAMES, HEIGHT, WIDTH).within(range(6, 12), 12)
    values = added(motion, call, "value", whole=False)[0]
    assert torch.equal(values, motion.layers["block"].value["attn1"])


def test_windows_share_what_is_prepared(motion: MotionEmbedding) -> None:
    prepared = Prepared()
    source = Applied(motion)
    for window in ((0, 1, 2), (3, 4, 5), (0, 2, 4)):
        call = Call(3, HEIGHT, WIDTH).within(window, FRAMES)
        x = torch.zeros(HEIGHT * WIDTH, 3, CHANNELS)
        on_tokens([source], call, "value", x, prepared)
    assert len(prepared.additions) == 1


def test_an_area_sees_its_part_of_the_picture(motion: MotionEmbedding) -> None:
    """Two prompts for areas of the same size in one call, one of them in the lower right corner."""
    call = Call(FRAMES, 2, 3, groups=(0, 1), batch=2).at([(0, 0), (2, 3)], (HEIGHT, WIDTH))
    values, trained = added(motion, call, "value"), motion.layers["block"].value["attn1"]
    assert torch.equal(values[0], trained[:2, :3])
    assert torch.equal(values[1], trained[2:, 3:])
    assert torch.equal(added(motion, call, "query_key")[1, 1, 1], motion.layers["block"].query_key)


def test_an_area_in_a_window(motion: MotionEmbedding) -> None:
    call = Call(2, 2, 3).at([(2, 1)], (HEIGHT, WIDTH)).within((4, 5), FRAMES)
    assert torch.equal(added(motion, call, "value")[0], motion.layers["block"].value["attn1"][2:, 1:4, 4:])


def test_positive_only_within_areas(motion: MotionEmbedding) -> None:
    call = Call(FRAMES, 2, 3, groups=(1, 0), batch=2).at([(0, 0), (2, 3)], (HEIGHT, WIDTH))
    x = torch.zeros(2 * 6, FRAMES, CHANNELS)
    result = on_tokens([Applied(motion, positive_only=True)], call, "value", x, Prepared())
    assert not result[:6].any()
    assert torch.equal(result[6:].reshape(2, 3, FRAMES, CHANNELS), motion.layers["block"].value["attn1"][2:, 3:])


def test_grids_of_deeper_levels() -> None:
    """A picture of 9x16 has a level of 5x8; its area of 5x8 one of 3x4, which at (4, 8) begins at (2, 4)."""
    assert whole_grid((3, 4), (5, 8), (9, 16)) == (5, 8)
    rows = torch.arange(40.0).reshape(1, 40, 1, 1)
    part = crop_grid(rows, (5, 8), (3, 4), (5, 8), [(4, 8)])
    expected = [[20.0, 21, 22, 23], [28, 29, 30, 31], [36, 37, 38, 39]]
    assert part.reshape(3, 4).tolist() == expected
