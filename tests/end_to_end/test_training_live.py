"""Train Motion Embedding while it runs and after it, in both node renderers of the real editor, run from the page."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from demo.host import Server
from demo.run import WORKFLOW, shipped
from demo.tour import OPEN
from motion_embedding import files
from motion_embedding.benchmark.workflow import load
from tests.browser import complaints_of_ours, open_editor
from tests.end_to_end.test_editor import SCREENSHOTS

pytestmark = pytest.mark.browser

LONG = 240_000  # a busy machine trains slowly
SEEDS = itertools.count(1000)
SHOW = """
() => {
  window.told = []
  window.ended = []
  app.canvas.ds.scale = 0.9
  app.canvas.ds.offset = [-250, -180]
  app.graph.setDirtyCanvas(true, true)
}
"""
LISTEN = """
() => {
  app.api.addEventListener('motion_embeddings.training', ({ detail }) => told.push(detail))
  for (const end of ['execution_success', 'execution_error', 'execution_interrupted']) {
    app.api.addEventListener(end, () => ended.push(end))
  }
}
"""
NODE = "app.graph.nodes.find((node) => node.type === 'ME_TrainMotionEmbedding')"
SIZE = f"() => [...{NODE}.size]"
# The new renderer makes nodes higher by itself, whenever it gets to it: what counts is the last size without the panel.
FOLLOW_SIZE = f"""
() => {{
  const look = () => {{
    const node = {NODE}
    if (node.widgets.some((widget) => widget.name === 'training')) return
    window.small = [...node.size]
    requestAnimationFrame(look)
  }}
  look()
}}
"""
HEAR = """
([graph, node]) => app.api.dispatchCustomEvent('motion_embeddings.training', {
  workflow: graph ?? app.rootGraph.id, node, run: 'r', step: 2, steps: 9, losses: [0.5, 0.25], each: 1, loss: 0.25,
  seconds: 4, left: 36000,
})
"""
INTO_SUBGRAPH = f"""
() => {{
  const {{ node, subgraph }} = app.graph.convertToSubgraph(new Set([{NODE}]))
  window.inside = `${{node.id}}:${{subgraph.nodes[0].id}}`
  app.canvas.openSubgraph(subgraph, node)
}}
"""
# Of the curve's colour, and of what is not the tiny model's brown background: its blue square.
INK = """
([selector, red, green, blue]) => {
  const canvas = document.querySelector(selector)
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  let count = 0
  for (let at = 0; at < data.length; at += 4) {
    count += Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 90
  }
  return count
}
"""
YELLOW = [".me-training-curve", 245, 197, 66]
BLUE = [".me-training-clips", 50, 90, 240]


@pytest.fixture(params=["canvas", "vue"])
def editor(request: pytest.FixtureRequest, server: Server, tiny_model: Path) -> Iterator[tuple[Page, str]]:
    """The front end with the renderer named; afterwards nothing of ours may have complained."""
    with open_editor(server.address, 1300, 1000, request.param, patience=20_000) as (page, complaints):
        page.evaluate(LISTEN)
        yield page, request.param
        assert complaints_of_ours(page, complaints) == []


def open_template(page: Page, server: Server, **training: Any) -> None:
    """The first template, with so few steps that it takes no long."""
    values = {
        "Reference clip": {"file": server.upload(shipped("circle").video)},
        "Learn the motion": {"steps": 8, "seed": next(SEEDS), "preview_steps": 4, **training},
        "Sample without": {"steps": 2},
        "Sample with": {"steps": 2},
    }
    page.evaluate(OPEN, [load(WORKFLOW), values])
    page.evaluate(SHOW)


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"training_{name}.png")


def wait_for(page: Page, condition: str) -> None:
    page.wait_for_function(f"() => {condition}", timeout=LONG)


def wait_for_ink(page: Page, colour: list[Any]) -> None:
    """Pictures are read and drawn some frames after the page was told of them."""
    page.wait_for_function(f"(colour) => ({INK})(colour) > 50", arg=colour, timeout=LONG)


def test_it_is_seen_while_it_learns_and_stays(editor: tuple[Page, str], server: Server) -> None:
    page, renderer = editor
    open_template(page, server)
    expect(page.locator(".me-training")).to_have_count(0)
    page.evaluate(FOLLOW_SIZE)
    page.mouse.click(900, 900)
    page.keyboard.press("Control+Enter")
    wait_for(page, "told.some((one) => one.strip)")
    expect(page.locator(".me-training-clips")).to_be_visible()
    wait_for(page, "told.some((one) => one.step > 4)")
    screenshot(page, f"running_{renderer}")
    wait_for_ink(page, YELLOW)
    wait_for_ink(page, BLUE)
    small = page.evaluate("small")
    wait_for(page, f"({SIZE})()[1] > {small[1]}")
    assert page.evaluate(f"() => [...{NODE}.serialize().size]") == small, "the panel's room is not saved"
    wait_for(page, "ended.length")
    assert page.evaluate("ended") == ["execution_success"]
    rows = page.locator(".me-training-row")
    expect(rows.nth(0)).to_contain_text("Learnt in 8 steps")
    expect(rows.nth(0)).to_contain_text("Loss ")
    expect(rows.nth(1)).to_have_text(re.compile(r"^It took \d+:\d\d$"))
    steps = page.evaluate("told.map((one) => one.step)")
    assert steps == sorted(steps) and steps[-1] == 8
    assert max(len(one["strip"]["jpeg"]) for one in page.evaluate("told.filter((one) => one.strip)")) < 100_000
    screenshot(page, f"done_{renderer}")
    page.evaluate("() => { app.canvas.ds.offset = [-1900, -150]; app.graph.setDirtyCanvas(true, true) }")
    videos = "[...document.querySelectorAll('video')]"
    wait_for(page, f"{videos}.some((video) => video.currentSrc.includes('with_motion') && video.videoWidth === 256)")
    screenshot(page, f"result_{renderer}")


def test_it_is_there_again_when_its_graph_is(editor: tuple[Page, str], server: Server) -> None:
    """In a tab that was left while it learnt, and in a graph with the outputs of an earlier run."""
    page, _ = editor
    open_template(page, server, preview_steps=-1)
    page.mouse.click(900, 900)
    page.keyboard.press("Control+Enter")
    wait_for(page, "told.length > 1")
    graph = page.evaluate("() => app.graph.serialize()")
    page.evaluate("async (other) => app.loadGraphData(other)", {**graph, "id": "0" * 8 + graph["id"][8:]})
    expect(page.locator(".me-training")).to_have_count(0)
    wait_for(page, "told.some((one) => one.step === 8)")
    page.locator(".me-training").wait_for(state="detached")
    page.evaluate("async (graph) => app.loadGraphData(graph)", graph)
    expect(page.locator(".me-training-row").nth(0)).to_contain_text("Learnt in 8 steps")
    expect(page.locator(".me-training-clips")).to_be_hidden()
    saved = page.evaluate(f"() => {NODE}.serialize().widgets_values.length")
    assert saved == page.evaluate(f"() => {NODE}.widgets.length") - 1, "the panel is not saved"
    wait_for(page, "ended.length")


def test_a_node_in_a_subgraph_hears_of_its_own_training_only(editor: tuple[Page, str], server: Server) -> None:
    page, _ = editor
    open_template(page, server)
    page.evaluate(INTO_SUBGRAPH)
    inside = page.evaluate("inside")
    for graph, node in (("another", inside), (None, inside.partition(":")[2]), (None, f"99:{inside}")):
        page.evaluate(HEAR, [graph, node])
    page.wait_for_timeout(300)
    expect(page.locator(".me-training")).to_have_count(0)
    page.evaluate(HEAR, [None, inside])
    expect(page.locator(".me-training-row").nth(0)).to_contain_text("Step 2 of 9")
    counted_down = re.compile(r"^\d+:\d\d so far, about (10:00:00|9:\d\d:\d\d) left$")
    expect(page.locator(".me-training-row").nth(1)).to_have_text(counted_down)


def test_cancelling_keeps_what_was_learnt_and_says_so(editor: tuple[Page, str], server: Server) -> None:
    page, renderer = editor
    open_template(page, server, steps=300)
    page.get_by_test_id("queue-button").locator("button").first.click()
    wait_for(page, "told.some((one) => one.step >= 3)")
    page.get_by_role("button", name="Cancel current run").click()
    wait_for(page, "ended.length")
    assert page.evaluate("ended") == ["execution_interrupted"]
    kept = page.evaluate("told.find((one) => one.kept).kept")
    expect(page.locator(".me-training-row").nth(0)).to_contain_text(f"Stopped at step {kept['step']} of 300")
    expect(page.locator(".me-training-kept")).to_contain_text(f"kept as {kept['file']}")
    page.wait_for_timeout(300)
    screenshot(page, f"cancelled_{renderer}")
    path = server.base / "models" / "motion_embeddings" / kept["file"]
    assert files.load(path).training["done"] == kept["step"]
    seed = page.evaluate(f"() => {NODE}.widgets.find((widget) => widget.name === 'seed').value")
    page.get_by_role("button", name="Go on from it").click()
    inputs = page.evaluate("async () => (await app.graphToPrompt()).output")
    (train,) = (node["inputs"] for node in inputs.values() if node["class_type"] == "ME_TrainMotionEmbedding")
    assert inputs[train["initial"][0]]["inputs"]["motion_embedding"] == kept["file"]
    assert train["seed"] == seed + 1
    page.wait_for_timeout(300)
    screenshot(page, f"goes_on_{renderer}")
    page.evaluate("() => { told.length = ended.length = 0 }")
    page.mouse.click(900, 900)
    page.keyboard.press("Control+Enter")
    wait_for(page, "told.length > 1 || ended.length")
    assert page.evaluate("told[0].step") == 1
    page.keyboard.press("Control+Alt+Enter")
    wait_for(page, "ended.length")
    assert page.evaluate("ended") == ["execution_interrupted"]
    kept = page.evaluate("told.find((one) => one.kept).kept")
    expect(page.locator(".me-training-row").nth(0)).to_contain_text(f"Stopped at step {kept['step']} of 300")
