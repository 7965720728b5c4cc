"""Every workflow in the real front end, in both node renderers: all nodes known, all links intact, our prompt; and the
way there by its list of templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from demo.host import PACK, ROOT, Server
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
DRAWN_BY_VUE = "() => document.querySelectorAll('[data-node-id]').length === app.graph.nodes.length"
OPENED = """
(name) => app.extensionManager.workflow.activeWorkflow?.filename === name && app.graph.nodes.map(({ type }) => type)
"""
LOADED = "(image) => image.complete && image.naturalWidth > 0"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def editor(request: pytest.FixtureRequest, server: Server) -> Iterator[tuple[Page, list[str], str]]:
    """The front end with the renderer named, ready to load a graph, what it complains about, and that name."""
    with open_editor(server.address, 1600, 900, request.param, patience=30_000) as (page, complaints):
        yield page, complaints, request.param


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_editor_opens_the_workflow_and_agrees_with_our_conversion(path, editor, server):
    page, complaints, renderer = editor
    workflow = load(path)
    opened = page.evaluate(LOAD_AND_CONVERT, workflow)
    if renderer == "vue":
        page.wait_for_function(DRAWN_BY_VUE)
        assert page.locator(".node-error").all_inner_texts() == []
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(500)  # the view is fitted to the graph in a later animation frame
    page.screenshot(path=SCREENSHOTS / f"{path.stem}{'_vue' if renderer == 'vue' else ''}.png")

    assert opened["unknown"] == []
    # The new renderer makes nodes higher than the places are meant for, and the test's own graph need not be tidy.
    assert opened["overlaps"] == [] or renderer == "vue" or path.parent != ROOT / "workflows"
    assert page.locator(WARNINGS).all_inner_texts() == []
    assert all(link["fits"] for link in opened["links"]), opened["links"]
    assert sorted(tuple(link["ends"]) for link in opened["links"]) == sorted(saved_links(workflow))
    assert complaints_of_ours(page, complaints) == []
    assert to_prompt(workflow, server.object_info()) == opened["prompt"]


def test_a_template_is_found_and_opened_by_the_mouse(editor: tuple[Page, list[str], str]) -> None:
    page, complaints, _ = editor
    page.evaluate("() => app.graph.clear()")
    page.locator(".comfy-menu-button-wrapper").click()
    page.get_by_role("menuitem", name="Browse Templates").click()
    browser = page.get_by_role("dialog")
    browser.get_by_text(PACK, exact=True).click()
    cards = browser.get_by_test_id(re.compile("^template-workflow-"))
    names = [path.stem for path in WORKFLOWS if path.parent == ROOT / "workflows"]
    expect(cards).to_have_count(len(names))
    card = browser.get_by_test_id("template-workflow-first_steps")
    card.scroll_into_view_if_needed()
    picture = card.locator("img").first
    page.wait_for_function(LOADED, arg=picture.element_handle())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "templates.png")
    card.click()
    expect(browser).to_have_count(0)
    types = page.wait_for_function(OPENED, arg="first_steps").json_value()
    assert sorted(types) == sorted(node["type"] for node in load(ROOT / "workflows" / "first_steps.json")["nodes"])
    assert page.locator(WARNINGS).all_inner_texts() == []
    assert complaints_of_ours(page, complaints) == []


def saved_links(workflow: dict[str, Any]) -> list[tuple[Any, ...]]:
    """``(link, origin, output, target, input name)`` of every link as the file has it."""
    return [
        (link, *origins[link], node["id"], slot["name"])
        for origins in [{link[0]: (link[1], link[2]) for link in workflow["links"]}]
        for node in workflow["nodes"]
        for slot in node.get("inputs", [])
        if (link := slot.get("link")) is not None
    ]
