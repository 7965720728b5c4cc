"""(ComfyUI) Learning a motion on the model a graph holds (design section 5).

The loop (``training_loop``) runs as a ``Sampler`` inside a guider, so that conditioning, ControlNet and the wrappers of
other packs are set up exactly as they are when sampling.
"""

from __future__ import annotations

import contextlib
import logging
import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import comfy.model_management
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP

from . import losses, memory
from .applied import Applied
from .backward import attend_with_backward, says_no_backward, without_backward
from .beside import modules_beside
from .checkpointing import Checkpoints
from .debias import Debias
from .embedding import MotionEmbedding
from .errors import InputError
from .fit import check_range, fit_message
from .frozen import out_of_inference
from .injection import KEY, check_fit, options_of, wired_family, with_source
from .latent_picture import latent_frames
from .memory import learning
from .node_text import tell
from .prediction import prediction_type
from .presets import Recipe
from .spatial_lora import SpatialLora
from .thumbnail import Thumbnail
from .trainable import TrainableMotion
from .training_loop import TrainingLoop
from .training_progress import Reporter

_log = logging.getLogger(__name__)
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
    prompt: str = "",
    reporter: Reporter | None = None,
) -> Trained:
    """Learn the motion of one clip.

    latents: as ``VAEEncode`` gives them for the family: ``[1, C, F, h, w]``, or ``[F, C, h, w]`` where frames lie on
        the batch axis.
    initial: a motion to start from.
    debias: what to record in the embedding for its use; training itself sees the values as they are.
    mask: noise mask of the latents, as for sampling: where it is 0 the model sees the clip itself, with no loss there.
    reporter: hears how it goes on, step by step.
    prompt: the text of ``positive``, to be remembered; empty where it is not known.
    keep: called with what was learnt so far when the user cancels or the loss is lost; the error then goes on.

    Raises :class:`InputError` before any long work when the inputs cannot be trained on, and when the loss is lost.
    """
    backbone, attentions = wired_family(model.model, options_of(model))
    call = backbone.call(latents, (0,), "latents")
    if latents.shape[1] != (channels := model.model.latent_format.latent_channels):
        cause = f"they have {latents.shape[1]} channels, and those of this model have {channels}."
        raise InputError("latents", cause, "Encode the clip with the VAE that belongs to the model.")
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
        blocks = backbone.blocks(model.model.diffusion_model, modules_beside(options_of(model)))
        checkpoints = options_of(patcher)[KEY].checkpoints = Checkpoints(learning(blocks, chosen), backbone.in_place)
        size = (model.model.manual_cast_dtype or model.model.get_dtype()).itemsize
        wanted = memory.expected(backbone, call, chosen, len(checkpoints.blocks), size, recipe.value_form)
        reserve = partial(_reserve, wanted, _KEPT_AT_LEAST if blocks else _KEPT)
        patcher.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, reserve)
        attend_with_backward(options_of(patcher))
        if any("control" in settings for _, settings in positive):
            patcher.set_model_input_block_patch_after_skip(_own_copy)
        patcher.model_options.pop("context_handler", None)  # a motion is learnt on the whole clip at once
        lora = None
        if recipe.loss == "debiased_hybrid":
            linears = backbone.spatial_linears(model.model.diffusion_model)
            lora = SpatialLora(linears, model.load_device, recipe.seed)
        reporter = reporter or Reporter(None, recipe.steps)
        loop = TrainingLoop(
            backbone, trainable, recipe, initial, prediction_type(sampling), lora, checkpoints, reporter
        )

        shown = backbone.video(model.model.process_latent_in(latents), call)
        picture = Thumbnail.of(latent_frames(shown, model.model.latent_format))

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
                    "seconds": round(reporter.seconds, 2),
                    "frames_each": backbone.frames_each,
                    **({"prompt": prompt} if prompt else {}),
                },
                thumbnail=picture,
            )

        guider = comfy.samplers.CFGGuider(patcher)
        guider.inner_set_conds({"positive": positive})
        try:
            mask = out_of_inference(mask)
            with _host_trains():
                guider.sample(torch.zeros_like(latents), latents, loop, torch.ones(1), mask, seed=recipe.seed)
        except (Exception, comfy.model_management.InterruptProcessingException) as error:
            ran_out = isinstance(error, comfy.model_management.OOM_EXCEPTION)
            if ran_out:
                traceback.clear_frames(error.__traceback__)  # what the failed step holds
            if keep is not None and loop.history:
                _rescue(result, keep)
            if ran_out:
                comfy.model_management.unload_all_models()  # as the host does where it sees the error itself
                raise InputError(
                    "latents",
                    "training on them does not fit into this device's memory.",
                    "Use fewer or smaller frames.",
                ) from error
            if says_no_backward(error):
                raise without_backward() from error
            raise
        return Trained(result(), loop.history)


def _rescue(result: Callable[[], MotionEmbedding], keep: Callable[[MotionEmbedding], None]) -> None:
    """Keep what was learnt, unless it is no use. A failure of this must not hide why it was tried."""
    try:
        learnt = result()
        if all(tensor.isfinite().all() for tensor in learnt.tensors):
            keep(learnt)
    except Exception:
        _log.warning("What was learnt could not be kept.", exc_info=True)


@contextlib.contextmanager
def _host_trains() -> Iterator[None]:
    """Has the host compute so that there is a backward, for as long as it runs this.

    in_training: newer hosts take operations without a backward unless it is set.
    NUM_STREAMS: a weight brought in on a stream of its own may be written over before backward has read it.
    """
    management = comfy.model_management
    wanted = {"in_training": True, "NUM_STREAMS": 0}
    before = {name: getattr(management, name) for name in wanted if hasattr(management, name)}
    for name in before:
        setattr(management, name, wanted[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(management, name, value)


def _reserve(wanted: int | None, factor: int, executor, model, noise_shape, conds, *settings, **named):
    """Has the host free ``wanted`` bytes for what ``backward`` needs, or ``factor`` times what sampling does.
    The shape serves for the estimate alone: a larger batch stands for the saved activations."""
    if wanted is not None:
        # Of one prompt, though it reckons with two: so much it keeps free also where it has to offload weights for it.
        factor = math.ceil(wanted / model.model.memory_required(list(noise_shape)))
    shape = [factor * noise_shape[0], *noise_shape[1:]]
    return executor(model, shape, conds, *settings, **named)


def _own_copy(h: torch.Tensor, options: dict) -> torch.Tensor:
    """Patch of the host's UNet: a ControlNet is added to the skip connections in place, which ``backward`` forbids
    where the next block works on the same tensor."""
    return h.clone()
