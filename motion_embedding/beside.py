"""What runs with a model without being part of its module tree, named where the model's call can find it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

KEY = "motion_embedding_beside"


class Beside:
    """Rides in ``transformer_options`` under :data:`KEY`, which ComfyUI deep-copies at will; modules must not be."""

    def __init__(self, modules: tuple[nn.Module, ...]) -> None:
        self.modules = modules

    def __deepcopy__(self, memo: dict) -> Beside:
        return self


def modules_beside(options: Mapping[str, object] | None) -> tuple[nn.Module, ...]:
    """What runs beside a model with these ``transformer_options``."""
    beside = (options or {}).get(KEY)
    return beside.modules if isinstance(beside, Beside) else ()
