"""The clips and scenes of the ablation: held out of the tiny model's training, their motion known exactly."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from demo import references
from demo.tiny_model.world import BACKGROUNDS, COLORS, FRAMES, SHAPES, Look, Motion, render

LOOKS_PER_CLIP = 6
_T = np.linspace(-0.5, 0.5, FRAMES)


@dataclass(frozen=True, eq=False)
class Clip:
    """A reference: ``camera`` when it is the camera that moves."""

    name: str
    look: Look
    motion: Motion
    camera: bool = False

    @property
    def frames(self) -> np.ndarray:
        """uint8 ``[8, 64, 64, 3]``."""
        return render(self.look, self.motion)

    def looks(self) -> list[Look]:
        """New scenes that share no colour, shape or background with the reference, so that a leak shows.

        Half of them are plain. For a camera clip four are checkered like the reference, because only there can the
        camera be told, and the other two show whether its texture comes along.
        """
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))

        def others(names, own: str) -> list[str]:
            free = [n for n in names if n != own]
            return [str(n) for n in rng.permutation(np.resize(free, LOOKS_PER_CLIP))]

        patterns = ["checkered"] * 4 + ["plain", "striped"]
        if not self.camera:
            patterns = ["plain"] * 3 + ["checkered", "striped", "checkered"]
        return [
            Look(*look, pattern)
            for *look, pattern in zip(
                others(COLORS, self.look.color),
                others(SHAPES, self.look.shape),
                others(BACKGROUNDS, self.look.background),
                patterns,
                strict=True,
            )
        ]


def _still(**parts: np.ndarray) -> Motion:
    motion = Motion.still(FRAMES)
    for name, values in parts.items():
        setattr(motion, name, np.asarray(values, float))
    return motion


def _clips() -> dict[str, Clip]:
    paths = ("left", "right", "up", "diagonal", "arc", "circle", "bounce")
    clips = [Clip(name, *references.REFERENCES[name]) for name in paths]
    fall = _still(x=-10 + 0 * _T, y=-16 + 32 * (_T + 0.5) ** 2)
    clips.append(Clip("fall", Look("cyan", "circle", "gray"), fall))
    clips += [
        Clip("pan", Look("red", "circle", "gray", "checkered"), _still(camera_x=26 * _T), camera=True),
        Clip("zoom", Look("blue", "cross", "brown", "checkered"), _still(camera_zoom=np.exp(0.8 * _T)), camera=True),
        Clip("roll", Look("green", "square", "navy", "checkered"), _still(camera_roll=0.8 * _T), camera=True),
    ]
    return {clip.name: clip for clip in clips}


CLIPS = _clips()
