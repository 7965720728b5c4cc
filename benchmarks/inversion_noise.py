"""What inverting a clip gives on the embedded tiny model: how far it is from noise, and what it carries.

    python -m benchmarks.inversion_noise                          the noise itself, a minute
    python -m benchmarks.inversion_noise --sample                 also what sampling from it shows, half an hour

One line per form of inversion. ``std``: of the noise, per frame and channel (1 is right). ``mean``: size of the mean
per frame and channel (0.06 for noise of 256 values). ``leak``: correlation with the clean latents, mean over frames and
channels taken off. ``round trip``: mean square error of sampling back, without guidance, against that of the mean clip.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import logging
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from demo.host import ROOT, comfyui_path
from demo.references import frames_of, object_path
from demo.run import scenes_for, shipped
from demo.tiny_model.judge import judge
from motion_embedding.initial_noise import CLEANINGS, STRATEGIES, mix, normalise
from motion_embedding.metrics.fidelity import trajectory_correlation

WEIGHTS = ROOT / "demo" / "tiny_model" / "weights"
CLIPS = ("left", "up", "circle", "bounce", "diagonal", "arc")


@dataclass(frozen=True)
class Form:
    """A way of inverting; see ``motion_embedding.inverting.invert_video``."""

    steps: int = 50
    refinements: int = 0
    start_noise: float = 0.0
    cleaning: str = "as published"

    def __str__(self) -> str:
        return f"{self.steps:3} steps, {self.refinements} refined, start {self.start_noise:<4}, {self.cleaning}"


class Rig:
    """The tiny model in the host, in this process."""

    def __init__(self) -> None:
        arguments, sys.argv = sys.argv, [sys.argv[0], "--cpu"]
        sys.path.insert(0, str(comfyui_path()))
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.utils

        import nodes

        sys.argv = arguments
        logging.disable(logging.INFO)
        comfy.utils.PROGRESS_BAR_ENABLED = False
        self.nodes, self.pack = nodes, _pack()
        self.model, self.clip, self.vae = self.part("text_to_video").load_text_to_video(WEIGHTS, None)
        self.scale = self.model.model.latent_format.scale_factor

    def part(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.pack.__name__}.motion_embedding.{name}")

    def prompt(self, text: str) -> Any:
        return self.nodes.CLIPTextEncode().encode(self.clip, text)[0]

    def latents(self, name: str) -> torch.Tensor:
        frames = torch.from_numpy(frames_of(name)).float() / 255
        return self.nodes.VAEEncode().encode(self.vae, frames)[0]["samples"]

    def invert(self, latents: torch.Tensor, form: Form, text: str = "") -> torch.Tensor:
        options = (form.steps, form.refinements, form.start_noise, form.cleaning)
        return self.part("inverting").invert_video(self.model, self.prompt(text), latents, *options)

    def sample(self, noise: torch.Tensor, text: str, steps: int, cfg: float) -> torch.Tensor:
        """Latents sampled with plain DDIM from exactly ``noise``."""
        start = {"samples": self.part("starting").noisy_latents(self.model, noise)}
        options = (0, steps, cfg, "euler", "sgm_uniform", self.prompt(text), self.prompt(""))
        return self.nodes.common_ksampler(self.model, *options, start, disable_noise=True)[0]["samples"]

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        return (self.nodes.VAEDecode().decode(self.vae, {"samples": latents})[0].numpy() * 255).round().astype(np.uint8)


def _pack() -> ModuleType:
    spec = importlib.util.spec_from_file_location("motion_embeddings_pack", ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def describe(rig: Rig, latents: torch.Tensor, form: Form) -> dict[str, float]:
    """The numbers of one clip's inverted noise."""
    noise = rig.invert(latents, form)
    returned = rig.sample(noise, "", form.steps, cfg=1.0)
    spread = (latents - latents.mean((-2, -1), keepdim=True)).square().mean()
    return {
        "std": noise.std((-2, -1)).mean().item(),
        "max std": noise.std((-2, -1)).max().item(),
        "mean": noise.mean((-2, -1)).abs().mean().item(),
        "leak": (normalise(noise) * normalise(latents)).mean().item(),
        "round trip": ((returned - latents).square().mean() / spread).item(),
    }


def carried(rig: Rig, name: str, noise: torch.Tensor, strategy: str, amount: float, scenes: int) -> dict[str, float]:
    """What samples of other looks show when they start from ``noise`` mixed with fresh noise, with no embedding."""
    reference, rows = shipped(name), []
    for i, look in enumerate(scenes_for(reference, scenes)):
        fresh = torch.randn(noise.shape, generator=torch.Generator().manual_seed(100 + i))
        frames = rig.decode(rig.sample(mix(noise, fresh, strategy, amount), look.prompt, 12, cfg=2.0))
        seen = judge(frames, look.color)
        rows.append(
            {
                "track": trajectory_correlation(object_path(name), seen.track),
                "color leak": float(seen.color == reference.look.color),
                "color": float(seen.color == look.color),
                "shape": float(seen.shape == look.shape),
                "shape leak": float(seen.shape == reference.look.shape),
                "background": float(seen.background == look.background),
            }
        )
    return _means(rows)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _show(form: object, numbers: dict[str, float]) -> None:
    sys.stdout.write(f"{form!s:64}" + "  ".join(f"{key} {value:6.2f}" for key, value in numbers.items()) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", default=CLIPS)
    parser.add_argument("--steps", nargs="+", type=int, default=[10, 25, 50])
    parser.add_argument("--refinements", nargs="+", type=int, default=[0, 1, 3])
    parser.add_argument("--start", nargs="+", type=float, default=[0.0, 0.05, 0.1, 0.2, 0.5])
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--scenes", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        rig = Rig()
        clips = {name: rig.latents(name) for name in arguments.clips}
        for walk in itertools.product(arguments.steps, arguments.refinements, arguments.start):
            form = Form(*walk)
            _show(form, _means([describe(rig, x, form) for x in clips.values()]))
            for cleaning in CLEANINGS if arguments.sample else ():
                form = Form(*walk, cleaning)
                noises = {name: rig.invert(x, form) for name, x in clips.items()}
                for strategy in STRATEGIES:
                    rows = [carried(rig, name, z, strategy, 0.5, arguments.scenes) for name, z in noises.items()]
                    _show(f"{form}, {strategy}", _means(rows))


if __name__ == "__main__":
    main()
