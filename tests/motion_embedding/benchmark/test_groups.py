"""Classes of clips follow from how they move; masks, where there are some, say where the object is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motion_embedding.benchmark.groups import grouped_by_complexity
from motion_embedding.benchmark.items import Clip
from motion_embedding.benchmark.prepared import Reference
from motion_embedding.benchmark.reference import object_path, prepare_reference
from motion_embedding.video import VideoRequest

FORM = VideoRequest(frames=8, width=128, height=96)
TIME = np.linspace(0, 1, 8)
TURN = 2 * np.pi * TIME
PATHS = {
    "circle": np.stack([64 + 22 * np.cos(TURN), 48 + 22 * np.sin(TURN)], 1),
    "straight": np.stack([30 + 60 * TIME, 30 + 30 * TIME], 1),
    "bend": np.stack([35 + 50 * TIME, 70 - 45 * TIME**2], 1),
}


def draw(folder: Path, path: np.ndarray, masks: bool) -> Clip:
    """A textured square whose middle follows ``path`` over a textured ground at rest, as DAVIS lays clips out."""
    noise = np.random.default_rng(0)
    ground = noise.integers(0, 60, (96, 128, 3), dtype=np.uint8)
    texture = noise.integers(120, 256, (25, 25, 3), dtype=np.uint8)
    for name in ("frames", "masks"):
        (folder / name).mkdir(parents=True)
    for index, (x, y) in enumerate(np.rint(path).astype(int)):
        frame, mask = ground.copy(), np.zeros((96, 128), np.uint8)
        frame[y - 12 : y + 13, x - 12 : x + 13] = texture
        mask[y - 12 : y + 13, x - 12 : x + 13] = 1
        Image.fromarray(frame).save(folder / "frames" / f"{index:05d}.png")
        picture = Image.fromarray(mask).convert("P")
        picture.putpalette([0, 0, 0, 128, 0, 0])
        picture.save(folder / "masks" / f"{index:05d}.png")
    return Clip(folder.name, folder / "frames", fps=8, masks=folder / "masks" if masks else None)


def classes(references: list[Reference]) -> dict[str, str]:
    return {reference.clip.name: reference.clip.group for reference in grouped_by_complexity(references, FORM)}


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "tracks alone"])
def test_clips_are_classed_by_the_complexity_of_their_motion(tmp_path: Path, masks: bool) -> None:
    clips = [draw(tmp_path / name, path, masks) for name, path in PATHS.items()]
    references = [Reference(clip, tmp_path / f"{clip.name}.mp4", "digest") for clip in clips]
    for reference in references:
        prepare_reference(reference.clip, FORM, reference.file)
    assert classes(references) == {"straight": "easy", "bend": "medium", "circle": "hard"}
    broken = [replace(r, digest="", error="no") if r.clip.name == "bend" else r for r in references]
    assert classes(broken) == {"straight": "easy", "bend": "", "circle": "medium"}


def test_clips_that_cannot_be_prepared_are_in_no_class() -> None:
    assert classes([Reference(Clip("a", Path("a.mp4"), group="old"), Path("a.mp4"), error="no")]) == {"a": ""}
    assert classes([]) == {}


def test_the_objects_path_is_that_of_its_mask_in_the_prepared_frames(tmp_path: Path) -> None:
    clip = draw(tmp_path / "bend", PATHS["bend"], masks=True)
    np.testing.assert_allclose(object_path(clip, FORM), np.rint(PATHS["bend"]), atol=0.01)
    half = VideoRequest(frames=4, stride=2, width=64, height=48)
    np.testing.assert_allclose(object_path(clip, half), (np.rint(PATHS["bend"][::2]) - 0.5) / 2, atol=0.3)


def test_a_frame_without_its_object_is_unknown_and_missing_masks_are_none(tmp_path: Path) -> None:
    clip = draw(tmp_path / "bend", PATHS["bend"], masks=True)
    Image.new("P", (128, 96)).save(clip.masks / "00003.png")
    path = object_path(clip, FORM)
    assert np.isnan(path[3]).all()
    assert np.isfinite(np.delete(path, 3, axis=0)).all()
    (clip.masks / "00007.png").unlink()
    assert object_path(clip, FORM) is None
    for file in list(clip.masks.iterdir())[1:]:
        file.unlink()
    assert object_path(clip, FORM) is None
    assert object_path(Clip("a", clip.source, fps=8), FORM) is None
