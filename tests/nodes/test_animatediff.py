"""Load AnimateDiff Model in the real host, on a small random model of SD1.5's shape."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from motion_embedding.motion_module import MotionModel
from motion_embedding.motion_module_install import places
from tests import small_sd15, tiny_checkpoints
from tests.small_sd15 import LAYERS, sample, text

pytestmark = pytest.mark.host
FRAMES = 4
FILES = {
    "v2.ckpt": ("animatediff_models", {"version": "v2"}),
    "v3.safetensors": ("motion_modules", {}),
    "untaught.safetensors": ("animatediff_models", {"scale": 0}),
}


@pytest.fixture(scope="module")
def folders(base: Path, pack: ModuleType) -> Iterator[Path]:
    """The host's models folder; emptied of files afterwards, since the host minds a folder that goes."""
    models = base / "models"
    for name, (folder, how) in FILES.items():
        (models / folder).mkdir(exist_ok=True)
        small_sd15.save_motion_model(models / folder / name, **how)
    yield models
    for path in (*(models / "animatediff_models").iterdir(), *(models / "motion_modules").iterdir()):
        path.unlink()


@pytest.fixture(scope="module")
def node(pack: ModuleType, folders: Path) -> Any:
    return importlib.import_module(f"{pack.__name__}.nodes.animatediff").LoadAnimateDiffModel


@pytest.fixture(scope="module")
def part(pack: ModuleType) -> Any:
    return lambda name: importlib.import_module(f"{pack.__name__}.motion_embedding.{name}")


@pytest.fixture
def model(comfy: Path) -> Any:
    """Checked to be as it was after the test."""
    return small_sd15.model()


@pytest.fixture(autouse=True)
def left_clean(model: Any) -> Iterator[None]:
    before = {k: v.clone() for k, v in model.model.diffusion_model.state_dict().items()}
    plain = sample(model)
    yield
    assert torch.equal(sample(model), plain)
    after = model.model.diffusion_model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    assert [n for n, m in model.model.named_modules() if "forward" in m.__dict__] == []


def load(node: Any, model: Any, name: str, beta_schedule: str = "as the model", strength: float = 1.0) -> Any:
    with torch.inference_mode():
        return node.execute(model, name, beta_schedule, strength).args[0]


def motion_of(patcher: Any) -> MotionModel:
    (motion,) = patcher.get_additional_models()
    return motion.model


def test_the_list_has_the_files_of_both_folders(node: Any) -> None:
    combo = next(i for i in node.define_schema().inputs if i.id == "motion_model")
    assert set(FILES) <= set(combo.options)


