"""AnimateDiff over HTTP on trained weights: a held-out clip's motion, learnt and put into new scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo.host import Server
from demo.run import measure, read_frames, scenes_for, shipped
from demo.tiny_animatediff.config import IMAGE, MOTION
from demo.tiny_animatediff.prove import install, transfer

pytestmark = pytest.mark.server
_MEGABYTES = 15


def test_the_weights_are_small_enough_to_ship() -> None:
    assert IMAGE.stat().st_size + MOTION.stat().st_size < _MEGABYTES * 1e6


def test_the_motion_carries_over_and_the_look_stays_out(tmp_path: Path) -> None:
    """``circle``: its exact path and look are in no training set, where clips are drawn at random."""
    reference = shipped("circle")
    source = read_frames(reference.video, reference)
    with Server(install(tmp_path)) as server:
        results = transfer(server, reference, scenes_for(reference, 2))
    scores = [measure(reference, source, result) for result in results]

    def mean(kind: str, name: str) -> float:
        return float(np.mean([score[kind][name] for score in scores]))

    assert mean("without", "object_track_correlation") < 0.4
    assert mean("with", "object_track_correlation") >= 0.8
    assert mean("with", "color_right") == mean("with", "background_right") == 1
    assert mean("with", "reference_color_leaked") == 0
