"""The uses without ComfyUI that ARCHITECTURE.md shows, line by line: train, invert, sample."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from motion_embedding import files, losses
from motion_embedding.applied import Applied
from motion_embedding.backbones import find_backbone
from motion_embedding.debias import Debias
from motion_embedding.embedding import MotionEmbedding
from motion_embedding.initial_noise import mix
from motion_embedding.install import Installation
from motion_embedding.inversion import ddim_invert
from motion_embedding.trainable import TrainableMotion

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"


@pytest.fixture
def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
    )


def test_a_saved_motion_moves_a_bare_unet(small, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.save(small.embedding(), "roundabout.safetensors")
    unet, latents, timestep, text = small.unet, small.x, 500, small.text
    plain = unet(latents, timestep, text).sample

    motion = Applied(files.load("roundabout.safetensors"))
    backbone, _ = find_backbone(unet)
    call = backbone.call(latents, groups=(0, 1))
    with Installation(unet, [motion], call):
        noise = unet(latents, timestep, text).sample

    assert (noise - plain).abs().max() > 1e-3
    assert torch.equal(unet(latents, timestep, text).sample, plain)


def test_train_invert_and_sample(small, scheduler, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    unet, steps, clip = small.unet, 3, small.x[:1]
    prompt, empty = small.text[:1], small.text[1:]

    backbone, attentions = find_backbone(unet.requires_grad_(False))
    learning = TrainableMotion(backbone.select(attentions, "recommended"))
    call = backbone.call(clip, groups=(0,))
    with torch.no_grad(), Installation(unet, [learning], call):
        unet(clip, 0, prompt)
    optimiser = torch.optim.AdamW(learning.allocate(clip.device), lr=0.1)
    for _ in range(steps):
        noise, t = torch.randn_like(clip), torch.randint(1000, (1,))
        with Installation(unet, [learning], call):
            prediction = unet(scheduler.add_noise(clip, noise, t), t, prompt).sample
        frame = int(torch.randint(call.frames, ()))
        losses.debiased(prediction, noise, frame).mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    learnt = MotionEmbedding(learning.layers(), backbone.family, call.frames, call.height, call.width)
    files.save(learnt, "roundabout.safetensors")

    scheduler.set_timesteps(50)
    with torch.no_grad():
        inverted = ddim_invert(
            lambda x, t: unet(x, t, empty).sample,
            clip,
            scheduler.timesteps,
            scheduler.alphas_cumprod,
            scheduler.final_alpha_cumprod,
            scheduler.config.num_train_timesteps,
        )

    motion = Applied(files.load("roundabout.safetensors").replace(debias=Debias("difference")))
    x = mix(inverted, torch.randn_like(inverted), "blend", 0.5)
    scheduler.set_timesteps(30)
    call = backbone.call(torch.cat([x, x]), groups=(1, 0))
    for t in scheduler.timesteps:
        with torch.no_grad(), Installation(unet, [motion], call):
            negative, positive = unet(torch.cat([x, x]), t, torch.cat([empty, prompt])).sample.chunk(2)
        x = scheduler.step(negative + 12 * (positive - negative), t, x).prev_sample

    assert learnt.parameters == sum(p.numel() for p in learning.parameters())
    assert all(v.any() for layer in learnt.layers.values() for v in (layer.query_key, *layer.value.values()))
    assert x.shape == clip.shape and x.isfinite().all()
    assert not torch.allclose(inverted, clip, atol=0.1)


def test_the_page_shows_these_lines() -> None:
    here = {line.strip() for line in Path(__file__).read_text().splitlines()}
    blocks = re.findall(r"```python\n(.*?)```", ARCHITECTURE.read_text(), re.S)
    shown = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]
    assert shown
    assert [line for line in shown if line not in here and not line.startswith(("import", "from"))] == []
