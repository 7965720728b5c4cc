"""How large files of a real model are: ZeroScope's layout, 576x320, 24 frames, the level that the paper trains."""

from __future__ import annotations

import pytest
import torch

from motion_embedding import files
from motion_embedding.backbones import find_backbone
from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding

FRAMES, GRID = 24, (10, 18)


@pytest.fixture(scope="module")
def paper(zeroscope) -> MotionEmbedding:
    """Of the right shapes; every tensor repeats one number, so that only writing it takes room."""
    backbone, attentions = find_backbone(zeroscope)
    chosen = backbone.select(attentions, "paper")
    one = torch.ones((), dtype=torch.float16)
    layers = {
        layer: LayerEmbedding(
            one.expand(FRAMES, 1280), {a.name: one.expand(*GRID, FRAMES, 1280) for a in chosen if a.layer == layer}
        )
        for layer in dict.fromkeys(a.layer for a in chosen)
    }
    return MotionEmbedding(layers, backbone.family, FRAMES, 40, 72)


def test_query_keys_and_values(paper, tmp_path) -> None:
    path = tmp_path / "motion.safetensors"
    files.save(paper, path)
    size = path.stat().st_size
    path.unlink()
    # 5 blocks of query-keys, 10 attentions of values, 2 bytes a number.
    numbers = 2 * FRAMES * 1280 * (5 + 10 * GRID[0] * GRID[1])
    assert numbers == 110_899_200
    assert numbers < size < numbers + 20_000 < 111_000_000


def test_query_keys_alone(paper, tmp_path) -> None:
    path = tmp_path / "camera.safetensors"
    files.save(paper.replace(debias=Debias("camera")), path)
    assert 307_200 < path.stat().st_size < 320_000
