"""Under which name a result is kept: one that changes with whatever the result depends on.

A result that is found under its name is not made again, so a name that leaves something out (a default of the recipe,
the weights of the model) would show figures of yesterday's code as today's. The code itself is not part of it: delete
the folder of a benchmark in ``.cache`` after a change to the method.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np


def digest(*what: Any) -> str:
    """Twelve hex digits of it: of what JSON can hold, mappings, dataclasses and arrays; a path counts as its contents.

    A dataclass counts by the values of all its fields, its defaults among them.
    """
    return _hash(json.dumps([_plain(value) for value in what], sort_keys=True).encode())


def slug(text: str) -> str:
    """``text`` as part of a file's name."""
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in text)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__, **{k: _plain(v) for k, v in asdict(value).items()}}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), _hash(np.ascontiguousarray(value).tobytes())]
    if isinstance(value, Path):
        return contents(value)
    return value  # json refuses what it does not know, rather than take an address for a value


@cache
def contents(path: Path) -> str:
    """Of a file, or of all files in a folder but logs and pictures of how its weights were made."""
    if path.is_file():
        return _hash(path.read_bytes())
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix not in (".csv", ".png", ".md"))
    if not files:
        raise FileNotFoundError(f"nothing in {path}")
    return _hash("".join(f"{p.relative_to(path)} {contents(p)}\n" for p in files).encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
