"""The templates for AnimateDiff, SVD and ZeroScope, run over HTTP on random models of full layout.

Only the sizes, the counts and what is uploaded differ from the files as shipped; the editor opens those in
``test_editor.py``. The IP-Adapter is that of ``tests/ip_adapter_stand_in``. Those of one and two motions run on the
tiny model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from demo.host import ROOT, Server
from demo.run import shipped
from motion_embedding import files
from motion_embedding.benchmark.workflow import load, set_inputs, to_prompt
from tests import tiny_checkpoints, tiny_folder

pytestmark = pytest.mark.server
FRAMES, SIZE = 4, 64
SMALL = {"width": SIZE, "height": SIZE}
EMPTY = {"Empty clip, a picture a frame": {**SMALL, "batch_size": FRAMES}}
Run = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def checkpoints(base: Path, comfy: Path) -> dict[str, dict[str, str]]:
    """Random models where the templates expect them, and what to set by the title of the node that loads each.

    A file keeps its name but for the suffix: the host takes a ``.safetensors`` for one, and ours must be pickled to
    stay small. The motion module and the folder have exactly the names in the templates.
    """

    def place(folder: str, name: str) -> Path:
        path = base / "models" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    tiny_checkpoints.save_motion_module(place("animatediff_models", "v3_sd15_mm.ckpt"))
    tiny_folder.make_modelscope_like_folder(place("diffusers", "zeroscope_v2_576w"))
    sd15 = tiny_checkpoints.save_sd15(place("checkpoints", "v1-5-pruned-emaonly-fp16.ckpt"))
    svd = tiny_checkpoints.save_svd(place("checkpoints", "svd.ckpt"))
    control = tiny_checkpoints.save_controlnet(place("controlnet", "control_v11p_sd15_canny_fp16.ckpt"))
    return {
        "SD1.5 checkpoint": {"ckpt_name": sd15.name},
        "Video checkpoint": {"ckpt_name": svd.name},
        "ControlNet": {"control_net_name": control.name},
    }


@pytest.fixture(scope="module")
def run(server: Server, checkpoints: dict[str, dict[str, str]]) -> Run:
    """Runs a template, some inputs set by node title; the frames of every video it saved, by the start of its name."""
    clip = {"Reference clip": {"file": server.upload(shipped("circle").video), "frames": FRAMES, **SMALL}}
    training = {"Learn the motion": {"steps": 2, "learning_rate": 0.1}}
    sampling = {title: {"steps": 2} for title in ("Sample", "Sample with", "Sample without")}

    def run_template(name: str, **changes: dict) -> dict[str, np.ndarray]:
        prompt = to_prompt(load(ROOT / "workflows" / f"{name}.json"), server.object_info())
        titles = {node["_meta"]["title"] for node in prompt.values()}
        common = {title: v for title, v in {**checkpoints, **clip, **training, **sampling}.items() if title in titles}
        values = {f"{title}.{key}": v for title, inputs in (common | changes).items() for key, v in inputs.items()}
        written = server.outputs(server.run(set_inputs(prompt, values)))
        return {path.name.rpartition("_0")[0]: decode(path) for path in written if path.suffix == ".mp4"}

    return run_template


@pytest.fixture(scope="module")
def picture(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A picture with edges, as the input of a node that loads one."""
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[16:48, 16:48] = (200, 80, 30)
    path = tmp_path_factory.mktemp("picture") / "square.png"
    Image.fromarray(pixels).save(path)
    return {"image": server.upload(path)}


@pytest.fixture(scope="module")
def animatediff(run: Run) -> dict[str, np.ndarray]:
    """The first template, which saves the motion that the two next to it load."""
    return run("animatediff", **{"Empty clip, a picture a frame": SMALL})


def decode(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)


def check(video: np.ndarray) -> None:
    assert video.shape == (FRAMES, SIZE, SIZE, 3)
    assert video.std() > 1


def check_pair(videos: dict[str, np.ndarray], name: str) -> None:
    assert set(videos) == {f"{name}_without_motion", f"{name}_with_motion"}
    for video in videos.values():
        check(video)
    assert np.abs(np.subtract(*videos.values())).max() > 1


def saved(server: Server, name: str) -> files.MotionEmbedding:
    return files.load(server.base / "models" / "motion_embeddings" / f"{name}.safetensors")


def test_animatediff(server: Server, animatediff: dict[str, np.ndarray]) -> None:
    check_pair(animatediff, "animatediff")
    motion = saved(server, "my_animatediff_motion")
    assert (motion.backbone, motion.frames, motion.height) == ("animatediff", FRAMES, SIZE // 8)


def test_controlnet(run: Run, animatediff: dict[str, np.ndarray], picture: dict[str, str]) -> None:
    videos = run("animatediff_controlnet", **EMPTY, **{"Picture to take the outlines from": picture})
    check(videos.pop("animatediff_controlnet"))
    assert not videos


def test_ip_adapter(run: Run, animatediff: dict[str, np.ndarray], picture: dict[str, str]) -> None:
    videos = run("animatediff_ip_adapter", **EMPTY, **{"Picture of the look": picture})
    check(videos.pop("animatediff_ip_adapter"))
    assert not videos


def test_svd(server: Server, run: Run, picture: dict[str, str]) -> None:
    conditioning = {"Look of the reference": SMALL, "Begin with the picture": SMALL}
    videos = run("svd_image_to_video", **{"New picture": picture}, **conditioning)
    check(videos.pop("svd_image_to_video"))
    assert not videos
    assert saved(server, "my_svd_motion").backbone == "svd"


def test_zeroscope(server: Server, run: Run) -> None:
    check_pair(run("zeroscope", **{"Empty clip": SMALL}), "zeroscope")
    assert saved(server, "my_zeroscope_motion").backbone == "unet3d"


def test_object_motion(server: Server, tiny_model: Path, run: Run) -> None:
    """The reference, and the scene without the motion, with it and with it elsewhere, two by two."""
    videos = run("object_motion", **{"Sample elsewhere": {"steps": 2}})
    frames, height, width, _ = videos["object_motion"].shape
    assert frames == FRAMES and min(height, width) >= 2 * 320
    assert saved(server, "my_object_motion").debias.until == 0.5


def test_camera_motion(server: Server, tiny_model: Path, run: Run) -> None:
    videos = run("camera_motion", **{"Learn the camera": {"steps": 2}, "Sample the other way": {"steps": 2}})
    assert len(videos["camera_motion"]) == FRAMES
    assert saved(server, "my_camera_motion").debias.value == "difference"


def test_two_motions(server: Server, tiny_model: Path, run: Run) -> None:
    clip = {"frames": FRAMES, **SMALL}
    uploaded = {
        title: server.upload(shipped(name).video) for title, name in (("object", "up"), ("camera", "camera_pan"))
    }
    clips = {f"Clip of the {title}": {"file": file, **clip} for title, file in uploaded.items()}
    training = {f"Learn the {title}'s motion": {"steps": 2} for title in uploaded}
    sampling = {title: {"steps": 2} for title in ("Sample both at once", "Sample one after the other")}
    videos = run("two_motions", **clips, **training, **sampling)
    assert {name: video.shape for name, video in videos.items()} == {
        "two_motions_both_at_once": (FRAMES, 256, 256, 3),
        "two_motions_one_after_the_other": (2 * FRAMES, 256, 256, 3),
    }


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.json")), ids=lambda path: path.stem)
def test_every_template_has_a_small_square_picture(path: Path) -> None:
    picture = path.with_suffix(".jpg")
    assert picture.stat().st_size <= 60_000
    with Image.open(picture) as opened:
        assert opened.width == opened.height >= 390
