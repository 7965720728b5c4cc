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
from .node_text import tell

KEY = "motion_embedding"
_log = logging.getLogger(__name__)
_families: WeakKeyDictionary[torch.nn.Module, tuple[Backbone, list[TemporalAttention]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Entry:
    """One source and the part of the sampling in which it acts, in percent of the way from noise to clip."""

    source: Source
    start_percent: float = 0.0
    end_percent: float = 1.0

    def active(self, sigma: torch.Tensor, sampling) -> bool:
        """Bounds are turned into noise levels here: a node further down may have changed the model's schedule."""
        if self.start_percent <= 0 and self.end_percent >= 1:
            return True
        begin, end = (float(sampling.percent_to_sigma(p)) for p in (self.start_percent, self.end_percent))
        return begin >= float(sigma.max()) > end


class MotionStack:
    """The sources wired to one ``MODEL``, in order, and what has been prepared of them for this sampling run.

    It rides in ``transformer_options``, which ComfyUI deep-copies at will; the tensors must not be copied along.
    """

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self.prepared: dict = {}
        self.announced: set[str] = set()
        self.checked = False

    def __deepcopy__(self, memo: dict) -> MotionStack:
        return self

    def plus(self, entry: Entry) -> MotionStack:
        return MotionStack((*self.entries, entry))

    def announce(self, message: str) -> None:
        """Tell the person something, once."""
        if message not in self.announced:
            self.announced.add(message)
            tell(message)

    def unreached(self) -> set[str]:
        """Layers of the embeddings in use that no call of the model has come by so far."""
        named = {name for e in self.entries if isinstance(e.source, Applied) for name in e.source.embedding.layers}
        return named - {layer for _, layer, *_ in self.prepared}


def family_of(model: torch.nn.Module) -> tuple[Backbone, list[TemporalAttention]]:
    """The family and temporal attentions of a ``BaseModel``, found once; :class:`InputError` for a model of none."""
    if model not in _families:
        _families[model] = find_backbone(model.diffusion_model)
    return _families[model]


def around_apply_model(
    executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs
):
    """The wrapper: while the model runs, its temporal attentions see the stack's active embeddings."""
    stack: MotionStack | None = (transformer_options or {}).get(KEY)
    model = executor.class_obj
    sources = [e.source for e in stack.entries if e.active(t, model.model_sampling)] if stack else []
    if not sources:
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
    family = family_of(model)
    call = family[0].call(x, transformer_options.get("cond_or_uncond", (0,)))
    for source in sources:
        if isinstance(source, Applied) and (message := fit_message(source.embedding, call)):
            stack.announce(message)
    with installed(model.diffusion_model, sources, call, stack.prepared, family):
        output = executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
    if len(sources) == len(stack.entries) and not stack.checked:
        stack.checked = True
        if unreached := stack.unreached():
            _families.pop(model, None)
            _log.warning("The model never came by these layers of the motion: %s", ", ".join(sorted(unreached)))
    return output


def fit_message(embedding: MotionEmbedding, call) -> str | None:
    """What is resampled when ``embedding`` meets this clip, in words."""
    learnt, given = f"{embedding.frames} frames", f"{call.frames} frames"
    if embedding.height:  # 0 in an imported camera motion, which has no size
        learnt += f" at latent size {embedding.width}x{embedding.height}"
        given += f" at {call.width}x{call.height}"
    same_size = not embedding.height or (embedding.height, embedding.width) == (call.height, call.width)
    if embedding.frames == call.frames and same_size:
        return None
    return f"The motion embedding was learnt on {learnt}; it is resampled to the {given} of this latent."


def with_source(model, source: Source, start_percent: float = 0.0, end_percent: float = 1.0):
    """A clone of the ``ModelPatcher`` with one more source on its stack; the given one is left alone."""
    clone = model.clone()
    options = clone.model_options.setdefault("transformer_options", {})
    stack = options.get(KEY, MotionStack()).plus(Entry(source, start_percent, end_percent))
    options[KEY] = stack
    clone.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_apply_model)
    clone.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, KEY)
    clone.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, lambda patcher: stack.prepared.clear())
    return clone


def without_sources(model):
    """A clone of the ``ModelPatcher`` on which no motion embedding acts."""
    clone = model.clone()
    clone.model_options.get("transformer_options", {}).pop(KEY, None)
    clone.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    clone.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, KEY)
    return clone


def call_without_sources(extra_args: dict) -> dict:
    """The same call of the model with no motion on it, neither the one in training nor those wired before it."""
    options = extra_args["model_options"]
    plain = {k: v for k, v in options["transformer_options"].items() if k != KEY}
    return {**extra_args, "model_options": {**options, "transformer_options": plain}}


def check_fit(model, embedding: MotionEmbedding, name: str = "motion") -> None:
    """Raise :class:`InputError` about the input ``name`` unless ``embedding`` was learnt on this kind of model."""
    backbone, attentions = family_of(model.model)
    if backbone.family != embedding.backbone:
        raise InputError(
            name,
            f"it was learnt on a {embedding.backbone} model, and the connected model is {backbone.family}.",
            "Connect the kind of model it was learnt on, or train the motion again on this one.",
        )
    if unknown := reach(attentions, embedding.layers):
        raise InputError(
            name,
            f"this model has no layer {unknown[0]!r} ({len(unknown)} of {len(embedding.layers)} are missing).",
            "Connect the model it was learnt on, or train the motion again on this one.",
        )
    widths = {a.layer: a.width for a in attentions}
    for layer, rows in embedding.layers.items():
        if rows.width != widths[layer]:
            raise InputError(
                name,
                f"layer {layer!r} is {rows.width} wide, and {widths[layer]} in the connected model.",
                "Connect the model it was learnt on, or train the motion again on this one.",
            )


def check_range(start_percent: float, end_percent: float) -> None:
    """Raise :class:`InputError` unless the range holds anything."""
    if start_percent >= end_percent:
        raise InputError(
            "start_percent",
            f"{start_percent} is not before the end, {end_percent}.",
            "Lower it, or raise end_percent.",
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
    """A ``ModelPatcher`` whose generations follow the embedding's motion; see ``ApplyMotionEmbedding``.

    It acts up to ``end_percent`` or to where the embedding's debiasing says, whichever comes first.
    """
    check_fit(model, embedding)
    check_range(start_percent, end_percent)
    if start_percent >= embedding.debias.until:
        raise InputError(
            "start_percent",
            f"{start_percent} is not before {embedding.debias.until}, where the motion itself ends.",
            "Lower it, or raise until in Debias Motion.",
        )
    end_percent = min(end_percent, embedding.debias.until)
    source = Applied(embedding, strength_query_key, strength_value, positive_only)
    return with_source(model, source, start_percent, end_percent)
