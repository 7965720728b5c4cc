"""The CoTracker3 adapter, against a stand-in with the API of ``cotracker.predictor``: a hand-made tracker."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from motion_embedding.errors import InputError
from motion_embedding.metrics.cotracker import cotracker


class Predictor(torch.nn.Module):
    """Moves every grid point by ``speed`` (x, y) per frame; hides what has left the picture, as the real one may."""

    videos: list[torch.Tensor] = []

    def __init__(self, checkpoint: Any = "./x.pth", offline: bool = True, v2: bool = False, window_len: int = 60):
        super().__init__()
        assert checkpoint is None and offline and not v2 and window_len == 60
        self.model = torch.nn.Module()
        self.model.speed = torch.nn.Parameter(torch.zeros(2))

    def forward(self, video: torch.Tensor, grid_size: int = 0, grid_query_frame: int = 0) -> tuple:
        assert video.dtype == torch.float32 and video.shape[:1] == (1,) and video.shape[2] == 3
        type(self).videos.append(video)
        frames, _, height, width = video.shape[1:]
        xs, ys = torch.linspace(0, width - 1, grid_size), torch.linspace(0, height - 1, grid_size)
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 2)
        paths = grid + torch.arange(frames)[:, None, None] * self.model.speed
        seen = (paths >= 0).all(-1) & (paths <= torch.tensor([width - 1, height - 1])).all(-1)
        return paths[None], seen[None]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[Predictor]:
    outer, inner = ModuleType("cotracker"), ModuleType("cotracker.predictor")
    inner.CoTrackerPredictor = Predictor
    monkeypatch.setitem(sys.modules, "cotracker", outer)
    monkeypatch.setitem(sys.modules, "cotracker.predictor", inner)
    monkeypatch.setattr(Predictor, "videos", [])
    return Predictor


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"speed": torch.tensor([2.0, -1.0])}, tmp_path / "scaled_offline.pth")
    return tmp_path / "scaled_offline.pth"


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 31, 41, 3), dtype=np.uint8)


def test_tracks_are_paths_per_point_with_gaps_where_hidden(package, checkpoint, frames) -> None:
    tracks = cotracker(checkpoint, device="cpu", points=10)(frames)
    assert tracks.shape == (16, 4, 2) and tracks.dtype == np.float64, "10 points round up to a grid of 4 x 4"
    start = np.stack(np.meshgrid(np.linspace(0, 40, 4), np.linspace(0, 30, 4)), -1).reshape(-1, 2)
    np.testing.assert_allclose(tracks[:, 0], start, atol=1e-5)
    expected = start[:, None] + np.arange(4)[:, None] * [2, -1]
    outside = (expected[..., 0] > 40) | (expected[..., 1] < 0)
    assert outside.any() and not outside.all()
    assert (np.isnan(tracks).all(-1) == outside).all()
    np.testing.assert_allclose(tracks[~outside], expected[~outside], atol=1e-5)
    (video,) = package.videos
    np.testing.assert_array_equal(video[0].permute(0, 2, 3, 1), frames)


def test_a_wrapped_checkpoint_is_the_same(package, checkpoint, frames) -> None:
    plain = cotracker(checkpoint, device="cpu")(frames)
    torch.save({"model": torch.load(checkpoint, weights_only=True)}, checkpoint)
    np.testing.assert_array_equal(cotracker(checkpoint, device="cpu")(frames), plain)


def test_out_of_memory_goes_on_on_the_cpu(package, checkpoint, frames, caplog, monkeypatch) -> None:
    plain = cotracker(checkpoint, device="cpu")(frames)
    forward, failing = Predictor.forward, iter([True, False])

    def fail_at_first(self, video, **options):
        if next(failing):
            raise torch.OutOfMemoryError("the clip is too long")
        return forward(self, video, **options)

    monkeypatch.setattr(Predictor, "forward", fail_at_first)
    track = cotracker(checkpoint, device="cpu")
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(track(frames), plain)
    assert "tracking on the CPU" in caplog.text


class TestRefusals:
    """Each names the licence or the file to use."""

    def test_without_the_package(self, checkpoint, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "cotracker", None)
        with pytest.raises(InputError, match=r"cannot be imported.*facebookresearch/co-tracker.*non-commercial"):
            cotracker(checkpoint)

    def test_without_a_checkpoint(self, package, tmp_path) -> None:
        with pytest.raises(InputError, match=r"no checkpoint .*gone\.pth.*scaled_offline\.pth.*non-commercial"):
            cotracker(tmp_path / "gone.pth")

    @pytest.mark.parametrize("content", [{"other": torch.zeros(1)}, torch.zeros(3), {"speed": torch.zeros(7)}])
    def test_weights_of_another_model(self, package, checkpoint, content) -> None:
        torch.save(content, checkpoint)
        with pytest.raises(InputError, match=r"does not hold the weights of CoTracker3 \(offline\)"):
            cotracker(checkpoint)

    def test_half_a_file(self, package, checkpoint) -> None:
        checkpoint.write_bytes(checkpoint.read_bytes()[:300])
        with pytest.raises(InputError, match="downloaded completely"):
            cotracker(checkpoint)

    def test_a_pickle_with_code_is_not_run(self, package, checkpoint, tmp_path) -> None:
        class Evil:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "ran",))

        torch.save({"speed": Evil()}, checkpoint)
        with pytest.raises(InputError, match="does not hold the weights"):
            cotracker(checkpoint)
        assert not (tmp_path / "ran").exists()
