"""Training in the memory there is, in the real host: what it says, what it chooses, and that it learns the same."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from tests import small_hunyuan, small_wan
from tests.joint_rig import Joint

pytestmark = pytest.mark.host


@pytest.fixture(scope="module", params=["wan", "hunyuan"])
def joint(request, comfy, pack) -> Joint:
    return small_wan.joint(pack) if request.param == "wan" else small_hunyuan.joint(pack, "1")


def count(text: str) -> tuple[int, int]:
    """How many blocks run again, of how many."""
    said = next(line for line in text.splitlines() if "run again" in line)
    again, total = said.partition("(")[2].split(" blocks")[0].split(" of ")
    return int(again), int(total)


def test_blocks_that_run_again_learn_the_same(joint: Joint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trained, counts = {}, {}
    for choice in ("none", "all"):
        caplog.clear()
        trained[choice] = joint.train(steps=3, checkpointing=choice, start_percent=0.4, end_percent=0.6)
        counts[choice] = count(caplog.text)
    total = len(joint.layers)
    assert counts == {"none": (0, total), "all": (total, total)}
    assert trained["none"].losses == pytest.approx(trained["all"].losses, rel=1e-6)
    for name, layer in trained["none"].embedding.layers.items():
        other = trained["all"].embedding.layers[name]
        torch.testing.assert_close(layer.query_key, other.query_key, rtol=1e-3, atol=1e-5)
        for attention, value in layer.value.items():
            torch.testing.assert_close(value, other.value[attention], rtol=1e-3, atol=1e-5)


def test_what_is_planned_for_is_what_is_kept(joint: Joint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that a real step holds on to for ``backward``, each storage once; blocks hold nearly all of them."""
    loop, own, kept, planned = joint.part("training_loop").TrainingLoop, set(), {}, []
    predict = loop._predict

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    def watched(self, *args):
        own.update(p.untyped_storage()._cdata for p in joint.model.model.parameters())
        planned.append(sum(cost.kept for cost in self.checkpoints.costs.values()))
        with saved_tensors_hooks(note, lambda tensor: tensor):
            return predict(self, *args)

    monkeypatch.setattr(loop, "_predict", watched)
    joint.train(steps=1, checkpointing="none")
    assert 0.95 < planned[0] / sum(kept.values()) < 1.2


@pytest.mark.parametrize(("free", "expected"), [(2**40, "none"), (0, "all")])
def test_the_free_memory_decides(
    joint: Joint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free: int, expected: str
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(joint.part("memory"), "usable", lambda _: free)
    joint.train(steps=1)
    again, total = count(caplog.text)
    assert again == {"none": 0, "all": total}[expected]


def test_the_host_puts_other_models_away_where_there_is_no_room_beside_them(
    joint: Joint, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management as management

    memory, asked, free = joint.part("memory"), [], management.free_memory

    def noted(size, device, keep_loaded=()):
        asked.append((size, [one.model.model for one in keep_loaded]))
        return free(size, device, keep_loaded)

    monkeypatch.setattr(management, "free_memory", noted)
    trained = joint.train(steps=1)
    size, kept = asked[-1]
    assert kept == [joint.model.model]
    layers = trained.embedding.layers.values()
    learnt = sum(t.numel() for layer in layers for t in (layer.query_key, *layer.value.values()))
    assert memory.usable(size) >= memory.of_values(learnt) > 0


def test_blocks_before_the_first_that_learns_are_not_counted(joint: Joint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    joint.train(steps=1, layers=joint.layers[1])
    assert count(caplog.text)[1] == len(joint.layers) - 1


def test_what_training_needs_is_free_also_where_weights_are_offloaded_for_it(joint: Joint) -> None:
    """The host loads so much of a model that its estimate for one prompt still fits, and asks for room for two."""
    from comfy.sampler_helpers import estimate_memory

    training, shapes = joint.part("training"), []
    host = joint.model.model
    one = host.memory_required([1, *joint.clip().shape[1:]])
    for wanted in (int(0.4 * one), int(5.5 * one)):
        training._reserve(
            wanted, 3, lambda model, shape, conds: shapes.append(shape), joint.model, joint.clip().shape, {}
        )
        assert estimate_memory(joint.model, shapes[-1], {})[1] >= wanted
    assert [shape[0] for shape in shapes] == [1, 6]


@pytest.mark.parametrize("choice", ["of another pack", "of the host"])
def test_attention_that_only_goes_forwards_is_done_by_pytorch_while_training(
    joint: Joint, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    import comfy.model_management

    expected, calls = joint.train().embedding, []

    def cuts(kernel, *args, **named):
        calls.append(kernel)
        return kernel(*args, **named).detach()

    model = joint.model.clone()
    if choice == "of another pack":
        model.model_options["transformer_options"]["optimized_attention_override"] = cuts
    else:
        monkeypatch.setattr(comfy.model_management, "sage_attention_enabled", lambda: True)
    learnt = dataclasses.replace(joint, model=model).train().embedding
    for name, layer in expected.layers.items():
        torch.testing.assert_close(learnt.layers[name].query_key, layer.query_key, rtol=1e-2, atol=1e-3)
    assert bool(calls) == (choice == "of another pack")
    options = model.model_options["transformer_options"]
    assert options.get("optimized_attention_override") is (cuts if calls else None)


def test_the_levels_of_a_unet_run_again_as_well(rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    losses, counts = {}, {}
    for choice in ("none", "all"):
        caplog.clear()
        losses[choice] = rig.train(steps=3, checkpointing=choice).losses
        counts[choice] = count(caplog.text)
    assert counts["none"][0] == 0 < counts["all"][0] == counts["all"][1]
    assert losses["none"] == pytest.approx(losses["all"], rel=1e-5)
