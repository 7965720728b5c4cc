"""Reading a file that people write: YAML or JSON, and typed values out of it, with errors that say where."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError

_REQUIRED: Any = object()
_SHOWN = 12
_KINDS = {dict: "a mapping", list: "a list", type(None): "nothing"}


def read_document(path: Path) -> Any:
    """The content of a YAML or JSON file. Raises :class:`InputError` that names the line of what is broken."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError("manifest", f"there is no file {path}.", "Give the path of a YAML or JSON file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("manifest", f"{path} cannot be read: {error}.", "Save it as UTF-8 text.") from error
    try:
        return _json(content) if path.suffix.lower() == ".json" else _yaml(content)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        mend = "Mend that line; mind commas and quotes."
        raise InputError("manifest", f"{path.name}, {where}.", mend) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        mend = "Mend that line; mind colons, quotes and indentation."
        raise InputError("manifest", f"{path.name}, {where}{error.problem}.", mend) from error
    except yaml.YAMLError as error:
        raise InputError("manifest", f"{path.name} is not YAML: {error}.", "Save it as UTF-8 text.") from error


def _json(content: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for index, (key, _) in enumerate(pairs):
            if any(key == earlier for earlier, _ in pairs[:index]):
                raise InputError(key, "this key is here twice.", "Remove one of them.")
        return dict(pairs)

    return json.loads(content, object_pairs_hook=unique)


def _yaml(content: str) -> Any:
    loader = yaml.SafeLoader(content)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _forbid_repeated_keys(root, set())
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _forbid_repeated_keys(node: yaml.Node, visited: set[int]) -> None:
    """YAML's own reader would quietly keep the last of two equal keys."""
    if id(node) in visited or isinstance(node, yaml.ScalarNode):
        return
    visited.add(id(node))
    keys: set[str] = set()
    for child in node.value:
        parts = child if isinstance(node, yaml.MappingNode) else (child,)
        if isinstance(node, yaml.MappingNode) and isinstance(parts[0], yaml.ScalarNode):
            if parts[0].value in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"{parts[0].value!r} is here for the second time", problem_mark=parts[0].start_mark
                )
            keys.add(parts[0].value)
        for part in parts:
            _forbid_repeated_keys(part, visited)


class Section:
    """A mapping of the file, at ``path`` (dotted). Every mistake in it is an :class:`InputError` under that path.

    With ``known``, no other keys are taken.
    """

    def __init__(self, path: str, values: Any, known: Iterable[str] | None = None) -> None:
        self.path = path
        if not isinstance(values, Mapping):
            raise InputError(
                path or "manifest", f"it is {kind(values)}, not a mapping.", "Write it as lines of `key: value`."
            )
        self.values = values
        choices = None if known is None else list(known)
        for key in values:
            if not isinstance(key, str):
                raise InputError(self.at(key), f"the key is {kind(key)}, not text.", "Put it in quotes.")
            if choices is not None and key not in choices:
                raise InputError(self.at(key), "this is not known here.", suggestion(key, choices))

    def at(self, key: object) -> str:
        """The dotted path of a key."""
        return f"{self.path}.{key}" if self.path else str(key)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def raw(self, key: str, default: Any = _REQUIRED) -> Any:
        """The value as it is; ``default`` where there is none."""
        if key in self.values:
            return self.values[key]
        if default is _REQUIRED:
            raise InputError(self.at(key), "it is missing.", f"Add `{key}:` to {self.path or 'the manifest'}.")
        return default

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """Text that is not blank."""
        return text(self.at(key), self.raw(key, default))

    def texts(self, key: str) -> tuple[str, ...]:
        """One text, or a list of different ones."""
        return texts(self.at(key), self.raw(key))

    def number(self, key: str, default: Any = _REQUIRED, whole: bool = False) -> float:
        """A finite number; an ``int`` where ``whole``."""
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
            wanted = "a whole number" if whole else "a number"
            raise InputError(self.at(key), f"it is {kind(value)}, not {wanted}.", f"Write {wanted}.")
        return value if whole else float(value)

    def section(self, key: str, known: Iterable[str] | None = None, default: Any = _REQUIRED) -> Section:
        """A mapping inside this one."""
        return Section(self.at(key), self.raw(key, default), known)


def text(path: str, value: Any) -> str:
    """``value`` as text that is not blank."""
    if not isinstance(value, str):
        raise InputError(path, f"it is {kind(value)}, not text.", "Write text; quotes make text of anything.")
    if not value.strip():
        raise InputError(path, "it is empty.", "Write some text, or leave the key away.")
    return value


def texts(path: str, value: Any) -> tuple[str, ...]:
    """``value`` as texts: a list that is not empty, or one text alone; none of them twice."""
    if isinstance(value, str):
        return (text(path, value),)
    if not isinstance(value, list):
        raise InputError(path, f"it is {kind(value)}, not a list of texts.", "Write a line `- text` for each.")
    if not value:
        raise InputError(path, "the list is empty.", "Give at least one entry, or leave the key away.")
    found = tuple(text(f"{path}[{index}]", each) for index, each in enumerate(value))
    for index, each in enumerate(found):
        if each in found[:index]:
            raise InputError(f"{path}[{index}]", f"{each!r} is in the list twice.", "Remove one of them.")
    return found


def kind(value: Any) -> str:
    """What a value is, in words."""
    return _KINDS.get(type(value)) or (json.dumps(value) if isinstance(value, bool | str) else repr(value))


def suggestion(word: str, known: Iterable[str]) -> str:
    """A mend for an unknown word: the one that was probably meant, or all there are."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    more = len(choices) - _SHOWN
    return f"Choose from {', '.join(choices[:_SHOWN])}{f' and {more} more' if more > 0 else ''}."


def located(name: str, folder: Path) -> Path:
    """A path that the file names: relative to its ``folder``, ``~`` expanded."""
    return folder / Path(name).expanduser()


def existing_file(path: str, name: str, folder: Path) -> Path:
    """A file that must be there."""
    found = located(name, folder)
    if not found.is_file():
        raise InputError(path, f"there is no file {found}.", "Put it there, or change the path in the manifest.")
    return found


def existing_folder(path: str, name: str, folder: Path) -> Path:
    """A folder that must be there."""
    found = located(name, folder)
    if not found.is_dir():
        raise InputError(path, f"there is no folder {found}.", "Put it there, or change the path in the manifest.")
    return found
