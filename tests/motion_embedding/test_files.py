from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from motion_embedding import files
from motion_embedding.debias import Debias
from motion_embedding.errors import InputError


def test_round_trip(small, tmp_path) -> None:
    path = tmp_path / "folder" / "motion.safetensors"
    embedding = small.embedding().replace(
        debias=Debias("difference", "without_mean"), fps=8.0, prediction="sample", training={"steps": 3, "loss": "base"}
    )
    files.save(embedding, path)
    loaded = files.load(path)
    for field in ("backbone", "frames", "height", "width", "fps", "prediction", "debias", "fingerprint"):
        assert getattr(loaded, field) == getattr(embedding, field)
    assert dict(loaded.training) == {"steps": 3, "loss": "base"}
    for name, layer in embedding.layers.items():
        assert torch.equal(loaded.layers[name].query_key, layer.query_key.half().float())
        for attention, value in layer.value.items():
            assert torch.equal(loaded.layers[name].value[attention], value.half().float())
    assert [p.name for p in path.parent.iterdir()] == ["motion.safetensors"]


def test_full_precision_is_exact(small, tmp_path) -> None:
    files.save(small.embedding(), tmp_path / "m.safetensors", torch.float32)
    loaded = files.load(tmp_path / "m.safetensors")
    assert all(torch.equal(loaded.layers[n].query_key, v.query_key) for n, v in small.embedding().layers.items())


def test_metadata_alone(small, tmp_path) -> None:
    embedding = small.embedding().replace(inverted_noise=torch.randn(4, 5, 8, 6))
    files.save(embedding, tmp_path / "m.safetensors")
    document = files.read_metadata(tmp_path / "m.safetensors")
    assert (document["frames"], document["height"], document["width"], document["inverted_noise"]) == (5, 8, 6, True)
    block = "down_blocks.1.temp_attentions.0.transformer_blocks.0"
    assert document["tensors"][f"{block}.query_key"] == [5, 16]
    assert document["tensors"][f"{block}.value.attn2"] == [4, 3, 5, 16]
    assert document["tensors"]["inverted_noise"] == [4, 5, 8, 6]
    assert len(document["tensors"]) == 1 + 3 * len(embedding.layers)


def test_inverted_noise_travels_in_the_file(small, tmp_path) -> None:
    noise = torch.randn(4, 5, 8, 6)
    files.save(small.embedding().replace(inverted_noise=noise), tmp_path / "m.safetensors")
    loaded = files.load(tmp_path / "m.safetensors")
    assert torch.equal(loaded.inverted_noise, noise.half().float())
    assert loaded.layers.keys() == small.embedding().layers.keys()
    files.save(small.embedding(), tmp_path / "m.safetensors")
    assert files.load(tmp_path / "m.safetensors").inverted_noise is None
    assert files.read_metadata(tmp_path / "m.safetensors")["inverted_noise"] is False


def test_a_camera_motion_is_saved_without_values_and_described_as_it_is(small, tmp_path) -> None:
    embedding = small.embedding().replace(debias=Debias("camera"))
    files.save(embedding, tmp_path / "m.safetensors")
    loaded = files.load(tmp_path / "m.safetensors")
    assert loaded.layers.keys() == embedding.layers.keys()
    assert not any(layer.value for layer in loaded.layers.values())
    assert files.read_metadata(tmp_path / "m.safetensors")["fingerprint"] == loaded.fingerprint


def test_a_file_from_before_the_noise_still_loads(tmp_path) -> None:
    document = {
        "backbone": "unet3d",
        "frames": 2,
        "height": 4,
        "width": 4,
        "fps": 8.0,
        "prediction": "epsilon",
        "version": 1,
        "fingerprint": "0123456789abcdef",
        "debias": {"value": "difference", "query_key": "plain"},
        "training": {},
    }
    save_file({"block.query_key": torch.ones(2, 3)}, tmp_path / "old.safetensors", {files.FORMAT: json.dumps(document)})
    loaded = files.load(tmp_path / "old.safetensors")
    assert loaded.inverted_noise is None
    assert loaded.layers["block"].query_key.tolist() == [[1.0] * 3] * 2
    assert files.read_metadata(tmp_path / "old.safetensors")["inverted_noise"] is False


def test_bad_files_are_named(small, tmp_path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        files.load(tmp_path / "none.safetensors")
    (tmp_path / "half.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(InputError, match=r"half\.safetensors is not a readable"):
        files.load(tmp_path / "half.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(InputError, match=r"lora\.safetensors holds no motion embedding"):
        files.load(tmp_path / "lora.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "new.safetensors", {files.FORMAT: json.dumps({"version": 99})})
    with pytest.raises(InputError, match="newer version"):
        files.load(tmp_path / "new.safetensors")
    for broken in ("{", "[]", "{}"):
        save_file({"a": torch.zeros(1)}, tmp_path / "odd.safetensors", {files.FORMAT: broken})
        with pytest.raises(InputError, match=r"description in odd\.safetensors cannot be read"):
            files.load(tmp_path / "odd.safetensors")


def test_a_failed_write_leaves_nothing(small, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="could not be written"):
        files.save(small.embedding(), tmp_path / "file" / "m.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
