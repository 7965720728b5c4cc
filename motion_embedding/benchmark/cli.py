"""The command line: run, score, report. Exit codes: 0 all is well, 1 items failed or the run stopped, 2 usage."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from .checks import problems_of_folder, problems_of_host, problems_of_scoring
from .document import suggestion
from .failure import BenchmarkError
from .items import slug
from .local import LocalPool
from .manifest import Manifest, load_manifest
from .prepared import prepare_references
from .report import VIDEOS, write_report
from .run import Selection, describe, generate, make_plan
from .store import Results
from .terminal import ScoringTicker, Ticker, print_plan, print_summary, shown
from .work import HostOptions, Pool

_SHIPPED_HOST = Path(__file__).resolve().parents[2] / ".host" / "ComfyUI"
_FAILED, _USAGE = 1, 2


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        return options.command(options)
    except InputError as error:
        return _complain(str(error), _USAGE)
    except BenchmarkError as error:
        return _complain(str(error), _FAILED)
    except KeyboardInterrupt:
        return _complain("Stopped. The same command goes on where it was.", _FAILED)


def _run(options: argparse.Namespace) -> int:
    manifest = load_manifest(options.manifest)
    folder = (options.out or Path("results") / slug(manifest.name)).absolute()
    selection = Selection(tuple(options.only), options.limit)
    host = _host(options)
    _require_matches(manifest, selection)
    if options.dry_run:
        return _list_items(manifest, folder, selection)
    problems = list(problems_of_folder(folder))
    if not options.prepare_only and any(not method.videos for method in manifest.methods):
        problems += problems_of_host(host, here=not options.ray)
    if not (options.generate_only or options.prepare_only):
        problems += problems_of_scoring(manifest.metrics)
    if problems:
        return _complain("\n".join(problems), _USAGE)
    with Results(folder) as results:
        plan = make_plan(manifest, prepare_references(manifest, results), results, selection)
        describe(manifest, plan, results)
        print_plan(manifest.name, plan, folder)
        if options.prepare_only:
            return _FAILED if any(reference.error for reference in plan.references.values()) else 0
        ticker = Ticker(plan.missing)
        try:
            summary = generate(manifest, plan, results, lambda: _pool(options, host), options.retries, ticker)
        finally:
            ticker.end()
        print_summary(summary)
        if not options.generate_only:
            _score(results)
            _report(results)
    return _FAILED if summary.failures else 0


def _require_matches(manifest: Manifest, selection: Selection) -> None:
    items = manifest.items({clip.name: "" for clip in manifest.clips})
    pairs = {(item.method.name, item.clip.name): item for item in items}
    for pattern in selection.only:
        if not Selection((pattern,)).of({str(pair): item for pair, item in pairs.items()}):
            cause = f"{pattern!r} is no clip, method or clip/method of the manifest."
            raise InputError("--only", cause, suggestion(pattern, {name for pair in pairs for name in pair}))


def _list_items(manifest: Manifest, folder: Path, selection: Selection) -> int:
    with tempfile.TemporaryDirectory() as scratch, Results(Path(scratch)) as nowhere:
        plan = make_plan(manifest, list(prepare_references(manifest, nowhere)), Results(folder), selection)
    for id in plan.items:
        print(f"{'missing ' if id in plan.missing else '        '} {id}")
    for name, reference in plan.references.items():
        if reference.error:
            print(f"cannot be prepared: {name}: {reference.error}")
    print_plan(manifest.name, plan, folder)
    return 0


def _score_command(options: argparse.Namespace) -> int:
    with Results(_existing(options.folder)) as results:
        _score(results, options)
    return 0


def _report_command(options: argparse.Namespace) -> int:
    with Results(_existing(options.folder)) as results:
        _report(results, options.videos, options.baseline)
    return 0


def _score(results: Results, options: argparse.Namespace | None = None) -> None:
    # Here and not above: encoders and trackers take seconds to import.
    from .instruments import settings_of
    from .scored import read_benchmark
    from .scoring import score_folder

    settings = settings_of(read_benchmark(results.folder).facts)
    if options is not None:
        given = {key: path for key in ("clip", "appearance") if (path := getattr(options, key))}
        settings = replace(settings, **given)
        if options.cotracker:
            settings = replace(settings, tracker="cotracker", tracker_file=options.cotracker)
    with results.explaining():
        ticker = ScoringTicker()
        try:
            score_folder(results.folder, settings, ticker)
        finally:
            ticker.end()
    print(f"Scores: {shown(results.folder / 'scores.csv')}")


def _report(results: Results, videos: int = VIDEOS, baseline: str = "") -> None:
    with results.explaining():
        print(f"Report: {shown(write_report(results.folder, videos, baseline))}")


def _host(options: argparse.Namespace) -> HostOptions | None:
    """The ComfyUI to start; None where none is named or found."""
    named = options.comfyui or os.environ.get("COMFYUI_PATH") or (_SHIPPED_HOST if _SHIPPED_HOST.is_dir() else None)
    if named is None:
        return None
    base = options.base.absolute() if options.base else None
    python = options.python or os.environ.get("COMFYUI_PYTHON", "")
    return HostOptions(Path(named).expanduser().absolute(), base, python, options.host_arguments, options.timeout)


def _pool(options: argparse.Namespace, host: HostOptions) -> Pool:
    print("Starting ComfyUI, which takes a while.", flush=True)
    if options.ray:
        from .ray_pool import RayPool

        return RayPool(options.ray, host, options.workers, options.cpus)
    if options.devices:
        workers = {
            f"device-{n}": replace(host, arguments=("--cuda-device", n, *host.arguments)) for n in options.devices
        }
        return LocalPool(workers)
    return LocalPool({f"worker-{number}": host for number in range(1, (options.workers or 1) + 1)})


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError("folder", f"there is no folder {folder}.", "Name a folder that `run` wrote.")
    return folder


def _complain(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="motion_embedding.benchmark", description="Measure motion transfer.")
    commands = parser.add_subparsers(required=True, metavar="run|score|report")
    _add_run(commands.add_parser("run", help="make what is missing, score it, write the report"))
    score = commands.add_parser("score", help="score the finished items of a results folder")
    score.add_argument("folder", type=Path)
    score.add_argument("--clip", type=Path, help="a transformers folder with a CLIP, instead of the manifest's")
    score.add_argument("--appearance", type=Path, help="a transformers folder with an image encoder (DINO)")
    score.add_argument("--cotracker", type=Path, help="a CoTracker checkpoint to track with")
    score.set_defaults(command=_score_command)
    report = commands.add_parser("report", help="write report.html of a results folder from its scores")
    report.add_argument("folder", type=Path)
    report.add_argument("--videos", type=_count, default=VIDEOS, help=f"the most results to show as videos ({VIDEOS})")
    report.add_argument("--baseline", default="", metavar="METHOD", help="compare with this one at first (the first)")
    report.set_defaults(command=_report_command)
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.set_defaults(command=_run)
    run.add_argument("manifest", type=Path)
    run.add_argument("--out", type=Path, help="results folder (results/<name of the manifest>)")
    run.add_argument("--only", action="append", default=[], metavar="GLOB", help="clip, method or clip/method; repeat")
    run.add_argument("--limit", type=_count, default=0, help="make at most so many items")
    run.add_argument("--retries", type=_count, default=2, help="further attempts when a worker dies (2)")
    run.add_argument("--timeout", type=_above_zero, default=3600.0, help="seconds that one item may take (3600)")
    run.add_argument("--generate-only", action="store_true", help="neither score nor report")
    run.add_argument("--prepare-only", action="store_true", help="prepare the references and start no ComfyUI")
    run.add_argument("--dry-run", action="store_true", help="list the items and what is missing; start nothing")
    host = run.add_argument_group("ComfyUI")
    host.add_argument("--comfyui", type=Path, help="ComfyUI's own folder ($COMFYUI_PATH)")
    host.add_argument("--base", type=Path, help="the folder with models and custom_nodes, if it is another")
    host.add_argument("--python", default="", help="the interpreter with ComfyUI's requirements ($COMFYUI_PYTHON)")
    host.add_argument(
        "--host-arguments", type=_words, default=(), metavar='"--lowvram ..."', help="more arguments for ComfyUI"
    )
    where = run.add_argument_group("workers, each with a ComfyUI of its own")
    where.add_argument("--devices", type=_devices, default=(), help="a worker for each of these GPUs: 0,1")
    where.add_argument("--workers", type=_count, default=0, help="so many on this machine's one device (1), or on Ray")
    where.add_argument("--ray", metavar="ADDRESS", default="", help="workers on the machines of a Ray cluster")
    where.add_argument("--cpus", type=_above_zero, default=1.0, help="cores for each worker on Ray (1)")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def _devices(text: str) -> tuple[str, ...]:
    numbers = tuple(part.strip() for part in text.split(","))
    if not all(part.isdecimal() for part in numbers) or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of different numbers such as 0,1")
    return numbers
