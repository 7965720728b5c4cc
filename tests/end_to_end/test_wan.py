"""Wan over HTTP, from text and from a picture: stock nodes around ours, a clip's motion saved, loaded and used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from demo.host import ROOT, Server
from demo.run import shipped
from motion_embedding import files
from motion_embedding.benchmark.workflow import load, set_inputs, to_prompt
from tests import small_wan, tiny_checkpoints
from tests.end_to_end.test_templates import decode
from tests.joint_rig import fill

pytestmark = pytest.mark.server
FRAMES, LATENT_FRAMES, SIZE = 5, 2, 64
CLIP = {"width": SIZE, "height": SIZE, "length": FRAMES, "batch_size": 1}


@pytest.fixture(scope="module")
def models(base: Path, comfy: Path) -> None:
    """Where the stock loaders look."""
    for name in ("diffusion_models", "text_encoders", "vae"):
        (base / "models" / name).mkdir(parents=True, exist_ok=True)
    for variant in ("2.1 T2V", "2.1 I2V"):
        weights = fill(small_wan.network(variant)).state_dict()
        save_file(weights, base / "models" / "diffusion_models" / f"wan {variant}.safetensors")
    tiny_checkpoints.save_clip_l(base / "models" / "text_encoders" / "wide.pt")
    tiny_checkpoints.save_wan_vae(base / "models" / "vae" / "wan.pt")


TWO_STEPS = {
    "Sample without": {"steps": 2},
    "Sample with": {"steps": 2},
    "Sample, high noise": {"steps": 2, "end_at_step": 1},
    "Sample, low noise": {"steps": 2, "start_at_step": 1},
}
SAVED = {
    "wan_text_to_video": ("my_wan_motion", {"wan_text_to_video_without_motion", "wan_text_to_video_with_motion"}),
    "wan2.2_text_to_video": ("my_wan2.2_motion", {"wan2.2_text_to_video"}),
    "wan2.2_image_to_video": ("my_wan2.2_i2v_motion", {"wan2.2_image_to_video"}),
}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def common(variant: str, clip: str) -> dict[str, Any]:
    """Model, prompts and the empty latent; a picture-to-video model gets the clip's first frame."""
    cut = {"start": 0, "frames": FRAMES, "fps": 0, "stride": 1, "width": SIZE, "height": SIZE}
    graph = {
        "model": node("UNETLoader", unet_name=f"wan {variant}.safetensors", weight_dtype="default"),
        "text": node("CLIPLoader", clip_name="wide.pt", type="sd3"),
        "vae": node("VAELoader", vae_name="wan.pt"),
        "clip": node("ME_LoadVideoFrames", file=clip, resize="crop", multiple_of=16, **cut),
        "shown": node("CLIPTextEncode", clip=["text", 0], text="a blue circle on a navy background"),
        "negative": node("CLIPTextEncode", clip=["text", 0], text=""),
        "empty": node("EmptyHunyuanLatentVideo", **CLIP),
    }
    if variant == "2.1 I2V":
        prompts = {"positive": ["shown", 0], "negative": ["negative", 0]}
        graph["first"] = node("ImageFromBatch", image=["clip", 0], batch_index=0, length=1)
        graph["picture"] = node("WanImageToVideo", vae=["vae", 0], start_image=["first", 0], **prompts, **CLIP)
    return graph


def conditioned(variant: str) -> tuple[list, list]:
    return (["picture", 0], ["picture", 1]) if variant == "2.1 I2V" else (["shown", 0], ["negative", 0])


def learning(variant: str, clip: str) -> dict[str, Any]:
    training = {"preset": "object motion", "steps": 3, "learning_rate": 0.1, "loss": "as preset", "seed": 0}
    places = {"model": ["model", 0], "positive": conditioned(variant)[0], "latents": ["latents", 0]}
    return {
        **common(variant, clip),
        "latents": node("VAEEncode", pixels=["clip", 0], vae=["vae", 0]),
        "train": node("ME_TrainMotionEmbedding", layers="as preset", **places, **training),
        "save": node("ME_SaveMotionEmbedding", motion=["train", 0], filename=f"wan {variant}", precision="half"),
    }


