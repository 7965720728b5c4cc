"""The manifest: a YAML or JSON file that says what to compare on what. Checked whole before any work."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..video import VideoRequest
from .clips import READERS
from .document import Section, existing_file, existing_folder, kind, located, read_document, suggestion, texts
from .items import Clip, Item, Method
from .methods import FIELDS, read_methods

_KEYS = ("name", "clips", "format", "looks", "prompts", "groups", "seeds", "methods", "metrics")
_LARGEST_SEED = 2**64 - 1
_FIELD = re.compile(rf"\{{({'|'.join(FIELDS)})\}}")


@dataclass(frozen=True)
class MetricSettings:
    """Local files that the metrics use; None leaves a metric out. ``tracker_file`` is the tracker's checkpoint."""

    clip: Path | None = None
    appearance: Path | None = None
    tracker: str = "lucas-kanade"
    tracker_file: Path | None = None


@dataclass(frozen=True)
class Manifest:
    """A checked manifest. ``by_complexity``: clips are to be grouped by our rule, from their prepared references."""

    name: str
    clips: tuple[Clip, ...]
    format: VideoRequest
    seeds: tuple[int, ...]
    methods: tuple[Method, ...]
    metrics: MetricSettings
    path: Path
    by_complexity: bool = False

    def items(self, references: Mapping[str, str]) -> Iterator[Item]:
        """Every video to make, those of one method and clip together.

        ``references`` maps the name of a clip to the digest of its prepared reference; clips that it lacks (they
        could not be prepared) are left out.
        """
        for method in self.methods:
            for clip in self.clips:
                if clip.name in references:
                    for index, prompt in enumerate(clip.prompts, start=1):
                        for seed in self.seeds:
                            yield Item(method, clip, prompt, seed, index, self.format, references[clip.name])

    def made_elsewhere(self, item: Item) -> Path:
        """Where the video of an item of a method with ``videos`` should be."""
        values = {"clip": item.clip.name, "prompt": item.prompt, "index": str(item.index), "seed": str(item.seed)}
        name = _FIELD.sub(lambda field: values[field[1]].replace("/", "_"), item.method.videos)
        return located(name, self.path.parent)


