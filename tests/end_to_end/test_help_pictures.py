"""A node's help in the real editor shows the page's picture."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from demo.host import Server
from tests.browser import complaints_of_ours, open_editor
from tests.end_to_end.test_editor import SCREENSHOTS

pytestmark = pytest.mark.browser

SELECT = """
() => {
  app.graph.clear()
  const node = LiteGraph.createNode('ME_DebiasMotion')
  node.pos = [700, 400]
  app.graph.add(node)
  app.canvas.selectNode(node)
  app.canvas.setDirty(true, true)
}
"""
PICTURE = "(image) => image.complete && image.naturalWidth > 200"


def test_the_help_shows_its_picture(server: Server) -> None:
    with open_editor(server.address, 1500, 950, patience=60_000) as (page, complaints):
        page.evaluate(SELECT)
        page.get_by_test_id("info-button").click()
        picture = page.locator(".node-help-content img")
        expect(picture).to_be_visible()
        page.wait_for_function(PICTURE, arg=picture.element_handle())
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "help_page.png")
        assert complaints_of_ours(page, complaints) == []
