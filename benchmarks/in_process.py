"""ComfyUI, this pack and the tiny model inside one process, for benchmarks that need no server."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from demo.host import ROOT, comfyui_path
from demo.tiny_model.world import SIZE

WEIGHTS = ROOT / "demo" / "tiny_model" / "weights"
PACK = "motion_embeddings_benchmark"


@dataclass
class Host:
    """The tiny model as the stock MODEL, CLIP and VAE; ``part`` imports a module of the pack as ComfyUI has it."""

    model: Any
    clip: Any
    vae: Any

    def part(self, name: str) -> ModuleType:
        return importlib.import_module(f"{PACK}.motion_embedding.{name}")

    def prompt(self, text: str) -> list:
        import nodes

        return nodes.CLIPTextEncode().encode(self.clip, text)[0]

    def encode(self, frames: np.ndarray) -> torch.Tensor:
        """uint8 frames ``[F, 64, 64, 3]`` to latents ``[1, C, F, h, w]``."""
        return self.vae.encode(torch.from_numpy(frames).float() / 255)

    def decode(self, latents: torch.Tensor) -> list[np.ndarray]:
        """Latents ``[B, C, F, h, w]`` to one uint8 clip ``[F, 64, 64, 3]`` each."""
        pixels = [self.vae.decode(z[None]).reshape(-1, SIZE, SIZE, 3) for z in latents]
        return [(p.numpy() * 255).round().clip(0, 255).astype(np.uint8) for p in pixels]

    def sample(self, model: Any, text: str, noise: torch.Tensor, steps: int, guidance: float) -> list[np.ndarray]:
        """One clip for each of ``noise [B, C, F, h, w]``: stock DDIM with classifier-free guidance."""
        return self.decode(self.sample_latents(model, text, noise, steps, guidance))

    def sample_latents(self, model: Any, text: str, noise: torch.Tensor, steps: int, guidance: float) -> torch.Tensor:
        """As :meth:`sample`, not decoded."""
        import comfy.sample

        prompts = self.prompt(text), self.prompt("")
        nothing = torch.zeros_like(noise)
        schedule = (steps, guidance, "ddim", "sgm_uniform")
        return comfy.sample.sample(model, noise, *schedule, *prompts, nothing, disable_pbar=True, seed=0)


def start(threads: int = 1, cpu: bool = True, precise: bool = False) -> Host:
    """Load everything, on the CPU or where the host would; ``precise`` as :func:`boot` takes it.

    Call it once, inside ``torch.inference_mode()`` like everything that follows.
    """
    boot(threads, cpu, precise)
    load = importlib.import_module(f"{PACK}.motion_embedding.text_to_video").load_text_to_video
    return Host(*load(WEIGHTS))


def demo_node(folder: str) -> ModuleType:
    """The custom node of one of the demo's models, as ComfyUI loads it."""
    spec = importlib.util.spec_from_file_location(folder, ROOT / "demo" / folder / "comfyui_node" / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def boot(threads: int = 1, cpu: bool = True, precise: bool = False) -> None:
    """Make ComfyUI and the pack importable.

    precise: compute in float32 on a GPU too, as on a CPU, where it is the quality of what is learnt that counts.
    """
    sys.path.insert(0, str(comfyui_path()))
    from comfy.cli_args import args

    args.cpu = cpu
    args.force_fp32 = args.fp32_unet = args.fp32_vae = args.fp32_text_enc = precise
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py")
    pack = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = pack
    spec.loader.exec_module(pack)
    logging.disable(logging.INFO)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