def load_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest; no clip is decoded.

    Raises :class:`InputError` named by the dotted path of the first key that is wrong, with cause and mend.
    """
    path = Path(path).expanduser().absolute()
    document = Section("", read_document(path), _KEYS)
    name = document.text("name")
    methods = tuple(read_methods(document.section("methods"), path.parent))
    seeds = _seeds(document)
    form = _format(document)
    clips = _clips(document, path.parent)
    by_complexity = document.raw("groups", {}) == "complexity"
    manifest = Manifest(name, clips, form, seeds, methods, _metrics(document, path.parent), path, by_complexity)
    _check_seeds(manifest)
    _check_made_elsewhere(manifest)
    return manifest


def _format(document: Section) -> VideoRequest:
    kinds = {each.name: type(each.default) for each in fields(VideoRequest)}
    section = document.section("format", kinds, {})
    given: dict[str, Any] = {}
    for key in section.values:
        given[key] = section.text(key) if kinds[key] is str else section.number(key, whole=kinds[key] is int)
    try:
        return VideoRequest(**given)
    except InputError as error:
        raise InputError(section.at(error.name), error.cause, error.mend) from error


def _seeds(document: Section) -> tuple[int, ...]:
    seeds = document.raw("seeds", [0])
    if not isinstance(seeds, list) or not seeds:
        raise InputError("seeds", f"it is {kind(seeds)}, not a list of seeds.", "Write it as `seeds: [1, 2]`.")
    for index, seed in enumerate(seeds):
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= _LARGEST_SEED:
            raise InputError(
                f"seeds[{index}]", f"{seed!r} is not a seed.", f"Write a whole number, 0 to {_LARGEST_SEED}."
            )
        if seed in seeds[:index]:
            raise InputError(f"seeds[{index}]", f"{seed} is in the list twice.", "Remove one of them.")
    return tuple(seeds)


def _clips(document: Section, folder: Path) -> tuple[Clip, ...]:
    section = document.section("clips")
    reader = section.text("reader")
    if reader not in READERS:
        raise InputError("clips.reader", f"{reader!r} is unknown.", suggestion(reader, READERS))
    clips = _distinct(READERS[reader](located(section.text("path"), folder), section.values))
    clips = _started(clips, section)
    clips = _with_texts(clips, document, "looks", "look")
    groups = document.raw("groups", {})
    if isinstance(groups, str) and groups != "complexity":
        mend = "Write `groups: complexity`, or map names of clips to groups."
        raise InputError("groups", f"{groups!r} is unknown.", mend)
    if groups != "complexity":
        clips = _with_texts(clips, document, "groups", "group")
    # Last, so that what is said of a clip may stay when it is left out.
    return _included(_with_prompts(clips, document), section)


def _distinct(clips: list[Clip]) -> list[Clip]:
    """The same clips, if no two share a name."""
    sources: dict[str, Path] = {}
    for clip in clips:
        if clip.name in sources:
            cause = f"{sources[clip.name]} and {clip.source} are both called {clip.name!r}."
            raise InputError("clips.path", cause, "Rename one of them.")
        sources[clip.name] = clip.source
    return clips


def _included(clips: list[Clip], section: Section) -> tuple[Clip, ...]:
    """The clips that ``include`` names, each with prompts."""
    patterns = section.texts("include") if "include" in section else ("*",)
    for index, pattern in enumerate(patterns):
        if not any(fnmatch.fnmatchcase(clip.name, pattern) for clip in clips):
            mend = suggestion(pattern, [clip.name for clip in clips])
            raise InputError(f"clips.include[{index}]", f"no clip is called {pattern!r}.", mend)
    found = tuple(clip for clip in clips if any(fnmatch.fnmatchcase(clip.name, pattern) for pattern in patterns))
    for clip in found:
        if not clip.prompts:
            cause = f"the clip {clip.name!r} has none, and neither has its folder."
            raise InputError("prompts", cause, "List prompts for all clips, or name the clip and list its own.")
    return found


def _started(clips: list[Clip], section: Section) -> list[Clip]:
    if "start" not in section:
        return clips
    starts = section.section("start", [clip.name for clip in clips])
    for name in starts.values:
        if starts.number(name) < 0:
            raise InputError(starts.at(name), f"{starts.number(name):g} s is before the clip.", "Write 0 or more.")
    return [replace(c, start=starts.number(c.name)) if c.name in starts else c for c in clips]


def _with_texts(clips: list[Clip], document: Section, key: str, attribute: str) -> list[Clip]:
    """Clips with ``attribute`` from the mapping ``key`` of clip names to texts."""
    given = document.section(key, [clip.name for clip in clips], {})
    return [replace(c, **{attribute: given.text(c.name)}) if c.name in given else c for c in clips]


def _with_prompts(clips: list[Clip], document: Section) -> list[Clip]:
    """Clips with the prompts of the manifest, where it has some for them."""
    given = document.raw("prompts", None)
    if given is None:
        return clips
    if not isinstance(given, dict):
        for_all = texts("prompts", given)
        return [replace(clip, prompts=for_all) for clip in clips]
    by_clip = document.section("prompts", [clip.name for clip in clips])
    return [replace(clip, prompts=by_clip.texts(clip.name)) if clip.name in by_clip else clip for clip in clips]


def _metrics(document: Section, folder: Path) -> MetricSettings:
    section = document.section("metrics", ("clip", "appearance", "tracker"), {})
    found = {
        key: _encoder_folder(section.at(key), section.text(key), folder)
        for key in ("clip", "appearance")
        if key in section
    }
    tracker = section.raw("tracker", "lucas-kanade")
    if tracker == "lucas-kanade":
        return MetricSettings(**found)
    if isinstance(tracker, str):
        mend = "Write lucas-kanade, or {cotracker: path/to/checkpoint.pth}."
        raise InputError("metrics.tracker", f"{tracker!r} is unknown or needs a file.", mend)
    cotracker = section.section("tracker", ("cotracker",))
    file = existing_file("metrics.tracker.cotracker", cotracker.text("cotracker"), folder)
    return MetricSettings(**found, tracker="cotracker", tracker_file=file)


def _encoder_folder(path: str, name: str, folder: Path) -> Path:
    found = existing_folder(path, name, folder)
    if not (found / "config.json").is_file():
        raise InputError(path, f"{found} has no config.json.", "Name a folder of a transformers model.")
    return found


def _check_seeds(manifest: Manifest) -> None:
    if len(manifest.seeds) < 2:
        return
    for method in manifest.methods:
        place = f"methods.{method.name}"
        if method.workflow is not None and "seed" not in method.inputs:
            cause = "the method takes no seed, so that every seed would make the same video."
            raise InputError(f"{place}.inputs.seed", cause, "Name the inputs that take the seed, or give one seed.")
        if method.videos and "{seed}" not in method.videos:
            raise InputError(f"{place}.videos", "every seed would have the same file.", "Put {seed} in the pattern.")


def _check_made_elsewhere(manifest: Manifest) -> None:
    for method in manifest.methods:
        if not method.videos:
            continue
        place = f"methods.{method.name}.videos"
        tells_prompts = "{prompt}" in method.videos or "{index}" in method.videos
        if not tells_prompts and any(len(clip.prompts) > 1 for clip in manifest.clips):
            mend = "Put {prompt} or {index} in the pattern."
            raise InputError(place, "every prompt of a clip would have the same file.", mend)
        only = replace(manifest, methods=(method,))
        files = [manifest.made_elsewhere(item) for item in only.items({clip.name: "" for clip in manifest.clips})]
        if not any(file.is_file() for file in files):
            raise InputError(place, f"none of the videos is there, not even {files[0]}.", "Mend the pattern.")
