"""How small a motion's file can be, and what of the motion is left in it.

    python -m benchmarks.file_size             run what is missing, then print the tables
    python -m benchmarks.file_size --table     print the tables from what has been run
    python -m benchmarks.file_size --shapes    only the bytes at the real size, from shapes

On the tiny models, held-out clips x three new scenes, random noise: every form is saved, loaded and sampled with.
For ZeroScope at 576x320, 24 frames, the bytes of every form are computed from the layout of the real network; which
rank a real motion needs there is not known, since random weights have none. ``--out`` writes the tables to
``benchmarks/file_size.md``. Results lie in ``.cache/file_size``; delete that folder after a change.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.host import ROOT
from demo.tiny_wan.files import CHANNELS
from motion_embedding.atomic import replacing
from motion_embedding.backbones import find_backbone
from motion_embedding.backbones.unet3d import level_of
from motion_embedding.memory import of_values

from . import ablation, in_process, transformer_form
from .clips import CLIPS, Clip

CACHE = ROOT / ".cache" / "file_size"
PATHS, CAMERAS = ("left", "circle", "bounce", "fall"), ("pan", "zoom", "roll")
SCENES = 3
_MOTION = {"track": "track correlation", "camera_error": "camera error"}
FRAMES, LATENT, LIMIT = 24, (40, 72), 15.0


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


SETTINGS = {
    "unet": Setting("tiny UNet, object motion", debias={"until": 0.5}),
    "camera": Setting("tiny UNet, camera motion", clips=CAMERAS, debias={"value": "difference", "until": 0.65}),
    "animatediff": Setting("tiny AnimateDiff, until 0.5", model="AnimateDiff", debias={"until": 0.5}),
    "wan": Setting("tiny Wan, until 0.3", model="Wan", debias={"until": 0.3}),
}


class UNet:
    """The ablation's bench."""

    def __init__(self) -> None:
        self.bench = ablation.Bench()
        self.host, self.plain = self.bench.host, self.bench.host.model

    def learnt(self, form: Form, clip: Clip) -> Any:
        recipe = {} if form.value_form == "full" else {"value_form": form.value_form}
        return self.bench.embedding(clip, recipe)

    def sample(self, model: Any, prompt: str, number: int) -> np.ndarray:
        noise = torch.randn(1, 12, 8, 16, 16, generator=torch.Generator().manual_seed(1000 + number))
        return self.host.sample(model, prompt, noise, ablation.STEPS, ablation.GUIDANCE)[0]


class Wan:
    """The bench of forms, on all layers."""

    def __init__(self) -> None:
        self.bench = transformer_form.Bench()
        self.host, self.plain = self.bench.host, self.bench.models[transformer_form.TRAINED_SHIFT]

    def learnt(self, form: Form, clip: Clip) -> Any:
        recipe = {} if form.value_form == "full" else {"value_form": form.value_form}
        return self.bench.embedding(transformer_form.Variant(form.name, recipe), clip)

    def sample(self, model: Any, prompt: str, number: int) -> np.ndarray:
        import comfy.sample

        noise = torch.randn(1, CHANNELS, 8, 16, 16, generator=torch.Generator().manual_seed(1000 + number))
        how = (transformer_form.STEPS, transformer_form.GUIDANCE, "euler", "simple")
        prompts = self.host.prompt(prompt), self.host.prompt("")
        nothing = torch.zeros_like(noise)
        latents = comfy.sample.sample(model, noise, *how, *prompts, nothing, disable_pbar=True, seed=0)
        return self.host.decode(latents)[0]


