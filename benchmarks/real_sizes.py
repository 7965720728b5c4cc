"""Models at their real sizes with random weights: what depends on size alone, and that they run at all.

    python -m benchmarks.real_sizes [--device cuda] [--only zeroscope] [--out benchmarks/real_sizes.md]

Builds each model as the host's ``MODEL``, takes two steps of sampling without and with a motion on its recommended
layers, and trains one step on each. On a CPU, clips are of two frames as small as the network takes them and prompts of
few tokens; ``--device cuda`` takes those that people make. Weights are random and small enough for half precision; what
comes out means nothing. Seconds are those of the last step, of the thread on a CPU; "trained" is one whole training of
one step: its probe, the step, and what is learnt read back.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import in_process
from .devices import add_device, chosen_device
from .in_process import Host
from .sampling_overhead import Case, sample, with_motion
from .step_networks import network

HALF, META = torch.float16, torch.device("meta")
_FEW_TOKENS = 8
_DRAWN = 2**20 + 7  # no multiple of a layer's width


@dataclass(frozen=True)
class Size:
    """A clip's latent as people make it and the smallest, and the prompt's ``(tokens, width)``."""

    name: str
    latent: tuple[int, ...]
    small: tuple[int, ...]
    text: tuple[int, int]
    build: Callable[[Host], Any]

    def case(self, host: Host, small: bool) -> Case:
        shape = self.small if small else self.latent
        tokens = min(self.text[0], _FEW_TOKENS) if small else self.text[0]
        generator = torch.Generator().manual_seed(2)
        said = {"concat_latent_image": torch.randn(1, *shape[1:], generator=generator)} if self.name == "SVD" else {}
        prompts = tuple([[torch.randn(1, tokens, self.text[1], generator=generator), dict(said)]] for _ in range(2))
        pixels = "x".join(str(8 * n) for n in reversed(shape[-2:]))
        frames = shape[0] if len(shape) == 4 else shape[2]
        return Case(f"{self.name}, {pixels}, {frames} latent frames", self.build(host), shape, prompts)


def weights(shapes: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Half-precision weights of those shapes; vectors are ones or zeros, as norms and biases begin.

    The same random numbers over and over: to draw billions takes longer than to run what they are for.
    """
    drawn = torch.randn(_DRAWN, generator=torch.Generator().manual_seed(3))
    made = {}
    for name, tensor in shapes.items():
        if tensor.ndim < 2:
            made[name] = torch.full(tensor.shape, float(name.endswith("weight")), dtype=HALF)
        else:
            scale = 0.5 / tensor[0].numel() ** 0.5
            again = -(-tensor.numel() // _DRAWN)
            made[name] = (drawn * scale).half().repeat(again)[: tensor.numel()].view(tensor.shape)
    return made


def zeroscope(host: Host) -> Any:
    from comfy import model_management
    from comfy.model_patcher import ModelPatcher

    part, device = host.part("text_to_video_model"), model_management.get_torch_device()
    cast = model_management.unet_manual_cast(HALF, device)
    with META:
        unet = host.part("text_to_video_unet").TextToVideoUNet(cross_attention_dim=1024)
    unet.load_state_dict(weights(unet.state_dict()), assign=True)
    host.part("text_to_video_layers").adopt_layers(unet, cast is not None)
    unet.compute_dtype = cast or HALF
    config = part.TextToVideoConfig(part.TextToVideoLatentFormat({}), HALF, cast)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    model = part.TextToVideoModel(unet.eval(), config, schedule)
    rest = model_management.unet_offload_device()
    return ModelPatcher(model.to(rest), device, rest)


def of_the_host(name: str) -> Any:
    """As the host's loader makes it of a file of weights."""
    import comfy.sd

    shapes = network(name, META, HALF).module.state_dict()
    return comfy.sd.load_diffusion_model_state_dict(weights(shapes), {"dtype": HALF})


def animatediff(host: Host) -> Any:
    from safetensors.torch import save_file

    from demo.host import ROOT

    path = ROOT / ".cache" / "real_sizes" / "motion_v3.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights(network("animatediff", META, HALF).beside[0].state_dict()), str(path))
    return host.part("animatediff").load_animatediff(of_the_host("animatediff"), path)


SIZES = {
    "zeroscope": Size("ZeroScope", (1, 4, 24, 40, 72), (1, 4, 2, 8, 8), (77, 1024), zeroscope),
    "svd": Size("SVD", (14, 4, 72, 128), (2, 4, 8, 8), (1, 1024), lambda host: of_the_host("svd")),
    "animatediff": Size("SD1.5 + AnimateDiff v3", (16, 4, 64, 64), (2, 4, 8, 8), (77, 768), animatediff),
    "wan1.3b": Size(
        "Wan 1.3B", (1, 16, 13, 60, 104), (1, 16, 2, 8, 8), (512, 4096), lambda host: of_the_host("wan1.3b")
    ),
}


def real(host: Host, names: tuple[str, ...] = tuple(SIZES), small: bool = False) -> Iterator[Case]:
    """One after the other, so that only one need be held."""
    return (SIZES[name].case(host, small) for name in names)


def ran(case: Case, host: Host, cuda: bool) -> str:
    """A row of the table: that the model samples and trains, and how long a step took."""
    moved, _ = with_motion(case, host)
    without, acting = (sample(case, model, 2, cuda).seconds[-1] for model in (case.model, moved))
    recipe = host.part("presets").Recipe(steps=1)
    clip = torch.randn(case.shape, generator=torch.Generator().manual_seed(4))
    begin = time.perf_counter() if cuda else time.thread_time()
    trained = host.part("training").train_motion(case.model, case.text[0], clip, recipe)
    spent = (time.perf_counter() if cuda else time.thread_time()) - begin
    moving = sum(bool(layer.query_key.any()) for layer in trained.embedding.layers.values())
    count = sum(p.numel() for p in case.model.model.diffusion_model.parameters())
    seconds = " | ".join(f"{s:.2f} s" for s in (without, acting, spent))
    peak = torch.cuda.max_memory_allocated() if cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    learnt = f"{moving} of {len(trained.embedding.layers)}, loss {trained.losses[0]:.2f}"
    return f"| {case.name} | {count / 1e9:.2f} | {seconds} | {learnt} | {peak / 1e9:.1f} GB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_device(parser)
    parser.add_argument("--only", choices=SIZES, action="append", help="this one; can be repeated")
    parser.add_argument("--out", type=Path, help="add the rows to the table there")
    arguments = parser.parse_args()
    cuda = chosen_device(parser, arguments).type == "cuda"
    lines = [
        "| model | billion values | step | with a motion | trained | layers that learnt | peak |",
        "|---|---|---|---|---|---|---|",
    ]
    if arguments.out and arguments.out.exists():
        lines = arguments.out.read_text("utf-8").splitlines()
    with torch.inference_mode():
        host = in_process.start(1, cpu=not cuda)
        for case in real(host, tuple(arguments.only or SIZES), small=not cuda):
            lines.append(ran(case, host, cuda))
            print(lines[-1], file=sys.stderr)
            del case
            gc.collect()
    table = "\n".join(lines) + "\n"
    print(table)
    if arguments.out:
        arguments.out.write_text(table, "utf-8")


if __name__ == "__main__":
    main()
