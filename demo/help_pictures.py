"""The pictures in the nodes' help pages: every node of the pack in the real editor, after a real run on the tiny model.

    python -m demo.help_pictures                                 all, into js/docs; three minutes on two cores
    python -m demo.help_pictures ME_DebiasMotion ME_SaveMotionEmbedding

Needs Chromium and Playwright, as the tests of the editor do. ``load_video_frames.png`` is not made here.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page

from motion_embedding.atomic import replacing
from motion_embedding.benchmark.workflow import Prompt
from tests.browser import open_editor

from . import references
from .host import MODEL, ROOT, WEIGHTS, Server, link_model, prepare_base
from .run import SCENES, shipped

DOCS = ROOT / "js" / "docs"
BASE = ROOT / ".cache" / "help_pictures"
CLIP, SAVED_AS = "circle", "circling"
VIEW = (1400, 1500)
SCALE, MARGIN, CORNER = 1.4, 34, (130, 230)
LARGEST = 60_000  # bytes
OURS = "ME_"
PICTURED_ELSEWHERE = "ME_LoadVideoFrames"

# Nodes stand far apart, so that a picture of one shows the wires to the others and nothing else of them.
ARRANGE = """
async ([prompt, sizes]) => {
  await app.extensionManager.setting.set('Comfy.NodeBadge.NodeSourceBadgeMode', 'None')
  await app.loadApiJson(prompt, 'help')
  app.graph.nodes.forEach((node, i) => {
    node.pos = [(i % 6) * 1500, Math.floor(i / 6) * 1500]
    node.setSize(sizes[node.type] ?? [330, node.computeSize()[1]])
    for (const widget of node.widgets ?? []) if (widget.name === 'control_after_generate') widget.value = 'fixed'
  })
  app.canvas.low_quality_zoom_threshold = 0
}
"""
RUN = "() => app.queuePrompt(0, 1)"
SHOW = """
([type, scale, x, y]) => {
  const node = app.graph.nodes.find((one) => one.type === type)
  const { ds } = app.canvas
  app.canvas.deselectAll()
  ds.scale = scale
  ds.offset[0] = x / scale - node.pos[0]
  ds.offset[1] = y / scale - node.pos[1]
  app.canvas.setDirty(true, true)
  return [...node.size]
}
"""
LAST_FRAMES = """
() => {
  for (const video of document.querySelectorAll('video')) {
    video.controls = false
    video.pause()
    video.currentTime = Math.max(0, (video.duration || 0) - 0.06)  // its last frame, with the whole trails
  }
}
"""
SIZES = {
    "ME_PreviewMotion": [440, 700],
    "ME_CompareVideos": [520, 430],
    "ME_MeasureMotionTransfer": [560, 700],
    "ME_TrainMotionEmbedding": [360, 760],
}


class Graph:
    """A prompt under way; what is not said of a node is as its schema has it."""

    def __init__(self, object_info: Mapping[str, Any]) -> None:
        self.info, self.prompt = object_info, Prompt()

    def add(self, kind: str, **inputs: Any) -> str:
        """Add a node; returns its id."""
        key, info = str(len(self.prompt) + 1), self.info[kind]["input"]
        defaults = {
            name: _default(*spec)
            for name, spec in {**info["required"], **info.get("optional", {})}.items()
            if isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "COMBO", "BOOLEAN")
            if not (spec[1:] and spec[1].get("forceInput"))
        }
        self.prompt[key] = {"class_type": kind, "inputs": {**defaults, **inputs}}
        return key


def _default(kind: Any, options: Mapping[str, Any] = {}) -> Any:
    choices = kind if isinstance(kind, list) else options.get("options")
    return options.get("default", choices[0] if choices else "")


def learning(graph: Graph, name: str, file: str, saved_as: str, **training: Any) -> tuple[str, str, str]:
    """The model, the shipped clip ``name`` and its motion, as ids of nodes."""
    model = graph.add("ME_LoadTextToVideoModel", folder=MODEL)
    clip = graph.add("ME_LoadVideoFrames", file=file, frames=8, width=64, height=64)
    look = graph.add("CLIPTextEncode", clip=[model, 1], text=shipped(name).prompt)
    latents = graph.add("VAEEncode", pixels=[clip, 0], vae=[model, 2])
    known = {"model": [model, 0], "positive": [look, 0], "latents": [latents, 0], "fps": [clip, 2]}
    motion = graph.add("ME_TrainMotionEmbedding", **known, **training)
    graph.add("ME_SaveMotionEmbedding", motion=[motion, 0], filename=saved_as, frames=[clip, 0])
    return model, clip, motion


def everything(graph: Graph, file: str, saved: str) -> None:
    """Every node of the pack, wired as a person would; those of models that are not here do not run."""
    model, clip, motion = learning(graph, CLIP, file, SAVED_AS)
    large = graph.add("ME_LoadVideoFrames", file=file, frames=8)
    graph.add("ME_PreviewMotion", motion=[motion, 0], frames=[large, 0])
    loaded = graph.add("ME_LoadMotionEmbedding", motion_embedding=saved)
    debiased = graph.add("ME_DebiasMotion", motion=[loaded, 0], value="difference", until=0.6)
    turned = graph.add("ME_TransformMotion", motion=[debiased, 0], operation="mirror left-right")
    shifted = graph.add("ME_ShiftMotion", motion=[turned, 0], right=0.1)
    graph.add("ME_JoinMotions", first=[motion, 0], second=[shifted, 0])
    moved = graph.add("ME_ApplyMotionEmbedding", model=[model, 0], motion=[motion, 0])
    empty = graph.add("ME_EmptyVideoLatent", vae=[model, 2], width=64, height=64, frames=[clip, 3])
    scene = graph.add("CLIPTextEncode", clip=[model, 1], text=SCENES[3].prompt)
    nothing = graph.add("CLIPTextEncode", clip=[model, 1], text="")
    latents = next(key for key, node in graph.prompt.items() if node["class_type"] == "VAEEncode")
    noise = graph.add("ME_InvertVideoNoise", model=[model, 0], positive=[nothing, 0], latents=[latents, 0])
    graph.add("ME_BlendInitialNoise", model=[model, 0], latent_image=[empty, 0], inverted=[noise, 0], seed=7)
    results = []
    for network in (model, moved):
        sampling = {"seed": 7, "steps": 20, "cfg": 2.0, "sampler_name": "ddim", "scheduler": "sgm_uniform"}
        wires = {"positive": [scene, 0], "negative": [nothing, 0], "latent_image": [empty, 0]}
        sampled = graph.add("KSampler", model=[network, 0], **wires, **sampling, denoise=1.0)
        decoded = graph.add("VAEDecode", samples=[sampled, 0], vae=[model, 2])
        size = {"upscale_method": "nearest-exact", "width": 256, "height": 256, "crop": "disabled"}
        results.append(graph.add("ImageScale", image=[decoded, 0], **size))
    labels = "reference, without, with the motion"
    clips = {"reference": [large, 0], "result_1": [results[0], 0], "result_2": [results[1], 0], "fps": [large, 2]}
    graph.add("ME_CompareVideos", **clips, labels=labels, tracks="each its own")
    graph.add("ME_MeasureMotionTransfer", reference=[large, 0], result=[results[1], 0])
    checkpoint = graph.add("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    graph.add("ME_LoadAnimateDiffModel", model=[checkpoint, 0], motion_model="v3_sd15_mm.ckpt")
    graph.add("ME_LoadLatteModel", folder="Latte-1")
    high = graph.add("ME_ImportMotionEmbedding", file="motion_embed.pt")
    graph.add("ME_JoinExperts", high_noise=[high, 0], low_noise=[loaded, 0])


def saved_before(server: Server, file: str) -> str:
    """A motion for the loader to list, quickly learnt: the name of its file."""
    graph = Graph(server.object_info())
    learning(graph, CLIP, file, SAVED_AS, steps=5)
    server.run(graph.prompt)
    return sorted((server.base / "models" / "motion_embeddings").glob(f"{SAVED_AS}*"))[0].name


def picture(page: Page, kind: str) -> bytes:
    """The node with a margin, as a PNG."""
    width, height = page.evaluate(SHOW, [kind, SCALE, *CORNER])
    page.wait_for_timeout(1500)  # pictures and videos follow the canvas in later frames
    page.evaluate(LAST_FRAMES)
    page.wait_for_timeout(500)
    x, y = CORNER
    title = 30 * SCALE
    box = {"x": x - MARGIN, "y": y - title - MARGIN / 2, "width": width * SCALE + 2 * MARGIN}
    taken = page.screenshot(clip={**box, "height": height * SCALE + title + MARGIN})
    shot = Image.open(io.BytesIO(taken)).convert("RGB")
    whole = png(shot)
    # The palette that is nowhere far off: a median cut tints the greys of a node beside a colourful picture.
    palette = {"colors": 256, "method": Image.Quantize.MAXCOVERAGE, "kmeans": 8, "dither": Image.Dither.NONE}
    return whole if len(whole) <= LARGEST else png(shot.quantize(**palette))


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def file_name(kind: str) -> str:
    """``ME_DebiasMotion`` -> ``debias_motion.png``."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.removeprefix(OURS))
    return f"{name.lstrip('_')}.png"


