"""Learning a motion."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from comfy_api.latest import io

from ..motion_embedding import files
from ..motion_embedding.backbones import BACKBONES
from ..motion_embedding.checkpointing import CHOICES
from ..motion_embedding.errors import InputError
from ..motion_embedding.learnt_factors import FORMS as LOW_RANKS
from ..motion_embedding.losses import LOSSES
from ..motion_embedding.plots import loss_curve
from ..motion_embedding.presets import PRESETS
from ..motion_embedding.spatial import DEGREES
from ..motion_embedding.training import train_motion
from ..motion_embedding.training_progress import NEVER, SELDOM, Reporter
from .common import CATEGORY, Motion, target_path
from .graph_text import own_text
from .training_events import TrainingEvents

_log = logging.getLogger(__name__)

AS_PRESET = "as preset"
LAYER_PRESETS = [*dict.fromkeys(preset for backbone in BACKBONES for preset in backbone.presets), "custom"]


class TrainMotionEmbedding(io.ComfyNode):
    """Learns the motion of a clip on the connected model, which stays as it is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_TrainMotionEmbedding",
            display_name="Train Motion Embedding",
            category=CATEGORY,
            description="Learns the motion of a reference clip as a small embedding. The model itself is not changed.",
            inputs=[
                io.Model.Input("model", tooltip="The video model to learn on. The motion works on this kind of model."),
                io.Conditioning.Input(
                    "positive",
                    tooltip="A prompt that describes what the reference clip shows: its look, not its motion. "
                    "Stable Video Diffusion: SVD_img2vid_Conditioning of the clip's first frame.",
                ),
                io.Latent.Input(
                    "latents", tooltip="The reference clip: VAE Encode of its frames with this model's VAE."
                ),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="object motion",
                    tooltip="What you want of the clip. object motion: what moves in it. camera motion: pan, zoom and "
                    "roll, with little of the texture. object + camera: all of it, for a like scene. paper: the "
                    "published training; its initial noise is the template as_published. Sets steps, rate, loss "
                    "and layers, and how the motion is debiased when used.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=20000,
                    tooltip="Training steps; 50 to 200 is usual. 0: as the preset says (100; paper: 350).",
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.0,
                    min=0.0,
                    max=10.0,
                    step=1e-4,
                    round=False,
                    tooltip="Step size; the paper's 0.02 takes hundreds of steps; from 0.3 on some models break. 0: "
                    "as the preset says.",
                ),
                io.Combo.Input(
                    "loss",
                    options=[AS_PRESET, *LOSSES],
                    default=AS_PRESET,
                    tooltip="base: plain denoising error. debiased: what all frames share, the look, counts less. "
                    "debiased_hybrid: a throw-away LoRA learns the look beside it. motion_distillation: only when and "
                    "where things change.",
                ),
                io.Combo.Input(
                    "layers",
                    options=[AS_PRESET, *LAYER_PRESETS],
                    default=AS_PRESET,
                    tooltip="Which of the layers that mix frames learn. recommended: all but the first, or the middle "
                    "half of a video transformer. paper: only the widest, as published; + next level: the next "
                    "narrower too; + mid: also those in the middle. all: every one. custom: those matching "
                    "layer_pattern.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFF,
                    control_after_generate=False,
                    tooltip="Same seed, same embedding.",
                ),
                io.String.Input(
                    "layer_pattern",
                    default="",
                    optional=True,
                    tooltip="For layers = custom: comma-separated patterns of layer names, such as up_blocks.*.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Train from this part of the denoising on; 0 is pure noise, where motion is decided.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Train up to this part of the denoising; 1 is the clean clip.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    optional=True,
                    force_input=True,
                    tooltip="Frames per second of the clip, to be remembered in the file.",
                ),
                io.Combo.Input(
                    "value_form",
                    options=["full", *reversed(DEGREES), *LOW_RANKS],
                    default="full",
                    optional=True,
                    tooltip="How the values may vary over the picture. full: freely, for any motion. low rank: freely, "
                    "as mixtures of 4, 8 or 16 directions: a small fraction of the memory and of the file. quadratic, "
                    "linear: smoothly; mean: not at all; these three hardly carry any motion.",
                ),
                io.Combo.Input(
                    "checkpointing",
                    options=list(CHOICES),
                    default="automatic",
                    optional=True,
                    tooltip="Whether blocks of the model run a second time in every step instead of keeping all they "
                    "did: less memory, up to a third more time. automatic: as few as fit.",
                ),
                Motion.Input("initial", optional=True, tooltip="A motion to go on from instead of starting at zero."),
                io.Int.Input(
                    "preview_steps",
                    default=0,
                    min=-1,
                    max=20000,
                    optional=True,
                    tooltip="After how many steps the node shows what the model makes of the clip with the motion "
                    "learnt so far. 0: as often as costs little time, on a slow model never. -1: never. It does not "
                    "change what is learnt.",
                ),
            ],
            outputs=[
                Motion.Output(display_name="motion", tooltip="The learnt motion."),
                io.Custom("LOSS_MAP").Output(display_name="loss_map", tooltip="For the stock loss graph node."),
                io.Image.Output(display_name="loss_curve", tooltip="The loss over the steps, as a picture."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(
        cls,
        model,
        positive,
        latents,
        preset,
        steps,
        learning_rate,
        loss,
        layers,
        seed,
        layer_pattern="",
        start_percent=0.0,
        end_percent=1.0,
        fps=0.0,
        value_form="full",
        checkpointing="automatic",
        initial=None,
        preview_steps=0,
    ) -> io.NodeOutput:
        if layers == "custom" and not layer_pattern.strip():
            raise InputError(
                "layer_pattern", "it is empty while layers is custom.", "Give a pattern, or pick a preset."
            )
        chosen = PRESETS[preset]
        overrides = {
            "steps": steps or None,
            "learning_rate": learning_rate or None,
            "loss": None if loss == AS_PRESET else loss,
            "layers": {AS_PRESET: None, "custom": layer_pattern}.get(layers, layers),
        }
        recipe = replace(
            chosen.recipe,
            **{name: value for name, value in overrides.items() if value is not None},
            seed=seed,
            start_percent=start_percent,
            end_percent=end_percent,
            value_form=value_form,
            checkpointing=checkpointing,
        )
        queued = (getattr(cls.hidden, "extra_pnginfo", None) or {}).get("workflow") or {}
        events = TrainingEvents(queued.get("id"), fps)
        if preview_steps == SELDOM and not queued:
            preview_steps = NEVER  # the graph comes from a script: nobody looks
        trained = train_motion(
            model,
            positive,
            latents["samples"],
            recipe,
            initial,
            fps,
            keep=partial(_keep, events.kept),
            debias=chosen.debias,
            mask=latents.get("noise_mask"),
            prompt=own_text(getattr(cls.hidden, "prompt", None), "positive"),
            reporter=Reporter(events.progress, recipe.steps, preview_steps),
        )
        picture = torch.from_numpy(loss_curve(trained.losses, recipe.steps).astype(np.float32) / 255)[None]
        return io.NodeOutput(
            trained.embedding, {"loss": trained.losses}, picture, ui={"motion_training": [events.last]}
        )


def _keep(tell: Callable[[int, Path], None], embedding) -> None:
    """Save what a cancelled training had learnt, so that it can be loaded or gone on from, and ``tell`` where."""
    name = time.strftime("cancelled/%Y%m%d-%H%M%S")
    files.save(embedding, path := target_path(name))
    done = embedding.training["done"]
    _log.info("Training stopped after %d steps; what was learnt is in %s", done, path)
    tell(done, Path(f"{name}.safetensors"))


NODES = [TrainMotionEmbedding]
