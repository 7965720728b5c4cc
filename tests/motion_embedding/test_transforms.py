"""Edits on rows worked out by hand. What they do to a sample is tested in test_transformed_tracks.py."""

from __future__ import annotations

import pytest
import torch

from motion_embedding import transforms
from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.errors import InputError


def motion(rows: list[float], grid: list[list[float]] | None = None, **changes) -> MotionEmbedding:
    """One layer of width 1: query-keys are ``rows``; the value at a place is ``rows`` times the grid's number."""
    query_key = torch.tensor(rows, dtype=torch.float32)[:, None]
    places = torch.tensor(grid or [[1.0]], dtype=torch.float32)
    layer = LayerEmbedding(query_key, {"attn1": places[..., None, None] * query_key})
    fields = {"debias": Debias("difference"), "fps": 8.0, "height": 2 * len(places), "width": 2 * places.shape[1]}
    return MotionEmbedding({"block": layer}, "unet3d", len(rows), **{**fields, **changes})


def query_key(embedding: MotionEmbedding) -> list[float]:
    return embedding.layers["block"].query_key.flatten().tolist()


def value(embedding: MotionEmbedding) -> torch.Tensor:
    """``[h, w, F]``"""
    return embedding.layers["block"].value["attn1"][..., 0]


GRID = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
TIME = [0.0, 1.0, 2.0, 4.0]


def test_reverse_acts_on_query_keys_and_values_alike() -> None:
    before = motion(TIME, GRID)
    after = transforms.reverse(before)
    assert query_key(after) == TIME[::-1]
    assert torch.equal(value(after), torch.tensor(GRID)[..., None] * torch.tensor(TIME[::-1]))
    assert (after.frames, after.debias, after.fps, after.height, after.width) == (4, before.debias, 8.0, 4, 6)
    assert query_key(before) == TIME


def test_edits_that_keep_every_row_and_change_the_length() -> None:
    before = motion(TIME, GRID, inverted_noise=torch.zeros(1, 4, 4, 6))
    there_and_back, twice = transforms.there_and_back(before), transforms.repeat(before, 2)
    assert query_key(there_and_back) == [0, 1, 2, 4, 2, 1]
    assert query_key(twice) == [0, 1, 2, 4, 0, 1, 2, 4]
    assert torch.equal(value(twice), torch.tensor(GRID)[..., None] * torch.tensor(TIME * 2))
    assert (there_and_back.frames, twice.frames) == (6, 8)
    assert there_and_back.inverted_noise is twice.inverted_noise is None


def test_join_fits_the_second_to_the_grid_of_the_first() -> None:
    first, second = motion([1.0, 2.0], GRID), motion([5.0], [[1.0]], debias=Debias())
    joined = transforms.join(first, second)
    assert query_key(joined) == [1, 2, 5]
    assert joined.frames == 3
    assert joined.debias == first.debias
    assert torch.equal(value(joined)[..., 2], torch.full((2, 3), 5.0))


def test_motions_of_other_layers_cannot_be_joined() -> None:
    other = motion([1.0])
    other = other.replace(layers={"elsewhere": other.layers["block"]})
    with pytest.raises(InputError, match="second: it was learnt on other layers"):
        transforms.join(motion([1.0]), other)


IN_SPACE = {
    "left-right": (lambda m: transforms.mirror(m, "left-right"), [[3, 2, 1], [6, 5, 4]], (4, 6)),
    "up-down": (lambda m: transforms.mirror(m, "up-down"), [[4, 5, 6], [1, 2, 3]], (4, 6)),
    "a quarter counter-clockwise": (lambda m: transforms.rotate(m, 1), [[3, 6], [2, 5], [1, 4]], (6, 4)),
    "a half": (lambda m: transforms.rotate(m, 2), [[6, 5, 4], [3, 2, 1]], (4, 6)),
    "a quarter clockwise": (lambda m: transforms.rotate(m, -1), [[4, 1], [5, 2], [6, 3]], (6, 4)),
    "right by a third": (lambda m: transforms.shift(m, 1 / 3, 0), [[1, 1, 2], [4, 4, 5]], (4, 6)),
    "down by a quarter": (lambda m: transforms.shift(m, 0, 0.25), [[1, 2, 3], [2.5, 3.5, 4.5]], (4, 6)),
}


@pytest.mark.parametrize("name", IN_SPACE)
def test_edits_in_space_act_on_values_alone(name: str) -> None:
    edit, expected, size = IN_SPACE[name]
    after = edit(motion(TIME, GRID))
    assert torch.allclose(value(after), torch.tensor(expected).float()[..., None] * torch.tensor(TIME), atol=1e-5)
    assert query_key(after) == TIME
    assert (after.height, after.width) == size


def test_differences_are_taken_of_the_edited_rows() -> None:
    from motion_embedding.applied import value_rows

    rows = value_rows(transforms.reverse(motion(TIME)), "block", "attn1", 4, 1, 1)
    assert rows.flatten().tolist() == [4, -2, -1, -1]


def test_undone_edits_leave_the_motion_as_it_was() -> None:
    before = motion(TIME, GRID)
    for edit, undo in (
        (transforms.reverse, transforms.reverse),
        (lambda m: transforms.mirror(m, "up-down"), lambda m: transforms.mirror(m, "up-down")),
        (lambda m: transforms.rotate(m, 1), lambda m: transforms.rotate(m, 3)),
    ):
        after = undo(edit(before))
        assert torch.equal(value(after), value(before)) and query_key(after) == TIME
        assert (after.height, after.width) == (before.height, before.width)


NOISE = torch.arange(24.0).reshape(1, 4, 2, 3)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (transforms.reverse, NOISE.flip(1)),
        (lambda m: transforms.mirror(m, "left-right"), NOISE.flip(3)),
        (lambda m: transforms.mirror(m, "up-down"), NOISE.flip(2)),
        (lambda m: transforms.rotate(m, 1), NOISE.rot90(1, (2, 3))),
        (lambda m: transforms.shift(m, 0.5, 0), None),
    ],
)
def test_inverted_noise_is_turned_along_or_dropped(edit, expected) -> None:
    after = edit(motion(TIME, inverted_noise=NOISE)).inverted_noise
    assert after is None if expected is None else torch.equal(after, expected)


def test_unknown_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="diagonal"):
        transforms.mirror(motion(TIME), "diagonal")
