"""The demo: learn the motion of a reference clip inside a real ComfyUI, and make new videos that carry it.

    python -m demo.run                                       the shipped clips
    python -m demo.run --video my.mp4 --prompt "a red star on a navy background"

Runs ``workflows/first_steps.json``, the file a person opens in the editor, over HTTP, and writes videos, a contact
sheet and ``metrics.json`` under ``demo/output/``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motion_embedding.atomic import replacing
from motion_embedding.benchmark.progress import Progress
from motion_embedding.benchmark.workflow import load, set_inputs, to_prompt
from motion_embedding.metrics.fidelity import motion_fidelity, trajectory_correlation
from motion_embedding.metrics.tracks import track_points
from motion_embedding.video import VideoRequest, decode_frames

from . import references
from .contact_sheet import Row, contact_sheet, save_png
from .host import MODEL, ROOT, WEIGHTS, Server, link_model, prepare_base
from .tiny_model.camera import camera_error, camera_flow, true_flow
from .tiny_model.judge import judge
from .tiny_model.world import BACKGROUNDS, COLORS, FPS, PATTERNS, SHAPES, SIZE, Look, Motion

WORKFLOW = ROOT / "workflows" / "first_steps.json"
OUTPUT = ROOT / "demo" / "output"
CACHE = ROOT / ".cache" / "demo"
DEFAULT_REFERENCES = ("circle", "bounce", "camera_pan")
SCENES_PER_REFERENCE = 2
SCENES = (
    Look("red", "star", "navy", "striped"),
    Look("green", "circle", "gray"),
    Look("magenta", "triangle", "black"),
    Look("yellow", "cross", "navy"),
    Look("cyan", "square", "gray", "checkered"),
    Look("blue", "triangle", "brown"),
    Look("red", "circle", "black"),
    Look("green", "cross", "brown", "striped"),
    Look("yellow", "square", "black"),
)


CAMERA_SCENES = (
    Look("green", "star", "navy", "checkered"),
    Look("yellow", "square", "brown", "checkered"),
    Look("cyan", "triangle", "black", "checkered"),
)


@dataclass(frozen=True)
class Reference:
    """A clip to learn from. ``prompt`` says its look; ``look`` and ``motion`` are set for our own clips."""

    name: str
    video: Path
    prompt: str = ""
    start: float = 0.0
    fps: float = 0.0
    look: Look | None = None
    motion: Motion | None = None

    @property
    def moves_camera(self) -> bool:
        return self.motion is not None and bool(np.any(true_flow(self.motion)))


@dataclass(frozen=True)
class Result:
    """One new scene, with and without the motion: uint8 frames ``[F, H, W, 3]``."""

    prompt: str
    look: Look | None
    without: np.ndarray
    carried: np.ndarray


def shipped(name: str) -> Reference:
    look, motion = references.REFERENCES[name]
    return Reference(name, references.CLIPS / f"{name}.mp4", look.prompt, look=look, motion=motion)


def real_world() -> Reference:
    """Footage of a street: it shows that real video loads and trains; the tiny model can only draw sprites."""
    clip = references.real_clip(CACHE)
    return Reference("real_footage", clip, start=references.REAL_CLIP_START, fps=float(FPS))


def scenes_for(reference: Reference, count: int) -> list[Look]:
    """Scenes that share neither colour nor shape nor background with the reference, so that a leak would show.

    For a moving camera they are checkered, since only there it can be seen.
    """
    look = reference.look
    return [
        s
        for s in (CAMERA_SCENES if reference.moves_camera else SCENES)
        if look is None or not {s.color, s.shape, s.background} & {look.color, look.shape, look.background}
    ][:count]


def look_of(prompt: str) -> Look | None:
    """What a prompt asks the tiny model for; None when it is not about one shape, colour and background."""
    words = re.findall("[a-z]+", prompt.lower())
    kinds = (COLORS, SHAPES, BACKGROUNDS, PATTERNS)
    color, shape, background, pattern = (next((w for w in words if w in kind), None) for kind in kinds)
    return Look(color, shape, background, pattern or "plain") if color and shape and background else None


class Ticker:
    """Progress on one line of the terminal, or a line per node where there is no terminal."""

    def __init__(self, prompt: dict, label: str) -> None:
        self.titles = {node: part["_meta"]["title"] for node, part in prompt.items()}
        self.label, self.begin, self.last = label, time.time(), ""

    def __call__(self, progress: Progress) -> None:
        title = self.titles.get(progress.node_id, progress.node_id)
        steps = f" {progress.value}/{progress.total}" if progress.total else ""
        line = f"[{time.time() - self.begin:5.0f} s] {self.label}: {title}{steps}"
        if sys.stdout.isatty():
            sys.stdout.write(f"\r\x1b[K{line}")
        elif title != self.last:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        self.last = title

    def done(self) -> None:
        if sys.stdout.isatty():
            sys.stdout.write("\r\x1b[K")


def read_frames(path: Path, reference: Reference | None = None, frames: int = 8, size: int = 4 * SIZE) -> np.ndarray:
    """uint8 ``[F, H, W, 3]`` of a result, or ``size`` pixels wide of the part of a reference that the workflow uses."""
    request = VideoRequest(frames=frames)
    if reference is not None:
        request = VideoRequest(
            start=reference.start, frames=frames, fps=reference.fps, width=size, height=size, resize="crop"
        )
    return (decode_frames(str(path), request).frames.numpy() * 255).round().astype(np.uint8)


def make(server: Server, reference: Reference, prompt: str, look: Look | None, folder: Path, options: dict) -> Result:
    """Run the workflow once. The training is cached by ComfyUI, so only the first scene of a reference pays for it."""
    base = to_prompt(load(WORKFLOW), server.object_info())
    slug = "".join(c if c.isalnum() else "_" for c in prompt)[:100]
    changes = {
        "Model.folder": MODEL,
        "Reference clip.file": server.upload(reference.video),
        "Reference clip.start": reference.start,
        "Reference clip.fps": reference.fps,
        "Look of the reference.text": reference.prompt,
        "New scene.text": prompt,
        "Save the motion.filename": reference.name,
        "Save without motion.filename_prefix": f"{reference.name}/{slug}-without",
        "Save with motion.filename_prefix": f"{reference.name}/{slug}-with",
        **options,
    }
    workflow = set_inputs(base, changes)
    ticker = Ticker(workflow, f"{reference.name}, {prompt}")
    written = [p for p in server.outputs(server.run(workflow, ticker)) if p.suffix == ".mp4"]
    ticker.done()
    clips = {}
    for kind in ("without", "with"):
        source = next(p for p in written if p.name.startswith(f"{slug}-{kind}_"))
        target = folder / f"{slug}-{kind}.mp4"
        shutil.copyfile(source, target)
        clips[kind] = read_frames(target)
    return Result(prompt, look, clips["without"], clips["with"])


def measure(reference: Reference, source: np.ndarray, result: Result) -> dict:
    """The numbers of one scene, each for the clip without and with the motion."""
    source_tracks, source_path, numbers = track_points(source), judge(source).track, {}
    for kind, frames in (("without", result.without), ("with", result.carried)):
        numbers[kind] = {"motion_fidelity": motion_fidelity(source_tracks, track_points(frames))}
        verdict = judge(frames)
        if reference.look is not None:
            numbers[kind]["object_track_correlation"] = trajectory_correlation(source_path, verdict.track)
            numbers[kind]["reference_color_leaked"] = float(verdict.color == reference.look.color)
        if reference.moves_camera:
            flow = camera_flow(frames)  # None without a texture to tell by: no better than a camera at rest
            numbers[kind]["camera_error"] = 1.0 if flow is None else camera_error(true_flow(reference.motion), flow)
        if result.look is not None:
            numbers[kind] |= {
                "color_right": float(verdict.color == result.look.color),
                "shape_right": float(verdict.shape == result.look.shape),
                "background_right": float(verdict.background == result.look.background),
            }
    return {"reference": reference.name, "prompt": result.prompt, **numbers}


def summarise(items: list[dict]) -> dict:
    """Means over the scenes of each metric, without and with the motion.

    Real footage is left out where there are sprite clips: the tiny model cannot draw it, so it has no score.
    """
    items = [i for i in items if "object_track_correlation" in i["with"]] or items
    summary = {}
    for name in dict.fromkeys(k for item in items for k in item["with"]):
        summary[name] = {
            kind: float(np.mean([item[kind][name] for item in items if name in item[kind]]))
            for kind in ("without", "with")
        }
    return summary


def table(summary: dict) -> str:
    rows = [f"{'':28}{'without':>10}{'with motion':>14}"]
    rows += [f"{k.replace('_', ' '):28}{v['without']:>10.2f}{v['with']:>14.2f}" for k, v in summary.items()]
    return "\n".join(rows)


def sheet_rows(reference: Reference, source: np.ndarray, results: list[Result]) -> list[Row | str]:
    """Rows of the contact sheet: the reference, then each scene without and with its motion."""

    def row(label: str, note: str, frames: np.ndarray, tracked: bool) -> Row:
        track = judge(frames).track * (frames.shape[1] / SIZE) if tracked else None
        return Row(label, frames, note, track)

    known = reference.look is not None
    rows: list[Row | str] = [f"Reference: {reference.name.replace('_', ' ')}"]
    rows.append(row(reference.prompt or reference.video.name, "the clip to learn from", source, known))
    for result in results:
        tracked = known and result.look is not None
        rows.append(row(result.prompt, "without the motion", result.without, tracked))
        rows.append(row(result.prompt, "with the motion", result.carried, tracked))
    return rows


def run(todo: list[tuple[Reference, list[tuple[str, Look | None]], dict]], base: Path, output: Path) -> dict:
    """Learn from every reference and make its scenes; returns the metrics, also written to ``metrics.json``."""
    link_model(prepare_base(base), WEIGHTS, MODEL)
    begin, items, rows, videos = time.time(), [], [], []
    with Server(base) as server:
        for reference, scenes, options in todo:
            folder = output / reference.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(reference.video, folder / f"reference{reference.video.suffix}")
            source = read_frames(reference.video, reference)
            results = [make(server, reference, prompt, look, folder, options) for prompt, look in scenes]
            items += [measure(reference, source, r) for r in results]
            rows += sheet_rows(reference, source, results)
            videos += sorted(str(p) for p in folder.glob("*") if p.stat().st_mtime >= begin)
    seconds = round(time.time() - begin, 1)
    metrics = {"seconds": seconds, "summary": summarise(items), "items": items, "videos": videos}
    save_png(output / "contact_sheet.png", contact_sheet(rows, "Motion learnt from the reference, put into new scenes"))
    with replacing(output / "metrics.json") as unfinished:
        unfinished.write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def plan(arguments: argparse.Namespace) -> list[tuple[Reference, list[tuple[str, Look | None]], dict]]:
    """What to run: the user's clip when there is one, else the shipped ones and a moment of real footage."""
    if arguments.video:
        reference = Reference(arguments.video.stem, arguments.video, arguments.reference_prompt, fps=float(FPS))
        prompts = [(p, look_of(p)) for p in arguments.prompt] or [(s.prompt, s) for s in SCENES[:3]]
        return [(reference, prompts, {})]
    todo = []
    for name in arguments.references or DEFAULT_REFERENCES:
        reference = shipped(name)
        looks = scenes_for(reference, SCENES_PER_REFERENCE)
        scenes = [(p, look_of(p)) for p in arguments.prompt] or [(look.prompt, look) for look in looks]
        todo.append((reference, scenes, {"Learn the motion.preset": "camera motion"} if reference.moves_camera else {}))
    if not arguments.references and not arguments.prompt:
        todo.append((real_world(), [(SCENES[1].prompt, SCENES[1])], {}))
    return todo


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped as on Ctrl+C
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="your own reference clip")
    parser.add_argument("--reference-prompt", default="", help="what your clip shows (its look, not its motion)")
    parser.add_argument("--prompt", action="append", default=[], help="a new scene; may be given several times")
    parser.add_argument("--references", nargs="+", choices=references.REFERENCES, help="shipped clips to learn from")
    arguments = parser.parse_args()
    if arguments.video and not arguments.video.is_file():
        parser.error(f"--video: {arguments.video} does not exist")
    metrics = run(plan(arguments), CACHE / "comfyui", OUTPUT)
    print(f"\n{table(metrics['summary'])}\n\n{metrics['seconds']:.0f} seconds. Written:")
    for path in [OUTPUT / "contact_sheet.png", OUTPUT / "metrics.json", *map(Path, metrics["videos"])]:
        print(f"  {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    main()
