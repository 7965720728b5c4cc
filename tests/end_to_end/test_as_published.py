"""The published setting over HTTP, and what a person builds from the pieces of it. Few steps: form, not quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from demo.host import ROOT, Server
from demo.run import read_frames, shipped
from motion_embedding import files
from motion_embedding.benchmark.server import WorkflowError
from motion_embedding.benchmark.workflow import load, set_inputs, to_prompt
from motion_embedding.debias import Debias

pytestmark = pytest.mark.server

SIZE = {"width": 64, "height": 64}
SCHEDULE = {"scheduler": "sgm_uniform", "steps": 4, "denoise": 1.0}


@pytest.fixture(scope="module")
def saved(server: Server, tiny_model: Path) -> tuple[Path, Path]:
    """The motion's file and the video that the shipped workflow makes."""
    changes = {
        "Reference clip.file": server.upload(shipped("circle").video),
        "Learn the motion.steps": 4,
        "Invert the reference.steps": 5,
        "Sample.steps": 4,
    }
    workflow = load(ROOT / "workflows" / "as_published.json")
    outputs = server.outputs(server.run(set_inputs(to_prompt(workflow, server.object_info()), changes)))
    (video,) = [p for p in outputs if p.suffix == ".mp4"]
    return server.base / "models" / "motion_embeddings" / "my_motion_as_published.safetensors", video


def test_the_file_holds_the_recipe_and_the_noise(saved) -> None:
    motion = files.load(saved[0])
    assert motion.debias == Debias("difference")
    assert (motion.training["loss"], motion.training["learning_rate"]) == ("debiased_hybrid", 0.02)
    assert {layer.split(".")[0] for layer in motion.layers} <= {"down_blocks", "up_blocks"}
    assert motion.inverted_noise.shape == (12, 8, 16, 16)
    assert 0 < motion.inverted_noise.std() < 10


def test_the_video_has_its_form(saved) -> None:
    assert read_frames(saved[1]).shape == (8, 256, 256, 3)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def applied(motion: str) -> dict[str, Any]:
    """The node ``motion`` on the node ``model``, as learnt."""
    return node(
        "ME_ApplyMotionEmbedding",
        model=["model", 0],
        motion=[motion, 0],
        strength_query_key=1.0,
        strength_value=1.0,
        start_percent=0.0,
        end_percent=1.0,
        prompts="both",
    )


def test_edited_motion_and_stored_noise_drive_a_custom_sampler(server: Server, saved) -> None:
    """Load, loop, apply; the noise that travels with the motion as NOISE, for SamplerCustomAdvanced."""
    prompt = {
        "model": node("ME_LoadTextToVideoModel", folder="tiny-text-to-video", dtype="auto"),
        "motion": node("ME_LoadMotionEmbedding", motion_embedding=saved[0].name),
        "loop": node("ME_TransformMotion", motion=["motion", 0], operation="there and back"),
        "apply": applied("loop"),
        "text": node("CLIPTextEncode", text="a red star on a navy background", clip=["model", 1]),
        "empty": node("ME_EmptyVideoLatent", vae=["model", 2], frames=["loop", 1], batch_size=1, **SIZE),
        "blend": node(
            "ME_BlendInitialNoise",
            model=["model", 0],
            latent_image=["empty", 0],
            motion=["motion", 0],
            strategy="blend",
            amount=0.25,
            seed=3,
        ),
        "guider": node("BasicGuider", model=["apply", 0], conditioning=["text", 0]),
        "sampler": node("KSamplerSelect", sampler_name="ddim"),
        "sigmas": node("BasicScheduler", model=["apply", 0], **SCHEDULE),
        "sample": node(
            "SamplerCustomAdvanced",
            noise=["blend", 1],
            guider=["guider", 0],
            sampler=["sampler", 0],
            sigmas=["sigmas", 0],
            latent_image=["empty", 0],
        ),
        "decode": node("VAEDecode", samples=["sample", 0], vae=["model", 2]),
        "video": node("CreateVideo", images=["decode", 0], fps=8.0),
        "save": node("SaveVideo", video=["video", 0], filename_prefix="loop", format="auto", codec="auto"),
    }
    (video,) = [p for p in server.outputs(server.run(prompt)) if p.suffix == ".mp4"]
    assert read_frames(video, frames=14).shape == (14, 64, 64, 3)


def test_the_authors_file_is_imported_saved_and_refused_for_this_model(server: Server, tiny_model: Path) -> None:
    """Theirs fits ModelScope-like models; the message says why the tiny one is not it, before any sampling."""
    folder = server.base / "models" / "motion_embeddings"
    folder.mkdir(parents=True, exist_ok=True)
    block = "down_blocks.2.temp_attentions.0.transformer_blocks.0"
    rows = torch.randn(1, 32, 1280)
    rows[:, 24:] = 0
    torch.save({f"{block}.pos_embed": rows}, folder / "motion_embed.pt")
    prompt = {
        "import": node("ME_ImportMotionEmbedding", file="motion_embed.pt", width=576, height=320, frames=0),
        "save": node("ME_SaveMotionEmbedding", motion=["import", 0], filename="imported", precision="half"),
    }
    known = server.object_info()["ME_ImportMotionEmbedding"]["input"]["required"]
    prompt["import"]["inputs"] = {
        name: prompt["import"]["inputs"].get(name, spec[1].get("default")) for name, spec in known.items()
    }
    server.run(prompt)
    motion = files.load(folder / "imported.safetensors")
    assert (motion.frames, motion.height, motion.width) == (24, 40, 72)
    torch.testing.assert_close(motion.layers[block].query_key, rows[0, :24], atol=2e-3, rtol=1e-3)
    prompt["model"] = node("ME_LoadTextToVideoModel", folder="tiny-text-to-video", dtype="auto")
    prompt["apply"] = applied("import")
    prompt["text"] = node("CLIPTextEncode", text="", clip=["model", 1])
    prompt["empty"] = node("ME_EmptyVideoLatent", vae=["model", 2], frames=8, batch_size=1, **SIZE)
    prompt["sample"] = node(
        "KSampler",
        model=["apply", 0],
        seed=0,
        cfg=1.0,
        sampler_name="ddim",
        positive=["text", 0],
        negative=["text", 0],
        latent_image=["empty", 0],
        **SCHEDULE,
    )
    prompt["decode"] = node("VAEDecode", samples=["sample", 0], vae=["model", 2])
    prompt["show"] = node("PreviewImage", images=["decode", 0])
    with pytest.raises(WorkflowError, match=r"motion:.*wide"):
        server.run(prompt)
