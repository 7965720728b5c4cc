from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from demo import references
from demo.run import SCENES, WORKFLOW, Reference, Result, look_of, measure, plan, scenes_for, shipped, summarise, table
from demo.tiny_model.world import Look, render
from motion_embedding.benchmark.workflow import load


@pytest.mark.parametrize("name", references.REFERENCES)
def test_scenes_share_nothing_with_the_reference(name: str) -> None:
    look = shipped(name).look
    scenes = scenes_for(shipped(name), 3)
    for scene in scenes:
        assert not {scene.color, scene.shape, scene.background} & {look.color, look.shape, look.background}


@pytest.mark.parametrize("name", references.REFERENCES)
def test_every_reference_has_three_scenes(name: str) -> None:
    assert len(scenes_for(shipped(name), 3)) == 3


def test_a_perfect_transfer_and_none_are_told_apart() -> None:
    """The clip with the motion is the reference's motion rendered in the new look, the other one stands still."""
    reference, scene = shipped("circle"), Look("red", "star", "navy", "striped")
    _, motion = references.REFERENCES["circle"]
    _, still = references.REFERENCES["still"]
    result = Result(scene.prompt, scene, render(scene, still), render(scene, motion))
    scores = measure(reference, references.frames_of("circle"), result)
    assert scores["with"]["object_track_correlation"] > 0.98
    assert abs(scores["without"]["object_track_correlation"]) < 0.2
    for kind in ("without", "with"):
        assert scores[kind]["color_right"] == scores[kind]["shape_right"] == scores[kind]["background_right"] == 1
        assert scores[kind]["reference_color_leaked"] == 0


def test_a_camera_is_measured_where_it_can_be_seen() -> None:
    """The reference's camera in a new look, and a camera at rest."""
    reference, scene = shipped("camera_pan"), scenes_for(shipped("camera_pan"), 1)[0]
    _, motion = references.REFERENCES["camera_pan"]
    _, still = references.REFERENCES["still"]
    result = Result(scene.prompt, scene, render(scene, still), render(scene, motion))
    scores = measure(reference, references.frames_of("camera_pan"), result)
    assert scores["with"]["camera_error"] < 0.1
    assert scores["without"]["camera_error"] == pytest.approx(1, abs=0.05)
    assert "camera_error" not in measure(shipped("circle"), references.frames_of("circle"), result)["with"]


def test_the_default_run_shows_objects_and_a_camera() -> None:
    todo = plan(Namespace(video=None, reference_prompt="", prompt=[], references=None))
    presets = {reference.name: options.get("Learn the motion.preset") for reference, _, options in todo}
    assert presets == {"circle": None, "bounce": None, "camera_pan": "camera motion", "real_footage": None}


def test_a_copy_of_the_reference_is_called_a_leak() -> None:
    reference, frames = shipped("circle"), references.frames_of("circle")
    scene = Look("red", "star", "navy", "striped")
    scores = measure(reference, frames, Result(scene.prompt, scene, frames, frames))["with"]
    assert (scores["reference_color_leaked"], scores["color_right"], scores["shape_right"]) == (1, 0, 0)


def test_only_what_is_known_is_measured() -> None:
    frames = references.frames_of("camera_pan")
    mine, cat = Reference("mine", Path("mine.mp4")), Result("a cat", None, frames, np.zeros_like(frames))
    numbers = measure(mine, frames, cat)
    assert numbers["without"] == {"motion_fidelity": pytest.approx(1.0)}
    assert numbers["with"] == {"motion_fidelity": 0.0}
    look, _ = references.REFERENCES["camera_pan"]
    known = measure(mine, frames, Result(look.prompt, look, frames, frames))["with"]
    assert set(known) == {"motion_fidelity", "color_right", "shape_right", "background_right"}
    assert set(known.values()) == {1.0}


def test_summary_by_hand_leaves_footage_without_a_score_out() -> None:
    def item(value: float, correlation: float | None) -> dict:
        part = {"motion_fidelity": value}
        if correlation is not None:
            part["object_track_correlation"] = correlation
        return {"without": dict.fromkeys(part, 0.0), "with": part}

    summary = summarise([item(1.0, 0.8), item(0.5, 1.0), item(0.0, None)])
    assert summary["motion_fidelity"] == {"without": 0.0, "with": 0.75}
    assert summary["object_track_correlation"]["with"] == pytest.approx(0.9)
    assert "object track correlation" in table(summary)
    assert summarise([item(0.4, None)])["motion_fidelity"]["with"] == 0.4


@pytest.mark.parametrize("look", SCENES, ids=lambda look: look.prompt)
def test_a_prompt_about_the_world_is_understood(look: Look) -> None:
    assert look_of(look.prompt) == look


def test_a_prompt_about_something_else_is_not() -> None:
    assert look_of("a cat in a red hat") is None
    assert look_of("a red circle") is None


def test_plan_for_the_users_own_clip_and_prompt() -> None:
    arguments = Namespace(video=Path("a/dance.mp4"), reference_prompt="", prompt=["a cat"], references=None)
    ((reference, scenes, options),) = plan(arguments)
    assert (reference.name, reference.look, scenes, options) == ("dance", None, [("a cat", None)], {})


def test_the_two_samplers_of_the_workflow_differ_in_the_model_alone() -> None:
    """Otherwise what is shown as the motion's work might be another seed, guidance or sampler."""
    titled = {n["title"]: n for n in load(WORKFLOW)["nodes"]}
    without, carried = titled["Sample without"], titled["Sample with"]
    assert without["widgets_values"] == carried["widgets_values"]
    origins = {link[0]: tuple(link[1:3]) for link in load(WORKFLOW)["links"]}
    wired = [{i["name"]: origins.get(i["link"]) for i in n["inputs"]} for n in (without, carried)]
    assert wired[0]["model"] != wired[1]["model"]
    assert all(wired[0][k] == wired[1][k] for k in wired[0] if k != "model")
