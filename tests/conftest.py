"""Fixtures that give tests a real ComfyUI: its modules in this process, or a server of their own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from demo.host import ROOT, Server, comfyui_path, link, link_model, prepare_base

PACK_MODULE = "motion_embeddings_pack"
TINY_MODEL = "tiny-text-to-video"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failed test")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    _forbid_skip(collector.config, report)
    return report


def _forbid_skip(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and config.getoption("no_skips"):
        report.outcome, report.longrepr = "failed", f"skipped under --no-skips: {report.longrepr}"


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ComfyUI base directory for this test run, with the pack in ``custom_nodes``.

    A stand-in takes the place of the one other pack that a template of ours uses, of which it says why.
    """
    base = prepare_base(tmp_path_factory.mktemp("comfyui"))
    link(base / "custom_nodes" / "ip_adapter_stand_in", ROOT / "tests" / "ip_adapter_stand_in")
    return base


@pytest.fixture(scope="session")
def comfy(base: Path) -> Path:
    """ComfyUI importable in this process (``import comfy.samplers``, ``import nodes``), on the CPU; its path.

    Only the import path and the command-line defaults are set: no node is registered, no server started.
    """
    path = comfyui_path()
    sys.path.insert(0, str(path))
    import torch
    from comfy.cli_args import args

    args.cpu, args.base_directory = True, str(base)
    torch.set_num_threads(1)
    return path


@pytest.fixture(scope="session")
def pack(comfy: Path) -> ModuleType:
    """The repository root as the package that ComfyUI makes of it.

    Its modules are not those that a test imports by ``from motion_embedding.x import y``: compare classes
    (in ``pytest.raises``, say) with those found through this package, ``pack.motion_embedding.errors``.
    """
    spec = importlib.util.spec_from_file_location(PACK_MODULE, ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK_MODULE] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_model(base: Path) -> Path:
    """The committed tiny text-to-video model, offered by ``base`` as ``models/diffusers/tiny-text-to-video``."""
    weights = ROOT / "demo" / "tiny_model" / "weights"
    if not (weights / "model_index.json").is_file():
        pytest.fail(f"the tiny model is missing: {weights}")
    link_model(base, weights, TINY_MODEL)
    return weights


@pytest.fixture(scope="session")
def server(base: Path) -> Iterator[Server]:
    """A running ComfyUI server with this pack; add ``tiny_model`` to a test that needs the model."""
    with Server(base) as running:
        yield running
