"""ComfyUI's own context windows: each window's calls see the rows of its frames, added by hand here.

By hand means hooks on the plain projections; they ask the window that the host has open for its frames.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from motion_embedding.backbones import find_backbone
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from tests import small_sd15, small_svd

LENGTH = 4
FULL_SIZE = ("transformer_in", "down_blocks.0", "input_blocks.1.", "input_blocks.2.")
SCHEDULES = [("standard_static", 1, False), ("standard_uniform", 1, False), ("looped_uniform", 2, True)]


@pytest.fixture(scope="module")
def part(pack: Any) -> Callable[[str], Any]:
    return lambda name: importlib.import_module(f"{pack.__name__}.motion_embedding.{name}")


def windowed(model: Any, dim: int, schedule: str = "standard_static", stride: int = 1, loop: bool = False) -> Any:
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    return ContextWindowsManualNode.execute(model, LENGTH, 2, schedule, stride, loop, "pyramid", dim).args[0]


class Windows:
    """What the host has open: the window of each call of the model in turn."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.seen: list[tuple[int, ...]] = []

    def on(self, model: Any) -> Any:
        from comfy.patcher_extension import WrappersMP

        def note(executor: Any, x: Any, t: Any, *rest: Any, **more: Any) -> Any:
            self.open = list(rest[3]["context_window"].index_list)
            self.seen.append(tuple(self.open))
            return executor(x, t, *rest, **more)

        clone = model.clone()
        clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "note", note)
        return clone


def a_motion(model: Any, frames: int, size: tuple[int, int]) -> MotionEmbedding:
    """Random rows for some attentions that see the latent at its full size."""
    backbone, attentions = find_backbone(model.model.diffusion_model)
    generator, rows, values = torch.Generator().manual_seed(0), {}, {}
    for a in attentions:
        if a.layer.startswith(FULL_SIZE):
            rows.setdefault(a.layer, torch.randn(frames, a.width, generator=generator))
            values.setdefault(a.layer, {})[a.name] = torch.randn(*size, frames, a.width, generator=generator)
    layers = {layer: LayerEmbedding(rows[layer], values[layer]) for layer in rows}
    return MotionEmbedding(layers, backbone.family, frames, *size)


@contextmanager
def by_hand(model: Any, motion: MotionEmbedding, windows: Windows | None) -> Iterator[None]:
    """While open, the rows are on the model's projections, those of the open window or all of them."""

    def add(rows: torch.Tensor) -> Callable:
        def hook(module: Any, inputs: tuple) -> tuple:
            part = rows if windows is None else rows[..., windows.open, :]
            part = part.reshape(-1, *part.shape[-2:])
            return (inputs[0] + part.repeat(len(inputs[0]) // len(part), 1, 1),)

        return hook

    with ExitStack() as held:
        for a in find_backbone(model.model.diffusion_model)[1]:
            if a.layer in motion.layers:
                layer = motion.layers[a.layer]
                for linear in (a.query, a.key):
                    held.callback(linear.register_forward_pre_hook(add(layer.query_key)).remove)
                held.callback(a.value.register_forward_pre_hook(add(layer.value[a.name])).remove)
        yield


@pytest.mark.parametrize(("schedule", "stride", "loop"), SCHEDULES)
def test_frames_on_their_own_axis(rig: Any, part: Callable, schedule: str, stride: int, loop: bool) -> None:
    windows, motion = Windows(), a_motion(rig.model, 6, (8, 6))
    plain = windows.on(windowed(rig.model, 2, schedule, stride, loop))
    with by_hand(rig.model, motion, windows):
        expected = rig.sample(plain, frames=6)
    assert {frame for window in windows.seen for frame in window} == set(range(6))
    assert len(set(windows.seen)) > 1
    assert torch.allclose(rig.sample(part("injection").apply_embedding(plain, motion), frames=6), expected, atol=1e-4)


def test_or_all_of_the_motion_in_each(rig: Any, part: Callable) -> None:
    motion, plain = a_motion(rig.model, LENGTH, (8, 6)), windowed(rig.model, 2)
    with by_hand(rig.model, motion, None):
        expected = rig.sample(plain, frames=6)
    moved = part("injection").apply_embedding(plain, motion, whole=False)
    assert torch.allclose(rig.sample(moved, frames=6), expected, atol=1e-4)


@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_svd(comfy: Path, part: Callable, steps: int, cfg: float) -> None:
    """With 5 steps there are as many noise levels as frames, and the host runs it without our help, the same."""
    with torch.inference_mode():
        model = small_svd.model()
    windows, motion = Windows(), a_motion(model, 6, (8, 8))
    plain = windows.on(windowed(model, 0))
    apply = part("injection").apply_embedding
    nothing = apply(plain, motion, 0.0, 0.0)  # the host alone cannot run it at 2 steps
    with by_hand(model, motion, windows):
        expected = small_svd.sample(plain if steps == 5 else nothing, 6, cfg, steps=steps)
    assert set(windows.seen) == {(0, 1, 2, 3), (2, 3, 4, 5)}
    found = small_svd.sample(apply(plain, motion), 6, cfg, steps=steps)
    assert torch.allclose(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert not torch.allclose(found, small_svd.sample(nothing, 6, cfg, steps=steps), rtol=0.01)


def test_each_window_has_its_own_prompts(comfy: Path, part: Callable, tmp_path: Path) -> None:
    """A prompt for every frame, as prompt schedules make them; without overlap, each part as if sampled alone."""
    path = small_sd15.save_motion_model(tmp_path / "v3.safetensors")
    with torch.inference_mode():
        model = part("animatediff").load_animatediff(small_sd15.model(), path)
    prompts = torch.randn(8, 5, small_sd15.TEXT, generator=torch.Generator().manual_seed(4))
    noise = 14 * torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(8))

    def sampled(model: Any, part: slice) -> torch.Tensor:
        import nodes

        options = {"seed": 0, "steps": 2, "sampler_name": "euler", "scheduler": "sgm_uniform", "disable_noise": True}
        texts = {"positive": [[prompts[part], {}]], "negative": small_sd15.text(6)}
        with torch.inference_mode():
            return nodes.common_ksampler(model, cfg=2.0, latent={"samples": noise[part]}, **texts, **options)[0][
                "samples"
            ]

    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    cut = ContextWindowsManualNode.execute(model, 4, 0, "standard_static", 1, False, "flat", 0).args[0]
    parts = torch.cat([sampled(model, slice(0, 4)), sampled(model, slice(4, 8))])
    assert torch.allclose(sampled(cut, slice(0, 8)), parts, rtol=0, atol=1e-4 * float(parts.abs().max()))


@pytest.mark.parametrize("dim", [2, 3])
def test_windows_along_another_axis_are_refused(comfy: Path, part: Callable, dim: int) -> None:
    """With as many frames as rows or columns in a window, those of the picture would pass for frames."""
    with torch.inference_mode():
        model = small_svd.model()
    moved = part("injection").apply_embedding(windowed(model, dim), a_motion(model, LENGTH, (8, 8)))
    with pytest.raises(part("errors").InputError, match="dim 0"):
        small_svd.sample(moved, LENGTH)


def test_windows_along_an_axis_too_short_to_be_cut(rig: Any, part: Callable) -> None:
    """The node's own dim 0 is the batch of a video model, which the host leaves whole."""
    motion = a_motion(rig.model, 6, (8, 6))
    apply = part("injection").apply_embedding
    assert torch.equal(rig.sample(apply(windowed(rig.model, 0), motion), 6), rig.sample(apply(rig.model, motion), 6))
