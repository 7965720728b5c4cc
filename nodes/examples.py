"""What the pack brings to be tried on: a tiny text-to-video model, and clips of the few things that it can draw.

A model folder or a clip of the person's own with the same name comes first.
"""

from __future__ import annotations

from pathlib import Path

_DEMO = Path(__file__).parents[1] / "demo"
_MODEL = "tiny-text-to-video"
_CLIPS = ("circle.mp4", "bounce.mp4", "up.mp4", "camera_pan.mp4")  # those that the templates name


def or_ours(path: Path, name: str) -> Path:
    """The person's own file where it is there, else our clip of that name; ``path`` where there is neither."""
    return path if path.is_file() else clips().get(name, path)


def models() -> dict[str, Path]:
    """Text-to-video folders by name; none where the pack was installed without its demo."""
    folder = _DEMO / "tiny_model" / "weights"
    return {_MODEL: folder} if folder.is_dir() else {}


def clips() -> dict[str, Path]:
    """Video files by name; none where the pack was installed without its demo."""
    files = {name: _DEMO / "clips" / name for name in _CLIPS}
    return {name: path for name, path in files.items() if path.is_file()}
