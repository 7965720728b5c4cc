"""What a folder's files say of themselves."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from motion_embedding import files
from motion_embedding.motion_files import motion_file, motion_thumbnail
from motion_embedding.thumbnail import Thumbnail

DESCRIBED = {"version": 2, "frames": 3, "backbone": "wan", "width": 8, "height": 8, "fps": 8}


def test_what_is_told_of_a_motion(small, tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    thumbnail = Thumbnail.of(np.zeros((3, 8, 8, 3), np.uint8))
    motion = small.embedding().replace(
        fps=8.0, training={"prompt": " a star\n", "frames_each": 4}, thumbnail=thumbnail, backbone="wan"
    )
    files.save(motion, path)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert motion_file(path) == {
        "size": path.stat().st_size,
        "changed": 1_700_000_000_000,
        "trouble": None,
        "pictures": 3,
        "family": "wan",
        "frames": 5,
        "video_frames": 17,
        "width": 6,
        "height": 8,
        "fps": 8.0,
        "prompt": "a star",
    }
    assert motion_thumbnail(path) == thumbnail.strip


def test_a_file_of_before_thumbnails_and_prompts(small, tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    files.save(small.embedding(), path)
    known = motion_file(path)
    assert (known["pictures"], known["prompt"], known["frames"], known["video_frames"]) == (0, "", 5, 5)
    assert motion_thumbnail(path) is None


def test_a_changed_file_is_read_anew(small, tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    files.save(small.embedding(), path)
    assert motion_file(path)["frames"] == 5
    files.save(small.embedding(frames=7), path)
    assert motion_file(path)["frames"] == 7


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no safetensors", "not a readable safetensors file"),
        ({}, "holds no motion embedding"),
        ({files.FORMAT: "{"}, "description in m.safetensors cannot be read"),
        ({files.FORMAT: json.dumps({"version": 99})}, "written by a newer version"),
        ({files.FORMAT: json.dumps({"version": 2, "frames": "many"})}, "description in m.safetensors cannot be read"),
        ({files.FORMAT: json.dumps({"version": 2, "frames": 3, "training": 7})}, "cannot be read"),
        ({files.FORMAT: json.dumps({"version": 2, "frames": math.inf})}, "cannot be read"),
        ({files.FORMAT: json.dumps({"version": math.inf})}, "cannot be read"),
        ({files.FORMAT: json.dumps(DESCRIBED | {"fps": math.nan})}, "cannot be read"),
    ],
)
def test_a_broken_file_is_known_by_its_trouble(tmp_path, content, words) -> None:
    path = tmp_path / "m.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file({"x": torch.zeros(1)}, path, metadata=content)
    known = motion_file(path)
    assert words in known["trouble"]
    assert known["size"] == path.stat().st_size
    assert motion_thumbnail(path) is None


def test_a_vanished_file(tmp_path) -> None:
    with pytest.raises(OSError):
        motion_file(tmp_path / "absent.safetensors")
