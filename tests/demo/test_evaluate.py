"""The evaluation's bookkeeping by hand, and its sampler on an untrained model in the exported layout."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from demo.tiny_model import codec, network, text, world
from demo.tiny_model.evaluate import fixed_looks, load_export, sample, scores
from demo.tiny_model.judge import Verdict

SEEN = Verdict("red", "star", "navy", "plain", np.zeros((2, 2)), np.array([50, 60]), 1.0)
LOOK = world.Look("red", "star", "navy")


def test_prompts_are_fixed_and_balanced():
    looks = fixed_looks()
    assert looks == fixed_looks()
    assert len({look.prompt for look in looks}) >= 38
    assert set(Counter(look.shape for look in looks).values()) == {8}
    assert set(Counter(look.background for look in looks).values()) == {10}
    assert set(Counter(look.color for look in looks).values()) == {6, 7}
    assert set(Counter(look.pattern for look in looks).values()) == {13, 14}


def test_scores_are_shares_of_clips():
    seen = [SEEN, replace(SEEN, shape="cross"), replace(SEEN, color=None, shape=None), replace(SEEN, visible=0.5)]
    assert scores([LOOK] * 4, seen) == {
        "color": 0.75,
        "background": 1.0,
        "pattern": 1.0,
        "shape": 0.5,
        "coherent": 0.75,
    }


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors on a busy machine: threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    text.write_tokenizer(folder / "tokenizer")
    text.new_text_encoder(text.load_tokenizer(folder / "tokenizer")).save_pretrained(folder / "text_encoder")
    network.new_unet().save_pretrained(folder / "unet")
    network.scheduler().save_pretrained(folder / "scheduler")
    vae = AutoencoderKL(
        latent_channels=codec.CHANNELS,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )
    vae.save_pretrained(folder / "vae")
    return load_export(folder)


def test_a_clip_depends_on_its_own_seed_only(export):
    both = sample(export, ["a red star on a navy background"] * 2, [3, 4], steps=1)
    assert both.shape == (2, world.FRAMES, world.SIZE, world.SIZE, 3)
    assert both.dtype == np.uint8
    alone = sample(export, ["a red star on a navy background"], [4], steps=1)
    assert np.abs(both[1].astype(int) - alone[0]).max() <= 1
    assert not np.array_equal(both[0], both[1])
