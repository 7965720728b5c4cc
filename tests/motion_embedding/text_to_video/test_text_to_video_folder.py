"""Finding, checking and reading model folders; no ComfyUI needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from motion_embedding.errors import InputError
from motion_embedding.text_to_video_folder import check_folder, find_folders, read_weights, weight_files
from tests.tiny_folder import make_tiny_folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("original") / "tiny")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tiny"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_folders_are_found_at_any_depth_and_others_are_not(folder: Path, tmp_path: Path) -> None:
    nested = shutil.copytree(folder, tmp_path / "roots" / "author" / "model")
    (nested / "model_index.json").unlink()
    image_model = tmp_path / "roots" / "image" / "unet"
    image_model.mkdir(parents=True)
    (image_model / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    linked = tmp_path / "roots" / "linked"
    linked.symlink_to(folder)
    found = find_folders([tmp_path / "roots", tmp_path / "absent"])
    assert list(found) == ["author/model", "linked"]


def test_a_name_found_twice_belongs_to_the_first_root(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other" / "tiny")
    assert find_folders([tmp_path, tmp_path / "other"])["tiny"] == folder


def test_a_complete_folder_passes(folder: Path) -> None:
    check_folder(folder)


def cut(file: Path, keep: float) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])


UNET_FILE = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda f: shutil.rmtree(f / "vae"), "has no vae/config.json"),
        (lambda f: shutil.rmtree(f / "tokenizer"), "has no tokenizer/vocab.json"),
        (lambda f: (f / "scheduler" / "scheduler_config.json").unlink(), "has no scheduler/scheduler_config.json"),
        (lambda f: (f / "unet" / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / UNET_FILE).unlink(), "unet has no weights"),
        (lambda f: cut(f / UNET_FILE, 0.9), "is cut off"),
        (lambda f: cut(f / UNET_FILE, 0.001), "is cut off"),
        (lambda f: (f / UNET_FILE).write_bytes(b""), "is cut off"),
        (lambda f: (f / UNET_FILE).write_bytes(b"\x04" + bytes(7) + b"abcd"), "not a safetensors file"),
        (lambda f: (f / UNET_FILE).write_text("version https://git-lfs.github.com/spec/v1\n"), "git-lfs pointer"),
        (lambda f: edit_json(f / "unet/config.json", _class_name="UNet2DConditionModel"), "UNet2DConditionModel"),
        (lambda f: edit_json(f / "vae/config.json", _class_name="VQModel"), "VQModel"),
        (lambda f: edit_json(f / "unet/config.json", in_channels=24), "24 channels and gives 12, but its vae makes 12"),
        (lambda f: edit_json(f / "text_encoder/config.json", hidden_size=768), "768 wide but its unet reads 64"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(folder: Path, damage: Callable[[Path], object], cause: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=cause) as refusal:
        check_folder(folder)
    assert refusal.value.name == "folder"


def test_a_half_copied_bin_file_is_refused(folder: Path) -> None:
    weights = load_file(folder / UNET_FILE)
    (folder / UNET_FILE).unlink()
    file = folder / "unet" / "diffusion_pytorch_model.bin"
    torch.save(weights, file)
    check_folder(folder)
    cut(file, 0.9)
    with pytest.raises(InputError, match="cut off"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"], 0),
        (["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors"], 1),
        (["diffusion_pytorch_model.fp16.bin"], 0),
    ],
)
def test_choice_among_several_weight_files(tmp_path: Path, present: list[str], chosen: int) -> None:
    (tmp_path / "unet").mkdir()
    for name in present:
        (tmp_path / "unet" / name).touch()
    assert weight_files(tmp_path, "unet") == [tmp_path / "unet" / present[chosen]]


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_as_one(folder: Path, suffix: str) -> None:
    weights = load_file(folder / UNET_FILE)
    (folder / UNET_FILE).unlink()
    names = sorted(weights)
    halves = [names[::2], names[1::2]]
    weight_map = {}
    for i, half in enumerate(halves, 1):
        file = folder / "unet" / f"diffusion_pytorch_model-0000{i}-of-00002.{suffix}"
        part = {name: weights[name] for name in half}
        save_file(part, file) if suffix == "safetensors" else torch.save(part, file)
        weight_map |= dict.fromkeys(half, file.name)
    index = folder / "unet" / f"diffusion_pytorch_model.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    read = read_weights(folder, "unet")
    assert sorted(read) == names
    assert all(torch.equal(read[name], weights[name]) for name in names)
    (folder / "unet" / f"diffusion_pytorch_model-00002-of-00002.{suffix}").unlink()
    with pytest.raises(InputError, match=r"00002-of-00002.* is missing"):
        check_folder(folder)
