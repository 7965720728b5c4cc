"""A row measured now takes the place of the same row, and nothing else on a page is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.tables import Table, keep, part, put

COLUMNS = ("model", "device", "ms")
PAGE = """Before.

| model | device | ms |
|---|---|---|
| a | CPU | 1 |
| b | GPU |  |

Behind.

| other | ms |
|---|---|
| a | 9 |
"""


def table(*rows: tuple[str, ...]) -> Table:
    return Table(COLUMNS, 2, rows)


def test_rows_are_merged_by_what_they_are_of(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    whole = keep(page, table(("a", "GPU", "3"), ("b", "GPU", "4")))
    assert whole.rows == (("a", "CPU", "1"), ("b", "GPU", "4"), ("a", "GPU", "3"))
    expected = PAGE.replace("| b | GPU |  |\n", "| b | GPU | 4 |\n| a | GPU | 3 |\n")
    assert page.read_text() == expected
    keep(page, table(("a", "GPU", "3")))
    assert page.read_text() == expected, "the same row is not added twice"


def test_a_page_without_the_table_gets_it_at_its_end(tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.md"
    keep(page, table(("a", "CPU", "1")))
    assert page.read_text() == table(("a", "CPU", "1")).text
    keep(page, Table(("model", "device", "GB"), 2, (("a", "CPU", "2"),)))
    assert page.read_text().startswith(table(("a", "CPU", "1")).text + "\n| model | device | GB |")


def test_a_table_ends_with_the_page_too() -> None:
    text = table(("a", "CPU", "1")).text.rstrip("\n")
    assert table().found(text).rows == (("a", "CPU", "1"),)
    assert table().found(f"x{text}").rows == (), "a line of more than the head is not the head"


def test_an_old_row_may_be_the_better_one() -> None:
    old, new = table(("a", "CPU", "8"), ("b", "CPU", "1")), table(("a", "CPU", "2"), ("b", "CPU", "2"))
    merged = new.over(old, lambda now, before: int(now[2]) >= int(before[2]))
    assert merged.rows == (("a", "CPU", "8"), ("b", "CPU", "2"))


def test_a_row_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE + "\n## part\n\n" + table().head + "| too | few |\n")
    before = page.read_text()
    with pytest.raises(ValueError, match="no row of the columns"):
        keep(page, table(("a", "CPU", "1")), "part")
    assert page.read_text() == before
    with pytest.raises(ValueError, match="no row of the columns"):
        table(("a", "CPU", "1 | 2"))


def test_a_part_of_the_page_is_replaced_and_the_others_stay() -> None:
    page = put(put(put("", "one", "1\n"), "two", "2\n"), "one", "3\n")
    assert page == "## one\n\n3\n\n## two\n\n2\n"
    assert (part(page, "one"), part(page, "two"), part(page, "on")) == ("3\n", "2\n", "")


def test_tables_of_parts_are_apart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    keep(page, table(("a", "CPU", "1")), "one")
    keep(page, table(("a", "CPU", "2")), "two")
    keep(page, table(("b", "CPU", "3")), "one")
    assert table().found(part(page.read_text(), "one")).rows == (("a", "CPU", "1"), ("b", "CPU", "3"))
    assert table().found(part(page.read_text(), "two")).rows == (("a", "CPU", "2"),)
