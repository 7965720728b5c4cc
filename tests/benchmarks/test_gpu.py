"""The run of all benchmarks: what it starts can be started, and one that goes wrong costs the others nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import JOBS, Job, run, run_all


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_is_one_that_its_benchmark_knows(job: Job, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """It gets past its arguments, to the GPU that is not there."""
    command = job.command("cuda", out=True)
    assert command[:2] == [sys.executable, "-m"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", command[2:])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(command[2]).main()
    assert ended.value.code == 2
    assert "PyTorch finds no CUDA device here" in capsys.readouterr().err


def test_how_a_benchmark_ended() -> None:
    assert run([sys.executable, "-c", ""], 60) == "done"
    assert run([sys.executable, "-c", "raise SystemExit(3)"], 60) == "failed (3)"
    assert run([sys.executable, "-c", "import time; time.sleep(600)"], 0.2) == "out of time"


def test_what_it_started_ends_with_it(tmp_path) -> None:
    """A benchmark has a process for each model; it must not go on where nobody waits for it."""
    named, script = tmp_path / "named", "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    child = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"open({str(tmp_path / 'begun')!r}, 'w').write(str(os.getpid()));"
        f"os.rename({str(tmp_path / 'begun')!r}, {str(named)!r}); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, child], start_new_session=True) as process:
        while not named.exists() and process.poll() is None:
            time.sleep(0.05)
        gpu._end(process)
    [state] = [line.split()[1] for line in _status(named.read_text()) if line.startswith("State:")] or ["gone"]
    assert state in ("gone", "Z")


def _status(process: str) -> list[str]:
    """What the system says of a process; nothing where it is no more."""
    try:
        return Path(f"/proc/{process}/status").read_text().splitlines()
    except FileNotFoundError:
        return []


def test_all_are_run_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ends, limits = iter(["done", "failed (1)", "out of time"]), []

    def ended(command: list[str], seconds: float) -> str:
        limits.append(round(seconds / 60))
        return next(ends)

    monkeypatch.setattr(gpu, "run", ended)
    jobs = [Job(name, name, ("--fast",), minutes) for name, minutes in (("a", 2), ("b", 500), ("c", 3))]
    assert [(row[0], row[2]) for row in run_all(jobs, "cpu", False, 10).rows] == [
        ("a --fast", "done"),
        ("b --fast", "failed (1)"),
        ("c --fast", "out of time"),
    ]
    assert limits == [2, 10, 3]
    assert [row[2] for row in run_all(jobs, "cpu", False, 0.0).rows] == ["no time left"] * 3


def test_without_matplotlib_all_but_the_figure_is_had(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(gpu, "_can_draw", lambda there=there: there)
        without = [job.benchmark for job in JOBS if "--out" not in job.command("cuda", out=True)]
        assert without == ([] if there else ["time_to_quality"])


def test_commands_can_be_read(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--list", "--only", "sampling, svd"])
    gpu.main()
    assert capsys.readouterr().out == (
        "python -m benchmarks.sampling_overhead --steps 12 --rounds 3 --only svd --device cuda\n"
    )
    monkeypatch.setattr(sys, "argv", ["gpu", "--only", "nothing of this kind"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "nothing has 'nothing of this kind' in its name" in capsys.readouterr().err
