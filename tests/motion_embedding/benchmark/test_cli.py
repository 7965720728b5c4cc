"""The command line, with the fake ComfyUI; once with the real one."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from demo.host import comfyui_path
from motion_embedding.benchmark import checks, cli, local, prepared
from motion_embedding.benchmark import ray_pool as ray_pool_module
from motion_embedding.benchmark.cli import main
from motion_embedding.benchmark.failure import brief
from motion_embedding.benchmark.instruments import read_frames
from motion_embedding.benchmark.job_prompt import build_prompt
from motion_embedding.benchmark.manifest import load_manifest
from motion_embedding.benchmark.reference import reference_digest
from motion_embedding.benchmark.work import Job
from tests.motion_embedding.benchmark.fakes import (
    FAKE_COMFYUI,
    WORKFLOW,
    calls,
    checked_videos,
    fake_python,
    records,
    starts,
    write_benchmark,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The folder in which fakes note what they do."""
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("FAKE_STATE", str(folder))
    monkeypatch.setenv("COMFYUI_PATH", str(FAKE_COMFYUI))
    monkeypatch.setenv("COMFYUI_PYTHON", fake_python(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def generate(manifest, *more):
    return main(["run", str(manifest), "--generate-only", *more])


def test_a_run_makes_every_item_and_a_second_run_makes_none(state, tmp_path, capsys):
    manifest = write_benchmark(tmp_path)
    assert generate(manifest) == 0
    results = tmp_path / "results" / "a-fake-benchmark"
    assert sorted(calls(state)) == ["a moon 1", "a moon 1", "a star 1", "a star 1"]
    videos = checked_videos(results)
    assert len(videos) == 4 and len(set(videos.values())) == 4
    assert "4 items, 0 finished, 4 to make" in capsys.readouterr().out
    assert generate(manifest) == 0
    assert len(calls(state)) == 4 and len(starts(state)) == 1
    assert checked_videos(results) == videos
    assert "4 items, 4 finished, 0 to make" in capsys.readouterr().out


def test_benchmark_json_says_what_the_results_are_of(state, tmp_path):
    looks, groups = {"clip0": "black"}, {"clip1": "easy"}
    manifest = write_benchmark(tmp_path, looks=looks, groups=groups)
    assert generate(manifest, "--out", "out") == 0
    facts = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert set(facts.pop("items")) == set(records(tmp_path / "out"))
    assert facts == {
        "format": 1,
        "name": "a fake benchmark",
        "manifest": str(manifest),
        "clips": {
            "clip0": {"file": "clips/clip0.mp4", "look": "black", "group": "", "complexity": None},
            "clip1": {"file": "clips/clip1.mp4", "look": "", "group": "easy", "complexity": None},
        },
        "methods": ["copy"],
        "seeds": [1],
        "prompts": {"clip0": ["a star", "a moon"], "clip1": ["a star", "a moon"]},
        "metrics": {"clip": None, "appearance": None, "tracker": "lucas-kanade", "tracker_file": None},
    }
    assert (tmp_path / "out" / "clips" / "clip1.mp4").is_file()


def test_items_that_fail_do_not_stop_the_rest_and_are_tried_again(state, tmp_path, capsys):
    manifest = write_benchmark(tmp_path, ["fail", "a star", "refuse", "die"], clips=1)
    assert generate(manifest, "--out", "out", "--retries", "1") == 1
    failures = {f["prompt"]: f for f in (json.loads(p.read_text()) for p in (tmp_path / "out" / "failed").iterdir())}
    assert set(failures) == {"fail", "refuse", "die"} and len(checked_videos(tmp_path / "out")) == 1
    assert "out of memory, as told" in failures["fail"]["error"]
    assert "Value not in list" in failures["refuse"]["error"]
    assert failures["die"]["error"].startswith("Its worker died 2 times")
    assert [failures[name]["attempts"] for name in ("fail", "refuse", "die")] == [1, 1, 2]
    said = capsys.readouterr().out
    assert "1 made, 3 failed" in said and "out of memory, as told" in said
    assert generate(manifest, "--out", "out", "--retries", "0") == 1
    assert calls(state).count("a star 1") == 1
    assert calls(state).count("fail 1") == 2


def test_what_is_removed_or_cut_off_is_made_again(state, tmp_path):
    manifest = write_benchmark(tmp_path)
    generate(manifest, "--out", "out")
    whole = checked_videos(tmp_path / "out")
    first, second = list(records(tmp_path / "out").values())[:2]
    (tmp_path / "out" / first["file"]).unlink()
    (tmp_path / "out" / second["file"]).write_bytes(b"half")
    assert generate(manifest, "--out", "out") == 0
    assert checked_videos(tmp_path / "out") == whole
    assert len(calls(state)) == 6


def test_a_changed_manifest_keeps_the_old_items_and_reports_the_new(state, tmp_path):
    generate(write_benchmark(tmp_path, ["a star", "a moon"], clips=1), "--out", "out")
    generate(write_benchmark(tmp_path, ["a star", "a sun"], clips=1), "--out", "out")
    assert calls(state) == ["a star 1", "a moon 1", "a sun 1"]
    listed = json.loads((tmp_path / "out" / "benchmark.json").read_text())["items"]
    assert len(listed) == 2 and len(records(tmp_path / "out")) == 3


def test_only_and_limit_choose_what_is_made(state, tmp_path):
    manifest = write_benchmark(tmp_path, clips=3)
    generate(manifest, "--out", "out", "--only", "clip0", "--only", "clip2/co*", "--limit", "3")
    assert sorted(record["clip"] for record in records(tmp_path / "out").values()) == ["clip0", "clip0", "clip2"]
    generate(manifest, "--out", "out", "--only", "clip0", "--only", "clip2/co*", "--limit", "3")
    assert sorted(record["clip"] for record in records(tmp_path / "out").values()) == ["clip0"] * 2 + ["clip2"] * 2
    generate(manifest, "--out", "out", "--only", "copy")
    assert len(records(tmp_path / "out")) == 6


def test_references_can_be_prepared_alone_without_any_comfyui(state, tmp_path, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH")
    monkeypatch.setattr(cli, "_SHIPPED_HOST", tmp_path / "none")
    manifest = write_benchmark(tmp_path)
    assert main(["run", str(manifest), "--out", "out", "--prepare-only"]) == 0
    assert sorted(file.name for file in (tmp_path / "out" / "clips").glob("*.mp4")) == ["clip0.mp4", "clip1.mp4"]
    assert not (tmp_path / "out" / "items").exists() and starts(state) == []
    (tmp_path / "clips" / "clip0.mp4").write_bytes(b"no video")
    assert main(["run", str(manifest), "--out", "out", "--prepare-only"]) == 1


def test_a_pattern_that_fits_nothing_is_a_usage_error(state, tmp_path, capsys):
    manifest = write_benchmark(tmp_path)
    assert generate(manifest, "--only", "clip0", "--only", "clpi1") == 2
    said = capsys.readouterr().err
    assert "--only: 'clpi1'" in said and "Did you mean 'clip1'?" in said and starts(state) == []


def test_videos_made_elsewhere_are_copied_without_any_comfyui(state, tmp_path, capsys):
    methods = {"theirs": {"videos": "theirs/{clip}-{index}.mp4"}}
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("clip0-1", "clip0-2", "clip1-1"):
        (theirs / f"{name}.mp4").write_bytes(name.encode())
    manifest = write_benchmark(tmp_path, methods=methods)
    assert generate(manifest, "--out", "out") == 1
    assert sorted(checked_videos(tmp_path / "out").values()) == [b"clip0-1", b"clip0-2", b"clip1-1"]
    assert f"The video {theirs / 'clip1-2.mp4'} cannot be read" in capsys.readouterr().out
    (theirs / "clip1-2.mp4").write_bytes(b"late")
    (theirs / "clip0-1.mp4").write_bytes(b"another")
    assert generate(manifest, "--out", "out") == 0
    assert sorted(checked_videos(tmp_path / "out").values()) == [b"another", b"clip0-2", b"clip1-1", b"late"]
    assert not list((tmp_path / "out" / "failed").iterdir())
    assert starts(state) == []


def test_a_clip_that_cannot_be_read_fails_its_items_only(state, tmp_path):
    manifest = write_benchmark(tmp_path)
    (tmp_path / "clips" / "clip0.mp4").write_bytes(b"no video at all")
    assert generate(manifest, "--out", "out") == 1
    assert {record["clip"] for record in records(tmp_path / "out").values()} == {"clip1"}
    failures = [json.loads(file.read_text()) for file in (tmp_path / "out" / "failed").iterdir()]
    assert [failure["clip"] for failure in failures] == ["clip0", "clip0"]
    assert all("not a video" in failure["error"] for failure in failures)


def test_a_reference_is_prepared_once_until_its_clip_changes(state, tmp_path, monkeypatch):
    made, prepare = [], prepared.prepare_reference
    monkeypatch.setattr(
        prepared, "prepare_reference", lambda clip, *rest: (made.append(clip.name), prepare(clip, *rest))
    )
    manifest = write_benchmark(tmp_path)
    generate(manifest, "--out", "out")
    generate(manifest, "--out", "out")
    assert made == ["clip0", "clip1"]
    (tmp_path / "clips" / "clip1.mp4").write_bytes((tmp_path / "clips" / "clip0.mp4").read_bytes())
    generate(manifest, "--out", "out")
    assert made == ["clip0", "clip1", "clip1"]
    assert len(calls(state)) == 6


def test_clips_are_grouped_by_the_complexity_of_their_references(state, tmp_path):
    clips = {"reader": "folder", "path": str(ROOT / "demo" / "clips"), "include": ["left", "circle", "bounce"]}
    manifest = write_benchmark(tmp_path, ["a star"], groups="complexity")
    form = {"frames": 8, "width": 256, "height": 256}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "clips": clips, "format": form}))
    assert generate(manifest, "--out", "out") == 0
    clips = json.loads((tmp_path / "out" / "benchmark.json").read_text())["clips"]
    by_complexity = sorted(clips, key=lambda name: clips[name]["complexity"])
    assert [clips[name]["group"] for name in by_complexity] == ["easy", "medium", "hard"]
    assert by_complexity[0] == "left"
    assert {r["clip"]: r["group"] for r in records(tmp_path / "out").values()} == {c: clips[c]["group"] for c in clips}


