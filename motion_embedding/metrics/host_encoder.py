"""(ComfyUI) An encoder made of the host's own CLIP_VISION and, for texts, CLIP."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import comfy.model_management
import numpy as np
import torch

from ..errors import InputError

_log = logging.getLogger(__name__)

BATCH = 16
_PAIRS = (
    "Load a pair made for each other: CLIP-L (clip_l.safetensors) with CLIP ViT-L (clip_vision_l, clip-vit-large), "
    "CLIP-H with clip_vision_h, or CLIP-G with clip_vision_g."
)


class HostEncoder:
    """An :class:`~.features.Encoder` of ComfyUI's loaders; equal to ``transformers.CLIPModel`` on equal pixels.

    The host keeps the weights in half precision where it can, so vectors are those of a CLIP rounded to half.
    Pictures are the projected ``image_embeds`` of CLIP_VISION. The host resizes in float with antialiasing and
    rounds once, where ``transformers`` resizes 8-bit pictures: vectors differ by rounding, not by crop or size
    (both cut the middle square).

    Texts are the pooled state at the end token *after* the text projection. The host gives SD 1.x and Flux graphs
    the unprojected one, which shares no space with pictures, so the projection is asked for here, and where the
    loaded file has none, the pair is refused. Prompts are taken literally: no weights for ``(red:1.2)``, no
    ``embedding:name``. Text beyond the tower's 77 tokens is cut off with a warning, as in ``transformers``; the
    host would start a second piece.

    Args:
        clip_vision: what **Load CLIP Vision** gives. DINOv2 is welcome as long as no texts are asked for.
        clip: what **Load CLIP** gives, of the same CLIP; without LoRAs.
    """

    def __init__(self, clip_vision: Any, clip: Any | None = None) -> None:
        self.name = type(clip_vision.model).__name__
        self._vision, self._clip = clip_vision, clip

    @torch.inference_mode()
    def images(self, frames: np.ndarray) -> np.ndarray:
        """uint8 ``[F, H, W, 3]`` as float32 ``[F, D]``. Cancelling stops before the next batch."""
        vectors = []
        for start in range(0, len(frames), BATCH):
            comfy.model_management.throw_exception_if_processing_interrupted()
            pixels = torch.from_numpy(np.ascontiguousarray(frames[start : start + BATCH])).float() / 255
            part = self._vision.encode_image(pixels)["image_embeds"]
            if part.ndim != 2:
                cause = "this vision model has no single vector per picture (ComfyUI's SigLIP gives one per patch)."
                raise InputError("clip_vision", cause, "Load CLIP ViT-L, ViT-H, ViT-bigG or DINOv2.")
            vectors.append(part.float().cpu().numpy())
        return np.concatenate(vectors)

    def texts(self, prompts: Sequence[str]) -> np.ndarray:
        """Prompts as float32 ``[T, D]``.

        Raises:
            NotImplementedError: without a CLIP.
            InputError: where CLIP and CLIP_VISION share no space; it says which files to load.
        """
        if self._clip is None:
            raise NotImplementedError("no CLIP is connected")
        if not isinstance(getattr(self._vision.model, "visual_projection", None), torch.nn.Module):
            raise InputError("clip_vision", "this vision model knows no texts.", _PAIRS)
        vectors = np.stack([self._text(prompt) for prompt in prompts])
        width = self.images(np.zeros((1, 8, 8, 3), np.uint8)).shape[1]
        if vectors.shape[1] != width:
            cause = f"its vectors have {vectors.shape[1]} numbers and those of clip_vision {width}: not one space."
            raise InputError("clip", cause, _PAIRS)
        return vectors

    @torch.inference_mode()
    def _text(self, prompt: str) -> np.ndarray:
        # A blank after "embedding" gives CLIP the same tokens and keeps the host from loading a file of that name.
        tokens = self._clip.tokenize(prompt.replace("embedding:", "embedding :"), disable_weights=True)
        if any(len(pieces) > 1 for pieces in tokens.values()):
            _log.warning("the CLIP reads 77 tokens at a time; the rest is cut off: %.60r", prompt)
        tokens = {tower: pieces[:1] for tower, pieces in tokens.items()}
        raw, vector = self._pooled(tokens, projected=False), self._pooled(tokens, projected=True)
        if vector is None or not torch.isfinite(vector).all() or not vector.any():
            raise InputError(
                "clip", "this text encoder has no vector for a whole text, as T5 and LLMs have not.", _PAIRS
            )
        if torch.equal(raw, vector):
            cause = "this text encoder came without CLIP's text projection, as those inside video models do."
            raise InputError("clip", cause, _PAIRS)
        return vector[0].float().cpu().numpy()

    def _pooled(self, tokens: dict[str, Any], projected: bool) -> torch.Tensor | None:
        """``[1, D]`` as ``CLIP.encode_from_tokens`` has it, which itself can only ask for less than the default."""
        model = self._clip.cond_stage_model
        self._clip.load_model()
        model.reset_clip_options()
        model.set_clip_options({"projected_pooled": projected})
        try:
            return model.encode_token_weights(tokens)[1]
        finally:
            model.reset_clip_options()
