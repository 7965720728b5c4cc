"""(ComfyUI) A model folder's CLIP text encoder and tokenizer as a stock CLIP."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import comfy.clip_model
import comfy.sd
import folder_paths
import torch
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel, SDTokenizer
from comfy.supported_models_base import ClipTarget
from transformers import CLIPTextConfig

from .errors import InputError
from .text_to_video_folder import read_config, read_weights


class FolderTokenizer(SDTokenizer):
    """Tokenises and pads as the folder's own tokenizer does."""

    def __init__(self, path: Path, config: CLIPTextConfig, key: str, **host: Any) -> None:
        super().__init__(str(path), embedding_size=config.hidden_size, embedding_key=key, **host)
        own = self.tokenizer
        # A tokenizer that states no length claims 1e30.
        self.max_length = min(own.model_max_length, config.max_position_embeddings)
        self.pad_token = own.pad_token_id if own.pad_token_id is not None else own.eos_token_id


class FolderTextModel(comfy.clip_model.CLIPTextModel):
    """ComfyUI's CLIP text tower with a vocabulary of any size."""

    def __init__(self, config: dict[str, Any], dtype: torch.dtype | None, device: Any, operations: Any) -> None:
        super().__init__(config, dtype, device, operations)
        size = (config["vocab_size"], config["hidden_size"])
        if self.get_input_embeddings().weight.shape != size:
            self.set_input_embeddings(operations.Embedding(*size, dtype=dtype, device=device))
        for module in self.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = config["layer_norm_eps"]
        # The folder's model ends before the projection; the host only uses it for a pooled output nobody reads here.
        torch.nn.init.eye_(self.text_projection.weight)


def load_clip(folder: Path, dtype: torch.dtype | None = None) -> comfy.sd.CLIP:
    """The text encoder and tokenizer of a model folder, giving the last hidden state after its norm, unmasked.

    That is what diffusers' text-to-video pipelines feed their UNet. ``dtype`` is the precision of the weights; None
    lets ComfyUI choose. Computing is always in float32.
    """
    config = CLIPTextConfig(**read_config(folder, "text_encoder"))
    if config.hidden_act not in comfy.clip_model.ACTIVATIONS:
        cause = f"its text_encoder uses the activation {config.hidden_act!r}, which ComfyUI's CLIP does not have."
        raise InputError("folder", cause, f"Known are {', '.join(comfy.clip_model.ACTIVATIONS)}.")
    # ComfyUI's letters for CLIP-L and OpenCLIP-H choose which textual inversions and LoRA keys apply.
    name = "h" if config.hidden_size == 1024 else "l"
    tokenizer = partial(FolderTokenizer, folder / "tokenizer", config, f"clip_{name}")
    probe = tokenizer()
    text_model = partial(
        SDClipModel,
        max_length=probe.max_length,
        textmodel_json_config=config.to_dict(),
        model_class=FolderTextModel,
        special_tokens={"start": probe.start_token, "end": probe.end_token, "pad": probe.pad_token},
        return_projected_pooled=False,
    )
    weights = _host_names(read_weights(folder, "text_encoder"))
    clip = comfy.sd.CLIP(
        ClipTarget(
            partial(SD1Tokenizer, clip_name=name, tokenizer=tokenizer),
            partial(SD1ClipModel, clip_name=name, clip_model=text_model),
        ),
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        parameters=sum(tensor.numel() for tensor in weights.values()),
        model_options={} if dtype is None else {"dtype": dtype},
    )
    load_weights(clip, weights)
    return clip


def _host_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names with ``text_model.`` in front, which transformers 5 leaves out, and without buffers it saved before."""
    outside = ("text_model.", "text_projection.")
    named = {n if n.startswith(outside) else f"text_model.{n}": tensor for n, tensor in weights.items()}
    return {n: tensor for n, tensor in named.items() if not n.endswith("position_ids")}


def load_weights(clip: comfy.sd.CLIP, weights: dict[str, torch.Tensor]) -> None:
    """Give ``clip`` exactly ``weights``; :class:`InputError` when they do not fit."""
    try:
        missing, unexpected = clip.load_sd(weights)
    except RuntimeError as error:
        missing, unexpected = [" ".join(str(error).split())[:300]], []
    wrong = [name for name in (*missing, *unexpected) if name != "text_projection.weight"]
    if wrong:
        cause = f"the weights in text_encoder do not fit text_encoder/config.json ({', '.join(wrong[:3])})."
        raise InputError("folder", cause, "Download or copy it again, completely.")
