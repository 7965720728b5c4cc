"""The subgraph blueprints: offered by the server, found in the editor, wired there, and run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, TimeoutError

from demo.host import PACK, Server
from demo.run import read_frames, shipped
from motion_embedding import files
from tests.browser import complaints_of_ours, open_editor
from tests.end_to_end.test_editor import SCREENSHOTS

NAMES = ("Apply a motion", "Train a motion")
# The rest of the graph, and the wires between it and the blueprints: [from, output, to, input].
BUILD = """
async ([file, name]) => {
  const graph = app.graph
  const add = (type, x, y, values = {}) => {
    const node = LiteGraph.createNode(type)
    node.pos = [x, y]
    graph.add(node)
    for (const widget of node.widgets ?? []) if (widget.name in values) widget.value = values[widget.name]
    return node
  }
  const small = { width: 64, height: 64 }
  const [train, apply] = ['Train a motion', 'Apply a motion'].map((title) => graph.nodes.find((n) => n.title === title))
  train.pos = [420, 60]
  apply.pos = [820, 60]
  const model = add('ME_LoadTextToVideoModel', 20, 60, { folder: 'tiny-text-to-video' })
  const clip = add('ME_LoadVideoFrames', 20, 240, { file, frames: 8, ...small })
  const empty = add('ME_EmptyVideoLatent', 420, 400, { frames: 8, ...small })
  const video = add('CreateVideo', 1220, 60, { fps: 8 })
  const save = add('SaveVideo', 1220, 220, { filename_prefix: name })
  const wires = [
    [model, 'MODEL', train, 'model'], [model, 'CLIP', train, 'clip'], [model, 'VAE', train, 'vae'],
    [clip, 'frames', train, 'frames'], [clip, 'fps', train, 'fps'],
    [model, 'MODEL', apply, 'model'], [model, 'CLIP', apply, 'clip'], [model, 'VAE', apply, 'vae'],
    [train, 'motion', apply, 'motion'], [model, 'VAE', empty, 'vae'], [empty, 'LATENT', apply, 'empty_clip'],
    [apply, 'frames', video, 'images'], [video, 'VIDEO', save, 'video'],
  ]
  const set = (node, values) => {
    for (const [name, value] of Object.entries(values)) node.widgets.find((one) => one.name === name).value = value
  }
  set(train, { look_of_the_clip: 'a blue square on a brown background', filename: name })
  set(apply, { new_scene: 'a red star on a navy striped background', steps: 2, cfg: 2 })
  const inner = train.subgraph.nodes.find((node) => node.type === 'ME_TrainMotionEmbedding')
  set(inner, { steps: 2 })
  app.canvas.ds.scale = 0.8
  app.canvas.ds.offset = [80, 100]
  graph.setDirtyCanvas(true, true)
  return wires.filter(([from, output, to, input]) =>
    !from.connect(from.findOutputSlot(output), to, to.findInputSlot(input)),
  ).map(([from, output, to, input]) => `${from.title}.${output} - ${to.title}.${input}`)
}
"""
IN_SUBGRAPHS = """
() => app.graph.nodes.filter((node) => node.isSubgraphNode()).map((node) => [
  node.title,
  node.inputs.filter((slot) => !slot.widget).map((slot) => slot.name),
  node.widgets.map((widget) => widget.name),
  node.outputs.map((slot) => slot.name),
])
"""


def fetched(server: Server, path: str) -> Any:
    with urlopen(server.address + path) as response:
        return json.load(response)


@pytest.mark.server
def test_the_server_offers_both_and_they_hold_only_what_it_knows(server: Server) -> None:
    listed = fetched(server, "/global_subgraphs")
    own = {entry["name"]: key for key, entry in listed.items() if entry["info"]["node_pack"].endswith(PACK)}
    assert tuple(sorted(own)) == NAMES
    known = server.object_info()
    for name, key in own.items():
        workflow = json.loads(fetched(server, f"/global_subgraphs/{key}")["data"])
        (inner,) = workflow["definitions"]["subgraphs"]
        assert [node["type"] for node in workflow["nodes"]] == [inner["id"]]
        assert inner["name"] == name
        for node in inner["nodes"]:
            inputs = known[node["type"]]["input"]
            assert {slot["name"] for slot in node["inputs"]} == {*inputs["required"], *inputs.get("optional", {})}


VIDEO = "() => [...document.querySelectorAll('video')].some((video) => video.videoWidth === 64)"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def editor(request: pytest.FixtureRequest, server: Server, tiny_model: Path) -> Iterator[tuple[Page, list[str], str]]:
    """The front end with the renderer named, what it complains about, and that name."""
    with open_editor(server.address, 1600, 950, request.param, patience=60_000) as (page, complaints):
        yield page, complaints, request.param


def place(page: Page, name: str, x: int) -> None:
    """By the search that a double click on the canvas opens; the page learns of blueprints after it can be used."""
    search = page.get_by_placeholder("Search Nodes...")
    for attempt in range(10):
        page.mouse.dblclick(x, 500)
        try:
            search.fill(name, timeout=10_000)
            page.locator(".p-autocomplete-option", has_text=name).first.click(timeout=10_000)
            break
        except TimeoutError:
            assert attempt < 9, f"{name} is not found"
            page.keyboard.press("Escape")
            page.wait_for_timeout(500)
    page.wait_for_function("(name) => app.graph.nodes.some((node) => node.title === name)", arg=name)


@pytest.mark.browser
def test_both_are_placed_wired_and_run_in_the_editor(editor: tuple[Page, list[str], str], server: Server) -> None:
    page, complaints, renderer = editor
    page.evaluate("() => app.graph.clear()")
    for name, x in zip(NAMES, (300, 1100), strict=True):
        place(page, name, x)
    assert sorted(page.evaluate(IN_SUBGRAPHS)) == [
        [
            "Apply a motion",
            ["model", "clip", "vae", "motion", "empty_clip"],
            ["new_scene", "what_to_avoid", "seed", "steps", "cfg"],
            ["frames"],
        ],
        [
            "Train a motion",
            ["model", "clip", "vae", "frames", "fps"],
            ["look_of_the_clip", "preset", "filename"],
            ["motion"],
        ],
    ]
    assert page.evaluate(BUILD, [server.upload(shipped("circle").video), f"subgraphs_{renderer}"]) == []
    page.wait_for_timeout(500)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"subgraphs_{renderer}.png")

    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function(VIDEO, timeout=300_000)
    (video,) = (server.base / "output").glob(f"subgraphs_{renderer}*")
    assert read_frames(video).shape == (8, 64, 64, 3)
    motion = files.load(server.base / "models" / "motion_embeddings" / f"subgraphs_{renderer}.safetensors")
    assert (motion.frames, motion.training["prompt"]) == (8, "a blue square on a brown background")
    assert complaints_of_ours(page, complaints) == []
