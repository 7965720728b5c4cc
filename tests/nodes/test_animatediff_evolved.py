"""The motion on a model whose motion modules another pack puts into the UNet for the length of the sampling.

By hand means hooks on the plain projections, which add the rows of the equations; the frames of a window are noted by
whoever cuts it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.motion_module import MotionModel
from tests import animatediff_evolved as ade
from tests import small_sd15

FRAMES = 6
WINDOWS = [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 0, 1]]
GRIDS = [(8, 8), (4, 4), (2, 2), (1, 1)]


@pytest.fixture(scope="module")
def part(pack: ModuleType) -> Callable[[str], Any]:
    return lambda name: importlib.import_module(f"{pack.__name__}.motion_embedding.{name}")


@pytest.fixture(scope="module")
def model(comfy: Path) -> Any:
    with torch.inference_mode():
        return small_sd15.model()


@pytest.fixture(autouse=True)
def left_as_found(model: Any) -> Iterator[None]:
    """After another patcher of the model was loaded, no module and no override is in it."""
    import comfy.samplers

    function, before = comfy.samplers.sampling_function, list(model.model.state_dict())
    yield
    assert comfy.samplers.sampling_function is function
    small_sd15.sample(model, steps=1)
    assert list(model.model.state_dict()) == before
    assert not [name for name, module in model.model.named_modules() if "forward" in module.__dict__]


def places(motion: MotionModel) -> dict[str, tuple[Any, tuple[int, int]]]:
    """The temporal block and the grid of every layer of a motion model."""
    found = {}
    for side, levels in (("down_blocks", motion.down_blocks), ("up_blocks", motion.up_blocks)):
        for i, level in enumerate(levels):
            grid = GRIDS[i] if side == "down_blocks" else GRIDS[3 - i]
            for j, module in enumerate(level.motion_modules):
                found[f"{side}.{i}.motion_modules.{j}"] = (module, grid)
    if motion.mid_block is not None:
        found["mid_block.motion_modules.0"] = (motion.mid_block.motion_modules[0], GRIDS[3])
    return {
        f"{place}.temporal_transformer.transformer_blocks.0": (m.temporal_transformer.transformer_blocks[0], grid)
        for place, (m, grid) in found.items()
    }


def a_motion(motion: MotionModel, frames: int = FRAMES, prefix: str = "", seed: int = 0) -> MotionEmbedding:
    generator, layers = torch.Generator().manual_seed(seed), {}
    for name, (block, grid) in places(motion).items():
        width = block.norms[0].normalized_shape[0]
        values = [torch.randn(*grid, frames, width, generator=generator) for _ in block.attention_blocks]
        layers[prefix + name] = LayerEmbedding(
            torch.randn(frames, width, generator=generator),
            {f"attention_blocks.{i}": value for i, value in enumerate(values)},
        )
    return MotionEmbedding(layers, "animatediff", frames, 8, 8)


@contextmanager
def by_hand(
    motion: MotionModel, embedding: MotionEmbedding, windows: Sequence[Sequence[int]] | None = None, prefix: str = ""
) -> Iterator[None]:
    """While open, the motion model has the rows on it, however it is sampled.

    windows: the absolute frames of each call of the UNet in turn; all of them in every call unless given.
    """
    calls = {"count": 0}
    blocks = places(motion)

    def rows_of(rows: torch.Tensor) -> torch.Tensor:
        return rows if windows is None else rows[..., windows[calls["count"] % len(windows)], :]

    def query_key(rows: torch.Tensor) -> Callable:
        return lambda module, inputs: (inputs[0] + rows_of(rows),)

    def value(rows: torch.Tensor) -> Callable:
        def hook(module: Any, inputs: tuple) -> tuple:
            part = rows_of(rows).flatten(0, 1)
            return (inputs[0] + part.repeat(len(inputs[0]) // len(part), 1, 1),)

        return hook

    with ExitStack() as held:
        for name, (block, _) in blocks.items():
            layer = embedding.layers[prefix + name]
            for i, attention in enumerate(block.attention_blocks):
                for linear in (attention.to_q, attention.to_k):
                    held.callback(linear.register_forward_pre_hook(query_key(layer.query_key)).remove)
                hook = value(layer.value[f"attention_blocks.{i}"])
                held.callback(attention.to_v.register_forward_pre_hook(hook).remove)
        last = blocks["up_blocks.3.motion_modules.2.temporal_transformer.transformer_blocks.0"][0]

        def next_call(*_: Any) -> None:
            calls["count"] += 1

        held.callback(last.register_forward_hook(next_call).remove)
        yield


def test_before_or_after_the_nodes_of_the_peer(model: Any, part: Callable) -> None:
    """And as by hand, and nothing is left behind."""
    apply, motion = part("injection").apply_embedding, small_sd15.motion_model("v2")
    embedding, peer = a_motion(motion), ade.evolved(model, motion)
    with by_hand(motion, embedding):
        expected = small_sd15.sample(peer, FRAMES)
    plain = small_sd15.sample(peer, FRAMES)
    after = small_sd15.sample(apply(peer, embedding), FRAMES)
    before = small_sd15.sample(ade.evolved(apply(model, embedding), small_sd15.motion_model("v2")), FRAMES)
    assert torch.allclose(after, expected, atol=1e-5)
    assert torch.allclose(before, after, atol=1e-5)
    assert (after - plain).abs().max() > 0.01
    assert torch.equal(small_sd15.sample(peer, FRAMES), plain)


def test_as_through_our_own_loader(model: Any, part: Callable, tmp_path: Path) -> None:
    motion = small_sd15.motion_model("v3")
    path, embedding = small_sd15.save_motion_model(tmp_path / "v3.safetensors"), a_motion(motion)
    apply = part("injection").apply_embedding
    with torch.inference_mode():
        own = part("animatediff").load_animatediff(model, path, own_betas=False)
    theirs = small_sd15.sample(apply(ade.evolved(model, motion), embedding), FRAMES)
    assert torch.allclose(small_sd15.sample(apply(own, embedding), FRAMES), theirs, atol=1e-5)


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_a_window_sees_the_rows_of_its_frames(model: Any, part: Callable, cfg: float) -> None:
    motion = small_sd15.motion_model()
    embedding, peer = a_motion(motion), ade.evolved(model, motion, windows=WINDOWS)
    with by_hand(motion, embedding, WINDOWS):
        expected = small_sd15.sample(peer, FRAMES, cfg)
    found = small_sd15.sample(part("injection").apply_embedding(peer, embedding), FRAMES, cfg)
    assert torch.allclose(found, expected, atol=1e-5)


def test_or_every_window_has_all_of_the_motion(model: Any, part: Callable) -> None:
    motion = small_sd15.motion_model()
    embedding, peer = a_motion(motion, frames=4), ade.evolved(model, motion, windows=WINDOWS)
    with by_hand(motion, embedding):
        expected = small_sd15.sample(peer, FRAMES)
    found = small_sd15.sample(part("injection").apply_embedding(peer, embedding, whole=False), FRAMES)
    assert torch.allclose(found, expected, atol=1e-5)


def test_views_inside_the_motion_modules_are_refused(model: Any, part: Callable) -> None:
    """Which frames a view holds is known to nobody but the module."""
    motion = small_sd15.motion_model()
    peer = ade.evolved(model, motion, views=[[0, 1, 2], [3, 4, 5]])
    moved = part("injection").apply_embedding(peer, a_motion(motion))
    with pytest.raises(part("errors").InputError, match="views"):
        small_sd15.sample(moved, FRAMES)


def test_a_motion_lora_adds_up_with_the_motion(model: Any, part: Callable) -> None:
    """Its patches on the peer's motion model, against a motion model that has them in its weights."""
    motion, merged = small_sd15.motion_model(), small_sd15.motion_model()
    embedding, change = a_motion(motion), 0.1 * torch.randn(32, 32, generator=torch.Generator().manual_seed(9))
    key = "down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0.attention_blocks.0.to_q.weight"
    peer = ade.evolved(model, motion)
    peer.get_additional_models_with_key(ade.KEY)[0].add_patches({key: (change,)}, 1.0)
    with torch.no_grad():
        merged.get_parameter(key).add_(change)
    apply = part("injection").apply_embedding
    found = small_sd15.sample(apply(peer, embedding), FRAMES)
    assert torch.allclose(found, small_sd15.sample(apply(ade.evolved(model, merged), embedding), FRAMES), atol=1e-5)
    without = small_sd15.sample(apply(ade.evolved(model, small_sd15.motion_model()), embedding), FRAMES)
    assert not torch.allclose(found, without, atol=1e-4)


