"""What a training leaves in its motion beside the numbers: the prompt and a picture of the clip."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.host

CLIP = torch.zeros(1, 12, 4, 8, 6)
CLIP[0, 5, :, :, :3] = 3  # the left half is unlike the right


def trained(rig, graph: dict | None = None):
    """What the node, run as node 7 of ``graph`` if there is one, has learnt of a clip with two halves."""
    from comfy_api.latest import io
    from comfy_execution.utils import CurrentNodeContext

    node = rig.part("nodes.training").TrainMotionEmbedding.PREPARE_CLASS_CLONE({io.Hidden.prompt: graph})
    settings = {"preset": "object motion", "steps": 1, "learning_rate": 0.1, "loss": "base", "layers": "as preset"}
    with torch.inference_mode(), CurrentNodeContext("run", "7"):
        return node.execute(rig.model, rig.prompt("a"), {"samples": CLIP}, **settings, seed=0).result[0]


def test_the_prompt_of_the_graph_is_remembered(rig) -> None:
    graph = {
        "7": {"class_type": "ME_TrainMotionEmbedding", "inputs": {"positive": ["3", 0]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red star", "clip": ["1", 1]}},
    }
    motion = trained(rig, graph)
    assert motion.training["prompt"] == "a red star"
    assert "prompt: a red star" in rig.part("motion_embedding.motion_facts").as_text(
        rig.part("motion_embedding.motion_facts").facts(motion)
    )
    assert "prompt" not in trained(rig).training


def test_the_clips_latents_are_the_picture(rig) -> None:
    frames = trained(rig).thumbnail.frames().astype(float)
    assert frames.shape == (4, 8, 6, 3)
    left, right = frames[:, :, :2].mean((0, 1, 2)), frames[:, :, 4:].mean((0, 1, 2))
    assert abs(left - right).max() > 150
