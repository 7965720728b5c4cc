"""What results are measured with: a tracker and encoders by settings, and a name for exactly these."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics.features import Encoder
from ..metrics.tracks import Tracker, track_points
from ..metrics.transfer import Evidence, gather
from ..video_source import open_clip
from .manifest import MetricSettings

_METRICS = Path(__file__).parents[1] / "metrics"
_PACKAGES = ("numpy", "opencv-python-headless", "torch", "transformers", "av")


@dataclass(frozen=True)
class Instruments:
    """A tracker and, where there are some, encoders for pictures with text and for appearance."""

    tracker: Tracker = track_points
    encoder: Encoder | None = None
    appearance: Encoder | None = None

    @classmethod
    def load(cls, settings: MetricSettings) -> Instruments:
        """Load what ``settings`` names. Raises :class:`InputError` for what cannot be loaded."""
        # Imported here: they need torch and transformers, which a benchmark of tracks alone does not.
        from ..metrics import cotracker, encoders

        return cls(
            cotracker.cotracker(settings.tracker_file) if settings.tracker == "cotracker" else track_points,
            encoders.load_encoder(settings.clip) if settings.clip else None,
            encoders.load_encoder(settings.appearance) if settings.appearance else None,
        )

    def gather(self, video: Path) -> Evidence:
        """The evidence of one video file. Raises :class:`InputError` for what is not a video."""
        return gather(read_frames(video)[0], self.tracker, self.encoder, self.appearance)

    def text(self, prompt: str) -> np.ndarray | None:
        """The vector ``[D]`` of a prompt; None without an encoder that reads text."""
        if self.encoder is None:
            return None
        try:
            return self.encoder.texts([prompt])[0]
        except NotImplementedError:
            return None


def read_frames(video: Path) -> tuple[np.ndarray, float | None]:
    """Every frame of a video file, uint8 ``[F, H, W, 3]``, and their rate where the file says it.

    Raises:
        InputError: the file is missing, is not a video, or has fewer than two frames.
    """
    with open_clip(video, "video") as clip:
        frames = [frame.picture.to_ndarray(format="rgb24") for frame in clip.frames()]
        rate = clip.rate
    if len(frames) < 2:
        raise InputError("video", f"{video.name} has {len(frames)} frame(s) that can be decoded.", "Make it again.")
    return np.stack(frames), rate


def settings_of(facts: Mapping[str, Any]) -> MetricSettings:
    """The settings that ``benchmark.json`` notes under "metrics"."""
    given = facts.get("metrics") or {}
    paths = {key: Path(given[key]) for key in ("clip", "appearance", "tracker_file") if given.get(key)}
    return MetricSettings(**paths, **{key: given[key] for key in ("tracker",) if given.get(key)})


def fingerprint(settings: MetricSettings) -> str:
    """A digest of the settings, of the files they name (names and sizes) and of the code of the metrics.

    The code counts by its source, so that numbers of different code never stand in one table.
    """
    named = {key: _contents(value) if isinstance(value, Path) else value for key, value in asdict(settings).items()}
    code = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(_METRICS.glob("*.py"))]
    return digest(named, code)


def digest(*parts: object) -> str:
    """Sixteen hex digits of the SHA-256 of ``parts`` as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The versions of everything that has a part in the numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _contents(path: Path) -> list[tuple[str, int]]:
    """Names and sizes of the files under ``path``: the same wherever the folder lies. Empty where it is missing."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return [(str(file.relative_to(path)) if file != path else file.name, file.stat().st_size) for file in files]
