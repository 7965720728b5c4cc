"""What our nodes show in the real editor, where it meets the editor's own: running again, saving, undo, dropping."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from demo.host import Server
from tests.browser import complaints_of_ours, open_editor
from tests.motion_embedding.video_media import make_clip

pytestmark = pytest.mark.browser

CLIP_SHOWN = ["ME_LoadVideoFrames", "PreviewImage"]
MOTION_SAVED = ["ME_LoadMotionEmbedding", "ME_SaveMotionEmbedding"]
CLIP = "three seconds.mp4"
BUILD = """
async ([types, values]) => {
  app.graph.clear()
  await new Promise(requestAnimationFrame)  // a node added at once would take over what the last one left in the page
  const [first, second] = types.map((type, index) => {
    const node = LiteGraph.createNode(type)
    node.pos = [80 + 420 * index, 130]
    app.graph.add(node)
    return node
  })
  for (const widget of first.widgets) if (widget.name in values) widget.value = values[widget.name]
  first.connect(0, second, 0)
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [0, 0]
  app.graph.setDirtyCanvas(true, true)
}
"""

CHANGE = """
([name, value]) => {
  const widget = app.graph.nodes[0].widgets.find((one) => one.name === name)
  widget.value = value
  widget.callback?.(value)
}
"""
HEIGHT = "() => Math.round(app.graph.nodes[0].size[1])"
SAVED_HEIGHT = "() => Math.round(app.graph.serialize().nodes.find(({ id }) => id === app.graph.nodes[0].id).size[1])"
# As another pack does, after ours.
WRAP = """
() => {
  const [node] = app.graph.nodes
  const { onSerialize } = node
  node.onSerialize = function (saved) {
    onSerialize?.call(this, saved)
    saved.properties.another_pack = true
  }
}
"""
# The new renderer makes a node as high as it finds that it needs, some frames after the node is there.
MEASURED = """
() => new Promise((resolve) => {
  let [height, same] = [0, 0]
  const look = () => {
    const [{ size }] = app.graph.nodes
    same = size[1] === height ? same + 1 : 0
    height = size[1]
    if (same < 20) requestAnimationFrame(look)
    else resolve()
  }
  look()
})
"""
TELL = "([kind, detail]) => { app.api.dispatchCustomEvent(kind, detail) }"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def editor(request: pytest.FixtureRequest, server: Server) -> Iterator[tuple[Page, list[str], str]]:
    """The front end with the renderer named, what it complains about, and that name."""
    make_clip(server.base / "input" / CLIP, 60, rate=20)
    with open_editor(server.address, 1200, 900, request.param, patience=30_000) as (page, complaints):
        yield page, complaints, request.param


@pytest.fixture
def page(editor: tuple[Page, list[str], str]) -> Iterator[Page]:
    """Afterwards nothing of ours may have complained."""
    page, complaints, _ = editor
    yield page
    assert complaints_of_ours(page, complaints) == []


def queue(page: Page) -> None:
    page.evaluate("() => app.queuePrompt(0)")


def close_dialog(page: Page) -> None:
    """The host's own, which shows the traceback too."""
    dialog = page.locator(".p-dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_failure_is_gone_once_the_node_runs_again(page: Page) -> None:
    """Its inputs are what they were: what was amiss was elsewhere, in its file or in memory."""
    page.evaluate(BUILD, [CLIP_SHOWN, {"file": CLIP, "start": 5}])
    queue(page)
    close_dialog(page)
    expect(page.locator(".me-error")).to_contain_text("5 s is at or after the end of the clip")
    page.evaluate(TELL, ["promptQueued", {"number": 0, "batchCount": 1}])
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")  # it waits in the queue, told as before
    expect(page.locator(".me-error")).to_have_count(1)
    page.evaluate(TELL, ["executing", page.evaluate("() => String(app.graph.nodes[0].id)")])
    expect(page.locator(".me-error")).to_have_count(0)


def test_the_room_of_every_message_is_left_out_of_files(page: Page) -> None:
    """Not only of the first one, and what others do when the node is saved is still done."""
    page.evaluate(BUILD, [MOTION_SAVED, {"motion_embedding": "absent.safetensors"}])
    page.evaluate(MEASURED)
    height = page.evaluate(HEIGHT)
    for time in (1, 2):
        queue(page)
        close_dialog(page)
        expect(page.locator(".me-error")).to_be_visible()
        page.wait_for_function(f"() => ({HEIGHT})() > {height}")
        assert page.evaluate(SAVED_HEIGHT) == height, f"message {time}"
        if time == 1:
            page.evaluate(WRAP)
        page.evaluate(CHANGE, ["motion_embedding", f"absent {time}.safetensors"])
        expect(page.locator(".me-error")).to_have_count(0)
        page.wait_for_function(f"() => ({HEIGHT})() === {height}")
        assert page.evaluate(SAVED_HEIGHT) == height
    assert page.evaluate("() => app.graph.nodes[0].serialize().properties.another_pack")
