"""The results folder of a benchmark: what is finished stays finished, and nothing in it is ever half there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from ..atomic import replacing
from .failure import BenchmarkError
from .items import Item
from .work import Outcome

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Where `replacing` may have been writing when its process was killed, and its names. Nowhere else is anything removed.
_FOLDERS = ("", "clips", "items", "failed", "scores", "scores/references")
_LEFTOVERS = ".*." + 8 * "[0-9a-f]" + ".tmp"


class Results:
    """A results folder, open for writing by this process alone, as a context.

    Opening makes the folder, locks it and removes what a killed run left half written. Every method that writes
    raises :class:`BenchmarkError` where the folder cannot take it (a full disk), having changed nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: TextIO | None = None

    def __enter__(self) -> Results:
        with self.explaining():
            self.folder.mkdir(parents=True, exist_ok=True)
            # Not removed on leaving: another run may be waiting at the same file by then.
            self._lock = (self.folder / ".lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise BenchmarkError(f"Another run is writing into {self.folder}; wait for it or stop it first.") from None
        for name in _FOLDERS:
            for file in (self.folder / name).glob(_LEFTOVERS):
                file.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Write ``benchmark.json``: what the folder's results are of. Items that it no longer lists stay as files."""
        self.write_json("benchmark.json", {"format": 1, **facts})

    def finished(self, id: str) -> Mapping[str, Any] | None:
        """The record of a finished item; None where there is none, or its video is gone or has another size."""
        record = read_json(self.folder / "items" / f"{id}.json")
        with contextlib.suppress(OSError, KeyError, TypeError):
            if (self.folder / record["file"]).stat().st_size == record["bytes"]:
                return record
        return None

    def record(self, item: Item, outcome: Outcome, attempts: int) -> None:
        """Keep what became of ``item``: the video and then its record, or why there is none."""
        facts = {
            "id": outcome.id,
            "method": item.method.name,
            "clip": item.clip.name,
            "group": item.clip.group,
            "prompt": item.prompt,
            "seed": item.seed,
            "seconds": round(outcome.seconds, 3),
            "worker": outcome.worker,
            "attempts": attempts,
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        if outcome.error:
            self.write_json(f"failed/{outcome.id}.json", {**facts, "error": outcome.error})
            return
        file = f"items/{outcome.id}{outcome.suffix}"
        self._write(file, outcome.video)
        digest = hashlib.sha256(outcome.video).hexdigest()
        made = {"sha256": digest, "file": file, "bytes": len(outcome.video)}
        self.write_json(f"items/{outcome.id}.json", {**facts, **made})
        (self.folder / "failed" / f"{outcome.id}.json").unlink(missing_ok=True)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self._write(name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    @contextlib.contextmanager
    def explaining(self, size: int = 0) -> Iterator[None]:
        """While ``size`` bytes (0: not known) are written: a refusal of the file system becomes what stops the run."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                amount = f"{size} bytes" if size else "more"
                cause = f"There is no room for {amount} in {self.folder} ({error.strerror}). Make room"
            else:
                cause = f"{self.folder} cannot be written: {error.strerror} ({error.filename}). Mend that"
            raise BenchmarkError(f"{cause} and run the same again: what is finished is kept.") from error

    def _write(self, name: str, content: bytes) -> None:
        with (
            self.explaining(len(content)),
            replacing(self.folder / name) as unfinished,
            unfinished.open("wb") as file,
        ):
            file.write(content)
            # A result took minutes to make: it shall outlast a power cut too, for which a rename without this could
            # leave an empty file. (A lost rename is harmless: the item is made again.)
            file.flush()
            os.fsync(file.fileno())


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where there is no such file or it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
