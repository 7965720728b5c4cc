"""(ComfyUI) The steps of a training, see ``training``."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import comfy.model_management
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher

from . import losses, memory
from .backbones import Backbone, Call
from .backward import without_backward
from .beside import modules_beside
from .checkpointing import Checkpoints
from .embedding import MotionEmbedding
from .errors import InputError
from .fit import check_layers
from .frozen import frozen
from .injection import running_family
from .noise_levels import spread
from .optimising import Arriving, adamw, descend, sent
from .presets import Recipe
from .spatial_lora import SpatialLora, call_of_still
from .trainable import TrainableMotion
from .training_preview import CALLS, TrainingPreview
from .training_progress import Reporter, recent

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Noised:
    """A clip and the noise to put on it, latents of the family, and the noise level of each entry of its batch."""

    clip: torch.Tensor
    noise: torch.Tensor
    sigma: torch.Tensor

    @classmethod
    def at(cls, sigma: float, clip: torch.Tensor, noise: torch.Tensor) -> Noised:
        return cls(clip, noise, torch.full((len(clip),), sigma, device=clip.device))

    def frame(self, index: int, backbone: Backbone, call: Call) -> Noised:
        """One frame of it, as a clip of its own."""
        parts = (backbone.video(x, call)[:, :, index : index + 1] for x in (self.clip, self.noise))
        clip, noise = (backbone.latent(part) for part in parts)
        return Noised(clip, noise, self.sigma[: len(clip)])


class TrainingLoop(comfy.samplers.Sampler):
    """Optimises the trainable rows, and the LoRA where the loss has one; ``history`` is the loss of every step."""

    def __init__(
        self,
        backbone: Backbone,
        trainable: TrainableMotion,
        recipe: Recipe,
        initial: MotionEmbedding | None,
        prediction: str,
        lora: SpatialLora | None,
        checkpoints: Checkpoints,
        reporter: Reporter,
    ) -> None:
        self.backbone, self.trainable, self.recipe = backbone, trainable, recipe
        self.initial, self.prediction = initial, prediction
        self.lora, self.checkpoints, self.reporter = lora, checkpoints, reporter
        self.history: list[float] = []

    def recent_loss(self) -> float:
        return recent(self.history)

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask=None, disable_pbar=False
    ) -> torch.Tensor:
        recipe, clip, generator = self.recipe, latent_image, torch.Generator().manual_seed(self.recipe.seed)
        sampling = model_wrap.inner_model.model_sampling
        levels = self._levels(sampling, torch.rand((), generator=generator).item())
        bar = comfy.utils.ProgressBar(recipe.steps)
        patchers = [model_wrap.model_patcher, *model_wrap.loaded_models]  # ControlNets and motion models with it
        with contextlib.ExitStack() as held:
            for patcher in patchers:
                pinned = list(patcher.pinned)
                patcher.unpin_all_weights()  # the host pins by address, and tensors are about to be replaced
                held.enter_context(frozen(patcher.model))
                for key in pinned:
                    patcher.pin_weight_to_device(key)
            self._choose(model_wrap.inner_model, extra_args["model_options"])
            masked = comfy.samplers.KSamplerX0Inpaint(model_wrap, sigmas)
            masked.latent_image, masked.noise = clip, torch.zeros_like(clip)
            run = partial(masked, denoise_mask=denoise_mask, **extra_args)
            run_still = partial(model_wrap, **call_of_still(extra_args))
            self.checkpoints.measuring = True
            with torch.no_grad():
                self._run(run, sampling, Noised.at(float(sampling.percent_to_sigma(0.5)), clip, torch.zeros_like(clip)))
            self.checkpoints.measuring = False
            self.trainable.allocate(clip.device, self.initial)
            self._fit_into(clip.device, patchers)
            groups = self.trainable.groups(recipe.learning_rate, recipe.query_key_rate)
            optimiser = adamw(groups, recipe.learning_rate, recipe.weight_decay)
            computes = model_wrap.inner_model.manual_cast_dtype or model_wrap.inner_model.get_dtype()
            scaler = torch.amp.GradScaler(clip.device.type, enabled=computes == torch.float16)
            preview = TrainingPreview(
                model_wrap, sigmas, extra_args, denoise_mask, clip, self.backbone, self.trainable.call, recipe
            )
            self.reporter.start(preview.show, CALLS)
            for step, level in enumerate(levels):
                comfy.model_management.throw_exception_if_processing_interrupted()
                reference = int(torch.randint(self.trainable.call.frames, (), generator=generator))
                masked.noise = sent(torch.randn(clip.shape, generator=generator), clip)
                noised = Noised.at(level, clip, masked.noise)
                frame = self.lora.draw(self.trainable.call.frames) if self.lora else None
                with self.lora.attached() if frame is not None else contextlib.nullcontext():
                    loss = losses.LOSSES[recipe.loss](*self._predict(run, sampling, noised), reference).mean()
                    if not loss.requires_grad:
                        raise without_backward()
                    arriving = Arriving(loss)
                    scaler.scale(loss).backward()
                    # Only now: the device has the backward to do while the loss comes in and the next step is made up.
                    value = self._finite(arriving.get(), step)
                    descend(optimiser, scaler)
                if frame is not None:  # after the clip's pass is freed, and from the same state of the LoRA
                    with self.lora.learning():
                        still = noised.frame(frame, self.backbone, self.trainable.call)
                        look = losses.base(*self._run(run_still, sampling, still)).mean()
                        scaler.scale(look).backward()
                        descend(self.lora.optimiser, scaler)
                scaler.update()
                self.history.append(value)
                bar.update_absolute(step + 1, recipe.steps)
                self.reporter.after(self.history)
        return torch.zeros_like(latent_image)

    def _levels(self, sampling, offset: float) -> list[float]:
        """The noise level of every step. All beforehand, since the host's schedule lies on the device."""
        low, high = max(self.recipe.start_percent, 1e-3), min(self.recipe.end_percent, 1 - 1e-3)
        percents = (spread(step, offset, low, high, self.recipe.focus) for step in range(self.recipe.steps))
        return [float(sampling.percent_to_sigma(percent)) for percent in percents]

    def _fit_into(self, device: torch.device, patchers: Sequence[ModelPatcher]) -> None:
        """Settle what is kept for ``backward`` and log what training will need.

        patchers: in use. Other models that the host has on the ``device`` go where there is no room beside them.
        """
        if not self.checkpoints.blocks:
            return
        management, own = comfy.model_management, memory.of_values(sum(p.numel() for p in self.trainable.parameters()))
        used = {id(patcher.model) for patcher in patchers}
        loaded = [one for one in management.current_loaded_models if one.model and id(one.model.model) in used]
        management.free_memory(memory.to_have(own + self.checkpoints.least()), device, keep_loaded=loaded)
        free = management.get_free_memory(device)
        kept = self.checkpoints.choose(self.recipe.checkpointing, memory.usable(free) - own)
        _log.info(memory.needs(own, kept, self.checkpoints, free))

    def _choose(self, model: torch.nn.Module, options: dict) -> None:
        """Settle on the layers where they came with the sampling, and were not there to choose from before."""
        if self.trainable.chosen:
            return
        _, attentions = running_family(model, options.get("transformer_options"))
        if self.lora is not None:
            raise InputError(
                "loss",
                "debiased_hybrid shows the model single frames, and AnimateDiff-Evolved runs it on whole clips only.",
                "Use debiased, or Load AnimateDiff Model in place of AnimateDiff-Evolved's nodes.",
            )
        if self.initial is not None:
            check_layers(attentions, self.initial, "initial")
        self.trainable.choose(chosen := self.backbone.select(attentions, self.recipe.layers))
        blocks = self.backbone.blocks(model.diffusion_model, modules_beside(options.get("transformer_options")))
        self.checkpoints.blocks = memory.learning(blocks, chosen)

    def _predict(self, run: Callable, sampling, noised: Noised) -> tuple[torch.Tensor, torch.Tensor]:
        """As :meth:`_run`, both as ``[B, C, F, h, w]``."""
        prediction, target = self._run(run, sampling, noised)
        return tuple(self.backbone.video(x, self.trainable.call) for x in (prediction, target))

    def _run(self, run: Callable, sampling, noised: Noised) -> tuple[torch.Tensor, torch.Tensor]:
        """The frozen model's prediction and its target, both in the model's own space."""
        clip, noise, sigma = noised.clip, noised.noise, noised.sigma
        x0 = run(sampling.noise_scaling(sigma, noise, clip, False), sigma)
        target = losses.own_target(self.prediction, clip, noise, sigma)
        return target + losses.own_error(self.prediction, x0 - clip, sigma), target

    def _finite(self, loss: float, step: int) -> float:
        if not math.isfinite(loss):
            raise InputError(
                "learning_rate",
                f"the loss became {loss} at step {step + 1}.",
                f"Lower it (it is {self.recipe.learning_rate}), or run the model in bf16 or fp32.",
            )
        return loss
