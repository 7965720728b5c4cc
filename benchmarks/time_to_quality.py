"""How soon a training reaches what quality: track correlation and leaks over the compute that went into learning.

    python -m benchmarks.time_to_quality               run what is missing on two clips, then print the table
    python -m benchmarks.time_to_quality --clips 8     on all held-out clips whose object moves
    python -m benchmarks.time_to_quality --model hard  on one clip and scene that tell good trainings from fair ones
    python -m benchmarks.time_to_quality --all --out   every model and all clips; hours
    python -m benchmarks.time_to_quality --table       only print what has been run

Every curve is trained once per clip; what is learnt at the marked steps goes into new scenes with the same seeds,
acting until half of the sampling as by default. The second table has the passes until a track correlation is reached
and stays, and how many times those of the presets the published recipe takes.

Results lie in ``.cache/time_to_quality`` under all that they depend on but the code; delete that folder after a change
to the method. The table begins with the rows of ``benchmarks/time_to_quality.md``, in which those measured now, on as
many clips or more, take the place of the same model, training and steps; ``--out`` writes that back, and the figure.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.host import ROOT
from demo.run import read_frames, shipped
from demo.tiny_model.world import Look
from demo.tiny_wan.files import MODEL as WAN
from motion_embedding.atomic import replacing

from . import in_process, transformer_form
from .ablation import measure
from .ablation_table import needs_matplotlib
from .cache import digest, slug
from .clips import CLIPS, Clip
from .devices import add_device, chosen_device, device_name
from .plain_training import train
from .quality_curves import CURVES, MODELS, Curve
from .quality_table import Point, figure, merged, reach
from .tables import put, read, write

CACHE, OUT = ROOT / ".cache" / "time_to_quality", ROOT / "benchmarks" / "time_to_quality"
CLIP_NAMES = ("left", "circle", "fall", "bounce", "right", "up", "diagonal", "arc")
SCENES, UNTIL = 2, 0.5
# What each model's own proof samples with, at fewer steps: steps, guidance, sampler, schedule.
SAMPLING = {
    "UNet": (10, 2.0, "ddim", "sgm_uniform"),
    "hard": (20, 2.0, "ddim", "sgm_uniform"),
    "Wan": (12, 2.0, "euler", "simple"),
}
# A scene in which the model's own motion is strong, from the clip as its file has it, as ``make demo`` runs it.
HARD_CLIP, HARD_LOOK, HARD_SEEDS = "bounce", Look("magenta", "triangle", "black"), (7, 8, 9, 10)
REACHED = "Passes until a track correlation is reached"
log = logging.getLogger(__name__)


class Bench:
    """The tiny models inside this process, on the CPU or where the host would run them."""

    def __init__(self, model: str, cpu: bool = True) -> None:
        wan = model == "Wan"
        self.host = transformer_form.start(cpu) if wan else in_process.start(cpu=cpu, precise=not cpu)
        self.name, self.hard = model, model == "hard"
        self.model, self.shape = self.host.model, (1, 12, 8, 16, 16)
        if wan:
            from comfy_extras.nodes_model_advanced import ModelSamplingSD3

            self.model = ModelSamplingSD3().patch(self.model, transformer_form.WAN_SHIFT)[0]
            self.shape = (1, 16, 8, 16, 16)
        import comfy.model_management

        comfy.model_management.load_models_gpu([self.model], force_full_load=True)

    def run(self, curve: Curve, clip: Clip) -> dict[str, Any]:
        """The samples after each mark."""
        result: dict[str, Any] = {}
        positive = self.host.prompt(clip.look.prompt)[0][0]
        frames = clip.frames
        if self.hard:
            reference = shipped(clip.name)
            frames = read_frames(reference.video, reference, len(frames), frames.shape[1])
        for how, marks in curve.runs():
            learnt = train(self.host, self.model, self.host.encode(frames), positive, how, marks)
            result |= {str(mark): self.score(clip, embedding) for mark, embedding in learnt.items()}
        return result

    def score(self, clip: Clip, embedding: Any) -> list[dict[str, float]]:
        import comfy.sample

        debias = self.host.part("debias").Debias(until=UNTIL)
        apply = self.host.part("injection").apply_embedding
        model, results = apply(self.model, embedding.replace(debias=debias), 1.0, 1.0), []
        for look, seed in scenes(self.name, clip):
            noise = torch.randn(self.shape, generator=torch.Generator().manual_seed(seed))
            prompts = self.host.prompt(look.prompt), self.host.prompt("")
            how = (*SAMPLING[self.name], *prompts, torch.zeros_like(noise))
            latents = comfy.sample.sample(model, noise, *how, disable_pbar=True, seed=0)
            results.append(measure(clip, look, self.host.decode(latents)[0]))
        return results


def scenes(model: str, clip: Clip) -> list[tuple[Look, int]]:
    """What is sampled with the motion of ``clip``, and from which noise."""
    if model == "hard":
        return [(HARD_LOOK, seed) for seed in HARD_SEEDS]
    return [(look, 1000 + number) for number, look in enumerate(clip.looks()[:SCENES])]


def clips_of(model: str, count: int) -> list[str]:
    return [HARD_CLIP] if model == "hard" else list(CLIP_NAMES[:count])


def result_path(curve: Curve, name: str, device: str = "cpu") -> Path:
    """Where the samples of the clip ``name`` lie."""
    clip = CLIPS[name]
    source = shipped(name).video if curve.model == "hard" else clip.frames
    how = SAMPLING[curve.model], scenes(curve.model, clip), UNTIL, transformer_form.WAN_SHIFT
    weights = [in_process.WEIGHTS, *([WAN] if curve.model == "Wan" else [])]
    key = digest(curve.how, curve.marks, how, clip.look, source, weights, device)
    return CACHE / slug(f"{curve.model} {curve.name}") / f"{name}-{key}.json"


def work(model: str, clips: list[str], named: str, device: torch.device, out: bool) -> None:
    """Run what is missing; with ``out`` every curve is on the page as soon as all its clips are done."""
    todo = [(curve, clip) for curve in CURVES for clip in clips if curve.model == model and named in curve.name]
    todo = [(curve, clip) for curve, clip in todo if not result_path(curve, clip, device.type).exists()]
    if not todo:
        return
    with torch.inference_mode():
        bench = Bench(model, cpu=device.type == "cpu")
        for done, (curve, clip) in enumerate(todo, 1):
            with replacing(result_path(curve, clip, device.type)) as unfinished:
                unfinished.write_text(json.dumps(bench.run(curve, CLIPS[clip])))
            log.warning("%d/%d %s: %s, %s", done, len(todo), model, curve.name, clip)
            if out and (done == len(todo) or todo[done][0] is not curve):
                publish(device, out)


def points(curve: Curve, device: torch.device) -> list[Point]:
    """One for every mark, over the clips that have been run."""
    clips = clips_of(curve.model, len(CLIP_NAMES))
    paths = [path for clip in clips if (path := result_path(curve, clip, device.type)).exists()]
    results = [json.loads(path.read_text()) for path in paths]
    made = []
    for mark in curve.marks if results else ():
        samples = [result[str(mark)] for result in results]
        track, fidelity, leak, shape = (
            float(np.nanmean([[sample[what] for sample in clip] for clip in samples]))
            for what in ("track", "fidelity", "leak", "shape")
        )
        worst = min(float(np.nanmean([sample["track"] for sample in clip])) for clip in samples)
        where = (curve.model, curve.name, mark, curve.passes(mark), len(samples))
        made.append(Point(*where, track, worst, fidelity, leak, shape, device_name(device)))
    return made


def publish(device: torch.device, out: bool) -> str:
    """The tables with what has been run; with ``out`` it goes to the page and the figure too."""
    page = read(OUT.with_suffix(".md"))
    whole = merged([point for curve in CURVES for point in points(curve, device)], page)
    passes = reach(whole)
    if out:
        write(OUT.with_suffix(".md"), put(whole.into(page), REACHED, passes.text))
        figure(whole, OUT.with_suffix(".png"))
    return f"{whole.text}\n{passes.text}"


def each_model(arguments: argparse.Namespace) -> None:
    """Run all models, each in a process of its own: a host is started once in a process."""
    for model in MODELS:
        command = [sys.executable, "-m", "benchmarks.time_to_quality", "--work", "--model", model]
        command += ["--clips", str(len(CLIP_NAMES)), "--curves", arguments.curves, "--device", arguments.device]
        command += ["--out"] if arguments.out else []
        subprocess.run(command, cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2, help="how many of the eight held-out clips")
    parser.add_argument("--model", choices=MODELS, default="UNet")
    parser.add_argument("--all", action="store_true", help="every model, on all clips")
    parser.add_argument("--curves", default="", help="only those whose name holds this text")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--out", action="store_true", help=f"write {OUT.name}.md and {OUT.name}.png")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    add_device(parser)
    arguments = parser.parse_args()
    device = chosen_device(parser, arguments)
    if arguments.out:
        needs_matplotlib()
    torch.set_num_threads(1)
    if arguments.all and not arguments.table:
        each_model(arguments)
    elif not arguments.table:
        work(arguments.model, clips_of(arguments.model, arguments.clips), arguments.curves, device, arguments.out)
    if not arguments.work:
        print(publish(device, arguments.out))


if __name__ == "__main__":
    main()
