"""One worker and its ComfyUI, mostly the fake one."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from motion_embedding.benchmark.job_prompt import JobError, build_prompt
from motion_embedding.benchmark.result_file import read_result
from motion_embedding.benchmark.worker import Worker, WorkerLostError
from motion_embedding.video_writing import write_video
from tests.motion_embedding.benchmark.fakes import (
    WORKFLOW,
    calls,
    fake_job,
    fake_options,
    fake_video,
    is_running,
    starts,
)


@pytest.fixture
def worker(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with Worker(fake_options(tmp_path / "state"), "cpu 0") as running:
        yield running
    assert list(scratch.iterdir()) == []


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


def test_a_job_gives_the_bytes_of_its_video_and_only_its_branch_runs(worker, tmp_path):
    outcome = worker.run(fake_job("a-1", "a red star", 7))
    assert (outcome.id, outcome.worker, outcome.suffix, outcome.error) == ("a-1", "cpu 0", ".mp4", "")
    assert outcome.video == fake_video("a red star", 7)
    assert calls(tmp_path / "state") == ["a red star 7"]


def test_nothing_of_a_job_is_left_but_the_last_clip(worker, tmp_path):
    for name, clip in (("a", b"first"), ("b", b"first"), ("c", b"second")):
        assert worker.run(fake_job(name, clip=clip)).video == fake_video(clip=clip)
    (kept,) = files_in(tmp_path / "scratch")[:-1]
    assert kept.startswith("clip-") and files_in(tmp_path / "scratch")[-1] == "server.log"


def test_only_what_lies_in_the_workers_own_folder_is_removed(worker, tmp_path):
    assert worker.run(fake_job("a", "written elsewhere")).video == fake_video("written elsewhere")
    assert files_in(tmp_path / "state" / "benchmark") == ["a_00001_.mp4"]


@pytest.mark.parametrize(
    ("text", "cause"), [("refuse", "Value not in list: as told"), ("fail", "SaveClip (node 2): out of memory")]
)
def test_an_item_that_cannot_be_made_says_why_and_the_next_one_is_made(worker, tmp_path, text, cause):
    outcome = worker.run(fake_job("bad", text))
    assert outcome.video == b""
    assert cause in outcome.error
    assert worker.run(fake_job("good")).video == fake_video()
    assert len(starts(tmp_path / "state")) == 1


def test_a_server_that_dies_is_lost_and_the_next_run_starts_another(worker, tmp_path):
    with pytest.raises(WorkerLostError, match="ComfyUI"):
        worker.run(fake_job("bad", "die"))
    assert worker.run(fake_job("good")).video == fake_video()
    assert len(starts(tmp_path / "state")) == 2


@pytest.mark.parametrize("text", ["hang", "hang and refuse to stop"])
def test_what_takes_too_long_is_the_items_own_fault_and_its_server_is_replaced(tmp_path, text):
    state = tmp_path / "state"
    with Worker(fake_options(state, timeout=0.5), "w") as worker:
        assert "stopped after 0.5 s" in worker.run(fake_job("slow", text)).error
        assert worker.run(fake_job("good")).video == fake_video()
        first, second = starts(state)
        assert not is_running(first) and is_running(second)
    assert not is_running(second)


def test_a_server_that_does_not_start_is_lost_with_the_end_of_its_log(tmp_path):
    options = fake_options(tmp_path / "state")
    (tmp_path / "state" / "refuse to start").touch()
    with pytest.raises(WorkerLostError, match="refused to start, as told"), Worker(options, "w"):
        pass


def test_close_ends_a_run_in_another_thread(worker, tmp_path):
    lost = []

    def run():
        try:
            worker.run(fake_job("slow", "hang"))
        except WorkerLostError as error:
            lost.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not calls(tmp_path / "state"):
        time.sleep(0.01)
    worker.close()
    thread.join(timeout=10)
    assert len(lost) == 1
    assert not is_running(*starts(tmp_path / "state"))


def test_a_closed_worker_starts_no_server(tmp_path):
    worker = Worker(fake_options(tmp_path / "state"), "w")
    worker.close()
    with pytest.raises(WorkerLostError, match="closed"):
        worker.start()
    assert starts(tmp_path / "state") == []


def test_titles_and_inputs_that_are_not_there_are_named_with_those_that_are():
    job = fake_job("a")
    with pytest.raises(JobError, match=r"0 nodes .* 'Results'.*'Comparison', 'Reference', 'Result'"):
        build_prompt(replace(job, output="Results"), "c.mp4", {})
    with pytest.raises(JobError, match=r"0 nodes .* 'Sampler'.*'Comparison', 'Reference', 'Result'"):
        build_prompt(replace(job, values={"Sampler.seed": 1}), "c.mp4", {})
    with pytest.raises(JobError, match=r"2 nodes .* 'SaveClip'"):
        build_prompt(replace(job, output="SaveClip"), "c.mp4", {})
    with pytest.raises(JobError, match=r"no input 'colour'; it has clip, text, seed, filename_prefix"):
        build_prompt(replace(job, values={"Result.colour": 1}), "c.mp4", {})


def test_the_prompt_holds_what_the_output_needs_with_its_values():
    prompt, output = build_prompt(fake_job("an-id", "a moon", 3), "c.mp4", {})
    assert output == "2" and list(prompt) == ["1", "2"]
    assert prompt["1"]["inputs"] == {"file": "c.mp4"}
    assert prompt["2"]["inputs"] == {
        "clip": ["1", 0],
        "text": "a moon",
        "seed": 3,
        "filename_prefix": "benchmark/an-id",
    }
    assert WORKFLOW["2"]["inputs"]["text"] == ""


@pytest.mark.parametrize("prefix", [{}, {"filename_prefix": ["1", 0]}])
def test_an_output_without_a_prefix_gets_another_input_of_its_own(prefix):
    save = {"class_type": "SaveClip", "inputs": {"clip": ["1", 0], "texts": [], **prefix}}
    job = replace(fake_job("a"), workflow={"1": WORKFLOW["1"], "2": save}, values={}, output="SaveClip")
    prompt, _ = build_prompt(job, "c.mp4", {})
    assert prompt["2"]["inputs"] == {**save["inputs"], "benchmark item": "benchmark/a"}


def test_a_list_is_a_value_and_no_link():
    job = replace(fake_job("a"), values={"Result.text": ["1", 0]})
    prompt, _ = build_prompt(job, "c.mp4", {})
    assert prompt["2"]["inputs"]["text"] == {"__value__": ["1", 0]}


@pytest.mark.parametrize("workflow", [{"nodes": [{"type": "LoadClip"}]}, {"1": {"inputs": {}}}])
def test_a_broken_workflow_is_the_items_own_fault(workflow):
    with pytest.raises(JobError, match="broken"):
        build_prompt(replace(fake_job("a"), workflow=workflow), "c.mp4", {"LoadClip": {"input": {}}})


def test_pictures_become_a_video_at_the_rate_of_the_clip(tmp_path):
    shades = (0, 128, 255)
    for index, shade in enumerate(shades):
        Image.new("RGB", (32, 16), (shade,) * 3).save(tmp_path / f"{index}.png")
    write_video(tmp_path / "clip.mp4", torch.zeros(3, 16, 16, 3), 5)
    clip = (tmp_path / "clip.mp4").read_bytes()
    video, suffix = read_result([tmp_path / f"{index}.png" for index in range(3)], clip)
    with av.open(io.BytesIO(video)) as container:
        assert float(container.streams.video[0].average_rate) == 5
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert suffix == ".mp4" and frames[0].shape == (16, 32, 3)
    np.testing.assert_allclose([frame.mean() for frame in frames], shades, atol=2)


def test_what_is_no_single_video_is_refused(tmp_path):
    for name, size in (("a.png", 8), ("b.png", 16), ("a.mp4", 8), ("b.mp4", 8)):
        Image.new("RGB", (size, 8)).save(tmp_path / name, format="png")
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    with pytest.raises(JobError, match=r"no video, but a\.png"):
        read_result([a], b"")
    with pytest.raises(JobError, match="no video, but nothing"):
        read_result([], b"")
    with pytest.raises(JobError, match="different sizes"):
        read_result([a, b], b"")
    with pytest.raises(JobError, match=r"2 videos: a.mp4, b.mp4"):
        read_result([a, tmp_path / "a.mp4", tmp_path / "b.mp4"], b"")
    with pytest.raises(JobError, match=r"did not write: c.webm"):
        read_result([tmp_path / "c.webm"], b"")
