"""Where the demo's ComfyUI is, and the base directory made for it."""

from __future__ import annotations

import pytest

from demo.host import ROOT, comfyui_path, link_model, prepare_base


def test_prepare_base_installs_the_pack_and_may_be_repeated(tmp_path):
    for _ in range(2):
        base = prepare_base(tmp_path / "base")
    assert (base / "custom_nodes" / "motion_embeddings" / "pyproject.toml").samefile(ROOT / "pyproject.toml")
    assert all((base / name).is_dir() for name in ("input", "output", "user", "models/diffusers"))


def test_link_model_replaces_an_older_link(tmp_path):
    base = prepare_base(tmp_path / "base")
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        link_model(base, tmp_path / version, "tiny")
    assert (base / "models" / "diffusers" / "tiny").resolve() == (tmp_path / "new").resolve()


def test_comfyui_path_prefers_the_users_own_and_says_when_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="COMFYUI_PATH"):
        comfyui_path()
    (tmp_path / "main.py").touch()
    assert comfyui_path() == tmp_path.resolve()
