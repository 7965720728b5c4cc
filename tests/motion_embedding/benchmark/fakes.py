"""What tests of the runner share: a ComfyUI that takes no time, a job for it, and a pool without any ComfyUI."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from motion_embedding.benchmark.work import HostOptions, Job

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
