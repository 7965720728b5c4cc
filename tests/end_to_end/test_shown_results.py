"""What Preview Motion and Compare Videos show on the node, in both node renderers of the real editor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Page, expect

from demo.host import ROOT, Server
from motion_embedding import files
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from tests.browser import complaints_of_ours, open_editor
from tests.end_to_end.test_editor import SCREENSHOTS

pytestmark = pytest.mark.browser

SHOW = """
async (prompt) => {
  app.nodeOutputs = {}  // the host shows what nodes of these ids gave before
  await app.loadApiJson(prompt, 'shown')
  const places = { ME_PreviewMotion: [60, 60, 420, 720], ME_CompareVideos: [520, 60, 640, 520] }
  for (const node of app.graph.nodes) {
    const [x, y, width, height] = places[node.type] ?? [60, 2000, 300, 300]
    node.pos = [x, y]
    node.setSize([width, height])
  }
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [0, 60]
  app.graph.setDirtyCanvas(true, true)
}
"""
PICTURE_IN_CANVAS = """
() => app.graph.nodes.find((node) => node.type === 'ME_PreviewMotion').imgs?.[0]?.naturalWidth === 880
"""
PICTURE_IN_PAGE = "() => [...document.querySelectorAll('img')].some((image) => image.naturalWidth === 880)"
VIDEO = "() => [...document.querySelectorAll('video')].some((video) => video.videoWidth === 976)"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def editor(request: pytest.FixtureRequest, server: Server) -> Iterator[tuple[Page, list[str], str]]:
    """The front end with the renderer named, what it complains about, and that name."""
    with open_editor(server.address, 1300, 950, request.param) as (page, complaints):
        yield page, complaints, request.param


def graph(server: Server, labels: str) -> dict[str, dict]:
    generator = torch.Generator().manual_seed(5)
    layers = {f"blocks.{i}": LayerEmbedding(torch.randn(8, 16, generator=generator)) for i in range(5)}
    motion = MotionEmbedding(layers, "wan", 8, 8, 8, fps=8.0)
    files.save(motion, server.base / "models" / "motion_embeddings" / "shown.safetensors")
    settings = {"start": 0.0, "frames": 8, "fps": 0.0, "stride": 1, "width": 0, "height": 0, "multiple_of": 8}
    loaded = {
        str(number): {
            "class_type": "ME_LoadVideoFrames",
            "inputs": {"file": server.upload(ROOT / "demo" / "clips" / f"{name}.mp4"), "resize": "crop", **settings},
        }
        for number, name in enumerate(("circle", "diagonal", "left"), 1)
    }
    compared = {"reference": ["1", 0], "result_1": ["2", 0], "result_2": ["3", 0]}
    compared |= {"fps": 8.0, "labels": labels, "tracks": "each its own"}
    return {
        **loaded,
        "4": {"class_type": "ME_LoadMotionEmbedding", "inputs": {"motion_embedding": "shown.safetensors"}},
        "5": {"class_type": "ME_PreviewMotion", "inputs": {"motion": ["4", 0], "frames": ["1", 0]}},
        "6": {"class_type": "ME_CompareVideos", "inputs": compared},
    }


@pytest.mark.parametrize("run_by", ["mouse", "keyboard"])
def test_the_picture_and_the_video_are_shown_on_their_nodes(
    editor: tuple[Page, list[str], str], server: Server, run_by: str
) -> None:
    page, complaints, renderer = editor
    picture = PICTURE_IN_PAGE if renderer == "vue" else PICTURE_IN_CANVAS
    page.evaluate(SHOW, graph(server, labels=f"{run_by}, a, b"))
    page.wait_for_function(f"() => !({VIDEO})() && !({picture})()")
    if run_by == "mouse":
        page.get_by_role("button", name="Run", exact=True).click()
    else:
        page.keyboard.press("Control+Enter")
    page.wait_for_function(VIDEO, timeout=120_000)
    page.wait_for_function(picture, timeout=60_000)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(500)  # what has been loaded is drawn in a later animation frame
    page.screenshot(path=SCREENSHOTS / f"preview_and_compare_{renderer}.png")
    expect(page.get_by_text("failed to load")).to_have_count(0)
    assert complaints_of_ours(page, complaints) == []
