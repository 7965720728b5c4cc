"""The sprite world: one coloured shape on a coloured background, moving in one of nine ways.

The text names only the look. The motion is never in the prompt, so a model trained here has to
invent one, and a motion embedding has something to decide.

Coordinates are pixels relative to the frame's centre, x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

SIZE = 64
FRAMES = 8
FPS = 8

SHAPES = ("circle", "square", "triangle", "cross", "star")
COLORS = {
    "red": (230, 40, 40),
    "green": (40, 200, 60),
    "blue": (50, 90, 240),
    "yellow": (245, 220, 40),
    "magenta": (225, 60, 220),
    "cyan": (50, 220, 225),
}
BACKGROUNDS = {"black": (15, 15, 18), "gray": (110, 110, 115), "brown": (100, 60, 30), "navy": (20, 25, 90)}
PATTERNS = ("plain", "checkered", "striped")
PATTERN_CONTRAST = 45
MOTIONS = ("linear", "arc", "circle", "bounce", "zoom", "rotate", "pan", "camera_zoom", "still")
_MOTION_WEIGHTS = np.array([6, 2, 3, 2, 1, 1, 3, 1, 1], float)

_TEMPLATE = 96
_CANVAS = 320
_PERIOD = 24


@dataclass(frozen=True)
class Look:
    """What the prompt says: everything a viewer sees in one frame except where it is."""

    color: str
    shape: str
    background: str
    pattern: str = "plain"
    size: float = 22.0

    @property
    def prompt(self) -> str:
        pattern = "" if self.pattern == "plain" else f"{self.pattern} "
        return f"a {self.color} {self.shape} on a {self.background} {pattern}background"


@dataclass
class Motion:
    """Per-frame geometry, every array ``[F]``: object path, scale and angle; camera pan, zoom and roll.

    A point p of the world is seen at ``zoom * R(-roll) (p - camera)`` from the frame's centre.
    """

    x: np.ndarray
    y: np.ndarray
    scale: np.ndarray
    angle: np.ndarray
    camera_x: np.ndarray
    camera_y: np.ndarray
    camera_zoom: np.ndarray
    camera_roll: np.ndarray
    kind: str = "still"
    phase: tuple[float, float] = field(default=(7.0, 7.0))

    @classmethod
    def still(cls, frames: int) -> Motion:
        zero, one = np.zeros(frames), np.ones(frames)
        return cls(zero, zero.copy(), one, zero.copy(), zero.copy(), zero.copy(), one.copy(), zero.copy())


def _shape_mask(shape: str) -> np.ndarray:
    """Antialiased ``[96, 96]`` uint8 mask of one shape."""
    n = _TEMPLATE * 4
    mask, c, r = np.zeros((n, n), np.uint8), n / 2, n * 0.40

    def polygon(points: list[tuple[float, float]]) -> None:
        cv2.fillPoly(mask, [np.round(np.array(points)).astype(np.int32)], 255)

    def ring(radii: list[float]) -> list[tuple[float, float]]:
        step = 2 * np.pi / len(radii)
        return [(c + q * np.sin(i * step), c - q * np.cos(i * step)) for i, q in enumerate(radii)]

    if shape == "circle":
        cv2.circle(mask, (int(c), int(c)), int(r * 0.92), 255, -1)
    elif shape == "square":
        s = r * 0.8
        polygon([(c - s, c - s), (c + s, c - s), (c + s, c + s), (c - s, c + s)])
    elif shape == "triangle":
        polygon(ring([1.12 * r] * 3))
    elif shape == "star":
        polygon(ring([1.2 * r, 0.5 * r] * 5))
    else:
        w = r * 0.34
        polygon([(c - w, c - r), (c + w, c - r), (c + w, c + r), (c - w, c + r)])
        polygon([(c - r, c - w), (c + r, c - w), (c + r, c + w), (c - r, c + w)])
    return cv2.resize(mask, (_TEMPLATE, _TEMPLATE), interpolation=cv2.INTER_AREA)


def _background(color: str, pattern: str) -> np.ndarray:
    """Periodic texture ``[320, 320, 3]`` float32 whose centre is the scene's origin."""
    base = np.array(BACKGROUNDS[color], np.float32)
    y, x = np.mgrid[0:_CANVAS, 0:_CANVAS] // (_PERIOD // 2)
    cells = {"plain": x * 0, "checkered": (x + y) % 2, "striped": x % 2}[pattern].astype(np.float32)
    cells = cv2.GaussianBlur(cells, (0, 0), 0.8)
    return base + PATTERN_CONTRAST * cells[..., None]


