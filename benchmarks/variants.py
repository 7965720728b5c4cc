"""What the ablation compares: one line of the table each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Noise:
    """How much inverted noise the sampling starts from, and how it was inverted and mixed in."""

    amount: float
    strategy: str = "blend"
    published: bool = False


@dataclass(frozen=True)
class Variant:
    """recipe: changes to the default training; None for no embedding. debias: the fields of ``Debias``."""

    group: str
    name: str
    recipe: Mapping[str, Any] | None = field(default_factory=dict)
    debias: Mapping[str, str] = field(default_factory=dict)
    query_key: float = 1.0
    value: float = 1.0
    noise: Noise | None = None
    camera_clips: bool = False


_DIFFERENCE = {"value": "difference"}
_PAPER = {"loss": "debiased_hybrid", "learning_rate": 0.02, "steps": 350, "layers": "paper"}

VARIANTS = [
    Variant("embedding", "none", None, camera_clips=True),
    Variant("embedding", "both, plain", camera_clips=True),
    Variant("debias", "difference", debias=_DIFFERENCE, camera_clips=True),
    Variant("embedding", "query-key only", value=0.0),
    Variant("embedding", "value only", query_key=0.0),
    Variant("debias", "difference without first", debias={"value": "difference_without_first"}),
    Variant("debias", "without mean", debias={"value": "without_mean"}),
    Variant("debias", "camera (value dropped)", debias={"value": "camera"}, camera_clips=True),
]
