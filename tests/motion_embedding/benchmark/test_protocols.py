"""The shipped manifests load, and set only what their workflows have. Data of others is laid out as published."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from demo.host import ROOT, Server
from demo.references import REFERENCES
from demo.run import look_of
from motion_embedding.benchmark.items import Method
from motion_embedding.benchmark.job_prompt import build_prompt
from motion_embedding.benchmark.manifest import Manifest, load_manifest
from motion_embedding.benchmark.work import Job

PROTOCOLS = ROOT / "benchmarks" / "protocols"
DAVIS_VALIDATION = [
    "bike-packing",
    "blackswan",
    "bmx-trees",
    "breakdance",
    "camel",
    "car-roundabout",
    "car-shadow",
    "cows",
    "dance-twirl",
    "dog",
    "dogs-jump",
    "drift-chicane",
    "drift-straight",
    "goat",
    "gold-fish",
    "horsejump-high",
    "india",
    "judo",
    "kite-surf",
    "lab-coat",
    "libby",
    "loading",
    "mbike-trick",
    "motocross-jump",
    "paragliding-launch",
    "parkour",
    "pigs",
    "scooter-black",
    "shooting",
    "soapbox",
]
SIZES = {
    "tiny": (6, 108),
    "tiny_quick": (2, 8),
    "paper": (22, 22 * 3 * 3),
    "davis": (30, 30 * 3 * 3),
    "mtbench": (3, 3 * 2 * 3),
    "multimotioneval": (2, 2 * 1 * 3),
}


def lay(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def lay_everything(data: Path) -> None:
    """What the big protocols need, without content."""
    lay(data / "clip-vit-base-patch32", {"config.json": "{}"})
    for index in range(22):
        lay(data / "paper", {f"{index}.mp4": "", f"{index}.txt": "a look\nprompt 1\nprompt 2\nprompt 3\n"})
    for name in DAVIS_VALIDATION:
        lay(data / "DAVIS" / "JPEGImages" / "480p", {f"{name}/00000.jpg": ""})
    lay(data / "DAVIS" / "ImageSets" / "2017", {"val.txt": "\n".join(DAVIS_VALIDATION)})
    for name in ("hard/a", "easy/b", "medium/c"):
        clip = name[-1]
        lay(data / "MTBench" / name, {"eval_prompts.txt": "one\ntwo\n", "prompts.txt": "x", f"videos/{clip}.mp4": ""})
    for name in ("a", "b"):
        lay(data / "MultiMotionEval", {f"{name}.mp4": "", f"{name}.txt": "a look\na prompt\n"})


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(name: str) -> Manifest:
        text = (PROTOCOLS / f"{name}.yaml").read_text()
        (tmp_path / f"{name}.yaml").write_text(text.replace("../../", f"{ROOT}/"))
        return load_manifest(tmp_path / f"{name}.yaml")

    lay_everything(tmp_path / "data")
    return load


def test_every_shipped_protocol_is_tested() -> None:
    assert {file.stem for file in PROTOCOLS.glob("*.yaml")} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_it_loads(load: Any, name: str) -> None:
    manifest = load(name)
    items = list(manifest.items({clip.name: "" for clip in manifest.clips}))
    assert (len(manifest.clips), len(items)) == SIZES[name]
    assert len({item.id for item in items}) == len(items)
    assert all(clip.look for clip in manifest.clips)
    assert manifest.metrics.clip is not None


def inputs_by_title(method: Method) -> dict[str, set[str]]:
    """The typed-in inputs of each node of an editor's workflow."""
    titled: dict[str, set[str]] = {}
    for node in method.workflow["nodes"]:
        if node["type"] != "MarkdownNote":
            assert node["title"] not in titled
            titled[node["title"]] = {slot["name"] for slot in node.get("inputs", []) if "widget" in slot}
    return titled