def test_where_the_motion_model_sets_in_later(model: Any, part: Callable, caplog: Any) -> None:
    """Not a reason to warn of layers that no call has come by."""
    motion = small_sd15.motion_model()
    embedding, peer = a_motion(motion), ade.evolved(model, motion, start_percent=0.3)
    with by_hand(motion, embedding):
        expected = small_sd15.sample(peer, FRAMES, steps=3)
    assert torch.allclose(
        small_sd15.sample(part("injection").apply_embedding(peer, embedding), FRAMES, steps=3), expected, atol=1e-5
    )
    assert "never came by" not in caplog.text


def test_stacked_motion_models_are_told_apart(model: Any, part: Callable) -> None:
    """The one that acts first has the plain names."""
    first, second = small_sd15.motion_model(), small_sd15.motion_model(scale=0.5)
    one, two = a_motion(first), a_motion(second, prefix="model2.", seed=1)
    both = one.replace(layers={**one.layers, **two.layers})
    peer = ade.evolved(model, first, second)
    with by_hand(first, both), by_hand(second, both, prefix="model2."):
        expected = small_sd15.sample(peer, FRAMES)
    found = small_sd15.sample(part("injection").apply_embedding(peer, both), FRAMES)
    assert torch.allclose(found, expected, atol=1e-5)


