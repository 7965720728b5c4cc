"""Reading a file that people write: YAML or JSON, and typed values out of it, with errors that say where."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError

_REQUIRED: Any = object()
_KINDS = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}


class _Loader(yaml.SafeLoader):
    """SafeLoader that takes no key twice, where YAML's own would quietly keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is here twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_document(path: Path) -> Any:
    """The content of a YAML or JSON file. Raises :class:`InputError` that names the line of what is broken."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError("manifest", f"there is no file {path}.", "Give the path of a YAML or JSON file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("manifest", f"{path} cannot be read: {error}.", "Save it as UTF-8 text.") from error
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise InputError(
            "manifest", f"{path.name}, {where}: {problem}.", "Mend that line; mind colons, quotes and indentation."
        ) from error


class Section:
    """A mapping of the file, at ``path`` (dotted). Every mistake in it is an :class:`InputError` under that path."""

    def __init__(self, path: str, values: Any, known: Iterable[str] | None = None) -> None:
        self.path = path
        if not isinstance(values, Mapping):
            label = path or "manifest"
            raise InputError(label, f"it is {kind(values)}, not a mapping.", "Write it as lines of `key: value`.")
        self.values = values
        for key in values:
            if not isinstance(key, str):
                raise InputError(self.at(key), f"the key is {kind(key)}, not text.", f'Put it in quotes: "{key}".')
        if known is not None:
            self._check(list(known))

    def _check(self, known: list[str]) -> None:
        for key in self.values:
            if key not in known:
                raise InputError(self.at(key), "this is not known here.", suggestion(key, known))

    def at(self, key: object) -> str:
        """The dotted path of a key."""
        return f"{self.path}.{key}" if self.path else str(key)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def raw(self, key: str, default: Any = _REQUIRED) -> Any:
        if key in self.values:
            return self.values[key]
        if default is _REQUIRED:
            raise InputError(self.at(key), "it is missing.", f"Add `{key}:` to {self.path or 'the manifest'}.")
        return default

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """Text that is not blank."""
        return default if key not in self and default is not _REQUIRED else text(self.at(key), self.raw(key))

    def number(self, key: str, default: Any = _REQUIRED, whole: bool = False) -> float:
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
            wanted = "a whole number" if whole else "a number"
            raise InputError(self.at(key), f"it is {kind(value)}, not {wanted}.", f"Write {wanted}.")
        return value if whole else float(value)

    def section(self, key: str, known: Iterable[str] | None = None, default: Any = _REQUIRED) -> Section:
        return Section(self.at(key), self.raw(key, default), known)

    def texts(self, key: str) -> tuple[str, ...]:
        return texts(self.at(key), self.raw(key))


def text(path: str, value: Any) -> str:
    """``value`` as text that is not blank."""
    if not isinstance(value, str):
        raise InputError(path, f"it is {kind(value)}, not text.", "Write text; put numbers and yes/no in quotes.")
    if not value.strip():
        raise InputError(path, "it is empty.", "Write some text, or leave the key away.")
    return value


def texts(path: str, value: Any) -> tuple[str, ...]:
    """``value`` as texts: a list that is not empty, or one text alone; none of them twice."""
    if isinstance(value, str):
        return (text(path, value),)
    if not isinstance(value, list):
        raise InputError(
            path, f"it is {kind(value)}, not a list of texts.", "Write one text per line, each after `- `."
        )
    if not value:
        raise InputError(path, "the list is empty.", "Give at least one entry, or leave the key away.")
    found = tuple(text(f"{path}[{index}]", each) for index, each in enumerate(value))
    for index, each in enumerate(found):
        if each in found[:index]:
            raise InputError(f"{path}[{index}]", f"{each!r} is in the list twice.", "Remove one of them.")
    return found


def kind(value: Any) -> str:
    """What a value is, in words."""
    name = _KINDS.get(type(value))
    return (
        name if name and not isinstance(value, str | bool) else f"{value!r}" if name is None else f"{name} ({value!r})"
    )


def suggestion(word: str, known: Iterable[str]) -> str:
    """A mend for an unknown word: the one that was probably meant, or all there are."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Choose from {', '.join(choices)}."
