"""The tiny models that ``file_size`` samples with: how each is trained and sampled, and what that depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.host import ROOT
from demo.tiny_animatediff import config as animatediff_files
from demo.tiny_wan import files as wan_files
from motion_embedding.presets import Recipe

from . import ablation, in_process, transformer_form
from .cache import digest
from .clips import Clip

EMBEDDINGS = ROOT / ".cache" / "file_size" / "embeddings"


def _noise(number: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1000 + number))


class UNet:
    """The ablation's bench."""

    def __init__(self, cpu: bool = True) -> None:
        self.bench = ablation.Bench(cpu)
        self.host, self.plain = self.bench.host, self.bench.host.model

    @staticmethod
    def recipe(value_form: str) -> Recipe:
        return ablation.training_of({"value_form": value_form})

    @staticmethod
    def how() -> tuple:
        return ablation.STEPS, ablation.GUIDANCE

    @staticmethod
    def weights() -> list[Path]:
        return [in_process.WEIGHTS]

    def learnt(self, value_form: str, clip: Clip) -> Any:
        return self.bench.embedding(clip, {"value_form": value_form})

    def sample(self, model: Any, prompt: str, number: int) -> np.ndarray:
        return self.host.sample(model, prompt, _noise(number, 1, 12, 8, 16, 16), *self.how())[0]


class Wan:
    """The bench of forms, on all layers."""

    def __init__(self, cpu: bool = True) -> None:
        self.bench = transformer_form.Bench(cpu)
        self.host, self.plain = self.bench.host, self.bench.models[transformer_form.TRAINED_SHIFT]

    @staticmethod
    def recipe(value_form: str) -> Recipe:
        return ablation.training_of({"layers": "all", "value_form": value_form})

    @staticmethod
    def how() -> tuple:
        return transformer_form.STEPS, transformer_form.GUIDANCE, "euler", "simple", transformer_form.TRAINED_SHIFT

    @staticmethod
    def weights() -> list[Path]:
        return [wan_files.MODEL, wan_files.TEXT_AND_VAE]

    def learnt(self, value_form: str, clip: Clip) -> Any:
        return self.bench.embedding(transformer_form.Variant(value_form, {"value_form": value_form}), clip)

    def sample(self, model: Any, prompt: str, number: int) -> np.ndarray:
        import comfy.sample

        noise = _noise(number, 1, wan_files.CHANNELS, 8, 16, 16)
        prompts, nothing = (self.host.prompt(prompt), self.host.prompt("")), torch.zeros_like(noise)
        latents = comfy.sample.sample(model, noise, *self.how()[:4], *prompts, nothing, disable_pbar=True, seed=0)
        return self.host.decode(latents)[0]


class AnimateDiff:
    """The tiny AnimateDiff as its proof samples it, trained as the presets train."""

    def __init__(self, cpu: bool = True) -> None:
        self.host, self.device = in_process.start(cpu=cpu, precise=not cpu), "cpu" if cpu else "cuda"
        node = in_process.demo_node("tiny_animatediff")
        self.host.vae = node.load_image_vae()
        load = self.host.part("animatediff").load_animatediff
        self.plain = load(node.load_model(), animatediff_files.MOTION, own_betas=False)

    @staticmethod
    def recipe(value_form: str) -> Recipe:
        return Recipe(value_form=value_form)

    @staticmethod
    def how() -> tuple:
        return 20, 2.0, "ddim", "sgm_uniform"

    @staticmethod
    def weights() -> list[Path]:
        return [animatediff_files.IMAGE, animatediff_files.MOTION, animatediff_files.TEXT_AND_VAE]

    def learnt(self, value_form: str, clip: Clip) -> Any:
        files, training, recipe = self.host.part("files"), self.host.part("training"), self.recipe(value_form)
        key = digest(recipe, clip.look, clip.frames, self.weights(), self.device)
        path = EMBEDDINGS / f"animatediff-{clip.name}-{key}.safetensors"
        if not path.exists():
            prompt, latents = self.host.prompt(clip.look.prompt), self.host.encode(clip.frames)
            path.parent.mkdir(parents=True, exist_ok=True)
            files.save(training.train_motion(self.plain, prompt, latents, recipe).embedding, path, torch.float32)
        return files.load(path)

    def sample(self, model: Any, prompt: str, number: int) -> np.ndarray:
        import comfy.sample

        noise = _noise(number, 8, 12, 16, 16)
        prompts, nothing = (self.host.prompt(prompt), self.host.prompt("")), torch.zeros_like(noise)
        how = (*self.how(), *prompts, nothing)
        pixels = self.host.vae.decode(comfy.sample.sample(model, noise, *how, disable_pbar=True, seed=0))
        return (pixels.numpy() * 255).round().clip(0, 255).astype(np.uint8)


Bench = UNet | Wan | AnimateDiff
BENCHES: dict[str, type[Bench]] = {"UNet": UNet, "Wan": Wan, "AnimateDiff": AnimateDiff}
