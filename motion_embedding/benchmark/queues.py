"""Taking what is in a queue."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def drain(waiting: queue.SimpleQueue[T], patience: float) -> Iterator[T]:
    """Everything that is queued, after waiting up to ``patience`` seconds for the first."""
    with contextlib.suppress(queue.Empty):
        yield waiting.get(timeout=patience)
        while True:
            yield waiting.get_nowait()
