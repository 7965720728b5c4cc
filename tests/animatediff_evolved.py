"""A stand-in for AnimateDiff-Evolved, so that tests need none of it. Our own writing, of what was seen of it running.

What it shares with the real one (1.5.7): its motion modules are put into the UNet's blocks by a ``ModelPatcher``
injection under the key ``ADE``, after the last spatial transformer, else the first residual block, and stay there until
another patcher of the same model is loaded; in a block with several, the module of the model applied first comes first.
The host calls them through ``forward_timestep_embed_patch``. While sampling, ``comfy.samplers.sampling_function`` is
another one that puts ``ad_params`` into the ``transformer_options``, and a wrapper of ``CALC_COND_BATCH`` cuts the
batch into context windows, inside of which the frames of a window are all that the model sees.

Every function needs ComfyUI importable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import nn

from motion_embedding.motion_module import MotionModel, MotionModule
from motion_embedding.motion_module_install import followed

KEY = "ADE"


class VanillaTemporalModule(nn.Module):
    """One motion module as it sits in a UNet's block. The real one has the same attributes."""

    def __init__(self, module: MotionModule) -> None:
        super().__init__()
        self.temporal_transformer = module.temporal_transformer
        self.video_length = 16
        self.effect: float | None = None
        self.views: Sequence[Sequence[int]] | None = None

    def forward(self, x: torch.Tensor, context: Any = None, transformer_options: dict | None = None) -> torch.Tensor:
        if self.effect == 0:
            return x
        if self.views is None:
            return x + self.temporal_transformer(x, self.video_length)
        clips = x.unflatten(0, (-1, self.video_length))
        parts = [self.temporal_transformer(clips[:, view].flatten(0, 1), len(view)) for view in self.views]
        parts = [part.unflatten(0, (len(clips), -1)) for part in parts]
        return x + torch.cat(parts, dim=1).flatten(0, 1)


class AnimateDiffModel(nn.Module):
    """A motion model: the parameters have the names of the published files."""

    def __init__(self, motion: MotionModel) -> None:
        super().__init__()
        self.down_blocks, self.up_blocks, self.mid_block = motion.down_blocks, motion.up_blocks, motion.mid_block
        for level in self.levels():
            level.motion_modules = nn.ModuleList(VanillaTemporalModule(m) for m in level.motion_modules)

    def levels(self) -> Iterator[nn.Module]:
        yield from self.down_blocks
        yield from () if self.mid_block is None else (self.mid_block,)
        yield from self.up_blocks

    def modules_of(self, levels: Sequence[nn.Module]) -> list[VanillaTemporalModule]:
        return [module for level in levels for module in level.motion_modules]

    def set_video_length(self, frames: int) -> None:
        for module in self.modules_of(list(self.levels())):
            module.video_length = frames

    def set_effect(self, effect: float | None) -> None:
        for module in self.modules_of(list(self.levels())):
            module.effect = effect

    def inject(self, patcher: Any) -> None:
        unet = patcher.model.diffusion_model
        sides = [(unet.input_blocks, self.down_blocks), (unet.output_blocks, self.up_blocks)]
        if self.mid_block is not None:
            sides.append(([unet.middle_block], [self.mid_block]))
        for blocks, levels in sides:
            places = [block for block in blocks if followed(block) is not None]
            for block, module in zip(places, self.modules_of(levels), strict=True):
                block.insert(list(block).index(followed(block)) + 1, module)

    def eject(self, patcher: Any) -> None:
        unet = patcher.model.diffusion_model
        for block in (*unet.input_blocks, *unet.output_blocks, unet.middle_block):
            for place in reversed([i for i, layer in enumerate(block) if isinstance(layer, VanillaTemporalModule)]):
                block.pop(place)


