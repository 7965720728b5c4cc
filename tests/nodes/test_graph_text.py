"""The text behind an input, in graphs as the host runs them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.host

SEEN = "a car on a roundabout"


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def encoded(text: Any = SEEN) -> dict[str, Any]:
    return node("CLIPTextEncode", text=text, clip=["9", 1])


LOADER = node("CheckpointLoaderSimple", ckpt_name="model.safetensors")
TRAIN = node("ME_TrainMotionEmbedding", positive=["2", 0], model=["9", 0], preset="object motion")
GRAPHS = {
    "at once": ({"2": encoded()}, SEEN),
    "a text node": ({"2": encoded(["3", 0]), "3": node("PrimitiveStringMultiline", value=f" {SEEN}\n")}, SEEN),
    "reroute": ({"2": node("Reroute", **{"": ["3", 0]}), "3": encoded()}, SEEN),
    "changed": (
        {"2": node("ConditioningSetTimestepRange", conditioning=["3", 0], start=0.0, end=1.0), "3": encoded()},
        SEEN,
    ),
    "positive side": (
        {
            "2": node("WanImageToVideo", positive=["3", 0], negative=["4", 0], vae=["9", 2], width=832),
            "3": encoded(),
            "4": encoded("blurry"),
        },
        SEEN,
    ),
    "two encoders, one text": ({"2": node("CLIPTextEncodeFlux", clip=["9", 1], clip_l=SEEN, t5xxl=SEEN)}, SEEN),
    "two texts": ({"2": node("CLIPTextEncodeFlux", clip=["9", 1], clip_l="car", t5xxl=SEEN)}, ""),
    "combined": (
        {
            "2": node("ConditioningCombine", conditioning_1=["3", 0], conditioning_2=["4", 0]),
            "3": encoded(),
            "4": encoded("x"),
        },
        "",
    ),
    "a picture, no text": ({"2": node("SVD_img2vid_Conditioning", clip_vision=["9", 1], init_image=["8", 0])}, ""),
    "written by a model": (
        {
            "2": node("CLIPTextEncodeFlux", clip=["9", 1], clip_l=SEEN, t5xxl=["3", 0]),
            "3": node("Describe", prompt="What is in it?", image=["8", 0]),
        },
        "",
    ),
    "nothing in it": ({"2": encoded(" \n")}, ""),
    "a circle": ({"2": node("Reroute", value=["2", 0])}, ""),
    "a missing node": ({"2": node("Reroute", value=["77", 0])}, ""),
}


@pytest.fixture
def graph_text(pack: ModuleType) -> ModuleType:
    from motion_embeddings_pack.nodes import graph_text

    return graph_text


@pytest.mark.parametrize("name", list(GRAPHS))
def test_the_text_behind_the_positive(graph_text: ModuleType, name: str) -> None:
    nodes, expected = GRAPHS[name]
    prompt = {"1": TRAIN, "9": LOADER, **nodes}
    assert graph_text.text_behind(prompt, "1", "positive") == expected


def test_the_negative_output_is_followed_on_its_own_side(graph_text: ModuleType) -> None:
    prompt = {
        "1": node("Other", positive=["2", 1]),
        "2": node("ControlNetApplyAdvanced", positive=["3", 0], negative=["4", 0]),
        "3": encoded("seen"),
        "4": encoded("unseen"),
    }
    assert graph_text.text_behind(prompt, "1", "positive") == "unseen"


def test_a_node_run_outside_a_graph_knows_no_text(graph_text: ModuleType) -> None:
    from comfy_execution.utils import CurrentNodeContext

    prompt = {"1": TRAIN, "2": encoded()}
    assert graph_text.own_text(prompt, "positive") == graph_text.own_text(None, "positive") == ""
    with CurrentNodeContext("run", "1"):
        assert graph_text.own_text(prompt, "positive") == SEEN


@pytest.mark.parametrize(("prompt", "at"), [(None, "1"), ({}, "1"), ({"1": TRAIN}, None), ({"1": {}}, "1")])
def test_without_a_graph_there_is_no_text(graph_text: ModuleType, prompt: Any, at: Any) -> None:
    assert graph_text.text_behind(prompt, at, "positive") == ""