@pytest.mark.parametrize("name", SIZES)
def test_it_sets_only_what_the_workflow_has(load: Any, name: str) -> None:
    for method in load(name).methods:
        titled = inputs_by_title(method)
        targets = [*method.values, *(target for found in method.inputs.values() for target in found)]
        for target in targets:
            title, _, input_name = target.rpartition(".")
            assert input_name in titled[title], f"{name}, {method.name}: {target}"
        kinds = {node["title"]: node["type"] for node in method.workflow["nodes"]}
        assert kinds[method.output] == "SaveVideo"


@pytest.mark.parametrize("name", ["paper", "davis", "mtbench", "multimotioneval"])
def test_the_big_ones_run_at_the_papers_setting(load: Any, name: str) -> None:
    manifest = load(name)
    assert (manifest.format.frames, manifest.format.width, manifest.format.height) == (24, 576, 320)
    for method in manifest.methods:
        ends = {}
        for target, value in method.values.items():
            ends.setdefault(target.rpartition(".")[2], set()).add(value)
        assert ends["folder"] == {"zeroscope_v2_576w"}
        assert ends["width"] == {576}
        assert ends["height"] == {320}
        assert ends["frames"] == {24}
        assert ends["steps"] == {30}
        assert ends["cfg"] == {12}


@pytest.mark.parametrize("name", ["tiny", "tiny_quick"])
def test_the_sprites_looks_are_true_and_scenes_share_nothing_with_them(load: Any, name: str) -> None:
    for clip in load(name).clips:
        look = REFERENCES[clip.name][0]
        assert clip.look == look.prompt
        for prompt in clip.prompts:
            scene = look_of(prompt)
            assert scene.prompt == prompt
            assert not {scene.color, scene.shape, scene.background} & {look.color, look.shape, look.background}


def test_davis_asks_for_three_new_scenes_per_clip(load: Any) -> None:
    manifest = load("davis")
    assert [clip.name for clip in manifest.clips] == DAVIS_VALIDATION
    assert manifest.by_complexity
    for clip in manifest.clips:
        assert len(clip.prompts) == 3
        assert clip.look not in clip.prompts


def test_mtbench_is_grouped_by_its_folders(load: Any) -> None:
    assert [clip.group for clip in load("mtbench").clips] == ["easy", "hard", "medium"]


@pytest.mark.parametrize("name", ["paper", "davis", "mtbench", "multimotioneval"])
def test_without_its_data_it_says_what_to_put_where(tmp_path: Path, name: str) -> None:
    text = (PROTOCOLS / f"{name}.yaml").read_text()
    (tmp_path / "m.yaml").write_text(text.replace("../../", f"{ROOT}/"))
    with pytest.raises(ValueError, match=rf"clips\.path: there is no folder {re.escape(str(tmp_path))}/data/"):
        load_manifest(tmp_path / "m.yaml")


def test_the_workflows_are_those_that_a_person_opens(load: Any) -> None:
    shipped = [json.loads(file.read_text()) for file in (ROOT / "workflows").glob("*.json")]
    for name in SIZES:
        assert all(method.workflow in shipped for method in load(name).methods)


@pytest.mark.server
def test_the_real_server_takes_every_method(load: Any, server: Server) -> None:
    """Every title and input is there once, and the result depends on the clip, if the method is to see it."""
    object_info = server.object_info()
    for name in SIZES:
        manifest = load(name)
        for item in manifest.items({manifest.clips[0].name: ""}):
            method = item.method
            inputs = method.inputs["clip"]
            job = Job(item.id, item.group, method.workflow, item.values, inputs, "c.mp4", b"", method.output)
            prompt, output = build_prompt(job, "c.mp4", object_info)
            assert prompt[output]["class_type"] == "SaveVideo"
            texts = [node["inputs"]["text"] for node in prompt.values() if node["class_type"] == "CLIPTextEncode"]
            assert item.prompt in texts
            trains = [node for node in prompt.values() if node["class_type"] == "ME_TrainMotionEmbedding"]
            assert len(trains) == (method.name != "without motion")
            assert (item.clip.look in texts) == bool(trains)
