"""What each part of the method does: every variant on held-out clips, new scenes and seeds, on the tiny model.

    python -m benchmarks.ablation            run what is missing, then write the table
    python -m benchmarks.ablation --table    write the table from what has been run

Results per clip lie in ``.cache/ablation`` under all that they depend on but the code, and are not run again; delete
that folder after a change to the method. What has been run goes to ``benchmarks/ablation.csv``, ``.md`` and ``.png``;
rows there that have not been run here, or on more clips than here, stay as they are.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.host import ROOT
from demo.tiny_model.camera import camera_error, camera_flow, true_flow
from demo.tiny_model.judge import judge
from demo.tiny_model.world import Look, screen_path
from motion_embedding.atomic import replacing
from motion_embedding.debias import Debias
from motion_embedding.metrics.fidelity import motion_fidelity, trajectory_correlation
from motion_embedding.metrics.tracks import track_points
from motion_embedding.presets import Recipe

from .ablation_table import figure, markdown, merged, needs_matplotlib, read_csv, summarise, write_csv
from .cache import digest, slug
from .clips import CLIPS, Clip
from .in_process import WEIGHTS, Host, start
from .variants import TRAINING, VARIANTS, Variant

CACHE = ROOT / ".cache" / "ablation"
SEEDS = (1, 2)
STEPS = 10
GUIDANCE = 2.0
_SHAPE = (12, 8, 16, 16)
log = logging.getLogger(__name__)


def measure(clip: Clip, look: Look, frames: np.ndarray) -> dict[str, float]:
    """The numbers of one generated clip, uint8 ``[F, 64, 64, 3]``. NaN where a metric does not apply."""
    seen, own = judge(frames), clip.look
    moved = clip.camera and look.pattern == "checkered"
    leaks = [seen.color == own.color, seen.shape == own.shape, seen.background == own.background]
    leaks.append(own.pattern not in ("plain", look.pattern) and seen.pattern == own.pattern)
    return {
        "track": float("nan") if clip.camera else trajectory_correlation(screen_path(clip.motion), seen.track),
        "fidelity": motion_fidelity(_tracks(clip), track_points(frames)),
        "camera_error": camera_error(true_flow(clip.motion), camera_flow(frames)) if moved else float("nan"),
        "color": float(seen.color == look.color),
        "shape": float(seen.shape == look.shape),
        "background": float(seen.background == look.background),
        "pattern": float(seen.pattern == look.pattern),
        "leak": float(any(leaks)),
    }


@cache
def _tracks(clip: Clip) -> np.ndarray:
    """The reference's point tracks, which every one of its samples is compared with."""
    return track_points(clip.frames)


class Bench:
    """One process's work: trains an embedding per clip and recipe, inverts per clip, samples and measures.

    cpu: or where the host would run it.
    """

    def __init__(self, cpu: bool = True) -> None:
        self.host: Host = start(cpu=cpu, precise=not cpu)
        self.device = "cpu" if cpu else "cuda"
        self.inverted: dict[tuple[str, bool], torch.Tensor] = {}

    def embedding(self, clip: Clip, recipe: dict[str, Any]):
        files = self.host.part("files")
        key = digest(training_of(recipe), clip.look, clip.frames, WEIGHTS, self.device)
        path = CACHE / "embeddings" / f"{clip.name}-{key}.safetensors"
        if not path.exists():
            training = self.host.part("training")
            trained = training.train_motion(
                self.host.model,
                self.host.prompt(clip.look.prompt),
                self.host.encode(clip.frames),
                training_of(recipe),
            )
            files.save(trained.embedding, path, torch.float32)
        return files.load(path)

    def model(self, variant: Variant, clip: Clip):
        if variant.recipe is None:
            return self.host.model
        debias = self.host.part("debias").Debias(**variant.debias)
        embedding = self.embedding(clip, dict(variant.recipe)).replace(debias=debias)
        return self.host.part("injection").apply_embedding(self.host.model, embedding, variant.query_key, variant.value)

    def run(self, variant: Variant, clip: Clip) -> list[dict[str, Any]]:
        model, results = self.model(variant, clip), []
        for number, look in enumerate(clip.looks()):
            noise = torch.stack(
                [torch.randn(_SHAPE, generator=torch.Generator().manual_seed(1000 * seed + number)) for seed in SEEDS]
            )
            noise = self.starting_noise(variant, clip, noise)
            clips = self.host.sample(model, look.prompt, noise, STEPS, GUIDANCE)
            results += [
                {"look": look.prompt, "seed": seed, **measure(clip, look, frames)}
                for seed, frames in zip(SEEDS, clips, strict=True)
            ]
        return results

    def starting_noise(self, variant: Variant, clip: Clip, noise: torch.Tensor) -> torch.Tensor:
        """``noise`` with as much of the clip's inverted noise in it as the variant says."""
        if variant.noise is None:
            return noise
        key = (clip.name, variant.noise.published)
        if key not in self.inverted:
            changes = {"cleaning": "as published"} if variant.noise.published else {}
            invert = self.host.part("inverting").invert_video
            self.inverted[key] = invert(self.host.model, self.host.prompt(""), self.host.encode(clip.frames), **changes)
        mix = self.host.part("initial_noise").mix
        return mix(self.inverted[key], noise, variant.noise.strategy, variant.noise.amount)


