"""``--device`` of the benchmarks that run on a GPU too, its name in their tables, and how fast it can be at best."""

from __future__ import annotations

import argparse
import gc
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

_KINDS = ("cpu", "cuda")


@dataclass(frozen=True)
class Speed:
    """flops: operations a second of dense half-precision matrices that add up in float32. bandwidth: bytes a second."""

    flops: float
    bandwidth: float


SPEEDS = {
    "NVIDIA H100 80GB HBM3": Speed(989e12, 3.35e12),
    "NVIDIA H100 PCIe": Speed(756e12, 2.0e12),
    "NVIDIA H200": Speed(989e12, 4.8e12),
    "NVIDIA GeForce RTX 4090": Speed(165e12, 1.008e12),
    "NVIDIA GeForce RTX 3060": Speed(25.6e12, 0.36e12),
}
"""As their makers state them, by the name that PyTorch gives. What is not here is not guessed from a name like it: a
card of the same number for laptops, or with another memory, is another card."""


def add_device(parser: argparse.ArgumentParser) -> None:
    """Gives ``parser`` the option ``--device``."""
    parser.add_argument("--device", choices=_KINDS, default="cpu", help="what to run on")


def chosen_device(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> torch.device:
    """The device asked for; ends the program with a usage error where there is none."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device here. Leave --device out to run on the CPU.")
    return torch.device(arguments.device)


def add_speed(parser: argparse.ArgumentParser) -> None:
    """Gives ``parser`` the options that say how fast the device is where :data:`SPEEDS` does not know it."""
    known = ", ".join(SPEEDS)
    parser.add_argument("--peak-tflops", type=above_zero, help=f"of the device in half precision (known: {known})")
    parser.add_argument("--bandwidth", type=above_zero, help="of the device's memory, in GB/s (known: the same)")


def above_zero(text: str) -> float:
    """For an option that is a size or a rate."""
    if not (number := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def speed_of(name: str, arguments: argparse.Namespace, half: bool = True) -> tuple[float | None, float | None]:
    """Operations and bytes a second of the device ``name``: as the arguments say, else as known, else None.

    half: whether it computes in half precision; of other precisions no peak is known.
    """
    known = SPEEDS.get(name)
    peak = 1e12 * arguments.peak_tflops if arguments.peak_tflops else known.flops if known and half else None
    bandwidth = 1e9 * arguments.bandwidth if arguments.bandwidth else known.bandwidth if known else None
    return peak, bandwidth


def floors(flop: float, traffic: float, speed: tuple[float | None, float | None]) -> str:
    """The time that so many operations take at least, and so many bytes, each by itself."""
    times = [None if rate is None else amount / rate for amount, rate in zip((flop, traffic), speed, strict=True)]
    return ", ".join("unknown" if time is None else f"{1e3 * time:.0f} ms" for time in times)


def device_name(device: torch.device) -> str:
    """Of a GPU what PyTorch calls it, of a CPU what the system does and how many threads PyTorch takes of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_cpu()}, {threads} thread{'s' if threads > 1 else ''}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), flags=re.M) if info.exists() else None
    return (
        " ".join(named[1].replace("|", " ").split()) if named else platform.processor() or platform.machine() or "CPU"
    )


def free_memory(device: torch.device) -> None:
    """Give back what nothing refers to, so that what is measured next starts with an empty device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
