"""Files of the paper's release: what is taken from them, what is asked, what is refused."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from motion_embedding import files
from motion_embedding.authors_file import check_authors_file, read_authors_file
from motion_embedding.errors import InputError
from motion_embedding.frame_size import fitting_sizes, grids_of
from tests.motion_embedding.authors_media import DOWN, UP, tables, write_noise

PAPER = {DOWN: (180, 3), UP: (180, 3)}


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "motion_embed.pt"


def test_tables_become_rows_on_a_grid(file) -> None:
    content = tables(PAPER)
    torch.save(content, file)
    motion = read_authors_file(file, height=320, width=576)
    assert (motion.frames, motion.height, motion.width, motion.backbone) == (24, 40, 72, "unet3d")
    assert motion.debias.value == "difference" and motion.inverted_noise is None
    assert dict(motion.training) == {"imported_from": "motion_embed.pt"}
    assert motion.layers.keys() == {DOWN, UP}
    for name, layer in motion.layers.items():
        assert torch.equal(layer.query_key, content[f"{name}.pos_embed"][0, :24])
        assert layer.value.keys() == {"attn1", "attn2"}
        for attention, value in layer.value.items():
            assert value.shape == (10, 18, 24, 3) and value.dtype == torch.float32 and not value.requires_grad
            # Row-major: position 37 is the second of the third row of 18.
            assert torch.equal(value[2, 1], content[f"{name}.{attention}.vSpatial"][37, :24])


def test_round_trip_through_our_file(file, tmp_path) -> None:
    torch.save(tables(PAPER), file)
    motion = read_authors_file(file, 320, 576)
    files.save(motion, tmp_path / "ours.safetensors", torch.float32)
    loaded = files.load(tmp_path / "ours.safetensors")
    assert loaded.fingerprint == motion.fingerprint and loaded.debias == motion.debias
    assert torch.equal(loaded.layers[UP].value["attn2"], motion.layers[UP].value["attn2"])


class TestTrainedLength:
    @pytest.mark.parametrize(("frames", "rows"), [(24, 32), (8, 32), (32, 32), (1, 32), (5, 7), (40, 64)])
    def test_is_found_in_the_zero_rows_behind_it(self, file, frames, rows) -> None:
        torch.save(tables(PAPER, frames, rows=rows), file)
        assert read_authors_file(file, 320, 576).frames == frames

    def test_is_not_cut_by_a_zero_row_in_the_middle(self, file) -> None:
        content = tables(PAPER, 24)
        with torch.no_grad():
            for table in content.values():
                table[:, 10] = 0
        torch.save(content, file)
        motion = read_authors_file(file, 320, 576)
        assert motion.frames == 24 and not motion.layers[UP].query_key[10].any()

    def test_is_that_of_the_longest_table(self, file) -> None:
        content = tables(PAPER, 24)
        with torch.no_grad():
            content[f"{DOWN}.pos_embed"][:, 12:] = 0
            content[f"{UP}.attn1.vSpatial"][:, :, :] = 0
        torch.save(content, file)
        assert read_authors_file(file, 320, 576).frames == 24

    def test_can_be_said(self, file) -> None:
        torch.save(tables(PAPER, 24), file)
        assert read_authors_file(file, 320, 576, frames=16).layers[UP].query_key.shape == (16, 3)
        with pytest.raises(InputError, match=r"^frames: the file has only 32 rows"):
            read_authors_file(file, 320, 576, frames=33)

    def test_nothing_trained(self, file) -> None:
        torch.save(tables(PAPER, 0), file)
        with pytest.raises(InputError, match="nothing was trained"):
            read_authors_file(file, 320, 576)


class TestStorage:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_any_float_type(self, file, dtype) -> None:
        content = tables(PAPER, dtype=dtype)
        torch.save(content, file)
        rows = read_authors_file(file, 320, 576).layers[UP].query_key
        assert rows.dtype == torch.float32 and torch.equal(rows, content[f"{UP}.pos_embed"][0, :24].float())

    def test_plain_tensors_and_the_old_format(self, file) -> None:
        content = {key: table.detach() for key, table in tables(PAPER).items()}
        torch.save(content, file, _use_new_zipfile_serialization=False)
        assert not zipfile.is_zipfile(file)
        assert torch.equal(read_authors_file(file, 320, 576).layers[UP].query_key, content[f"{UP}.pos_embed"][0, :24])

    def test_saved_on_a_graphics_card(self, file, monkeypatch) -> None:
        monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(tables(PAPER), file)
        monkeypatch.undo()
        assert b"cuda:0" in zipfile.ZipFile(file).read("motion_embed/data.pkl")
        assert read_authors_file(file, 320, 576).layers[UP].query_key.device.type == "cpu"

    @pytest.mark.parametrize("prefix", ["unet.", "module.", "module.unet."])
    def test_wrapped_names(self, file, prefix) -> None:
        torch.save({prefix + key: table for key, table in tables(PAPER).items()}, file)
        assert read_authors_file(file, 320, 576).layers.keys() == {DOWN, UP}

    def test_the_result_does_not_need_the_file(self, file) -> None:
        torch.save(tables(PAPER), file)
        motion = read_authors_file(file, 320, 576)
        expected = motion.layers[UP].value["attn1"].clone()
        with file.open("r+b") as handle:  # a mapped file would show through
            handle.write(b"\0" * file.stat().st_size)
        assert torch.equal(motion.layers[UP].value["attn1"], expected)


class TestPartialFiles:
    def test_camera_only_needs_no_size(self, file) -> None:
        torch.save(tables(PAPER, values=False), file)
        motion = read_authors_file(file)
        assert motion.frames == 24 and all(not layer.value for layer in motion.layers.values())
        assert read_authors_file(file, 320, 576).height == 40
        half_told = read_authors_file(file, 320)
        assert (half_told.height, half_told.width) == (0, 0)

    def test_values_of_one_level_only(self, file) -> None:
        content = tables(PAPER)
        del content[f"{DOWN}.attn1.vSpatial"], content[f"{DOWN}.attn2.vSpatial"]
        torch.save(content, file)
        motion = read_authors_file(file, 320, 576)
        assert not motion.layers[DOWN].value and motion.layers[UP].value.keys() == {"attn1", "attn2"}

    def test_values_without_query_keys(self, file) -> None:
        content = tables(PAPER)
        torch.save({key: table for key, table in content.items() if "vSpatial" in key}, file)
        layer = read_authors_file(file, 320, 576).layers[UP]
        assert layer.query_key.shape == (24, 3) and not layer.query_key.any()
        assert torch.equal(layer.value["attn1"][0, 0], content[f"{UP}.attn1.vSpatial"][0, :24])


class TestSize:
    LAYERS = {
        "down_blocks.0.temp_attentions.0.transformer_blocks.0": ((25, 33), 2),
        "down_blocks.1.temp_attentions.0.transformer_blocks.0": ((13, 17), 2),
        "down_blocks.2.temp_attentions.0.transformer_blocks.0": ((7, 9), 2),
        "mid_block.temp_attentions.0.transformer_blocks.0": ((4, 5), 2),
        "up_blocks.1.temp_attentions.0.transformer_blocks.0": ((7, 9), 2),
        "up_blocks.2.temp_attentions.0.transformer_blocks.0": ((13, 17), 2),
        "up_blocks.3.temp_attentions.0.transformer_blocks.0": ((25, 33), 2),
    }

    def test_odd_sizes_at_every_level(self, file) -> None:
        torch.save(tables({name: (h * w, c) for name, ((h, w), c) in self.LAYERS.items()}, 4), file)
        motion = read_authors_file(file, height=200, width=264)
        grids = {name: layer.value["attn2"].shape[:2] for name, layer in motion.layers.items()}
        assert grids == {name: grid for name, (grid, _) in self.LAYERS.items()}

    def test_one_that_does_not_fit_is_refused_with_some_that_do(self, file) -> None:
        torch.save(tables(PAPER), file)
        for read in (read_authors_file, check_authors_file):
            with pytest.raises(InputError, match=r"^width: .*512x512 pixels.*180 positions.*576x320") as caught:
                read(file, 512, 512)
            assert "320x576" in caught.value.mend and "480x384" in caught.value.mend
        with pytest.raises(InputError, match=r"does not tell the size: its layers have 180 positions.*576x320"):
            read_authors_file(file)

    def test_suggestions_explain_every_level(self) -> None:
        layers = {"down_blocks.1.temp": 20 * 36, "down_blocks.2.temp": 180, "up_blocks.1.temp": 180}
        assert fitting_sizes(layers)[0] == (40, 72)
        for size in fitting_sizes(layers):
            assert grids_of(layers, size)["down_blocks.1.temp"] == (-(-size[0] // 2), -(-size[1] // 2))

    def test_numbers_no_size_explains(self, file) -> None:
        torch.save(tables({DOWN: (180, 3), UP: (181, 3)}), file)
        with pytest.raises(InputError, match=r"180, 181 positions.*damaged"):
            read_authors_file(file, 320, 576)

    def test_a_unet_of_two_levels(self) -> None:
        layers = {"down_blocks.1.temp": 12, "up_blocks.0.temp": 12, "up_blocks.1.temp": 48}
        assert grids_of(layers, (8, 6)) == {
            "down_blocks.1.temp": (4, 3),
            "up_blocks.0.temp": (4, 3),
            "up_blocks.1.temp": (8, 6),
        }


class TestNoise:
    def test_is_kept_as_it_is_and_tells_the_size(self, file, tmp_path) -> None:
        torch.save(tables(PAPER), file)
        noise = write_noise(tmp_path / "cached_0.pt")
        motion = read_authors_file(file, noise=tmp_path / "cached_0.pt")
        assert torch.equal(motion.inverted_noise, noise)
        assert (motion.height, motion.width) == (40, 72)
        assert read_authors_file(file, 320, 576, noise=tmp_path / "cached_0.pt").width == 72

    def test_of_another_clip(self, file, tmp_path) -> None:
        torch.save(tables(PAPER), file)
        write_noise(tmp_path / "cached_0.pt", (4, 24, 32, 32))
        with pytest.raises(InputError, match=r"noise is of a clip of 256x256 pixels, not 576x320"):
            check_authors_file(file, 320, 576, tmp_path / "cached_0.pt")
        write_noise(tmp_path / "cached_0.pt", (4, 16, 40, 72))
        with pytest.raises(InputError, match=r"^inverted_noise: it has 16 frames, but the embedding has 24"):
            read_authors_file(file, 320, 576, noise=tmp_path / "cached_0.pt")

    def test_of_no_noise(self, file) -> None:
        torch.save(tables(PAPER), file)
        with pytest.raises(InputError, match=r"^inverted_noise: motion_embed\.pt holds no inversion_noise"):
            read_authors_file(file, 320, 576, noise=file)


class _Touch:
    """What a hostile pickle looks like: reading it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


