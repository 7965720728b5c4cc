"""The use without ComfyUI that ARCHITECTURE.md shows, line by line."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from motion_embedding import files
from motion_embedding.applied import Applied
from motion_embedding.backbones import find_backbone
from motion_embedding.install import installed

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"


def test_a_saved_motion_moves_a_bare_unet(small, tmp_path) -> None:
    files.save(small.embedding(), tmp_path / "roundabout.safetensors")
    unet, latents, timestep, text = small.unet, small.x, 500, small.text
    plain = unet(latents, timestep, text).sample

    motion = Applied(files.load(tmp_path / "roundabout.safetensors"))
    backbone, _ = find_backbone(unet)
    call = backbone.call(latents, groups=(0, 1))
    with installed(unet, [motion], call):
        noise = unet(latents, timestep, text).sample

    assert (noise - plain).abs().max() > 1e-3
    assert torch.equal(unet(latents, timestep, text).sample, plain)


def test_the_page_shows_these_lines() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", ARCHITECTURE.read_text(), re.S)
    here = {line.strip() for line in Path(__file__).read_text().splitlines()}
    shown = [line.split("  #")[0].strip() for line in block.splitlines() if line.strip()]
    missing = [line for line in shown if line not in here and "roundabout" not in line]
    assert missing == []
