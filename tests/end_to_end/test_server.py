"""The pack inside a real ComfyUI server."""

from __future__ import annotations

import asyncio

import pytest

pytestmark = pytest.mark.server

PROMISED = {
    "ME_LoadVideoFrames",
    "ME_TrainMotionEmbedding",
    "ME_ApplyMotionEmbedding",
    "ME_DebiasMotion",
    "ME_SaveMotionEmbedding",
    "ME_LoadMotionEmbedding",
    "ME_LoadTextToVideoModel",
    "ME_EmptyVideoLatent",
}


async def listed_nodes(pack):
    return await (await pack.comfy_entrypoint()).get_node_list()


def own_nodes(server):
    return {name: info for name, info in server.object_info().items() if name.startswith("ME_")}


def test_the_server_offers_every_node_of_the_pack(server, pack):
    found = set(own_nodes(server))
    assert found == {node.GET_SCHEMA().node_id for node in asyncio.run(listed_nodes(pack))}
    assert found >= PROMISED


def test_every_node_explains_itself_and_its_inputs(server):
    for name, info in own_nodes(server).items():
        assert info["description"], name
        assert info["category"].split("/")[0] == "motion embedding", name
        for group in ("required", "optional"):
            for input_name, (_, *options) in info["input"].get(group, {}).items():
                assert options and options[0].get("tooltip"), f"{name}.{input_name} has no tooltip"


def test_the_log_holds_no_trouble_with_the_pack(server):
    lines = server.log_file.read_text(errors="replace").splitlines()
    trouble = ("IMPORT FAILED", "Cannot import", "Error while calling", "Unable to parse", "An error occurred")
    mentions = [line for line in lines if "motion_embeddings" in line or "'ME_" in line]
    assert mentions
    assert not [line for line in mentions if any(word in line for word in trouble)]
