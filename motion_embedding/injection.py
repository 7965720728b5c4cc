"""(ComfyUI) Motion embeddings on a ``ModelPatcher``: one wrapper around each call of the model (design section 3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from comfy.patcher_extension import CallbacksMP, WrappersMP

from .applied import Applied
from .backbones import Backbone, TemporalAttention, find_backbone
from .embedding import MotionEmbedding
from .errors import InputError
from .install import Source, installed, reach

KEY = "motion_embedding"
_log = logging.getLogger(__name__)
_families: WeakKeyDictionary[torch.nn.Module, tuple[Backbone, list[TemporalAttention]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Entry:
    """One source and the noise levels at which it acts: ``start >= sigma >= end``; None for no bound."""

    source: Source
    start: float | None = None
    end: float | None = None

    def active(self, sigma: torch.Tensor) -> bool:
        if self.start is None and self.end is None:
            return True
        level = float(sigma.max())
        return (self.start is None or level <= self.start) and (self.end is None or level > self.end)


class MotionStack:
    """The sources wired to one ``MODEL``, in order, and what has been prepared of them for this sampling run.

    It rides in ``transformer_options``, which ComfyUI deep-copies at will; the tensors must not be copied along.
    """

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self.prepared: dict = {}
        self.announced: set[str] = set()

    def __deepcopy__(self, memo: dict) -> MotionStack:
        return self

    def plus(self, entry: Entry) -> MotionStack:
        return MotionStack((*self.entries, entry))

    def announce(self, message: str) -> None:
        """Log a message once per stack."""
        if message not in self.announced:
            self.announced.add(message)
            _log.info(message)


def family_of(model: torch.nn.Module) -> tuple[Backbone, list[TemporalAttention]]:
    """The family and temporal attentions of a ``BaseModel``, found once; :class:`InputError` for a model of none."""
    if model not in _families:
        _families[model] = find_backbone(model.diffusion_model)
    return _families[model]


def around_apply_model(
    executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs
):
    """The wrapper: while the model runs, its temporal attentions see the stack's active embeddings."""
    stack: MotionStack = (transformer_options or {}).get(KEY)
    sources = [e.source for e in stack.entries if e.active(t)] if stack else []
    if not sources:
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
    family = family_of(executor.class_obj)
    call = family[0].call(x, transformer_options.get("cond_or_uncond", (0,)))
    frozen = all(isinstance(s, Applied) for s in sources)
    for source in sources:
        if isinstance(source, Applied) and (message := fit_message(source.embedding, call)):
            stack.announce(message)
    with installed(executor.class_obj.diffusion_model, sources, call, stack.prepared if frozen else None, family):
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)


def fit_message(embedding: MotionEmbedding, call) -> str | None:
    """What is resampled when ``embedding`` meets this clip, in words."""
    learnt = (embedding.frames, embedding.height, embedding.width)
    given = (call.frames, call.height, call.width)
    if learnt == given:
        return None
    return (
        f"The motion embedding was learnt on {learnt[0]} frames at latent size {learnt[2]}x{learnt[1]}; "
        f"it is resampled to the {given[0]} frames at {given[2]}x{given[1]} of this latent."
    )


def with_source(model, source: Source, start_percent: float = 0.0, end_percent: float = 1.0):
    """A clone of the ``ModelPatcher`` with one more source on its stack; the given one is left alone."""
    sampling = model.get_model_object("model_sampling")
    start = None if start_percent <= 0 else sampling.percent_to_sigma(start_percent)
    end = None if end_percent >= 1 else sampling.percent_to_sigma(end_percent)
    clone = model.clone()
    options = clone.model_options.setdefault("transformer_options", {})
    stack = options.get(KEY, MotionStack()).plus(Entry(source, start, end))
    options[KEY] = stack
    clone.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_apply_model)
    clone.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, KEY)
    clone.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, lambda patcher: stack.prepared.clear())
    return clone


def check_fit(model, embedding: MotionEmbedding) -> None:
    """Raise :class:`InputError` unless ``embedding`` was learnt on this kind of model."""
    backbone, attentions = family_of(model.model)
    if backbone.family != embedding.backbone:
        raise InputError(
            "motion_embedding",
            f"it was learnt on a {embedding.backbone} model, and the connected model is {backbone.family}.",
            "Connect the kind of model it was learnt on, or train the motion again on this one.",
        )
    if unknown := reach(attentions, embedding.layers):
        raise InputError(
            "motion_embedding",
            f"this model has no layer {unknown[0]!r} ({len(unknown)} of {len(embedding.layers)} are missing).",
            "Connect the model it was learnt on, or train the motion again on this one.",
        )
    widths = {a.layer: a.width for a in attentions}
    for name, layer in embedding.layers.items():
        if layer.width != widths[name]:
            raise InputError(
                "motion_embedding",
                f"layer {name!r} is {layer.width} wide, and {widths[name]} in the connected model.",
                "Connect the model it was learnt on, or train the motion again on this one.",
            )


def apply_embedding(
    model,
    embedding: MotionEmbedding,
    strength_query_key: float = 1.0,
    strength_value: float = 1.0,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    positive_only: bool = False,
):
    """A ``ModelPatcher`` whose generations follow the embedding's motion; see ``ApplyMotionEmbedding``."""
    check_fit(model, embedding)
    if start_percent >= end_percent:
        raise InputError(
            "start_percent",
            f"{start_percent} is not before end_percent ({end_percent}).",
            "Lower it, or raise the end.",
        )
    source = Applied(embedding, strength_query_key, strength_value, positive_only)
    return with_source(model, source, start_percent, end_percent)
