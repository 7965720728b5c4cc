"""What a benchmark is made of: clips, methods, and items, each one video that a method makes of a clip."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..video import VideoRequest

_SAFE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_LENGTHS = {"method": 28, "clip": 28, "prompt": 32, "seed": 14}
# What the editor keeps about a graph's looks: moving a node does not make another method.
_LOOKS_OF_NODES = {"pos", "size", "order", "flags", "color", "bgcolor", "shape", "properties"}
_LOOKS_OF_GRAPHS = {"id", "revision", "groups", "config", "extra", "last_node_id", "last_link_id"}
_NOTES = {"Note", "MarkdownNote"}


@dataclass(frozen=True)
class Clip:
    """A reference: a video file, or a folder of pictures shown at ``fps``, in the order of their names.

    ``look`` says what it shows, not how it moves; ``prompts`` are the new scenes that it is to move; ``group`` is a
    row of the report; ``start`` (seconds) is where it begins; ``masks`` is a folder of pictures of its object.
    """

    name: str
    source: Path
    look: str = ""
    prompts: tuple[str, ...] = ()
    group: str = ""
    start: float = 0.0
    fps: float = 0.0
    masks: Path | None = None


@dataclass(frozen=True)
class Method:
    """A way to make videos: a ``workflow`` (its content) to run, or ``videos`` that were made elsewhere.

    ``inputs`` maps ``clip``, ``prompt`` and, where the workflow has them, ``look`` and ``seed`` to the
    ``"Node title.input"`` that take them; ``values`` are further inputs to set; ``output`` is the title of the node
    that writes the result. ``videos`` is a pattern of file names, relative to the manifest's folder.
    """

    name: str
    workflow: Mapping[str, Any] | None = None
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    videos: str = ""


@dataclass(frozen=True)
class Item:
    """One video to make: ``method`` puts the motion of ``clip`` into ``prompt``.

    ``index`` is the prompt's place among those of the clip, from 1; ``format`` is how the clip was prepared and
    ``reference`` the digest of what came of it (:func:`.reference.reference_digest`).
    """

    method: Method
    clip: Clip
    prompt: str
    seed: int
    index: int
    format: VideoRequest
    reference: str

    @property
    def id(self) -> str:
        """A file name, at most 120 characters: readable parts, then a digest of all that determines the result.

        The same on every machine and for every place of the files.
        """
        parts = {"method": self.method.name, "clip": self.clip.name, "prompt": self.prompt, "seed": str(self.seed)}
        readable = "-".join(slug(text)[: _LENGTHS[part]].strip("-_") or part for part, text in parts.items())
        return f"{readable}-{self._digest()}"

    @property
    def group(self) -> str:
        """Names what items of one method and clip have in common, for running them one after another."""
        return f"{self.method.name}\n{self.clip.name}"

    @property
    def values(self) -> dict[str, Any]:
        """Every input to set but the clip's: ``{"Node title.input": value}``."""
        given = {"prompt": self.prompt, "look": self.clip.look, "seed": self.seed}
        named = {target: value for key, value in given.items() for target in self.method.inputs.get(key, ())}
        return {**self.method.values, **named}

    def _digest(self) -> str:
        said = {
            "method": self.method.name,
            "clip": self.clip.name,
            "prompt": self.prompt,
            "look": self.clip.look,
            "seed": self.seed,
            # As declared, so that a rate of 8 and one of 8.0 are the same.
            "format": {each.name: type(each.default)(getattr(self.format, each.name)) for each in fields(self.format)},
            "reference": self.reference,
        }
        if self.method.workflow is None:
            said["videos"] = self.method.videos
        else:
            said["workflow"] = _meaning(self.method.workflow)
            said["clip inputs"] = list(self.method.inputs["clip"])
            said["values"] = self.values
            said["output"] = self.method.output
        return hashlib.sha256(canonical(said).encode()).hexdigest()[:10]


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def slug(text: str) -> str:
    """Lower-case ASCII letters, digits, ``-`` and ``_``; everything else becomes ``-``."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")


def file_stem(name: str) -> str:
    """A file name without suffix for ``name``: itself where every file system takes it, else a slug and a digest."""
    if _SAFE.fullmatch(name):
        return name
    return f"{slug(name)[:48] or 'clip'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _meaning(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """A workflow without what only the eye sees in the editor; the server's format as it is."""
    if "nodes" not in workflow:
        return dict(workflow)
    nodes = [node for node in workflow["nodes"] if node.get("type") not in _NOTES]
    kept = {key: value for key, value in workflow.items() if key not in _LOOKS_OF_GRAPHS}
    kept["nodes"] = [{key: value for key, value in n.items() if key not in _LOOKS_OF_NODES} for n in nodes]
    return kept
