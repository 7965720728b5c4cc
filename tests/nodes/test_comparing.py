"""CompareVideos in the host: what it gives and shows, and what it refuses."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch

from demo.host import ROOT
from motion_embedding.video import VideoRequest, decode_frames
from tests.sprite_clips import clip

pytestmark = pytest.mark.host

LOADING = {"start": 0.0, "fps": 0.0, "stride": 1, "width": 0, "height": 0, "resize": "crop", "multiple_of": 8}
SAVED = {
    "saved": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["compare", 1], "filename_prefix": "compared", "format": "auto", "codec": "auto"},
    }
}


@pytest.fixture(scope="module")
def node(pack: ModuleType) -> Any:
    return importlib.import_module(f"{pack.__name__}.nodes.comparing").CompareVideos


def test_it_lasts_as_long_as_the_reference_and_gives_a_video(node: Any) -> None:
    output = node.execute(clip("up"), clip("left").repeat(2, 1, 1, 1), 12.5)
    images, video = output.args
    assert images.shape == (8, 348, 648, 3) and 0 <= images.min() < images.max() <= 1
    made = video.get_components()
    assert torch.equal(made.images, images) and float(made.frame_rate) == 12.5
    (shown,) = output.ui.as_dict()["images"]
    assert shown["filename"].endswith(".mp4")


def test_the_first_frames_stand_in_the_order_of_the_inputs(node: Any) -> None:
    plain = [torch.full((2, 32, 32, 3), level) for level in (0.2, 0.4, 0.6)]
    images = node.execute(plain[0], plain[1], 8.0, result_4=plain[2]).args[0]
    found = [float(images[0, 200, 160 + index * 328, 0]) for index in range(3)]
    assert found == pytest.approx([0.2, 0.4, 0.6], abs=1 / 255)


def test_tracks_are_of_the_reference_or_of_each(node: Any) -> None:
    still = clip("up")[:1].repeat(8, 1, 1, 1)
    shown = {
        choice: node.execute(clip("up"), still, 8.0, tracks=choice).args[0][-1, 28:, 328:]
        for choice in ("off", "reference's", "each its own")
    }
    violet = {name: int(((p[..., 2] > 0.9) & (p[..., 1] < 0.3)).sum()) for name, p in shown.items()}  # up
    assert violet["reference's"] > 100 > violet["each its own"] == violet["off"] == 0


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"reference": torch.zeros(1, 64, 64, 3)}, "reference"),
        ({"result_1": torch.full((8, 64, 64, 3), torch.nan)}, "result_1"),
        ({"result_3": torch.zeros(1, 64, 64, 3)}, "result_3"),
        ({"labels": "only one"}, "labels"),
        ({"labels": "one, two, three"}, "labels"),
    ],
)
def test_refusals_name_the_input(node: Any, error: type[Exception], change: dict[str, Any], name: str) -> None:
    with pytest.raises(error) as caught:
        node.execute(**{"reference": clip("up"), "result_1": clip("up"), "fps": 8.0, **change})
    assert caught.value.name == name


def test_labels_stand_over_the_clips(node: Any) -> None:
    two = torch.full((2, 32, 32, 3), 0.5), torch.full((2, 32, 32, 3), 0.5)
    usual, same, other = (node.execute(*two, 8.0, labels).args[0] for labels in ("", " reference ,", "reference, new"))
    assert torch.equal(usual, same)
    changed = (usual != other).any(-1).any(0).nonzero()
    assert changed[:, 0].max() < 28 and changed[:, 1].min() >= 328


def test_cancelling_stops_it_before_a_clip_is_followed(node: Any) -> None:
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    try:
        with pytest.raises(management.InterruptProcessingException):
            node.execute(clip("up"), clip("up"), 8.0, tracks="each its own")
    finally:
        management.interrupt_current_processing(False)


@pytest.mark.server
def test_clips_are_compared_over_http(server: Any) -> None:
    names = ["circle", "bounce", "left"]
    loaded = {
        name: {
            "class_type": "ME_LoadVideoFrames",
            "inputs": {"file": server.upload(ROOT / "demo" / "clips" / f"{name}.mp4"), "frames": 8, **LOADING},
        }
        for name in names
    }
    compare = {"reference": ["circle", 0], "result_1": ["bounce", 0], "result_2": ["left", 0], "fps": 8.0}
    compare |= {"labels": "circle, bounce, left", "tracks": "each its own"}
    history = server.run({**loaded, "compare": {"class_type": "ME_CompareVideos", "inputs": compare}, **SAVED})
    files = [file for file in server.outputs(history) if file.suffix == ".mp4"]
    assert len(files) == 2
    for file in files:
        assert decode_frames(file, VideoRequest(frames=8, multiple_of=1)).frames.shape == (8, 348, 976, 3)