def test_a_dry_run_lists_what_is_missing_and_writes_and_starts_nothing(state, tmp_path, capsys):
    manifest = write_benchmark(tmp_path)
    assert main(["run", str(manifest), "--out", "out", "--dry-run"]) == 0
    assert not (tmp_path / "out").exists() and starts(state) == []
    assert capsys.readouterr().out.count("missing") == 4
    generate(manifest, "--out", "out", "--limit", "1")
    capsys.readouterr()
    assert main(["run", str(manifest), "--out", "out", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.count("missing") == 3 and "4 items, 1 finished, 3 to make" in said


def test_everything_that_is_wrong_is_said_at_once_before_anything_starts(state, tmp_path, capsys):
    manifest = write_benchmark(tmp_path)
    (tmp_path / "file").touch()
    options = ["--out", "file", "--comfyui", "nowhere", "--base", "neither", "--python", "no-such-program"]
    assert generate(manifest, *options) == 2
    said = capsys.readouterr().err
    for option, value in zip(options[::2], options[1::2], strict=True):
        assert f"{option}: " in said and value in said
    assert starts(state) == []


def test_without_a_comfyui_anywhere_the_run_asks_for_one(state, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("COMFYUI_PATH")
    monkeypatch.setattr(cli, "_SHIPPED_HOST", tmp_path / "none")
    assert generate(write_benchmark(tmp_path)) == 2
    assert generate(write_benchmark(tmp_path), "--ray", "auto") == 2
    assert capsys.readouterr().err.count("no ComfyUI was found") == 2


def test_a_comfyui_that_lacks_a_node_or_a_title_is_refused_once_before_the_first_item(state, tmp_path, capsys):
    lacking = {**WORKFLOW, "1": {**WORKFLOW["1"], "class_type": "LoadOfAnotherPack"}}
    (tmp_path / "lacking.json").write_text(json.dumps(lacking))
    editor = {"nodes": [{"id": 1, "type": "SaveClip", "widgets_values": ["", 0, ""]}], "links": []}
    (tmp_path / "editor.json").write_text(json.dumps(editor))
    inputs = {"clip": "Reference.file", "prompt": "Result.text"}
    other = {"clip": "Reference.file", "prompt": "Save Clip.text"}
    methods = {
        "theirs": {"workflow": "lacking.json", "inputs": inputs, "output": "Result"},
        "drawn": {"workflow": "editor.json", "inputs": other, "output": "Save Clip"},
    }
    assert generate(write_benchmark(tmp_path, methods=methods), "--out", "out") == 1
    said = capsys.readouterr()
    assert "methods.theirs: this ComfyUI does not know LoadOfAnotherPack" in said.err
    assert "methods.drawn: 0 nodes in the workflow are called 'Reference'" in said.err
    assert calls(state) == [] and not (tmp_path / "out" / "failed").exists() and "failed" not in said.out


def test_what_scoring_needs_is_asked_for_before_anything_is_made(state, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    manifest = write_benchmark(tmp_path, clips=1)
    assert main(["run", str(manifest)]) == 2
    assert "pip install opencv-python-headless" in capsys.readouterr().err and starts(state) == []
    assert generate(manifest) == 0


def test_arguments_for_comfyui_and_cores_for_ray_are_handed_on(state, tmp_path, monkeypatch):
    manifest, made = write_benchmark(tmp_path, ["a star"], clips=1), []

    class Noted(cli.LocalPool):
        def __init__(self, workers):
            made.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(cli, "LocalPool", Noted)
    assert generate(manifest, "--host-arguments=--lowvram --reserve-vram '1'", "--devices", "1") == 0
    assert made[0]["device-1"].arguments == ("--cuda-device", "1", "--lowvram", "--reserve-vram", "1")

    def ray_pool(address, host, workers, cpus):
        made.append((address, host.arguments, workers, cpus))
        return cli.LocalPool({"ray-1": host})

    monkeypatch.setattr(ray_pool_module, "RayPool", ray_pool)
    assert generate(manifest, "--out", "on-ray", "--ray", "auto", "--workers", "3", "--cpus", "2.5") == 0
    assert made[1] == ("auto", (), 3, 2.5)


def test_the_report_takes_a_number_of_videos_and_a_baseline(state, tmp_path, capsys):
    method = json.loads(write_benchmark(tmp_path, ["a star"], clips=1).read_text())["methods"]["copy"]
    manifest = write_benchmark(tmp_path, ["a star"], clips=1, methods={"copy": method, "again": method})
    assert main(["run", str(manifest), "--out", "out"]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'id="video-0"' in page and 'data-baseline="0">' in page
    assert main(["report", "out", "--videos", "0", "--baseline", "again"]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'id="video-0"' not in page and 'data-baseline="1">' in page
    assert main(["report", "out", "--baseline", "agian"]) == 2
    assert "--baseline" in capsys.readouterr().err


def test_a_disk_without_room_is_found_before_anything_starts(state, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checks, "LEAST_ROOM", 2**60)
    assert generate(write_benchmark(tmp_path), "--out", "out") == 2
    assert "MiB are free" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_long_reason_is_shown_by_its_first_and_last_line():
    assert brief("It died. Its log ends:\nmany\nlines\n  MemoryError\n") == "It died. Its log ends: [...] MemoryError"
    assert brief("one line") == "one line"


@pytest.mark.parametrize(
    "arguments",
    [[], ["run"], ["run", "m.yaml", "--devices", "0,0"], ["run", "m.yaml", "--limit", "-1"], ["score"], ["other"]]
    + [["run", "m.yaml", option, value] for option, value in [("--timeout", "-3"), ("--cpus", "0"), ("--limit", "x")]],
)
def test_usage_errors_are_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_a_wrong_manifest_and_a_missing_folder_are_usage_errors(tmp_path, capsys):
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    assert main(["score", str(tmp_path / "none")]) == 2
    assert main(["report", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()


def test_a_worker_per_gpu_and_several_on_one(state, tmp_path):
    manifest = write_benchmark(tmp_path, clips=3)
    assert generate(manifest, "--out", "out", "--devices", "0,1") == 0
    workers = {record["worker"] for record in records(tmp_path / "out").values()}
    assert workers <= {"device-0", "device-1"} and len(starts(state)) <= 2
    assert generate(manifest, "--out", "more", "--workers", "2") == 0
    assert {record["worker"] for record in records(tmp_path / "more").values()} <= {"worker-1", "worker-2"}


def test_without_any_worker_the_run_stops_and_says_why(state, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(local, "_PAUSE", 0.01)
    (state / "refuse to start").touch()
    assert generate(write_benchmark(tmp_path), "--out", "out") == 1
    said = capsys.readouterr().err
    assert "No worker is left, with 4 items to do" in said and "refused to start, as told" in said


def test_a_run_is_scored_and_reported_and_both_can_be_done_again(state, tmp_path, capsys):
    manifest = write_benchmark(tmp_path, ["a star", "fail"], clips=1)
    assert main(["run", str(manifest), "--out", "out"]) == 1
    report = tmp_path / "out" / "report.html"
    assert "a fake benchmark" in report.read_text() and "Report: out/report.html" in capsys.readouterr().out
    for name in ("scores.csv", "report.html"):
        (tmp_path / "out" / name).unlink()
    assert main(["score", "out"]) == 0
    assert (tmp_path / "out" / "scores.csv").is_file() and not report.exists()
    assert main(["report", "out"]) == 0
    assert "out of memory, as told" in report.read_text()


def test_a_score_with_an_encoder_that_is_not_there_is_a_usage_error(state, tmp_path, capsys):
    manifest = write_benchmark(tmp_path, ["a star"], clips=1)
    generate(manifest, "--out", "out")
    assert main(["score", "out", "--clip", str(tmp_path / "no-clip")]) == 2
    assert "no-clip" in capsys.readouterr().err


@pytest.mark.server
def test_a_real_comfyui_makes_the_same_pictures_as_another(base, tiny_model, server, tmp_path, capsys):
    """Items of one clip share a training in the run; the other server trains anew for one of them."""
    prompts = ["a red star on a navy striped background", "a magenta triangle on a black background"]
    manifest = {
        "name": "sprites",
        "clips": {"reader": "folder", "path": str(ROOT / "demo" / "clips"), "include": ["circle"]},
        "format": {"frames": 8, "width": 256, "height": 256},
        "looks": {"circle": "a blue square on a brown background"},
        "methods": {
            "motion embedding": {
                "workflow": str(ROOT / "workflows" / "first_steps.json"),
                "inputs": {
                    "clip": "Reference clip.file",
                    "look": "Look of the reference.text",
                    "prompt": "New scene.text",
                    "seed": ["Sample without.seed", "Sample with.seed"],
                },
                "set": {"Model.folder": "tiny-text-to-video", "Learn the motion.steps": 2, "Sample with.steps": 2},
                "output": "Save with motion",
            }
        },
    }
    path = tmp_path / "manifest.json"
    models = set((base / "models").rglob("*.safetensors"))

    path.write_text(json.dumps({**manifest, "prompts": prompts}))
    run = [path, "--out", str(tmp_path / "out"), "--comfyui", str(comfyui_path()), "--base", str(base)]
    assert generate(*run) == 0, capsys.readouterr()
    assert generate(*run) == 0
    assert "2 items, 2 finished, 0 to make" in capsys.readouterr().out
    assert len(checked_videos(tmp_path / "out")) == 2

    clip = tmp_path / "out" / "clips" / "circle.mp4"
    _, item = load_manifest(path).items({"circle": reference_digest(clip)})
    method, name = item.method, server.upload(clip)
    job = Job("again", "", method.workflow, item.values, method.inputs["clip"], name, b"", method.output)
    prompt, output = build_prompt(job, name, server.object_info())
    (again,) = server.outputs({"outputs": {output: server.run(prompt)["outputs"][output]}})
    made = tmp_path / "out" / records(tmp_path / "out")[item.id]["file"]
    assert (read_frames(made)[0] == read_frames(again)[0]).all()
    # What a server notes in its files is of one moment and one machine; nothing else keeps bytes from being the same.
    assert not is_noted_in(made) and is_noted_in(again)
    assert set((base / "models").rglob("*.safetensors")) == models, "the branch that saves the motion was not asked for"


def is_noted_in(video):
    """Whether a video file holds the graph that made it."""
    with av.open(str(video)) as container:
        return "prompt" in container.metadata