@pytest.mark.parametrize("name", ["v2.ckpt", "v3.safetensors"])
def test_sampling_is_as_if_the_motion_model_were_part_of_the_unet(node: Any, model: Any, name: str) -> None:
    moving = load(node, model, name)
    given = sample(moving)
    built = small_sd15.model()
    unet, motion = built.model.diffusion_model, copy.deepcopy(motion_of(moving))

    class Inserted(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.module(x, FRAMES)

    blocks = [*unet.input_blocks, unet.middle_block, *unet.output_blocks]
    for layer, module in places(unet, motion):
        block = next(block for block in blocks if layer in list(block))
        block.insert(list(block).index(layer) + 1, Inserted(module))
    assert torch.equal(given, sample(built))
    assert not torch.allclose(given, sample(model))


def test_a_motion_model_that_has_learnt_nothing_changes_nothing(node: Any, model: Any) -> None:
    assert torch.equal(sample(load(node, model, "untaught.safetensors")), sample(model))
    assert torch.equal(sample(load(node, model, "v3.safetensors", strength=0.0)), sample(model))


def test_branches_of_a_graph_go_their_own_ways(node: Any, model: Any) -> None:
    plain, first = sample(model), load(node, model, "v3.safetensors")
    moved, second = sample(first), load(node, model, "v2.ckpt", "AnimateDiff", 0.5)
    other = sample(second)
    assert torch.equal(sample(model), plain)
    assert torch.equal(sample(first), moved)
    assert torch.equal(sample(second.clone()), other)
    assert not torch.allclose(moved, other)


def test_its_own_betas_rise_evenly(node: Any, model: Any) -> None:
    moving = load(node, model, "v3.safetensors", "AnimateDiff")
    kept, remaining = [], 1.0
    for step in range(1000):
        remaining *= 1 - (0.00085 + (0.012 - 0.00085) * step / 999)
        kept.append(remaining)
    expected = torch.tensor([((1 - a) / a) ** 0.5 for a in kept])
    sampling = moving.get_model_object("model_sampling")
    assert torch.allclose(sampling.sigmas, expected, rtol=1e-4)
    assert not torch.allclose(sampling.sigmas, model.get_model_object("model_sampling").sigmas, rtol=0.1)
    assert not torch.allclose(sample(moving), sample(load(node, model, "v3.safetensors")))


def test_what_the_model_predicts_stays(node: Any, model: Any) -> None:
    from comfy.model_sampling import V_PREDICTION
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    predicting_v = ModelSamplingDiscrete().patch(model, "v_prediction", False)[0]
    sampling = load(node, predicting_v, "v3.safetensors", "AnimateDiff").get_model_object("model_sampling")
    assert isinstance(sampling, V_PREDICTION)
    assert float(sampling.sigmas[-1]) == pytest.approx(25.146, abs=0.01)


def test_a_distilled_schedule_is_kept_or_refused(node: Any, model: Any, part: Any) -> None:
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    lcm = ModelSamplingDiscrete().patch(model, "lcm", False)[0]
    with pytest.raises(part("errors").InputError, match="changed how the model is sampled"):
        load(node, lcm, "v3.safetensors", "AnimateDiff")
    kept = load(node, lcm, "v3.safetensors")
    assert kept.get_model_object("model_sampling") is lcm.get_model_object("model_sampling")


def test_weights_are_in_the_precision_the_unet_computes_in(node: Any, model: Any, folders: Path) -> None:
    half = folders / "motion_modules" / "half.ckpt"
    torch.save(small_sd15.motion_model().half().state_dict(), half)
    moving = load(node, model, "half.ckpt")
    half.unlink()
    assert {p.dtype for p in motion_of(moving).parameters()} == {torch.float32}
    assert torch.isfinite(sample(moving)).all()


def test_other_models_are_refused(node: Any, model: Any, part: Any) -> None:
    refused = part("errors").InputError
    with pytest.raises(refused, match=r"for SD1\.5, and this is SD20"):
        load(node, small_sd15.model("SD20"), "v3.safetensors")
    with pytest.raises(refused, match="32 wide where this model is 64"):
        load(node, small_sd15.model(model_channels=64), "v3.safetensors")
    with pytest.raises(refused, match="for 8 blocks where this model has 4"):
        load(node, small_sd15.model(num_res_blocks=[1] * 4, transformer_depth=[1, 1, 1, 0]), "v3.safetensors")
    with pytest.raises(refused, match="has a motion model already"):
        load(node, load(node, model, "v3.safetensors"), "v2.ckpt")


def test_a_text_to_video_model_is_refused(node: Any, rig: Any, part: Any) -> None:
    with pytest.raises(part("errors").InputError, match=r"for SD1\.5, and this is TextToVideoConfig"):
        load(node, rig.model, "v3.safetensors")


def test_files_are_refused_before_the_graph_runs(node: Any, folders: Path) -> None:
    folder = folders / "motion_modules"
    small_sd15.save_motion_model(folder / "v1.safetensors", positions=24)
    (folder / "cut.safetensors").write_bytes((folder / "v3.safetensors").read_bytes()[:5000])
    assert "AnimateDiff version 1" in node.validate_inputs(motion_model="v1.safetensors")
    assert "Download it again" in node.validate_inputs(motion_model="cut.safetensors")
    assert "there is no file" in node.validate_inputs(motion_model="absent.ckpt")
    assert node.validate_inputs(motion_model="v3.safetensors") is True
    assert node.validate_inputs(motion_model="v2.ckpt") is True
    assert node.validate_inputs(motion_model=None) is True


@pytest.mark.parametrize("content", [b"no model", b""])
def test_a_damaged_ckpt_is_refused(node: Any, model: Any, folders: Path, part: Any, content: bytes) -> None:
    (folders / "motion_modules" / "damaged.ckpt").write_bytes(content)
    with pytest.raises(part("errors").InputError, match=r"damaged\.ckpt cannot be read"):
        load(node, model, "damaged.ckpt")


def test_a_file_without_some_weights_is_refused(node: Any, model: Any, folders: Path, part: Any) -> None:
    state = small_sd15.motion_model().state_dict()
    state.pop("up_blocks.0.motion_modules.0.temporal_transformer.proj_in.bias")
    torch.save(state, folders / "motion_modules" / "holes.ckpt")
    with pytest.raises(part("errors").InputError, match="not laid out as AnimateDiff's own"):
        load(node, model, "holes.ckpt")


def clip() -> torch.Tensor:
    return torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(9))


