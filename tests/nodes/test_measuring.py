"""MeasureMotionTransfer in the host: known clips, what it shows, and what it refuses."""

from __future__ import annotations

import importlib
import json
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from demo.host import ROOT
from demo.tiny_model.world import Look
from motion_embedding.benchmark.workflow import load, set_inputs, to_prompt
from motion_embedding.video import VideoRequest, decode_frames
from tests.sprite_clips import clip

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def node(pack: ModuleType) -> Any:
    return importlib.import_module(f"{pack.__name__}.nodes.measuring").MeasureMotionTransfer


def scores(output: Any) -> dict[str, Any]:
    return json.loads(output.args[2])


class Vision:
    """Stands in for CLIP_VISION: a picture's vector is its mean colour."""

    def __init__(self) -> None:
        self.model = self

    def encode_image(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"image_embeds": pixels.mean((1, 2))}


def test_a_clip_against_itself_and_against_its_reverse(node: Any) -> None:
    same = node.execute(clip("diagonal"), clip("diagonal"), "lucas-kanade")
    assert same.args[0] == scores(same)["motion_fidelity"] == pytest.approx(1)
    back = node.execute(clip("diagonal"), clip("diagonal").flip(0), "lucas-kanade")
    assert back.args[0] < -0.8
    assert scores(back)["motion_fidelity_ceiling"] == pytest.approx(1)


def test_another_look_and_size_with_the_same_motion_stays_near_one(node: Any) -> None:
    other = clip("diagonal", Look("yellow", "square", "brown"))
    larger = torch.nn.functional.interpolate(other.permute(0, 3, 1, 2), scale_factor=2).permute(0, 2, 3, 1)
    assert node.execute(clip("diagonal"), larger, "lucas-kanade").args[0] > 0.9


def test_what_needs_more_inputs_is_null_without_them(node: Any) -> None:
    output = node.execute(clip("up"), clip("up"), "lucas-kanade", prompt="a red star")
    assert "needs clip and clip_vision" in output.args[1]
    found = scores(output)
    assert {found[key] for key in ("text_similarity", "temporal_consistency", "appearance_leakage")} == {None}


def test_leakage_is_likeness_to_the_reference_less_likeness_to_the_unrelated(node: Any) -> None:
    red, grey = clip("up"), clip("left", Look("cyan", "circle", "gray"))
    found = scores(node.execute(red, red, "lucas-kanade", unrelated=grey, clip_vision=Vision()))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (red.mean((1, 2)).numpy(), grey.mean((1, 2)).numpy())]
    expected = (unit[0] @ unit[0].T).mean() - (unit[0] @ unit[1].T).mean()
    assert found["appearance_leakage"] == pytest.approx(expected, abs=0.01)
    assert expected > 0.05


def test_the_picture_shows_both_clips_frame_by_frame(node: Any) -> None:
    output = node.execute(clip("up"), clip("left"), "lucas-kanade")
    frames, height, width, channels = output.args[3].shape
    assert (frames, channels) == (8, 3)
    assert width > 2 * height * 0.8
    (shown,) = output.ui.as_dict()["images"]
    assert shown["filename"].endswith(".mp4")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"reference": torch.zeros(1, 64, 64, 3)}, "reference"),
        ({"result": torch.full((8, 64, 64, 3), torch.nan)}, "result"),
        ({"unrelated": torch.zeros(1, 64, 64, 3)}, "unrelated"),
        ({"clip": object()}, "clip"),
    ],
)
def test_refusals_name_the_input(node: Any, error: type[Exception], change: dict[str, Any], name: str) -> None:
    with pytest.raises(error) as caught:
        node.execute(**{"reference": clip("up"), "result": clip("up"), "tracker": "lucas-kanade", **change})
    assert caught.value.name == name


def test_cancelling_stops_it_before_the_next_clip(node: Any) -> None:
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    try:
        with pytest.raises(management.InterruptProcessingException):
            node.execute(clip("up"), clip("up"), "lucas-kanade")
    finally:
        management.interrupt_current_processing(False)


@pytest.mark.server
def test_the_template_measures_over_http(server: Any) -> None:
    workflow = to_prompt(load(ROOT / "workflows" / "measure_motion.json"), server.object_info())
    file = server.upload(ROOT / "demo" / "clips" / "circle.mp4")
    workflow = set_inputs(workflow, {"Reference clip.file": file, "Result clip.file": file})
    measuring = next(id for id, node in workflow.items() if node["class_type"] == "ME_MeasureMotionTransfer")
    workflow["shown"] = {"class_type": "PreviewAny", "inputs": {"source": [measuring, 2]}}
    history = server.run(workflow)
    found = json.loads(history["outputs"]["shown"]["text"][0])
    assert found["motion_fidelity"] == pytest.approx(1)
    assert found["motion_fidelity_chance"] < 0.5
    (picture,) = (file for file in server.outputs(history) if file.suffix == ".mp4" and "tracks" in file.name)
    assert decode_frames(picture, VideoRequest(frames=8)).frames.shape[0] == 8
