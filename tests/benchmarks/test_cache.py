"""What a result depends on is in its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cache import contents, digest, slug
from motion_embedding.debias import Debias
from motion_embedding.presets import Recipe


def test_equal_things_have_one_digest() -> None:
    assert digest(Recipe(steps=100), {"b": 1, "a": (2, 3)}) == digest(Recipe(), {"a": [2, 3], "b": 1})
    assert digest(np.arange(3)) == digest(np.arange(6)[:3])
    assert len({digest("a", "b"), digest("ab"), digest(["a", "b"]), digest("b", "a")}) == 4


@pytest.mark.parametrize("change", [{"steps": 99}, {"focus": 1.0}, {"query_key_rate": 1.0}, {"value_form": "linear"}])
def test_every_field_of_a_recipe_counts(change: dict) -> None:
    assert digest(replace(Recipe(), **change)) != digest(Recipe())


def test_another_default_is_another_result() -> None:
    """What a dataclass was not given counts too, so that a changed default makes results anew."""

    @dataclass
    class Settings:
        rate: float = 0.1

    before = digest(Settings())
    Settings.__init__.__defaults__ = (0.2,)
    assert digest(Settings()) != before


def test_debias_type_and_values_of_arrays_count() -> None:
    parts = [Debias(), Debias(until=0.5), np.zeros(4), np.ones(4), np.zeros((2, 2)), np.zeros(4, np.float32)]
    assert len({digest(x) for x in parts}) == len(parts)


def test_weights_count_by_their_contents(tmp_path: Path) -> None:
    def folder(name: str, weights: bytes, log: str = "") -> Path:
        (path := tmp_path / name / "unet").mkdir(parents=True)
        (path / "model.safetensors").write_bytes(weights)
        (path / "training_log.csv").write_text(log)
        return tmp_path / name

    first = folder("a", b"1")
    assert digest(first) == digest(folder("b", b"1", "another log")) != digest(folder("c", b"2"))
    assert digest(first / "unet" / "model.safetensors") == digest(tmp_path / "b" / "unet" / "model.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        contents(tmp_path / "empty")


def test_what_has_no_value_of_its_own_is_refused() -> None:
    with pytest.raises(TypeError):
        digest(object())


def test_names_of_files() -> None:
    assert slug("compact, error 0.4") == "compact__error_0.4"