def using(variant: str, clip: str) -> dict[str, Any]:
    strength = {"strength_query_key": 1.0, "strength_value": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    graph = common(variant, clip)
    graph["motion"] = node("ME_LoadMotionEmbedding", motion_embedding=f"wan {variant}.safetensors")
    graph["apply"] = node(
        "ME_ApplyMotionEmbedding", model=["model", 0], motion=["motion", 0], prompts="both", **strength
    )
    positive, negative = conditioned(variant)
    steps = {"seed": 5, "steps": 2, "cfg": 2.5, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    for name, model in (("with", ["apply", 0]), ("without", ["model", 0])):
        prompts = {"positive": positive, "negative": negative, "latent_image": ["empty", 0]}
        graph[f"{name} sampler"] = node("KSampler", model=model, **prompts, **steps)
        graph[f"{name} latents"] = node("SaveLatent", samples=[f"{name} sampler", 0], filename_prefix=name)
        graph[f"{name} frames"] = node("VAEDecode", samples=[f"{name} sampler", 0], vae=["vae", 0])
        graph[f"{name} pictures"] = node("SaveImage", images=[f"{name} frames", 0], filename_prefix=name)
    return graph


@pytest.mark.parametrize("variant", ["2.1 T2V", "2.1 I2V"])
def test_a_clips_motion_is_learnt_and_put_into_another(server: Server, models: None, variant: str) -> None:
    clip = server.upload(shipped("circle").video)
    server.run(learning(variant, clip))
    motion = files.load(server.base / "models" / "motion_embeddings" / f"wan {variant}.safetensors")
    assert (motion.backbone, motion.prediction, motion.frames) == ("wan", "flow", LATENT_FRAMES)
    assert (motion.height, motion.width) == (SIZE // 8, SIZE // 8)
    assert set(motion.layers) <= set(small_wan.LAYERS)
    outputs, latents, frames = server.outputs(server.run(using(variant, clip))), {}, {}
    for name in ("with", "without"):
        (path,) = [p for p in outputs if p.suffix == ".latent" and p.name.startswith(f"{name}_")]
        latents[name] = load_file(path)["latent_tensor"]
        pictures = sorted(p for p in outputs if p.suffix == ".png" and p.name.startswith(f"{name}_"))
        frames[name] = np.stack([np.asarray(Image.open(p), dtype=float) for p in pictures])
        assert latents[name].shape == (1, 16, LATENT_FRAMES, SIZE // 8, SIZE // 8)
        assert latents[name].isfinite().all()
        assert frames[name].shape == (FRAMES, SIZE, SIZE, 3)
    assert (latents["with"] - latents["without"]).abs().max() > 1e-2
    assert np.abs(frames["with"] - frames["without"]).max() >= 1


@pytest.mark.parametrize("name", SAVED)
def test_the_templates_run_as_shipped_but_for_files_and_sizes(
    server: Server, models: None, name: str, tmp_path: Path
) -> None:
    prompt = to_prompt(load(ROOT / "workflows" / f"{name}.json"), server.object_info())
    titles = {item["_meta"]["title"] for item in prompt.values()}
    variant = "2.1 I2V" if "image" in name else "2.1 T2V"
    Image.effect_noise((SIZE, SIZE), 60).save(picture := tmp_path / "noise.png")
    model, small = {"unet_name": f"wan {variant}.safetensors"}, {"width": SIZE, "height": SIZE}
    changes = {
        **dict.fromkeys(("Model", "High noise model", "Low noise model"), model),
        **dict.fromkeys(("Empty clip", "Look of the reference", "Begin with the picture"), small),
        "Text encoder": {"clip_name": "wide.pt", "type": "sd3"},
        "VAE": {"vae_name": "wan.pt"},
        "Reference clip": {"file": server.upload(shipped("circle").video), "frames": FRAMES, **small},
        "New picture": {"image": server.upload(picture)},
        "Learn the motion": {"steps": 2},
        **TWO_STEPS,
    }
    if variant == "2.1 T2V":
        del changes["Look of the reference"]  # there it is words
    values = {f"{title}.{key}": value for title in titles & set(changes) for key, value in changes[title].items()}
    written = server.outputs(server.run(set_inputs(prompt, values)))
    motion, videos = SAVED[name]
    shown = {path.name.rpartition("_0")[0]: decode(path) for path in written if path.suffix == ".mp4"}
    assert set(shown) == videos
    assert {video.shape for video in shown.values()} == {(FRAMES, SIZE, SIZE, 3)}
    assert files.load(server.base / "models" / "motion_embeddings" / f"{motion}.safetensors").frames == LATENT_FRAMES
