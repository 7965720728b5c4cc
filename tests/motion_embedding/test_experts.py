"""One motion in two halves: joined, edited, saved and taken apart again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from motion_embedding import files, transforms
from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.errors import InputError
from motion_embedding.experts import join_experts, parts


def motion(seed: int, frames: int = 3, **changes) -> MotionEmbedding:
    generator = torch.Generator().manual_seed(seed)
    layer = LayerEmbedding(
        torch.randn(frames, 4, generator=generator), {"self_attn": torch.randn(2, 2, frames, 4, generator=generator)}
    )
    return MotionEmbedding({"blocks.0": layer}, "wan", frames, 4, 4, prediction="flow", **changes)


def same(a: MotionEmbedding, b: MotionEmbedding) -> bool:
    pairs = [(a.layers[name], b.layers[name]) for name in a.layers]
    return a.layers.keys() == b.layers.keys() and all(
        torch.equal(x.query_key, y.query_key) and all(torch.equal(x.value[k], y.value[k]) for k in x.value)
        for x, y in pairs
    )


def test_each_half_comes_back_for_its_noise_levels() -> None:
    high, low = motion(0, debias=Debias(until=0.8)), motion(1)
    first, second = parts(join_experts(high, low, 0.875))
    assert same(first.embedding, high) and same(second.embedding, low)
    assert (first.above, first.below) == (0.875, float("inf"))
    assert (second.above, second.below) == (float("-inf"), 0.875)
    assert first.embedding.debias == second.embedding.debias == Debias(until=0.8)
    assert first.embedding.boundary == second.embedding.boundary == 0


@pytest.mark.parametrize(("expert", "index"), [("high noise", 0), ("low noise", 1)])
def test_or_one_half_at_every_noise_level(expert: str, index: int) -> None:
    halves = motion(0), motion(1)
    (part,) = parts(join_experts(*halves, 0.9), expert)
    assert same(part.embedding, halves[index])
    assert (part.above, part.below) == (float("-inf"), float("inf"))


def test_a_motion_for_one_model_is_all_there_is() -> None:
    high = motion(0)
    assert [part.embedding for part in parts(high, "low noise")] == [high]


def test_edits_and_files_keep_both_halves(tmp_path: Path) -> None:
    joined = join_experts(motion(0), motion(1), 0.9)
    files.save(transforms.reverse(joined), tmp_path / "joined.safetensors", torch.float32)
    first, second = parts(files.load(tmp_path / "joined.safetensors"))
    assert same(first.embedding, transforms.reverse(motion(0)))
    assert same(second.embedding, transforms.reverse(motion(1)))
    assert second.below == 0.9


def test_older_packs_are_told_that_a_file_for_two_models_is_newer(tmp_path: Path) -> None:
    for name, saved in (("one", motion(0)), ("two", join_experts(motion(0), motion(1), 0.9))):
        files.save(saved, tmp_path / name)
    assert [files.read_metadata(tmp_path / name)["version"] for name in ("one", "two")] == [2, 3]


def test_halves_of_different_clips_are_refused() -> None:
    with pytest.raises(InputError, match=r"^low_noise: it was learnt on wan, 1 layers, 5 frames.*same clip"):
        join_experts(motion(0), motion(1, frames=5), 0.9)
    with pytest.raises(InputError, match=r"^high_noise: it is a motion for both"):
        join_experts(join_experts(motion(0), motion(1), 0.9), motion(1), 0.9)
