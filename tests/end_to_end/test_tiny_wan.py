"""Wan on trained weights, from the stock loader, over HTTP: a held-out clip's motion, put into a new scene."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.host import Server
from demo.run import measure, read_frames, shipped
from demo.tiny_model.world import Look
from demo.tiny_wan.files import MODEL
from demo.tiny_wan.prove import PROOF

pytestmark = pytest.mark.server
_MEGABYTES = 15


def test_the_weights_are_small_enough_to_ship() -> None:
    assert MODEL.stat().st_size < _MEGABYTES * 1e6


def test_the_motion_carries_over_and_the_look_stays_out(tmp_path: Path) -> None:
    """``circle``: its exact path and look are in no training set, where clips are drawn at random."""
    reference = shipped("circle")
    look = Look("green", "circle", "gray")
    with Server(PROOF.install(tmp_path)) as server:
        (result,) = PROOF.transfer(server, reference, [look])
    score = measure(reference, read_frames(reference.video, reference), result)
    without, moved = score["without"], score["with"]
    assert without["object_track_correlation"] < 0.4
    assert moved["object_track_correlation"] >= 0.85
    assert moved["motion_fidelity"] >= without["motion_fidelity"] + 0.4
    assert (moved["color_right"], moved["background_right"], moved["reference_color_leaked"]) == (1, 1, 0)
