"""Encoders from local ``transformers`` folders: CLIP and SigLIP for pictures and texts, DINO's ViTs for pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .features import Encoder

_log = logging.getLogger(__name__)

BATCH = 16
WITH_TEXTS = ("clip", "siglip")
IMAGES_ONLY = ("dinov2", "dinov2_with_registers", "dinov3_vit", "vit")
_MEND = "Copy the whole folder again from where you have it; nothing is downloaded here."


def load_encoder(
    folder: str | Path,
    name: str = "encoder",
    device: str | torch.device | None = None,
    on_batch: Callable[[], None] | None = None,
) -> Encoder:
    """What turns pictures, and texts where the model has a text tower, into vectors of one space.

    The model decides the numbers: text similarity is only comparable between results of the same one. The tables
    of the literature mostly use CLIP, ViT-B/32 or ViT-L/14, and name it too rarely.

    Args:
        folder: a ``transformers`` folder with ``config.json``, ``*.safetensors``, the image processor's file and,
            for CLIP and SigLIP, the tokenizer's. ``config.json`` says by ``model_type`` what it is.
        name: what errors call the input.
        device: where to compute, in float32; None takes CUDA where there is one.
        on_batch: called before every batch of frames; it may raise to cancel.

    Raises:
        InputError: naming the folder, what is missing or wrong, and the mend.
    """
    folder = Path(folder)
    kind = _check(folder, name)
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            name, "the package transformers is not installed.", "Install it: pip install transformers."
        ) from error
    try:
        model, report = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        tokenizer = (
            transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True) if kind in WITH_TEXTS else None
        )
    except Exception as error:  # the library raises a dozen kinds for damaged files
        raise InputError(name, f"{folder} cannot be read ({_first_line(error)}).", _MEND) from error
    missing = [key for key in report["missing_keys"] if not key.startswith("pooler.")]
    if missing:
        cause = f"the weights in {folder} lack {len(missing)} parts of the model, such as {sorted(missing)[0]}."
        raise InputError(name, cause, _MEND)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = model.float().eval().requires_grad_(False).to(device)
    return FolderEncoder(f"{kind} {folder.name}", model, processor, tokenizer, device, on_batch)


class FolderEncoder:
    """An :class:`~.features.Encoder` around a ``transformers`` model."""

    def __init__(
        self,
        name: str,
        model: torch.nn.Module,
        processor: Any,
        tokenizer: Any | None,
        device: torch.device,
        on_batch: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._model, self._processor, self._tokenizer = model, processor, tokenizer
        self._device, self._on_batch = device, on_batch

    @torch.inference_mode()
    def images(self, frames: np.ndarray) -> np.ndarray:
        """uint8 ``[F, H, W, 3]`` as float32 ``[F, D]``: the projected picture, or a picture tower's class token."""
        vectors = []
        for start in range(0, len(frames), BATCH):
            if self._on_batch is not None:
                self._on_batch()
            pictures = list(frames[start : start + BATCH])
            pixels = self._processor(pictures, return_tensors="pt", input_data_format="channels_last")
            pixels = pixels["pixel_values"].to(self._device)
            if self._tokenizer is None:
                part = self._model(pixel_values=pixels).last_hidden_state[:, 0]
            else:
                part = _pooled(self._model.get_image_features(pixel_values=pixels))
            vectors.append(part.float().cpu().numpy())
        return np.concatenate(vectors)

    @torch.inference_mode()
    def texts(self, prompts: Sequence[str]) -> np.ndarray:
        """Prompts as float32 ``[T, D]``. What exceeds the tower's length is cut off, with a warning in the log."""
        if self._tokenizer is None:
            raise NotImplementedError(f"{self.name} knows pictures only")
        length = self._model.config.text_config.max_position_embeddings
        for prompt in prompts:
            count = len(self._tokenizer(prompt)["input_ids"])
            if count > length:
                _log.warning("%s reads %d tokens; the rest of %d is cut off: %.60r", self.name, length, count, prompt)
        # SigLIP was trained on texts padded to the full length; CLIP's causal mask makes padding irrelevant.
        tokens = self._tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        masks = {} if self._model.config.model_type == "siglip" else {"attention_mask": tokens["attention_mask"]}
        inputs = {"input_ids": tokens["input_ids"], **masks}
        said = self._model.get_text_features(**{key: value.to(self._device) for key, value in inputs.items()})
        return _pooled(said).float().cpu().numpy()


def _pooled(features: Any) -> torch.Tensor:
    """The vector itself: transformers 5 wraps it in an output object, 4 does not."""
    return getattr(features, "pooler_output", features)


def _check(folder: Path, name: str) -> str:
    """The folder's model type, once everything it needs is there."""
    if not folder.is_dir():
        raise InputError(name, f"there is no folder {folder}.", "Give the path of a local transformers folder.")
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8"))["model_type"]
    except FileNotFoundError:
        raise InputError(name, f"{folder} has no config.json.", "Give the folder that holds it.") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(name, f"config.json in {folder} does not say its model_type.", _MEND) from error
    if kind not in (*WITH_TEXTS, *IMAGES_ONLY):
        known = ", ".join((*WITH_TEXTS, *IMAGES_ONLY))
        raise InputError(name, f"{folder} holds a model of type {kind!r}.", f"Known are {known}.")
    needs = {"*.safetensors": ("*.safetensors",), "preprocessor_config.json": ("*processor_config.json",)}
    if kind in WITH_TEXTS:
        needs["tokenizer.json"] = ("tokenizer.json", "vocab.json", "spiece.model")
    for shown, patterns in needs.items():
        if not any(any(folder.glob(pattern)) for pattern in patterns):
            raise InputError(name, f"{folder} has no {shown}.", _MEND)
    return kind


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
