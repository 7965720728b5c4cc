"""Fixtures shared by the tests of the model loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.tiny_folder import make_modelscope_like_folder, make_tiny_folder


@pytest.fixture
def as_in_a_node() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="session")
def modelscope(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_modelscope_like_folder(tmp_path_factory.mktemp("modelscope") / "modelscope")


@pytest.fixture(params=["tiny", "modelscope"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)
