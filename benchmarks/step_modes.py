"""One training step in several modes, measured: seconds and the peak of its memory."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .devices import free_memory
from .our_step import Ours
from .plain_step import Plain
from .step_networks import Network

PLAIN = ("plain, none again", "plain, all again")
OURS = ("ours, none again", "ours, all again")
_KEPT = re.compile(r"automatic with ([\d.]+) GB kept")
_WARM = 2  # steps before the first that is timed: kernels are chosen, and the loss scale comes down


def with_kept(gigabytes: float) -> str:
    """The mode in which so much may be kept for ``backward``."""
    return f"ours, automatic with {gigabytes:g} GB kept"


@dataclass(frozen=True)
class Choice:
    """What is learnt: ``layers`` as ``Backbone.select`` takes them, ``value_form`` as ``TrainableMotion``."""

    layers: str
    value_form: str = "full"


@dataclass(frozen=True)
class Row:
    """seconds: of a step, the median; not a number where it did not fit. peak: bytes at its worst moment, in all.

    weights: of those, the model's and, in a plain step, the text encoder's. resting: what the motion takes between
    steps: itself, its moments, and gradients that are kept till later.
    """

    name: str
    seconds: float = math.nan
    peak: float = math.nan
    weights: float = math.nan
    resting: float = math.nan

    @property
    def beside(self) -> float:
        return self.peak - self.weights

    @property
    def again(self) -> str:
        """What runs again, in the words of ``step_on_paper``."""
        how = self.name.split(", ")[1]
        return how.removeprefix("automatic with ")


# Layers, heads and width of the text encoders that are small beside their models. Wan's has billions of values, so that
# nobody encodes a text in every step, and Stable Video Diffusion reads none.
_ENCODERS = {32: (4, 1), 768: (12, 12), 1024: (23, 16)}


def has_encoder(net: Network) -> bool:
    return net.text[1] > 1 and net.text[-1] in _ENCODERS


def encoder(net: Network) -> tuple[Callable[[], torch.Tensor], int]:
    """Encodes a text as the published step does every time, and the bytes of its weights, which are random.

    Where the family has none, or one that is no part of a step, it gives a text that is there already.
    """
    if not has_encoder(net):
        prompt = net.prompt()
        return lambda: prompt, 0
    from transformers import CLIPTextConfig, CLIPTextModel

    (depth, heads), width = _ENCODERS[net.text[-1]], net.text[-1]
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "max_position_embeddings": net.text[1]}
    config = CLIPTextConfig(**shape, num_hidden_layers=depth, num_attention_heads=heads)
    with torch.device(net.device):
        model = CLIPTextModel(config).to(net.dtype).eval().requires_grad_(False)
        tokens = torch.zeros(net.text[:2], dtype=torch.long)
    return lambda: model(tokens).last_hidden_state, sum(p.nbytes for p in model.parameters())


def runner(mode: str, net: Network, choice: Choice) -> tuple[Ours | Plain, int]:
    """What takes the steps of a mode, and the bytes of weights that it holds."""
    who, how = mode.split(", ")
    if who == "plain":
        if choice.value_form != "full":
            raise ValueError("the published recipe learns all values")
        encode, size = encoder(net)
        plain = Plain(net, choice.layers, how == "all again", encode)
        return plain, net.weights + size
    if kept := _KEPT.fullmatch(how):
        return Ours(net, choice.layers, "automatic", int(1e9 * float(kept[1])), choice.value_form), net.weights
    return Ours(net, choice.layers, {"none again": "none", "all again": "all"}[how], 0, choice.value_form), net.weights


def peak_of(step: Callable[[], float], device: torch.device, resting: int, weights: int) -> int:
    """Bytes allocated at the worst moment of a step: on a GPU all there are, on a CPU its own, and the given ones."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    now = worst = 0
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        worst = max(worst, now)
    return worst + resting + weights


def timed(step: Callable[[], float], device: torch.device) -> float:
    """Seconds; on the CPU those of this process, since its cores may be shared."""
    if device.type != "cuda":
        begin = time.process_time()
        step()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def in_turns(make: Callable[[], Network], modes: Sequence[str], choice: Choice, steps: int) -> list[Row]:
    """Each mode on a network of its own, steps taken in turn, so that what else the machine does meets all alike."""
    runners = {mode: runner(mode, make(), choice) for mode in modes}
    times: dict[str, list[float]] = {mode: [] for mode in modes}
    for turn in range(1 + steps):
        for mode, (takes, _) in runners.items():
            spent = timed(takes.step, takes.network.device)
            times[mode] += [spent] if turn else []
    return [
        Row(
            mode,
            statistics.median(times[mode]),
            peak_of(takes.step, takes.network.device, takes.resting, weights),
            weights,
            takes.resting,
        )
        for mode, (takes, weights) in runners.items()
    ]


def alone(mode: str, net: Network, choice: Choice, steps: int) -> Row:
    """One mode with the device to itself: real networks do not fit beside each other. Tells where even one does not.

    Where the mode is plain, ``net`` keeps its weights in float32 from then on.
    """
    free_memory(net.device)
    try:
        row = _alone(mode, net, choice, steps)
    except torch.OutOfMemoryError:
        row = Row(mode)
    free_memory(net.device)  # here, since the error held all that was being made
    return row


def _alone(mode: str, net: Network, choice: Choice, steps: int) -> Row:
    takes, weights = runner(mode, net, choice)
    for _ in range(_WARM):
        takes.step()
    seconds = statistics.median(timed(takes.step, net.device) for _ in range(steps))
    return Row(mode, seconds, peak_of(takes.step, net.device, takes.resting, weights), weights, takes.resting)
