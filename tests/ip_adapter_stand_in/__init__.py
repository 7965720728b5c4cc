"""The two nodes of cubiq's ComfyUI_IPAdapter_plus that our template uses, as a pack for the test server.

That pack is GPL and its weights are gigabytes, so the tests install this in its place: the same node ids, inputs and
outputs, and a patch of the same kind (of the cross-attentions, through ``set_model_attn2_replace``) made of random
projections of the picture. Written from the nodes' interface; nothing of theirs is in it.
"""

from __future__ import annotations

from typing import Any

import torch

PRESETS = [
    "LIGHT - SD1.5 only (low strength)",
    "STANDARD (medium strength)",
    "VIT-G (medium strength)",
    "PLUS (high strength)",
    "PLUS FACE (portraits)",
    "FULL FACE - SD1.5 only (portraits stronger)",
]
BLOCKS = [("input", n) for n in (1, 2, 4, 5, 7, 8)] + [("output", n) for n in range(3, 12)]
TOKENS = 4


class UnifiedLoader:
    RETURN_TYPES = ("MODEL", "IPADAPTER")
    RETURN_NAMES = ("model", "ipadapter")
    FUNCTION = "load"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"model": ("MODEL",), "preset": (PRESETS,)}, "optional": {"ipadapter": ("IPADAPTER",)}}

    def load(self, model: Any, preset: str, ipadapter: Any = None) -> tuple[Any, dict[str, str]]:
        return model, {"preset": preset}


class IPAdapter:
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        share = {"min": 0.0, "max": 1.0, "step": 0.001}
        return {
            "required": {
                "model": ("MODEL",),
                "ipadapter": ("IPADAPTER",),
                "image": ("IMAGE",),
                "weight": ("FLOAT", {"default": 1.0, "min": -1, "max": 3, "step": 0.05}),
                "start_at": ("FLOAT", {"default": 0.0, **share}),
                "end_at": ("FLOAT", {"default": 1.0, **share}),
                "weight_type": (["standard", "prompt is more important", "style transfer"],),
            },
            "optional": {"attn_mask": ("MASK",)},
        }

    def apply(self, model: Any, image: torch.Tensor, weight: float, **_: Any) -> tuple[Any]:
        adapted = model.clone()
        patch = _picture_attention(image, weight)
        for block in BLOCKS:
            adapted.set_model_attn2_replace(patch, *block)
        return (adapted,)


def _picture_attention(image: torch.Tensor, weight: float) -> Any:
    """A second cross-attention, to tokens of the picture ``[B, H, W, 3]``, added to that to the text."""
    from comfy.ldm.modules.attention import optimized_attention

    colours = torch.nn.functional.adaptive_avg_pool2d(image[:1].movedim(-1, 1), 2).flatten(2).movedim(1, 2)

    def replace(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(q.shape[-1])
        keys, values = (
            (colours @ torch.randn(3, q.shape[-1], generator=generator)).to(q).expand(len(q), TOKENS, -1)
            for _ in range(2)
        )
        text = optimized_attention(q, k, v, options["n_heads"])
        return text + weight * optimized_attention(q, keys, values, options["n_heads"])

    return replace


NODE_CLASS_MAPPINGS = {"IPAdapterUnifiedLoader": UnifiedLoader, "IPAdapter": IPAdapter}
NODE_DISPLAY_NAME_MAPPINGS = {"IPAdapterUnifiedLoader": "IPAdapter Unified Loader"}
