"""A small random video transformer in the real host, what a graph would wire to it, and its motion put in by hand.

By hand means forward hooks that compute each of query, key and value from the weights, on inputs with the rows of the
equations on them, token by token: no resampling, no preparing, no swapping, no linearity.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

FRAMES = 3


def fill(module: nn.Module, seed: int = 1) -> nn.Module:
    """Random weights that keep the size of what passes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.6 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(noise * scale)
        for part in module.modules():
            if "Norm" in type(part).__name__:
                for name, parameter in part.named_parameters(recurse=False):
                    parameter.add_(1 if name != "bias" else 0)
    return module.eval()


def load(name: str, weights: Mapping[str, torch.Tensor], weight_dtype: str = "default") -> Any:
    """The ``MODEL`` that the stock loader makes of a file with these weights. weight_dtype: of the loader's choices."""
    import folder_paths
    from safetensors.torch import save_file

    import nodes

    folder = Path(folder_paths.get_folder_paths("diffusion_models")[0])
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: weight.contiguous() for key, weight in weights.items()}, folder / f"{name}.safetensors")
    with torch.inference_mode():
        return nodes.UNETLoader().load_unet(f"{name}.safetensors", weight_dtype)[0]


def text(width: int, tokens: int = 5, seed: int = 5, **settings: Any) -> list:
    """A conditioning."""
    return [[torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(seed)), settings]]


