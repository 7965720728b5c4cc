"""A results folder as a run leaves it, with sprite clips in place of generated ones."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from demo.tiny_model.world import COLORS, FPS, Look, Motion, random_motion, render
from motion_embedding.video_writing import write_video

FAITHFUL, DRIFTING, COPYING = "faithful", "drifting", "copying <b>"
METHODS = (FAITHFUL, DRIFTING, COPYING)
"""The reference's motion in the new look; a pan whatever the reference does; the reference's motion and look."""

MOTIONS = ("pan", "circle", "camera_zoom", "linear", "bounce", "arc", "rotate", "zoom")
SHAPES = ("star", "square", "cross", "triangle", "circle")


class Colours:
    """An encoder whose vectors are a frame's mean colour above its border's, and that of the colour a prompt names."""

    name = "colours"

    def images(self, frames: np.ndarray) -> np.ndarray:
        flat = frames.reshape(len(frames), -1, 3).astype(np.float32)
        return flat.mean(1) - flat[:, :1].mean(1) + 1

    def texts(self, prompts: Sequence[str]) -> np.ndarray:
        named = [next((rgb for word, rgb in COLORS.items() if word in prompt), (1, 1, 1)) for prompt in prompts]
        return np.array(named, np.float32)


def clip_name(index: int) -> str:
    return f"{MOTIONS[index % len(MOTIONS)]} {index}"


def prompt_of(index: int) -> Look:
    colours = list(COLORS)
    return Look(colours[index % len(colours)], SHAPES[index % len(SHAPES)], "navy", "checkered")


def write_results(
    folder: Path,
    methods: Sequence[str] = METHODS,
    clips: int = 4,
    prompts: int = 2,
    seeds: Sequence[int] = (1,),
    groups: Sequence[str] = ("easy", "hard"),
) -> Path:
    """Write ``benchmark.json``, references and finished items; nothing is scored."""
    facts = {"format": 1, "name": "sprites & <others>", "manifest": "sprites.yaml", "metrics": {}, "items": []}
    facts |= {"methods": list(methods), "seeds": list(seeds), "clips": {}, "prompts": {}}
    for index in range(clips):
        name, motion = clip_name(index), motion_of(index)
        group = groups[index % len(groups)] if groups else ""
        shown = Look("cyan", "square", "black", "checkered")
        write_clip(folder / "clips" / f"{index}.mp4", render(shown, motion))
        facts["clips"][name] = {"file": f"clips/{index}.mp4", "look": shown.prompt, "group": group}
    for method in methods:
        for index in range(clips):
            for number in range(prompts):
                for seed in seeds:
                    facts["items"].append(_write_item(folder, facts, method, index, number, seed))
    (folder / "benchmark.json").write_text(json.dumps(facts))
    return folder


def motion_of(index: int) -> Motion:
    return random_motion(np.random.default_rng(index), kind=MOTIONS[index % len(MOTIONS)])


def write_clip(path: Path, frames: np.ndarray) -> None:
    write_video(path, torch.from_numpy(frames).float() / 255, FPS)


def fail(folder: Path, id: str, error: str) -> None:
    """Turn a finished item into a failed one."""
    item = json.loads((folder / "items" / f"{id}.json").read_text())
    (folder / "items" / f"{id}.json").unlink()
    (folder / "failed").mkdir(exist_ok=True)
    (folder / "failed" / f"{id}.json").write_text(json.dumps(item | {"error": error}))


def set_metrics(folder: Path, **metrics: str) -> None:
    facts = json.loads((folder / "benchmark.json").read_text())
    (folder / "benchmark.json").write_text(json.dumps(facts | {"metrics": metrics}))


def _write_item(folder: Path, facts: dict, method: str, clip: int, number: int, seed: int) -> str:
    name = clip_name(clip)
    key = f"{method} {clip} {number} {seed}"
    id = f"{METHODS.index(method)}-{clip}-{number}-{seed}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
    file = folder / "items" / f"{id}.mp4"
    write_clip(file, _result(method, clip, number, zlib.crc32(key.encode())))
    item = {"id": id, "method": method, "clip": name, "group": facts["clips"][name]["group"]}
    item |= {"prompt": prompt_of(number).prompt, "seed": seed, "seconds": 1.5, "worker": "local 1", "attempts": 1}
    item |= {"finished": "2026-11-22T18:00:00Z", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    file.with_suffix(".json").write_text(json.dumps(item | {"file": f"items/{id}.mp4"}))
    return id


def _result(method: str, clip: int, number: int, noise: int) -> np.ndarray:
    rng = np.random.default_rng(noise)
    look, motion = prompt_of(number), motion_of(clip)
    if method == DRIFTING:
        motion = random_motion(rng, kind="pan")
    if method == COPYING:
        look = Look("cyan", "square", "black", "checkered")
    shaken = motion.x + rng.normal(0, 0.4, len(motion.x))
    return render(look, dataclasses.replace(motion, x=shaken))
