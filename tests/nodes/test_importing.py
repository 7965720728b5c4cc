"""Files of the paper's release, on the graph."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.motion_embedding.authors_media import tables, write_noise

pytestmark = pytest.mark.host

LAYERS = {
    "down_blocks.0.temp_attentions.0.transformer_blocks.0": (8 * 6, 16),
    "up_blocks.1.temp_attentions.0.transformer_blocks.0": (8 * 6, 16),
}


@pytest.fixture
def folder(rig) -> Iterator[Path]:
    import folder_paths

    rig.part("nodes.importing")
    folder = Path(folder_paths.get_folder_paths("motion_embeddings")[0], "authors")
    folder.mkdir(parents=True)
    torch.save(tables(LAYERS, frames=4), folder / "motion_embed.pt")
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@pytest.fixture
def importing(rig, folder) -> ModuleType:
    return rig.part("nodes.importing")


FILE = str(Path("authors", "motion_embed.pt"))
NOISE = str(Path("authors", "cached_0.pt"))


def test_import_then_save_then_load(rig, importing) -> None:
    nodes = rig.part("nodes.embedding")
    with torch.inference_mode():
        motion = importing.ImportMotionEmbedding.execute(FILE, 48, 64, 0, "object or hybrid").result[0]
        assert (motion.frames, motion.height, motion.width, motion.debias.value) == (4, 8, 6, "difference")
        path = Path(nodes.SaveMotionEmbedding.execute(motion, "imported", "full").result[0])
        loaded = nodes.LoadMotionEmbedding.execute(path.name).result[0]
    assert loaded.training["imported_from"] == "motion_embed.pt"
    for name, layer in motion.layers.items():
        assert all(torch.equal(loaded.layers[name].value[a], v) for a, v in layer.value.items())


def test_an_imported_motion_moves_a_model(rig, importing) -> None:
    layout = {a.layer: a for a in rig.part("motion_embedding.backbones").find_backbone(rig.model.model)[1]}
    assert all(layout[name].width == width for name, (_, width) in LAYERS.items())
    motion = importing.ImportMotionEmbedding.execute(FILE, 48, 64, 0, "object or hybrid").result[0]
    moved = rig.sample(rig.part("motion_embedding.injection").apply_embedding(rig.model, motion))
    assert (moved - rig.sample()).abs().max() > 1e-3


def test_kind_frames_and_noise(importing, folder) -> None:
    noise = write_noise(folder / "cached_0.pt", (12, 4, 8, 6))
    motion = importing.ImportMotionEmbedding.execute(FILE, 0, 0, 4, "camera", NOISE).result[0]
    assert motion.debias.value == "camera" and torch.equal(motion.inverted_noise, noise)
    assert (motion.frames, motion.height, motion.width) == (4, 8, 6)


def test_the_list_shows_pt_files_and_the_loader_does_not(rig, importing) -> None:
    import folder_paths

    options = {i.id: i.options for i in importing.ImportMotionEmbedding.define_schema().inputs if i.id == "file"}
    assert FILE in options["file"]
    assert FILE not in folder_paths.get_filename_list("motion_embeddings")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../secret.pt"}, r"file: there is no ../secret.pt in models/motion_embeddings"),
        ({"file": "/etc/passwd"}, "file: there is no /etc/passwd"),
        ({"inverted_noise": "gone.pt"}, "inverted_noise: there is no gone.pt"),
        ({"inverted_noise": FILE}, "inverted_noise: motion_embed.pt holds no inversion_noise"),
        ({"width": 512, "height": 512}, "width: the file does not fit a clip of 512x512 pixels"),
        ({"width": 0, "height": 0}, "width: the file does not tell the size"),
    ],
)
def test_bad_input_is_refused_before_the_run(importing, change, message) -> None:
    inputs = {"file": FILE, "width": 48, "height": 64} | change
    assert message in importing.ImportMotionEmbedding.validate_inputs(**inputs)


def test_good_and_wired_input_goes_to_the_run(importing) -> None:
    node = importing.ImportMotionEmbedding
    assert node.validate_inputs(FILE, 48, 64) is True
    assert node.validate_inputs(FILE, None, 64) is True


def test_a_changed_file_is_read_again(importing, folder) -> None:
    def fingerprint(noise: str = "none") -> str:
        return importing.ImportMotionEmbedding.fingerprint_inputs(FILE, 48, 64, 0, "camera", noise)

    before = fingerprint()
    assert fingerprint() == before
    os.utime(folder / "motion_embed.pt", ns=(1, 1))
    changed = fingerprint()
    write_noise(folder / "cached_0.pt", (12, 4, 8, 6))
    assert len({before, changed, fingerprint(NOISE)}) == 3


def test_save_takes_the_noise_of_a_latent(rig, importing) -> None:
    nodes = rig.part("nodes.embedding")
    motion = importing.ImportMotionEmbedding.execute(FILE, 48, 64, 0, "camera").result[0]
    noise = torch.randn(2, 12, 4, 8, 6)
    latent = {"samples": torch.zeros(2, 12, 4, 8, 6), "inverted_noise": noise}
    path = Path(nodes.SaveMotionEmbedding.execute(motion, "with_noise", "full", latent).result[0])
    assert torch.equal(nodes.LoadMotionEmbedding.execute(path.name).result[0].inverted_noise, noise[0])
    error = rig.part("motion_embedding.errors").InputError
    with pytest.raises(error, match="inverted_noise: this latent carries none"):
        nodes.SaveMotionEmbedding.execute(motion, "without", "full", {"samples": noise})


def test_save_says_when_the_noise_is_of_another_clip(rig, importing) -> None:
    nodes = rig.part("nodes.embedding")
    motion = importing.ImportMotionEmbedding.execute(FILE, 48, 64, 0, "object or hybrid").result[0]
    for shape, warned in (((1, 12, 4, 8, 6), False), ((1, 12, 5, 8, 6), True)):
        latent = {"samples": torch.zeros(shape), "inverted_noise": torch.randn(shape)}
        shown = nodes.SaveMotionEmbedding.execute(motion, "noise_of_another", "half", latent).ui.value
        assert ("of another clip than the motion: 5 frames, latent 6x8" in shown) == warned
