"""Compact files: the error they state, their size, and what they keep."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from motion_embedding import files
from motion_embedding.compact import error_of, packed, unpacked
from motion_embedding.embedding import MotionEmbedding

ERROR = error_of("unet3d")


def values_of(embedding: MotionEmbedding) -> torch.Tensor:
    layers = sorted(embedding.layers.items())
    return torch.cat([layer.value[k].flatten().double() for _, layer in layers for k in sorted(layer.value)])


def distance(learnt: MotionEmbedding, loaded: MotionEmbedding) -> float:
    return float((values_of(learnt) - values_of(loaded)).norm() / values_of(learnt).norm())


@pytest.mark.parametrize("error", [0.1, 0.3, ERROR])
def test_the_stated_error_is_the_measured_one(small, tmp_path, error) -> None:
    embedding, path = small.embedding(), tmp_path / "m.safetensors"
    stated = files.save(embedding, path, error=error)
    loaded = files.load(path)
    assert stated == loaded.values_error == files.read_metadata(path)["values_error"]
    assert stated == pytest.approx(distance(embedding, loaded), rel=1e-3)
    assert 0 < stated < error + 0.02


def test_the_rest_of_the_motion_is_as_in_a_full_file(small, tmp_path) -> None:
    embedding = small.embedding().replace(inverted_noise=torch.randn(4, 5, 8, 6))
    files.save(embedding, tmp_path / "full.safetensors")
    files.save(embedding, tmp_path / "compact.safetensors", error=ERROR)
    full, compact = files.load(tmp_path / "full.safetensors"), files.load(tmp_path / "compact.safetensors")
    assert compact.fingerprint == full.fingerprint
    assert torch.equal(compact.inverted_noise, full.inverted_noise)
    for name, layer in full.layers.items():
        assert torch.equal(compact.layers[name].query_key, layer.query_key)
        assert {k: v.shape for k, v in compact.layers[name].value.items()} == {
            k: v.shape for k, v in layer.value.items()
        }


def test_a_full_file_keeps_the_version_that_older_packs_read(small, tmp_path) -> None:
    versions = {}
    for error in (0.0, ERROR):
        files.save(small.embedding(), tmp_path / "m.safetensors", error=error)
        with safe_open(tmp_path / "m.safetensors", "pt") as file:
            versions[error] = json.loads(file.metadata()[files.FORMAT])["version"]
    assert versions == {0.0: 2, ERROR: 4}


def test_the_form_of_every_value_shows_in_the_description(small, tmp_path) -> None:
    files.save(small.embedding(), tmp_path / "m.safetensors", error=ERROR)
    shapes = files.read_metadata(tmp_path / "m.safetensors")["tensors"]
    block = "down_blocks.1.temp_attentions.0.transformer_blocks.0"
    (rank,) = shapes[f"{block}.scales.attn2"]
    assert shapes[f"{block}.positions.attn2"][:2] == [4, 3]
    assert shapes[f"{block}.positions.attn2"][-1] == shapes[f"{block}.channels.attn2"][0] == (rank + 1) // 2


def test_saving_again_hardly_costs_any(small, tmp_path) -> None:
    embedding, path = small.embedding(), tmp_path / "m.safetensors"
    first = files.save(embedding, path, error=ERROR)
    size = path.stat().st_size
    for _ in range(3):
        again = files.save(files.load(path), path, error=ERROR)
    assert first <= again < ERROR + 0.01
    assert distance(embedding, files.load(path)) == pytest.approx(again, abs=0.01)
    assert path.stat().st_size <= 2.1 * size  # eight bits now instead of four


def test_values_that_factors_would_not_shrink_stay_exact() -> None:
    values = torch.tensor([[[[3.0, 1.0]]], [[[-1.0, 2.0]]]])
    parts = packed(values, 0.001)
    assert list(parts) == ["value"]
    assert torch.equal(unpacked(parts), values)


def test_zeroscope_fits_into_fifteen_megabytes() -> None:
    """An attention of the paper's level at 576x320, 24 frames: 60 directions under noise of three tenths of
    their strength. The level has ten such attentions, and query-keys of 0.31 MB."""
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(10, 18, 24, 60, generator=generator)
    values = torch.tensordot(positions, torch.randn(60, 1280, generator=generator) / 60**0.5, 1)
    values += 0.3 * torch.randn(values.shape, generator=generator)
    parts = packed(values, ERROR)
    assert float((unpacked(parts) - values).norm() / values.norm()) < ERROR + 0.01
    size = sum(t.numel() * t.itemsize for t in parts.values())
    assert 10 * size + 2 * 5 * 24 * 1280 + 20_000 < 15e6
    assert 10 * 2 * values.numel() > 110e6


def test_values_are_far_off_only_where_that_was_measured() -> None:
    assert {family: error_of(family) for family in ("unet3d", "wan", "animatediff", "one to come")} == {
        "unet3d": 0.4,
        "wan": 0.1,
        "animatediff": 0.1,
        "one to come": 0.1,
    }
