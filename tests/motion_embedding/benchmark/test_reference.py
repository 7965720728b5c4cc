"""A prepared reference has the frames asked for, loses nothing but colour resolution, and is always the same file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from motion_embedding.benchmark.items import Clip
from motion_embedding.benchmark.reference import PictureFolder, prepare_reference, reference_digest
from motion_embedding.errors import InputError
from motion_embedding.video import VideoRequest, decode_frames, write_video
from tests.motion_embedding.video_media import make_clip, numbered, numbers


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 numbered frames at 10 per second."""
    return make_clip(tmp_path_factory.mktemp("video") / "clip.mp4")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 numbered pictures, 0.png to 11.png, which sort otherwise as texts."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(12):
        Image.fromarray(numbered(index)).save(folder / f"{index}.png")
    (folder / "readme.txt").write_text("not a picture")
    return folder


def prepared(clip: Clip, form: VideoRequest, folder: Path, name: str = "out.mp4") -> Path:
    prepare_reference(clip, form, folder / name)
    return folder / name


def luma(path: Path) -> np.ndarray:
    """The brightness samples as stored, ``[F, H, W]``."""
    with av.open(str(path)) as container:
        return np.stack(
            [frame.reformat(format="yuv420p").to_ndarray()[: frame.height] for frame in container.decode(video=0)]
        )


def test_frames_size_and_rate_are_those_of_the_format(video: Path, tmp_path: Path) -> None:
    result = prepared(Clip("c", video), VideoRequest(frames=4, fps=5, width=32, height=32), tmp_path)
    frames = decode_frames(result, VideoRequest(frames=100))
    assert frames.frames.shape == (4, 32, 32, 3)
    assert frames.fps == 5


def test_the_clips_start_is_added_to_the_formats(video: Path, tmp_path: Path) -> None:
    result = prepared(Clip("c", video, start=0.5), VideoRequest(start=0.2, frames=4, stride=2), tmp_path)
    assert numbers(decode_frames(result, VideoRequest(frames=4)).frames) == [7, 9, 11, 13]


def test_pictures_become_a_clip_in_the_order_of_their_numbers(pictures: Path, tmp_path: Path) -> None:
    result = prepared(Clip("c", pictures, fps=24), VideoRequest(frames=12), tmp_path)
    frames = decode_frames(result, VideoRequest(frames=12))
    assert numbers(frames.frames) == list(range(12))
    assert frames.fps == 24


def test_only_the_pictures_that_are_asked_for_are_opened(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = PictureFolder._picture

    def counted(self: PictureFolder, file: Path) -> av.VideoFrame:
        opened.append(int(file.stem))
        return original(self, file)

    monkeypatch.setattr(PictureFolder, "_picture", counted)
    prepared(Clip("c", pictures, fps=10, start=0.5), VideoRequest(frames=3), tmp_path)
    assert min(opened) >= 4
    assert max(opened) <= 8


def test_nothing_is_lost_but_the_resolution_of_colour(tmp_path: Path) -> None:
    """Noise, the hardest picture: every gray sample comes back, through 1.0 = 235 and 0.0 = 16 of limited range."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 48), dtype=np.uint8)
    folder = tmp_path / "noise"
    folder.mkdir()
    for index, gray in enumerate(noise):
        Image.fromarray(gray).save(folder / f"{index}.png")
    result = prepared(Clip("c", folder, fps=8), VideoRequest(frames=3), tmp_path)
    assert np.abs(luma(result) - (16 + noise * (219 / 255))).max() <= 1
    again = decode_frames(result, VideoRequest(frames=3)).frames.mean(-1) * 255
    assert (again - torch.from_numpy(noise)).abs().max() <= 2


def test_the_same_clip_gives_the_same_bytes(video: Path, tmp_path: Path) -> None:
    form = VideoRequest(frames=6, width=32, height=32)
    first, second = (prepared(Clip("c", video), form, tmp_path, name) for name in ("a.mp4", "b.mp4"))
    assert first.read_bytes() == second.read_bytes()


def test_the_digest_is_of_what_is_shown_not_of_the_file(video: Path, tmp_path: Path) -> None:
    form = VideoRequest(frames=6)
    path = prepared(Clip("c", video), form, tmp_path)
    digest = reference_digest(path)
    remuxed = tmp_path / "remuxed.mkv"
    with av.open(str(path)) as source, av.open(str(remuxed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert remuxed.read_bytes() != path.read_bytes()
    assert reference_digest(remuxed) == digest
    later = prepared(Clip("c", video, start=0.1), form, tmp_path, "later.mp4")
    faster = tmp_path / "faster.mp4"
    write_video(faster, decode_frames(path, form).frames, 20, lossless=True)
    assert len({digest, reference_digest(later), reference_digest(faster)}) == 3


def test_a_clip_that_is_too_short_is_refused(video: Path, pictures: Path, tmp_path: Path) -> None:
    for clip, form in (
        (Clip("short", video), VideoRequest(frames=21)),
        (Clip("short", pictures, fps=24), VideoRequest(frames=24, fps=8)),
    ):
        with pytest.raises(InputError, match=r"of the 2[14] frames asked for") as caught:
            prepared(clip, form, tmp_path)
        assert caught.value.name == "clips.short"
    assert not list(tmp_path.iterdir())


def test_folders_that_make_no_clip_are_refused(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture"):
        prepared(Clip("c", tmp_path / "empty", fps=8), VideoRequest(), tmp_path)
    with pytest.raises(InputError, match="without a rate"):
        prepared(Clip("c", pictures), VideoRequest(), tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"\x89PNG not really")
    with pytest.raises(InputError, match=r"0\.png cannot be read"):
        prepared(Clip("c", tmp_path / "broken", fps=8), VideoRequest(), tmp_path)


@pytest.mark.host
def test_comfyui_loads_it_as_we_do(comfy: Path, tmp_path: Path) -> None:
    """Through what its Load Video node hands on, in colour."""
    from comfy_api.latest._input_impl import VideoFromFile

    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, colour in enumerate([(220, 30, 30), (30, 200, 60), (40, 60, 230), (240, 220, 40)]):
        Image.new("RGB", (64, 32), colour).save(folder / f"{index}.png")
    path = prepared(Clip("c", folder, fps=8), VideoRequest(frames=4), tmp_path)
    loaded = VideoFromFile(str(path)).get_components()
    assert loaded.frame_rate == 8
    ours = decode_frames(path, VideoRequest(frames=4)).frames
    assert loaded.images.shape == ours.shape == (4, 32, 64, 3)
    assert (
        ours[:, 0, 0] * 255 - torch.tensor([[220, 30, 30], [30, 200, 60], [40, 60, 230], [240, 220, 40]])
    ).abs().max() <= 3
    assert (loaded.images - ours).abs().max() * 255 <= 3
