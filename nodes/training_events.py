"""What the editor hears of a training while it runs; js/training.js shows it."""

from __future__ import annotations

import base64
from dataclasses import fields
from pathlib import PurePath
from typing import Any

from ..motion_embedding.node_text import send
from ..motion_embedding.picture_strip import picture_strip
from ..motion_embedding.training_progress import Progress, Shown

EVENT = "motion_embeddings.training"
STRIP_BYTES = 75_000  # 100 kB in base64
_FPS, _FPS_OF_TRANSFORMERS = 8, 16  # to show a clip at, whose own is not known
_SLOWEST, _FASTEST = 2, 24
_NUMBERS = [field.name for field in fields(Progress) if field.name != "shown"]


class TrainingEvents:
    """Sends the course of one training, and keeps what it sent last, less the pictures, in ``last``.

    workflow: id of the graph that the page queued, so that a page which shows another meanwhile can tell.
    fps: of the clip, 0 when unknown.
    """

    def __init__(self, workflow: str | None, fps: float = 0.0) -> None:
        self.workflow, self.fps = workflow, fps
        self.last: dict[str, Any] = {}

    def progress(self, progress: Progress) -> None:
        self.last = {name: getattr(progress, name) for name in _NUMBERS}
        self._send(self.last | ({"strip": self._strip(progress.shown)} if progress.shown else {}))

    def kept(self, step: int, file: PurePath) -> None:
        """The training stopped after so many steps, and ``file`` holds what was learnt."""
        # With the numbers: a page that was loaded since the last report, a few steps ago, knows of none.
        self._send(self.last | {"step": step, "kept": {"step": step, "file": str(file)}})

    def _send(self, data: dict[str, Any]) -> None:
        send(EVENT, {"workflow": self.workflow, **data})

    def _strip(self, shown: Shown) -> dict[str, Any]:
        """The clip's frames over those that the model makes of it, and how many to show in a second."""
        jpeg, count = picture_strip((shown.clip, shown.made), STRIP_BYTES)
        fps = self.fps or (_FPS if shown.video_frames == len(shown.clip) else _FPS_OF_TRANSFORMERS)
        rate = min(max(count * fps / shown.video_frames, _SLOWEST), _FASTEST)
        return {"jpeg": base64.b64encode(jpeg).decode(), "frames": count, "rate": rate}