def wait_until_idle(page: Page, server: Server) -> None:
    queue = {"queue_running": [()], "queue_pending": []}
    while any(queue.values()):
        page.wait_for_timeout(1000)
        queue = page.request.get(f"{server.address}/queue").json()


def make(kinds: Iterable[str], base: Path) -> None:
    """Run the graph in the editor and write the pictures of ``kinds``; of all nodes if there are none."""
    link_model(prepare_base(base), WEIGHTS, MODEL)
    with Server(base) as server:
        file = server.upload(references.CLIPS / f"{CLIP}.mp4")
        graph = Graph(server.object_info())
        everything(graph, file, saved_before(server, file))
        wanted = set(kinds) or {kind for kind in graph.info if kind.startswith(OURS)} - {PICTURED_ELSEWHERE}
        with open_editor(server.address, *VIEW) as (page, _):
            page.evaluate(ARRANGE, [graph.prompt, SIZES])
            page.evaluate(RUN)
            wait_until_idle(page, server)
            page.wait_for_timeout(3000)
            for kind in sorted(wanted):
                with replacing(DOCS / file_name(kind)) as unfinished:
                    unfinished.write_bytes(picture(page, kind))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="node", help="node ids; all unless given")
    make(parser.parse_args().kinds, BASE)


if __name__ == "__main__":
    main()
