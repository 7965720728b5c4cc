"""How to train, and named choices of it for what a person wants.

What the choices rest on is in ``benchmarks/RESULTS.md``: how to train under "Time to quality", how to use what was
learnt under "The ablation".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .debias import Debias


@dataclass(frozen=True)
class Recipe:
    """How to train. Percent runs from pure noise (0) to the clean clip (1), as everywhere in ComfyUI.

    query_key_rate: what ``learning_rate``, which is that of the values, is multiplied by for the query-key rows.
    loss: one of ``losses.LOSSES``.
    focus: how much oftener high noise is visited than low; 1 visits all percents alike (``noise_levels.spread``).
    value_form: how freely values vary over the picture: ``full``, or the polynomials of ``spatial.DEGREES``.
    checkpointing: one of ``checkpointing.CHOICES``.
    """

    steps: int = 100
    learning_rate: float = 0.1
    query_key_rate: float = 4.0
    loss: str = "base"
    layers: str = "recommended"
    seed: int = 0
    start_percent: float = 0.0
    end_percent: float = 1.0
    focus: float = 2.0
    weight_decay: float = 0.01
    value_form: str = "full"
    checkpointing: str = "automatic"


@dataclass(frozen=True)
class Preset:
    """A recipe, and how what it learns is rid of appearance."""

    recipe: Recipe = field(default_factory=Recipe)
    debias: Debias = field(default_factory=Debias)


PRESETS: dict[str, Preset] = {
    "object motion": Preset(debias=Debias(until=0.5)),
    "camera motion": Preset(debias=Debias("difference", until=0.65)),
    "object + camera": Preset(debias=Debias(until=0.8)),
    "paper": Preset(
        Recipe(steps=350, learning_rate=0.02, query_key_rate=1.0, loss="debiased_hybrid", layers="paper", focus=1.0),
        debias=Debias("difference"),
    ),
}
