"""(ComfyUI) A Latte folder's T5 text encoder as a stock CLIP."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import comfy.sd
import folder_paths
import torch
from comfy.sd1_clip import SD1ClipModel
from comfy.supported_models_base import ClipTarget
from comfy.text_encoders.pixart_t5 import PixArtTokenizer
from comfy.text_encoders.sd3_clip import T5XXLModel
from transformers import T5Config

from .errors import InputError
from .text_to_video_clip import load_weights
from .text_to_video_folder import read_config, read_weights

TOKENS = 120
_HOST_ACTIVATIONS = {"gelu_new": "gelu_pytorch_tanh", "gelu_pytorch_tanh": "gelu_pytorch_tanh", "relu": "relu"}
_READ = ("d_ff", "d_kv", "d_model", "num_heads", "num_layers", "vocab_size", "is_gated_act")
# What ComfyUI's T5 takes for granted.
_FIXED = {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6}


class LatteTokenizer(PixArtTokenizer):
    """Lower case and 120 tokens at a time, the rest padding, as Latte was trained."""

    def __init__(self, **host: Any) -> None:
        super().__init__(**host)
        tokenizer = getattr(self, self.clip)
        tokenizer.max_length, tokenizer.pad_to_max_length = TOKENS, True

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **options: Any) -> dict[str, list]:
        return super().tokenize_with_weights(text.lower().strip(), return_word_ids, **options)


def load_t5(folder: Path, dtype: torch.dtype | None = None) -> comfy.sd.CLIP:
    """The text encoder of a Latte folder, giving all 120 tokens and, as ``attention_mask``, which are no padding.

    The tokenizer is ComfyUI's own of T5. ``dtype`` is the precision of the weights; None lets ComfyUI choose.
    """
    config = _host_config(T5Config(**read_config(folder, "text_encoder")))
    weights = read_weights(folder, "text_encoder")
    if (tokens := weights.pop("encoder.embed_tokens.weight", None)) is not None:
        weights.setdefault("shared.weight", tokens)  # one matrix under two names
    options = {"t5xxl_model_config": config}
    clip = comfy.sd.CLIP(
        ClipTarget(
            LatteTokenizer,
            partial(SD1ClipModel, name="t5xxl", clip_model=partial(T5XXLModel, attention_mask=True)),
        ),
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        parameters=sum(tensor.numel() for tensor in weights.values()),
        model_options=options if dtype is None else {**options, "dtype": dtype},
    )
    load_weights(clip, weights)
    return clip


def _host_config(config: T5Config) -> dict[str, Any]:
    wrong = [name for name, value in _FIXED.items() if getattr(config, name) != value]
    activation = _HOST_ACTIVATIONS.get(config.dense_act_fn)
    if wrong or activation is None:
        name = wrong[0] if wrong else "dense_act_fn"
        cause = f"its text_encoder has {name} {getattr(config, name)!r}, which ComfyUI's T5 does not have."
        raise InputError("folder", cause, "Use the text encoder that came with the model.")
    return {**{name: getattr(config, name) for name in _READ}, "dense_act_fn": activation}
