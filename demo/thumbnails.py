"""The templates' pictures, from real runs: every template that a tiny trained model can run is run as it is shipped.

    python -m demo.thumbnails                    all; one to four minutes each on two shared cores
    python -m demo.thumbnails camera_motion svd_image_to_video

Only the model files, the clip, the prompts and the sizes differ from the template; what a tiny model has drawn in place
of the template's own says so. Templates of families that have no tiny trained model get the reference clip and a
drawing of their graph.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from motion_embedding.atomic import replacing
from motion_embedding.benchmark.workflow import Prompt, load, set_inputs, to_prompt
from motion_embedding.video import VideoRequest, decode_frames

from . import references
from .cards import Strip, encoded, graph_card, strips_card
from .host import MODEL, ROOT, WEIGHTS, Server, link, link_model
from .run import Ticker, shipped
from .tiny_animatediff import prove as animatediff
from .tiny_animatediff.config import MOTION
from .tiny_model.world import FRAMES, SIZE
from .tiny_wan import prove as wan
from .tiny_wan.files import MODEL as WAN

WORKFLOWS = ROOT / "workflows"
BASE = ROOT / ".cache" / "thumbnails"
CLIP, RESULT = "circle", "result_to_measure"
SCENE = "a red star on a navy striped background"
PLAIN = "a green circle on a gray background"  # as much as the tiny Wan draws well
Values = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class StandIn:
    """A node in place of one of the template's: its class, its inputs, and which of its outputs is the first's."""

    kind: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    output: int = 0


@dataclass(frozen=True)
class Run:
    """What of a template differs when it is run, by node title, and what of it is shown.

    shown: labels, and under each the pictures of a node's output, or a shipped clip. clips: those that nodes load.
    after: templates that have to run before, for their files.
    """

    shown: Sequence[tuple[str, str | tuple[str, int]]]
    values: Values = field(default_factory=dict)
    nodes: Mapping[str, StandIn] = field(default_factory=dict)
    clips: Mapping[str, str] = field(default_factory=lambda: {"Reference clip": CLIP})
    after: Sequence[str] = ()


def _small(*samplers: str, scene: str = SCENE, **empty: Any) -> dict[str, dict[str, Any]]:
    """Values for a template made for a large model: the sprite world's clip, scene, size and guidance."""
    return {
        "Reference clip": {"frames": FRAMES, "fps": 0.0, "width": SIZE, "height": SIZE},
        "Look of the reference": {"text": shipped(CLIP).prompt},
        "New scene": {"text": scene},
        "What to avoid": {"text": ""},
        "Empty clip": {"width": 2 * SIZE, "height": 2 * SIZE} | empty,
        **{sampler: {"cfg": 2.0} for sampler in samplers},
    }


_PAIR = [
    ("reference", "Reference clip"),
    ("new scene, without the motion", "Decode without motion"),
    ("the same seed, with the motion", "Decode with motion"),
]
_STAND_IN = [_PAIR[0], ("new scene on the tiny model, without the motion", "Decode without motion"), _PAIR[2]]
_SAMPLERS = ("Sample without", "Sample with")
_TINY_WAN = {"unet_name": WAN.name}
_TEXT, _VAE = (StandIn("ME_Demo_LoadTinyWanTextAndVAE", output=output) for output in (0, 1))
_LENGTH = {"length": 4 * (FRAMES - 1) + 1}  # the host's empty clip makes one latent frame of four; this VAE does not
_ANIMATEDIFF = _small(*_SAMPLERS)
_ANIMATEDIFF["Empty clip, a picture a frame"] = _ANIMATEDIFF.pop("Empty clip")
RUNS = {
    "first_steps": Run(_PAIR),
    "use_a_saved_motion": Run(
        [("a saved motion", CLIP), ("a new scene that follows it", "Decode")],
        clips={},
        after=("first_steps",),
    ),
    "measure_motion": Run(
        [("", ("Measure", 3))], clips={"Result clip": RESULT}, after=("first_steps", "use_a_saved_motion")
    ),
    "zeroscope": Run(_STAND_IN, {**_small(*_SAMPLERS, width=SIZE, height=SIZE), "Model": {"folder": MODEL}}),
    "object_motion": Run(
        [*_PAIR[:1], ("with its motion", "Decode with motion"), ("elsewhere", "Decode elsewhere")],
        clips={"Reference clip": "bounce"},
    ),
    "camera_motion": Run(
        [*_PAIR[:1], ("with its camera", "Decode with motion"), ("the other way", "Decode the other way")],
        clips={"Reference clip": "camera_pan"},
    ),
    "two_motions": Run(
        [
            ("what moves in one clip", "Clip of the object"),
            ("and the camera of another", "Clip of the camera"),
            ("both, in a new scene", "Decode both at once"),
        ],
        clips={"Clip of the object": "up", "Clip of the camera": "camera_pan"},
    ),
    "as_published": Run([*_PAIR[:1], ("new scene, as published", "Decode as published")]),
    "animatediff": Run(
        _STAND_IN,
        {**_ANIMATEDIFF, "AnimateDiff motion module": {"motion_model": MOTION.name, "beta_schedule": "as the model"}},
        {"SD1.5 checkpoint": StandIn("ME_Demo_LoadTinyImageModel")},
    ),
    "wan_text_to_video": Run(
        _STAND_IN,
        {**_small(*_SAMPLERS, scene=PLAIN, **_LENGTH), "Model": _TINY_WAN},
        {"Text encoder": _TEXT, "VAE": _VAE},
    ),
    "wan2.2_text_to_video": Run(
        [*_PAIR[:1], ("new scene on the tiny model, with the motion", "Decode")],
        {
            **_small("Sample, high noise", "Sample, low noise", scene=PLAIN, **_LENGTH),
            "High noise model": _TINY_WAN,
            "Low noise model": _TINY_WAN,
        },
        {"Text encoder": _TEXT, "VAE": _VAE},
    ),
}