def training_of(recipe: Mapping[str, Any]) -> Recipe:
    """With every field, also those that ``recipe`` leaves as they are: what is learnt depends on them all."""
    return Recipe(**{**TRAINING, **recipe})


def result_path(variant: Variant, clip: Clip) -> Path:
    """Where the samples of ``clip`` lie."""
    learnt = None if variant.recipe is None else (training_of(variant.recipe), Debias(**variant.debias))
    used = variant.query_key, variant.value, variant.noise, SEEDS, STEPS, GUIDANCE
    key = digest(learnt, used, clip.look, clip.frames, clip.looks(), WEIGHTS)
    return CACHE / "results" / slug(f"{variant.group} {variant.name}") / f"{clip.name}-{key}.json"


def missing(only: list[str]) -> list[tuple[Variant, Clip]]:
    return [
        (variant, clip)
        for variant in VARIANTS
        for clip in CLIPS.values()
        if (variant.camera_clips if clip.camera else variant.path_clips)
        and (not only or variant.name in only)
        and not result_path(variant, clip).exists()
    ]


def work(share: int, workers: int, only: list[str]) -> None:
    """Run this worker's clips; every clip belongs to one worker, so that nothing is trained twice."""
    mine = [name for i, name in enumerate(CLIPS) if i % workers == share]
    todo = [(variant, clip) for variant, clip in missing(only) if clip.name in mine]
    if not todo:
        return
    with torch.inference_mode():
        bench = Bench()
        for done, (variant, clip) in enumerate(todo):
            results = bench.run(variant, clip)
            path = result_path(variant, clip)
            with replacing(path) as unfinished:
                unfinished.write_text(json.dumps(results))
            motion = np.nanmean([[r["track"], 1 - r["camera_error"]] for r in results])
            leak = np.mean([r["leak"] for r in results])
            log.warning(
                "%d/%d %s: %s, %s: motion %.2f, leak %.2f",
                done + 1,
                len(todo),
                variant.group,
                variant.name,
                clip.name,
                motion,
                leak,
            )


def results_of(variant: Variant, camera: bool) -> list[list[dict[str, Any]]]:
    """The samples of every clip of the kind that has been run."""
    paths = [result_path(variant, clip) for clip in CLIPS.values() if clip.camera == camera]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def write_table() -> None:
    """Whatever has been run, into ``benchmarks/ablation.*``."""
    rows = [(variant, results_of(variant, camera=False), results_of(variant, camera=True)) for variant in VARIANTS]
    rows = [row for row in rows if row[1] or row[2]]
    if not rows:
        raise SystemExit("nothing has been run yet")
    target = ROOT / "benchmarks" / "ablation"
    table = merged(summarise(rows), read_csv(target.with_suffix(".csv")))
    write_csv(table, target.with_suffix(".csv"))
    target.with_suffix(".md").write_text(markdown(table), "utf-8")
    figure(table, target.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--only", nargs="+", default=[], help="names of the variants to run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.share is not None:
        work(arguments.share, arguments.workers, arguments.only)
        return
    needs_matplotlib()
    if not arguments.table:
        command = [sys.executable, "-m", "benchmarks.ablation", *sys.argv[1:], "--workers", str(arguments.workers)]
        shares = [subprocess.Popen([*command, "--share", str(i)], cwd=ROOT) for i in range(arguments.workers)]
        failed = [share.wait() for share in shares]
        if any(failed):
            raise SystemExit("a worker failed; what it finished is kept")
    write_table()


if __name__ == "__main__":
    main()
