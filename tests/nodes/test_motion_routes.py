"""The routes about the files in the motions' folder, over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demo.host import Server
from motion_embedding import files
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.thumbnail import Thumbnail

pytestmark = [pytest.mark.host, pytest.mark.server]


def motion(frames: int = 4) -> MotionEmbedding:
    rows = {"down_blocks.0": LayerEmbedding(torch.ones(frames, 8), {"attn1": torch.ones(2, 2, frames, 8)})}
    thumbnail = Thumbnail.of(np.full((frames, 16, 24, 3), 200, np.uint8))
    return MotionEmbedding(rows, "unet3d", frames, 2, 2, training={"prompt": "a star"}, thumbnail=thumbnail)


def content(frames: int = 4) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        files.save(motion(frames), path := Path(folder) / "m.safetensors")
        return path.read_bytes()


@pytest.fixture
def folder(server: Server) -> Iterator[Path]:
    """``models/motion_embeddings``, emptied before and after."""
    folder = server.base / "models" / "motion_embeddings"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def get(server: Server, route: str, **query: str) -> bytes:
    with urlopen(f"{server.address}/motion_embeddings/{route}?{urlencode(query)}") as response:
        return response.read()


def listed(server: Server) -> list[dict]:
    return json.loads(get(server, "motions"))["files"]


def upload(server: Server, name: str, body: bytes) -> str:
    request = Request(f"{server.address}/motion_embeddings/motions?{urlencode({'name': name})}", body, method="POST")
    request.add_header("Content-Type", "application/octet-stream")
    with urlopen(request) as response:
        return json.load(response)["name"]


def refused(server: Server, name: str, body: bytes) -> str:
    with pytest.raises(HTTPError) as error:
        upload(server, name, body)
    assert error.value.code == 400
    return json.load(error.value)["error"]["message"]


def test_all_files_the_latest_first_broken_ones_with_their_trouble(server: Server, folder: Path) -> None:
    assert listed(server) == []
    files.save(motion(), folder / "first.safetensors")
    files.save(motion(6), folder / "deep" / "second.safetensors")
    (folder / "broken.safetensors").write_bytes(b"x")
    (folder / "other.pt").write_bytes(b"x")
    for time, name in enumerate(("first", "broken", "deep/second")):
        os.utime(folder / f"{name}.safetensors", (time, time))
    second, broken, first = listed(server)
    assert (second["name"], second["frames"], second["prompt"]) == ("deep/second.safetensors", 6, "a star")
    assert (first["name"], first["family"], first["pictures"]) == ("first.safetensors", "unet3d", 4)
    assert (broken["name"], broken["size"]) == ("broken.safetensors", 1)
    assert "not a readable safetensors file" in broken["trouble"]
    assert json.loads(get(server, "motion", file="deep/second.safetensors")) == second
    (folder / "first.safetensors").unlink()
    assert [one["name"] for one in listed(server)] == ["deep/second.safetensors", "broken.safetensors"]


def test_a_thumbnail(server: Server, folder: Path) -> None:
    files.save(motion(), folder / "m.safetensors")
    with Image.open(BytesIO(get(server, "motion_thumbnail", file="m.safetensors"))) as picture:
        assert (picture.format, picture.size) == ("WEBP", (4 * 24, 16))


@pytest.mark.parametrize(
    "name", ["", "absent.safetensors", "../../secret.safetensors", "/etc/passwd", "plain.safetensors", "x.pt"]
)
@pytest.mark.parametrize("route", ["motion_thumbnail", "motion"])
def test_nothing_outside_the_folder_and_no_missing_picture(server: Server, folder: Path, route: str, name: str) -> None:
    files.save(motion(), server.base / "secret.safetensors")
    if route == "motion_thumbnail":
        files.save(motion().replace(thumbnail=None), folder / "plain.safetensors")
    with pytest.raises(HTTPError) as error:
        get(server, route, file=name)
    assert error.value.code == 404


def test_an_upload_is_there_and_a_second_of_its_name_gets_a_number(server: Server, folder: Path) -> None:
    assert upload(server, "m.safetensors", content()) == "m.safetensors"
    assert (folder / "m.safetensors").read_bytes() == content()
    assert upload(server, "m.safetensors", content()) == "m.safetensors"  # the same once more
    assert upload(server, "m.safetensors", content(6)) == "m_2.safetensors"
    assert {one["name"]: one["frames"] for one in listed(server)} == {"m.safetensors": 4, "m_2.safetensors": 6}


def test_only_the_last_part_of_a_name_counts(server: Server, folder: Path) -> None:
    assert upload(server, "../../C:\\up\\m.safetensors", content()) == "m.safetensors"
    assert [path.name for path in folder.iterdir()] == ["m.safetensors"]


def test_what_is_no_motion_is_refused_and_leaves_nothing(server: Server, folder: Path, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "lora.safetensors")
    lora = (tmp_path / "lora.safetensors").read_bytes()
    assert "lora.safetensors holds no motion embedding" in refused(server, "lora.safetensors", lora)
    assert "holds no motion embedding" in refused(server, "m.safetensors", b"\xff" * 100)
    assert "'m.pt' is no .safetensors file" in refused(server, "m.pt", content())
    assert "m.safetensors is not a readable safetensors file" in refused(server, "m.safetensors", content()[:-9])
    assert "m.safetensors is not a readable safetensors file" in refused(server, "m.safetensors", b"")
    assert list(folder.iterdir()) == []


def test_the_families_that_a_motion_is_put_on(server: Server) -> None:
    prompt = {
        "1": {"class_type": "ME_LoadMotionEmbedding", "inputs": {}},
        "2": {"class_type": "ME_ApplyMotionEmbedding", "inputs": {"model": ["3", 0], "motion": ["1", 0]}},
        "3": {"class_type": "ME_LoadLatteModel", "inputs": {}},
    }

    def ask(body: object) -> list:
        request = Request(f"{server.address}/motion_embeddings/model_families", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urlopen(request) as response:
            return json.load(response)["families"]

    assert ask({"prompt": prompt, "nodes": ["1"]}) == ["latte"]
    for bad in ([], {"prompt": 3, "nodes": ["1"]}, {"prompt": {"1": 4}, "nodes": ["2"]}):
        with pytest.raises(HTTPError) as error:
            ask(bad)
        assert error.value.code == 400
