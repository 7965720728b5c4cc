"""What benchmarks say of themselves, and where they cannot run."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

from demo.host import ROOT

NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if "def main(" in path.read_text("utf-8"))
ON_A_GPU = ("training_step", "sampling_overhead", "real_sizes", "time_to_quality", "file_size")


def refused(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> int:
    """The exit status of a benchmark that ends before it begins."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    return ended.value.code


def test_all_benchmarks_are_found() -> None:
    assert {*ON_A_GPU, "ablation", "gpu", "video_decode"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_is_given(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert refused(monkeypatch, name, "--help") == 0
    assert f"usage: {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ON_A_GPU)
def test_without_a_gpu_the_error_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert refused(monkeypatch, name, "--device", "cuda") == 2
    assert "PyTorch finds no CUDA device here" in capsys.readouterr().err
    assert refused(monkeypatch, name, "--device", "tpu") == 2
    assert "invalid choice: 'tpu'" in capsys.readouterr().err