class TestRefused:
    @pytest.mark.filterwarnings("ignore:Detected pickle protocol")
    def test_code_is_not_run(self, file, tmp_path) -> None:
        proof = tmp_path / "ran"
        for write in (
            lambda content: torch.save(content, file),
            lambda content: file.write_bytes(pickle.dumps(content)),
        ):
            write({f"{UP}.pos_embed": _Touch(proof)})
            with pytest.raises(InputError, match=r"^file: motion_embed\.pt cannot be read as plain tensors"):
                read_authors_file(file, 320, 576)
            assert not proof.exists()
        pickle.loads(file.read_bytes())
        assert proof.exists()  # it would have run

    @pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x05\x06" + b"\0" * 18, b"\x80\x02}q\x00."])
    def test_other_bytes(self, file, content) -> None:
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"^file: motion_embed\.pt"):
            check_authors_file(file, 320, 576)

    def test_half_a_file(self, file) -> None:
        torch.save(tables(PAPER), file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(InputError, match="cannot be read"):
            read_authors_file(file, 320, 576)

    @pytest.mark.parametrize(
        ("content", "cause"),
        [
            ({}, "holds no named tensors"),
            ([torch.zeros(1, 2, 3)], "holds no named tensors"),
            ({"conv.weight": torch.zeros(1, 2, 3)}, "holds 'conv.weight'"),
            ({"down_blocks.x.temp_attentions.0.pos_embed": torch.zeros(1, 2, 3)}, "holds 'down_blocks.x"),
            ({f"{UP}.pos_embed": torch.zeros(2, 3)}, "has not the shape"),
            ({f"{UP}.pos_embed": torch.zeros(1, 2, 3, dtype=torch.int32)}, "has not the shape"),
            ({f"{UP}.pos_embed": torch.zeros(1, 1, 1).expand(1, 10**9, 10**9)}, "has not the shape"),
            ({f"{UP}.pos_embed": torch.zeros(1, 2, 3, device="meta")}, "has not the shape"),
            ({f"{UP}.pos_embed": torch.zeros(2, 2, 3)}, "differ in shape"),
            ({f"{UP}.pos_embed": torch.zeros(1, 2, 3), f"{DOWN}.pos_embed": torch.zeros(1, 4, 3)}, "number of rows"),
            (
                {f"{UP}.attn1.vSpatial": torch.zeros(6, 2, 3), f"{UP}.attn2.vSpatial": torch.zeros(4, 2, 3)},
                "differ in shape",
            ),
        ],
        ids=str,
    )
    def test_tensors_of_another_kind(self, file, content, cause) -> None:
        torch.save(content, file)
        with pytest.raises(InputError, match=f"no motion embedding of the paper's release: .*{cause}"):
            check_authors_file(file, 320, 576)

    def test_failed_training(self, file) -> None:
        content = tables(PAPER)
        with torch.no_grad():
            content[f"{UP}.attn2.vSpatial"][3, 3] = float("nan")
        torch.save(content, file)
        with pytest.raises(InputError, match=f"{UP} holds nan or infinity"):
            read_authors_file(file, 320, 576)

    def test_no_file(self, file) -> None:
        with pytest.raises(InputError, match="does not exist"):
            read_authors_file(file, 320, 576)
