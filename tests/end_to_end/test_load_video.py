"""Load Video Frames in the real editor, in both node renderers: upload, drop, trim, play, read what it says."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FileChooser, Locator, Page, TimeoutError, expect

from demo.host import Server
from tests.browser import complaints_of_ours, open_editor
from tests.end_to_end.test_editor import SCREENSHOTS
from tests.motion_embedding.video_media import make_animation, make_clip

pytestmark = pytest.mark.browser

X = "\N{MULTIPLICATION SIGN}"
ADD_NODE = """
async () => {
  app.graph.clear()
  await new Promise(requestAnimationFrame)  // a node added at once would take over what the last one left in the page
  const node = LiteGraph.createNode('ME_LoadVideoFrames')
  node.pos = [80, 130]
  app.graph.add(node)
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [0, 0]
  app.graph.setDirtyCanvas(true, true)
}
"""
SET = """
(values) => {
  for (const widget of app.graph.nodes[0].widgets) {
    if (!(widget.name in values)) continue
    widget.value = values[widget.name]
    widget.callback?.(widget.value)
  }
}
"""
VALUES = "() => Object.fromEntries(app.graph.nodes[0].widgets.map((widget) => [widget.name, widget.value]))"
UPLOAD_BUTTON = """
() => {
  app.canvas.draw(true, true)  // it takes clicks only on what it has drawn
  const node = app.graph.nodes[0]
  const { left, top } = app.canvas.canvas.getBoundingClientRect()
  return [left + node.pos[0] + 100, top + node.pos[1] + node.widgets.find((one) => one.name === 'upload').y + 10]
}
"""
PASTE = """
({ name, type, content }) => {
  app.canvas.selectNode(app.graph.nodes[0])
  app.canvas.draw(true, true)  // the host pastes into the node drawn last
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))
  const clipboardData = new DataTransfer()
  clipboardData.items.add(new File([bytes], name, { type }))
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }))
}
"""
# Notes from where to where it is turned back, and lets it play slowly: it takes long to be late for the end of a part.
WATCH = """
() => {
  const video = document.querySelector('.me-clip-player video')
  const { get, set } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'currentTime')
  window.turns = []
  window.put = (time) => set.call(video, time)
  Object.defineProperty(video, 'currentTime', {
    configurable: true,
    get,
    set(time) {
      turns.push([get.call(video), time])
      put(time)
    },
  })
  video.playbackRate = 0.1
}
"""
DROP = """
async ({ selector, name, content }) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))
  const dataTransfer = new DataTransfer()
  dataTransfer.items.add(new File([bytes], name))
  const target = document.querySelector(selector)
  const { x, y } = target.getBoundingClientRect()
  for (const type of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(type, {
      dataTransfer, bubbles: true, cancelable: true, clientX: x + 5, clientY: y + 5,
    }))
  }
}
"""


@pytest.fixture(scope="module", params=["canvas", "vue"])
def editor(request: pytest.FixtureRequest, server: Server) -> Iterator[tuple[Page, list[str], str]]:
    """The front end with the renderer named, what it complains about, and that name."""
    # 60 numbered frames, 64x48, at 20 frames per second: three seconds.
    make_clip(server.base / "input" / "three seconds.mp4", 60, rate=20)
    with open_editor(server.address, 1100, 900, request.param, patience=20_000) as (page, complaints):
        yield page, complaints, request.param


@pytest.fixture
def page(editor: tuple[Page, list[str], str]) -> Iterator[Page]:
    """A graph of one new node; afterwards nothing of ours may have complained."""
    page, complaints, _ = editor
    page.evaluate(ADD_NODE)
    yield page
    assert complaints_of_ours(page, complaints) == []


def show(page: Page, **values: Any) -> None:
    page.evaluate(SET, {"file": "three seconds.mp4", **values})


def wait_for_file(page: Page, name: str) -> None:
    """A new node shows a clip of its own at first, which may be like the one expected."""
    page.wait_for_function(f"(name) => ({VALUES})().file === name", arg=name)


def plan(page: Page) -> Locator:
    return page.locator(".me-clip-plan")


def drag(page: Page, part: str, to: float) -> None:
    """Drag a part of the strip, held in its middle, until the mouse is at the share ``to`` of the strip."""
    page.locator(".me-strip").hover(trial=True)  # it moves while the node is being laid out
    strip, held = (page.locator(name).bounding_box() for name in (".me-strip", f".me-strip-{part}"))
    middle = strip["y"] + strip["height"] / 2
    page.mouse.move(held["x"] + held["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(strip["x"] + strip["width"] * to, middle, steps=4)
    page.mouse.up()


def screenshot(editor: tuple[Page, list[str], str], name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    editor[0].screenshot(path=SCREENSHOTS / f"load_video_{name}_{editor[2]}.png")


def test_what_will_be_decoded_follows_the_widgets(page: Page) -> None:
    show(page, file="none")
    expect(plan(page)).to_contain_text("no video is chosen")
    show(page)
    expect(plan(page)).to_have_text(f"8 frames · 20 fps · 0.00 to 0.35 s · 64{X}48 · 0.3 MB")
    expect(page.locator(".me-clip-file")).to_have_text(f"File: 3.00 s · 60 frames · 20 fps · 64{X}48")
    show(page, fps=10, stride=2, start=1, width=128, resize="fit")
    expect(plan(page)).to_have_text(f"8 frames · 5 fps · 1.00 to 2.40 s · 128{X}96 · 1.1 MB")
    show(page, frames=20)
    expect(page.locator(".me-clip-warning")).to_have_text("10 of the 20 frames asked for: the clip ends at 3.00 s.")
    show(page, start=5)
    expect(page.locator(".me-clip-error")).to_contain_text("5 s is at or after the end of the clip")
    show(page, file="absent.mp4")
    expect(page.locator(".me-clip-error")).to_contain_text("'absent.mp4' is not in the input folder")
    expect(page.locator(".me-strip")).to_be_hidden()


def test_trimming_with_the_mouse(page: Page, editor: tuple[Page, list[str], str]) -> None:
    show(page)
    expect(plan(page)).to_contain_text("8 frames")
    drag(page, "end", 2 / 3)
    values = page.evaluate(VALUES)
    assert (values["start"], values["frames"]) == (0, pytest.approx(40, abs=1))
    expect(plan(page)).to_contain_text(f"{values['frames']} frames")
    drag(page, "start", 1 / 3)
    after = page.evaluate(VALUES)
    assert after["start"] == pytest.approx(1, abs=0.06)
    assert after["start"] + after["frames"] / 20 == pytest.approx(values["frames"] / 20, abs=0.011)
    drag(page, "range", 1)
    moved = page.evaluate(VALUES)
    assert moved["frames"] == after["frames"]
    assert moved["start"] == pytest.approx(3 - moved["frames"] / 20, abs=0.06)
    expect(plan(page)).to_contain_text(f"{moved['start']:.2f} to 2.95 s")
    screenshot(editor, "trimmed")


def test_a_drag_is_one_step_for_undo(page: Page) -> None:
    show(page)
    expect(plan(page)).to_contain_text("8 frames")
    page.evaluate("() => app.extensionManager.workflow.activeWorkflow.changeTracker.checkState()")
    drag(page, "end", 2 / 3)
    assert page.evaluate(VALUES)["frames"] == pytest.approx(40, abs=1)
    page.keyboard.press("Control+z")
    frames = "app.graph.nodes[0]?.widgets.find((one) => one.name === 'frames').value"
    page.wait_for_function(f"() => {frames} === 8")


def test_trimming_with_the_keyboard(page: Page) -> None:
    show(page, start=1, frames=20)
    expect(plan(page)).to_contain_text("20 frames")
    start, end = (page.get_by_role("slider", name=name) for name in ("First frame", "Last frame"))
    assert end.get_attribute("aria-valuenow") == "2.00"
    end.focus()
    for keys, frames in (("ArrowRight", 21), ("Shift+ArrowLeft", 11), ("End", 40), ("Home", 2), ("PageUp", 12)):
        page.keyboard.press(keys)
        assert page.evaluate(VALUES)["frames"] == frames, keys
    start.focus()
    for keys, at, frames in (("ArrowLeft", 0.95, 13), ("Shift+ArrowLeft", 0.45, 23), ("Home", 0, 32)):
        page.keyboard.press(keys)
        values = page.evaluate(VALUES)
        assert (values["start"], values["frames"]) == (pytest.approx(at), frames), keys
    assert start.get_attribute("aria-valuetext") == "0.00 seconds, 32 frames"
    page.get_by_role("slider", name="Chosen part").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(VALUES)["start"] == pytest.approx(0.05)
    expect(plan(page)).to_contain_text("32 frames · 20 fps · 0.05 to 1.60 s")


@pytest.mark.parametrize(("start", "frames"), [(1, 10), (2, 20)], ids=["a middle part", "the last part"])
def test_the_chosen_part_plays_in_a_loop(
    page: Page, editor: tuple[Page, list[str], str], start: int, frames: int
) -> None:
    show(page, start=start, frames=frames)
    expect(plan(page)).to_contain_text(f"{frames} frames")
    end = start + frames / 20
    video = page.locator(".me-clip-player video")
    page.get_by_role("button", name="Play the chosen part").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.evaluate(WATCH)
    for time in (1, 2):
        page.evaluate("(time) => put(time)", end - 0.02)
        page.wait_for_function(f"() => turns.length === {time}")
    turns = page.evaluate("turns")
    assert [to for _, to in turns] == [start] * 2
    assert all(end <= late < max(end + 0.01, 2.9) for late, _ in turns), turns
    assert video.evaluate("(video) => video.muted")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    screenshot(editor, "playing")
    page.get_by_role("button", name="Pause").click()
    assert video.evaluate("(video) => video.paused")
    page.get_by_role("button", name="Play the chosen part").press("Enter")
    page.get_by_role("button", name="Pause").press("Space")
    expect(page.get_by_role("button", name="Play the chosen part")).to_be_visible()
    assert video.evaluate("(video) => video.paused")


def test_upload_by_the_button(page: Page, editor: tuple[Page, list[str], str], tmp_path: Path) -> None:
    name = f"uploaded {editor[2]}.mp4"
    path = make_clip(tmp_path / name, 20)
    with page.expect_file_chooser() as chooser:
        if editor[2] == "vue":
            page.locator("[data-node-id] input[type=file]").locator("..").click()
        else:
            page.mouse.click(*page.evaluate(UPLOAD_BUTTON))
    chooser.value.set_files(path)
    wait_for_file(page, name)
    expect(page.locator(".me-clip-file")).to_contain_text("2.00 s · 20 frames")


def chooser_opened_by(key: str, page: Page, tries: int = 10) -> FileChooser:
    """A browser opens no file dialog in a page that nobody has just touched, and does not say so: then again."""
    upload = page.locator("[data-node-id] input[type=file]")
    for left in range(tries, 0, -1):
        page.mouse.click(650, 500)
        upload.locator("xpath=../..").locator("button").focus()  # the list of files, beside it
        page.keyboard.press("Tab")
        expect(upload).to_be_focused()
        try:
            with page.expect_file_chooser(timeout=5000) as chooser:
                page.keyboard.press(key)
            return chooser.value
        except TimeoutError:
            if left == 1:
                raise
    raise AssertionError("no try was made")


@pytest.mark.parametrize("editor", ["vue"], indirect=True, scope="module")
def test_upload_by_the_keyboard(page: Page, tmp_path: Path) -> None:
    """In the new renderer: in the other the button is drawn on the canvas, like the host's own, and takes no focus."""
    for key, frames in (("Enter", 20), ("Space", 30)):
        path = make_clip(tmp_path / f"uploaded by {key}.mp4", frames)
        chooser_opened_by(key, page).set_files(path)
        wait_for_file(page, path.name)
        expect(page.locator(".me-clip-file")).to_contain_text(f"{frames / 10:.2f} s · {frames} frames")


