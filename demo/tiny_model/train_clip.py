"""Train the sprite world's own CLIP: what says, on this machine, how well a picture fits a prompt.

    python -m demo.tiny_model.train_clip --steps 4000

The result is a ``transformers`` folder like that of any CLIP, so the benchmark's text similarity and appearance
leakage run here through the code that a real one goes through.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from . import text, world

WEIGHTS = Path(__file__).parent / "weights" / "clip"
LOOKS = [world.Look(*look) for look in itertools.product(world.COLORS, world.SHAPES, world.BACKGROUNDS, world.PATTERNS)]


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP of half a million parameters for 64x64 pictures."""
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    said = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        projection_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=text.MAX_LENGTH,
        **tokens,
    )
    seen = CLIPVisionConfig(
        image_size=world.SIZE,
        patch_size=8,
        hidden_size=96,
        intermediate_size=288,
        projection_dim=64,
        num_hidden_layers=4,
        num_attention_heads=4,
    )
    return CLIPModel(CLIPConfig(text_config=said.to_dict(), vision_config=seen.to_dict(), projection_dim=64))


def picture(rng: np.random.Generator, look: world.Look) -> np.ndarray:
    """One frame of a random clip of ``look``, as blurred and noisy as a sampled one may be: uint8 ``[64, 64, 3]``."""
    motion, frame = world.random_motion(rng), rng.integers(world.FRAMES)
    arrays = {f.name: getattr(motion, f.name) for f in fields(motion)}
    moment = replace(motion, **{k: v[frame : frame + 1] for k, v in arrays.items() if isinstance(v, np.ndarray)})
    pixels = world.render(replace(look, size=float(rng.uniform(18, 27))), moment)[0].astype(np.float32)
    if rng.random() < 0.6:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, 1.1))
    pixels = pixels + rng.normal(0, rng.uniform(0, 8), pixels.shape) + rng.uniform(-8, 8, 3)
    return pixels.clip(0, 255).astype(np.uint8)


def batch(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[str]]:
    """Pictures ``[size, 64, 64, 3]`` of as many different looks, and a prompt for each."""
    looks = [LOOKS[i] for i in rng.choice(len(LOOKS), size, replace=False)]
    return np.stack([picture(rng, look) for look in looks]), [world.random_prompt(rng, look) for look in looks]


def matched(model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor, pictures: int = 360) -> float:
    """Share of unseen pictures whose own prompt, of all 360, is the one that the model finds most similar."""
    rng = np.random.default_rng(10**6)
    seen = np.stack([picture(rng, LOOKS[i % len(LOOKS)]) for i in range(pictures)])
    with torch.inference_mode():
        images = model.get_image_features(**processor(list(seen), return_tensors="pt")).pooler_output
        said = tokenizer([look.prompt for look in LOOKS], padding="max_length", return_tensors="pt")
        prompts = model.get_text_features(**said).pooler_output
    best = (F.normalize(images, dim=-1) @ F.normalize(prompts, dim=-1).T).argmax(1)
    return float((best == torch.arange(pictures) % len(LOOKS)).float().mean())


def train(steps: int, size: int, rate: float, out: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    text.write_tokenizer(out)
    tokenizer = text.load_tokenizer(out)
    processor = CLIPImageProcessor(
        size={"shortest_edge": world.SIZE}, crop_size={"height": world.SIZE, "width": world.SIZE}
    )
    model = new_clip(tokenizer)
    optimiser = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    begin = time.time()
    for step in range(steps):
        pictures, prompts = batch(rng, size)
        said = tokenizer(prompts, padding="max_length", return_tensors="pt")
        loss = model(**processor(list(pictures), return_tensors="pt"), **said, return_loss=True).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            right = matched(model, tokenizer, processor)
            print(
                f"step {step + 1}, {time.time() - begin:.0f} s: loss {loss.item():.3f}, matched {right:.3f}", flush=True
            )
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    processor.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    train(arguments.steps, arguments.batch, arguments.rate, arguments.out)


if __name__ == "__main__":
    main()
