"""Which form of a motion works on a video transformer: layers, places, values, noise levels, on the tiny Wan.

    python -m benchmarks.transformer_form [--workers 2]    run what is missing, then write the table
    python -m benchmarks.transformer_form --table          write the table from what has been run

Held-out clips of the ablation that move along a path, new scenes, random noise. Results lie in
``.cache/transformer_form`` under all that they depend on but the code; delete that folder after a change to the method.
What has been run on all clips goes into the table in ``benchmarks/transformer_form.md``; other rows there stay.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.host import ROOT
from demo.tiny_model.world import FRAMES
from demo.tiny_wan.files import CHANNELS, MODEL, TEXT_AND_VAE
from motion_embedding.atomic import replacing
from motion_embedding.debias import Debias

from . import in_process
from .ablation import measure, training_of
from .cache import digest, slug
from .clips import CLIPS, Clip
from .tables import Table, keep

CACHE = ROOT / ".cache" / "transformer_form"
CLIP_NAMES = ("left", "circle", "bounce", "fall")
SCENES, STEPS, GUIDANCE = 3, 20, 2.0
TRAINED_SHIFT, WAN_SHIFT = 3.0, 8.0  # of the noise levels the tiny Wan was trained at, and that the host takes for Wan
TOKENS = FRAMES * 8 * 8
COLUMNS = ("form", "track correlation", "worst clip", "leaked", "colour", "shape")


@dataclass(frozen=True)
class Variant:
    """recipe: changes of ``TRAINING``. rank: of the values, cut after it. longest: side of the values' grid.

    after: the query-key rows are added behind the rotation by position, instead of going through it.
    shift: of the noise levels, in learning and sampling; the larger, the longer it stays noisy.
    """

    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    debias: dict[str, Any] = field(default_factory=lambda: {"until": 0.5})
    query_key: float = 1.0
    value: float = 1.0
    rank: int = 0
    longest: int = 16
    after: bool = False
    without: bool = False
    shift: float = TRAINED_SHIFT


def layers(*numbers: int) -> dict[str, str]:
    return {"layers": ",".join(f"blocks.{n}" for n in numbers)}


VARIANTS = [
    Variant("no motion", without=True),
    Variant("all 8 layers, plain, until 0.5"),
    Variant("until 1", debias={"until": 1.0}),
    Variant("until 0.3", debias={"until": 0.3}),
    Variant("until 0.2", debias={"until": 0.2}),
    Variant("by difference, until 0.3", debias={"value": "difference", "until": 0.3}),
    Variant("by difference without frame 0", debias={"value": "difference_without_first", "until": 0.5}),
    Variant("without the mean", debias={"value": "without_mean", "query_key": "without_mean", "until": 0.5}),
    Variant("without the mean, until 0.3", debias={"value": "without_mean", "query_key": "without_mean", "until": 0.3}),
    Variant("by difference", debias={"value": "difference", "until": 0.5}),
    Variant("query-key alone", value=0.0),
    Variant("value alone", query_key=0.0),
    Variant("values cut to rank 16", rank=16),
    Variant("values cut to rank 4", rank=4),
    Variant("layers 2 to 5", layers(2, 3, 4, 5)),
    Variant("layers 2 to 5, until 0.3", layers(2, 3, 4, 5), debias={"until": 0.3}),
    Variant("layers 2 to 5, by difference", layers(2, 3, 4, 5), debias={"value": "difference", "until": 0.5}),
    Variant("layers 0 to 3", layers(0, 1, 2, 3)),
    Variant("layers 4 to 7", layers(4, 5, 6, 7)),
    Variant("layers 4 and 5", layers(4, 5)),
    Variant("layer 3", layers(3)),
    Variant("values on 4 x 4", longest=4),
    Variant("values without places", longest=1),
    Variant("query-key behind the rotation", after=True),
    Variant("learnt at high noise", {"end_percent": 0.5}),
    Variant("learnt at low noise", {"start_percent": 0.5}),
    Variant("rate 0.02", {"learning_rate": 0.02}),
    Variant("50 steps", {"steps": 50}),
    Variant("no motion, shift 8", without=True, shift=WAN_SHIFT),
    Variant("layers 2 to 5, until 0.5, shift 8", layers(2, 3, 4, 5), shift=WAN_SHIFT),
    Variant("layers 2 to 5, until 0.3, shift 8", layers(2, 3, 4, 5), debias={"until": 0.3}, shift=WAN_SHIFT),
]


def start(cpu: bool = True) -> in_process.Host:
    """The tiny Wan through the host's own loader, with its text encoder and VAE; on the CPU or where the host would."""
    in_process.boot(cpu=cpu, precise=not cpu)
    import comfy.sd

    node = in_process.demo_node("tiny_wan")
    model = comfy.sd.load_diffusion_model(str(MODEL), {"dtype": torch.float32})
    return in_process.Host(model, node.load_text(), node.load_frames())


