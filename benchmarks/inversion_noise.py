"""What inverting a clip gives on the embedded tiny model: how far it is from noise, and what it carries.

    python -m benchmarks.inversion_noise                          the noise itself, a minute
    python -m benchmarks.inversion_noise --sample                 also what sampling from it shows, half an hour

One line per form of inversion. ``std``: of the noise, per frame and channel (1 is right). ``mean``: size of the mean
per frame and channel (0.06 for noise of 256 values). ``leak``: correlation with the clean latents, mean over frames and
channels taken off. ``round trip``: mean square error of sampling back, without guidance, against that of the mean clip.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass

import numpy as np
import torch

from demo.references import frames_of, object_path
from demo.run import scenes_for, shipped
from demo.tiny_model.judge import judge
from motion_embedding.initial_noise import CLEANINGS, STRATEGIES, mix, normalise
from motion_embedding.metrics.fidelity import trajectory_correlation

from .in_process import Host, start

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


def invert(host: Host, latents: torch.Tensor, form: Form) -> torch.Tensor:
    options = (form.steps, form.refinements, form.start_noise, form.cleaning)
    return host.part("inverting").invert_video(host.model, host.prompt(""), latents, *options)


def describe(host: Host, latents: torch.Tensor, form: Form) -> dict[str, float]:
    """The numbers of one clip's inverted noise."""
    noise = invert(host, latents, form)
    returned = host.sample_latents(host.model, "", noise, form.steps, 1.0)
    spread = (latents - latents.mean((-2, -1), keepdim=True)).square().mean()
    return {
        "std": noise.std((-2, -1)).mean().item(),
        "max std": noise.std((-2, -1)).max().item(),
        "mean": noise.mean((-2, -1)).abs().mean().item(),
        "leak": (normalise(noise) * normalise(latents)).mean().item(),
        "round trip": ((returned - latents).square().mean() / spread).item(),
    }


def carried(host: Host, name: str, noise: torch.Tensor, strategy: str, amount: float, scenes: int) -> dict[str, float]:
    """What samples of other looks show when they start from ``noise`` mixed with fresh noise, with no embedding."""
    reference, rows = shipped(name), []
    for i, look in enumerate(scenes_for(reference, scenes)):
        fresh = torch.randn(noise.shape, generator=torch.Generator().manual_seed(100 + i))
        (frames,) = host.sample(host.model, look.prompt, mix(noise, fresh, strategy, amount), 12, 2.0)
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
    with torch.inference_mode():
        host = start()
        clips = {name: host.encode(frames_of(name)) for name in arguments.clips}
        for walk in itertools.product(arguments.steps, arguments.refinements, arguments.start):
            form = Form(*walk)
            _show(form, _means([describe(host, x, form) for x in clips.values()]))
            for cleaning in CLEANINGS if arguments.sample else ():
                form = Form(*walk, cleaning)
                noises = {name: invert(host, x, form) for name, x in clips.items()}
                for strategy in STRATEGIES:
                    rows = [carried(host, name, z, strategy, 0.5, arguments.scenes) for name, z in noises.items()]
                    _show(f"{form}, {strategy}", _means(rows))


if __name__ == "__main__":
    main()
