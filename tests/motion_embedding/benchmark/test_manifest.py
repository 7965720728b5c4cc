"""A manifest is read as written; every mistake is named by its key, with cause and mend, before any work."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from motion_embedding.benchmark.items import Method
from motion_embedding.benchmark.manifest import Manifest, MetricSettings, load_manifest
from motion_embedding.errors import InputError
from motion_embedding.video import VideoRequest

WORKFLOW = {"nodes": [{"id": 1, "type": "LoadVideo", "title": "Clip"}], "links": []}
INPUTS = {"clip": "Clip.file", "prompt": "Scene.text", "look": "Look.text", "seed": ["A.seed", "B.seed"]}
INVERT = {
    "1": {"class_type": "LoadVideo", "inputs": {"file": "a.mp4"}, "_meta": {"title": "Load Video"}},
    "2": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0]}, "_meta": {"title": "Save Video"}},
}
INVERT_INPUTS = {"clip": "Load Video.file", "prompt": []}
WHOLE: dict[str, Any] = {
    "name": "test",
    "clips": {"reader": "folder", "path": "../videos", "include": ["circle", "camera_*"]},
    "format": {"frames": 8, "fps": 8, "width": 64, "height": 48, "resize": "fit"},
    "looks": {"circle": "a blue square"},
    "prompts": ["a star", "a cross"],
    "groups": {"circle": "easy"},
    "seeds": [1, 2],
    "methods": {
        "mine": {"workflow": "flow.json", "inputs": INPUTS, "set": {"Steps.steps": 20}, "output": "Save"},
        "theirs": {"videos": "results/{clip}/{index}-{seed}.mp4"},
    },
    "metrics": {"clip": "clip", "appearance": "dino", "tracker": {"cotracker": "tracker.pth"}},
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with everything that ``WHOLE`` names."""
    for name in ("videos/circle.mp4", "videos/camera_pan.mp4", "videos/left.mp4", "manifests/tracker.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = tmp_path / "manifests"
    (folder / "flow.json").write_text(json.dumps(WORKFLOW))
    for name in ("clip", "dino", "results/circle"):
        (folder / name).mkdir(parents=True)
    for name in ("clip", "dino"):
        (folder / name / "config.json").touch()
    (folder / "results" / "circle" / "1-2.mp4").touch()
    return folder


def load(folder: Path, content: Any) -> Manifest:
    (folder / "m.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return load_manifest(folder / "m.yaml")


def changed(**changes: Any) -> dict[str, Any]:
    """``WHOLE`` with other values at dotted places (``__`` for the dot); ``...`` removes a key."""
    content = copy.deepcopy(WHOLE)
    for place, value in changes.items():
        *parents, last = place.split("__")
        section = content
        for parent in parents:
            section = section[parent]
        if value is ...:
            del section[last]
        else:
            section[last] = value
    return content


def test_everything_is_read_as_written(place: Path) -> None:
    manifest = load(place, WHOLE)
    assert manifest.name == "test"
    assert manifest.path == place / "m.yaml"
    assert manifest.format == VideoRequest(frames=8, fps=8, width=64, height=48, resize="fit")
    assert manifest.seeds == (1, 2)
    pan, circle = manifest.clips
    assert (circle.name, circle.look, circle.prompts, circle.group) == (
        "circle",
        "a blue square",
        ("a star", "a cross"),
        "easy",
    )
    assert (pan.name, pan.look, pan.prompts, pan.group) == ("camera_pan", "", ("a star", "a cross"), "")
    assert circle.source.resolve() == (place.parent / "videos" / "circle.mp4").resolve()
    assert manifest.methods == (
        Method(
            "mine",
            WORKFLOW,
            {"clip": ("Clip.file",), "prompt": ("Scene.text",), "look": ("Look.text",), "seed": ("A.seed", "B.seed")},
            {"Steps.steps": 20},
            "Save",
        ),
        Method("theirs", videos="results/{clip}/{index}-{seed}.mp4"),
    )
    assert manifest.metrics == MetricSettings(place / "clip", place / "dino", "cotracker", place / "tracker.pth")
    assert not manifest.by_complexity


def test_only_name_clips_prompts_and_methods_are_needed(place: Path) -> None:
    manifest = load(
        place,
        {
            "name": "small",
            "clips": {"reader": "folder", "path": "../videos"},
            "prompts": "a star",
            "methods": {
                "m": {
                    "workflow": "flow.json",
                    "inputs": {"clip": "Clip.file", "prompt": "Scene.text"},
                    "output": "Save",
                }
            },
        },
    )
    assert [clip.name for clip in manifest.clips] == ["camera_pan", "circle", "left"]
    assert manifest.seeds == (0,)
    assert manifest.format == VideoRequest()
    assert manifest.metrics == MetricSettings(tracker="lucas-kanade")


def test_items_of_a_method_and_clip_stand_together_and_unprepared_clips_are_left_out(place: Path) -> None:
    manifest = load(place, WHOLE)
    items = list(manifest.items({"circle": "d1", "camera_pan": "d2"}))
    assert [(i.method.name, i.clip.name, i.index, i.prompt, i.seed, i.reference) for i in items] == [
        (method, clip, index, prompt, seed, digest)
        for method in ("mine", "theirs")
        for clip, digest in (("camera_pan", "d2"), ("circle", "d1"))
        for index, prompt in ((1, "a star"), (2, "a cross"))
        for seed in (1, 2)
    ]
    assert len({item.id for item in items}) == 16
    assert {item.clip.name for item in manifest.items({"circle": "d1"})} == {"circle"}


def test_items_have_the_same_names_wherever_the_manifest_lies(place: Path, tmp_path: Path) -> None:
    here = load(place, WHOLE)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for folder in (place, place.parent / "videos"):
        folder.rename(moved / folder.name)
    there = load_manifest(moved / "manifests" / "m.yaml")
    references = {"circle": "d1", "camera_pan": "d2"}
    assert [item.id for item in here.items(references)] == [item.id for item in there.items(references)]


def test_videos_made_elsewhere_are_found_by_their_pattern(place: Path) -> None:
    manifest = load(place, WHOLE)
    item = next(item for item in manifest.items({"circle": ""}) if item.method.videos and item.seed == 2)
    assert manifest.made_elsewhere(item) == place / "results" / "circle" / "1-2.mp4"


def test_a_prompt_in_a_pattern_is_taken_as_it_is(place: Path) -> None:
    (place / "results" / "a {seed}_b-1.mp4").touch()
    content = changed(prompts=["a {seed}/b"], methods={"theirs": {"videos": "{clip}/../results/{prompt}-{seed}.mp4"}})
    (place / "circle").mkdir()
    manifest = load(place, content)
    item = next(iter(manifest.items({"circle": ""})))
    assert manifest.made_elsewhere(item) == place / "circle" / ".." / "results" / "a {seed}_b-1.mp4"


def test_prompts_by_clip_and_from_the_clips_own_text(place: Path) -> None:
    (place.parent / "videos" / "circle.txt").write_text("its look\nits prompt\n")
    manifest = load(place, changed(looks=..., prompts={"camera_pan": ["another", "one more"]}))
    pan, circle = manifest.clips
    assert pan.prompts == ("another", "one more")
    assert (circle.look, circle.prompts) == ("its look", ("its prompt",))
    everywhere = load(place, changed(looks={"circle": "told"}, prompts=["for all"]))
    assert [clip.prompts for clip in everywhere.clips] == [("for all",), ("for all",)]
    assert everywhere.clips[1].look == "told"


def test_groups_by_complexity_and_starts(place: Path) -> None:
    manifest = load(place, changed(groups="complexity", clips__start={"circle": 1.5}))
    assert manifest.by_complexity
    assert [(clip.start, clip.group) for clip in manifest.clips] == [(0.0, ""), (1.5, "")]


def test_json_and_workflows_of_the_server_are_taken_too(place: Path) -> None:
    (place / "flow.json").write_text(json.dumps(INVERT))
    methods = {"invert": {"workflow": "flow.json", "inputs": INVERT_INPUTS, "output": "Save Video"}}
    content = changed(name="caf\u00e9 \U0001f3a5", methods=methods, seeds=[1])
    (place / "m.json").write_text(json.dumps(content, indent="\t"))
    manifest = load_manifest(str(place / "m.json"))
    assert manifest.methods == (
        Method("invert", INVERT, {"clip": ("Load Video.file",), "prompt": ()}, {}, "Save Video"),
    )
    assert manifest.name == "caf\u00e9 \U0001f3a5"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"inputs": {"clip": "Load Vido.file", "prompt": []}}, "'Load Vido.file' needs exactly one"),
        ({"inputs": {"clip": "Load Video.video", "prompt": []}}, "'Load Video' has no input 'video'; it has file"),
        ({"output": "Save"}, "0 nodes in the workflow are called 'Save'"),
        ({"set": {"Save Video.crf": 1}}, "'Save Video' has no input 'crf'"),
    ],
)
def test_titles_of_an_exported_workflow_are_checked_before_any_work(place: Path, change, cause: str) -> None:
    (place / "flow.json").write_text(json.dumps(INVERT))
    method = {"workflow": "flow.json", "inputs": INVERT_INPUTS, "output": "Save Video", **change}
    with pytest.raises(InputError) as raised:
        load(place, changed(methods={"invert": method}, seeds=[1]))
    assert raised.value.name == "methods.invert" and cause in raised.value.cause


