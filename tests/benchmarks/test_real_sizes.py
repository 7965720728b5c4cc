"""Networks at real sizes, without contents: what is measured on them is measured on the published architectures."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import diffusers
import pytest
import torch

from benchmarks import real_sizes
from benchmarks.real_sizes import SIZES, TABLE, weights
from benchmarks.step_networks import network
from demo.host import ROOT
from motion_embedding.motion_module_install import places

META = torch.device("meta")
pytestmark = pytest.mark.host


def values(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "published", "config"),
    [
        ("zeroscope", diffusers.UNet3DConditionModel, {"cross_attention_dim": 1024}),
        ("svd", diffusers.UNetSpatioTemporalConditionModel, {"num_attention_heads": (5, 10, 20, 20)}),
        ("animatediff", diffusers.UNet2DConditionModel, {"cross_attention_dim": 768}),
        (
            "wan1.3b",
            diffusers.WanTransformer3DModel,
            {"num_attention_heads": 12, "attention_head_dim": 128, "num_layers": 30, "ffn_dim": 8960},
        ),
    ],
)
def test_a_network_has_as_many_values_as_the_published_class(comfy, name: str, published, config: dict) -> None:
    with META:
        theirs = published(**config)
    assert values(network(name, META, torch.float16).module) == values(theirs)


def test_zeroscope_has_the_published_names_and_shapes(comfy) -> None:
    with META:
        theirs = diffusers.UNet3DConditionModel(cross_attention_dim=1024).state_dict()
    ours = network("zeroscope", META, torch.float16).module.state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_animatediff_v3_has_the_published_motion_model(comfy) -> None:
    """20 modules, in each 2 attentions with 5 weights and an encoding, and 16 weights more."""
    net = network("animatediff", META, torch.float16)
    [motion] = net.beside
    with META:
        theirs = diffusers.MotionAdapter(use_motion_mid_block=False)
    assert values(motion) == values(theirs) == 417_137_600
    assert len(places(net.module, motion)) == 20
    assert len(motion.state_dict()) == 20 * (2 * 6 + 16)
    encodings = [t.shape for n, t in motion.state_dict().items() if n.endswith(".pe")]
    assert len(encodings) == 40
    assert {shape[:2] for shape in encodings} == {(1, 32)}


@pytest.mark.parametrize(
    ("name", "attentions", "recommended", "paper", "widths"),
    [
        ("zeroscope", 34, 32, 10, {320, 512, 640, 1280}),
        ("svd", 16, 16, 5, {320, 640, 1280}),
        ("animatediff", 40, 40, 20, {320, 640, 1280}),
        ("wan1.3b", 30, 16, 16, {1536}),
    ],
)
def test_attentions_that_learn(comfy, name: str, attentions: int, recommended: int, paper: int, widths: set) -> None:
    """2 a temporal transformer of UNets (SVD: 1): 17, 16 and 20 of those; Wan: 1 a block of 30, the middle half."""
    backbone, found = network(name, META, torch.float16).family
    assert len(found) == attentions
    assert {site.width for site in found} == widths
    assert len(backbone.select(found, "recommended")) == recommended
    assert len(backbone.select(found, "paper")) == paper


@pytest.mark.parametrize("name", SIZES)
def test_small_clips_are_of_the_same_kind(name: str) -> None:
    size = SIZES[name]
    assert len(size.small) == len(size.latent)
    frames = 0 if len(size.latent) == 4 else 2
    assert size.small[frames] == 2 < size.latent[frames]
    assert size.small[1] == size.latent[1]


def test_weights_are_small_enough_for_half_precision() -> None:
    made = weights({"a.weight": torch.empty(64, 400), "b.weight": torch.empty(3), "b.bias": torch.empty(3)})
    assert made["a.weight"].dtype == torch.float16
    assert made["a.weight"].float().std().item() == pytest.approx(0.5 / 20, rel=0.02)
    assert made["b.weight"].tolist() == [1, 1, 1]
    assert made["b.bias"].tolist() == [0, 0, 0]


def test_a_case_says_what_it_is_of() -> None:
    size = replace(SIZES["svd"], build=lambda host: "the model")
    case = size.case(None, small=True)
    assert (case.name, case.model, case.shape) == ("SVD, 64x64, 2 latent frames", "the model", (2, 4, 8, 8))
    for [[text, said]] in case.text:
        assert text.shape == (1, 1, 1024)
        assert said["concat_latent_image"].shape == (1, 4, 8, 8)
    wan = replace(SIZES["wan1.3b"], build=lambda host: None)
    assert wan.case(None, small=False).name == "Wan 1.3B, 832x480, 13 latent frames"
    assert wan.case(None, small=False).text[0][0][0].shape == (1, 512, 4096)
    assert wan.case(None, small=True).text[0][0][0].shape == (1, 8, 4096)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["real_sizes", *arguments])
    real_sizes.main()


def test_a_model_that_fails_costs_the_others_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Each in a process of its own, and each row on the page before the next."""
    page, commands = tmp_path / "page.md", []
    page.write_text((ROOT / "benchmarks" / "real_sizes.md").read_text("utf-8"))
    before, rest = page.read_text(), ["x"] * (len(TABLE.columns) - 1)

    def ended(command: list[str], **how: object) -> subprocess.CompletedProcess:
        commands.append(command)
        name = command[-1]
        return subprocess.CompletedProcess(command, int(name == "svd"), f"a warning\n{json.dumps([name, *rest])}\n")

    monkeypatch.setattr(real_sizes.subprocess, "run", ended)
    for _ in range(2):
        with pytest.raises(SystemExit, match="failed: svd"):
            run(monkeypatch, "--only", "zeroscope", "svd", "wan1.3b", "--steps", "3", "--out", str(page))
    assert page.read_text() == before + "".join(f"| {n} | {' | '.join(rest)} |\n" for n in ("zeroscope", "wan1.3b"))
    assert commands[0][3:6] == ["--only", "zeroscope", "svd"]
    assert commands[0][-2:] == ["--row", "zeroscope"]
    capsys.readouterr()


def test_a_training_of_some_steps_is_a_row() -> None:
    """On the tiny model in a process of its own, as every model is run; on a card that has room for little."""
    training = ["--steps", "3", "--layers", "paper", "--value-form", "low rank 2", "--card", "0.5", "--sampling", "0"]
    command = [sys.executable, "-m", "benchmarks.real_sizes", "--row", "tiny", *training]
    said = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    row = dict(zip(TABLE.columns, json.loads(said.splitlines()[-1]), strict=True))
    named = [row[key] for key in ("card", "layers", "values", "steps", "sampling step", "with a motion")]
    assert named == ["0.5 GB", "paper", "low rank 2", "3", "-", "-"]
    assert float(row["a step"].removesuffix(" s")) > 0
    assert row["layers that learnt"].startswith("3 of 3, loss")


def test_a_card_has_as_much_memory_as_it_is_said_to(comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfy import model_management

    monkeypatch.setattr(model_management, "get_free_memory", lambda dev=None, torch_free_too=False: (10**12, 10**9))
    real_sizes.as_on_a_card(2, torch.device("cpu"))
    assert model_management.get_free_memory() == 2 * 10**9
    assert model_management.get_free_memory(torch.device("cpu"), torch_free_too=True) == (2 * 10**9, 10**9)
    assert model_management.get_free_memory(torch.device("meta")) == 10**12, "of another device nothing is said"
