"""(ComfyUI) Learning a motion on the model a graph holds (design section 5).

The loop runs as a ``Sampler`` inside a guider, so that conditioning, ControlNet and the wrappers of other packs are
set up exactly as they are when sampling.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP
from PIL import Image
from torch import nn

from . import losses
from .embedding import MotionEmbedding
from .errors import InputError
from .injection import KEY, check_fit, check_range, family_of, fit_message, with_source
from .node_text import tell
from .noise_levels import spread
from .plots import loss_curve
from .trainable import TrainableMotion

PREVIEW_EVERY = 10
_ACTIVATIONS_PER_INFERENCE = 6


@dataclass(frozen=True)
class Recipe:
    """How to train. Percent runs from pure noise (0) to the clean clip (1), as everywhere in ComfyUI."""

    steps: int = 200
    learning_rate: float = 0.1
    loss: str = "base"
    layers: str = "recommended"
    seed: int = 0
    start_percent: float = 0.0
    end_percent: float = 1.0
    weight_decay: float = 0.01


@dataclass(frozen=True)
class Trained:
    embedding: MotionEmbedding
    losses: list[float]


def prediction_type(model_sampling) -> str:
    """The model's prediction space, read off the host's class: ``epsilon``, ``v``, ``sample`` or ``flow``."""
    names = {c.__name__ for c in type(model_sampling).__mro__}
    for name, prediction in (("X0", "sample"), ("V_PREDICTION", "v"), ("CONST", "flow"), ("EPS", "epsilon")):
        if name in names:
            return prediction
    raise InputError("model", "its prediction type is not known to this pack.", "Use an epsilon, v, x0 or flow model.")


def train_motion(
    model,
    positive: list,
    latents: torch.Tensor,
    recipe: Recipe,
    initial: MotionEmbedding | None = None,
    fps: float = 0.0,
    keep: Callable[[MotionEmbedding], None] | None = None,
) -> Trained:
    """Learn the motion of one clip.

    latents: as ``VAEEncode`` gives them for the family (``[1, C, F, h, w]`` for video models).
    initial: a motion to start from.
    keep: called with what was learnt so far when the user cancels or the loss is lost; the error then goes on.

    Raises :class:`InputError` before any long work when the inputs cannot be trained on, and when the loss is lost.
    """
    backbone, attentions = family_of(model.model)
    call = backbone.call(latents, (0,), "latents")
    if call.frames < 2:
        raise InputError("latents", "they hold one frame, and motion needs at least two.", "Load more frames.")
    check_range(recipe.start_percent, recipe.end_percent)
    if initial is not None:
        check_fit(model, initial, "initial")
        if message := fit_message(initial, call):
            tell(message)
    trainable = TrainableMotion(backbone.select(attentions, recipe.layers))
    sampling = model.get_model_object("model_sampling")
    with torch.inference_mode(False), torch.enable_grad():
        latents, positive = _out_of_inference(latents), _out_of_inference(positive)
        patcher = with_source(model, trainable)
        patcher.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, _reserve_for_activations)
        loop = _TrainingLoop(trainable, recipe, initial, prediction_type(sampling))

        def result() -> MotionEmbedding:
            return MotionEmbedding(
                layers=trainable.layers(),
                backbone=backbone.family,
                frames=call.frames,
                height=call.height,
                width=call.width,
                fps=fps,
                prediction=loop.prediction,
                training={**asdict(recipe), "done": len(loop.history), "final_loss": loop.recent_loss()},
            )

        guider = comfy.samplers.CFGGuider(patcher)
        guider.inner_set_conds({"positive": positive})
        try:
            guider.sample(torch.zeros_like(latents), latents, loop, torch.ones(1), seed=recipe.seed)
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


def _reserve_for_activations(executor, model, noise_shape, conds, model_options=None):
    """Has the host free memory for what ``backward`` needs, several times what sampling does.

    The shape serves for the estimate alone; a larger batch stands for the saved activations.
    """
    shape = [_ACTIVATIONS_PER_INFERENCE * noise_shape[0], *noise_shape[1:]]
    return executor(model, shape, conds, model_options=model_options)


class _TrainingLoop(comfy.samplers.Sampler):
    """Optimises the trainable rows; ``history`` is the loss of every step."""

    def __init__(
        self, trainable: TrainableMotion, recipe: Recipe, initial: MotionEmbedding | None, prediction: str
    ) -> None:
        self.trainable, self.recipe, self.initial, self.prediction = trainable, recipe, initial, prediction
        self.history: list[float] = []

    def recent_loss(self) -> float:
        recent = self.history[-max(len(self.history) // 10, 1) :]
        return sum(recent) / max(len(recent), 1)

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask=None, disable_pbar=False
    ) -> torch.Tensor:
        recipe, generator = self.recipe, torch.Generator().manual_seed(self.recipe.seed)
        offset = torch.rand((), generator=generator).item()
        bar = comfy.utils.ProgressBar(recipe.steps)
        model_wrap.model_patcher.unpin_all_weights()  # the host pins by address, and tensors are about to be replaced
        with _frozen(model_wrap.inner_model):
            with torch.no_grad():
                self._denoise(model_wrap, extra_args, latent_image, torch.zeros_like(latent_image), 0.5)
            parameters = self.trainable.allocate(latent_image.device, self.initial)
            optimiser = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
            scaler = torch.amp.GradScaler(
                latent_image.device.type, enabled=model_wrap.inner_model.get_dtype() == torch.float16
            )
            for step in range(recipe.steps):
                comfy.model_management.throw_exception_if_processing_interrupted()
                percent = spread(step, offset, max(recipe.start_percent, 1e-3), min(recipe.end_percent, 1 - 1e-3))
                reference = int(torch.randint(self.trainable.call.frames, (), generator=generator))
                fresh = torch.randn(latent_image.shape, generator=generator).to(latent_image)
                x0, sigma = self._denoise(model_wrap, extra_args, latent_image, fresh, percent)
                loss = self._loss(x0 - latent_image, sigma, reference)
                self._require_finite(loss.item(), step)
                optimiser.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimiser)
                scaler.update()
                self._record(loss.item(), step, bar)
        return torch.zeros_like(latent_image)

    @staticmethod
    def _denoise(model_wrap, extra_args: dict, latents: torch.Tensor, noise: torch.Tensor, percent: float):
        """The frozen model's guess of the clean clip from a noisy one, and the noise level ``[1]``."""
        sampling = model_wrap.inner_model.model_sampling
        sigma = torch.full((len(latents),), float(sampling.percent_to_sigma(percent)), device=latents.device)
        return model_wrap(sampling.noise_scaling(sigma, noise, latents, False), sigma, **extra_args), sigma

    def _loss(self, error: torch.Tensor, sigma: torch.Tensor, reference: int) -> torch.Tensor:
        per_sample = losses.base(error) if self.recipe.loss == "base" else losses.debiased(error, reference)
        return (per_sample * losses.loss_weight(self.prediction, sigma)).mean()

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


@contextlib.contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Gradients pass through the model and none is computed for it; its flags are as before afterwards."""
    _replace_inference_tensors(model)
    wanted = [p for p in model.parameters() if p.requires_grad]
    try:
        for p in wanted:
            p.requires_grad_(False)
        yield
    finally:
        for p in wanted:
            p.requires_grad_(True)


def _is_inference(tensor: torch.Tensor) -> bool:
    """A weight moved by ``Module.to`` outside inference mode denies being one, and still has no version counter."""
    try:
        return tensor._version < 0
    except RuntimeError:
        return True


def _replace_inference_tensors(model: nn.Module) -> None:
    """Autograd refuses tensors made in inference mode, where ComfyUI loads weights: put equal ones in their place."""
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is not None and _is_inference(p):
                module._parameters[name] = nn.Parameter(p.detach().clone(), requires_grad=p.requires_grad)
        for name, b in module._buffers.items():
            if b is not None and _is_inference(b):
                module._buffers[name] = b.clone()


def _out_of_inference(value: Any) -> Any:
    """Nested conditioning or latents with every tensor cloned out of inference mode; other objects as they are."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {k: _out_of_inference(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_out_of_inference(v) for v in value)
    return value
