"""(ComfyUI) What the model makes of the clip with the motion learnt so far, see ``training``."""

from __future__ import annotations

import logging
from functools import cached_property

import comfy.model_management
import comfy.samplers
import latent_preview
import numpy as np
import torch
from PIL import Image

from .backbones import Backbone, Call
from .embedding import video_frames
from .latent_picture import latent_frames
from .presets import Recipe
from .training_progress import Shown

CALLS = 4
_LARGEST = 192  # pixels along a side of what a decoder made
_log = logging.getLogger(__name__)


class TrainingPreview:
    """Samples the clip anew in :data:`CALLS` steps of Euler's method, always from the same noise.

    It disturbs no training: no gradient, no random number but those of its own generator, and what is learnt acts as it
    does in the training's own calls. Of a failure nothing comes out but a line in the log; from then on it is silent.

    The sampling covers the part of the denoising that is learnt, which may be all that the model is good for. Where
    that is not the beginning, it starts with the clip under noise.

    model_wrap, sigmas, extra_args, denoise_mask: as the host gives them to a ``Sampler``.
    clip: the latents that are learnt from, in the model's own space, laid out as ``call`` says.
    """

    def __init__(
        self,
        model_wrap,
        sigmas: torch.Tensor,
        extra_args: dict,
        denoise_mask: torch.Tensor | None,
        clip: torch.Tensor,
        backbone: Backbone,
        call: Call,
        recipe: Recipe,
    ) -> None:
        self.model, self.backbone, self.clip, self.call = model_wrap.inner_model, backbone, clip, call
        self.sampling = self.model.model_sampling
        percents = torch.linspace(max(recipe.start_percent, 1e-3), recipe.end_percent, CALLS + 1)[:-1].tolist()
        self.levels = [float(self.sampling.percent_to_sigma(percent)) for percent in percents]
        self.start = clip if recipe.start_percent > 0 else torch.zeros_like(clip)
        self.noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(recipe.seed)).to(clip)
        self.masked = comfy.samplers.KSamplerX0Inpaint(model_wrap, sigmas)
        self.masked.latent_image, self.masked.noise = clip, self.noise
        self.arguments = {**extra_args, "denoise_mask": denoise_mask}
        self.failed = False

    def show(self) -> Shown | None:
        """The clip and what is sampled now; None after a failure."""
        if self.failed:
            return None
        try:
            with torch.no_grad():
                of_video = video_frames(self.call.frames, self.backbone.frames_each)
                return Shown(self.clip_frames, self._frames(self._sampled()), of_video)
        except comfy.model_management.InterruptProcessingException:
            raise
        except Exception:
            self.failed = True
            _log.warning("What is learnt cannot be shown on the way; the training goes on.", exc_info=True)
            return None

    def _sampled(self) -> torch.Tensor:
        batch = torch.ones(len(self.clip), device=self.clip.device)
        x = self.sampling.noise_scaling(self.levels[0] * batch, self.noise, self.start, False)
        for level, following in zip(self.levels, [*self.levels[1:], 0.0], strict=True):
            comfy.model_management.throw_exception_if_processing_interrupted()
            clean = self.masked(x, level * batch, **self.arguments)
            x = clean + (x - clean) * (following / level)
        return x

    def _frames(self, latents: torch.Tensor) -> np.ndarray:
        """uint8 ``[F, h, w, 3]``, by the host's small decoder where the person chose it and it is there."""
        video, clip = (self.backbone.video(x, self.call)[:1] for x in (latents, self.clip))
        if self.decoder is None:
            return latent_frames(video.cpu(), self.model.latent_format, clip.cpu())
        pictures = [self.decoder.decode_latent_to_preview(frame[0].movedim(1, 0)) for frame in video.split(1, dim=2)]
        return np.stack([np.asarray(picture.resize(_small(picture))) for picture in pictures])

    @cached_property
    def clip_frames(self) -> np.ndarray:
        return self._frames(self.clip)

    @cached_property
    def decoder(self) -> latent_preview.TAESDPreviewerImpl | None:
        """The host's, which makes pictures of single latents; its decoders of videos would move the model away."""
        if self.clip.ndim != 4:
            return None
        found = latent_preview.get_previewer(self.clip.device, self.model.latent_format)
        return found if isinstance(found, latent_preview.TAESDPreviewerImpl) else None


def _small(picture: Image.Image) -> tuple[int, int]:
    part = min(1.0, _LARGEST / max(picture.size))
    return max(1, round(picture.width * part)), max(1, round(picture.height * part))
