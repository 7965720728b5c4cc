"""How soon a training reaches what quality: track correlation and leaks over the compute that went into learning.

    python -m benchmarks.time_to_quality               run what is missing on two clips, then write table and figure
    python -m benchmarks.time_to_quality --clips 8     on all held-out clips whose object moves
    python -m benchmarks.time_to_quality --model hard  on one clip and scene that tell good trainings from fair ones
    python -m benchmarks.time_to_quality --table       only write what has been run

Every curve is trained once per clip; what is learnt at the marked steps goes into new scenes with the same seeds,
acting until half of the sampling as by default. Results lie in ``.cache/time_to_quality``; delete that folder after a
change. Writes ``benchmarks/time_to_quality.md`` and ``.png``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.host import ROOT
from demo.run import read_frames, shipped
from demo.tiny_model.world import Look
from motion_embedding.atomic import replacing

from . import in_process, transformer_form
from .ablation import measure
from .clips import CLIPS, Clip
from .plain_training import How, train

CACHE = ROOT / ".cache" / "time_to_quality"
CLIP_NAMES = ("left", "circle", "fall", "bounce", "right", "up", "diagonal", "arc")
SCENES, GUIDANCE, UNTIL = 2, 2.0, 0.5
# A scene in which the model's own motion is strong, from the clip as its file has it, as ``make demo`` runs it.
HARD_CLIP, HARD_LOOK, HARD_STEPS, HARD_SEEDS = "bounce", Look("magenta", "triangle", "black"), 20, (7, 8, 9, 10)
TITLES = {"hard": "UNet, a scene that resists"}
PASSES = 3  # a forward is one, a backward two


@dataclass(frozen=True)
class Curve:
    """A way to train, and after which steps to look. One whose rate falls needs a training of its own for each mark."""

    name: str
    how: How
    marks: tuple[int, ...]
    model: str = "UNet"

    def runs(self) -> list[tuple[How, tuple[int, ...]]]:
        if self.how.schedule == "constant":
            return [(replace(self.how, steps=self.marks[-1]), self.marks)]
        return [(replace(self.how, steps=mark), (mark,)) for mark in self.marks]

    def passes(self, mark: int) -> int:
        """What ``mark`` steps cost, in forward passes of one clip."""
        return PASSES * mark * self.how.batch


# The published loss has a throw-away LoRA beside it, which makes a step dearer and moved things no better in the
# ablation; left out here, in favour of the published side.
_PUBLISHED = How(levels="uniform", loss="debiased", layers="paper", rate=0.02)
_BEFORE = How()
_CROWDED = How(rate=0.2, power=2.0)
_ONE_RATE = replace(_CROWDED, rate=0.1)
_PRESETS = replace(_ONE_RATE, query_key=4.0)
CURVES = [
    Curve("the presets", _PRESETS, (20, 32, 48, 65, 80, 100)),
    Curve("query-keys at 0.1 too", _ONE_RATE, (40, 65, 90, 130)),
    Curve("query-keys at 0.025", replace(_ONE_RATE, query_key=0.25), (65, 90)),
    Curve("query-keys at 0.8", replace(_ONE_RATE, query_key=8.0), (20, 32, 48, 65)),
    Curve("both at 0.2", _CROWDED, (20, 40, 50)),
    Curve("both at 0.3", replace(_CROWDED, rate=0.3), (10, 20, 30, 40)),
    Curve("two noises a step", replace(_PRESETS, batch=2), (24, 40)),
    Curve("two noises a step, one turned", replace(_PRESETS, batch=2, antithetic=True), (24, 40)),
    Curve("query-keys from random numbers, 0.1", replace(_PRESETS, start=0.1), (20, 32, 48, 65)),
    Curve("query-keys from random numbers, 0.5", replace(_PRESETS, start=0.5), (20, 32, 48, 65)),
    Curve("query-keys at 0.1 too, betas 0.9 and 0.99", replace(_ONE_RATE, betas=(0.9, 0.99)), (65, 90)),
    Curve("query-keys at 0.1 too, betas 0.5 and 0.99", replace(_ONE_RATE, betas=(0.5, 0.99)), (65, 90)),
    Curve("200 steps at 0.1, all levels alike", _BEFORE, (80, 140, 200)),
    Curve("published, rate 0.3", replace(_PUBLISHED, rate=0.3), (40, 80, 140)),
    Curve("published, rate 0.1", replace(_PUBLISHED, rate=0.1), (140, 350)),
    Curve("published, rate 0.02", _PUBLISHED, (140, 350)),
    Curve("the presets", _PRESETS, (50, 65, 80, 100, 130), "hard"),
    Curve("query-keys at 0.1 too", _ONE_RATE, (100, 130, 160), "hard"),
    Curve("query-keys at 0.8", replace(_ONE_RATE, query_key=8.0), (65, 80, 100), "hard"),
    Curve("both at 0.2", _CROWDED, (40, 50, 65), "hard"),
    Curve("two noises a step, one turned", replace(_PRESETS, batch=2, antithetic=True), (40, 65), "hard"),
    Curve("200 steps at 0.1, all levels alike", _BEFORE, (140, 200), "hard"),
    Curve("both at 0.2", _CROWDED, (10, 20, 50), "Wan"),
    Curve("200 steps at 0.1, all levels alike", _BEFORE, (10, 20, 40, 80), "Wan"),
]


class Bench:
    """The tiny models inside this process; ``sampling`` of each is what its own proof uses, at fewer steps."""

    def __init__(self, model: str) -> None:
        self.host = transformer_form.start() if model == "Wan" else in_process.start()
        self.hard = model == "hard"
        self.model, self.shape = self.host.model, (1, 12, 8, 16, 16)
        self.sampling = (HARD_STEPS if self.hard else 10, GUIDANCE, "ddim", "sgm_uniform")
        if model == "Wan":
            from comfy_extras.nodes_model_advanced import ModelSamplingSD3

            self.model = ModelSamplingSD3().patch(self.model, transformer_form.WAN_SHIFT)[0]
            self.shape, self.sampling = (1, 16, 8, 16, 16), (12, GUIDANCE, "euler", "simple")
        import comfy.model_management

        comfy.model_management.load_models_gpu([self.model], force_full_load=True)

    def run(self, curve: Curve, clip: Clip) -> dict[str, Any]:
        """Per mark the samples, ``seconds`` per step with the looking left out."""
        result: dict[str, Any] = {}
        positive = self.host.prompt(clip.look.prompt)[0][0]
        frames = clip.frames
        if self.hard:
            reference = shipped(clip.name)
            frames = read_frames(reference.video, reference, len(frames), frames.shape[1])
        for how, marks in curve.runs():
            began = time.process_time()
            learnt = train(self.host, self.model, self.host.encode(frames), positive, how, marks)
            result["seconds"] = (time.process_time() - began) / how.steps
            result |= {str(mark): self.score(clip, embedding) for mark, embedding in learnt.items()}
        return result

    def score(self, clip: Clip, embedding: Any) -> list[dict[str, float]]:
        import comfy.sample

        debias = self.host.part("debias").Debias(until=UNTIL)
        apply = self.host.part("injection").apply_embedding
        model, results = apply(self.model, embedding.replace(debias=debias), 1.0, 1.0), []
        scenes = [(look, 1000 + number) for number, look in enumerate(clip.looks()[:SCENES])]
        for look, seed in [(HARD_LOOK, seed) for seed in HARD_SEEDS] if self.hard else scenes:
            noise = torch.randn(self.shape, generator=torch.Generator().manual_seed(seed))
            how = (*self.sampling, self.host.prompt(look.prompt), self.host.prompt(""), torch.zeros_like(noise))
            latents = comfy.sample.sample(model, noise, *how, disable_pbar=True, seed=0)
            results.append(measure(clip, look, self.host.decode(latents)[0]))
        return results


def result_path(curve: Curve, clip: str) -> Path:
    changed = {f.name: getattr(curve.how, f.name) for f in fields(How) if getattr(curve.how, f.name) != f.default}
    text = " ".join([curve.model, *(f"{k} {v}" for k, v in changed.items()), *map(str, curve.marks)])
    return CACHE / "".join(c if c.isalnum() or c == "." else "_" for c in text) / f"{clip}.json"


def work(model: str, clips: list[str], named: str = "") -> None:
    todo = [(curve, clip) for curve in CURVES for clip in clips if curve.model == model and named in curve.name]
    todo = [(curve, clip) for curve, clip in todo if not result_path(curve, clip).exists()]
    if not todo:
        return
    with torch.inference_mode():
        bench = Bench(model)
        for curve, clip in todo:
            with replacing(result_path(curve, clip)) as unfinished:
                unfinished.write_text(json.dumps(bench.run(curve, CLIPS[clip])))
            print(curve.name, clip, flush=True)


@dataclass(frozen=True)
class Point:
    mark: int
    passes: int
    track: float
    worst: float
    fidelity: float
    leak: float
    shape: float
    clips: int


def points(curve: Curve) -> list[Point]:
    """One for every mark, over the clips that have been run."""
    paths = [path for clip in CLIP_NAMES if (path := result_path(curve, clip)).exists()]
    results = [json.loads(path.read_text()) for path in paths]
    made = []
    for mark in curve.marks if results else ():
        clips = [result[str(mark)] for result in results]
        mean = {
            what: float(np.nanmean([[sample[what] for sample in clip] for clip in clips]))
            for what in ("track", "fidelity", "leak", "shape")
        }
        worst = min(float(np.nanmean([sample["track"] for sample in clip])) for clip in clips)
        made.append(Point(mark, curve.passes(mark), worst=worst, clips=len(clips), **mean))
    return made


def reached(curve: list[Point], quality: float, leak: float) -> int | None:
    """The passes after which track correlations are at least ``quality`` and stay so, with leaks at most ``leak``."""
    for i, point in enumerate(curve):
        if all(p.track >= quality for p in curve[i:]) and point.leak <= leak:
            return point.passes
    return None


def table() -> str:
    lines = [
        "| model, training | steps | passes | track correlation | worst clip | fidelity | leaked | shape right |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for curve in CURVES:
        for p in points(curve):
            numbers = " | ".join(f"{n:.2f}" for n in (p.track, p.worst, p.fidelity, p.leak, p.shape))
            lines.append(f"| {curve.model}: {curve.name} ({p.clips} clips) | {p.mark} | {p.passes} | {numbers} |")
    return "\n".join(lines) + "\n"


def figure(path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    models = list(dict.fromkeys(curve.model for curve in CURVES if points(curve)))
    fig, grid = plt.subplots(len(models), 1, figsize=(9.4, 4.2 * len(models)), dpi=90, squeeze=False)
    for axes, model in zip(grid[:, 0], models, strict=True):
        shown = [curve for curve in CURVES if curve.model == model and points(curve)]
        for curve, color in zip(shown, plt.get_cmap("tab20").colors, strict=False):
            made, published = points(curve), curve.name.startswith("published")
            style = {"ls": "--" if published else "-", "lw": 2.5 if curve.how == _PRESETS else 1.2}
            axes.plot(
                [p.passes for p in made],
                [p.track for p in made],
                marker="o",
                ms=3,
                color=color,
                label=curve.name,
                **style,
            )
        axes.set(
            xscale="log",
            ylim=(-0.25, 1.03),
            title=TITLES.get(model, model),
            xlabel="passes of the model (forward 1, backward 2)",
        )
        axes.set_ylabel("track correlation")
        axes.set_xticks(ticks := [30, 60, 120, 240, 480, 960], ticks)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    fig.tight_layout()
    fig.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2, help="how many of the eight held-out clips")
    parser.add_argument("--model", choices=["UNet", "hard", "Wan"], default="UNet")
    parser.add_argument("--curves", help="only those whose name holds this text")
    parser.add_argument("--table", action="store_true", help="only write the table and the figure")
    arguments = parser.parse_args()
    if not arguments.table:
        clips = [HARD_CLIP] if arguments.model == "hard" else list(CLIP_NAMES[: arguments.clips])
        work(arguments.model, clips, arguments.curves or "")
    target = ROOT / "benchmarks" / "time_to_quality"
    target.with_suffix(".md").write_text(table(), "utf-8")
    figure(target.with_suffix(".png"))
    print(table())


if __name__ == "__main__":
    main()
