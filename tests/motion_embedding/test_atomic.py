from __future__ import annotations

import stat

import pytest

from motion_embedding.atomic import replacing


def test_the_file_appears_when_complete(tmp_path) -> None:
    path = tmp_path / "new" / "notes.txt"
    with replacing(path) as unfinished:
        unfinished.write_text("half")
        assert not path.exists()
        unfinished.write_text("whole")
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["notes.txt"]


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(str(path)) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_others_may_read_it_as_any_new_file(tmp_path) -> None:
    (tmp_path / "ordinary").write_text("")
    with replacing(tmp_path / "file") as unfinished:
        unfinished.write_text("")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert len(modes) == 1


def test_two_writers_of_one_file_do_not_meet(tmp_path) -> None:
    with replacing(tmp_path / "file") as first, replacing(tmp_path / "file") as second:
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "file").read_text() == "1"
