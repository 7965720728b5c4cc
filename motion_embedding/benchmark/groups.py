"""Easy, medium and hard clips, where a manifest leaves that to our rule (``groups: complexity``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..metrics.complexity import clip_complexity, split
from ..metrics.tracks import track_points
from ..video import VideoRequest
from .instruments import read_frames
from .prepared import Reference
from .reference import object_path


def grouped_by_complexity(references: Iterable[Reference], form: VideoRequest) -> list[Reference]:
    """The references with their complexity, and the group of their clip among the others.

    Always by the default tracker, so that a benchmark has the same groups whatever it is scored with. A clip
    without a reference, or in which nothing can be followed, is in no group.
    """
    measured = [replace(reference, complexity=_complexity(reference, form)) for reference in references]
    known = {ref.clip.name: ref.complexity for ref in measured if ref.complexity is not None}
    groups = split(known) if known else {}
    return [replace(ref, clip=replace(ref.clip, group=groups.get(ref.clip.name, ""))) for ref in measured]


def _complexity(reference: Reference, form: VideoRequest) -> float | None:
    if reference.error:
        return None
    frames, _ = read_frames(reference.file)
    height, width = frames.shape[1:3]
    return clip_complexity(track_points(frames), (width, height), object_path(reference.clip, form))
