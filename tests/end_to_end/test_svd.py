"""Stable Video Diffusion over HTTP: a checkpoint of its full layout, stock nodes around ours, from a clip to frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from demo.host import Server
from demo.run import shipped
from motion_embedding import files
from tests import small_svd, tiny_checkpoints

pytestmark = pytest.mark.server
FRAMES, SIZE = 3, 64


@pytest.fixture(scope="module")
def checkpoint(base: Path, comfy: Path) -> str:
    folder = base / "models" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return tiny_checkpoints.save_svd(folder / "random_svd.ckpt").name


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def graph(checkpoint: str, clip: str) -> dict[str, Any]:
    """Sampled with and without the motion of the clip, from the same noise and picture."""
    training = {"preset": "object motion", "steps": 3, "learning_rate": 0.1, "loss": "as preset", "seed": 0}
    strength = {"strength_query_key": 1.0, "strength_value": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    picture = {"width": SIZE, "height": SIZE, "motion_bucket_id": 127, "fps": 6, "augmentation_level": 0.0}
    cut = {"start": 0, "frames": FRAMES, "fps": 0, "stride": 1, "width": SIZE, "height": SIZE}
    return {
        "checkpoint": node("ImageOnlyCheckpointLoader", ckpt_name=checkpoint),
        "clip": node("ME_LoadVideoFrames", file=clip, resize="crop", multiple_of=8, **cut),
        "first": node("ImageFromBatch", image=["clip", 0], batch_index=0, length=1),
        "picture": node(
            "SVD_img2vid_Conditioning",
            clip_vision=["checkpoint", 1],
            init_image=["first", 0],
            vae=["checkpoint", 2],
            video_frames=FRAMES,
            **picture,
        ),
        "latents": node("VAEEncode", pixels=["clip", 0], vae=["checkpoint", 2]),
        "train": node(
            "ME_TrainMotionEmbedding",
            model=["checkpoint", 0],
            positive=["picture", 0],
            latents=["latents", 0],
            layers="as preset",
            **training,
        ),
        "save": node("ME_SaveMotionEmbedding", motion=["train", 0], filename="svd", precision="half"),
        "apply": node(
            "ME_ApplyMotionEmbedding", model=["checkpoint", 0], motion=["train", 0], prompts="both", **strength
        ),
        **sampled("with", ["apply", 0]),
        **sampled("without", ["checkpoint", 0]),
    }


def sampled(name: str, model: list) -> dict[str, Any]:
    prompts = {"positive": ["picture", 0], "negative": ["picture", 1], "latent_image": ["picture", 2]}
    steps = {"seed": 5, "steps": 2, "cfg": 2.5, "sampler_name": "euler", "scheduler": "karras", "denoise": 1.0}
    return {
        f"{name} guidance": node("VideoLinearCFGGuidance", model=model, min_cfg=1.0),
        f"{name} sampler": node("KSampler", model=[f"{name} guidance", 0], **prompts, **steps),
        f"{name} latents": node("SaveLatent", samples=[f"{name} sampler", 0], filename_prefix=name),
        f"{name} frames": node("VAEDecode", samples=[f"{name} sampler", 0], vae=["checkpoint", 2]),
        f"{name} pictures": node("SaveImage", images=[f"{name} frames", 0], filename_prefix=name),
    }


def test_a_clips_motion_is_learnt_and_put_into_what_a_picture_becomes(server: Server, checkpoint: str) -> None:
    outputs = server.outputs(server.run(graph(checkpoint, server.upload(shipped("circle").video))))
    saved = server.base / "models" / "motion_embeddings" / "svd.safetensors"
    motion = files.load(saved)
    assert (motion.backbone, motion.prediction, motion.frames) == ("svd", "v", FRAMES)
    assert (motion.height, motion.width) == (SIZE // 8, SIZE // 8)
    assert set(motion.layers) == set(small_svd.LAYERS)
    latents, frames = {}, {}
    for name in ("with", "without"):
        (path,) = [p for p in outputs if p.suffix == ".latent" and p.name.startswith(f"{name}_")]
        latents[name] = load_file(path)["latent_tensor"]
        pictures = sorted(p for p in outputs if p.suffix == ".png" and p.name.startswith(f"{name}_"))
        frames[name] = np.stack([np.asarray(Image.open(p), dtype=float) for p in pictures])
    for name in frames:
        assert latents[name].shape == (FRAMES, 4, SIZE // 8, SIZE // 8)
        assert latents[name].isfinite().all()
        assert frames[name].shape == (FRAMES, SIZE, SIZE, 3)
        assert frames[name].std() > 1
    assert (latents["with"] - latents["without"]).abs().max() > 1e-2
    assert np.abs(frames["with"] - frames["without"]).max() >= 1
