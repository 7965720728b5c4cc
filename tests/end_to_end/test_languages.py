"""Our nodes in the languages of the real editor: names, tooltips and panels, at the start and after a change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from demo.host import Server
from tests import locales
from tests.browser import complaints_of_ours, open_editor
from tests.end_to_end.test_editor import SCREENSHOTS

pytestmark = pytest.mark.browser

NODES = ("ME_LoadVideoFrames", "ME_TrainMotionEmbedding", "ME_ApplyMotionEmbedding")
SHOWN = """
async (types) => {
  app.graph.clear()
  await new Promise(requestAnimationFrame)
  const shown = {}
  let left = 80
  for (const type of types) {
    const node = LiteGraph.createNode(type)
    node.pos = [left, 130]
    app.graph.add(node)
    left += node.size[0] + 30
    const named = [...node.inputs, ...node.widgets]
    shown[type] = {
      display_name: node.title,
      category: node.constructor.category,
      inputs: Object.fromEntries(named.map((one) => [one.name, one.localized_name ?? one.label])),
      outputs: node.outputs.map((output) => output.localized_name),
    }
  }
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [0, 0]
  app.graph.setDirtyCanvas(true, true)
  return shown
}
"""
NAMED = "(name) => window.LiteGraph?.registered_node_types.ME_ApplyMotionEmbedding?.title === name && window.app?.graph"
SPEAK = "(language) => app.extensionManager.setting.set('Comfy.Locale', language)"
TITLE = """
() => {
  const [left, top] = app.graph.nodes[1].pos
  const area = app.canvas.canvas.getBoundingClientRect()
  return [area.left + left + 60, area.top + top - 12]
}
"""


@pytest.fixture(params=["canvas", "vue"])
def page(request: pytest.FixtureRequest, server: Server) -> Iterator[Page]:
    """The editor, its nodes drawn by the renderer named."""
    with open_editor(server.address, 1500, 900, request.param, patience=20_000) as (page, complaints):
        yield page
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"languages_{request.param}.png")
        assert complaints_of_ours(page, complaints) == []
        page.request.post(f"{server.address}/settings/Comfy.Locale", data='"en"')


def expected(language: str) -> dict[str, Any]:
    """What the editor is to show of the nodes."""
    texts = locales.read(language)
    (category,) = texts["main"]["nodeCategories"].values()
    shown = {}
    for name in NODES:
        node = texts["nodeDefs"][name]
        inputs = {one: words["name"] for one, words in node["inputs"].items()}
        outputs = [words["name"] for words in node["outputs"].values()]
        shown[name] = {"display_name": node["display_name"], "category": category, "inputs": inputs, "outputs": outputs}
    return shown


def test_nodes_speak_the_language_of_the_editor(page: Page) -> None:
    for language in ("zh", "de", "fr"):
        texts, words = expected(language), locales.read(language)
        # The host makes its nodes anew when the language is changed in the settings.
        page.evaluate(SPEAK, language)
        if language == "fr":
            page.reload()
        page.wait_for_function(NAMED, arg=texts[NODES[2]]["display_name"], timeout=180_000)
        shown = page.evaluate(SHOWN, NODES)
        for name, node in shown.items():
            # Widgets that the editor or our modules add have no place in the schema.
            node["inputs"] = {one: label for one, label in node["inputs"].items() if one in texts[name]["inputs"]}
        assert shown == texts
        first = words["main"]["motionEmbeddings"]["strip.start"]
        expect(page.locator(f'[aria-label="{first}"]')).to_be_attached()
        page.mouse.move(*page.evaluate(TITLE), steps=3)
        expect(page.get_by_text(words["nodeDefs"][NODES[1]]["description"])).to_be_visible()
        page.mouse.move(5, 890)
