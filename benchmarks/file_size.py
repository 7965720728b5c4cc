"""How small a motion's file can be, and what of the motion is left in it.

    python -m benchmarks.file_size [--device cuda] [--out]     run what is missing, then print the tables
    python -m benchmarks.file_size --table                     print the tables from what has been run
    python -m benchmarks.file_size --shapes                    only the bytes at the real size, from shapes

On the tiny models, held-out clips x three new scenes, random noise: every form is saved, loaded and sampled with.
For ZeroScope at 576x320, 24 frames, the bytes of every form are computed from the layout of the real network; which
rank a real motion needs there is not known, since random weights have none.

Results lie in ``.cache/file_size`` under all that they depend on but the code; delete that folder after a change to the
method. The tables begin with the rows of ``benchmarks/file_size.md``; what has been run here on all clips of a table
takes the place of the same form on the same device, and ``--out`` writes that back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.host import ROOT
from motion_embedding.atomic import replacing
from motion_embedding.debias import Debias

from . import ablation, bytes_on_paper
from .cache import digest, slug
from .clips import CLIPS, Clip
from .devices import add_device, chosen_device, device_name
from .file_benches import BENCHES, Bench
from .tables import Cells, Table, part, put, read, write

CACHE, OUT = ROOT / ".cache" / "file_size", ROOT / "benchmarks" / "file_size.md"
PATHS, CAMERAS = ("left", "circle", "bounce", "fall"), ("pan", "zoom", "roll")
SCENES = 3
ON_PAPER = "ZeroScope, on paper"
_MOTION = {"track": "track correlation", "camera_error": "camera error"}


@dataclass(frozen=True)
class Form:
    """value_form: of the training. error: of the file, 0 for as it is. without: no motion at all."""

    name: str
    value_form: str = "full"
    error: float = 0.0
    without: bool = False


FORMS = [
    Form("no motion", without=True),
    Form("full, half precision"),
    *(Form(f"compact, error {error}", error=error) for error in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)),
    Form("learnt at rank 8", "low rank 8"),
    Form("learnt at rank 8, compact, error 0.1", "low rank 8", 0.1),
    Form("learnt at rank 8, compact, error 0.5", "low rank 8", 0.5),
]


@dataclass(frozen=True)
class Setting:
    """What is sampled: with which model, of which clips, and how the motion is debiased."""

    title: str
    model: str = "UNet"
    clips: tuple[str, ...] = PATHS
    debias: dict[str, Any] = field(default_factory=dict)

    @property
    def motion(self) -> str:
        """What says how well the motion came over; of a camera's, its error, of which less is better."""
        return "camera_error" if CLIPS[self.clips[0]].camera else "track"

    @property
    def columns(self) -> Cells:
        measured = (_MOTION[self.motion], "worst clip", "motion fidelity", "leaked")
        return ("form", "device", "file", "error", "ranks", *measured)


SETTINGS = {
    "unet": Setting("tiny UNet, object motion", debias={"until": 0.5}),
    "camera": Setting("tiny UNet, camera motion", clips=CAMERAS, debias={"value": "difference", "until": 0.65}),
    "animatediff": Setting("tiny AnimateDiff, until 0.5", model="AnimateDiff", debias={"until": 0.5}),
    "wan": Setting("tiny Wan, until 0.3", model="Wan", debias={"until": 0.3}),
}


def ranks_of(tensors: dict[str, list[int]]) -> list[int]:
    return [shape[0] for name, shape in tensors.items() if ".scales." in name]


def run(bench: Bench, form: Form, clip: Clip, debias: dict[str, Any]) -> dict[str, Any]:
    """The file's bytes, error and ranks, and the numbers of every sample made with what it holds."""
    files, found, model = bench.host.part("files"), {"bytes": 0, "error": 0.0, "ranks": []}, bench.plain
    if not form.without:
        path = CACHE / f"saved-{os.getpid()}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        error = files.save(bench.learnt(form.value_form, clip), path, error=form.error)
        found = {"bytes": path.stat().st_size, "error": error, "ranks": ranks_of(files.read_metadata(path)["tensors"])}
        motion = files.load(path).replace(debias=bench.host.part("debias").Debias(**debias))
        path.unlink()
        model = bench.host.part("injection").apply_embedding(model, motion)
    looks = enumerate(clip.looks()[:SCENES])
    found["samples"] = [ablation.measure(clip, look, bench.sample(model, look.prompt, i)) for i, look in looks]
    return found