def test_without_motion_modules_there_is_nothing_to_move(model: Any, part: Callable) -> None:
    moved = part("injection").apply_embedding(model, a_motion(small_sd15.motion_model()))
    with pytest.raises(part("errors").InputError, match="nothing that mixes frames"):
        small_sd15.sample(moved, FRAMES)


def test_what_is_left_in_the_unet_of_another_graph_counts_for_nothing(
    model: Any, part: Callable, tmp_path: Path
) -> None:
    """The modules of the last run stay in the UNet until the next: version 3 there, version 2 wanted."""
    injection, motion = part("injection"), small_sd15.motion_model("v2")
    other = ade.evolved(model, small_sd15.motion_model("v3"))  # the host keeps it, as the output of a node
    small_sd15.sample(other, FRAMES)
    assert any(isinstance(module, ade.VanillaTemporalModule) for module in model.model.modules())
    moved = injection.apply_embedding(model, a_motion(motion))
    small_sd15.sample(ade.evolved(moved, motion), FRAMES)
    small_sd15.sample(other, FRAMES)
    path = small_sd15.save_motion_model(tmp_path / "v3.safetensors")
    with torch.inference_mode():
        own = part("animatediff").load_animatediff(model, path)
    _, attentions = injection.wired_family(own.model, injection.options_of(own))
    assert {a.layer for a in attentions} == set(places(small_sd15.motion_model("v3")))


def train(part: Callable, model: Any, initial: MotionEmbedding | None = None, **changes: Any) -> Any:
    """As a node would: inside inference mode."""
    training = part("training")
    latents = torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    recipe = training.Recipe(**{"steps": 8, "learning_rate": 0.05, **changes})
    with torch.inference_mode():
        return training.train_motion(model, small_sd15.text(5), latents, recipe, initial=initial)


def test_training_through_the_peer(model: Any, part: Callable) -> None:
    """As through the own loader, in whose embeddings the names are the same."""
    motion = small_sd15.motion_model()
    trained = train(part, ade.evolved(model, motion), layers="all", steps=20)
    embedding = trained.embedding
    assert embedding.layers.keys() == places(motion).keys()
    assert (embedding.frames, embedding.height, embedding.width) == (FRAMES, 8, 8)
    assert all(layer.query_key.abs().max() > 0 for layer in embedding.layers.values())
    assert all(value.abs().max() > 0 for layer in embedding.layers.values() for value in layer.value.values())
    assert sum(trained.losses[-5:]) < sum(trained.losses[:5])


def test_a_loss_on_single_frames_is_for_our_own_loader(model: Any, part: Callable) -> None:
    with pytest.raises(part("errors").InputError, match="debiased_hybrid"):
        train(part, ade.evolved(model, small_sd15.motion_model()), loss="debiased_hybrid")


def test_training_is_on_the_whole_clip(model: Any, part: Callable) -> None:
    with pytest.raises(part("errors").InputError, match="context windows"):
        train(part, ade.evolved(model, small_sd15.motion_model(), windows=[[0, 1, 2], [3, 4, 5]]))


def test_a_motion_of_another_motion_model_is_refused_at_the_call(model: Any, part: Callable) -> None:
    """Before it there is nothing to compare it with."""
    moved = part("injection").apply_embedding(model, a_motion(small_sd15.motion_model("v2")))
    with pytest.raises(part("errors").InputError, match=r"no layer 'mid_block\.motion_modules\.0.*1 of 21"):
        small_sd15.sample(ade.evolved(moved, small_sd15.motion_model("v3")), FRAMES)


def test_a_start_from_another_motion_model_is_refused(model: Any, part: Callable) -> None:
    with pytest.raises(part("errors").InputError, match=r"initial.*no layer 'mid_block"):
        train(part, ade.evolved(model, small_sd15.motion_model("v3")), initial=a_motion(small_sd15.motion_model("v2")))


def test_inverting_through_the_peer(model: Any, part: Callable, tmp_path: Path) -> None:
    """As through our own loader."""
    clip = torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    path = small_sd15.save_motion_model(tmp_path / "v3.safetensors")
    with torch.inference_mode():
        own = part("animatediff").load_animatediff(model, path, own_betas=False)
        peer = ade.evolved(model, small_sd15.motion_model("v3"))
        found = [part("inverting").invert_video(m, small_sd15.text(5), clip, steps=3) for m in (own, peer)]
    assert found[0].shape == (1, 4, FRAMES, 8, 8)
    assert torch.allclose(*found, atol=1e-4)
