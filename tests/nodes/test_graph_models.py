"""Which models a motion reaches in a graph, and what is known of them before it runs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests import small_wan
from tests.motion_embedding.test_model_family import write_header

pytestmark = pytest.mark.host


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


LOADED = {"1": node("ME_LoadMotionEmbedding", motion_embedding="a.safetensors")}
APPLIED = LOADED | {"2": node("ME_ApplyMotionEmbedding", model=["3", 0], motion=["1", 0])}
TEXT_TO_VIDEO = node("ME_LoadTextToVideoModel", folder="zeroscope", dtype="auto")
GGUF = node("UnetLoaderGGUF", unet_name="wan.gguf")


@pytest.fixture
def graph_models(pack: ModuleType) -> ModuleType:
    from motion_embeddings_pack.nodes import graph_models

    graph_models._seen.clear()
    return graph_models


@pytest.fixture
def wan_file(comfy: Path) -> str:
    import folder_paths

    folder = Path(folder_paths.get_folder_paths("diffusion_models")[0])
    folder.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        weights = small_wan.network().state_dict()
    return write_header(folder / "graph_models_wan.safetensors", weights).name


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ({"3": TEXT_TO_VIDEO}, ["unet3d"]),
        ({"3": node("LoraLoaderModelOnly", model=["4", 0], lora_name="x"), "4": TEXT_TO_VIDEO}, ["unet3d"]),
        ({"3": node("ME_LoadLatteModel")}, ["latte"]),
        (
            {
                "3": node("ME_LoadAnimateDiffModel", model=["4", 0], motion_model="v3"),
                "4": node("CheckpointLoaderSimple", ckpt_name="absent.safetensors"),
            },
            ["animatediff"],
        ),
        ({"3": node("CheckpointLoaderSimple", ckpt_name="absent.safetensors")}, [None]),
        ({"3": GGUF}, [None]),
        ({}, [None]),
        ({"3": node("ModelPatch", model=["3", 0])}, [None]),
    ],
)
def test_the_model_that_the_motion_is_applied_to(graph_models: ModuleType, rest: dict, expected: list) -> None:
    assert graph_models.families_reached(APPLIED | rest, ["1"]) == expected


def test_a_motion_that_is_changed_on_its_way(graph_models: ModuleType) -> None:
    prompt = LOADED | {
        "2": node("ME_ApplyMotionEmbedding", model=["3", 0], motion=["6", 0]),
        "3": TEXT_TO_VIDEO,
        "5": node("ME_DebiasMotion", motion=["1", 0]),
        "6": node("ME_JoinMotions", first=["5", 0], second=["1", 0]),
    }
    assert graph_models.families_reached(prompt, ["1"]) == ["unet3d"]


def test_a_motion_to_go_on_from_and_one_for_two_models(graph_models: ModuleType) -> None:
    prompt = APPLIED | {
        "3": TEXT_TO_VIDEO,
        "7": node("ME_TrainMotionEmbedding", model=["8", 0], initial=["1", 0], positive=["9", 0]),
        "8": node("ME_LoadLatteModel"),
    }
    assert sorted(graph_models.families_reached(prompt, ["1"])) == ["latte", "unet3d"]


def test_a_motion_that_reaches_none(graph_models: ModuleType) -> None:
    prompt = LOADED | {
        "2": node("ME_ApplyMotionEmbedding", model=["3", 0], motion=["9", 0]),
        "3": TEXT_TO_VIDEO,
        "4": node("ME_PreviewMotion", motion=["1", 0]),
    }
    assert graph_models.families_reached(prompt, ["1"]) == []
    assert graph_models.families_reached(prompt, []) == []


def test_a_model_file_tells_its_family(graph_models: ModuleType, wan_file: str) -> None:
    prompt = APPLIED | {"3": node("UNETLoader", unet_name=wan_file, weight_dtype="default")}
    assert graph_models.families_reached(prompt, ["1"]) == ["wan"]


def test_what_a_run_has_seen_is_known_from_then_on_for_that_file_alone(graph_models: ModuleType) -> None:
    from comfy_execution.utils import CurrentNodeContext

    prompt = APPLIED | {"3": node("ModelSamplingSD3", model=["4", 0], shift=8.0), "4": GGUF}
    graph_models.remember(prompt, "model", "wan")
    assert graph_models.families_reached(prompt, ["1"]) == [None]  # no node is running
    with CurrentNodeContext("run", "2"):
        graph_models.remember(None, "model", "wan")
        graph_models.remember(prompt, "model", "wan")
    assert graph_models.families_reached(prompt, ["1"]) == ["wan"]
    assert graph_models.families_reached(APPLIED | {"3": GGUF}, ["1"]) == ["wan"]
    other = APPLIED | {"3": node("UnetLoaderGGUF", unet_name="other.gguf")}
    assert graph_models.families_reached(other, ["1"]) == [None]


def test_it_does_not_remember_without_end(graph_models: ModuleType) -> None:
    from comfy_execution.utils import CurrentNodeContext

    for number in range(300):
        prompt = APPLIED | {"3": node("UnetLoaderGGUF", unet_name=f"{number}.gguf")}
        with CurrentNodeContext("run", "2"):
            graph_models.remember(prompt, "model", "wan")
    assert len(graph_models._seen) == 256
    assert graph_models.families_reached(prompt, ["1"]) == ["wan"]


def test_applying_remembers(rig, graph_models: ModuleType) -> None:
    from comfy_api.latest import io
    from comfy_execution.utils import CurrentNodeContext

    prompt = APPLIED | {"3": GGUF}
    node_class = rig.part("nodes.embedding").ApplyMotionEmbedding.PREPARE_CLASS_CLONE({io.Hidden.prompt: prompt})
    motion = rig.train(steps=1).embedding
    with CurrentNodeContext("run", "2"):
        node_class.execute(rig.model, motion, 1.0, 1.0, 0.0, 1.0, "both")
    assert graph_models.families_reached(prompt, ["1"]) == ["unet3d"]
