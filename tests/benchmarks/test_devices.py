"""What is said of a device, and how fast it can be."""

from __future__ import annotations

from argparse import Namespace

import torch

from benchmarks.devices import SPEEDS, device_name, speed_of

CPU = torch.device("cpu")


def test_how_fast_a_device_is_is_known_or_said_and_never_guessed() -> None:
    nothing = Namespace(peak_tflops=None, bandwidth=None)
    said = Namespace(peak_tflops=100.0, bandwidth=500.0)
    assert speed_of("NVIDIA H200", nothing) == (989e12, 4.8e12)
    assert speed_of("NVIDIA H200", nothing, half=False) == (None, 4.8e12)
    assert speed_of("NVIDIA GeForce RTX 4090 Laptop GPU", nothing) == (None, None)
    assert speed_of("NVIDIA H200", said, half=False) == speed_of("another", said) == (100e12, 500e9)
    assert all(speed.flops > speed.bandwidth > 1e11 for speed in SPEEDS.values())


def test_the_name_of_a_cpu_says_how_many_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert device_name(CPU).endswith(", 1 thread")
        assert "|" not in device_name(CPU)
    finally:
        torch.set_num_threads(before)