_MASKS = {s: _shape_mask(s) for s in SHAPES}
_CANVASES = {(c, p): _background(c, p) for c in BACKGROUNDS for p in PATTERNS}


def rotation(angle: float) -> np.ndarray:
    """``[2, 2]``; positive angles turn clockwise on screen, where y points down."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def screen_path(motion: Motion) -> np.ndarray:
    """Where the object is seen, ``[F, 2]`` (x, y) from the frame's centre."""
    from_camera = np.stack([motion.x - motion.camera_x, motion.y - motion.camera_y], -1)
    turned = [rotation(-roll) @ point for roll, point in zip(motion.camera_roll, from_camera, strict=True)]
    return motion.camera_zoom[:, None] * np.array(turned)


def render(look: Look, motion: Motion) -> np.ndarray:
    """Draw the clip: uint8 ``[F, 64, 64, 3]``."""
    canvas, mask = _CANVASES[look.background, look.pattern], _MASKS[look.shape]
    color, half = np.array(COLORS[look.color], np.float32), (SIZE - 1) / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    frames = np.empty((len(motion.x), SIZE, SIZE, 3), np.uint8)
    for f in range(len(frames)):
        zoom = motion.camera_zoom[f]
        if look.pattern == "plain":
            scene = np.broadcast_to(canvas[0, 0], (SIZE, SIZE, 3))
        else:
            shift = np.array([motion.camera_x[f], motion.camera_y[f]]) + _CANVAS / 2 + motion.phase
            turn = rotation(motion.camera_roll[f]) / zoom
            view = np.concatenate([turn, (shift - turn @ [half, half])[:, None]], 1).astype(np.float32)
            scene = cv2.warpAffine(canvas, view, (SIZE, SIZE), flags=flags, borderMode=cv2.BORDER_WRAP)
        x, y = half + screen_path(motion)[f]
        k = _TEMPLATE / (look.size * 1.25 * motion.scale[f] * zoom)
        angle = motion.angle[f] - motion.camera_roll[f]
        c, s = np.cos(angle) * k, np.sin(angle) * k
        mid = _TEMPLATE / 2 - 0.5
        place = np.array([[c, s, mid - c * x - s * y], [-s, c, mid + s * x - c * y]], np.float32)
        fine = place.copy()
        fine[:, 2] += place[:, :2] @ np.array([-0.25, -0.25], np.float32)
        fine[:, :2] *= 0.5
        alpha = cv2.warpAffine(mask, fine, (2 * SIZE, 2 * SIZE), flags=flags)
        alpha = cv2.resize(alpha, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
        frames[f] = np.clip(scene * (1 - alpha) + color * alpha, 0, 255).astype(np.uint8)
    return frames


def random_motion(rng: np.random.Generator, frames: int = FRAMES, kind: str | None = None) -> Motion:
    """Draw one motion of the given kind (any kind when None)."""
    m, t = Motion.still(frames), np.linspace(-0.5, 0.5, frames)
    m.kind = kind = kind or str(rng.choice(MOTIONS, p=_MOTION_WEIGHTS / _MOTION_WEIGHTS.sum()))
    m.phase = (rng.uniform(0, _PERIOD), rng.uniform(0, _PERIOD))
    sign, direction = rng.choice([-1, 1]), rng.uniform(0, 2 * np.pi)

    def offset(reach: float) -> tuple[float, float]:
        return rng.uniform(-reach, reach), rng.uniform(-reach, reach)

    ox, oy = offset({"pan": 4, "arc": 5, "circle": 0, "zoom": 12, "camera_zoom": 12, "rotate": 14}.get(kind, 16))
    if kind == "linear":
        dx, dy = np.array([np.cos(direction), np.sin(direction)]) * rng.uniform(14, 38)
        ox, oy = (rng.uniform(-1, 1) * max(20 - abs(d) / 2, 0) for d in (dx, dy))
        m.x, m.y = ox + dx * t, oy + dy * t
    elif kind in ("arc", "circle"):
        radius, sweep = rng.uniform(10, 17), sign * rng.uniform(0.5, 0.9) * np.pi * (1 if kind == "arc" else 2)
        m.x, m.y = ox + radius * np.cos(direction + sweep * t), oy + radius * np.sin(direction + sweep * t)
    elif kind == "bounce":
        m.x = sign * rng.uniform(14, 34) * t + rng.uniform(-3, 3)
        m.y = 14 - rng.uniform(12, 24) * np.abs(np.sin(np.pi * rng.choice([1, 2]) * (t + 0.5)))
    elif kind == "pan":
        length = rng.uniform(14, 34)
        m.camera_x, m.camera_y = np.cos(direction) * length * t, np.sin(direction) * length * t
        m.x, m.y = m.x + ox, m.y + oy
    else:
        m.x, m.y = m.x + ox, m.y + oy
        if kind == "zoom":
            m.scale = np.exp(sign * rng.uniform(0.55, 1.0) * t)
        elif kind == "rotate":
            m.angle = sign * rng.uniform(0.6, 1.4) * np.pi / 2 * (t + 0.5)
        elif kind == "camera_zoom":
            m.camera_zoom = np.exp(sign * rng.uniform(0.45, 0.9) * t)
    return m


def random_look(rng: np.random.Generator, patterned: float = 0.3) -> Look:
    """Draw one look; ``patterned`` is the chance of a textured background."""
    pattern = str(rng.choice(PATTERNS[1:])) if rng.random() < patterned else "plain"
    return Look(
        str(rng.choice(list(COLORS))),
        str(rng.choice(SHAPES)),
        str(rng.choice(list(BACKGROUNDS))),
        pattern,
        float(rng.uniform(19, 26)),
    )


def random_clip(rng: np.random.Generator, frames: int = FRAMES) -> tuple[np.ndarray, Look, Motion]:
    """One training example. Camera motion mostly over textured backgrounds, where it can be seen."""
    motion = random_motion(rng, frames, "still" if frames == 1 else None)
    if frames == 1:
        motion.angle = motion.angle + (rng.uniform(-1, 1) * 2.2 if rng.random() < 0.1 else 0.0)
        motion.scale = motion.scale * (rng.uniform(0.7, 1.4) if rng.random() < 0.15 else 1.0)
        motion.x, motion.y = (rng.uniform(-20, 20, 1) for _ in "xy")
    look = random_look(rng, 0.8 if motion.kind in ("pan", "camera_zoom") else 0.25)
    return render(look, motion), look, motion


def random_prompt(rng: np.random.Generator, look: Look) -> str:
    """One of several plain-English ways to say the look."""
    pattern = look.pattern if look.pattern != "plain" or rng.random() < 0.3 else ""
    ground = " ".join(w for w in (look.background, pattern) if w)
    form = rng.integers(0, 8)
    if form < 5:
        return f"a {look.color} {look.shape} on a {ground} background"
    if form == 5:
        return f"{look.color} {look.shape}, {ground} background"
    if form == 6:
        return f"a video of a {look.color} {look.shape} on a {ground} background"
    return f"the {look.color} {look.shape} in front of a {ground} background"