def test_a_workflow_of_the_editor_may_use_titles_that_only_a_server_knows(place: Path) -> None:
    assert load(place, changed(methods__mine__output="Display Name")).methods[0].output == "Display Name"


def test_home_is_expanded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place.parent))
    assert len(load(place, changed(clips__path="~/videos")).clips) == 2


MISTAKES = {
    "an unknown key": (changed(seed=[1]), "seed", "not known", "Did you mean 'seeds'?"),
    "an unknown key inside": (changed(format__frame=8), "format.frame", "not known", "'frames'"),
    "a key of another reader": (changed(clips__split="val"), "clips.split", "not known", "reader"),
    "no name": (changed(name=...), "name", "missing", "Add `name:`"),
    "a blank name": (changed(name=" "), "name", "empty", "text"),
    "a name that is a number": (changed(name=7), "name", "it is 7", "quotes"),
    "a list for a mapping": (changed(clips=["a"]), "clips", "a list, not a mapping", "key: value"),
    "no reader": (changed(clips__reader=...), "clips.reader", "missing", "Add"),
    "an unknown reader": (changed(clips__reader="davids"), "clips.reader", "unknown", "'davis'"),
    "a path that is not there": (changed(clips__path="none"), "clips.path", "no folder", "mp4"),
    "a pattern without clips": (changed(clips__include=["circel"]), "clips.include[0]", "no clip", "'circle'"),
    "an empty list of patterns": (changed(clips__include=[]), "clips.include", "empty", "entry"),
    "a start of no clip": (changed(clips__start={"square": 1}), "clips.start.square", "not known", "circle"),
    "a text for a start": (changed(clips__start={"circle": "1 s"}), "clips.start.circle", "not a number", "number"),
    "a start before the clip": (changed(clips__start={"left": -1}), "clips.start.left", "before the clip", "0"),
    "a fraction of frames": (changed(format__frames=2.5), "format.frames", "not a whole number", "whole"),
    "true for a number": (changed(format__fps=True), "format.fps", "true, not a number", "number"),
    "one frame": (changed(format__frames=1), "format.frames", "out of range", "from 2"),
    "an unknown resize": (changed(format__resize="zoom"), "format.resize", "unknown", "crop"),
    "a look of no clip": (changed(looks={"circel": "x"}), "looks.circel", "not known", "'circle'"),
    "a look that is a list": (changed(looks={"circle": ["x"]}), "looks.circle", "a list, not text", "text"),
    "no prompts": (changed(prompts=...), "prompts", "'camera_pan' has none", "prompts"),
    "no prompts for one clip": (changed(prompts={"circle": ["x"]}), "prompts", "'camera_pan' has none", "own"),
    "prompts of no clip": (changed(prompts={"lft": ["x"]}), "prompts.lft", "not known", "'left'"),
    "a number for prompts": (changed(prompts=5), "prompts", "it is 5, not a list", "- text"),
    "an empty list of prompts": (changed(prompts=[]), "prompts", "empty", "entry"),
    "a prompt twice": (changed(prompts=["x", "y", "x"]), "prompts[2]", "twice", "Remove"),
    "a prompt that is a mapping": (changed(prompts=[{"a star": "b"}]), "prompts[0]", "a mapping, not text", "quotes"),
    "a prompt of nothing": (changed(prompts=["x", None]), "prompts[1]", "nothing, not text", "text"),
    "a group of no clip": (changed(groups={"square": "easy"}), "groups.square", "not known", "circle"),
    "an unknown grouping": (changed(groups="difficulty"), "groups", "unknown", "complexity"),
    "one seed without a list": (changed(seeds=3), "seeds", "it is 3", "[1, 2]"),
    "no seeds": (changed(seeds=[]), "seeds", "a list", "[1, 2]"),
    "a negative seed": (changed(seeds=[-1]), "seeds[0]", "not a seed", "whole"),
    "a seed too large": (changed(seeds=[1, 2**64]), "seeds[1]", "not a seed", "18446744073709551615"),
    "a seed twice": (changed(seeds=[1, 1]), "seeds[1]", "twice", "Remove"),
    "true for a seed": (changed(seeds=[True]), "seeds[0]", "not a seed", "whole"),
    "no methods": (changed(methods={}), "methods", "none", "one"),
    "a method that is a text": (changed(methods__mine="flow.json"), "methods.mine", "not a mapping", "key: value"),
    "a method without a name": (changed(methods={" ": {}}), "methods. ", "without a name", "one"),
    "a method with both": (changed(methods__mine__videos="{clip}"), "methods.mine.workflow", "no workflow", "Remove"),
    "no workflow": (changed(methods__mine__workflow="no.json"), "methods.mine.workflow", "no file", "path"),
    "a workflow that is not JSON": (
        changed(methods__mine__workflow="tracker.pth"),
        "methods.mine.workflow",
        "not JSON",
        "again",
    ),
    "no inputs": (changed(methods__mine__inputs=...), "methods.mine.inputs", "missing", "Add"),
    "no input for the clip": (changed(methods__mine__inputs__clip=...), "methods.mine.inputs.clip", "missing", "Add"),
    "an unknown input": (
        changed(methods__mine__inputs__promt="S.text"),
        "methods.mine.inputs.promt",
        "not known",
        "'prompt'",
    ),
    "an input without a node": (
        changed(methods__mine__inputs__clip="file"),
        "methods.mine.inputs.clip",
        "names no",
        "title",
    ),
    "an input set twice": (
        changed(methods__mine__set={"Scene.text": "x"}),
        "methods.mine.set",
        "inputs.prompt too",
        "one",
    ),
    "a value that is a list": (changed(methods__mine__set={"A.b": [1]}), "methods.mine.set.A.b", "a list", "number"),
    "a value that is infinite": (
        changed(methods__mine__set={"A.b": float("inf")}),
        "methods.mine.set.A.b",
        "inf",
        "finite",
    ),
    "no output": (changed(methods__mine__output=...), "methods.mine.output", "missing", "Add"),
    "seeds that go nowhere": (
        changed(methods__mine__inputs__seed=...),
        "methods.mine.inputs.seed",
        "same video",
        "seed",
    ),
    "one video for all clips": (
        changed(methods__theirs__videos="{seed}.mp4"),
        "methods.theirs.videos",
        "clip",
        "{clip}",
    ),
    "an unknown field of a pattern": (
        changed(methods__theirs__videos="{clip}{promt}.mp4"),
        "methods.theirs.videos",
        "{promt} is unknown",
        "'prompt'",
    ),
    "one video for all seeds": (
        changed(methods__theirs__videos="{clip}{index}.mp4"),
        "methods.theirs.videos",
        "seed",
        "{seed}",
    ),
    "one video for all prompts": (
        changed(methods__theirs__videos="{clip}{seed}.mp4"),
        "methods.theirs.videos",
        "prompt",
        "{index}",
    ),
    "videos that are not there": (
        changed(methods__theirs__videos="no/{clip}-{index}-{seed}.mp4"),
        "methods.theirs.videos",
        "camera_pan-1-1.mp4",
        "pattern",
    ),
    "no folder for CLIP": (changed(metrics__clip="no"), "metrics.clip", "no folder", "path"),
    "no model in the folder for CLIP": (
        changed(metrics__clip="results"),
        "metrics.clip",
        "config.json",
        "transformers",
    ),
    "an unknown metric": (changed(metrics__dino="dino"), "metrics.dino", "not known", "appearance"),
    "a tracker without its file": (
        changed(metrics__tracker="cotracker"),
        "metrics.tracker",
        "needs a file",
        "cotracker",
    ),
    "an unknown tracker": (changed(metrics__tracker={"raft": "x"}), "metrics.tracker.raft", "not known", "cotracker"),
    "no checkpoint": (changed(metrics__tracker={"cotracker": "no"}), "metrics.tracker.cotracker", "no file", "path"),
    "a key that is a number": (changed(looks={1: "x"}), "looks.1", "not text", "quotes"),
}


