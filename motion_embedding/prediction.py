"""What a model of the host predicts, read off its sampling class."""

from __future__ import annotations

from .errors import InputError


def prediction_type(model_sampling) -> str:
    """The model's prediction space, read off the host's class: ``epsilon``, ``v``, ``sample`` or ``flow``."""
    names = {c.__name__ for c in type(model_sampling).__mro__}
    for name, prediction in (("X0", "sample"), ("V_PREDICTION", "v"), ("CONST", "flow"), ("EPS", "epsilon")):
        if name in names:
            return prediction
    raise InputError("model", "its prediction type is not known to this pack.", "Use an epsilon, v, x0 or flow model.")


def is_flow(sampling) -> bool:
    """Whether noise replaces the clip, ``(1 - sigma) * clip + sigma * noise``, rather than being added to it."""
    return prediction_type(sampling) == "flow"
