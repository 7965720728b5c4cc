"""Latte over HTTP: a small random folder, stock nodes around ours, from a clip to frames with its motion."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from demo.host import Server
from demo.run import shipped
from motion_embedding import files
from motion_embedding.benchmark.server import WorkflowError
from tests.tiny_latte import FRAMES, make_tiny_latte

pytestmark = pytest.mark.server
SIZE = 64


@pytest.fixture(scope="module")
def latte(base: Path) -> Iterator[Path]:
    folder = make_tiny_latte(base / "models" / "diffusers" / "latte-1")
    yield folder
    shutil.rmtree(folder)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sampled(name: str, model: list) -> dict[str, Any]:
    prompts = {"positive": ["scene", 0], "negative": ["negative", 0], "latent_image": ["empty", 0]}
    steps = {"seed": 5, "steps": 3, "cfg": 7.5, "sampler_name": "ddim", "scheduler": "normal", "denoise": 1.0}
    return {
        f"{name} sampler": node("KSampler", model=model, **prompts, **steps),
        f"{name} latents": node("SaveLatent", samples=[f"{name} sampler", 0], filename_prefix=name),
        f"{name} frames": node("VAEDecode", samples=[f"{name} sampler", 0], vae=["model", 2]),
        f"{name} pictures": node("SaveImage", images=[f"{name} frames", 0], filename_prefix=name),
    }


def graph(clip: str, folder: str) -> dict[str, Any]:
    training = {"preset": "object motion", "steps": 4, "learning_rate": 0.1, "loss": "as preset", "seed": 0}
    strength = {"strength_query_key": 1.0, "strength_value": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    cut = {"start": 0, "frames": FRAMES, "fps": 0, "stride": 1, "width": SIZE, "height": SIZE}
    empty = {"width": SIZE, "height": SIZE, "frames": FRAMES, "batch_size": 1}
    return {
        "model": node("ME_LoadLatteModel", folder=folder, dtype="auto", text_encoder="of the folder"),
        "clip": node("ME_LoadVideoFrames", file=clip, resize="crop", multiple_of=8, **cut),
        "latents": node("VAEEncode", pixels=["clip", 0], vae=["model", 2]),
        "shown": node("CLIPTextEncode", clip=["model", 1], text="a blue circle on a navy background"),
        "scene": node("CLIPTextEncode", clip=["model", 1], text="a red star on a brown background"),
        "negative": node("CLIPTextEncode", clip=["model", 1], text=""),
        "empty": node("ME_EmptyVideoLatent", vae=["model", 2], **empty),
        "train": node(
            "ME_TrainMotionEmbedding",
            model=["model", 0],
            positive=["shown", 0],
            latents=["latents", 0],
            layers="as preset",
            **training,
        ),
        "save": node("ME_SaveMotionEmbedding", motion=["train", 0], filename="latte", precision="half"),
        "apply": node("ME_ApplyMotionEmbedding", model=["model", 0], motion=["train", 0], prompts="both", **strength),
        **sampled("with", ["apply", 0]),
        **sampled("without", ["model", 0]),
    }


def test_a_clips_motion_is_learnt_and_put_into_another_scene(server: Server, latte: Path) -> None:
    outputs = server.outputs(server.run(graph(server.upload(shipped("circle").video), latte.name)))
    motion = files.load(server.base / "models" / "motion_embeddings" / "latte.safetensors")
    assert (motion.backbone, motion.prediction, motion.frames) == ("latte", "epsilon", FRAMES)
    assert (motion.height, motion.width) == (SIZE // 8, SIZE // 8)
    assert set(motion.layers) == {"temporal_transformer_blocks.0", "temporal_transformer_blocks.1"}
    latents, frames = {}, {}
    for name in ("with", "without"):
        (path,) = [p for p in outputs if p.suffix == ".latent" and p.name.startswith(f"{name}_")]
        latents[name] = load_file(path)["latent_tensor"]
        pictures = sorted(p for p in outputs if p.suffix == ".png" and p.name.startswith(f"{name}_"))
        frames[name] = np.stack([np.asarray(Image.open(p), dtype=float) for p in pictures])
        assert latents[name].shape == (1, 4, FRAMES, SIZE // 8, SIZE // 8)
        assert latents[name].isfinite().all()
        assert frames[name].shape == (FRAMES, SIZE, SIZE, 3)
        assert frames[name].std() > 1
    assert (latents["with"] - latents["without"]).abs().max() > 1e-2
    assert np.abs(frames["with"] - frames["without"]).max() >= 1


def test_a_half_copied_folder_is_refused_before_anything_runs(server: Server, latte: Path) -> None:
    half = Path(shutil.copytree(latte, latte.with_name("half-latte")))
    try:
        weights = half / "transformer" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(WorkflowError, match=r"folder: .*diffusion_pytorch_model\.safetensors is cut off"):
            server.run(graph(server.upload(shipped("circle").video), half.name))
    finally:
        shutil.rmtree(half)
