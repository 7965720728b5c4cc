"""A small random model in the real host, and what a graph would wire to it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.tiny_folder import make_tiny_folder


@dataclass
class Rig:
    """``part`` imports a module of the pack as ComfyUI has it loaded."""

    pack: ModuleType
    model: Any
    clip: Any
    vae: Any

    def part(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.pack.__name__}.{name}")

    def prompt(self, text: str) -> list:
        import nodes

        return nodes.CLIPTextEncode().encode(self.clip, text)[0]

    def latents(self, frames: int = 4, height: int = 8, width: int = 6, batch: int = 1) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        return torch.randn(batch, 12, frames, height, width, generator=generator)

    def sample(
        self, model: Any = None, frames: int = 4, cfg: float = 2.0, batch: int = 1, **changes: Any
    ) -> torch.Tensor:
        import nodes

        options = {"seed": 0, "steps": 2, "sampler_name": "euler", "scheduler": "sgm_uniform", **changes}
        latent = {"samples": torch.zeros(batch, 12, frames, 8, 6)}
        with torch.inference_mode():
            return nodes.common_ksampler(
                model or self.model,
                positive=self.prompt("a red star on a navy background"),
                negative=self.prompt(""),
                cfg=cfg,
                latent=latent,
                **options,
            )[0]["samples"]

    def recipe(self, **changes: Any) -> Any:
        return self.part("motion_embedding.training").Recipe(**{"steps": 3, "learning_rate": 0.1, **changes})

    def train(self, latents: torch.Tensor | None = None, keep: Any = None, initial: Any = None, **changes: Any) -> Any:
        """As a node would: inside inference mode."""
        with torch.inference_mode():
            return self.part("motion_embedding.training").train_motion(
                self.model,
                self.prompt("a blue square on a brown background"),
                self.latents() if latents is None else latents,
                self.recipe(**changes),
                initial=initial,
                keep=keep,
            )

    def state(self) -> dict[str, Any]:
        """Everything about the model that must not change: weights, flags, overrides and hooks."""
        module = self.model.model
        return {
            "weights": {k: v.clone() for k, v in module.state_dict().items()},
            "flags": [p.requires_grad for p in module.parameters()],
            "overrides": [n for n, m in module.named_modules() if "forward" in m.__dict__],
            "hooks": [n for n, m in module.named_modules() if m._forward_hooks or m._forward_pre_hooks],
        }

    def assert_unchanged(self, before: dict[str, Any]) -> None:
        after = self.state()
        assert before["weights"].keys() == after["weights"].keys()
        assert all(torch.equal(v, after["weights"][k]) for k, v in before["weights"].items())
        assert {k: v for k, v in before.items() if k != "weights"} == {k: v for k, v in after.items() if k != "weights"}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def rig(comfy: Path, pack: ModuleType, tiny_folder: Path) -> Rig:
    loader = importlib.import_module(f"{pack.__name__}.motion_embedding.text_to_video")
    with torch.inference_mode():
        return Rig(pack, *loader.load_text_to_video(tiny_folder, None))


@pytest.fixture(scope="session")
def error(pack: ModuleType) -> type[Exception]:
    """The pack's ``InputError`` as ComfyUI has it loaded."""
    return importlib.import_module(f"{pack.__name__}.motion_embedding.errors").InputError