class AnimateDiff:
    """The tiny AnimateDiff as its proof samples it."""

    def __init__(self) -> None:
        self.host = in_process.start()
        from demo.tiny_animatediff.config import MOTION

        node = in_process.demo_node("tiny_animatediff")
        self.host.vae = node.load_image_vae()
        self.plain = self.host.part("animatediff").load_animatediff(node.load_model(), MOTION, own_betas=False)

    def learnt(self, form: Form, clip: Clip) -> Any:
        files, training = self.host.part("files"), self.host.part("training")
        path = CACHE / "embeddings" / f"animatediff-{clip.name}-{form.value_form.replace(' ', '_')}.safetensors"
        if not path.exists():
            recipe = self.host.part("presets").Recipe(value_form=form.value_form)
            prompt, latents = self.host.prompt(clip.look.prompt), self.host.encode(clip.frames)
            path.parent.mkdir(parents=True, exist_ok=True)
            files.save(training.train_motion(self.plain, prompt, latents, recipe).embedding, path, torch.float32)
        return files.load(path)

    def sample(self, model: Any, prompt: str, number: int) -> np.ndarray:
        import comfy.sample

        noise = torch.randn(8, 12, 16, 16, generator=torch.Generator().manual_seed(1000 + number))
        prompts, nothing = (self.host.prompt(prompt), self.host.prompt("")), torch.zeros_like(noise)
        how = (20, 2.0, "ddim", "sgm_uniform", *prompts, nothing)
        pixels = self.host.vae.decode(comfy.sample.sample(model, noise, *how, disable_pbar=True, seed=0))
        return (pixels.numpy() * 255).round().clip(0, 255).astype(np.uint8)


BENCHES = {"UNet": UNet, "Wan": Wan, "AnimateDiff": AnimateDiff}


def ranks_of(tensors: dict[str, list[int]]) -> list[int]:
    return [shape[0] for name, shape in tensors.items() if ".scales." in name]


def run(bench: UNet | Wan | AnimateDiff, form: Form, clip: Clip, debias: dict[str, Any]) -> dict[str, Any]:
    """The file's bytes, error and ranks, and the numbers of every sample made with what it holds."""
    files, found, model = bench.host.part("files"), {"bytes": 0, "error": 0.0, "ranks": []}, bench.plain
    if not form.without:
        path = CACHE / "saved.safetensors"
        error = files.save(bench.learnt(form, clip), path, error=form.error)
        found = {"bytes": path.stat().st_size, "error": error, "ranks": ranks_of(files.read_metadata(path)["tensors"])}
        motion = files.load(path).replace(debias=bench.host.part("debias").Debias(**debias))
        path.unlink()
        model = bench.host.part("injection").apply_embedding(model, motion)
    looks = enumerate(clip.looks()[:SCENES])
    found["samples"] = [ablation.measure(clip, look, bench.sample(model, look.prompt, i)) for i, look in looks]
    return found


def result_path(name: str, form: Form, clip: str) -> Path:
    slug = "".join(c if c.isalnum() else "_" for c in form.name)
    return CACHE / "results" / name / slug / f"{clip}.json"


def work(name: str, forms: list[str]) -> None:
    setting = SETTINGS[name]
    wanted = [form for form in FORMS if not forms or form.name in forms]
    missing = [(f, c) for c in setting.clips for f in wanted if not result_path(name, f, c).exists()]
    if not missing:
        return
    with torch.inference_mode():
        bench = BENCHES[setting.model]()
        for form, clip in missing:
            found = run(bench, form, CLIPS[clip], setting.debias)
            with replacing(result_path(name, form, clip)) as unfinished:
                unfinished.write_text(json.dumps(found))


