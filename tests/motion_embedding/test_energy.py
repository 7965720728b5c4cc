"""Energies against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.energy import ABSENT, CHANGE, PARTS, QUERY_KEY, VALUE, energies, short_names, views


def motion(layers: dict[str, LayerEmbedding], **changes) -> MotionEmbedding:
    return MotionEmbedding(layers, "unet3d", 4, 8, 8, **changes)


def hot(frame: int) -> MotionEmbedding:
    """Two layers of four frames; all zero but ``frame`` of the second layer: query-key 3, one attention's value 2."""
    rows, value = torch.zeros(4, 6), torch.zeros(2, 3, 4, 6)
    rows[frame], value[:, :, frame] = 3.0, 2.0
    cold = LayerEmbedding(torch.zeros(4, 6), {"attn1": torch.zeros(2, 3, 4, 6), "attn2": torch.zeros(2, 3, 4, 6)})
    return motion({"cold": cold, "hot": LayerEmbedding(rows, {"attn1": value, "attn2": torch.zeros(2, 3, 4, 6)})})


def test_one_hot_frame_is_hot_alone() -> None:
    found = views(hot(2), QUERY_KEY)
    np.testing.assert_allclose(found["as learnt"], [[0, 0, 0, 0], [0, 0, 3, 0]])
    np.testing.assert_allclose(found[CHANGE], [[ABSENT, 0, 0, 0], [ABSENT, 0, 3, 3]])


def test_the_attentions_of_a_layer_count_by_their_numbers() -> None:
    np.testing.assert_allclose(energies(hot(1), VALUE, lambda t: t)[1], [0, 2**0.5, 0, 0])  # half of them are 2


def test_it_is_the_root_mean_square() -> None:
    layer = LayerEmbedding(torch.tensor([[3.0, 4.0], [0, 0], [1, -1], [0, 2]]))
    np.testing.assert_allclose(energies(motion({"a": layer}), QUERY_KEY, lambda t: t), [[12.5**0.5, 0, 1, 2**0.5]])


def test_debiased_rows_are_shown_as_used() -> None:
    debiased = hot(0).replace(debias=Debias("difference"))
    found = views(debiased, VALUE)
    assert list(found) == ["as learnt", "as used: difference"]
    np.testing.assert_allclose(found["as used: difference"][1], [2**0.5, 2**0.5, 0, 0])
    camera = views(hot(0).replace(debias=Debias("camera", "without_mean")), VALUE)
    assert not camera["as used: camera"].any() and camera["as learnt"].any()
    mean = views(hot(0).replace(debias=Debias("camera", "without_mean")), QUERY_KEY)
    np.testing.assert_allclose(mean["as used: without mean"][1], [2.25, 0.75, 0.75, 0.75])


def test_half_precision_does_not_overflow() -> None:
    layer = LayerEmbedding(torch.full((4, 512), 300.0, dtype=torch.float16))
    np.testing.assert_allclose(energies(motion({"a": layer}), QUERY_KEY, lambda t: t), 300)


def test_no_values_and_no_numbers_are_told_apart() -> None:
    layer = LayerEmbedding(torch.tensor([[1.0], [float("nan")], [1], [1]]))
    assert (views(motion({"a": layer}), VALUE)["as learnt"] == ABSENT).all()
    found = views(motion({"a": layer}), QUERY_KEY)
    assert np.isnan(found["as learnt"][0]).tolist() == [False, True, False, False]
    assert np.isnan(found[CHANGE][0]).tolist() == [False, True, True, False]
    assert PARTS == (QUERY_KEY, VALUE)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["blocks.7", "blocks.12"], ["7", "12"]),
        (["high_noise.blocks.2", "low_noise.blocks.2"], ["high_noise", "low_noise"]),
        (
            [
                "down_blocks.1.temp_attentions.0.transformer_blocks.0",
                "mid_block.temp_attentions.0.transformer_blocks.0",
            ],
            ["down.1", "mid"],
        ),
        (
            [
                "up_blocks.0.temp_attentions.0.x.0",
                "up_blocks.0.temp_attentions.1.x.0",
                "up_blocks.1.temp_attentions.0.x.0",
            ],
            ["0.0", "0.1", "1.0"],
        ),
        (["only.one.layer"], ["only.one.layer"]),
        (["a", "a_block"], ["a", "a_block"]),
    ],
)
def test_layer_names_lose_what_all_share(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short
