"""Starting a new video from the noise of a reference clip."""

from __future__ import annotations

import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..motion_embedding.errors import InputError
from ..motion_embedding.initial_noise import CLEANINGS, STRATEGIES
from ..motion_embedding.inverting import invert_video, video_form
from ..motion_embedding.starting import MotionNoise, check_noise_fit, noisy_latents
from .common import CATEGORY, Motion, verdict

INVERTED_NOISE = "inverted_noise"
_MAX_SEED = 0xFFFFFFFFFFFFFFFF
_UNLINKED = object()


class InvertVideoNoise(io.ComfyNode):
    """Finds the noise from which the model would make the reference clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_InvertVideoNoise",
            display_name="Invert Video Noise",
            category=CATEGORY,
            description="Walks a reference clip back to the noise it could have come from (DDIM inversion; Euler for "
            "flow models). That noise holds much of the clip's motion, and some of its look.",
            inputs=[
                io.Model.Input("model", tooltip="The video model. Motions already applied to it are left out here."),
                io.Conditioning.Input(
                    "positive",
                    tooltip="An empty prompt, as published, or what the clip shows. Stable Video Diffusion: "
                    "SVD_img2vid_Conditioning of the clip's first frame.",
                ),
                io.Latent.Input("latents", tooltip="The clip: VAE Encode of its frames with this model's VAE."),
                io.Int.Input("steps", default=50, min=2, max=1000, tooltip="Steps of the walk; published: 50."),
                io.Int.Input(
                    "refinements",
                    default=0,
                    min=0,
                    max=20,
                    optional=True,
                    tooltip="Corrections per step, each another run of the model. 0 as published; more make the walk "
                    "the exact reverse of sampling.",
                ),
                io.Float.Input(
                    "start_noise",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.01,
                    optional=True,
                    tooltip="Fresh noise put on the clip before the walk, in sigmas. 0 as published; more leaves less "
                    "of the clip's look.",
                ),
                io.Combo.Input(
                    "cleaning",
                    options=list(CLEANINGS),
                    default=next(iter(CLEANINGS)),
                    optional=True,
                    tooltip="What is done to the noise. look removed: the copy of the clip still in it is taken out, "
                    "which keeps colours and shapes from leaking. normalised: only brought to mean 0 and deviation 1. "
                    "as published: nothing.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=_MAX_SEED,
                    control_after_generate=False,
                    optional=True,
                    tooltip="Of the fresh noise of start_noise.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="inverted",
                    tooltip="The clip's latents as they came, with the inverted noise beside them.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, model, positive, latents, steps, refinements=0, start_noise=0.0, cleaning="look removed", seed=0
    ) -> io.NodeOutput:
        noise = invert_video(
            model, positive, latents["samples"], steps, refinements, start_noise, cleaning=cleaning, seed=seed
        )
        return io.NodeOutput({**latents, INVERTED_NOISE: noise})


class BlendInitialNoise(io.ComfyNode):
    """Mixes inverted with fresh noise, as a latent and as a ``NOISE``."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_BlendInitialNoise",
            display_name="Blend Initial Noise",
            category=CATEGORY,
            description="Mixes the inverted noise of a reference clip with fresh noise, for a sampler to start from.",
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample."),
                io.Latent.Input("latent_image", tooltip="An empty video latent: size, length and batch of the result."),
                io.Combo.Input(
                    "strategy",
                    options=list(STRATEGIES),
                    default="blend",
                    tooltip="blend: a share of all of it, as published. frequency: coarse shapes of each frame. "
                    "blend_frequency: coarse shapes whole, fine ones in part. fft: what is coarse and slow.",
                ),
                io.Float.Input(
                    "amount",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the inverted noise; published: 0.5. frequency and fft do not use it.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=_MAX_SEED,
                    control_after_generate=True,
                    tooltip="Of the fresh noise: at amount 0 the noise is that of RandomNoise and KSampler.",
                ),
                io.Latent.Input(
                    "inverted", optional=True, tooltip="From Invert Video Noise. Goes before that of the motion."
                ),
                Motion.Input("motion", optional=True, tooltip="A motion whose file holds its clip's inverted noise."),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="For KSampler (Advanced) with add_noise disabled and start_at_step 0. Not for flow models.",
                ),
                io.Noise.Output(display_name="noise", tooltip="For SamplerCustomAdvanced, with any model."),
            ],
        )

    @classmethod
    def validate_inputs(cls, latent_image=None, inverted=_UNLINKED, motion=_UNLINKED) -> bool | str:
        """Links arrive as None. ``latent_image`` is there because the host shows an answer at the inputs it gave."""
        return verdict(lambda: _stored(None, None)) if inverted is motion is _UNLINKED else True

    @classmethod
    def execute(cls, model, latent_image, strategy, amount, seed, inverted=None, motion=None) -> io.NodeOutput:
        video, _ = video_form(model, latent_image["samples"], "latent_image")
        stored = _stored(inverted, motion)
        check_noise_fit(stored, video, "motion" if inverted is None else "inverted")
        noise = MotionNoise(stored, seed, strategy, amount, model=model)
        start = noisy_latents(model, noise.generate_noise(latent_image))
        if start is None:
            message = (
                "Blend Initial Noise: a flow model cannot start from this latent (its samplers multiply it by zero). "
                "Wire the output noise to SamplerCustomAdvanced instead."
            )
            return io.NodeOutput(ExecutionBlocker(message), noise)
        return io.NodeOutput({"samples": start}, noise)


def _stored(inverted: dict | None, motion) -> torch.Tensor:
    """The inverted noise ``[B or 1, C, F, h, w]`` of whichever input has it."""
    if inverted is not None:
        if INVERTED_NOISE not in inverted:
            raise InputError("inverted", "it is a latent without inverted noise.", "Wire Invert Video Noise to it.")
        return inverted[INVERTED_NOISE]
    if motion is None:
        raise InputError(
            "inverted",
            "neither it nor motion is connected.",
            "Wire Invert Video Noise, or a motion that holds its clip's noise.",
        )
    if motion.inverted_noise is None:
        raise InputError(
            "motion",
            "it holds no inverted noise.",
            "Wire Invert Video Noise to inverted, or save the motion together with its noise.",
        )
    return motion.inverted_noise[None].float()


NODES = [InvertVideoNoise, BlendInitialNoise]
