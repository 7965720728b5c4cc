"""The LoadVideoFrames node inside a real ComfyUI."""

from __future__ import annotations

import io as bytes_io
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from demo.host import Server
from motion_embedding.benchmark.server import WorkflowError
from motion_embedding.video import write_video

pytestmark = pytest.mark.host

SETTINGS = {
    "start": 0.0,
    "frames": 4,
    "fps": 0.0,
    "stride": 1,
    "width": 0,
    "height": 0,
    "resize": "crop",
    "multiple_of": 8,
}


def ramp(count: int = 10) -> torch.Tensor:
    """Gray frames ``[count, 32, 48, 3]``, frame i at brightness i / 10."""
    return (torch.arange(count) / 10)[:, None, None, None].expand(count, 32, 48, 3)


def brightness(frames: torch.Tensor) -> list[int]:
    """Tenths of full brightness, per frame."""
    return (frames.mean((1, 2, 3)) * 10).round().int().tolist()


@pytest.fixture
def module(pack: ModuleType, tmp_path: Path) -> Iterator[ModuleType]:
    """The node's module, with an empty input folder of its own."""
    import folder_paths
    from motion_embeddings_pack.nodes import video

    before = folder_paths.get_input_directory()
    folder_paths.set_input_directory(str(tmp_path))
    yield video
    folder_paths.set_input_directory(before)


@pytest.fixture
def clip(module: ModuleType, tmp_path: Path) -> str:
    """``clip.mp4`` in the input folder: the ramp at 10 frames per second."""
    write_video(tmp_path / "clip.mp4", ramp(), 10)
    return "clip.mp4"


def schema_inputs(module: ModuleType) -> dict:
    return {entry.id: entry for entry in module.LoadVideoFrames.define_schema().inputs}


def test_schema(module: ModuleType) -> None:
    schema = module.LoadVideoFrames.define_schema()
    schema.finalize()
    schema.validate()
    assert schema.node_id == "ME_LoadVideoFrames"
    assert [output.io_type for output in schema.outputs] == ["IMAGE", "VIDEO", "FLOAT", "INT"]
    assert all(entry.tooltip for entry in [*schema.inputs, *schema.outputs])
    inputs = {entry.id: entry for entry in schema.inputs}
    assert inputs["file"].as_dict()["video_upload"] is True
    assert inputs["video"].optional
    defaults = {name: inputs[name].default for name in SETTINGS}
    assert defaults == SETTINGS | {"frames": 8}


OURS = ["circle.mp4", "bounce.mp4", "up.mp4", "camera_pan.mp4"]


