"""What training takes in memory, by family and size, without a GPU: the real networks, on PyTorch's meta device.

    python -m benchmarks.memory_on_paper [--write]

Every block of the host's network runs once with tensors that have shapes and no contents, under the same measurement
that training makes before its first step. ``--write`` puts the table into ``ARCHITECTURE.md``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from demo.host import ROOT
from demo.tiny_animatediff.image_unet import import_comfyui
from motion_embedding.backbones import find_backbone
from motion_embedding.checkpointing import Checkpoints
from motion_embedding.install import Installation
from motion_embedding.memory import learning, of_values
from motion_embedding.trainable import TrainableMotion

from .step_networks import unet3d
from .step_on_paper import as_flash

MARKS = "<!-- memory table -->", "<!-- end of memory table -->"
_FP8 = torch.float8_e4m3fn


@dataclass(frozen=True)
class Case:
    """A network at a size. latent: ``[1, C, F, h, w]``. dtype: of the weights; computing is in bfloat16.

    layers: which of them learn. value_form: as ``TrainableMotion`` takes it.
    """

    name: str
    clip: str
    build: Callable[[Any], nn.Module]
    latent: tuple[int, ...]
    inputs: Callable[[], dict[str, Any]]
    dtype: torch.dtype = torch.bfloat16
    layers: str = "recommended"
    value_form: str = "full"


def text(tokens: int, width: int) -> torch.Tensor:
    return torch.empty(1, tokens, width, dtype=torch.bfloat16, device="meta")


def wan(**shape: int) -> Callable[[Any], nn.Module]:
    from comfy.ldm.wan.model import WanModel

    return lambda settings: WanModel(**shape, **settings)


def ltxv(settings: dict[str, Any]) -> nn.Module:
    from comfy.ldm.lightricks.model import LTXVModel

    return LTXVModel(**settings)


def hunyuan(settings: dict[str, Any]) -> nn.Module:
    from comfy.ldm.hunyuan_video.model import HunyuanVideo

    shape = {"in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072}
    blocks = {"mlp_ratio": 4.0, "num_heads": 24, "depth": 20, "depth_single_blocks": 40, "axes_dim": [16, 56, 56]}
    rest = {"theta": 256, "patch_size": [1, 2, 2], "qkv_bias": True, "guidance_embed": True, "byt5": False}
    more = {"meanflow": False, "use_cond_type_embedding": False, "vision_in_dim": None}
    return HunyuanVideo(**shape, **blocks, **rest, **more, **settings)


def cases() -> Iterator[Case]:
    """Frames and sizes of a clip as people make them."""

    def to_zeroscope() -> dict[str, Any]:
        return {"context": text(77, 1024)}

    zeroscope = (lambda settings: unet3d(torch.device("meta"), settings["dtype"], (1, 4, 24, 40, 72)).module,)
    choices = (
        ("ZeroScope, the paper's layers", "paper", "full"),
        ("ZeroScope", "recommended", "full"),
        ("ZeroScope, learnt at rank 8", "recommended", "low rank 8"),
    )
    for name, *how in choices:
        yield Case(name, "576x320x24", *zeroscope, (1, 4, 24, 40, 72), to_zeroscope, torch.bfloat16, *how)

    def to_wan() -> dict[str, Any]:
        return {"context": text(512, 4096)}

    small, large = {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30}, {"dim": 5120, "ffn_dim": 13824}
    large |= {"num_heads": 40, "num_layers": 40}
    five = {"dim": 3072, "ffn_dim": 14336, "num_heads": 24, "num_layers": 30, "in_dim": 48, "out_dim": 48}
    yield Case("Wan 1.3B", "832x480x49", wan(**small), (1, 16, 13, 60, 104), to_wan)
    yield Case("Wan 1.3B", "832x480x81", wan(**small), (1, 16, 21, 60, 104), to_wan)
    yield Case("Wan 14B", "832x480x49", wan(**large), (1, 16, 13, 60, 104), to_wan)
    yield Case("Wan 14B fp8", "832x480x49", wan(**large), (1, 16, 13, 60, 104), to_wan, _FP8)
    yield Case("Wan 14B fp8", "832x480x81", wan(**large), (1, 16, 21, 60, 104), to_wan, _FP8)
    yield Case("Wan 2.2 5B", "1280x704x49", wan(**five), (1, 48, 13, 44, 80), to_wan)

    def to_ltxv() -> dict[str, Any]:
        return {"context": text(256, 4096), "attention_mask": None}

    yield Case("LTX-Video 2B", "768x512x97", ltxv, (1, 128, 13, 16, 24), to_ltxv)

    def to_hunyuan() -> dict[str, Any]:
        return {
            "context": text(256, 4096),
            "y": torch.empty(1, 768, dtype=torch.bfloat16, device="meta"),
            "guidance": torch.empty(1, device="meta"),
        }

    yield Case("HunyuanVideo fp8", "848x480x49", hunyuan, (1, 16, 13, 60, 106), to_hunyuan, _FP8)


class _Flash(torch.autograd.Function):
    """What memory-efficient attention keeps: query, key, value, its output, and a number for each query and head."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, shape: tuple) -> torch.Tensor:
        out = q.new_empty(shape)
        ctx.save_for_backward(q, k, v, out, q.new_empty(shape[0], heads, shape[1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        raise NotImplementedError


def flash(run: Callable, q, k, v, heads, *args, skip_reshape: bool = False, **kwargs) -> torch.Tensor:
    """In place of the host's attention, which would choose another kind for tensors without contents."""
    batch, tokens, width = (q.shape[0], q.shape[2], heads * q.shape[3]) if skip_reshape else q.shape
    return _Flash.apply(q, k, v, heads, (batch, tokens, width))


@dataclass(frozen=True)
class Row:
    """Bytes."""

    case: Case
    model: int
    values: int
    none: int
    all: int


@torch.no_grad()
def measured(case: Case) -> Row:
    import comfy.ops

    operations = comfy.ops.manual_cast if case.dtype == _FP8 else comfy.ops.disable_weight_init
    with torch.device("meta"):
        model = case.build({"dtype": case.dtype, "device": "meta", "operations": operations}).requires_grad_(False)
    backbone, attentions = find_backbone(model)
    chosen = backbone.select(attentions, case.layers)
    call = backbone.call(torch.empty(case.latent, device="meta"), (0,))
    trainable = TrainableMotion(chosen, case.value_form)
    checkpoints = Checkpoints(learning(backbone.blocks(model), chosen), backbone.in_place)
    checkpoints.measuring = True
    x = torch.empty(case.latent, dtype=torch.bfloat16, device="meta")
    options = {"optimized_attention_override": flash}
    motion = Installation(model, [trainable], call)
    with as_flash(), motion, checkpoints.around(lambda: motion), torch.device("meta"):
        model(x, torch.empty(1), transformer_options=options, **case.inputs())
    values = sum(p.numel() for p in trainable.allocate(torch.device("meta")))
    own = sum(p.nbytes for p in model.parameters())
    return Row(case, own, values, checkpoints.choose("none", 0), checkpoints.choose("all", 0))


def table(rows: list[Row]) -> str:
    def gigabytes(size: float) -> str:
        return f"{size / 1e9:.1f}"

    lines = [
        "| model | clip | weights | the motion: file, learning | kept, no block again | kept, all again | in all |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        learnt = of_values(row.values)
        file = f"{2 * row.values / 1e6:.0f} MB, {gigabytes(learnt)}"
        needed = gigabytes(row.model + learnt + row.all)
        cells = (gigabytes(row.model), file, gigabytes(row.none), gigabytes(row.all), needed)
        lines.append(f"| {row.case.name} | {row.case.clip} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into ARCHITECTURE.md")
    arguments = parser.parse_args()
    import_comfyui()
    text_ = table([measured(case) for case in cases()])
    print(text_)
    if arguments.write:
        page, (begin, end) = ROOT / "ARCHITECTURE.md", MARKS
        replaced = re.sub(f"{begin}.*?{end}", f"{begin}\n{text_}\n{end}", page.read_text("utf-8"), flags=re.S)
        page.write_text(replaced, "utf-8")


if __name__ == "__main__":
    main()
