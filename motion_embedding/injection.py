"""(ComfyUI) Motion embeddings on a ``ModelPatcher``: one wrapper around each call of the model (design section 3)."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from weakref import WeakKeyDictionary

import torch
from comfy.patcher_extension import CallbacksMP, WrappersMP

from .applied import Applied
from .backbones import Backbone, Call, TemporalAttention, becoming, find_backbone, title_of
from .batch_windows import around_predict_noise
from .beside import KEY as BESIDE
from .embedding import MotionEmbedding
from .errors import InputError
from .experts import parts
from .fit import check_layers, check_range, fit_message
from .install import Installation, Source
from .stack import Entry, MotionStack

KEY = "motion_embedding"
_log = logging.getLogger(__name__)
_families: WeakKeyDictionary[torch.nn.Module, tuple[Backbone, list[TemporalAttention]]] = WeakKeyDictionary()


def wired_family(
    model: torch.nn.Module, options: dict | None = None, sampling: bool = False
) -> tuple[Backbone, list[TemporalAttention]]:
    """The family and temporal attentions of a ``BaseModel``; :class:`InputError` for a model of none.

    Those of AnimateDiff-Evolved count only while ``sampling``: before, they are left over from another graph.

    options: the ``transformer_options`` it runs with, which name what runs beside it.
    """
    if model in _families:
        return _families[model]
    beside = options[BESIDE].modules if options and BESIDE in options else ()
    try:
        backbone, attentions = find_backbone(model.diffusion_model, beside=beside)
    except InputError:
        if backbone := becoming(model.diffusion_model):
            return backbone, []
        raise
    if not backbone.comes_and_goes:
        _families[model] = backbone, attentions
    elif not sampling:
        attentions = [a for a in attentions if any(a.home in other.modules() for other in beside)]
    return backbone, attentions


def running_family(model: torch.nn.Module, options: dict | None = None) -> tuple[Backbone, list[TemporalAttention]]:
    """As :func:`wired_family`, of a model that samples: its attentions must be there."""
    backbone, attentions = wired_family(model, options, sampling=True)
    if not attentions:
        raise InputError(
            "model",
            f"it has nothing that mixes frames: no {backbone.title} model is on it.",
            "Put Load AnimateDiff Model, or AnimateDiff-Evolved's nodes, on its way to the sampler.",
        )
    return backbone, attentions


def options_of(model) -> dict:
    """The ``transformer_options`` of a ``ModelPatcher``."""
    return model.model_options.get("transformer_options", {})


def call_of(backbone: Backbone, x: torch.Tensor, options: dict, stack: MotionStack, frames: int | None) -> Call:
    """The layout of one call of the model, with the context window and the areas it is about.

    frames: ``num_video_frames`` of the call.
    """
    call, whole = backbone.call(x, options.get("cond_or_uncond", (0,)), frames=frames), stack.whole_shape
    corners = [stack.corners.get(uuid) for uuid in options.get("uuids", ())]
    if whole and any(corner is not None for corner in corners):
        call = call.at([corner or (0, 0) for corner in corners], whole[-2:])
    evolved = options.get("ad_params") or {}
    if evolved.get("sub_idxs") is not None:
        return call.within(evolved["sub_idxs"], evolved["full_length"])
    window = options.get("context_window")
    if window is None:
        return call
    return call.within(window.index_list, whole[window.dim] if whole else max(window.index_list) + 1)


def _stack_in(model_options: dict | None) -> MotionStack:
    return ((model_options or {}).get("transformer_options") or {}).get(KEY) or MotionStack()


def note_whole_shape(executor, x, timestep, model_options=None, seed=None):
    """Wrapper around one prediction: notes the shape of what is sampled, before context windows cut it up."""
    stack = _stack_in(model_options)
    stack.whole_shape = x.shape
    with stack.noise.prediction():
        return around_predict_noise(executor, x, timestep, model_options, seed)


def note_levels(executor, guider, sigmas, extra_args, callback, *args, **kwargs):
    """Wrapper around a sampler's run: notes its noise levels, while the GPU has nothing of it to do yet."""
    noise = _stack_in(extra_args.get("model_options")).noise
    with noise.run(sigmas, executor.class_obj):
        return executor(guider, sigmas, extra_args, noise.counting(callback), *args, **kwargs)


def note_areas(executor, model, conds, x_in, timestep, model_options):
    """Wrapper around the calls of one prediction: notes for which part of the picture each prompt is."""
    areas = [cond for group in conds for cond in group or () if "area" in cond]
    _stack_in(model_options).corners = {cond["uuid"]: tuple(cond["area"][-2:]) for cond in areas}
    return executor(model, conds, x_in, timestep, model_options)


