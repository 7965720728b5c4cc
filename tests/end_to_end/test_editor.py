"""Every workflow in the real front end: all nodes known, all links intact, and the same prompt as ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from demo.host import ROOT, Server
from motion_embedding.benchmark.workflow import load, to_prompt
from tests.browser import complaints_of_ours, open_editor

pytestmark = pytest.mark.browser

WORKFLOWS = sorted([*(ROOT / "workflows").glob("*.json"), *(ROOT / "tests" / "data" / "workflows").glob("*.json")])
SCREENSHOTS = ROOT / ".cache" / "screenshots"
WARNINGS = ".p-dialog, .p-toast-message-warn, .p-toast-message-error"
LOAD_AND_CONVERT = """
async (workflow) => {
  await app.loadGraphData(workflow)
  const known = LiteGraph.registered_node_types
  const links = [...app.graph.links.values()].map((link) => {
    const [origin, target] = [app.graph.getNodeById(link.origin_id), app.graph.getNodeById(link.target_id)]
    const [output, input] = [origin?.outputs[link.origin_slot], target?.inputs[link.target_slot]]
    return {
      ends: [link.id, link.origin_id, link.origin_slot, link.target_id, input?.name],
      fits: !!output?.links?.includes(link.id) && input?.link === link.id &&
        LiteGraph.isValidConnection(output.type, input.type),
    }
  })
  return {
    overlaps: app.graph.nodes.flatMap((node, index) => app.graph.nodes.slice(0, index).filter((other) => {
      const { pos: [x, y], size: [width, height] } = node
      const { pos: [left, top], size: [across, down] } = other
      const title = LiteGraph.NODE_TITLE_HEIGHT  // drawn above the position
      return x < left + across && left < x + width && y - title < top + down && top - title < y + height
    }).map((other) => [node.title, other.title])),
    unknown: app.graph.nodes.filter((node) => node.has_errors || !known[node.type]).map((node) => node.type),
    links,
    prompt: (await app.graphToPrompt()).output,
  }
}
"""


@pytest.fixture(scope="module")
def editor(server: Server) -> Iterator[tuple[Page, list[str]]]:
    """The front end in headless Chromium, ready to load a graph, and everything it complains about."""
    with open_editor(server.address, 1600, 900) as opened:
        yield opened


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_editor_opens_the_workflow_and_agrees_with_our_conversion(path, editor, server):
    page, complaints = editor
    workflow = load(path)
    opened = page.evaluate(LOAD_AND_CONVERT, workflow)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(500)  # the view is fitted to the graph in a later animation frame
    page.screenshot(path=SCREENSHOTS / f"{path.stem}.png")

    assert opened["unknown"] == []
    assert opened["overlaps"] == [] or path.parent != ROOT / "workflows"  # the test's own graph need not be tidy
    assert page.locator(WARNINGS).all_inner_texts() == []
    assert all(link["fits"] for link in opened["links"]), opened["links"]
    assert sorted(tuple(link["ends"]) for link in opened["links"]) == sorted(saved_links(workflow))
    assert complaints_of_ours(page, complaints) == []
    assert to_prompt(workflow, server.object_info()) == opened["prompt"]


def saved_links(workflow: dict[str, Any]) -> list[tuple[Any, ...]]:
    """``(link, origin, output, target, input name)`` of every link as the file has it."""
    return [
        (link, *origins[link], node["id"], slot["name"])
        for origins in [{link[0]: (link[1], link[2]) for link in workflow["links"]}]
        for node in workflow["nodes"]
        for slot in node.get("inputs", [])
        if (link := slot.get("link")) is not None
    ]
