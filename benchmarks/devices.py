"""``--device`` of the benchmarks that run on a GPU too."""

from __future__ import annotations

import argparse

import torch

_KINDS = ("cpu", "cuda")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Gives ``parser`` the option ``--device``."""
    parser.add_argument("--device", choices=_KINDS, default="cpu", help="what to run on")


def chosen_device(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> torch.device:
    """The device asked for; ends the program with a usage error where there is none."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device here. Leave --device out to run on the CPU.")
    return torch.device(arguments.device)