def install(base: Path) -> Path:
    """Make ``base`` a ComfyUI base directory that has the pack and all tiny models; returns it."""
    base = animatediff.install(base)
    link_model(base, WEIGHTS, MODEL)
    (base / "models" / "diffusion_models").mkdir(parents=True, exist_ok=True)
    link(base / "models" / "diffusion_models" / WAN.name, WAN.resolve())
    link(base / "custom_nodes" / "motion_embeddings_demo_wan", wan.NODE)
    return base


def prompt_of(workflow: Mapping[str, Any], run: Run, object_info: Mapping[str, Any]) -> Prompt:
    """The workflow as it is run, with a node that saves the pictures of every output shown."""
    prompt = to_prompt(workflow, object_info)
    clips = {title: {"file": f"{name}.mp4"} for title, name in run.clips.items()}
    values = [*run.values.items(), *clips.items()]
    prompt = set_inputs(prompt, {f"{title}.{key}": value for title, inputs in values for key, value in inputs.items()})
    for title, stand_in in run.nodes.items():
        key = _named(prompt, title)
        prompt[key] = {**prompt[key], "class_type": stand_in.kind, "inputs": dict(stand_in.inputs)}
        for node in prompt.values():
            for name, value in node["inputs"].items():
                if isinstance(value, list) and value[0] == key:
                    node["inputs"][name] = [key, value[1] + stand_in.output]
    for i, (_, source) in enumerate(run.shown):
        if source not in references.REFERENCES:
            title, output = (source, 0) if isinstance(source, str) else source
            inputs = {"images": [_named(prompt, title), output], "filename_prefix": f"strip{i}"}
            prompt[f"strip{i}"] = {"class_type": "SaveImage", "inputs": inputs, "_meta": {"title": f"Strip {i}"}}
    return prompt


def _named(prompt: Prompt, title: str) -> str:
    (key,) = [key for key, node in prompt.items() if node["_meta"]["title"] == title]
    return key


def strips(server: Server, name: str) -> list[Strip]:
    """Run the template and return what its card shows."""
    run = RUNS[name]
    prompt = prompt_of(load(WORKFLOWS / f"{name}.json"), run, server.object_info())
    ticker = Ticker(prompt, name)
    written = server.outputs(server.run(prompt, ticker))
    ticker.done()
    if name == "use_a_saved_motion":
        (video,) = [path for path in written if path.suffix == ".mp4"]
        shutil.copyfile(video, server.base / "input" / f"{RESULT}.mp4")
    found = []
    for i, (label, source) in enumerate(run.shown):
        pictures = sorted(path for path in written if path.name.startswith(f"strip{i}_"))
        frames = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in pictures]) if pictures else None
        found.append(Strip(label, clip(source) if frames is None else frames) if label else _whole(frames))
    return found


def _whole(frames: np.ndarray) -> Strip:
    """The last frame alone, with bars that make it square."""
    last = frames[-1]
    missing = max(last.shape[:2]) - np.array(last.shape[:2])
    bars = [(n // 2, n - n // 2) for n in missing]
    return Strip("", np.pad(last, [*bars, (0, 0)], constant_values=24)[None], 1)


def clip(name: str) -> np.ndarray:
    """A shipped clip, uint8 ``[F, H, W, 3]``."""
    frames = decode_frames(str(references.CLIPS / f"{name}.mp4"), VideoRequest(frames=FRAMES)).frames
    return (frames.numpy() * 255).round().astype(np.uint8)


def write(name: str, card: Image.Image) -> None:
    with replacing(WORKFLOWS / f"{name}.jpg") as unfinished:
        unfinished.write_bytes(encoded(card))


def main() -> None:
    known = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *known], help="templates; all unless given")
    names = parser.parse_args().names or known
    for name in (name for name in names if name not in RUNS):
        write(name, graph_card(Strip("reference", clip(CLIP)), load(WORKFLOWS / f"{name}.json")))
    first = {before for name in names if name in RUNS for before in RUNS[name].after}
    todo = [name for name in RUNS if name in names or name in first]
    if not todo:
        return
    with Server(install(BASE)) as server:
        for path in references.CLIPS.glob("*.mp4"):
            server.upload(path)
        for name in todo:
            begin = time.time()
            shown = strips(server, name)
            write(name, strips_card(shown))
            print(f"{name}: {time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