@pytest.mark.parametrize(("content", "name", "cause", "mend"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(place: Path, content: Any, name: str, cause: str, mend: str) -> None:
    with pytest.raises(InputError) as caught:
        load(place, content)
    assert caught.value.name == name
    assert cause in caught.value.cause
    assert mend in caught.value.mend


def test_a_workflow_of_something_else_is_refused(place: Path) -> None:
    for content in ([], {}, {"nodes": []}, {"nodes": [1]}, {"1": {"inputs": {}}}):
        (place / "flow.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match="no workflow of ComfyUI"):
            load(place, WHOLE)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name: x\nclips: [a, b\nprompts: y\n", "line 3"),
        ("name: x\nprompts:\n  - one: two: three\n", "line 3"),
        ("name: x\nseeds: [1]\nname: y\n", "line 3, column 1: 'name' is here for the second time"),
        ("name: x\nclips:\n\treader: folder\n", "line 3"),
        ("name: *nobody\n", "line 1"),
        ("name: !!python/object:os.system x\n", "line 1"),
        ("--- 1\n--- 2\n", "line 2"),
        ("name: \x07\n", "is not YAML"),
    ],
)
def test_broken_yaml_is_named_by_its_line(place: Path, text: str, where: str) -> None:
    with pytest.raises(InputError) as caught:
        load(place, text)
    assert caught.value.name == "manifest"
    assert where in caught.value.cause
    assert "m.yaml" in caught.value.cause


def test_broken_json_is_named_by_its_line(place: Path) -> None:
    (place / "m.json").write_text('{"name": "x",\n "seeds": [1,]}')
    with pytest.raises(InputError, match=r"m\.json, line 2, column"):
        load_manifest(place / "m.json")
    (place / "m.json").write_text('{"name": "x", "name": "y"}')
    with pytest.raises(InputError, match="name: this key is here twice"):
        load_manifest(place / "m.json")


def test_files_that_cannot_be_read(place: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        load_manifest(place / "none.yaml")
    (place / "m.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        load_manifest(place / "m.yaml")
    for empty in ("", "# nothing\n", "just text"):
        with pytest.raises(InputError, match="not a mapping"):
            load(place, empty)


def test_merged_and_repeated_parts_of_yaml_are_no_repeated_keys(place: Path) -> None:
    text = yaml.safe_dump(changed(methods={"theirs": WHOLE["methods"]["theirs"]}), sort_keys=False)
    text = text.replace("looks:\n", "looks:\n  <<: &all {circle: x, camera_pan: y}\n") + "\n"
    manifest = load(place, text.replace("groups:\n  circle: easy", "groups: *all"))
    assert [(clip.look, clip.group) for clip in manifest.clips] == [("y", "y"), ("a blue square", "x")]


def test_two_clips_of_one_name_are_refused(place: Path) -> None:
    (place.parent / "videos" / "circle.mov").touch()
    with pytest.raises(InputError, match=r"circle\.mov and .*circle\.mp4 are both called 'circle'") as caught:
        load(place, WHOLE)
    assert caught.value.name == "clips.path"


def test_what_is_said_of_clips_that_are_left_out_does_no_harm(place: Path) -> None:
    told = {"circle": "x", "left": "y"}
    content = changed(looks=told, groups=told, clips__start={"left": 1}, prompts={"left": ["z"], "circle": ["w"]})
    content["clips"]["include"] = ["circle"]
    (clip,) = load(place, content).clips
    assert (clip.name, clip.look, clip.group, clip.prompts) == ("circle", "x", "x", ("w",))


def test_long_lists_of_choices_are_cut(place: Path) -> None:
    for index in range(20):
        (place.parent / "videos" / f"video{index}.mp4").touch()
    with pytest.raises(InputError) as caught:
        load(place, changed(looks={"zzzzzz": "x"}))
    assert caught.value.mend.endswith("and 11 more.")
