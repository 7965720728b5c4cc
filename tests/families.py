"""Every family that mixes frames position by position, as a small random model, and its motion put in by hand.

By hand means forward hooks on the plain projections that add the rows of the equations, for the clip, the size and the
layers they were made for: no resampling, no preparing, no swapping. Hooks stay where they are, so they serve sampling
that goes past every wrapper of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from motion_embedding.backbones import TemporalAttention, find_backbone
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from tests import small_sd15, small_svd, tiny_latte

FRAMES, HEIGHT, WIDTH = 4, 8, 6
_SCALE = 0.5
Crop = Callable[[torch.Tensor, int], torch.Tensor]


@dataclass
class Family:
    """One family's model and what a graph would wire to it.

    model: a ``ModelPatcher``. shape: of an empty latent. positive, negative: conditionings.
    """

    name: str
    model: Any
    shape: tuple[int, ...]
    positive: list
    negative: list
    beside: Sequence[nn.Module] = ()
    weights_prefix: str = "diffusion_model."
    attentions: list[TemporalAttention] = field(init=False)

    def __post_init__(self) -> None:
        backbone, self.attentions = find_backbone(self.model.model.diffusion_model, beside=self.beside)
        assert backbone.family == self.name

    @property
    def modules(self) -> list[nn.Module]:
        return [self.model.model, *self.beside]

    def grids(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Height and width of the tokens that reach each attention, from a run of the model."""
        seen: dict[tuple[str, str], int] = {}

        def look(key: tuple[str, str]) -> Callable:
            return lambda module, inputs: seen.__setitem__(key, inputs[0].shape[0])

        with ExitStack() as held:
            for a in self.attentions:
                held.callback(a.value.register_forward_pre_hook(look((a.layer, a.name))).remove)
            self.sample(steps=1, cfg=1.0)
        sizes = {}
        height, width = HEIGHT, WIDTH
        while height * width not in sizes:
            sizes[height * width] = (height, width)
            height, width = -(-height // 2), -(-width // 2)
        return {key: sizes[positions] for key, positions in seen.items()}

    def motion(
        self, seed: int = 0, scale: float = 0.5, full_size_only: bool = False, **changes: Any
    ) -> MotionEmbedding:
        """Random rows for every layer, or only for those that see the latent at its finest."""
        generator, grids = torch.Generator().manual_seed(seed), self.grids()
        finest = max(grids.values())
        rows: dict[str, torch.Tensor] = {}
        values: dict[str, dict[str, torch.Tensor]] = {}
        for a in self.attentions:
            grid = grids[a.layer, a.name]
            if full_size_only and grid != finest:
                continue
            if a.layer not in rows:
                rows[a.layer] = torch.randn(FRAMES, a.width, generator=generator) * _SCALE
            value = torch.randn(*grid, FRAMES, a.width, generator=generator) * _SCALE
            values.setdefault(a.layer, {})[a.name] = value
        layers = {name: LayerEmbedding(rows[name], values[name]) for name in rows}
        return MotionEmbedding(layers, self.name, FRAMES, HEIGHT, WIDTH)

    def sample(self, model: Any = None, steps: int = 2, cfg: float = 2.0, **changes: Any) -> torch.Tensor:
        """The host's own sampler, as a node would call it."""
        import nodes

        options = {"seed": 0, "sampler_name": "euler", "scheduler": "sgm_uniform", **changes}
        latent = {"samples": options.pop("latent", torch.zeros(self.shape))}
        options = {"positive": self.positive, "negative": self.negative, **options}
        with torch.inference_mode():
            return nodes.common_ksampler(model or self.model, steps=steps, cfg=cfg, latent=latent, **options)[0][
                "samples"
            ].clone()

    @contextmanager
    def by_hand(self, *motions: MotionEmbedding, crop: Crop = lambda values, positions: values) -> Iterator[None]:
        """While open, every model on these weights has the motions on it, however it is sampled.

        crop: which part of values ``[h, w, F, C]`` belongs to a call of so many positions.
        """

        def add_rows(rows: torch.Tensor) -> Callable:
            return lambda module, inputs: (inputs[0] + rows.to(inputs[0]),)

        def add_values(values: torch.Tensor) -> Callable:
            def hook(module: nn.Module, inputs: tuple) -> tuple:
                x = inputs[0]
                part = crop(values, x.shape[0])
                part = part.reshape(-1, *part.shape[-2:])
                return (x + part.repeat(x.shape[0] // part.shape[0], 1, 1).to(x),)

            return hook

        with ExitStack() as held:
            for motion in motions:
                for a in self.attentions:
                    if a.layer not in motion.layers:
                        continue
                    layer = motion.layers[a.layer]
                    for projection in (a.query, a.key):
                        held.callback(projection.register_forward_pre_hook(add_rows(layer.query_key)).remove)
                    held.callback(a.value.register_forward_pre_hook(add_values(layer.value[a.name])).remove)
            yield

    def state(self) -> dict[str, Any]:
        """What must not change: weights, overrides and hooks. (The host's own patching changes requires_grad.)"""
        modules = [(i, n, m) for i, root in enumerate(self.modules) for n, m in root.named_modules()]
        return {
            "weights": {(i, k): v.clone() for i, root in enumerate(self.modules) for k, v in root.state_dict().items()},
            "overrides": [(i, n) for i, n, m in modules if "forward" in m.__dict__],
            "hooks": [(i, n) for i, n, m in modules if m._forward_hooks or m._forward_pre_hooks],
        }

    def assert_unchanged(self, before: dict[str, Any]) -> None:
        after = self.state()
        weights, now = before.pop("weights"), after.pop("weights")
        assert weights.keys() == now.keys()
        assert [name for name, weight in weights.items() if not torch.equal(weight, now[name])] == []
        assert before == after


def unet3d(rig: Any) -> Family:
    positive, negative = rig.prompt("a red star on a navy background"), rig.prompt("")
    return Family("unet3d", rig.model, (1, 12, FRAMES, HEIGHT, WIDTH), positive, negative)


def animatediff(part: Callable[[str], Any], folder: Any) -> Family:
    """Through our own loader. part: imports a module of the pack as ComfyUI has it loaded."""
    path = small_sd15.save_motion_model(folder / "motion.safetensors")
    loader = part("motion_embedding.animatediff")
    with torch.inference_mode():
        model = loader.load_animatediff(small_sd15.model(), path)
    beside = [patcher.model for patcher in model.get_additional_models_with_key(loader.KEY)]
    shape = (FRAMES, 4, HEIGHT, WIDTH)
    return Family("animatediff", model, shape, small_sd15.text(5), small_sd15.text(6), beside, "")


def svd() -> Family:
    positive, negative = small_svd.conditioning(small_svd.clip(1, HEIGHT, WIDTH))
    return Family("svd", small_svd.model(), (FRAMES, 4, HEIGHT, WIDTH), positive, negative)


def latte(part: Callable[[str], Any], folder: Any) -> Family:
    """Through our own loader; part as above."""
    import nodes

    path = tiny_latte.make_tiny_latte(folder / "latte")
    with torch.inference_mode():
        model, clip, _ = part("motion_embedding.text_to_video").load_latte(path)
        positive, negative = (nodes.CLIPTextEncode().encode(clip, text)[0] for text in ("a red star", ""))
    return Family("latte", model, (1, 4, FRAMES, HEIGHT, WIDTH), positive, negative)