@dataclass
class Joint:
    """A model and what belongs to it.

    channels, height, width: of its latents. patch: positions a side that one token stands for.
    fused: by layer, the one module for query, key and value. split: by layer, the three of them.
    after: by layer, how many tokens follow those of the clip; whatever else there is comes before.
    """

    pack: ModuleType
    model: Any
    positive: list
    negative: list
    channels: int
    patch: int
    height: int = 8
    width: int = 6
    fused: dict[str, nn.Module] = field(default_factory=dict)
    split: dict[str, tuple[nn.Module, nn.Module, nn.Module]] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)

    def part(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.pack.__name__}.motion_embedding.{name}")

    @property
    def layers(self) -> list[str]:
        return [*self.fused, *self.split]

    def value_of(self, layer: str) -> nn.Module:
        """The module that gives the values."""
        return self.fused[layer] if layer in self.fused else self.split[layer][2]

    @property
    def rows(self) -> int:
        return self.height // self.patch

    @property
    def columns(self) -> int:
        return self.width // self.patch

    @property
    def tokens(self) -> int:
        return FRAMES * self.rows * self.columns

    def clip(self, seed: int = 3) -> torch.Tensor:
        shape = (1, self.channels, FRAMES, self.height, self.width)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def empty(self, frames: int = FRAMES) -> dict:
        return {"samples": torch.zeros(1, self.channels, frames, self.height, self.width)}

    def train(self, positive: list | None = None, latent: dict | None = None, **changes: Any) -> Any:
        """As a node would: inside inference mode. latent: as a node gives it, if not :meth:`clip`."""
        training = self.part("training")
        recipe = training.Recipe(**{"steps": 2, "learning_rate": 0.1, "layers": "all", **changes})
        with torch.inference_mode():
            latent = latent or {"samples": self.clip().clone()}
            clip, mask = latent["samples"], latent.get("noise_mask")
            return training.train_motion(self.model, positive or self.positive, clip, recipe, mask=mask)

    def motion(self, scale: float = 0.5, layers: list[str] | None = None) -> Any:
        """Random rows."""
        module, generator = self.part("embedding"), torch.Generator().manual_seed(7)
        backbone, attentions = self.part("injection").wired_family(self.model.model)
        rows = {}
        for a in attentions:
            if a.layer in (layers or self.layers):
                query_key = torch.randn(FRAMES, a.width, generator=generator) * scale
                value = torch.randn(self.rows, self.columns, FRAMES, a.width, generator=generator) * scale
                rows[a.layer] = module.LayerEmbedding(query_key, {a.name: value})
        return module.MotionEmbedding(rows, backbone.family, FRAMES, self.height, self.width)

    def apply(self, motion: Any, model: Any = None) -> Any:
        return self.part("injection").apply_embedding(model or self.model, motion)

    def sample(self, model: Any = None, cfg: float = 2.5, latent: dict | None = None, **changes: Any) -> torch.Tensor:
        """Two steps of the host's own sampler, as a node would. latent: as a node gives it, if not an empty one."""
        import nodes

        options = {"seed": 0, "steps": 2, "sampler_name": "euler", "scheduler": "simple", **changes}
        options = {"positive": self.positive, "negative": self.negative, **options}
        latent = latent or self.empty()
        with torch.inference_mode():
            return nodes.common_ksampler(model or self.model, cfg=cfg, latent=latent, **options)[0]["samples"].clone()

    @contextmanager
    def by_hand(self, motion: Any) -> Iterator[None]:
        """While open, the model has the motion on it, however it is sampled."""
        with ExitStack() as held:
            for layer, rows in motion.layers.items():
                value = next(iter(rows.value.values()))
                if layer in self.fused:
                    hook = self._from_slices(layer, rows.query_key, value)
                    held.callback(self.fused[layer].register_forward_hook(hook).remove)
                else:
                    for module, per_token in zip(self.split[layer], (False, False, True), strict=True):
                        given = value if per_token else rows.query_key

                        def hook(module: nn.Module, inputs: tuple, layer=layer, given=given) -> tuple:
                            return (inputs[0] + self._on_tokens(layer, inputs[0], given),)

                        held.callback(module.register_forward_pre_hook(hook).remove)
            yield

    def _on_tokens(self, layer: str, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """``[N, C]`` of rows ``[F, C]`` or ``[h, w, F, C]`` for the ``N`` tokens of ``x``."""
        out = torch.zeros(x.shape[1:])
        token = x.shape[1] - self.after.get(layer, 0) - self.tokens
        for frame in range(FRAMES):
            for y in range(self.rows):
                for column in range(self.columns):
                    out[token] = rows[frame] if rows.ndim == 2 else rows[y, column, frame]
                    token += 1
        return out.to(x)

    def _from_slices(self, layer: str, query_key: torch.Tensor, value: torch.Tensor) -> Callable:
        def hook(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            x, width = inputs[0], inputs[0].shape[-1]
            given = [self._on_tokens(layer, x, rows) for rows in (query_key, query_key, value)]
            slices = [slice(i * width, (i + 1) * width) for i in range(3)]
            bias = [None if module.bias is None else module.bias[part].to(x) for part in slices]
            own = [linear(x + m, module.weight[s].to(x), b) for m, s, b in zip(given, slices, bias, strict=True)]
            return torch.cat([*own, output[..., 3 * width :]], dim=-1)

        return hook

    def state(self) -> dict[str, Any]:
        """Everything about the model that must not change: weights, flags, overrides and hooks."""
        module = self.model.model
        named = list(module.named_modules())
        return {
            "weights": {k: v.clone() for k, v in module.state_dict().items()},
            "flags": [p.requires_grad for p in module.parameters()],
            "overrides": [n for n, m in named if "forward" in m.__dict__],
            "hooks": [n for n, m in named if m._forward_hooks or m._forward_pre_hooks],
        }

    def assert_unchanged(self, before: dict[str, Any]) -> None:
        after = self.state()
        weights = after.pop("weights")
        assert all(torch.equal(v, weights[k]) for k, v in before.pop("weights").items())
        assert after == before


def first_draw(clip: torch.Tensor, start: float, end: float, seed: int = 0) -> tuple[float, torch.Tensor]:
    """Percent of the way, and noise, of the first training step on ``clip``."""
    generator = torch.Generator().manual_seed(seed)
    offset = torch.rand((), generator=generator).item()
    torch.randint(clip.shape[2], (), generator=generator)
    noise = torch.randn(clip.shape, generator=generator)
    low, high = max(start, 1e-3), min(end, 1 - 1e-3)
    return low + (high - low) * ((offset + 0.5 * 0.6180339887498949) % 1) ** 2, noise
