"""The committed reference clips are the ones the code renders, survive H.264, and differ from one another."""

from __future__ import annotations

from itertools import combinations

import av
import numpy as np
import pytest

from demo.references import CLIPS, REFERENCES, frames_of, object_path, real_clip, write_references
from demo.tiny_model.camera import camera_error, camera_flow, true_flow
from demo.tiny_model.judge import judge
from motion_embedding.metrics import trajectory_correlation


def decoded(path) -> tuple[np.ndarray, av.VideoStream]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        facts = (stream.codec_context.name, float(stream.average_rate), stream.width, stream.height)
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)]), facts


def test_every_reference_has_its_file_and_no_other():
    assert {p.stem for p in CLIPS.glob("*.mp4")} == set(REFERENCES)
    assert len(REFERENCES) >= 8


@pytest.mark.parametrize("name", REFERENCES)
def test_committed_clip_shows_what_is_declared(name):
    frames, (codec, fps, width, height) = decoded(CLIPS / f"{name}.mp4")
    assert (codec, fps, width, height, len(frames)) == ("h264", 8.0, 256, 256, 8)
    look, motion = REFERENCES[name]
    seen = judge(frames)
    assert (seen.color, seen.shape, seen.background, seen.pattern) == (
        look.color,
        look.shape,
        look.background,
        look.pattern,
    )
    assert seen.visible == 1
    np.testing.assert_allclose(seen.track, object_path(name), atol=0.8)
    if look.pattern == "checkered":
        assert camera_error(true_flow(motion), camera_flow(frames)) < 0.1


def test_colours_survive_compression():
    frames, _ = decoded(CLIPS / "diagonal.mp4")
    inner = np.abs(frames[:, 2::4, 2::4].astype(int) - frames_of("diagonal"))
    assert np.median(inner) <= 3
    assert inner.mean() < 6


def test_rendering_gives_the_committed_clips(tmp_path):
    for path in write_references(tmp_path):
        difference = np.abs(decoded(path)[0].astype(int) - decoded(CLIPS / path.name)[0])
        assert difference.mean() < 1, "equal up to the encoder's version"


def test_looks_and_paths_differ():
    looks = [look.prompt for look, _ in REFERENCES.values()]
    assert len(set(looks)) == len(looks)
    moving = [n for n, (_, m) in REFERENCES.items() if m.kind in ("linear", "arc", "circle", "bounce")]
    for a, b in combinations(moving, 2):
        assert trajectory_correlation(object_path(a), object_path(b)) < 0.9


def test_real_clip_is_not_fetched_twice(tmp_path):
    (tmp_path / "bikes.mp4").write_bytes(b"already here")
    assert real_clip(tmp_path).read_bytes() == b"already here"