def test_files_offered(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert schema_inputs(module)["file"].options == OURS
    for name in ("b.mp4", "a.GIF", "c.webp", "d.png", "e.txt", "f.mkv"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.mp4").mkdir()
    assert schema_inputs(module)["file"].options == ["a.GIF", "b.mp4", "c.webp", "f.mkv", *OURS]
    (tmp_path / "circle.mp4").write_bytes(b"x")
    assert schema_inputs(module)["file"].options.count("circle.mp4") == 1
    monkeypatch.setattr(module.examples, "_DEMO", tmp_path / "absent")
    assert schema_inputs(module)["file"].options == ["a.GIF", "b.mp4", "c.webp", "circle.mp4", "f.mkv"]


def test_a_clip_of_the_pack_needs_no_copy(module: ModuleType, clip: str, tmp_path: Path) -> None:
    node = module.LoadVideoFrames
    assert node.validate_inputs(file="circle.mp4") is True
    before = node.fingerprint_inputs(file="circle.mp4")
    assert node.execute(file="circle.mp4", **SETTINGS).result[0].shape == (4, 256, 256, 3)
    (tmp_path / clip).rename(tmp_path / "circle.mp4")
    assert node.execute(file="circle.mp4", **SETTINGS).result[0].shape == (4, 32, 48, 3)
    assert node.fingerprint_inputs(file="circle.mp4") != before


def test_a_file(module: ModuleType, clip: str) -> None:
    output = module.LoadVideoFrames.execute(file=clip, **SETTINGS | {"start": 0.2, "stride": 2, "width": 24})
    frames, video, fps, count = output.result
    assert frames.shape == (4, 16, 24, 3)
    assert brightness(frames) == [2, 4, 6, 8]
    assert (fps, count) == (5.0, 4)
    assert video.get_components().frame_rate == 5
    assert torch.equal(video.get_components().images, frames)
    assert output.ui.as_dict()["text"] == ("4 frames, 24x16, 5.00 fps, 0.20 to 0.80 s",)


def test_the_video_output_can_be_saved(module: ModuleType, clip: str, tmp_path: Path) -> None:
    video = module.LoadVideoFrames.execute(file=clip, **SETTINGS | {"fps": 7.5}).result[1]
    video.save_to(str(tmp_path / "saved.mp4"))
    frames, _, fps, _ = module.LoadVideoFrames.execute(file="saved.mp4", **SETTINGS).result
    assert frames.shape == (4, 32, 48, 3)
    assert fps == pytest.approx(7.5)


@pytest.mark.parametrize("kind", ["path", "bytes", "components"])
def test_a_wired_video_wins(module: ModuleType, clip: str, tmp_path: Path, kind: str) -> None:
    from comfy_api.input_impl import VideoFromComponents, VideoFromFile
    from comfy_api.util import VideoComponents

    video = {
        "path": lambda: VideoFromFile(str(tmp_path / clip)),
        "bytes": lambda: VideoFromFile(bytes_io.BytesIO((tmp_path / clip).read_bytes())),
        "components": lambda: VideoFromComponents(VideoComponents(images=ramp(), audio=None, frame_rate=Fraction(10))),
    }[kind]()
    frames, _, fps, count = module.LoadVideoFrames.execute(
        file="missing.mp4", video=video, **SETTINGS | {"start": 0.5}
    ).result
    assert brightness(frames) == [5, 6, 7, 8]
    assert (fps, count) == (10.0, 4)


def test_a_video_in_a_file_is_not_decoded_whole(
    module: ModuleType, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy_api.input_impl import VideoFromFile

    monkeypatch.setattr(VideoFromFile, "get_components", lambda _: pytest.fail("all of the video was decoded"))
    module.LoadVideoFrames.execute(file="none", video=VideoFromFile(str(tmp_path / clip)), **SETTINGS)


def test_lazy_trim_and_crop_of_newer_hosts_are_obeyed(module: ModuleType, clip: str, tmp_path: Path) -> None:
    from comfy_api.input_impl import VideoFromFile
    from comfy_api.util import VideoComponents

    class Trimmed(VideoFromFile):
        def get_active_trim_window(self) -> tuple[float, float]:
            return 0.3, 0.5

        def as_cropped(self) -> None: ...

    class Cropped(Trimmed):
        def get_dimensions(self) -> tuple[int, int]:
            return 24, 32

        def get_components(self) -> VideoComponents:
            return VideoComponents(images=ramp()[3:8, :, :24], audio=None, frame_rate=Fraction(10))

    for kind, width in ((Trimmed, 48), (Cropped, 24)):
        frames = module.LoadVideoFrames.execute(
            file="none", video=kind(str(tmp_path / clip)), **SETTINGS | {"start": 0.1, "frames": 8}
        ).result[0]
        assert brightness(frames) == [4, 5, 6, 7]
        assert frames.shape[2] == width


def test_a_short_clip_says_so_on_the_node(module: ModuleType, clip: str) -> None:
    output = module.LoadVideoFrames.execute(file=clip, **SETTINGS | {"frames": 16})
    assert output.result[3] == 10
    assert "10 of the 16 frames" in output.ui.as_dict()["text"][0]


def test_animated_webp(module: ModuleType, tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (48, 32), (25 * index,) * 3) for index in range(1, 6)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=200, lossless=True)
    frames, _, fps, _ = module.LoadVideoFrames.execute(file="a.webp", **SETTINGS).result
    assert brightness(frames) == [1, 2, 3, 4]
    assert fps == pytest.approx(5)


def test_validation(module: ModuleType, clip: str) -> None:
    validate = module.LoadVideoFrames.validate_inputs
    assert validate(file=clip) is True
    assert validate(file="missing.mp4", video=None) is True
    assert "no video is chosen" in validate(file="none")
    assert "'missing.mp4' is not in the input folder" in validate(file="missing.mp4")


def test_fingerprint_follows_the_file(module: ModuleType, clip: str, tmp_path: Path) -> None:
    fingerprint = module.LoadVideoFrames.fingerprint_inputs
    first = fingerprint(file=clip, **SETTINGS)
    assert fingerprint(file=clip, **SETTINGS) == first
    os.utime(tmp_path / clip, (1, 1))
    assert fingerprint(file=clip, **SETTINGS) != first
    assert fingerprint(file="none", video=None) == fingerprint(file="missing.mp4", video=None)


def test_errors_name_the_input(module: ModuleType, clip: str) -> None:
    from comfy_api.input_impl import VideoFromFile
    from motion_embeddings_pack.motion_embedding.errors import InputError

    for settings, name in (
        ({"file": "none"}, "file"),
        ({"file": "missing.mp4"}, "file"),
        ({"file": "none", "video": VideoFromFile("/nowhere.mp4")}, "video"),
        ({"file": clip, "start": 1.0}, "start"),
        ({"file": clip, "frames": 1}, "frames"),
    ):
        with pytest.raises(InputError) as error:
            module.LoadVideoFrames.execute(**SETTINGS | settings)
        assert error.value.name == name


def test_interruption_stops_decoding(module: ModuleType, clip: str) -> None:
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        module.LoadVideoFrames.execute(file=clip, **SETTINGS)
    assert not management.processing_interrupted()


@pytest.mark.server
def test_over_http(server: Server, tmp_path: Path) -> None:
    write_video(tmp_path / "uploaded clip.mp4", ramp(), 10)
    server.upload(tmp_path / "uploaded clip.mp4")
    load = {"class_type": "ME_LoadVideoFrames", "inputs": {"file": "uploaded clip.mp4", **SETTINGS, "start": 0.3}}
    save = {
        "class_type": "SaveVideo",
        "inputs": {"video": ["1", 1], "filename_prefix": "frames", "format": "auto", "codec": "auto"},
    }
    # A wired video makes the file irrelevant, also to the host's validation.
    again = {
        "class_type": "ME_LoadVideoFrames",
        "inputs": {"file": "none", "video": ["1", 1], **SETTINGS, "stride": 2},
    }
    show = {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}
    history = server.run({"1": load, "2": save, "3": again, "4": show})
    assert history["outputs"]["1"]["text"] == ["4 frames, 48x32, 10.00 fps, 0.30 to 0.60 s"]
    assert "2 of the 4 frames" in history["outputs"]["3"]["text"][0]
    assert len(history["outputs"]["4"]["images"]) == 2


@pytest.mark.server
def test_a_missing_file_is_refused_before_the_run(server: Server) -> None:
    load = {"class_type": "ME_LoadVideoFrames", "inputs": {"file": "absent.mp4", **SETTINGS}}
    show = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    with pytest.raises(WorkflowError, match=r"absent\.mp4' is not in the input folder"):
        server.run({"1": load, "2": show})
