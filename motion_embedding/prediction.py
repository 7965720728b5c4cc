"""What a model of the host predicts, read off its sampling class."""

from __future__ import annotations

from .errors import InputError

# By the host's class; one comes before those it builds on.
_SPACES = {"X0": "sample", "V_PREDICTION": "v", "CONST": "flow", "COSMOS_RFLOW": "cosmos_flow", "EPS": "epsilon"}


def prediction_type(model_sampling) -> str:
    """The model's prediction space, read off the host's class: one of those of :func:`~.losses.own_target`."""
    names = {c.__name__ for c in type(model_sampling).__mro__}
    for name, prediction in _SPACES.items():
        if name in names and "EDM" not in names:  # which is a V_PREDICTION of another sign
            return prediction
    raise InputError("model", "its prediction type is not known to this pack.", "Use an epsilon, v, x0 or flow model.")


def is_flow(sampling) -> bool:
    """Whether noise replaces the clip, ``(1 - sigma) * clip + sigma * noise``, rather than being added to it."""
    return prediction_type(sampling) == "flow"