def train(part: Any, model: Any, **changes: Any) -> Any:
    training = part("training")
    recipe = training.Recipe(**{"steps": 30, "learning_rate": 0.1, "layers": "all", **changes})
    with torch.inference_mode():
        return training.train_motion(model, text(5), clip(), recipe)


def test_every_layer_learns_and_the_model_stays_clean(node: Any, model: Any, part: Any) -> None:
    moving = load(node, model, "v2.ckpt", "AnimateDiff")
    before = {k: v.clone() for k, v in motion_of(moving).state_dict().items()}
    trained = train(part, moving)
    third = len(trained.losses) // 3
    assert sum(trained.losses[-third:]) < 0.95 * sum(trained.losses[:third])
    embedding = trained.embedding
    assert (embedding.backbone, embedding.frames, embedding.height, embedding.width) == ("animatediff", FRAMES, 8, 8)
    assert set(embedding.layers) == set(LAYERS)
    for name, layer in embedding.layers.items():
        assert float(layer.query_key.abs().sum()) > 0, name
        assert set(layer.value) == {"attention_blocks.0", "attention_blocks.1"}
        assert all(float(v.abs().sum()) > 0 for v in layer.value.values()), name
    motion = motion_of(moving)
    assert all(torch.equal(v, before[k]) for k, v in motion.state_dict().items())
    assert all(p.requires_grad for p in motion.parameters())
    assert [n for n, m in motion.named_modules() if "forward" in m.__dict__] == []


def test_a_motion_acts_and_an_empty_one_does_not(node: Any, model: Any, part: Any) -> None:
    moving = load(node, model, "v3.safetensors")
    embedding = train(part, moving, steps=3).embedding
    apply = part("injection").apply_embedding
    empty = embedding.replace(
        layers={
            name: type(layer)(layer.query_key * 0, {k: v * 0 for k, v in layer.value.items()})
            for name, layer in embedding.layers.items()
        }
    )
    plain = sample(moving)
    assert torch.equal(sample(apply(moving, empty)), plain)
    assert not torch.allclose(sample(apply(moving, embedding)), plain)
    assert torch.equal(sample(moving), plain)


def test_the_loss_with_a_throw_away_lora(node: Any, model: Any, part: Any) -> None:
    trained = train(part, load(node, model, "v3.safetensors"), steps=4, loss="debiased_hybrid")
    assert len(trained.losses) == 4
    assert all(torch.isfinite(layer.query_key).all() for layer in trained.embedding.layers.values())


def test_on_a_checkpoint_of_full_layout_from_the_stock_loader(
    node: Any, folders: Path, part: Any, tmp_path: Path
) -> None:
    """Loaded, encoded, sampled, moved and decoded by the host's own nodes."""
    from comfy.sd import load_checkpoint_guess_config

    import nodes

    path = tiny_checkpoints.save_sd15(tmp_path / "sd15.ckpt")
    tiny_checkpoints.save_motion_module(folders / "animatediff_models" / "full.ckpt")
    with torch.inference_mode():
        checkpoint, clip, vae = load_checkpoint_guess_config(str(path), embedding_directory=None)[:3]
        moving = node.execute(checkpoint, "full.ckpt", "AnimateDiff", 1.0).args[0]
        prompts = {name: nodes.CLIPTextEncode().encode(clip, name)[0] for name in ("positive", "negative")}
        frames = vae.decode(sample(moving, frames=2, steps=1, **prompts))
    assert frames.shape == (2, 64, 64, 3)
    assert torch.isfinite(frames).all()
    layers = {a.layer for a in part("injection").wired_family(moving.model, part("injection").options_of(moving))[1]}
    assert layers == {layer for layer in LAYERS if not layer.startswith("mid_block")}
