"""The pictures of the README's tour, from a real ComfyUI: its editor is driven through the steps and photographed.

python -m demo.tour [--out docs/tour]     two minutes on two cores
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

from motion_embedding.benchmark.workflow import load
from tests.browser import open_editor

from .help_pictures import LAST_FRAMES, Graph, learning
from .host import ROOT, Server

OUT = ROOT / "docs" / "tour"
BASE = ROOT / ".cache" / "tour"
LONG = 540_000  # milliseconds; a busy machine trains slowly
QUALITY, LARGEST = 82, 80_000
MARGIN, LEFT, TOP = 14, 90, 220  # below the editor's own menus
PREVIEW_STEPS = 20

OPEN = """
async ([workflow, values]) => {
  await app.loadGraphData(workflow)
  for (const node of app.graph.nodes) {
    for (const widget of node.widgets ?? []) {
      const value = values[node.title]?.[widget.name]
      if (value === undefined) continue
      widget.value = value
      widget.callback?.(value)
    }
  }
}
"""
SHOW = """
([titles, left, top, margin, scale]) => {
  const bar = LiteGraph.NODE_TITLE_HEIGHT
  const nodes = app.graph.nodes.filter(({ title }) => titles.includes(title))
  const low = (at) => Math.min(...nodes.map((node) => node.pos[at] - (at ? bar : 0)))
  const high = (at) => Math.max(...nodes.map((node) => node.pos[at] + node.size[at]))
  app.canvas.deselectAll()
  app.canvas.ds.scale = scale
  app.canvas.ds.offset = [left / scale - low(0), top / scale - low(1)]
  app.canvas.draw(true, true)
  const badge = 24 * scale  // above the title
  const [width, height] = [0, 1].map((at) => (high(at) - low(at)) * scale + 2 * margin)
  return [left - margin, top - margin - badge, width, height + badge]
}
"""
REDRAW = "() => { app.canvas.setDirty(true, true) }"
RESIZE = "([title, size]) => app.graph.nodes.find((node) => node.title === title).setSize(size)"
HEAR = """
() => {
  window.steps = 0
  window.ended = ''
  app.api.addEventListener('motion_embeddings.training', ({ detail }) => {
    if (detail.strip) window.steps = detail.step
  })
  for (const end of ['execution_success', 'execution_error']) {
    app.api.addEventListener(end, () => { window.ended = end })
  }
}
"""
ADD = """
async (clips) => {
  app.graph.clear()
  await new Promise(requestAnimationFrame)
  const add = (type, title, pos) => {
    const node = LiteGraph.createNode(type)
    Object.assign(node, { title, pos })
    app.graph.add(node)
    return node
  }
  const set = (node, name, value) => {
    const widget = node.widgets.find((one) => one.name === name)
    widget.value = value
    widget.callback?.(value)
  }
  const motion = add('ME_LoadMotionEmbedding', 'Motion', [0, 0])
  set(motion, 'motion_embedding', 'my_motion.safetensors')
  const loads = clips.map((file, index) => {
    const node = add('ME_LoadVideoFrames', file, [0, 1000 + 700 * index])
    set(node, 'file', file)
    return node
  })
  const preview = add('ME_PreviewMotion', 'Preview', [400, 0])
  const compare = add('ME_CompareVideos', 'Compare', [860, 0])
  motion.connect(0, preview, 'motion')
  loads[0].connect(0, preview, 'frames')
  ;['reference', 'result_1', 'result_2'].forEach((input, index) => loads[index].connect(0, compare, input))
  set(compare, 'labels', 'reference, without, with')
  set(compare, 'tracks', "reference's")  // few points of a star can be followed
  preview.setSize([430, 640])
  compare.setSize([560, 500])
}
"""


class Tour:
    """Photographs of a page, by name.

    Args:
        page: the editor.
        out: where the pictures go, as JPEG of at most 80 kB.
    """

    def __init__(self, page: Page, out: Path) -> None:
        self._page, self._out = page, out

    def nodes(self, name: str, titles: Sequence[str], scale: float = 1.0, at_end: bool = False) -> None:
        """The nodes of those titles, alone; ``at_end``: their videos at the last frame, without buttons."""
        x, y, width, height = self._page.evaluate(SHOW, [titles, LEFT, TOP, MARGIN, scale])
        self._page.wait_for_timeout(1500)  # videos and pictures are drawn when they have been loaded
        if at_end:
            self._page.evaluate(LAST_FRAMES)
            self._page.wait_for_timeout(1000)
        self._page.evaluate(REDRAW)  # what was loaded meanwhile gets its place
        self._page.wait_for_timeout(500)
        size = self._page.viewport_size or {"width": 0, "height": 0}
        width, height = min(width, size["width"] - x), min(height, size["height"] - y)
        self._take(name, {"x": x, "y": y, "width": width, "height": height})

    def part(self, name: str, selector: str, height: float = float("inf")) -> None:
        """One element of the page, or that much of it from the top."""
        self._page.wait_for_timeout(1500)
        box = self._page.locator(selector).first.bounding_box()
        if not box:
            raise RuntimeError(f"{name}: nothing is shown at {selector}")
        self._take(name, {**box, "height": min(box["height"], height)})

    def _take(self, name: str, clip: dict[str, float]) -> None:
        path = self._out / f"{name}.jpg"
        quality = QUALITY
        picture = self._page.screenshot(type="jpeg", quality=quality, clip=clip)
        while len(picture) > LARGEST:
            quality -= 8
            picture = self._page.screenshot(type="jpeg", quality=quality, clip=clip)
        path.write_bytes(picture)


def train(page: Page, tour: Tour) -> None:
    """The clip with its film strip, the training while it runs, and what comes of it."""
    settings = {"Learn the motion": {"preview_steps": PREVIEW_STEPS}}
    page.evaluate("() => app.extensionManager.setting.set('Comfy.Graph.CanvasInfo', false)")  # figures in the corner
    page.evaluate(OPEN, [load(ROOT / "workflows" / "first_steps.json"), settings])
    page.wait_for_timeout(4000)
    tour.nodes("2_clip", ["Reference clip"])
    page.evaluate(HEAR)
    page.evaluate("() => { app.queuePrompt(0) }")
    page.wait_for_function(f"() => steps >= {3 * PREVIEW_STEPS} || ended", timeout=LONG)
    tour.nodes("3_training", ["Learn the motion"])
    page.wait_for_function("() => ended", timeout=LONG)
    if page.evaluate("() => ended") != "execution_success":
        raise RuntimeError("the template failed in the editor")
    page.wait_for_timeout(2000)
    for title in ("Save without motion", "Save with motion"):
        page.evaluate(RESIZE, [title, [330, 430]])
    tour.nodes("4_result", ["Save without motion", "Save with motion"], 0.8, at_end=True)


def learn_others(server: Server) -> None:
    """Motions of two more clips, quickly learnt, for the browser to show."""
    for name in ("bounce", "camera_pan"):
        graph = Graph(server.object_info())
        learning(graph, name, f"{name}.mp4", f"my_{name}", steps=20)
        server.run(graph.prompt)


def look_closer(page: Page, tour: Tour, results: Sequence[str]) -> None:
    """The comparison, the motion by itself, and the browser of saved motions."""
    page.evaluate(ADD, ["circle.mp4", *(f"{name} [output]" for name in results)])
    page.evaluate(HEAR)
    page.evaluate("() => { app.queuePrompt(0) }")
    page.wait_for_function("() => ended", timeout=LONG)
    page.wait_for_timeout(3000)
    tour.nodes("5_compare", ["Compare"], at_end=True)
    tour.nodes("6_preview", ["Preview"])
    page.evaluate(SHOW, [["Motion"], LEFT, TOP, MARGIN, 1.0])
    page.wait_for_timeout(1000)
    page.locator(".me-motion-browse").first.click()
    tour.part("7_browse", "dialog.me-motions", 300)
    page.keyboard.press("Escape")


def templates(page: Page, tour: Tour) -> None:
    """The pack's templates in the editor's own dialog."""
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("motion_embeddings", exact=True).first.click()
    page.wait_for_timeout(3000)
    tour.part("1_templates", ".p-dialog, [role=dialog]")


def main() -> None:
    """Take all pictures anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(BASE, ignore_errors=True)
    with Server(BASE) as server, open_editor(server.address, 1500, 1000) as (page, _):
        tour = Tour(page, out)
        train(page, tour)
        results = [
            str(sorted((BASE / "output").glob(f"motion/{name}_*.mp4"))[-1].relative_to(BASE / "output"))
            for name in ("without_motion", "with_motion")
        ]
        learn_others(server)
        look_closer(page, tour, results)
        templates(page, tour)


if __name__ == "__main__":
    main()
