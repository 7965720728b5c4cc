"""(ComfyUI) Learning a motion on the model a graph holds (design section 5).

The loop runs as a ``Sampler`` inside a guider, so that conditioning, ControlNet and the wrappers of other packs are
set up exactly as they are when sampling.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import comfy.model_management
import comfy.samplers
import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP
from PIL import Image

from . import losses, memory
from .applied import Applied
from .backbones import Backbone, Call
from .checkpointing import Checkpoints
from .debias import Debias
from .embedding import MotionEmbedding
from .errors import InputError
from .fit import check_layers, check_range, fit_message
from .frozen import frozen, out_of_inference
from .injection import KEY, check_fit, options_of, running_family, wired_family, with_source
from .memory import learning
from .node_text import tell
from .noise_levels import spread
from .plots import loss_curve
from .prediction import prediction_type
from .presets import Recipe
from .spatial_lora import SpatialLora, call_of_still
from .trainable import TrainableMotion

PREVIEW_EVERY = 10
_KEPT, _KEPT_AT_LEAST = 6, 3  # times what the host reserves for sampling; less where blocks can run again


@dataclass(frozen=True)
class Trained:
    embedding: MotionEmbedding
    losses: list[float]


def train_motion(
    model,
    positive: list,
    latents: torch.Tensor,
    recipe: Recipe,
    initial: MotionEmbedding | None = None,
    fps: float = 0.0,
    keep: Callable[[MotionEmbedding], None] | None = None,
    debias: Debias | None = None,
    mask: torch.Tensor | None = None,
) -> Trained:
    """Learn the motion of one clip.

    latents: as ``VAEEncode`` gives them for the family: ``[1, C, F, h, w]``, or ``[F, C, h, w]`` where frames lie on
        the batch axis.
    initial: a motion to start from.
    debias: what to record in the embedding for its use; training itself sees the values as they are.
    mask: noise mask of the latents, as for sampling: where it is 0 the model sees the clip itself, with no loss there.
    keep: called with what was learnt so far when the user cancels or the loss is lost; the error then goes on.

    Raises :class:`InputError` before any long work when the inputs cannot be trained on, and when the loss is lost.
    """
    backbone, attentions = wired_family(model.model, options_of(model))
    call = backbone.call(latents, (0,), "latents")
    if call.frames < 2:
        raise InputError("latents", "they hold one frame, and motion needs at least two.", "Load more frames.")
    if call.frames < (fewest := losses.FEWEST_FRAMES.get(recipe.loss, 2)):
        raise InputError("loss", f"{recipe.loss} needs at least {fewest} frames.", "Load more, or use another loss.")
    check_range(recipe.start_percent, recipe.end_percent)
    if initial is not None:
        check_fit(model, initial, "initial")
        if message := fit_message(Applied(initial), call):
            tell(message)
    if message := backbone.check_conditioning(model.model.diffusion_model, positive, latents, call):
        tell(message)
    chosen = backbone.select(attentions, recipe.layers) if attentions else ()
    trainable = TrainableMotion(chosen, recipe.value_form)
    sampling = model.get_model_object("model_sampling")
    with torch.inference_mode(False), torch.enable_grad():
        latents, positive = out_of_inference(latents), out_of_inference(positive)
        patcher = with_source(model, trainable)
        blocks = backbone.blocks(model.model.diffusion_model)
        checkpoints = options_of(patcher)[KEY].checkpoints = Checkpoints(learning(blocks, chosen), backbone.in_place)
        size = (model.model.manual_cast_dtype or model.model.get_dtype()).itemsize
        wanted = memory.expected(backbone, call, chosen, len(checkpoints.blocks), size)
        reserve = partial(_reserve, wanted, _KEPT_AT_LEAST if blocks else _KEPT)
        patcher.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, reserve)
        if any("control" in settings for _, settings in positive):
            patcher.set_model_input_block_patch_after_skip(_own_copy)
        patcher.model_options.pop("context_handler", None)  # a motion is learnt on the whole clip at once
        lora = None
        if recipe.loss == "debiased_hybrid":
            linears = backbone.spatial_linears(model.model.diffusion_model)
            lora = SpatialLora(linears, model.load_device, recipe.seed)
        loop = _TrainingLoop(backbone, trainable, recipe, initial, prediction_type(sampling), lora, checkpoints)

        def result() -> MotionEmbedding:
            return MotionEmbedding(
                layers=trainable.layers(),
                backbone=backbone.family,
                frames=trainable.call.frames,
                height=call.height,
                width=call.width,
                fps=fps,
                prediction=loop.prediction,
                debias=debias or Debias(),
                training={
                    **asdict(recipe),
                    "done": len(loop.history),
                    "final_loss": loop.recent_loss(),
                    "frames_each": backbone.frames_each,
                },
            )

        guider = comfy.samplers.CFGGuider(patcher)
        guider.inner_set_conds({"positive": positive})
        try:
            mask = out_of_inference(mask)
            guider.sample(torch.zeros_like(latents), latents, loop, torch.ones(1), mask, seed=recipe.seed)
        except (comfy.model_management.InterruptProcessingException, InputError):
            if keep is not None and loop.history:
                with contextlib.suppress(InputError):  # a failed rescue must not hide why it was tried
                    keep(result())
            raise
        except comfy.model_management.OOM_EXCEPTION as error:
            raise InputError(
                "latents", "training on them does not fit into this device's memory.", "Use fewer or smaller frames."
            ) from error
        return Trained(result(), loop.history)


def _reserve(wanted: int | None, factor: int, executor, model, noise_shape, conds, model_options=None):
    """Has the host free ``wanted`` bytes for what ``backward`` needs, or ``factor`` times what sampling does.
    The shape serves for the estimate alone: a larger batch stands for the saved activations."""
    if wanted is not None:
        factor = math.ceil(wanted / model.model.memory_required([2 * noise_shape[0], *noise_shape[1:]]))
    shape = [factor * noise_shape[0], *noise_shape[1:]]
    return executor(model, shape, conds, model_options=model_options)


def _own_copy(h: torch.Tensor, options: dict) -> torch.Tensor:
    """Patch of the host's UNet: a ControlNet is added to the skip connections in place, which ``backward`` forbids
    where the next block works on the same tensor."""
    return h.clone()


@dataclass(frozen=True)
class _Noised:
    """A clip and the noise to put on it, latents of the family, and the noise level of each entry of its batch."""

    clip: torch.Tensor
    noise: torch.Tensor
    sigma: torch.Tensor

    @classmethod
    def at(cls, percent: float, sampling, clip: torch.Tensor, noise: torch.Tensor) -> _Noised:
        return cls(clip, noise, torch.full((len(clip),), float(sampling.percent_to_sigma(percent)), device=clip.device))

    def frame(self, index: int, backbone: Backbone, call: Call) -> _Noised:
        """One frame of it, as a clip of its own."""
        parts = (backbone.video(x, call)[:, :, index : index + 1] for x in (self.clip, self.noise))
        clip, noise = (backbone.latent(part) for part in parts)
        return _Noised(clip, noise, self.sigma[: len(clip)])


class _TrainingLoop(comfy.samplers.Sampler):
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
    ) -> None:
        self.backbone, self.trainable, self.recipe = backbone, trainable, recipe
        self.initial, self.prediction = initial, prediction
        self.lora, self.checkpoints = lora, checkpoints
        self.history: list[float] = []

    def recent_loss(self) -> float:
        recent = self.history[-max(len(self.history) // 10, 1) :]
        return sum(recent) / max(len(recent), 1)

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask=None, disable_pbar=False
    ) -> torch.Tensor:
        recipe, clip, generator = self.recipe, latent_image, torch.Generator().manual_seed(self.recipe.seed)
        sampling = model_wrap.inner_model.model_sampling
        offset = torch.rand((), generator=generator).item()
        bar = comfy.utils.ProgressBar(recipe.steps)
        patchers = [model_wrap.model_patcher, *model_wrap.loaded_models]  # ControlNets and motion models with it
        for patcher in patchers:
            patcher.unpin_all_weights()  # the host pins by address, and tensors are about to be replaced
        with contextlib.ExitStack() as held:
            for patcher in patchers:
                held.enter_context(frozen(patcher.model))
            self._choose(model_wrap.inner_model, extra_args["model_options"])
            masked = comfy.samplers.KSamplerX0Inpaint(model_wrap, sigmas)
            masked.latent_image, masked.noise = clip, torch.zeros_like(clip)
            run = partial(masked, denoise_mask=denoise_mask, **extra_args)
            run_still = partial(model_wrap, **call_of_still(extra_args))
            self.checkpoints.measuring = True
            with torch.no_grad():
                self._run(run, sampling, _Noised.at(0.5, sampling, clip, torch.zeros_like(clip)))
            self.checkpoints.measuring = False
            parameters = self.trainable.allocate(clip.device, self.initial)
            self._fit_into(comfy.model_management.get_free_memory(clip.device))
            optimiser = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
            computes = model_wrap.inner_model.manual_cast_dtype or model_wrap.inner_model.get_dtype()
            scaler = torch.amp.GradScaler(clip.device.type, enabled=computes == torch.float16)
            for step in range(recipe.steps):
                comfy.model_management.throw_exception_if_processing_interrupted()
                percent = spread(step, offset, max(recipe.start_percent, 1e-3), min(recipe.end_percent, 1 - 1e-3))
                reference = int(torch.randint(self.trainable.call.frames, (), generator=generator))
                fresh = torch.randn(clip.shape, generator=generator).to(clip)
                masked.noise, noised = fresh, _Noised.at(percent, sampling, clip, fresh)
                frame = self.lora.draw(self.trainable.call.frames) if self.lora else None
                with self.lora.attached() if frame is not None else contextlib.nullcontext():
                    loss = losses.LOSSES[recipe.loss](*self._predict(run, sampling, noised), reference).mean()
                    self._require_finite(loss.item(), step)
                    _descend(loss, optimiser, scaler)
                if frame is not None:  # after the clip's pass is freed, and from the same state of the LoRA
                    with self.lora.learning():
                        still = noised.frame(frame, self.backbone, self.trainable.call)
                        look = losses.base(*self._run(run_still, sampling, still)).mean()
                        _descend(look, self.lora.optimiser, scaler)
                scaler.update()
                self._record(loss.item(), step, bar)
        return torch.zeros_like(latent_image)

    def _fit_into(self, free: int) -> None:
        """Settle what is kept for ``backward`` and say what training will need, ``free`` bytes being there."""
        if self.checkpoints.blocks:
            own = memory.of_values(sum(p.numel() for p in self.trainable.parameters()))
            kept = self.checkpoints.choose(self.recipe.checkpointing, memory.usable(free) - own)
            tell(memory.needs(own, kept, self.checkpoints, free))

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
        self.trainable.choose(self.backbone.select(attentions, self.recipe.layers))

    def _predict(self, run: Callable, sampling, noised: _Noised) -> tuple[torch.Tensor, torch.Tensor]:
        """As :meth:`_run`, both as ``[B, C, F, h, w]``."""
        prediction, target = self._run(run, sampling, noised)
        return tuple(self.backbone.video(x, self.trainable.call) for x in (prediction, target))

    def _run(self, run: Callable, sampling, noised: _Noised) -> tuple[torch.Tensor, torch.Tensor]:
        """The frozen model's prediction and its target, both in the model's own space."""
        clip, noise, sigma = noised.clip, noised.noise, noised.sigma
        x0 = run(sampling.noise_scaling(sigma, noise, clip, False), sigma)
        target = losses.own_target(self.prediction, clip, noise, sigma)
        return target + losses.own_error(self.prediction, x0 - clip, sigma), target

    def _require_finite(self, loss: float, step: int) -> None:
        if not math.isfinite(loss):
            raise InputError(
                "learning_rate",
                f"the loss became {loss} at step {step + 1}.",
                f"Lower it (it is {self.recipe.learning_rate}), or run the model in bf16 or fp32.",
            )

    def _record(self, loss: float, step: int, bar) -> None:
        self.history.append(loss)
        preview = None
        if (step + 1) % PREVIEW_EVERY == 0 or step + 1 == self.recipe.steps:
            picture = loss_curve(self.history, self.recipe.steps)
            preview = ("JPEG", Image.fromarray(picture), max(picture.shape))
        bar.update_absolute(step + 1, self.recipe.steps, preview)


def _descend(loss: torch.Tensor, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    optimiser.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimiser)
