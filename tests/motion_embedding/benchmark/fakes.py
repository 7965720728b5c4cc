"""What tests of the runner share: a ComfyUI that takes no time, a job for it, and a pool without any ComfyUI."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from motion_embedding.benchmark.cli import main
from motion_embedding.benchmark.work import HostOptions, Job
from motion_embedding.video_writing import write_video

ROOT = Path(__file__).resolve().parents[3]
FAKE_COMFYUI = Path(__file__).parent / "fake_comfyui"

WORKFLOW: dict[str, Any] = {
    "1": {"class_type": "LoadClip", "inputs": {"file": ""}, "_meta": {"title": "Reference"}},
    "2": {
        "class_type": "SaveClip",
        "inputs": {"clip": ["1", 0], "text": "", "seed": 0, "filename_prefix": "with"},
        "_meta": {"title": "Result"},
    },
    "3": {
        "class_type": "SaveClip",
        "inputs": {"clip": ["1", 0], "text": "another branch", "seed": 0, "filename_prefix": "without"},
        "_meta": {"title": "Comparison"},
    },
}


def fake_python(folder: Path) -> str:
    """An interpreter for the fake that says at once that there is no accelerator, instead of importing torch."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 1\nexec {sys.executable} -S "$@"\n')
    script.chmod(0o755)
    return str(script)


def fake_options(state: Path, *arguments: str, timeout: float = 60.0) -> HostOptions:
    """Options for a worker with the fake ComfyUI; ``state`` is its ``--fake-state`` folder."""
    state.mkdir(parents=True, exist_ok=True)
    arguments = ("--fake-state", str(state), *arguments)
    return HostOptions(FAKE_COMFYUI, python=fake_python(state), arguments=arguments, timeout=timeout)


def fake_job(name: str, text: str = "a star", seed: int = 1, group: str = "one", clip: bytes = b"the clip") -> Job:
    values = {"Result.text": text, "Result.seed": seed}
    return Job(name, group, WORKFLOW, values, ("Reference.file",), "clip.mp4", clip, "Result")


def fake_video(text: str = "a star", seed: int = 1, clip: bytes = b"the clip") -> bytes:
    """What the fake ComfyUI makes of such a job."""
    said = f"{text}/{seed}".encode()
    return clip + (len(said) + 8).to_bytes(4, "big") + b"free" + said


def calls(state: Path) -> list[str]:
    """``"<text> <seed>"`` of everything that the fakes executed, in order."""
    file = state / "calls.txt"
    return [line.partition(" ")[2] for line in file.read_text().splitlines()] if file.exists() else []


def starts(state: Path) -> list[int]:
    """Process ids of the fakes that were started, in order."""
    file = state / "starts.txt"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def write_benchmark(folder: Path, prompts: Sequence[str] = ("a star", "a moon"), clips: int = 2, **more: Any) -> Path:
    """A manifest for the fake ComfyUI with so many clips of four frames, and ``more`` keys; returns its path."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for index in range(clips):
        write_video(folder / "clips" / f"clip{index}.mp4", torch.full((4, 16, 16, 3), index / 8), 8)
    (folder / "workflow.json").write_text(json.dumps(WORKFLOW))
    method = {
        "workflow": "workflow.json",
        "inputs": {"clip": "Reference.file", "prompt": "Result.text", "seed": "Result.seed"},
        "output": "Result",
    }
    manifest = {
        "name": "a fake benchmark",
        "clips": {"reader": "folder", "path": "clips"},
        "format": {"frames": 4},
        "prompts": list(prompts),
        "seeds": [1],
        "methods": {"copy": method},
        **more,
    }
    path = folder / "manifest.json"
    path.write_text(json.dumps(manifest))
    return path


def records(results: Path) -> dict[str, dict[str, Any]]:
    """The records of all finished items of a results folder, by id."""
    return {file.stem: json.loads(file.read_text()) for file in sorted((results / "items").glob("*.json"))}


def checked_videos(results: Path) -> dict[str, bytes]:
    """The videos of all finished items, each as its record says; fails where anything else lies in the folder."""
    found = {id: (results / record["file"]).read_bytes() for id, record in records(results).items()}
    for id, record in records(results).items():
        assert hashlib.sha256(found[id]).hexdigest() == record["sha256"]
    assert len(list((results / "items").iterdir())) == 2 * len(found), "something half written is left"
    return found


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def run_here(manifest: Path, results: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """``run --generate-only`` in this process; returns the exit code."""
    monkeypatch.setenv("FAKE_STATE", str(state))
    host = ["--comfyui", str(FAKE_COMFYUI), "--python", fake_python(state)]
    return main(["run", str(manifest), "--out", str(results), "--generate-only", *host])


class Runner:
    """``python -m motion_embedding.benchmark ARGUMENTS`` in a process of its own, which starts at once: it is forked
    from one that has imported everything and done nothing, as importing torch takes seconds."""

    def __init__(self, arguments: Sequence[str], state: Path) -> None:
        self._output = state / "output.txt"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._process = context.Process(target=_run_module, args=(list(arguments), str(state), str(self._output)))
        self._process.start()
        self.pid, self.kill, self.terminate = self._process.pid, self._process.kill, self._process.terminate

    def ended(self, timeout: float = 0) -> bool:
        self._process.join(timeout)
        return self._process.exitcode is not None

    def end(self) -> tuple[int, str]:
        """Its exit code and all it said, once it has ended, which must be soon."""
        assert self.ended(60), "it does not end"
        return self._process.exitcode, self._output.read_text()


def _run_module(arguments: list[str], state: str, output: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    os.environ |= {"FAKE_STATE": state, "TMPDIR": state}
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.argv = ["motion_embedding.benchmark", *arguments]
    runpy.run_module("motion_embedding.benchmark", run_name="__main__")


@contextlib.contextmanager
def runner(manifest: Path, results: Path, state: Path, hold: int) -> Iterator[Runner]:
    """``run --generate-only`` in a process of its own, once it is in the middle: the ``hold``-th call has begun, those
    before it are recorded, and it goes on when the file ``hold`` is removed from ``state``."""
    (state / "hold").write_text(str(hold))
    arguments = ["run", str(manifest), "--out", str(results), "--generate-only"]
    process = Runner([*arguments, "--comfyui", str(FAKE_COMFYUI), "--python", fake_python(state)], state)
    try:
        wait_until(lambda: process.ended() or len(calls(state)) == hold)
        yield process
    finally:
        process.kill()
        process.end()
