"""What our nodes show in the real editor, where it meets the editor's own: running again, saving, undo, dropping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from demo.host import Server
from motion_embedding import files
from tests.browser import close_dialog, complaints_of_ours, open_editor, queue
from tests.end_to_end.test_motion_browser import content, motion
from tests.motion_embedding.video_media import make_clip

pytestmark = pytest.mark.browser

CLIP_SHOWN = ["ME_LoadVideoFrames", "PreviewImage"]
MOTION_SAVED = ["ME_LoadMotionEmbedding", "ME_SaveMotionEmbedding"]
MOTION_TRAINED = ["ME_LoadMotionEmbedding", "ME_TrainMotionEmbedding"]
CLIP = "three seconds.mp4"
BUILD = """
async ([types, values]) => {
  app.canvas.setGraph(app.graph)
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
LOADED = """
(graph) => graph.findNodesByType('ME_LoadMotionEmbedding').map(({ widgets }) => widgets[0].value).sort()
"""
# Where the title of the first loader in the graph that is shown is in the page.
TITLE = """
() => {
  const [loader] = app.canvas.graph.findNodesByType('ME_LoadMotionEmbedding')
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [100 - loader.pos[0], 200 - loader.pos[1]]
  app.canvas.draw(true, true)
  const { left, top } = app.canvas.canvas.getBoundingClientRect()
  return { x: left + 130, y: top + 190 }
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
    clip = make_clip(tmp_path / "dropped.mp4", 20)
    name = f"dropped on {editor[2]}.mp4"
    uploads: list[str] = []
    page.on("request", lambda request: uploads.append(request.url) if "/upload/" in request.url else None)
    page.evaluate(DROP, {"selector": ".me-clip", "name": name, "content": content(clip)})
    expect(page.locator(".me-clip-file")).to_contain_text("20 frames")
    expect(page.locator("[data-node-id].ring-4")).to_have_count(0)
    assert len(uploads) == 1


@pytest.fixture
def dropped(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A motion from elsewhere, for ``DROP``."""
    name = f"{request.node.name}.safetensors"
    files.save(motion("left"), tmp_path / name)
    return {"name": name, "content": content(tmp_path / name)}


def test_what_is_dropped_where_others_take_files_is_theirs(page: Page, dropped: dict[str, str]) -> None:
    page.evaluate(BUILD, [CLIP_SHOWN, {}])
    page.evaluate(
        """
        () => {
          window.taken = []
          const zone = document.createElement('div')
          zone.id = 'zone'
          zone.addEventListener('drop', (event) => {
            event.preventDefault()
            event.stopPropagation()
            taken.push(event.dataTransfer.files[0].name)
          })
          document.body.append(zone)
        }
        """
    )
    page.evaluate(DROP, {"selector": "#zone", **dropped})
    page.evaluate("() => document.querySelector('#zone').remove()")
    assert page.evaluate("taken") == [dropped["name"]]
    assert page.evaluate(f"({LOADED})(app.graph)") == []


def test_what_is_dropped_on_a_loader_in_a_subgraph_is_chosen_there(page: Page, dropped: dict[str, str]) -> None:
    """On its title: the host looks for a node there in the root graph."""
    page.evaluate(BUILD, [MOTION_TRAINED, {"motion_embedding": "one.safetensors"}])
    page.evaluate(
        """
        () => {
          const { node, subgraph } = app.graph.convertToSubgraph(new Set([app.graph.nodes[0]]))
          app.canvas.openSubgraph(subgraph, node)
        }
        """
    )
    page.wait_for_function("() => app.canvas.graph !== app.graph")
    page.evaluate(DROP, {**page.evaluate(TITLE), **dropped})
    page.wait_for_function(f"() => ({LOADED})(app.canvas.graph).join() === {dropped['name']!r}")
    assert page.evaluate(f"({LOADED})(app.graph)") == []


def test_a_dropped_motion_becomes_a_node_of_the_graph_it_was_dropped_on(page: Page, dropped: dict[str, str]) -> None:
    """Though another is shown by the time that it has been brought to the server."""
    page.evaluate(BUILD, [MOTION_TRAINED, {"motion_embedding": "one.safetensors"}])
    held: list[Route] = []
    page.route("**/motion_embeddings/motions?name=*", lambda route: held.append(route))
    with page.expect_request("**/motion_embeddings/motions?name=*"):
        page.evaluate(DROP, {"x": 700, "y": 800, **dropped})
    page.evaluate(
        """
        () => {
          const { node, subgraph } = app.graph.convertToSubgraph(new Set([app.graph.nodes[1]]))
          app.canvas.openSubgraph(subgraph, node)
        }
        """
    )
    held[0].continue_()
    page.unroute("**/motion_embeddings/motions?name=*")
    page.wait_for_function(f"() => ({LOADED})(app.graph).length === 2")
    assert page.evaluate(f"({LOADED})(app.graph)") == sorted(["one.safetensors", dropped["name"]])
    assert page.evaluate(f"({LOADED})(app.canvas.graph)") == []


def test_the_browser_takes_files_and_stays_while_a_text_is_marked(page: Page, dropped: dict[str, str]) -> None:
    page.evaluate(BUILD, [MOTION_TRAINED, {"motion_embedding": "one.safetensors"}])
    page.get_by_role("button", name="Browse…").click()
    filter_ = page.get_by_role("searchbox")
    filter_.fill("nothing like it")
    expect(page.locator(".me-motions-note")).to_be_visible()
    box = filter_.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(5, box["y"], steps=3)
    page.mouse.up()
    assert page.evaluate("document.activeElement.selectionStart < document.activeElement.selectionEnd")
    expect(page.locator("dialog.me-motions")).to_be_visible()
    page.evaluate(DROP, {"selector": ".me-motions-note", **dropped})
    page.locator(".me-motion-card", has_text=dropped["name"].removesuffix(".safetensors")).click()
    expect(page.locator("dialog.me-motions")).to_have_count(0)
    assert page.evaluate(f"({LOADED})(app.graph)") == [dropped["name"]]
    page.get_by_role("button", name="Browse…").click()
    expect(filter_).to_be_visible()
    page.mouse.click(5, 450)
    expect(page.locator("dialog.me-motions")).to_have_count(0)


def test_the_shortcut_is_known_on_a_mac(page: Page) -> None:
    page.evaluate(BUILD, [CLIP_SHOWN, {}])
    page.evaluate("() => Object.defineProperty(navigator, 'userAgent', { value: 'Macintosh', configurable: true })")
    page.evaluate(
        """
        () => document.body.dispatchEvent(new KeyboardEvent('keydown', {
          code: 'KeyM', key: '\u00c2', altKey: true, shiftKey: true, bubbles: true, cancelable: true,
        }))
        """
    )
    page.evaluate("() => { delete navigator.userAgent }")
    expect(page.locator("dialog.me-motions")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.me-motions")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (413, "it is larger than ComfyUI takes. Start ComfyUI with a larger --max-upload-size."),
        (None, "Failed to fetch"),
    ],
    ids=["too large", "no server"],
)
def test_a_clip_that_is_not_uploaded_is_named(page: Page, status: int | None, cause: str) -> None:
    page.evaluate(BUILD, [CLIP_SHOWN, {}])
    expect(page.locator(".me-clip-plan")).not_to_be_empty()
    page.evaluate(MEASURED)
    page.route("**/upload/image", lambda route: route.fulfill(status=status) if status else route.abort())
    page.evaluate(DROP, {"selector": ".me-clip", "name": "long.mp4", "content": ""})
    expect(page.locator(".me-clip-error")).to_have_text(f"long.mp4 was not uploaded: {cause}")
    page.unroute("**/upload/image")