def result_path(name: str, form: Form, clip: str, device: str = "cpu") -> Path:
    """Where the results of the clip of that name in the setting of that name lie."""
    setting, source = SETTINGS[name], CLIPS[clip]
    bench = BENCHES[setting.model]
    learnt = None if form.without else (bench.recipe(form.value_form), form.error, Debias(**setting.debias))
    scenes = source.look, source.frames, source.looks()[:SCENES]
    key = digest(setting.model, learnt, bench.how(), bench.weights(), scenes, device)
    return CACHE / "results" / name / slug(form.name) / f"{clip}-{key}.json"


def work(name: str, forms: list[str], device: torch.device, out: bool) -> None:
    """Run what is missing; with ``out`` every form is on the page as soon as all its clips are done."""
    setting = SETTINGS[name]
    wanted = [form for form in FORMS if not forms or form.name in forms]
    missing = [(f, c) for f in wanted for c in setting.clips if not result_path(name, f, c, device.type).exists()]
    if not missing:
        return
    with torch.inference_mode():
        bench = BENCHES[setting.model](cpu=device.type == "cpu")
        for done, (form, clip) in enumerate(missing, 1):
            found = run(bench, form, CLIPS[clip], setting.debias)
            with replacing(result_path(name, form, clip, device.type)) as unfinished:
                unfinished.write_text(json.dumps(found))
            if out and (done == len(missing) or missing[done][0] is not form):
                publish(name, device, out)


def measured(name: str, device: torch.device) -> Table:
    """What is left of the motion in every form of file that has been run on all clips."""
    setting, rows = SETTINGS[name], []
    for form in FORMS:
        paths = [result_path(name, form, clip, device.type) for clip in setting.clips]
        if not all(path.exists() for path in paths):
            continue
        clips = [json.loads(path.read_text()) for path in paths]
        moved, fidelity, leaked = (
            [np.mean([s[what] for s in clip["samples"]]) for clip in clips]
            for what in (setting.motion, "fidelity", "leak")
        )
        worst = max(moved) if setting.motion == "camera_error" else min(moved)
        ranks = [rank for clip in clips for rank in clip["ranks"]]
        size = "-" if form.without else f"{np.mean([clip['bytes'] for clip in clips]) / 1e3:.0f} kB"
        error = f"{np.mean([clip['error'] for clip in clips]):.2f}" if form.error else "-"
        span = f"{min(ranks)} to {max(ranks)}" if ranks else "-"
        scores = f"{np.mean(moved):.3f}", f"{worst:.2f}", f"{np.mean(fidelity):.3f}", f"{np.mean(leaked):.2f}"
        rows.append((form.name, device_name(device), size, error, span, *scores))
    return Table(setting.columns, 2, tuple(rows))


def merged(new: Table, page: str) -> Table:
    """The rows of ``page`` with the new ones, in the order of the forms."""
    whole = new.over(new.found(page))
    order = [form.name for form in FORMS]
    return whole.with_rows(sorted(whole.rows, key=lambda r: order.index(r[0]) if r[0] in order else len(order)))


def publish(name: str, device: torch.device, out: bool) -> str:
    """The table of a setting with what has been run; with ``out`` it goes to the page too."""
    page, title = read(OUT), SETTINGS[name].title
    table = merged(measured(name, device), part(page, title))
    if out and table.rows:
        write(OUT, put(page, title, table.text))
    return f"## {title}\n\n{table.text}" if table.rows else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only print the tables")
    parser.add_argument("--shapes", action="store_true", help="only print the bytes at the real size")
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--forms", nargs="+", choices=[form.name for form in FORMS], default=[], help="run these alone")
    parser.add_argument("--out", action="store_true", help=f"write the tables to {OUT.name} as well")
    parser.add_argument("--setting", choices=list(SETTINGS), help=argparse.SUPPRESS)
    add_device(parser)
    arguments = parser.parse_args()
    device = chosen_device(parser, arguments)
    torch.set_num_threads(1)
    if arguments.setting:
        work(arguments.setting, arguments.forms, device, arguments.out)
        return
    names = [] if arguments.shapes else arguments.only
    for name in names:
        if not arguments.table:
            command = [sys.executable, "-m", "benchmarks.file_size", "--setting", name, "--device", device.type]
            command += ["--forms", *arguments.forms] if arguments.forms else []
            command += ["--out"] if arguments.out else []
            subprocess.run(command, cwd=ROOT, check=True)
        print(publish(name, device, arguments.out))
    print(f"## {ON_PAPER}\n\n{(text := bytes_on_paper.table())}")
    if arguments.out:
        write(OUT, put(read(OUT), ON_PAPER, text))


if __name__ == "__main__":
    main()
