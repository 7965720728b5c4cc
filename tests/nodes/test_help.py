"""Every node explains itself: a description, a tooltip on every input, and a help page that matches its schema."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.host

LONGEST_PAGE = 60
LARGEST_PICTURE = 60_000


@pytest.fixture(scope="module")
def schemas(pack: ModuleType) -> list[Any]:
    nodes = importlib.import_module(f"{pack.__name__}.nodes").all_nodes()
    assert nodes
    return [node.define_schema() for node in nodes]


@pytest.fixture(scope="module")
def docs(pack: ModuleType) -> Path:
    """The folder in which the editor looks for ``<node id>.md``."""
    return Path(pack.__file__).parent / pack.WEB_DIRECTORY / "docs"


def rows(page: str, section: str) -> list[str]:
    """The names in the first column of the section's first table."""
    text = page.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    table = text.strip().split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE)


def test_every_node_has_a_description(schemas: list[Any]) -> None:
    assert [s.node_id for s in schemas if not (s.description or "").strip()] == []


def test_every_input_has_a_tooltip(schemas: list[Any]) -> None:
    bare = [f"{s.node_id}.{i.id}" for s in schemas for i in s.inputs if not (i.tooltip or "").strip()]
    assert bare == []


def test_every_help_page_belongs_to_a_node_and_every_node_has_one(schemas: list[Any], docs: Path) -> None:
    assert sorted(page.stem for page in docs.glob("*.md")) == sorted(s.node_id for s in schemas)


def test_pages_list_the_inputs_in_the_order_of_the_node(schemas: list[Any], docs: Path) -> None:
    listed = {s.node_id: rows((docs / f"{s.node_id}.md").read_text("utf-8"), "Inputs") for s in schemas}
    assert listed == {s.node_id: [i.id for i in s.inputs] for s in schemas}


def test_pages_list_the_outputs_as_the_editor_names_them(schemas: list[Any], docs: Path) -> None:
    listed = {s.node_id: rows((docs / f"{s.node_id}.md").read_text("utf-8"), "Outputs") for s in schemas}
    assert listed == {s.node_id: [o.display_name or o.io_type for o in s.outputs] for s in schemas}


def test_pages_are_short_and_say_what_goes_wrong(schemas: list[Any], docs: Path) -> None:
    for schema in schemas:
        page = (docs / f"{schema.node_id}.md").read_text("utf-8")
        assert len(page.splitlines()) < LONGEST_PAGE, schema.node_id
        assert "\n## When to use it\n" in page and "\n## What goes wrong\n" in page, schema.node_id


def test_every_page_has_a_picture_that_is_there_and_small(docs: Path) -> None:
    for page in docs.glob("*.md"):
        (picture,) = re.findall(r"^!\[.+\]\((\w+\.png)\)$", page.read_text("utf-8"), flags=re.MULTILINE)
        assert (docs / picture).stat().st_size <= LARGEST_PICTURE, picture
