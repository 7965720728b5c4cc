from __future__ import annotations

import pytest
import torch

from motion_embedding.applied import query_key_rows, value_rows
from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding


def one_layer(value: torch.Tensor, query_key: torch.Tensor, debias: Debias = Debias()) -> MotionEmbedding:  # noqa: B008
    layers = {"block": LayerEmbedding(query_key, {"attn1": value})}
    return MotionEmbedding(layers, "unet3d", query_key.shape[0], *value.shape[:2], debias=debias)


def test_rows_are_resampled_before_they_are_differenced() -> None:
    """A ramp 0, 4 over two frames is 0, 1, 3, 4 over four; its differences are 0, 1, 2, 1."""
    rows = torch.tensor([[0.0], [4.0]])
    embedding = one_layer(rows.expand(1, 1, 2, 1), rows, Debias("difference"))
    assert value_rows(embedding, "block", "attn1", 4, 1, 1).flatten().tolist() == [0.0, 1.0, 2.0, 1.0]
    assert query_key_rows(embedding, "block", 4).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("frames", "rescale", "expected"),
    [
        (2, "off", [1.5, 4.0]),
        (2, "total", [1.5, 4.0 * 7 / 4]),
        (2, "pace", [1.5, 1.0]),
        (6, "total", [1 / 6, 1.4, 1.4, 1.4, 1.4, 1.4]),
        (12, "total", [0.0, 0.5, *[2 / 3] * 9, 0.5]),
        (12, "pace", [0.0, 0.75, *[1.0] * 9, 0.75]),
    ],
)
def test_differences_of_a_ramp_of_eight_rows(frames: int, rescale: str, expected: list[float]) -> None:
    """Rows 0..7. Two frames sample it at 1.5 and 5.5, six at 1/6, 1 1/2, ..., twelve at 0, 1/2, 1 1/6, ..., 7."""
    rows = torch.arange(8.0)[:, None]
    embedding = one_layer(rows.expand(1, 1, 8, 1), rows, Debias("difference_without_first", rescale=rescale))
    differences = value_rows(embedding, "block", "attn1", frames, 1, 1).flatten()
    assert torch.allclose(differences, torch.tensor([0.0, *expected[1:]]))
    published = embedding.replace(debias=Debias("difference", rescale=rescale))
    assert torch.allclose(value_rows(published, "block", "attn1", frames, 1, 1).flatten(), torch.tensor(expected))


@pytest.mark.parametrize("frames", [2, 6, 8, 12, 36])
def test_with_the_total_kept_differences_add_up_to_last_minus_first(frames: int) -> None:
    rows = torch.arange(8.0)[:, None]
    embedding = one_layer(rows.expand(1, 1, 8, 1), rows, Debias("difference_without_first", rescale="total"))
    assert value_rows(embedding, "block", "attn1", frames, 1, 1).sum().item() == pytest.approx(7.0)


def test_rescaling_is_for_differences_alone() -> None:
    rows = torch.arange(8.0)[:, None]
    embedding = one_layer(rows.expand(1, 1, 8, 1), rows, Debias("plain", rescale="pace"))
    assert value_rows(embedding, "block", "attn1", 4, 1, 1).flatten().tolist() == [0.5, 2.5, 4.5, 6.5]


def test_camera_and_untrained_attentions_give_no_value() -> None:
    embedding = one_layer(torch.ones(1, 1, 2, 3), torch.ones(2, 3), Debias("camera"))
    assert value_rows(embedding, "block", "attn1", 2, 1, 1) is None
    assert value_rows(embedding.replace(debias=Debias()), "block", "attn2", 2, 1, 1) is None


@pytest.mark.parametrize(
    ("query_key", "value"), [((2, 3), (1, 1, 2, 4)), ((2, 3), (1, 2, 3)), ((3,), (1, 1, 2, 3)), ((4, 3), (1, 1, 2, 3))]
)
def test_tensors_that_do_not_belong_together_are_refused(query_key, value) -> None:
    with pytest.raises(ValueError, match="layer block"):
        MotionEmbedding({"block": LayerEmbedding(torch.zeros(query_key), {"attn1": torch.zeros(value)})}, "x", 2, 1, 1)


def test_fingerprint_is_of_the_layout_alone() -> None:
    a = one_layer(torch.zeros(1, 1, 2, 3), torch.zeros(2, 3))
    b = one_layer(torch.ones(4, 4, 5, 3), torch.ones(5, 3))
    c = one_layer(torch.zeros(1, 1, 2, 4), torch.zeros(2, 4))
    assert a.fingerprint == b.fingerprint != c.fingerprint


def test_frames_of_a_compressed_latent_are_told_apart_from_the_videos() -> None:
    motion = one_layer(torch.zeros(1, 1, 13, 3), torch.zeros(13, 3))
    assert "13 frames," in motion.describe()
    assert "13 latent frames (49 of video)" in motion.replace(training={"frames_each": 4}).describe()