def motions(name: str) -> str:
    """What is left of the motion in every form of file; of a camera's, its error, of which less is better."""
    setting = SETTINGS[name]
    motion = "camera_error" if setting.clips is CAMERAS else "track"
    lines = [
        f"| {setting.title} | file | error | ranks | {_MOTION[motion]} | worst clip | motion fidelity | leaked |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for form in FORMS:
        paths = [result_path(name, form, clip) for clip in setting.clips]
        clips = [json.loads(path.read_text()) for path in paths if path.exists()]
        if not clips:
            continue
        moved, fidelity, leaked = (
            [np.mean([s[what] for s in clip["samples"]]) for clip in clips] for what in (motion, "fidelity", "leak")
        )
        worst = max(moved) if motion == "camera_error" else min(moved)
        ranks = [rank for clip in clips for rank in clip["ranks"]]
        size = "-" if form.without else f"{np.mean([clip['bytes'] for clip in clips]) / 1e3:.0f} kB"
        error = f"{np.mean([clip['error'] for clip in clips]):.2f}" if form.error else "-"
        span = f"{min(ranks)} to {max(ranks)}" if ranks else "-"
        scores = f"{np.mean(moved):.3f} | {worst:.2f} | {np.mean(fidelity):.3f} | {np.mean(leaked):.2f}"
        lines.append(f"| {form.name} | {size} | {error} | {span} | {scores} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def zeroscope(preset: str) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Layer and shape of values ``(h, w, F, C)`` for every attention of ``preset`` in the layout of ZeroScope."""
    from diffusers import UNet3DConditionModel

    with torch.device("meta"):
        unet = UNet3DConditionModel(block_out_channels=(320, 640, 1280, 1280), layers_per_block=2)
    backbone, attentions = find_backbone(unet)
    height, width = LATENT
    shapes = []
    for attention in backbone.select(attentions, preset):
        halved = 2 ** level_of(attention.layer, 4)
        shapes.append((attention.layer, (-(-height // halved), -(-width // halved), FRAMES, attention.width)))
    return shapes


def numbers(shape: tuple[int, int, int, int], rank: int) -> int:
    """How many numbers factors of that rank ``[h w F, r] x [r, C]`` have; the values themselves if the rank is 0."""
    rows, channels = shape[0] * shape[1] * shape[2], shape[3]
    return min(rank, rows, channels) * (rows + channels) if rank else rows * channels


def megabytes(shapes: list[tuple[str, tuple[int, int, int, int]]], rank: int) -> float:
    """Of a compact file with values of that rank: two numbers a byte, a float32 a direction, query-keys in half."""
    query_keys = sum(FRAMES * shape[3] for shape in dict(shapes).values())
    return (2 * query_keys + sum(numbers(shape, rank + rank % 2) / 2 + 4 * rank for _, shape in shapes)) / 1e6


def bytes_on_paper() -> str:
    """What a ZeroScope motion takes by rank: to learn at that rank, and as a file."""
    lines = ["| ZeroScope 576x320, 24 frames |", "|---|"]
    ranks, limits = (0, 4, 8, 16, 32, 64, 128), []
    lines += [f"| rank {rank} |" if rank else "| full |" for rank in ranks]
    for preset in ("paper", "recommended"):
        shapes = zeroscope(preset)
        query_keys = sum(FRAMES * shape[3] for shape in dict(shapes).values())
        lines[0] += f" {preset}: numbers | learning, GB | half precision, MB | compact, MB |"
        lines[1] += "---|---|---|---|"
        for place, rank in enumerate(ranks, 2):
            learnt = query_keys + sum(numbers(shape, rank) for _, shape in shapes)
            compact = f"{megabytes(shapes, rank):.1f}" if rank else "-"
            lines[place] += (
                f" {learnt / 1e6:.1f} M | {of_values(learnt) / 1e9:.2f} | {2 * learnt / 1e6:.1f} | {compact} |"
            )
        limits.append(f"{preset} {max(r for r in range(2, 1281, 2) if megabytes(shapes, r) <= LIMIT)}")
    return "\n".join([*lines, "", f"The rank that {LIMIT:g} MB hold: {', '.join(limits)}."]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only print the tables")
    parser.add_argument("--shapes", action="store_true", help="only print the bytes at the real size")
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--forms", nargs="+", choices=[form.name for form in FORMS], default=[], help="run these alone")
    parser.add_argument("--out", action="store_true", help="write the tables to benchmarks/file_size.md as well")
    parser.add_argument("--setting", choices=list(SETTINGS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.setting:
        work(arguments.setting, arguments.forms)
        return
    names = [] if arguments.shapes else arguments.only
    for name in () if arguments.table else names:
        command = [sys.executable, "-m", "benchmarks.file_size", "--setting", name]
        if arguments.forms:
            command += ["--forms", *arguments.forms]
        subprocess.run(command, cwd=ROOT, check=True)
    text = "\n".join([*filter(None, map(motions, names)), bytes_on_paper()])
    print(text)
    if arguments.out:
        (ROOT / "benchmarks" / "file_size.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