def evolved(
    model: Any,
    *motions: MotionModel,
    windows: Sequence[Sequence[int]] | None = None,
    views: Sequence[Sequence[int]] | None = None,
    start_percent: float = 0.0,
) -> Any:
    """A clone of the ``ModelPatcher`` with motion models on it, the first of them acting first.

    windows: the frames of each context window. views: likewise of each view, one after another, inside the modules.
    start_percent: from where in the sampling on they act.
    """
    from comfy.model_patcher import ModelPatcher
    from comfy.patcher_extension import PatcherInjection, WrappersMP

    models = [AnimateDiffModel(motion) for motion in motions]
    for module in (m for model_ in models for m in model_.modules_of(list(model_.levels()))):
        module.views = views
    clone = model.clone()
    # The real one keeps the last applied first: each is put where the one before it was, and pushes that on.
    patchers = [ModelPatcher(m, model.load_device, model.offload_device) for m in reversed(models)]
    clone.set_additional_models(KEY, patchers)
    clone.set_injections(KEY, [PatcherInjection(inject=_inject, eject=_eject)])
    clone.set_model_forward_timestep_embed_patch((VanillaTemporalModule, _run))
    clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _Sampling(windows, start_percent).around_outer_sample)
    clone.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, _around_calc_cond_batch)
    return clone


def motion_models(patcher: Any) -> list[AnimateDiffModel]:
    return [p.model for p in patcher.get_additional_models_with_key(KEY)]


def _inject(patcher: Any) -> None:
    for motion in motion_models(patcher):
        motion.inject(patcher)


def _eject(patcher: Any) -> None:
    for motion in motion_models(patcher):
        motion.eject(patcher)


def _run(layer: nn.Module, x: torch.Tensor, emb: Any, context: Any, transformer_options: dict, *rest: Any):
    return layer(x, context, transformer_options=transformer_options)


class _Sampling:
    def __init__(self, windows: Sequence[Sequence[int]] | None, start_percent: float) -> None:
        self.windows, self.start_percent = windows, start_percent
        self.full_length = 0

    def around_outer_sample(self, executor: Any, noise: torch.Tensor, latent: torch.Tensor, *rest: Any, **more: Any):
        import comfy.samplers

        self.full_length = len(latent)
        for motion in motion_models(executor.class_obj.model_patcher):
            motion.set_video_length(self.full_length)
        with mock.patch.object(comfy.samplers, "sampling_function", self.sampling_function):
            return executor(noise, latent, *rest, **more)

    def sampling_function(
        self, model: Any, x: torch.Tensor, t: torch.Tensor, uncond, cond, scale, model_options=None, seed=None
    ) -> torch.Tensor:
        import comfy.samplers

        acts = float(t[0]) <= float(model.model_sampling.percent_to_sigma(self.start_percent))
        for motion in motion_models(model.current_patcher):
            motion.set_effect(None if acts else 0.0)
        params = {"full_length": self.full_length, "context_length": None, "sub_idxs": None}
        options = {**model_options["transformer_options"], "ad_params": params, "ADGS": self}
        model_options = {**model_options, "transformer_options": options}
        conds = [cond, None if scale == 1 else uncond]
        found = comfy.samplers.calc_cond_batch(model, conds, x, t, model_options)
        return comfy.samplers.cfg_function(model, *found, scale, x, t, model_options, cond, uncond)


def _around_calc_cond_batch(executor: Any, model: Any, conds: list, x: torch.Tensor, t: torch.Tensor, model_options):
    options = model_options["transformer_options"]
    sampling: _Sampling = options["ADGS"]
    if sampling.windows is None:
        return executor(model, conds, x, t, model_options)
    motions = motion_models(model.current_patcher)
    totals, counts = [torch.zeros_like(x) for _ in conds], torch.zeros(len(x), 1, 1, 1)
    for window in sampling.windows:
        for motion in motions:
            motion.set_video_length(len(window))
        options["ad_params"]["sub_idxs"] = window
        options["ad_params"]["context_length"] = len(window)
        for total, part in zip(totals, executor(model, conds, x[window], t[window], model_options), strict=True):
            total[window] += part
        counts[window] += 1
    return [total / counts for total in totals]
