"""Models at their real sizes with random weights: what depends on size alone, and that they run at all.

    python -m benchmarks.real_sizes [--only animatediff] [--out benchmarks/real_sizes.md]
    python -m benchmarks.real_sizes --only zeroscope --device cuda --steps 100 --layers paper --card 10
    python -m benchmarks.real_sizes --only tiny        the tiny model, to see that all this runs

Builds each model as the host's ``MODEL``, in a process of its own, takes two steps of sampling without and with a
motion on its recommended layers, and trains ``--steps`` steps as the training node does. On a CPU, clips are of two
frames as small as the network takes them and prompts of few tokens; ``--device cuda`` takes those that people make.
Weights are random and small enough for half precision; what comes out means nothing. Seconds of sampling are those of
the last step, of the thread on a CPU; "trained" is one whole training: its probe, its steps, and what is learnt read
back; "a step" the time between the first and the last of them. The peak is that of training on a GPU, weights and all,
and that of the process on a CPU. ``--card`` runs as on a card of so many gigabytes: the host is told that no more are
free, and on a GPU taking more is an error. ``--out`` adds the rows to a table, each in the place of the same model,
device and training.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from demo.host import ROOT
from motion_embedding.atomic import replacing

from . import in_process
from .cache import digest
from .devices import above_zero, add_device, chosen_device, device_name
from .in_process import Host
from .sampling_overhead import Case, sample, with_motion
from .step_networks import network
from .tables import Cells, Table, keep

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

    shapes = network("animatediff", META, HALF).beside[0].state_dict()
    key = digest({name: list(tensor.shape) for name, tensor in shapes.items()}, _DRAWN)
    path = ROOT / ".cache" / "real_sizes" / f"motion_v3-{key}.safetensors"
    if not path.exists():
        with replacing(path) as unfinished:
            save_file(weights(shapes), str(unfinished))
    return host.part("animatediff").load_animatediff(of_the_host("animatediff"), path)


SIZES = {
    "tiny": Size("tiny text-to-video UNet", (1, 12, 8, 16, 16), (1, 12, 2, 8, 8), (24, 64), lambda host: host.model),
    "zeroscope": Size("ZeroScope", (1, 4, 24, 40, 72), (1, 4, 2, 8, 8), (77, 1024), zeroscope),
    "svd": Size("SVD", (14, 4, 72, 128), (2, 4, 8, 8), (1, 1024), lambda host: of_the_host("svd")),
    "animatediff": Size("SD1.5 + AnimateDiff v3", (16, 4, 64, 64), (2, 4, 8, 8), (77, 768), animatediff),
    "wan1.3b": Size(
        "Wan 1.3B", (1, 16, 13, 60, 104), (1, 16, 2, 8, 8), (512, 4096), lambda host: of_the_host("wan1.3b")
    ),
}


_KEYS = ("model", "device", "card", "layers", "values", "steps")
_MEASURED = ("billion values", "sampling step", "with a motion", "trained", "a step", "layers that learnt", "peak")
TABLE = Table((*_KEYS, *_MEASURED), len(_KEYS))
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """layers, value_form, steps: as ``Recipe`` takes them. card: gigabytes there are to be, 0 for those there are."""

    layers: str
    value_form: str
    steps: int
    card: float = 0.0


def as_on_a_card(gigabytes: float, device: torch.device) -> None:
    """This process now has so much memory on ``device``, weights and all; of a CPU only the host believes it."""
    from comfy import model_management

    limit, found = int(gigabytes * 1e9), model_management.get_free_memory
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / whole))

    def free(dev: torch.device | None = None, torch_free_too: bool = False) -> int | tuple[int, int]:
        there = found(dev, True)
        if dev is None or dev.type == device.type:
            left = max(0, limit - (torch.cuda.memory_allocated(device) if device.type == "cuda" else 0))
            there = tuple(min(left, part) for part in there)
        return there if torch_free_too else there[0]

    model_management.get_free_memory = free


def ran(case: Case, host: Host, training: Training, device: torch.device, sampling: bool) -> Cells:
    """A row of the table: that the model samples and trains, and how long it took."""
    cuda = device.type == "cuda"
    sampled = ("-", "-")
    if sampling:
        moved, _ = with_motion(case, host)
        sampled = tuple(f"{sample(case, model, 2, cuda).seconds[-1]:.2f} s" for model in (case.model, moved))
        del moved
    recipe = host.part("presets").Recipe(steps=training.steps, layers=training.layers, value_form=training.value_form)
    clip = torch.randn(case.shape, generator=torch.Generator().manual_seed(4))
    stamps: list[float] = []
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    begin = _now(cuda)
    reporter = _stamping(host, training.steps, lambda: stamps.append(_now(cuda, wait=False)))
    trained = host.part("training").train_motion(case.model, case.text[0], clip, recipe, reporter=reporter)
    spent = _now(cuda) - begin
    peak = torch.cuda.max_memory_allocated() if cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    each = f"{(stamps[-1] - stamps[0]) / (len(stamps) - 1):.3f} s" if len(stamps) > 1 else "-"
    moving = sum(bool(layer.query_key.any()) for layer in trained.embedding.layers.values())
    count = sum(p.numel() for p in case.model.model.diffusion_model.parameters())
    learnt = f"{moving} of {len(trained.embedding.layers)}, loss {trained.losses[0]:.2f}"
    card = f"{training.card:g} GB" if training.card else "-"
    named = (case.name, device_name(device), card, training.layers, training.value_form, str(training.steps))
    return (*named, f"{count / 1e9:.2f}", *sampled, f"{spent:.2f} s", each, learnt, f"{peak / 1e9:.1f} GB")


def _stamping(host: Host, steps: int, stamp: Callable[[], None]) -> Any:
    """Tells nobody how a training goes on, but when each of its steps was done."""
    reporter = host.part("training_progress").Reporter(None, steps)
    after = reporter.after

    def stamping(history: list[float]) -> None:
        after(history)
        stamp()

    reporter.after = stamping
    return reporter


def _now(cuda: bool, wait: bool = True) -> float:
    """wait: until the device is done with all that it was given; a training must not be made to."""
    if cuda and wait:
        torch.cuda.synchronize()
    return time.perf_counter() if cuda else time.thread_time()


def row(name: str, training: Training, device: torch.device, sampling: bool) -> Cells:
    """Of one model, in this process."""
    cpu = device.type == "cpu"
    with torch.inference_mode():
        host = in_process.start(1, cpu=cpu)
        if training.card:
            as_on_a_card(training.card, device)
        return ran(SIZES[name].case(host, small=cpu), host, training, device, sampling)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_device(parser)
    parser.add_argument("--only", choices=SIZES, nargs="+", default=[name for name in SIZES if name != "tiny"])
    parser.add_argument("--steps", type=int, default=1, help="of training")
    parser.add_argument("--layers", default="recommended", help="that learn")
    parser.add_argument("--value-form", default="full", help="as the training node has it")
    parser.add_argument("--card", type=above_zero, default=0.0, help="GB of memory to do with, weights and all")
    parser.add_argument("--sampling", type=int, choices=(0, 1), default=1, help="0 to train only")
    parser.add_argument("--out", type=Path, help="add the rows to the table there")
    parser.add_argument("--row", choices=SIZES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = chosen_device(parser, arguments)
    training = Training(arguments.layers, arguments.value_form, arguments.steps, arguments.card)
    if arguments.row:
        print(json.dumps(row(arguments.row, training, device, bool(arguments.sampling))))
        return
    table, failed = TABLE, []
    for name in arguments.only:
        command = [sys.executable, "-m", "benchmarks.real_sizes", *sys.argv[1:], "--row", name]
        child = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if child.returncode:
            failed.append(name)
            continue
        table = table.with_rows([*table.rows, json.loads(child.stdout.splitlines()[-1])])
        log.warning("%s", table.rows[-1])
        if arguments.out:
            keep(arguments.out, table)
    print(table.text)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
