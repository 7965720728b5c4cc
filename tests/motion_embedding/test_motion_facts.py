from __future__ import annotations

from pathlib import Path

import pytest
import torch

from motion_embedding import files
from motion_embedding.debias import VALUE_STRATEGIES, Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.motion_facts import as_text, facts, saved_bytes

TRAINING = {"steps": 200, "done": 120, "loss": "base", "final_loss": 0.12345, "frames_each": 4, "prompt": "a red car"}


def motion(**changes) -> MotionEmbedding:
    layer = LayerEmbedding(torch.ones(6, 8), {"attn": torch.ones(30, 20, 6, 8)})
    return MotionEmbedding({"a": layer, "b": layer}, "wan", 6, 30, 20, **changes)


@pytest.mark.parametrize("noise", [None, torch.zeros(16, 6, 30, 20)])
@pytest.mark.parametrize("value", ["plain", "camera"])
def test_the_size_is_that_of_the_file_but_for_its_header(tmp_path: Path, value: str, noise) -> None:
    saved = motion(debias=Debias(value), inverted_noise=noise)
    files.save(saved, tmp_path / "m.safetensors")
    content = (tmp_path / "m.safetensors").read_bytes()
    assert saved_bytes(saved) == len(content) - 8 - int.from_bytes(content[:8], "little")


def test_what_is_known_is_told() -> None:
    found = facts(motion(fps=16.0, training=TRAINING, boundary=0.875, values_error=0.4))
    assert found["frames"] == "6 latent, 21 of video"
    assert (found["family"], found["layers"], found["rate"], found["prompt"]) == ("Wan", "2", "16 fps", "a red car")
    assert found["size"] == "latent 20x30"
    assert found["trained"] == "120 of 200 steps, loss base, final loss 0.1235"
    assert found["holds"] == "0.06 M values, 0.12 MB saved full in half precision"
    assert "40%" in found["compact"] and "0.875" in found["two models"] and found["noise"].startswith("no ")
    assert "prompt: a red car\n" in as_text(found) + "\n"


def test_the_file_it_was_read_from_is_told_until_it_is_edited(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    files.save(motion(), path, error=0.5)
    loaded = files.load(path)
    assert facts(loaded)["file"] == f"{path.stat().st_size / 1e3:.1f} kB"
    assert "file" not in facts(loaded.replace(debias=Debias("difference"))) and "file" not in facts(motion())


def test_what_is_not_known_is_left_out() -> None:
    found = facts(motion(debias=Debias("plain", until=0.5)).replace(height=0, width=0))
    assert set(found) == {"family", "layers", "frames", "holds", "debias", "noise"}
    assert found["frames"] == "6"
    assert found["debias"] == "values are used as learnt; acts in the first 50% of the sampling"


def test_every_debias_has_its_words() -> None:
    texts = {facts(motion(debias=Debias(value)))["debias"] for value in VALUE_STRATEGIES}
    assert len(texts) == len(VALUE_STRATEGIES)


def test_values_that_are_no_numbers_are_counted() -> None:
    broken = motion()
    broken.layers["a"].query_key[1, :3] = float("nan")
    assert facts(broken)["trouble"].startswith("6 values")  # both layers are the same object
