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
    """recipe: changes to ``TRAINING``; None for no embedding. debias: the fields of ``Debias``."""

    group: str
    name: str
    recipe: Mapping[str, Any] | None = field(default_factory=dict)
    debias: Mapping[str, Any] = field(default_factory=dict)
    query_key: float = 1.0
    value: float = 1.0
    noise: Noise | None = None
    path_clips: bool = True
    camera_clips: bool = False


# How every row is trained unless it says otherwise, whatever the presets say today.
TRAINING = {"steps": 200, "learning_rate": 0.1, "query_key_rate": 1.0, "focus": 1.0}
# As the presets train.
_PRESETS = {"steps": 100, "query_key_rate": 4.0, "focus": 2.0}
_DIFFERENCE = {"value": "difference"}
_PAPER = {"loss": "debiased_hybrid", "learning_rate": 0.02, "steps": 350, "layers": "paper"}

VARIANTS = [
    Variant("embedding", "none", None, camera_clips=True),
    Variant("embedding", "both, plain", camera_clips=True),
    Variant("embedding", "query-key only", value=0.0),
    Variant("embedding", "value only", query_key=0.0),
    Variant("debias", "difference", debias=_DIFFERENCE, camera_clips=True),
    Variant("debias", "difference without first", debias={"value": "difference_without_first"}),
    Variant("debias", "without mean", debias={"value": "without_mean"}),
    Variant("debias", "camera (value dropped)", debias={"value": "camera"}, camera_clips=True),
    Variant("acting until", "plain, until 0.5", debias={"until": 0.5}, camera_clips=True),
    Variant("acting until", "plain, until 0.65", debias={"until": 0.65}, camera_clips=True),
    Variant("acting until", "plain, until 0.8", debias={"until": 0.8}, camera_clips=True),
    Variant("acting until", "difference, until 0.65", debias={**_DIFFERENCE, "until": 0.65}, camera_clips=True),
    Variant("presets", "object motion", _PRESETS, {"until": 0.5}, camera_clips=True),
    Variant("presets", "object + camera", _PRESETS, {"until": 0.8}, camera_clips=True),
    Variant("presets", "camera motion", _PRESETS, {**_DIFFERENCE, "until": 0.65}, camera_clips=True),
    Variant("value form", "linear in x and y", {"value_form": "linear"}, camera_clips=True, path_clips=False),
    *(
        Variant("loss", f"{loss.replace('_', ' ')}", {"loss": loss})
        for loss in ("debiased", "debiased_hybrid", "motion_distillation")
    ),
    *(Variant("noise", f"blend {p}, no embedding", None, noise=Noise(p)) for p in (0.5, 0.25, 0.75)),
    *(Variant("noise", f"blend {p}, difference", debias=_DIFFERENCE, noise=Noise(p)) for p in (0.5, 0.25, 0.75)),
    Variant("noise", "blend 0.5 as published, no embedding", None, noise=Noise(0.5, published=True)),
    Variant("noise", "blend 0.5 as published, difference", debias=_DIFFERENCE, noise=Noise(0.5, published=True)),
    Variant("paper", "recipe, noise and difference", _PAPER, _DIFFERENCE, noise=Noise(0.5, published=True)),
    Variant("paper", "recipe and difference", _PAPER, _DIFFERENCE),
    *(
        Variant("noise", f"{strategy.replace('_', '-')} 0.5, no embedding", None, noise=Noise(0.5, strategy))
        for strategy in ("frequency", "blend_frequency", "fft")
    ),
]
