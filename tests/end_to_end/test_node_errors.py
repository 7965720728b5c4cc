"""What goes wrong stands on the node in words, in both node renderers, until it is mended or tried again.

On the host's sampler too, where what is ours in the model is the cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from demo.host import MODEL, Server
from tests.browser import close_dialog, complaints_of_ours, open_editor, queue
from tests.end_to_end.test_editor import SCREENSHOTS
from tests.motion_embedding.video_media import make_clip

pytestmark = pytest.mark.browser

CLIP = "three seconds.mp4"
LONG = 240_000  # a busy machine samples slowly
A_WHILE = 500  # milliseconds in which nothing is to happen
BUILD = """
async (values) => {
  app.graph.clear()
  await new Promise(requestAnimationFrame)  // a node added at once would take over what the last one left in the page
  const [clip, preview] = ['ME_LoadVideoFrames', 'PreviewImage'].map((type, index) => {
    const node = LiteGraph.createNode(type)
    node.pos = [80 + 420 * index, 130]
    app.graph.add(node)
    return node
  })
  for (const widget of clip.widgets) if (widget.name in values) widget.value = values[widget.name]
  clip.connect(0, preview, 0)
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
WIRE = """
(name) => {
  const other = LiteGraph.createNode('PrimitiveInt')
  other.pos = [80, 700]
  app.graph.add(other)
  const [node] = app.graph.nodes
  other.connect(0, node, node.inputs.findIndex((input) => input.name === name))
}
"""
PUT = "([name, value]) => { app.graph.nodes[0].widgets.find((one) => one.name === name).value = value }"
SAVED = "() => JSON.stringify(app.graph.serialize().nodes.map(({ size, widgets_values }) => [size, widgets_values]))"
HEIGHTS = "() => app.graph.nodes.map((node) => Math.round(node.size[1]))"

OPEN = "async (prompt) => { await app.loadApiJson(prompt, 'sampled') }"
WITH_MESSAGE = """
() => app.graph.nodes.filter((node) => node.widgets?.some(({ name }) => name === 'error')).map(({ type }) => type)
"""
MEND = """
() => {
  const [sampler] = app.graph.findNodesByType('KSampler')
  const [video] = app.graph.findNodesByType('ME_EmptyVideoLatent')
  video.connect(0, sampler, 'latent_image')
}
"""
SUCCESS = "() => { app.api.addEventListener('execution_success', () => { window.succeeded = true }) }"
FAIL_BY_ITSELF = """
() => {
  const [{ id }] = app.graph.findNodesByType('KSampler')
  const error = { exception_message: "mat1 and mat2 shapes cannot be multiplied", exception_type: "RuntimeError" }
  const detail = { ...error, node_id: String(id), node_type: "KSampler" }
  app.api.dispatchEvent(new CustomEvent('execution_error', { detail }))
}
"""
# The new renderer makes nodes as high as it finds that they need, some frames after they are there.
MEASURED = f"""
() => new Promise((resolve) => {{
  let [heights, same] = ['', 0]
  const look = () => {{
    const now = JSON.stringify(({HEIGHTS})())
    same = now === heights ? same + 1 : 0
    heights = now
    if (same < 20) requestAnimationFrame(look)
    else resolve()
  }}
  look()
}})
"""


@pytest.fixture(scope="module", params=["canvas", "vue"])
def editor(request: pytest.FixtureRequest, server: Server) -> Iterator[tuple[Page, list[str], str]]:
    make_clip(server.base / "input" / CLIP, 60, rate=20)
    with open_editor(server.address, 1200, 900, request.param, patience=30_000) as (page, complaints):
        yield page, complaints, request.param


@pytest.fixture
def page(editor: tuple[Page, list[str], str]) -> Iterator[Page]:
    """Afterwards nothing of ours may have complained, but for the host's own line about what it was told."""
    page, complaints, _ = editor
    yield page
    assert complaints_of_ours(page, complaints) == []


def messages(page: Page) -> Locator:
    return page.locator(".me-error")


def screenshot(editor: tuple[Page, list[str], str], name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    editor[0].wait_for_timeout(300)
    editor[0].screenshot(path=SCREENSHOTS / f"node_error_{name}_{editor[2]}.png")


def test_what_the_host_refuses_stands_on_the_node(page: Page, editor: tuple[Page, list[str], str]) -> None:
    page.evaluate(BUILD, {"file": "none"})
    page.evaluate(MEASURED)
    heights, saved = page.evaluate(HEIGHTS), page.evaluate(SAVED)
    queue(page)
    close_dialog(page)
    expect(messages(page)).to_have_text("file: no video is chosen. Upload one, or wire one into video.")
    screenshot(editor, "refused")
    assert page.evaluate(SAVED) == saved
    page.evaluate(CHANGE, ["file", CLIP])
    expect(messages(page)).to_have_count(0)
    page.wait_for_function(f"(heights) => JSON.stringify(({HEIGHTS})()) === JSON.stringify(heights)", arg=heights)


def test_what_fails_while_running_stands_on_the_node(page: Page, editor: tuple[Page, list[str], str]) -> None:
    page.evaluate(BUILD, {"file": CLIP, "start": 5})
    queue(page)
    close_dialog(page)
    expect(messages(page)).to_have_text(re.compile(r"^start: 5 s is at or after the end of the clip.*\.$"))
    screenshot(editor, "failed")
    page.evaluate(PUT, ["start", 0])
    expect(messages(page)).to_have_count(1)
    queue(page)
    expect(messages(page)).to_have_count(0)


def sampling() -> dict[str, Any]:
    """One step of a video model, wired to the latent of a picture; that of a video lies beside it."""
    sampled = {"seed": 0, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    size = {"width": 64, "height": 64, "batch_size": 1}
    nodes = {
        "model": ("ME_LoadTextToVideoModel", {"folder": MODEL, "dtype": "auto"}),
        "text": ("CLIPTextEncode", {"text": "a red star", "clip": ["model", 1]}),
        "picture": ("EmptyLatentImage", size),
        "video": ("ME_EmptyVideoLatent", {"vae": ["model", 2], "frames": 8, **size}),
        "sample": ("KSampler", {"model": ["model", 0], "latent_image": ["picture", 0], **sampled}),
        "decode": ("VAEDecode", {"samples": ["sample", 0], "vae": ["model", 2]}),
        "show": ("PreviewImage", {"images": ["decode", 0]}),
    }
    nodes["sample"][1].update(positive=["text", 0], negative=["text", 0])
    ids = {name: str(number) for number, name in enumerate(nodes, 1)}
    return {
        ids[name]: {
            "class_type": kind,
            "inputs": {key: [ids[v[0]], v[1]] if isinstance(v, list) else v for key, v in inputs.items()},
        }
        for name, (kind, inputs) in nodes.items()
    }


def test_what_ours_is_the_cause_of_stands_on_the_sampler(
    page: Page, editor: tuple[Page, list[str], str], tiny_model: Path
) -> None:
    """And goes when it runs again; a failure of the sampler's own is left to the host."""
    page.evaluate(OPEN, sampling())
    page.evaluate(SUCCESS)
    page.keyboard.press("Control+Enter")
    close_dialog(page)
    expect(messages(page)).to_have_text(re.compile(r"^latent_image: it is an image latent .* makes videos\. Use "))
    assert page.evaluate(WITH_MESSAGE) == ["KSampler"]
    screenshot(editor, "sampler")
    page.evaluate(MEND)
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => window.succeeded", timeout=LONG)
    expect(messages(page)).to_have_count(0)
    page.evaluate(FAIL_BY_ITSELF)
    page.wait_for_timeout(A_WHILE)
    expect(messages(page)).to_have_count(0)


def test_a_failure_of_another_graph_does_not_stand_here(page: Page) -> None:
    """Both have a node of that id, as graphs from one template do; the host knows of which the run was."""
    page.evaluate(BUILD, {"file": CLIP, "start": 5})
    page.evaluate("() => { app.rootGraph.id = crypto.randomUUID() }")
    page.evaluate("() => { app.api.addEventListener('execution_error', () => { window.failed = true }) }")
    page.evaluate(
        """
        async () => {
          window.failed = false
          const queue = app.queuePrompt(0)  // its graph is read at once
          const answer = app.api.fetchApi
          app.api.fetchApi = async function (route, ...rest) {
            const response = await answer.call(this, route, ...rest)
            if (route === '/prompt') app.rootGraph.id = crypto.randomUUID()  // another graph is shown by now
            return response
          }
          await queue
          app.api.fetchApi = answer
        }
        """
    )
    page.wait_for_function("() => window.failed")
    close_dialog(page)
    page.wait_for_timeout(A_WHILE)
    expect(messages(page)).to_have_count(0)


def test_a_failure_told_before_the_host_says_that_it_was_queued_stands(page: Page) -> None:
    """A node that fails at once does so before the page has its answer about the queue."""
    page.evaluate(BUILD, {"file": CLIP})
    page.evaluate(
        """
        () => {
          const [node] = app.graph.nodes
          const error = { exception_message: "start: too late.", exception_type: "motion_embedding.errors.InputError" }
          const detail = { ...error, node_id: String(node.id), node_type: node.constructor.comfyClass }
          app.api.dispatchEvent(new CustomEvent('execution_error', { detail }))
          app.api.dispatchEvent(new CustomEvent('promptQueued', { detail: { number: 0, batchCount: 1 } }))
        }
        """
    )
    page.wait_for_timeout(A_WHILE)
    expect(messages(page)).to_have_text("start: too late.")


def test_it_comes_to_and_goes_from_a_node_that_has_been_edited(page: Page) -> None:
    """From the first change of a value or a wire on, the new renderer draws a node from a copy of its widgets."""
    page.evaluate(BUILD, {"file": CLIP, "start": 5})
    page.evaluate(CHANGE, ["frames", 9])
    queue(page)
    close_dialog(page)
    expect(messages(page)).to_be_visible()
    page.evaluate(WIRE, "frames")
    expect(messages(page)).to_have_count(0)
