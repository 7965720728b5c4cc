"""Proofs that motions carry over on a further model, in a real ComfyUI, through the pack's own nodes.

What a model brings to its :class:`Proof` is how a ComfyUI gets its files, and the nodes that load and sample it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motion_embedding.atomic import replacing

from . import references
from .contact_sheet import contact_sheet, save_png
from .host import Server
from .run import Reference, Result, Ticker, measure, read_frames, scenes_for, sheet_rows, shipped, summarise, table
from .tiny_model.world import FRAMES, SIZE, Look

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_REFERENCES = ("left", "circle", "arc", "bounce")
Node = dict[str, Any]


def node(kind: str, title: str, **inputs: Any) -> Node:
    """A node for ``POST /prompt``."""
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}


@dataclass(frozen=True)
class Proof:
    """name: of the model, for files. title: for a person.

    install: makes a folder a ComfyUI base directory that holds the model.
    loading: nodes, ``model`` and ``empty`` (a latent) among them; ``clip`` and ``vae`` name an output of one each.
    sampling: the further settings of ``KSampler``.
    """

    name: str
    title: str
    install: Callable[[Path], Path]
    loading: dict[str, Node]
    clip: tuple[str, int]
    vae: tuple[str, int]
    sampling: dict[str, Any]

    def graph(self, reference: Reference, file: str, looks: Sequence[Look], seed: int, **training: Any) -> dict:
        """Learn the motion of ``file`` and sample every look without and with it."""
        recipe = {"preset": "object motion", "steps": 0, "learning_rate": 0.0, "loss": "as preset"}
        recipe |= {"layers": "as preset", "seed": 0, **training}
        strength = {"strength_query_key": 1.0, "strength_value": 1.0, "start_percent": 0.0, "end_percent": 1.0}
        frames = {"frames": FRAMES, "fps": 0.0, "stride": 1, "start": 0.0}
        size = {"width": SIZE, "height": SIZE, "resize": "crop", "multiple_of": 8}
        clip, vae = list(self.clip), list(self.vae)
        nodes = {
            **self.loading,
            "clip": node("ME_LoadVideoFrames", "Clip", file=file, **frames, **size),
            "latents": node("VAEEncode", "Encode", pixels=["clip", 0], vae=vae),
            "look": node("CLIPTextEncode", "Look of the clip", text=reference.prompt, clip=clip),
            "negative": node("CLIPTextEncode", "Nothing to avoid", text="", clip=clip),
        }
        learning = {"model": ["model", 0], "positive": ["look", 0], "latents": ["latents", 0]}
        applying = {"model": ["model", 0], "motion": ["motion", 0], "prompts": "both"}
        nodes["motion"] = node("ME_TrainMotionEmbedding", "Learn the motion", **learning, **recipe)
        nodes["moved"] = node("ME_ApplyMotionEmbedding", "Apply the motion", **applying, **strength)
        for i, look in enumerate(looks):
            nodes[f"scene {i}"] = node("CLIPTextEncode", "Scene", text=look.prompt, clip=clip)
            for kind, model in (("without", "model"), ("with", "moved")):
                name = f"{i} {kind}"
                prompts = {"positive": [f"scene {i}", 0], "negative": ["negative", 0]}
                start = {"latent_image": ["empty", 0], "denoise": 1.0, "seed": seed}
                nodes[f"sample {name}"] = node(
                    "KSampler", f"Sample {kind}", model=[model, 0], **prompts, **start, **self.sampling
                )
                nodes[f"frames {name}"] = node("VAEDecode", "Decode", samples=[f"sample {name}", 0], vae=vae)
                nodes[f"video {name}"] = node("CreateVideo", "Video", images=[f"frames {name}", 0], fps=8.0)
                file_ = {"filename_prefix": f"{reference.name}/scene{i}-{kind}", "format": "auto", "codec": "auto"}
                nodes[f"save {name}"] = node("SaveVideo", "Save", video=[f"video {name}", 0], **file_)
        return nodes

    def transfer(
        self, server: Server, reference: Reference, looks: Sequence[Look], seed: int = 7, **training: Any
    ) -> list[Result]:
        """One reference in the host: a result for each look."""
        prompt = self.graph(reference, server.upload(reference.video), looks, seed, **training)
        ticker = Ticker(prompt, reference.name)
        written = [p for p in server.outputs(server.run(prompt, ticker)) if p.suffix == ".mp4"]
        ticker.done()

        def frames(i: int, kind: str) -> np.ndarray:
            return read_frames(next(p for p in written if p.name.startswith(f"scene{i}-{kind}_")))

        return [Result(look.prompt, look, frames(i, "without"), frames(i, "with")) for i, look in enumerate(looks)]

    def run(self, names: Sequence[str], scenes: int, output: Path, seed: int = 7) -> dict:
        """Videos, a contact sheet and ``metrics.json``; returns the metrics."""
        begin, items, rows = time.time(), [], []
        output.mkdir(parents=True, exist_ok=True)
        with Server(self.install(ROOT / ".cache" / self.name / "comfyui")) as server:
            for name in names:
                reference = shipped(name)
                source = read_frames(reference.video, reference)
                results = self.transfer(server, reference, scenes_for(reference, scenes), seed)
                items += [measure(reference, source, result) for result in results]
                rows += sheet_rows(reference, source, results)
        metrics = {"seconds": round(time.time() - begin, 1), "summary": summarise(items), "items": items}
        save_png(output / "contact_sheet.png", contact_sheet(rows, f"{self.title}: motion put into new scenes"))
        with replacing(output / "metrics.json") as unfinished:
            unfinished.write_text(json.dumps(metrics, indent=2) + "\n")
        return metrics

    def main(self) -> None:
        """The command line."""
        parser = argparse.ArgumentParser(description=f"Prove that motions carry over on {self.title}.")
        parser.add_argument("--references", nargs="+", choices=references.REFERENCES, default=DEFAULT_REFERENCES)
        parser.add_argument("--scenes", type=int, default=3, help="for each reference")
        parser.add_argument("--seed", type=int, default=7, help="of the sampler")
        parser.add_argument("--output", type=Path, default=ROOT / "demo" / "output" / self.name)
        arguments = parser.parse_args()
        metrics = self.run(arguments.references, arguments.scenes, arguments.output, arguments.seed)
        print(f"\n{table(metrics['summary'])}\n\n{metrics['seconds']:.0f} seconds. Written to {arguments.output}")
