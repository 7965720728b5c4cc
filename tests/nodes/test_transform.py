"""The nodes that edit a motion do what their operations say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytestmark = pytest.mark.host


@pytest.fixture
def nodes(rig) -> Any:
    return rig.part("nodes.transform")


@pytest.fixture
def motion(rig) -> Any:
    """One layer: query-keys 0, 1, 2; values at the four places 1, 2 / 3, 4 in every frame."""
    embedding = rig.part("motion_embedding.embedding")
    grid = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[..., None, None].expand(2, 2, 3, 1)
    layer = embedding.LayerEmbedding(torch.arange(3.0)[:, None], {"attn1": grid})
    debias = rig.part("motion_embedding.debias").Debias("difference")
    return embedding.MotionEmbedding({"block": layer}, "unet3d", 3, 4, 4, debias=debias)


EXPECTED = {
    "reverse": ([2, 1, 0], [[1, 2], [3, 4]]),
    "there and back": ([0, 1, 2, 1], [[1, 2], [3, 4]]),
    "repeat twice": ([0, 1, 2, 0, 1, 2], [[1, 2], [3, 4]]),
    "mirror left-right": ([0, 1, 2], [[2, 1], [4, 3]]),
    "mirror up-down": ([0, 1, 2], [[3, 4], [1, 2]]),
    "rotate left": ([0, 1, 2], [[2, 4], [1, 3]]),
    "rotate right": ([0, 1, 2], [[3, 1], [4, 2]]),
    "rotate half": ([0, 1, 2], [[4, 3], [2, 1]]),
}


def test_every_operation_is_offered(nodes) -> None:
    (combo,) = [i for i in nodes.TransformMotion.define_schema().inputs if i.id == "operation"]
    assert list(combo.options) == list(EXPECTED)


@pytest.mark.parametrize("operation", EXPECTED)
def test_transform_by_hand(nodes, motion, operation: str) -> None:
    result, frames = nodes.TransformMotion.execute(motion, operation).result
    assert frames == len(EXPECTED[operation][0])
    rows, places = EXPECTED[operation]
    layer = result.layers["block"]
    assert layer.query_key.flatten().tolist() == rows
    assert layer.value["attn1"][:, :, 1, 0].tolist() == places
    assert result.debias == motion.debias
    assert motion.layers["block"].query_key.flatten().tolist() == [0, 1, 2]


def test_shift_by_half_the_frame(nodes, motion) -> None:
    right = nodes.ShiftMotion.execute(motion, 0.5, 0.0).result[0].layers["block"].value["attn1"]
    down = nodes.ShiftMotion.execute(motion, 0.0, 0.5).result[0].layers["block"].value["attn1"]
    assert torch.allclose(right[:, :, 0, 0], torch.tensor([[1.0, 1.0], [3.0, 3.0]]))
    assert torch.allclose(down[:, :, 0, 0], torch.tensor([[1.0, 2.0], [1.0, 2.0]]))


def test_a_reversed_motion_samples_differently(rig, nodes) -> None:
    learnt = rig.train(steps=2).embedding
    strong = learnt.replace(layers={n: v.map(lambda t: 5 * t, lambda t: 5 * t) for n, v in learnt.layers.items()})
    apply = rig.part("motion_embedding.injection").apply_embedding
    backwards = nodes.TransformMotion.execute(strong, "reverse").result[0]
    assert (rig.sample(apply(rig.model, strong)) - rig.sample(apply(rig.model, backwards))).abs().max() > 1e-3
