"""Turn a training run into the diffusers text-to-video folder that this repository ships.

    python -m demo.tiny_model.export --run demo/tiny_model/run --vae demo/tiny_model/run/vae

Weights are stored in half precision; the training log goes along.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from . import colours, network, text

HERE = Path(__file__).parent


def export(run: Path, vae: Path, out: Path) -> None:
    """Write ``unet/ vae/ text_encoder/ tokenizer/ scheduler/ model_index.json`` under ``out``."""
    weights = load_file(run / "ema.safetensors")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(run / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    encoder = text.new_text_encoder(text.load_tokenizer(out / "tokenizer"))
    for module, prefix, folder in ((network.new_unet(), "unet.", "unet"), (encoder, "text.", "text_encoder")):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        module.to(torch.float16).save_pretrained(out / folder)
    AutoencoderKL.from_pretrained(vae).to(torch.float16).save_pretrained(out / "vae")
    colours.write(out / "vae")
    network.scheduler().save_pretrained(out / "scheduler")
    parts = {
        "unet": "UNet3DConditionModel",
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        "tokenizer": "CLIPTokenizer",
        "scheduler": "DDIMScheduler",
    }
    home = {"text_encoder": "transformers", "tokenizer": "transformers"}
    index = {"_class_name": "TextToVideoSDPipeline"}
    index |= {part: [home.get(part, "diffusers"), name] for part, name in parts.items()}
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    shutil.copy(run / "log.csv", out / "training_log.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=HERE / "run")
    parser.add_argument("--vae", type=Path, default=HERE / "run" / "vae")
    parser.add_argument("--out", type=Path, default=HERE / "weights")
    arguments = parser.parse_args()
    export(arguments.run, arguments.vae, arguments.out)
