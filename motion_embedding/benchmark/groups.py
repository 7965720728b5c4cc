"""``groups: complexity``: easy, medium and hard clips by the rule of :mod:`..metrics.complexity`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..metrics.complexity import clip_complexity, split
from ..metrics.tracks import track_points
from .instruments import read_frames
from .items import Clip
from .manifest import Manifest
from .reference import object_path


def with_groups(manifest: Manifest, references: Mapping[str, Path]) -> Manifest:
    """The manifest with each clip in its class, where it asks for that; else as it is.

    ``references`` maps names of clips to their prepared references. The tracker is always the default one, so that
    classes do not depend on what results are scored with. A clip without a reference, or in which nothing can be
    followed, is in no class.
    """
    if not manifest.by_complexity:
        return manifest
    found = {clip.name: _complexity(manifest, clip, references) for clip in manifest.clips}
    classes = split({name: value for name, value in found.items() if value is not None})
    return replace(manifest, clips=tuple(replace(c, group=classes.get(c.name, "")) for c in manifest.clips))


def _complexity(manifest: Manifest, clip: Clip, references: Mapping[str, Path]) -> float | None:
    if clip.name not in references:
        return None
    frames, _ = read_frames(references[clip.name])
    height, width = frames.shape[1:3]
    return clip_complexity(track_points(frames), (width, height), object_path(clip, manifest.format))
