"""Tables that grow: what is measured now takes the place of the same row measured before, and every other row stays.

A page holds what many machines and many partial runs gave, so none may be written from one of them alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from motion_embedding.atomic import replacing

Cells = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text. The first ``keys`` columns say what a row is of: two rows that agree there are one."""

    columns: Cells
    keys: int
    rows: tuple[Cells, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns) or any("|" in cell or "\n" in cell for cell in row):
                raise ValueError(f"no row of the columns {self.columns}: {row}")

    @property
    def head(self) -> str:
        return f"{_line(self.columns)}\n|{'---|' * len(self.columns)}\n"

    @property
    def text(self) -> str:
        return self.head + "".join(f"{_line(row)}\n" for row in self.rows)

    def with_rows(self, rows: Iterable[Sequence[str]]) -> Table:
        return replace(self, rows=tuple(map(tuple, rows)))

    def found(self, page: str) -> Table:
        """The rows that ``page`` has under this head; none where it has no such table."""
        _, lines, _ = self._split(page)
        return self.with_rows([[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines.splitlines()])

    def over(self, older: Table, replaces: Callable[[Cells, Cells], bool] = lambda new, old: True) -> Table:
        """Both, in the older one's order. replaces: whether a new row takes the place of an old one of the same key."""
        rows = {row[: self.keys]: row for row in older.rows}
        for row in self.rows:
            old = rows.get(row[: self.keys])
            if old is None or replaces(row, old):
                rows[row[: self.keys]] = row
        return self.with_rows(rows.values())

    def into(self, page: str) -> str:
        """``page`` with this in the place of its table with the same head, or at its end."""
        before, _, after = self._split(page)
        if before is None:
            return f"{page.rstrip()}\n\n{self.text}".lstrip()
        return before + self.text + after

    def _split(self, page: str) -> tuple[str | None, str, str]:
        """What of ``page`` is before the table, its rows, and what is after it; None first if it is not there."""
        if (begin := f"\n{page}".find(f"\n{self.head}")) < 0:
            return None, "", ""
        rest = page[begin + len(self.head) :]
        rows = re.match(r"(?:\|.*(?:\n|\Z))*", rest)[0]
        return page[:begin], rows, rest[len(rows) :]


def keep(path: Path, table: Table, name: str = "") -> Table:
    """Add ``table`` to the page at ``path``, to its part ``name`` if there is one; returns all rows now there."""
    page = read(path)
    within = part(page, name) if name else page
    whole = table.over(table.found(within))
    text = whole.into(within)
    write(path, put(page, name, text) if name else text)
    return whole


def part(page: str, name: str) -> str:
    """What stands in ``page`` under ``## name``; nothing if it has no such part."""
    found = re.search(rf"^## {re.escape(name)}\n\n?(.*?)(?=\n## |\Z)", page, flags=re.S | re.M)
    return found[1] if found else ""


def put(page: str, name: str, text: str) -> str:
    """``page`` with its part ``name`` set to ``text``; every other part stays."""
    new = f"## {name}\n\n{text}"
    found = re.search(rf"^## {re.escape(name)}\n.*?(?=\n## |\Z)", page, flags=re.S | re.M)
    return page[: found.start()] + new + page[found.end() :] if found else f"{page}\n{new}".lstrip()


def read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def write(path: Path, text: str) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
