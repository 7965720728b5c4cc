"""All that is worth measuring on a GPU, what matters most first, for as long as there is one.

    python -m benchmarks.gpu [--minutes 60] [--out]
    python -m benchmarks.gpu --list                    what would be run
    python -m benchmarks.gpu --only zeroscope --out    what has this in its name

Every benchmark runs in a process of its own, for as long as it may or as there is time left; one that fails or takes
too long costs the others nothing. With ``--out`` each adds its rows to its page as soon as it has them, so what was
finished stays. Where the machine goes away with its files, fetch the pages: ``cp benchmarks/*.md benchmarks/*.png
"$OUT"``. The floors beside the steps come from counts on the page, which need no GPU: ``python -m
benchmarks.training_step --paper --out``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from demo.host import ROOT

from .devices import chosen_device, device_name
from .tables import Table

_LEAST = 20.0  # seconds that a benchmark needs to come to anything
_GRACE = 10.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """arguments: of the benchmark, without device and output. minutes: that it may take at most."""

    name: str
    benchmark: str
    arguments: tuple[str, ...]
    minutes: float

    def command(self, device: str, out: bool) -> list[str]:
        page = () if self.benchmark in _OWN_PAGE else (f"benchmarks/{self.benchmark}.md",)
        output = ("--out", *page) if out and (self.benchmark not in _DRAWN or _can_draw()) else ()
        return [sys.executable, "-m", f"benchmarks.{self.benchmark}", *self.arguments, "--device", device, *output]


_OWN_PAGE = ("training_step", "time_to_quality", "file_size")
_DRAWN = ("time_to_quality",)
_RANK = ("--value-form", "low rank 8")


def _can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def _step(size: str, minutes: float, *more: str) -> Job:
    return Job(f"a step, {size}", "training_step", ("--size", size, *more), minutes)


def _whole(size: str, minutes: float, *more: str) -> Job:
    return Job(f"a training of 100 steps, {size}", "real_sizes", ("--only", size, "--steps", "100", *more), minutes)


def _sampling(size: str, minutes: float, *more: str) -> Job:
    arguments = ("--steps", "12", "--rounds", "3", "--only", size, *more)
    return Job(f"sampling, {size}", "sampling_overhead", arguments, minutes)


JOBS = (
    Job("does it run", "real_sizes", ("--only", "tiny", "--steps", "2"), 2),
    _step("zeroscope", 6, "--layers", "paper"),
    _whole("zeroscope", 5, "--layers", "paper", "--card", "10"),
    _whole("zeroscope", 5, *_RANK, "--card", "10"),
    _sampling("zeroscope", 5, "preparing"),
    _step("zeroscope", 4, "--layers", "recommended", *_RANK),
    _step("svd", 6),
    _step("animatediff", 5),
    _step("wan1.3b", 8),
    _sampling("svd", 5),
    _sampling("animatediff", 5),
    _sampling("wan1.3b", 8),
    _whole("animatediff", 5, "--card", "12", *_RANK),
    _whole("svd", 6, "--card", "12", *_RANK),
    _whole("wan1.3b", 8, "--card", "12"),
    _whole("zeroscope", 4, "--layers", "paper"),
    _step("zeroscope", 10, "--sweep"),
    Job("files, tiny AnimateDiff", "file_size", ("--only", "animatediff"), 10),
    Job("time to quality", "time_to_quality", ("--all",), 40),
)


def run(command: Sequence[str], seconds: float) -> str:
    """How it ended. It has a session of its own, so that its own children end with it."""
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return "out of time"
        except BaseException:
            _end(process)
            raise
    return "done" if status == 0 else f"failed ({status})"


def _end(process: subprocess.Popen) -> None:
    """It and all it started, which would hold the GPU's memory while the next one is measured."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for _ in range(20):  # until the system has taken the last of them away, or nobody will
            os.killpg(process.pid, 0)
            time.sleep(0.1)


def run_all(jobs: Sequence[Job], device: str, out: bool, minutes: float) -> Table:
    """What became of every job, in the time there is."""
    end, table = time.monotonic() + 60 * minutes, Table(("benchmark", "minutes", "how it ended"), 0)
    for job in jobs:
        begin = time.monotonic()
        limit = min(60 * job.minutes, end - begin)
        log.warning("%s: at most %.0f s", job.name, max(limit, 0))
        ended = "no time left" if limit < min(_LEAST, 60 * job.minutes) else run(job.command(device, out), limit)
        spent = f"{(time.monotonic() - begin) / 60:.1f}"
        table = table.with_rows([*table.rows, (_title(job), spent, ended)])
        log.warning("%s: %s after %s min", job.name, ended, spent)
    return table


def _title(job: Job) -> str:
    return f"{job.benchmark} {' '.join(job.arguments)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="that there are in all (60)")
    parser.add_argument("--only", default="", help="those that have this text in their name")
    parser.add_argument("--list", action="store_true", help="only print the commands")
    parser.add_argument("--out", action="store_true", help="add what is measured to the pages")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu to try it out")
    arguments = parser.parse_args()
    jobs = [job for job in JOBS if arguments.only in job.name or arguments.only in _title(job)]
    if not jobs:
        parser.error(f"--only: nothing has {arguments.only!r} in its name")
    if arguments.list:
        print("\n".join(shlex.join(["python", *job.command(arguments.device, arguments.out)[1:]]) for job in jobs))
        return
    device = chosen_device(parser, arguments)
    if arguments.out and not _can_draw():
        log.warning("matplotlib is missing: what time_to_quality finds stays in .cache; later: --table --out")
    log.warning("on %s", device_name(device))
    print(run_all(jobs, arguments.device, arguments.out, arguments.minutes).text)


if __name__ == "__main__":
    main()
