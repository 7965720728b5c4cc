"""Choosing a motion in the real editor, in both node renderers: on the node, in the browser, by dropping a file."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page, expect
from safetensors.torch import save_file

from demo.host import Server
from demo.references import REFERENCES
from demo.tiny_model.world import render
from motion_embedding import files
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.thumbnail import Thumbnail
from tests.browser import complaints_of_ours, open_editor
from tests.end_to_end.test_editor import SCREENSHOTS

pytestmark = pytest.mark.browser

ADD_NODES = """
async () => {
  app.graph.clear()
  await new Promise(requestAnimationFrame)  // a node added at once would take over what the last one left in the page
  const add = (type, x, y) => {
    const node = LiteGraph.createNode(type)
    node.pos = [x, y]
    app.graph.add(node)
    return node
  }
  const loader = add('ME_LoadMotionEmbedding', 80, 130)
  const model = add('ME_LoadTextToVideoModel', 80, 420)
  const apply = add('ME_ApplyMotionEmbedding', 560, 130)
  loader.connect(0, apply, 'motion')
  model.connect(0, apply, 'model')
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [0, 0]
  app.graph.setDirtyCanvas(true, true)
}
"""
CHOSEN = "() => app.graph.getNodeById(1).widgets[0].value"
SET = "(file) => { const [widget] = app.graph.getNodeById(1).widgets; widget.value = file; widget.callback?.(file) }"
LOADERS = """
() => app.graph.findNodesByType("ME_LoadMotionEmbedding").sort((a, b) => a.id - b.id).map(({ pos, widgets }) => (
  { file: widgets[0].value, pos: [...pos], listed: widgets[0].options.values.includes(widgets[0].value) }
))
"""
DROP = """
({ selector, x, y, files }) => {
  const dataTransfer = new DataTransfer()
  for (const { name, content } of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))
    dataTransfer.items.add(new File([bytes], name))
  }
  const target = selector ? document.querySelector(selector) : document.elementFromPoint(x, y)
  for (const type of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true, clientX: x, clientY: y }))
  }
}
"""
WATCH_HOST = """
() => {
  window.handed = []
  const handle = app.handleFile
  app.handleFile = async function (file, ...rest) { handed.push(file.name) }
  return () => { app.handleFile = handle }
}
"""
FAMILIES = {"zoom_in": "wan", "spin": "animatediff"}


def motion(name: str, frames: int = 16) -> MotionEmbedding:
    look, moved = REFERENCES[name]
    rows = {"up_blocks.1": LayerEmbedding(torch.ones(frames, 64), {"attn1": torch.ones(8, 8, frames, 64)})}
    family = FAMILIES.get(name, "unet3d")
    training: dict[str, Any] = {"prompt": f"a {look.color} {look.shape} on a {look.background} background"}
    if family == "wan":
        training["frames_each"] = 4
    return MotionEmbedding(rows, family, frames, 8, 8, training=training, thumbnail=Thumbnail.of(render(look, moved)))


def content(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.fixture(scope="module")
def folder(server: Server) -> Iterator[Path]:
    """``models/motion_embeddings`` with a file per reference, the first the latest, a broken and a plain one."""
    folder = server.base / "models" / "motion_embeddings"
    shutil.rmtree(folder, ignore_errors=True)
    for day, name in enumerate(REFERENCES):
        files.save(motion(name), path := folder / "references" / f"{name}.safetensors")
        os.utime(path, (1_790_000_000 - 86_400 * day,) * 2)
    (folder / "broken.safetensors").write_bytes(b"no motion")
    os.utime(folder / "broken.safetensors", (1_780_000_000,) * 2)
    files.save(motion("left").replace(thumbnail=None), folder / "plain.safetensors")
    os.utime(folder / "plain.safetensors", (1_770_000_000,) * 2)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["canvas", "vue"])
def editor(
    request: pytest.FixtureRequest, server: Server, tiny_model: Path, folder: Path
) -> Iterator[tuple[Page, list[str], str]]:
    """The front end with the renderer named, what it complains about, and that name."""
    with open_editor(server.address, 1300, 900, request.param, patience=20_000) as (page, complaints):
        yield page, complaints, request.param


@pytest.fixture
def page(editor: tuple[Page, list[str], str]) -> Iterator[Page]:
    """A graph of a loader whose motion is put on a text-to-video model; afterwards nothing of ours complained."""
    page, complaints, _ = editor
    page.evaluate("() => document.querySelector('dialog.me-motions')?.close()")  # of a test that failed
    page.evaluate(ADD_NODES)
    page.evaluate(SET, "references/circle.safetensors")
    expect(page.locator(".me-motion-kind")).to_have_text("ModelScope, ZeroScope")
    yield page
    expect(page.locator("dialog")).to_have_count(0)
    assert complaints_of_ours(page, complaints) == []


def opened(page: Page) -> Locator:
    page.get_by_role("button", name="Browse…").click()
    expect(page.locator(".me-motion-card").first).to_be_visible()
    return page.locator(".me-motion-card")


def names(page: Page) -> list[str]:
    return page.locator(".me-motion-name").all_inner_texts()


def screenshot(editor: tuple[Page, list[str], str], name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    editor[0].screenshot(path=SCREENSHOTS / f"motion_browser_{name}_{editor[2]}.png")


def test_the_node_shows_its_file(page: Page, editor: tuple[Page, list[str], str], folder: Path) -> None:
    facts = page.locator(".me-motion-small")
    size = (folder / "references" / "circle.safetensors").stat().st_size
    expect(facts.nth(0)).to_have_text(f"16 frames · {size / 1e6:.2f} MB")
    expect(facts.nth(0)).to_have_attribute("title", re.compile(r"^Sep 1\d, 2026$"))
    expect(facts.nth(1)).to_have_text("a blue square on a brown background")
    picture = page.locator(".me-motion img")
    expect(picture).to_have_js_property("naturalWidth", 8 * 64)
    assert page.locator(".me-motion-frame").evaluate("(frame) => frame.clientWidth / frame.clientHeight") == (
        pytest.approx(1, abs=0.02)
    )
    screenshot(editor, "node")
    page.evaluate(SET, "references/zoom_in.safetensors")
    expect(page.locator(".me-motion-kind")).to_have_text("Wan")
    expect(facts.nth(0)).to_contain_text("61 frames (16 latent) · 0.1")
    page.evaluate(SET, "broken.safetensors")
    expect(page.locator(".me-clip-error")).to_contain_text("broken.safetensors is not a readable safetensors file")
    page.evaluate(SET, "vanished.safetensors")
    expect(page.locator(".me-clip-error")).to_have_text("vanished.safetensors is gone. Choose another.")
    files.save(motion("spin"), folder / "saved_since.safetensors")
    page.evaluate(SET, "saved_since.safetensors")
    expect(page.locator(".me-motion-kind")).to_have_text("AnimateDiff")
    (folder / "saved_since.safetensors").unlink()


def test_opened_filtered_and_chosen_by_mouse(page: Page, editor: tuple[Page, list[str], str]) -> None:
    cards = opened(page)
    expect(cards).to_have_count(13)
    expect(page.locator(".me-motions-model")).to_have_text("The connected model: ModelScope, ZeroScope")
    assert names(page)[:2] == ["references/left", "references/right"]  # the latest first
    assert page.locator(".me-motion-chosen .me-motion-name").inner_text() == "references/circle"
    assert page.locator(".me-motion-mark").count() == 2  # and last, for they are of no use here
    assert names(page)[-2:] == ["references/zoom_in", "references/spin"]
    assert cards.last.get_attribute("title") == (
        "It was learnt on AnimateDiff; the connected model is ModelScope, ZeroScope."
    )
    page.wait_for_function(
        "() => [...document.querySelectorAll('.me-motions img')].slice(0, 9).every((img) => img.naturalWidth)"
    )
    cards.nth(1).hover()
    screenshot(editor, "open")
    page.get_by_role("searchbox").fill("STAR navy")  # words of the prompt
    expect(cards).to_have_count(1)
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.locator(".me-motions-note")).to_have_text("No motion matches.")
    page.get_by_role("searchbox").fill("animatediff")
    expect(cards).to_have_count(1)
    cards.first.click()
    assert page.evaluate(CHOSEN) == "references/spin.safetensors"
    expect(page.locator(".me-motion-kind")).to_have_text("AnimateDiff")


def test_opened_and_chosen_by_keyboard(page: Page, editor: tuple[Page, list[str], str]) -> None:
    page.get_by_role("button", name="Browse…").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".me-motion-card")).to_have_count(13)
    expect(page.get_by_role("searchbox")).to_be_focused()
    focused = page.locator(".me-motion-card:focus .me-motion-name")
    page.keyboard.press("ArrowDown")
    expect(focused).to_have_text("references/circle")  # the chosen one
    columns = page.evaluate("() => getComputedStyle(document.querySelector('.me-motions-list')).gridTemplateColumns")
    row = len(columns.split())
    for keys, expected in (
        ("Home", 0),
        ("ArrowRight", 1),
        ("ArrowDown", 1 + row),
        ("ArrowLeft", row),
        ("ArrowUp", 0),
        ("End", 12),
        ("Home", 0),
    ):
        page.keyboard.press(keys)
        expect(focused).to_have_text(names(page)[expected])
    screenshot(editor, "keyboard")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("bounce")
    page.keyboard.press("Enter")
    assert page.evaluate(CHOSEN) == "references/bounce.safetensors"
    page.get_by_role("button", name="Browse…").click()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    assert page.evaluate(CHOSEN) == "references/bounce.safetensors"


def test_the_shortcut_opens_it_and_makes_a_node_where_none_is_chosen(page: Page) -> None:
    page.evaluate("() => { app.canvas.deselectAll(); app.canvas.canvas.focus() }")
    page.keyboard.press("Alt+Shift+M")
    page.locator(".me-motion-card", has_text="references/arc").click()
    assert [node["file"] for node in page.evaluate(LOADERS)] == [
        "references/circle.safetensors",
        "references/arc.safetensors",
    ]
    page.evaluate("() => { app.canvas.selectNode(app.graph.getNodeById(1)) }")
    page.keyboard.press("Alt+Shift+M")
    page.locator(".me-motion-card", has_text="references/up").click()
    assert page.evaluate(CHOSEN) == "references/up.safetensors"
    assert len(page.evaluate(LOADERS)) == 2


def test_a_broken_file_cannot_be_chosen_and_says_why(page: Page) -> None:
    broken = opened(page).filter(has_text="broken")
    assert "not a readable safetensors file" in str(broken.get_attribute("title"))
    expect(broken).to_contain_text("Cannot be read")
    broken.click()
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate(CHOSEN) == "references/circle.safetensors"


def test_no_mark_where_the_model_is_not_known(page: Page) -> None:
    page.evaluate("() => app.graph.getNodeById(3).disconnectInput('model')")
    cards = opened(page)
    expect(cards).to_have_count(13)
    expect(page.locator(".me-motions-model")).to_be_hidden()
    assert page.locator(".me-motion-mark").count() == 0
    page.keyboard.press("Escape")


def test_what_changes_in_the_folder_is_seen_after_a_refresh(page: Page, folder: Path) -> None:
    cards = opened(page)
    expect(cards).to_have_count(13)
    files.save(motion("up"), folder / "new.safetensors")
    page.get_by_role("button", name="Read the folder again").click()
    expect(cards).to_have_count(14)
    assert names(page)[0] == "new"
    (folder / "new.safetensors").unlink()
    page.get_by_role("button", name="Read the folder again").click()
    expect(cards).to_have_count(13)
    page.get_by_role("button", name="Close").click()


def test_an_empty_folder_says_how_to_get_a_motion(page: Page, folder: Path, editor: tuple[Page, list, str]) -> None:
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    try:
        page.get_by_role("button", name="Browse…").click()
        expect(page.locator(".me-motions-note")).to_contain_text("Train one and save it with Save Motion Embedding")
        screenshot(editor, "empty")
        page.keyboard.press("Escape")
    finally:
        folder.rmdir()
        aside.rename(folder)


def test_hundreds_of_files_are_filtered_at_once_and_drawn_as_they_are_seen(page: Page, folder: Path) -> None:
    many = folder / "many"
    one = (folder / "references" / "left.safetensors").read_bytes()
    many.mkdir()
    for number in range(400):
        (many / f"{number:03}.safetensors").write_bytes(one)
    try:
        cards = opened(page)
        expect(cards).to_have_count(413)
        expect(page.locator(".me-motion-chosen img")).to_have_js_property("naturalWidth", 8 * 64)  # scrolled to
        assert (
            page.locator(".me-motions img").evaluate_all("(all) => all.filter((one) => one.naturalWidth).length") < 100
        )
        page.get_by_role("searchbox").fill("many/39")
        expect(cards).to_have_count(10)
        page.keyboard.press("Escape")  # empties the filter
        expect(cards).to_have_count(413)
        page.keyboard.press("Escape")
    finally:
        shutil.rmtree(many)


def test_a_motion_dropped_on_the_canvas_becomes_a_node(
    page: Page, editor: tuple[Page, list[str], str], folder: Path, tmp_path: Path
) -> None:
    name = f"dropped_{editor[2]}.safetensors"
    files.save(motion("diagonal"), tmp_path / name)
    page.evaluate(DROP, {"x": 700, "y": 620, "files": [{"name": name, "content": content(tmp_path / name)}]})
    expect(page.locator(".me-motion")).to_have_count(2)
    page.wait_for_function("() => app.graph.findNodesByType('ME_LoadMotionEmbedding').length === 2")
    expected = page.evaluate("() => app.canvas.convertEventToCanvasOffset({ clientX: 700, clientY: 620 })")
    dropped = page.evaluate(LOADERS)[-1]
    assert (dropped["file"], dropped["listed"]) == (name, True)
    assert dropped["pos"] == pytest.approx(expected, abs=1)
    expect(page.locator(".me-motion-kind").last).to_have_text("ModelScope, ZeroScope")
    assert files.read_metadata(folder / name)["frames"] == 16
    screenshot(editor, "dropped")
    (folder / name).unlink()


def test_a_motion_dropped_on_the_node_is_chosen_there(
    page: Page, editor: tuple[Page, list[str], str], folder: Path, tmp_path: Path
) -> None:
    name = f"dropped_on_{editor[2]}.safetensors"
    files.save(motion("right", 8), tmp_path / name)
    files_dropped = [{"name": name, "content": content(tmp_path / name)}]
    page.evaluate(DROP, {"selector": ".me-motion", "x": 200, "y": 250, "files": files_dropped})
    expect(page.locator(".me-motion-small").first).to_contain_text("8 frames")
    assert page.evaluate(CHOSEN) == name
    assert len(page.evaluate(LOADERS)) == 1
    (folder / name).unlink()


def test_other_files_are_left_to_the_host(page: Page, tmp_path: Path, folder: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "lora.safetensors")
    before = sorted(folder.rglob("*"))
    release = page.evaluate_handle(WATCH_HOST)
    for name, bytes_ in (
        ("lora.safetensors", (tmp_path / "lora.safetensors").read_bytes()),
        ("graph.json", b"{}"),
        ("picture.png", b"x"),
    ):
        dropped = [{"name": name, "content": base64.b64encode(bytes_).decode()}]
        page.evaluate(DROP, {"x": 700, "y": 620, "files": dropped})
        page.wait_for_function(f"() => handed.at(-1) === '{name}'")
    assert page.evaluate("() => handed") == ["lora.safetensors", "graph.json", "picture.png"]
    release.evaluate("(release) => release()")
    assert len(page.evaluate(LOADERS)) == 1
    assert sorted(folder.rglob("*")) == before


def test_a_damaged_motion_is_refused_in_words(
    page: Page, editor: tuple[Page, list[str], str], tmp_path: Path, folder: Path
) -> None:
    files.save(motion("left"), tmp_path / "damaged.safetensors")
    whole = (tmp_path / "damaged.safetensors").read_bytes()
    damaged = [{"name": "damaged.safetensors", "content": base64.b64encode(whole[:-20]).decode()}]
    page.evaluate(DROP, {"x": 700, "y": 620, "files": damaged})
    expect(page.locator(".p-toast-message-error")).to_contain_text(
        "damaged.safetensors was not uploaded: file: damaged.safetensors is not a readable safetensors file"
    )
    page.locator(".p-toast-close-button").first.click()
    assert len(page.evaluate(LOADERS)) == 1
    assert not (folder / "damaged.safetensors").exists()
    (refused,) = complaints_of_ours(page, editor[1])  # the browser's own line about the answer
    assert "status of 400" in refused and refused.endswith("/motion_embeddings/motions?name=damaged.safetensors")


def test_it_is_there_again_after_the_graph_is_loaded_and_nothing_of_it_is_saved(page: Page) -> None:
    assert page.evaluate("() => app.graph.getNodeById(1).serialize().widgets_values") == [
        "references/circle.safetensors"
    ]
    page.evaluate("async () => { await app.loadGraphData(app.graph.serialize()) }")
    expect(page.locator(".me-motion-kind")).to_have_text("ModelScope, ZeroScope")
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    inputs = [node["inputs"] for node in prompt.values() if node["class_type"] == "ME_LoadMotionEmbedding"]
    assert inputs == [{"motion_embedding": "references/circle.safetensors"}]
