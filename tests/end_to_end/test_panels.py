"""What our nodes show in the real editor, where it meets the editor's own: running again, saving, undo, dropping."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from demo.host import Server
from tests.browser import complaints_of_ours, open_editor
from tests.motion_embedding.video_media import make_clip

pytestmark = pytest.mark.browser

CLIP_SHOWN = ["ME_LoadVideoFrames", "PreviewImage"]
MOTION_SAVED = ["ME_LoadMotionEmbedding", "ME_SaveMotionEmbedding"]
MOTION_TRAINED = ["ME_LoadMotionEmbedding", "ME_TrainMotionEmbedding"]
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
  first.connectByType(0, second, first.outputs[0].type)
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
  let [heights, same] = ['', 0]
  const look = () => {
    const now = String(app.graph.nodes.map(({ size }) => size[1]))
    same = now === heights ? same + 1 : 0
    heights = now
    if (same < 20) requestAnimationFrame(look)
    else resolve()
  }
  look()
})
"""
# The host has brought a node to the front that was clicked on.
FRAMES = "app.graph.findNodesByType('ME_LoadVideoFrames')[0]?.widgets.find((one) => one.name === 'frames').value"
CHECK_STATE = "() => app.extensionManager.workflow.activeWorkflow.changeTracker.checkState()"
TRAINING = {"run": "r", "steps": 9, "losses": [0.5, 0.25], "each": 1, "loss": 0.25, "seconds": 4, "left": 14}
DROP = """
({ selector, x, y, name, content }) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))
  const dataTransfer = new DataTransfer()
  dataTransfer.items.add(new File([bytes], name))
  const target = selector ? document.querySelector(selector) : document.elementFromPoint(x, y)
  for (const type of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true, clientX: x, clientY: y }))
  }
}
"""
# Reports that come faster than the pictures play, each with the same pictures; notes which of them are drawn.
REPORT_OFTEN = """
(report) => {
  const strip = document.createElement('canvas')
  Object.assign(strip, { width: 4 * 8, height: 2 * 8 })
  const [, jpeg] = strip.toDataURL('image/jpeg').split(',')
  window.drawn = []
  const draw = CanvasRenderingContext2D.prototype.drawImage
  CanvasRenderingContext2D.prototype.drawImage = function (image, left, ...rest) {
    if (this.canvas.matches('.me-training-clips')) drawn.push(left)
    return draw.call(this, image, left, ...rest)
  }
  const reporting = setInterval(() => {
    app.api.dispatchCustomEvent('motion_embeddings.training', { ...report, strip: { jpeg, frames: 4, rate: 10 } })
  }, 20)
  window.stop = () => {
    clearInterval(reporting)
    CanvasRenderingContext2D.prototype.drawImage = draw
  }
}
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


def hold_end(page: Page, to: float) -> None:
    """Take the end of the clip's chosen part to the share ``to`` of the strip, and do not let go."""
    strip, end = (page.locator(name).bounding_box() for name in (".me-strip", ".me-strip-end"))
    middle = strip["y"] + strip["height"] / 2
    page.mouse.move(end["x"] + end["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(strip["x"] + strip["width"] * to, middle, steps=4)


def show_clip(page: Page) -> None:
    """A node whose clip of 60 frames is there to be trimmed, 8 of them chosen, and the state that undo leads to."""
    page.evaluate(BUILD, [CLIP_SHOWN, {"file": CLIP}])
    expect(page.locator(".me-clip-plan")).to_contain_text("8 frames")
    expect(page.locator(".me-strip-end")).to_be_visible()
    page.evaluate(MEASURED)
    page.evaluate(CHECK_STATE)


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


def test_undo_goes_on_after_an_undo_in_the_midst_of_a_drag(page: Page) -> None:
    """The strip that is held goes away with its node."""
    show_clip(page)
    hold_end(page, 2 / 3)
    page.mouse.up()
    page.wait_for_function(f"() => {FRAMES} > 35")
    hold_end(page, 1 / 3)
    page.wait_for_function(f"() => {FRAMES} < 25")
    page.keyboard.down("Control")
    page.keyboard.down(
        "z"
    )  # and held: the host takes a key in the frame after, and looks what has changed when it is let go
    page.wait_for_function(f"() => {FRAMES} === 8")
    page.keyboard.up("z")
    page.keyboard.up("Control")
    expect(page.locator(".me-strip-end")).to_be_visible()
    page.evaluate(MEASURED)
    page.mouse.up()
    assert page.evaluate(FRAMES) == 8
    hold_end(page, 1 / 2)
    page.mouse.up()
    page.wait_for_function(f"() => {FRAMES} > 25")
    page.keyboard.press("Control+z")
    page.wait_for_function(f"() => {FRAMES} === 8")


def test_undo_goes_on_after_the_node_is_deleted_in_the_midst_of_a_drag(page: Page) -> None:
    show_clip(page)
    page.evaluate("() => app.canvas.selectNode(app.graph.nodes[0])")
    hold_end(page, 2 / 3)
    page.wait_for_function(f"() => {FRAMES} > 35")
    page.keyboard.press("Delete")
    page.wait_for_function("() => app.graph.nodes.length === 1")
    page.mouse.up()
    page.keyboard.press("Control+z")
    page.wait_for_function("() => app.graph.nodes.length === 2")


def test_what_is_shown_after_an_undo_is_of_the_nodes_that_are_there(page: Page) -> None:
    """An undo makes them anew; the new renderer takes them for those that it has drawn."""
    gone = page.locator(".me-motion-kind")
    page.evaluate(BUILD, [MOTION_TRAINED, {"motion_embedding": "one.safetensors"}])
    page.evaluate(MEASURED)
    train, workflow = page.evaluate("() => [String(app.graph.nodes[1].id), app.graph.id]")
    page.evaluate(CHECK_STATE)
    page.evaluate(CHANGE, ["motion_embedding", "another.safetensors"])
    page.evaluate(CHECK_STATE)
    expect(gone).to_contain_text("another.safetensors is gone")
    page.evaluate(TELL, ["motion_embeddings.training", {**TRAINING, "node": train, "workflow": workflow, "step": 2}])
    expect(page.locator(".me-training")).to_contain_text("Step 2 of 9")
    page.mouse.click(1000, 800)
    page.keyboard.press("Control+z")
    expect(gone).to_contain_text("one.safetensors is gone")
    page.evaluate(CHANGE, ["motion_embedding", "third.safetensors"])
    expect(gone).to_contain_text("third.safetensors is gone")
    page.evaluate(TELL, ["motion_embeddings.training", {**TRAINING, "node": train, "workflow": workflow, "step": 3}])
    expect(page.locator(".me-training")).to_contain_text("Step 3 of 9")


def test_the_clips_of_a_training_play_however_often_it_reports(page: Page) -> None:
    page.evaluate(BUILD, [MOTION_TRAINED, {}])
    page.evaluate(MEASURED)
    train, workflow = page.evaluate("() => [String(app.graph.nodes[1].id), app.graph.id]")
    page.evaluate(REPORT_OFTEN, {**TRAINING, "node": train, "workflow": workflow, "step": 2})
    page.wait_for_function("() => new Set(drawn).size === 4")
    page.emulate_media(reduced_motion="reduce")
    page.evaluate("() => { drawn.length = 0 }")
    page.wait_for_function("() => drawn.length > 100")  # as every report draws them
    assert page.evaluate("new Set(drawn).size") == 1
    page.emulate_media(reduced_motion="no-preference")
    page.evaluate("() => stop()")


def test_a_clip_that_nobody_sees_stops(page: Page) -> None:
    show_clip(page)
    page.get_by_role("button", name="Play the chosen part").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.evaluate("() => { app.canvas.ds.offset = [-5000, 0]; app.canvas.setDirty(true, true) }")
    video = "app.graph.findNodesByType('ME_LoadVideoFrames')[0].widgets.at(-1).element.querySelector('video')"
    page.wait_for_function(f"() => {video}.paused")


def test_what_is_dropped_on_a_panel_is_taken_once(
    page: Page, editor: tuple[Page, list[str], str], tmp_path: Path
) -> None:
    """And the new renderer's ring around the node, which says that it may be dropped there, goes."""
    show_clip(page)
    content = base64.b64encode(make_clip(tmp_path / "dropped.mp4", 20).read_bytes()).decode()
    name = f"dropped on {editor[2]}.mp4"
    uploads: list[str] = []
    page.on("request", lambda request: uploads.append(request.url) if "/upload/" in request.url else None)
    page.evaluate(DROP, {"selector": ".me-clip", "name": name, "content": content})
    expect(page.locator(".me-clip-file")).to_contain_text("20 frames")
    expect(page.locator("[data-node-id].ring-4")).to_have_count(0)
    assert len(uploads) == 1
