"""The demo's ComfyUI: where it is, and a base directory with this pack in it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from motion_embedding.benchmark import server

ROOT = Path(__file__).resolve().parent.parent
PACK = "motion_embeddings"
WEIGHTS = ROOT / "demo" / "tiny_model" / "weights"
MODEL = "tiny-text-to-video"
FOLDERS = ("custom_nodes", "input", "models/diffusers", "output", "user")


def comfyui_path() -> Path:
    """The ComfyUI to run: the user's own (``COMFYUI_PATH``), else the one that ``demo/setup.sh`` fetched."""
    path = Path(os.environ.get("COMFYUI_PATH") or ROOT / ".host" / "ComfyUI").resolve()
    if not (path / "main.py").is_file():
        raise FileNotFoundError(f"No ComfyUI in {path}. Run demo/setup.sh, or set COMFYUI_PATH to your own.")
    return path


def prepare_base(base: Path) -> Path:
    """Make ``base`` a ComfyUI base directory that has this pack installed, and return it resolved."""
    base = base.resolve()
    for folder in FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    link(base / "custom_nodes" / PACK, ROOT)
    return base


def link_model(base: Path, weights: Path, name: str) -> None:
    """Offer the diffusers folder ``weights`` as ``models/diffusers/<name>`` under ``base``."""
    link(base / "models" / "diffusers" / name, weights.resolve())


def link(at: Path, target: Path) -> None:
    """Make ``at`` a symbolic link to ``target``, in place of an older one."""
    if at.is_symlink() and at.readlink() == target:
        return
    at.unlink(missing_ok=True)
    at.symlink_to(target, target_is_directory=target.is_dir())


class Server(server.Server):
    """A server of the demo's ComfyUI on ``base``, which is prepared first."""

    def __init__(self, base: Path, arguments: Sequence[str] = (), start_timeout: float = 300) -> None:
        python = os.environ.get("COMFYUI_PYTHON", "")
        super().__init__(comfyui_path(), prepare_base(base), None, arguments, python, start_timeout)


def main() -> None:
    """``python -m demo.host BASE``: a base directory with this pack and the tiny model, for the benchmark."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("base", type=Path)
    link_model(prepare_base(parser.parse_args().base), WEIGHTS, MODEL)


if __name__ == "__main__":
    main()
