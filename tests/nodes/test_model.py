"""The model nodes, and the whole chain through ComfyUI's own node classes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.tiny_folder import make_modelscope_like_folder, make_tiny_folder

pytestmark = pytest.mark.host
NAMES = {"test-tiny": make_tiny_folder, "test-modelscope": make_modelscope_like_folder}


@pytest.fixture(autouse=True)
def as_in_a_node() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def diffusers_root(pack: ModuleType, base: Path) -> Iterator[Path]:
    root = base / "models" / "diffusers"
    for name, make in NAMES.items():
        make(root / name)
    yield root
    for name in NAMES:
        shutil.rmtree(root / name)


@pytest.fixture
def model_nodes(pack: ModuleType, diffusers_root: Path) -> ModuleType:
    return import_module(f"{pack.__name__}.nodes.model")


@pytest.fixture
def input_error(pack: ModuleType) -> type[Exception]:
    return import_module(f"{pack.__name__}.motion_embedding.errors").InputError


def run(node: Any, *args: Any) -> tuple[Any, ...]:
    return node.execute(*args).result


def encode(clip: Any, *prompts: str) -> list[Any]:
    import nodes

    return [nodes.CLIPTextEncode().encode(clip, prompt)[0] for prompt in prompts]


def sample(model: Any, positive: Any, negative: Any, latent: dict[str, Any], cfg: float = 2.0) -> torch.Tensor:
    import nodes

    return nodes.KSampler().sample(model, 7, 2, cfg, "euler", "simple", positive, negative, latent)[0]["samples"]


def test_only_text_to_video_folders_are_offered(model_nodes: ModuleType, diffusers_root: Path) -> None:
    schema = model_nodes.LoadTextToVideoModel.define_schema()
    assert set(NAMES) <= set(schema.inputs[0].options)
    assert schema.node_id == "ME_LoadTextToVideoModel"
    assert all(i.tooltip for node in model_nodes.NODES for i in node.define_schema().inputs)


def test_the_pack_brings_a_model_to_try_it_on(
    model_nodes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_nodes.folder_paths, "get_folder_paths", lambda _: [str(tmp_path)])
    make_tiny_folder(tmp_path / "a-model")
    ours = "tiny-text-to-video"
    assert model_nodes.LoadTextToVideoModel.define_schema().inputs[0].options == ["a-model", ours]
    assert model_nodes.LoadLatteModel.define_schema().inputs[0].options == []
    assert model_nodes.LoadTextToVideoModel.validate_inputs(ours) is True
    assert model_nodes._find(ours, model_nodes.UNET).parts[-3:] == ("demo", "tiny_model", "weights")
    (tmp_path / "a-model").rename(tmp_path / ours)
    assert model_nodes._find(ours, model_nodes.UNET) == tmp_path / ours
    monkeypatch.setattr(model_nodes.examples, "_DEMO", tmp_path / "absent")
    (tmp_path / ours).rename(tmp_path / "a-model")
    assert model_nodes.LoadTextToVideoModel.define_schema().inputs[0].options == ["a-model"]


@pytest.mark.parametrize(
    ("name", "width", "height", "latent_shape"),
    [("test-tiny", 35, 50, (2, 12, 3, 12, 8)), ("test-modelscope", 72, 40, (2, 4, 3, 5, 9))],
)
def test_load_encode_sample_decode(
    model_nodes: ModuleType, name: str, width: int, height: int, latent_shape: tuple[int, ...]
) -> None:
    import nodes

    model, clip, vae = run(model_nodes.LoadTextToVideoModel, name, "auto")
    positive, negative = encode(clip, "a red star on a blue background", "")
    (latent,) = run(model_nodes.EmptyVideoLatent, vae, width, height, 3, 2)
    assert latent["samples"].shape == latent_shape
    guided, unguided = (sample(model, positive, negative, latent, cfg) for cfg in (2.0, 1.0))
    assert guided.shape == latent_shape and guided.isfinite().all()
    assert not torch.equal(guided, unguided)
    assert not torch.equal(guided[0], guided[1]), "the two videos of a batch have their own noise"
    assert torch.equal(sample(model, positive, negative, latent), guided)
    images = nodes.VAEDecode().decode(vae, {"samples": guided})[0]
    scale = vae.spacial_compression_decode()
    assert images.shape == (6, latent_shape[3] * scale, latent_shape[4] * scale, 3)
    again = nodes.VAEEncode().encode(vae, images[:3])[0]["samples"]
    assert again.shape == (1, *latent_shape[1:])


def test_odd_frame_sizes_are_cropped_on_encoding(model_nodes: ModuleType) -> None:
    _, _, vae = run(model_nodes.LoadTextToVideoModel, "test-tiny", "auto")
    frames = torch.rand(3, 38, 45, 3)
    assert torch.equal(vae.encode(frames), vae.encode(frames[:, 1:37, :44]))


def test_custom_sampling_and_image_to_image(model_nodes: ModuleType) -> None:
    from comfy_extras.nodes_custom_sampler import BasicScheduler, CFGGuider, KSamplerSelect, RandomNoise
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced as Advanced

    import nodes

    model, clip, vae = run(model_nodes.LoadTextToVideoModel, "test-tiny", "fp32")
    positive, negative = encode(clip, "a red star", "")
    (latent,) = run(model_nodes.EmptyVideoLatent, vae, 32, 32, 3, 1)
    pieces = (
        *run(RandomNoise, 7),
        *run(CFGGuider, model, positive, negative, 2.0),
        *run(KSamplerSelect, "euler"),
        *run(BasicScheduler, model, "simple", 2, 1.0),
    )
    assert torch.equal(run(Advanced, *pieces, latent)[0]["samples"], sample(model, positive, negative, latent))
    video = {"samples": vae.encode(torch.rand(3, 32, 32, 3))}
    settings = (model, 7, 20, 1.0, "euler", "normal", positive, negative)
    kept = nodes.KSampler().sample(*settings, video, denoise=0.05)[0]["samples"]
    assert kept.shape == video["samples"].shape


def latent_of(*shape: int) -> dict[str, torch.Tensor]:
    return {"samples": torch.zeros(*shape)}


def text_of(width: int, **extra: object) -> list[Any]:
    return [[torch.zeros(1, 24, width), extra]]


@pytest.mark.parametrize(
    ("latent", "positive", "name", "cause"),
    [
        (latent_of(1, 12, 8, 8), text_of(64), "latent_image", "image latent"),
        (latent_of(1, 4, 8, 8), text_of(64), "latent_image", "image latent"),
        ({"samples": torch.ones(1, 4, 3, 8, 8)}, text_of(64), "latent_image", "4 channels, but .* have 12"),
        (latent_of(1, 12, 3, 8, 8), text_of(768), "positive", "width 64"),
    ],
)
def test_inputs_of_another_kind_of_model_are_refused_before_loading(
    model_nodes: ModuleType,
    input_error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    latent: dict[str, torch.Tensor],
    positive: list[Any],
    name: str,
    cause: str,
) -> None:
    import comfy.model_management

    model, _, _ = run(model_nodes.LoadTextToVideoModel, "test-tiny", "auto")
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", lambda *_, **__: pytest.fail("weights were moved"))
    with pytest.raises(input_error, match=cause) as refusal:
        sample(model, positive, text_of(64), latent)
    assert refusal.value.name == name


def test_controlnets_are_refused(model_nodes: ModuleType, input_error: type[Exception]) -> None:
    from comfy.controlnet import ControlBase

    model, _, _ = run(model_nodes.LoadTextToVideoModel, "test-tiny", "auto")
    with pytest.raises(input_error, match="positive: it carries a ControlNet"):
        sample(model, text_of(64, control=ControlBase()), text_of(64), latent_of(1, 12, 3, 8, 8))


def test_missing_folder_and_missing_diffusers_are_named(
    model_nodes: ModuleType, input_error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(input_error, match=r"no text-to-video model '\.\./escape'"):
        model_nodes.LoadTextToVideoModel.execute("../escape", "auto")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(input_error, match=r"pip install .diffusers>=0\.32"):
        model_nodes.LoadTextToVideoModel.execute("test-tiny", "auto")


def test_half_copied_folder_is_refused(
    model_nodes: ModuleType, input_error: type[Exception], diffusers_root: Path
) -> None:
    broken = Path(shutil.copytree(diffusers_root / "test-tiny", diffusers_root / "test-broken"))
    try:
        file = broken / "vae" / "diffusion_pytorch_model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(input_error, match="is cut off"):
            model_nodes.LoadTextToVideoModel.execute("test-broken", "auto")
    finally:
        shutil.rmtree(broken)


class StockVideoVAE:
    """What EmptyVideoLatent reads of a VAE: here Wan's, which also compresses time."""

    latent_dim, latent_channels = 3, 16
    downscale_ratio: tuple[Callable[[int], int], int, int] = (lambda frames: (frames + 3) // 4, 8, 8)

    def spacial_compression_encode(self) -> int:
        return 8


def test_empty_latents_of_other_video_vaes(model_nodes: ModuleType, input_error: type[Exception]) -> None:
    vae = StockVideoVAE()
    assert run(model_nodes.EmptyVideoLatent, vae, 64, 48, 17, 1)[0]["samples"].shape == (1, 16, 5, 6, 8)
    with pytest.raises(input_error, match=r"height: 4 is too small .* at least 8"):
        model_nodes.EmptyVideoLatent.execute(vae, 64, 4, 17, 1)
    vae.latent_dim = 2
    with pytest.raises(input_error, match="images, not of videos"):
        model_nodes.EmptyVideoLatent.execute(vae, 64, 64, 17, 1)