def around_apply_model(
    executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs
):
    """The wrapper: while the model runs, its temporal attentions see the stack's active embeddings."""
    stack: MotionStack | None = (transformer_options or {}).get(KEY)
    model = executor.class_obj
    sources = stack.acting(t, model.model_sampling) if stack else []
    if not sources:
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
    family = running_family(model, transformer_options)
    call = call_of(family[0], x, transformer_options, stack, kwargs.get("num_video_frames"))
    call = family[0].extended(call, model.diffusion_model, kwargs)
    for source in sources:
        if isinstance(source, Applied):
            if message := fit_message(source, call):
                stack.announce(message)
            if family[0].comes_and_goes and not stack.checked:
                check_layers(family[1], source.embedding)

    known = bool(stack.prepared.inputs_of(call))
    motion = Installation(model.diffusion_model, sources, call, stack.prepared, family)
    checkpoints = stack.checkpoints.around(lambda: motion) if stack.checkpoints else nullcontext()
    with _eager_unless(known), motion, checkpoints:
        output = executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
    if len(sources) == len(stack.entries) and not stack.checked and stack.prepared.additions:
        stack.checked = True
        if unreached := stack.unreached():
            _families.pop(model, None)
            _log.warning("The model never came by these layers of the motion: %s", ", ".join(sorted(unreached)))
    return output


def _eager_unless(known: bool) -> AbstractContextManager:
    """Has a compiled model run as it is written while the first call shows what comes in where.

    What it compiles afterwards then serves every motion.
    """
    stance = getattr(torch.compiler, "set_stance", None)  # since torch 2.6; without it, one graph more is compiled
    return nullcontext() if known or stance is None else stance("force_eager")


_WRAPPERS = {
    WrappersMP.SAMPLER_SAMPLE: note_levels,
    WrappersMP.PREDICT_NOISE: note_whole_shape,
    WrappersMP.CALC_COND_BATCH: note_areas,
    WrappersMP.APPLY_MODEL: around_apply_model,
}


def with_source(model, source: Source, **when: float):
    """A clone of the ``ModelPatcher`` with one more source on its stack; the given one is left alone.

    when: as in :class:`Entry`.
    """
    clone = model.clone()
    options = clone.model_options.setdefault("transformer_options", {})
    stack = options.get(KEY, MotionStack()).plus(Entry(source, **when))
    options[KEY] = stack
    for place, wrapper in _WRAPPERS.items():
        clone.remove_wrappers_with_key(place, KEY)
        clone.add_wrapper_with_key(place, KEY, wrapper)
    clone.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, KEY)
    clone.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, lambda patcher: stack.forget())
    return clone


def without_sources(model):
    """A clone of the ``ModelPatcher`` on which no motion embedding acts."""
    clone = model.clone()
    clone.model_options.get("transformer_options", {}).pop(KEY, None)
    for place in _WRAPPERS:
        clone.remove_wrappers_with_key(place, KEY)
    clone.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, KEY)
    return clone


def check_fit(model, embedding: MotionEmbedding, name: str = "motion") -> None:
    """Raise :class:`InputError` about the input ``name`` unless ``embedding`` was learnt on this kind of model.

    Where the attentions come once the model samples, only the family can be checked here; the call checks the rest.
    """
    if embedding.boundary:
        raise InputError(name, "it is a motion for two models.", "Use one that was learnt on this model alone.")
    backbone, attentions = wired_family(model.model, options_of(model))
    if backbone.family != embedding.backbone:
        raise InputError(
            name,
            f"it was learnt on another kind of model ({title_of(embedding.backbone)}) than the connected one "
            f"({backbone.title}).",
            "Connect the kind of model it was learnt on, or train the motion again on this one.",
        )
    if attentions:
        check_layers(attentions, embedding, name)


def apply_embedding(
    model,
    embedding: MotionEmbedding,
    strength_query_key: float = 1.0,
    strength_value: float = 1.0,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    positive_only: bool = False,
    whole: bool = True,
    expert: str = "by noise level",
):
    """A ``ModelPatcher`` whose generations follow the embedding's motion; see ``ApplyMotionEmbedding``.

    ``whole`` stretches the motion over the whole clip where context windows cut it up; else every window has all of it.
    It acts up to ``end_percent`` or to where the embedding's debiasing says, whichever comes first.
    ``expert``: which half of a motion for two models, see :func:`~motion_embedding.experts.parts`.
    """
    halves = parts(embedding, expert)
    for half in halves:
        check_fit(model, half.embedding)
    check_range(start_percent, end_percent)
    if start_percent >= embedding.debias.until:
        raise InputError(
            "start_percent",
            f"{start_percent} is not before {embedding.debias.until}, where the motion itself ends.",
            "Lower it, or raise until in Debias Motion.",
        )
    end_percent = min(end_percent, embedding.debias.until)
    for half in halves:
        source = Applied(half.embedding, strength_query_key, strength_value, positive_only, whole)
        when = {"start_percent": start_percent, "end_percent": end_percent, "above": half.above, "below": half.below}
        model = with_source(model, source, **when)
    return model
