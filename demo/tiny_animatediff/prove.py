"""The proof: motions carry over on AnimateDiff, in a real ComfyUI, through the pack's own nodes.

    python -m demo.tiny_animatediff.prove [--references circle bounce ...] [--scenes 3]

For each reference clip a motion is learnt and put into new scenes, next to the same seeds without it. Videos, a contact
sheet and ``metrics.json`` are written under ``demo/output/tiny_animatediff``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from motion_embedding.atomic import replacing

from .. import references
from ..contact_sheet import contact_sheet, save_png
from ..host import Server, link, prepare_base
from ..run import Reference, Result, Ticker, measure, read_frames, scenes_for, sheet_rows, shipped, summarise, table
from ..tiny_model.world import FRAMES, SIZE, Look
from .config import MOTION

NODE = Path(__file__).parent / "comfyui_node"
OUTPUT = Path(__file__).resolve().parents[1] / "output" / "tiny_animatediff"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "tiny_animatediff"
DEFAULT_REFERENCES = ("left", "circle", "arc", "bounce")
# The stock empty latent is made for VAEs that shrink a picture eightfold; this one shrinks it fourfold.
_EMPTY = 2 * SIZE


def install(base: Path, motion: Path = MOTION) -> Path:
    """Make ``base`` a ComfyUI base directory with the pack, the demo's node and the motion model; returns it."""
    base = prepare_base(base)
    folder = base / "models" / "animatediff_models"
    folder.mkdir(parents=True, exist_ok=True)
    link(folder / motion.name, motion.resolve())
    link(base / "custom_nodes" / "motion_embeddings_demo", NODE)
    return base


def graph(reference: Reference, file: str, looks: Sequence[Look], seed: int, **training: Any) -> dict[str, Any]:
    """Learn the motion of ``file`` and sample every look without and with it, for ``POST /prompt``."""

    def node(kind: str, title: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    recipe = {"preset": "object motion", "steps": 0, "learning_rate": 0.0, "loss": "as preset", "layers": "as preset"}
    strength = {"strength_query_key": 1.0, "strength_value": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    size = {"width": SIZE, "height": SIZE, "resize": "crop", "multiple_of": 8}
    nodes = {
        "base": node("ME_Demo_LoadTinyImageModel", "Image model"),
        "model": node(
            "ME_LoadAnimateDiffModel",
            "Motion model",
            model=["base", 0],
            motion_model=MOTION.name,
            beta_schedule="as the model",
            strength=1.0,
        ),
        "clip": node("ME_LoadVideoFrames", "Clip", file=file, start=0.0, frames=FRAMES, fps=0.0, stride=1, **size),
        "latents": node("VAEEncode", "Encode", pixels=["clip", 0], vae=["base", 2]),
        "look": node("CLIPTextEncode", "Look of the clip", text=reference.prompt, clip=["base", 1]),
        "negative": node("CLIPTextEncode", "Nothing to avoid", text="", clip=["base", 1]),
        "motion": node(
            "ME_TrainMotionEmbedding",
            "Learn the motion",
            model=["model", 0],
            positive=["look", 0],
            latents=["latents", 0],
            **{**recipe, "seed": 0, **training},
        ),
        "moved": node(
            "ME_ApplyMotionEmbedding",
            "Apply the motion",
            model=["model", 0],
            motion=["motion", 0],
            prompts="both",
            **strength,
        ),
        "empty": node("EmptyLatentImage", "Empty", width=_EMPTY, height=_EMPTY, batch_size=FRAMES),
    }
    sampling = {"seed": seed, "steps": 20, "cfg": 2.0, "sampler_name": "ddim", "scheduler": "sgm_uniform"}
    for i, look in enumerate(looks):
        nodes[f"scene {i}"] = node("CLIPTextEncode", "Scene", text=look.prompt, clip=["base", 1])
        for kind, model in (("without", "model"), ("with", "moved")):
            name = f"{i} {kind}"
            nodes[f"sample {name}"] = node(
                "KSampler",
                f"Sample {kind}",
                model=[model, 0],
                positive=[f"scene {i}", 0],
                negative=["negative", 0],
                latent_image=["empty", 0],
                denoise=1.0,
                **sampling,
            )
            nodes[f"frames {name}"] = node("VAEDecode", "Decode", samples=[f"sample {name}", 0], vae=["base", 2])
            nodes[f"video {name}"] = node("CreateVideo", "Video", images=[f"frames {name}", 0], fps=8.0)
            prefix = f"{reference.name}/scene{i}-{kind}"
            nodes[f"save {name}"] = node(
                "SaveVideo", "Save", video=[f"video {name}", 0], filename_prefix=prefix, format="auto", codec="auto"
            )
    return nodes


def transfer(
    server: Server, reference: Reference, looks: Sequence[Look], seed: int = 7, **training: Any
) -> list[Result]:
    """One reference in the host: a result for each look."""
    prompt = graph(reference, server.upload(reference.video), looks, seed, **training)
    ticker = Ticker(prompt, reference.name)
    written = [p for p in server.outputs(server.run(prompt, ticker)) if p.suffix == ".mp4"]
    ticker.done()

    def frames(i: int, kind: str) -> np.ndarray:
        return read_frames(next(p for p in written if p.name.startswith(f"scene{i}-{kind}_")))

    return [Result(look.prompt, look, frames(i, "without"), frames(i, "with")) for i, look in enumerate(looks)]


def prove(names: Sequence[str], scenes: int, output: Path, seed: int = 7) -> dict:
    begin, items, rows = time.time(), [], []
    output.mkdir(parents=True, exist_ok=True)
    with Server(install(CACHE / "comfyui")) as server:
        for name in names:
            reference = shipped(name)
            source = read_frames(reference.video, reference)
            results = transfer(server, reference, scenes_for(reference, scenes), seed)
            items += [measure(reference, source, result) for result in results]
            rows += sheet_rows(reference, source, results)
    metrics = {"seconds": round(time.time() - begin, 1), "summary": summarise(items), "items": items}
    save_png(output / "contact_sheet.png", contact_sheet(rows, "AnimateDiff: motion put into new scenes"))
    with replacing(output / "metrics.json") as unfinished:
        unfinished.write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", nargs="+", choices=references.REFERENCES, default=DEFAULT_REFERENCES)
    parser.add_argument("--scenes", type=int, default=3, help="for each reference")
    parser.add_argument("--seed", type=int, default=7, help="of the sampler")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    metrics = prove(arguments.references, arguments.scenes, arguments.output, arguments.seed)
    print(f"\n{table(metrics['summary'])}\n\n{metrics['seconds']:.0f} seconds. Written to {arguments.output}")


if __name__ == "__main__":
    main()