def test_a_dropped_animation_is_shown_though_it_cannot_be_played(
    page: Page, editor: tuple[Page, list[str], str], tmp_path: Path
) -> None:
    name = f"dropped {editor[2]}.gif"
    content = base64.b64encode(make_animation(tmp_path / name).read_bytes()).decode()
    page.evaluate(DROP, {"selector": ".me-clip", "name": name, "content": content})
    wait_for_file(page, name)
    expect(plan(page)).to_contain_text("6 frames")
    expect(page.get_by_role("button", name="Play the chosen part")).to_be_disabled()
    expect(page.locator(".me-strip")).to_be_visible()


def test_a_pasted_video_is_taken(page: Page, editor: tuple[Page, list[str], str], tmp_path: Path) -> None:
    name = f"pasted {editor[2]}.mp4"
    content = base64.b64encode(make_clip(tmp_path / name, 30).read_bytes()).decode()
    page.evaluate(PASTE, {"name": name, "type": "video/mp4", "content": content})
    wait_for_file(page, name)
    expect(page.locator(".me-clip-file")).to_contain_text("3.00 s · 30 frames")


def test_what_another_node_gives_is_not_guessed(page: Page) -> None:
    show(page)
    expect(plan(page)).to_contain_text("8 frames")
    page.evaluate("""() => {
      const other = LiteGraph.createNode('PrimitiveFloat')
      other.pos = [600, 130]
      app.graph.add(other)
      const [node] = app.graph.nodes
      other.connect(0, node, node.inputs.findIndex((input) => input.name === 'start'))
    }""")
    expect(plan(page)).to_have_text("start comes from another node: known when the graph runs.")
    expect(page.get_by_role("slider", name="First frame")).to_be_hidden()
    expect(page.locator(".me-strip canvas")).to_be_visible()