class BehindRotation:
    """In place of the host's attention: adds rows to query and key as attention sees them."""

    def __init__(self, rows: Callable[[str], torch.Tensor | None], count: int) -> None:
        self.rows, self.count, self.calls = rows, count, 0

    def __call__(self, run: Callable, q: torch.Tensor, k: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if q.shape[1] == k.shape[1] == TOKENS:  # not that over the text
            rows = self.rows(f"blocks.{self.calls % self.count}")
            self.calls += 1
            if rows is not None:
                rows = rows.repeat_interleave(TOKENS // FRAMES, 0)[None].to(q)
                q, k = q + rows, k + rows
        return run(q, k, *args, **kwargs)

    def on(self, model: Any) -> Any:
        clone = model.clone()
        clone.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = self
        return clone


class Bench:
    def __init__(self, cpu: bool = True) -> None:
        self.host = start(cpu)  # makes the host's modules importable
        self.device = "cpu" if cpu else "cuda"
        from comfy_extras.nodes_model_advanced import ModelSamplingSD3

        shifts = (TRAINED_SHIFT, WAN_SHIFT)
        self.models = {shift: ModelSamplingSD3().patch(self.host.model, shift)[0] for shift in shifts}
        self.backbone, attentions = self.host.part("backbones").find_backbone(self.host.model.model)
        self.count = len(attentions)

    @contextmanager
    def form(self, variant: Variant) -> Iterator[list]:
        """While open, motions are learnt in the variant's form; gives the list of what is being learnt."""
        training, made = self.host.part("training"), []
        trainable = training.TrainableMotion

        class Behind(trainable):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                made.append(self)

            def addition(self, site: Any, projection: str, *where: Any) -> torch.Tensor | None:
                added = super().addition(site, projection, *where)
                return None if projection == "query_key" else added

        self.backbone.longest = variant.longest
        if variant.after:
            training.TrainableMotion = Behind
        try:
            yield made
        finally:
            training.TrainableMotion = trainable
            del self.backbone.longest

    def embedding(self, variant: Variant, clip: Clip) -> Any:
        files = self.host.part("files")
        recipe = {"layers": "all", **variant.recipe}
        form = variant.longest, variant.after, variant.shift, self.device
        key = digest(training_of(recipe), form, clip.look, clip.frames, MODEL, TEXT_AND_VAE)
        path = CACHE / "embeddings" / f"{clip.name}-{key}.safetensors"
        if not path.exists():
            training, model = self.host.part("training"), self.models[variant.shift]
            with self.form(variant) as made:
                if variant.after:
                    model = BehindRotation(lambda name: made[0].query_key.get(name), self.count).on(model)
                prompt, latents = self.host.prompt(clip.look.prompt), self.host.encode(clip.frames)
                trained = training.train_motion(model, prompt, latents, training_of(recipe))
            files.save(trained.embedding, path, torch.float32)
        return files.load(path)

    def model(self, variant: Variant, clip: Clip) -> Any:
        if variant.without:
            return self.models[variant.shift]
        embedding, layer_embedding = self.embedding(variant, clip), self.host.part("embedding").LayerEmbedding
        if variant.rank:
            cut = {
                name: layer_embedding(e.query_key, {k: low_rank(v, variant.rank) for k, v in e.value.items()})
                for name, e in embedding.layers.items()
            }
            embedding = embedding.replace(layers=cut)
        embedding = embedding.replace(debias=self.host.part("debias").Debias(**variant.debias))
        apply, model = self.host.part("injection").apply_embedding, self.models[variant.shift]
        if variant.after:
            rows = {name: layer.query_key for name, layer in embedding.layers.items()}
            return apply(BehindRotation(rows.get, self.count).on(model), embedding, 0.0, variant.value)
        return apply(model, embedding, variant.query_key, variant.value)

    def run(self, variant: Variant, clip: Clip) -> list[dict[str, float]]:
        import comfy.sample

        model, results = self.model(variant, clip), []
        for number, look in enumerate(clip.looks()[:SCENES]):
            noise = torch.randn(1, CHANNELS, FRAMES, 16, 16, generator=torch.Generator().manual_seed(1000 + number))
            prompts = self.host.prompt(look.prompt), self.host.prompt("")
            how = (STEPS, GUIDANCE, "euler", "simple", *prompts, torch.zeros_like(noise))
            with self.form(variant):
                latents = comfy.sample.sample(model, noise, *how, disable_pbar=True, seed=0)
            results.append(measure(clip, look, self.host.decode(latents)[0]))
        return results


def low_rank(values: torch.Tensor, rank: int) -> torch.Tensor:
    """``[h, w, F, C]`` as the nearest matrix ``[h w F, C]`` of that rank."""
    u, s, v = torch.linalg.svd(values.flatten(0, 2), full_matrices=False)
    return (u[:, :rank] * s[:rank] @ v[:rank]).view_as(values)


def result_path(variant: Variant, clip: Clip) -> Path:
    """Where the samples of ``clip`` lie."""
    learnt = None if variant.without else training_of({"layers": "all", **variant.recipe})
    used = replace(variant, name="", recipe={}), Debias(**variant.debias), SCENES, STEPS, GUIDANCE
    key = digest(learnt, used, clip.look, clip.frames, clip.looks(), MODEL, TEXT_AND_VAE)
    return CACHE / "results" / slug(variant.name) / f"{clip.name}-{key}.json"


def work(share: int, workers: int) -> None:
    clips = [CLIPS[name] for i, name in enumerate(CLIP_NAMES) if i % workers == share]
    with torch.inference_mode():
        bench = Bench()
        for variant in VARIANTS:
            for clip in clips:
                path = result_path(variant, clip)
                if not path.exists():
                    results = bench.run(variant, clip)
                    with replacing(path) as unfinished:
                        unfinished.write_text(json.dumps(results))


def table() -> Table:
    rows = []
    for variant in VARIANTS:
        paths = [result_path(variant, CLIPS[name]) for name in CLIP_NAMES]
        clips = [json.loads(path.read_text()) for path in paths if path.exists()]
        if len(clips) < len(paths):  # of a part of the clips a row would be another figure under the same name
            continue
        tracks = [np.mean([r["track"] for r in clip]) for clip in clips]
        cells = [np.mean([[r[what] for r in clip] for clip in clips]) for what in ("leak", "color", "shape")]
        rows.append((variant.name, *(f"{n:.2f}" for n in (np.mean(tracks), min(tracks), *cells))))
    return Table(COLUMNS, 1, tuple(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.share is not None:
        work(arguments.share, arguments.workers)
        return
    if not arguments.table:
        command = [sys.executable, "-m", "benchmarks.transformer_form", "--workers", str(arguments.workers)]
        shares = [subprocess.Popen([*command, "--share", str(i)], cwd=ROOT) for i in range(arguments.workers)]
        failed = [share.wait() for share in shares]
        if any(failed):
            raise SystemExit("a worker failed; what it finished is kept")
    keep(ROOT / "benchmarks" / "transformer_form.md", table())


if __name__ == "__main__":
    main()
