"""An item's name says what it is, and changes with all that changes its result and with nothing else."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motion_embedding.benchmark.items import Clip, Item, Method, file_stem, slug
from motion_embedding.video import VideoRequest

WORKFLOW = {
    "id": "6f1e",
    "nodes": [
        {"id": 1, "type": "LoadVideo", "title": "Clip", "pos": [0, 0], "mode": 0, "widgets_values": ["a.mp4"]},
        {"id": 2, "type": "Note", "pos": [9, 9], "widgets_values": ["how to"]},
    ],
    "links": [],
    "extra": {"ds": {"scale": 1}},
}


def an_item(**changes: Any) -> Item:
    method = Method(
        "mine",
        WORKFLOW,
        {"clip": ("Clip.file",), "prompt": ("Scene.text",), "look": ("Look.text",), "seed": ("A.seed", "B.seed")},
        {"Steps.steps": 20},
        "Save",
    )
    clip = Clip("circle", Path("/somewhere/circle.mp4"), "a blue square", ("a star", "a cross"))
    return replace(Item(method, clip, "a star", 7, 1, VideoRequest(frames=8, fps=8), "abc123"), **changes)


def with_method(**changes: Any) -> Item:
    return an_item(method=replace(an_item().method, **changes))


def test_the_name_says_what_it_is_and_ends_with_a_digest_of_what_determines_it() -> None:
    said = {
        "method": "mine",
        "clip": "circle",
        "prompt": "a star",
        "look": "a blue square",
        "seed": 7,
        "format": {
            "start": 0.0,
            "frames": 8,
            "fps": 8.0,
            "stride": 1,
            "width": 0,
            "height": 0,
            "resize": "crop",
            "multiple_of": 8,
        },
        "reference": "abc123",
        "workflow": {
            "nodes": [{"id": 1, "type": "LoadVideo", "title": "Clip", "mode": 0, "widgets_values": ["a.mp4"]}],
            "links": [],
        },
        "clip inputs": ["Clip.file"],
        "values": {
            "Steps.steps": 20,
            "Scene.text": "a star",
            "Look.text": "a blue square",
            "A.seed": 7,
            "B.seed": 7,
        },
        "output": "Save",
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    assert an_item().id == f"mine-circle-a-star-7-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def test_the_name_is_the_same_wherever_the_files_are() -> None:
    elsewhere = replace(an_item().clip, source=Path("D:/other/circle.avi"), masks=Path("/masks"), group="easy")
    assert an_item(clip=elsewhere).id == an_item().id


def test_the_name_is_the_same_for_a_whole_rate_written_either_way() -> None:
    assert an_item(format=VideoRequest(frames=8, fps=8.0)).id == an_item(format=VideoRequest(frames=8, fps=8)).id


def test_moving_nodes_and_rewriting_notes_does_not_change_the_name() -> None:
    moved = copy.deepcopy(WORKFLOW)
    moved["nodes"][0]["pos"] = [500, 20]
    moved["nodes"][1]["widgets_values"] = ["how to, better"]
    moved["extra"] = {}
    assert with_method(workflow=moved).id == an_item().id


def test_a_workflow_of_the_server_counts_whole() -> None:
    first, second = ({"1": {"class_type": "Load", "inputs": {"file": file}}} for file in ("a", "b"))
    assert with_method(workflow=first).id == with_method(workflow=copy.deepcopy(first)).id
    assert with_method(workflow=first).id != with_method(workflow=second).id


def changed_workflow() -> dict[str, Any]:
    changed = copy.deepcopy(WORKFLOW)
    changed["nodes"][0]["widgets_values"] = ["b.mp4"]
    return changed


@pytest.mark.parametrize(
    "other",
    [
        an_item(prompt="a cross", index=2),
        an_item(seed=8),
        an_item(reference="abc124"),
        an_item(format=VideoRequest(frames=9, fps=8)),
        an_item(clip=replace(an_item().clip, look="a red square")),
        an_item(clip=replace(an_item().clip, name="left")),
        with_method(name="yours"),
        with_method(workflow=changed_workflow()),
        with_method(values={"Steps.steps": 21}),
        with_method(output="Save another"),
        with_method(inputs={**an_item().method.inputs, "clip": ("Clip.file", "Clip 2.file")}),
        with_method(inputs={**an_item().method.inputs, "seed": ("A.seed",)}),
        an_item(method=Method("mine", videos="{clip}.mp4")),
    ],
)
def test_whatever_changes_the_result_changes_the_name(other: Item) -> None:
    assert other.id != an_item().id


def test_results_made_elsewhere_are_told_by_their_pattern() -> None:
    first, second = (an_item(method=Method("mine", videos=videos)) for videos in ("a/{clip}.mp4", "b/{clip}.mp4"))
    assert first.id != second.id
    assert first.id == an_item(method=Method("mine", videos="a/{clip}.mp4")).id


@pytest.mark.parametrize(
    ("prompt", "readable"),
    [
        ("A  Red star,\non/the Moon!", "a-red-star-on-the-moon"),
        ("ein größerer Hund", "ein-groerer-hund"),
        ("一只狗", "prompt"),
        ("../../etc/passwd", "etc-passwd"),
        ("CON", "con"),
    ],
)
def test_the_name_is_safe_for_any_text(prompt: str, readable: str) -> None:
    assert an_item(prompt=prompt).id.startswith(f"mine-circle-{readable}-7-")


def test_the_name_stays_short_and_texts_cut_to_the_same_words_stay_apart() -> None:
    names = {
        an_item(
            method=replace(an_item().method, name="m" * 200),
            clip=replace(an_item().clip, name="c" * 200),
            prompt="p" * 200 + end,
            seed=2**64 - 1,
        ).id
        for end in ("x", "y")
    }
    assert len(names) == 2
    for name in names:
        assert re.fullmatch(r"[a-z0-9_-]{1,120}", name)


def test_values_are_what_the_method_sets_and_what_the_item_adds() -> None:
    assert an_item().values == {
        "Steps.steps": 20,
        "Scene.text": "a star",
        "Look.text": "a blue square",
        "A.seed": 7,
        "B.seed": 7,
    }
    assert with_method(inputs={"clip": ("C.file",), "prompt": ("P.text",)}).values == {
        "Steps.steps": 20,
        "P.text": "a star",
    }


def test_items_of_one_method_and_clip_are_a_group() -> None:
    assert an_item().group == an_item(prompt="a cross", seed=9).group
    assert an_item().group != with_method(name="yours").group
    assert an_item().group != an_item(clip=replace(an_item().clip, name="left")).group


def test_file_stems_keep_plain_names_and_tell_all_others_apart() -> None:
    assert file_stem("camera_pan-2") == "camera_pan-2"
    stems = [file_stem(name) for name in ("circle", "Circle", "circle ", "a/circle", "狗", "猫", "x" * 300)]
    assert len({stem.lower() for stem in stems}) == len(stems)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,64}", stem) for stem in stems)


def test_slugs() -> None:
    assert slug("  Sprites, quick! ") == "sprites-quick"