def test_a_wired_video_hides_the_strip(page: Page) -> None:
    show(page)
    expect(page.locator(".me-strip")).to_be_visible()
    page.evaluate("""() => {
      const other = LiteGraph.createNode('ME_LoadVideoFrames')
      other.pos = [600, 130]
      app.graph.add(other)
      other.connect(1, app.graph.nodes[0], 'video')
    }""")
    expect(plan(page).first).to_have_text("The video wired in is used instead of file.")
    expect(page.locator(".me-strip").first).to_be_hidden()
    page.evaluate("() => app.graph.nodes[0].disconnectInput('video')")
    expect(plan(page).first).to_contain_text("8 frames")


def test_it_is_there_again_after_the_graph_is_loaded(page: Page) -> None:
    show(page, start=1)
    expect(plan(page)).to_contain_text("1.00 to 1.35 s")
    page.evaluate("async () => { await app.loadGraphData(app.graph.serialize()) }")
    expect(plan(page)).to_contain_text("1.00 to 1.35 s")
    show(page, start=2)
    expect(plan(page)).to_contain_text("2.00 to 2.35 s")


def test_nothing_of_it_is_saved(page: Page) -> None:
    show(page, start=1)
    saved = page.evaluate("() => app.graph.nodes[0].serialize().widgets_values")
    assert saved == ["three seconds.mp4", 1, 8, 0, 1, 0, 0, "crop", 8, "image"]
    prompt = page.evaluate("async () => Object.values((await app.graphToPrompt()).output)[0].inputs")
    assert set(prompt) == {"file", "start", "frames", "fps", "stride", "width", "height", "resize", "multiple_of"}
