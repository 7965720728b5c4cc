"""Preparing at ZeroScope's size: all that is added is prepared, by what a call would ask for."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from benchmarks import preparing
from benchmarks.preparing import attentions, levels, seconds
from benchmarks.sampling_overhead import TABLE, prepared

CPU = torch.device("cpu")
pytestmark = pytest.mark.host


@pytest.mark.parametrize(("layers", "counts"), [("paper", {1280: 10}), ("recommended", {320: 10, 640: 10, 1280: 12})])
def test_every_attention_is_counted_once(comfy, layers: str, counts: dict[int, int]) -> None:
    _, sites = attentions(layers)
    found: Counter[int] = Counter()
    for site, count in levels(sites):
        found[site.width] += count
    assert found == counts


def test_all_that_is_added_is_prepared_anew_every_time(comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every round, query-keys once and values once for the attention."""
    for name, value in (("FRAMES", 2), ("HEIGHT", 8), ("WIDTH", 16)):
        monkeypatch.setattr(preparing, name, value)
    backbone, sites = attentions("paper")
    asked: list[tuple] = []
    original = preparing.Applied.addition

    def noting(self, site, projection, grid, *where):
        asked.append((projection, grid))
        return original(self, site, projection, grid, *where)

    monkeypatch.setattr(preparing.Applied, "addition", noting)
    assert seconds(backbone, sites[:1], CPU, torch.float32) >= 0
    assert Counter(asked) == {(p, (2, 4)): preparing.ROUNDS + 1 for p in ("query_key", "value")}


def test_rows_fit_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "whole", lambda layers, device: (0.1234, {"one of them": 0.01}))
    rows = TABLE.with_rows(prepared(CPU)).rows
    assert [row[0] for row in rows] == [f"preparing at ZeroScope size, {layers}" for layers in ("paper", "recommended")]
    assert {row[5] for row in rows} == {"123"}
