"""The results folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest

from motion_embedding.benchmark.failure import BenchmarkError
from motion_embedding.benchmark.items import Clip, Item, Method
from motion_embedding.benchmark.store import Results
from motion_embedding.benchmark.work import Outcome
from motion_embedding.video import VideoRequest

ITEM = Item(Method("a method"), Clip("circle", None, group="easy"), "a red star", 7, 1, VideoRequest(), "digest")
MADE = Outcome("id-1", "worker-1", 12.3456, b"a video", ".webm")
FAILED = Outcome("id-1", "worker-1", 3.0, error="no such node")


def everything(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def results(tmp_path):
    with Results(tmp_path / "results") as opened:
        yield opened


def test_a_finished_item_is_its_video_and_its_record(results):
    results.record(ITEM, MADE, 2)
    assert everything(results.folder) == [".lock", "items/id-1.json", "items/id-1.webm"]
    assert (results.folder / "items" / "id-1.webm").read_bytes() == b"a video"
    record = json.loads((results.folder / "items" / "id-1.json").read_text())
    finished = record.pop("finished")
    assert finished.endswith("+00:00")
    assert record == {
        "id": "id-1",
        "method": "a method",
        "clip": "circle",
        "group": "easy",
        "prompt": "a red star",
        "seed": 7,
        "seconds": 12.346,
        "worker": "worker-1",
        "attempts": 2,
        "sha256": hashlib.sha256(b"a video").hexdigest(),
        "file": "items/id-1.webm",
        "bytes": 7,
    }
    assert results.finished("id-1") == {**record, "finished": finished}


def test_a_failure_is_kept_until_the_item_succeeds(results):
    results.record(ITEM, FAILED, 3)
    failure = json.loads((results.folder / "failed" / "id-1.json").read_text())
    assert (failure["error"], failure["attempts"], "sha256" in failure) == ("no such node", 3, False)
    assert results.finished("id-1") is None
    results.record(ITEM, MADE, 1)
    assert everything(results.folder) == [".lock", "items/id-1.json", "items/id-1.webm"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "id-1.webm").unlink(),
        lambda folder: (folder / "id-1.webm").write_bytes(b"half"),
        lambda folder: (folder / "id-1.json").unlink(),
        lambda folder: (folder / "id-1.json").write_bytes(b'{"id": "id'),
        lambda folder: (folder / "id-1.json").write_bytes(b'{"id": "id-1"}'),
        lambda folder: (folder / "id-1.json").write_bytes(b"[]"),
    ],
)
def test_an_item_without_its_whole_video_or_record_is_not_finished(results, harm):
    results.record(ITEM, MADE, 1)
    harm(results.folder / "items")
    assert results.finished("id-1") is None


def test_the_record_is_written_after_the_video(results, monkeypatch):
    order, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (order.append(target.name), replace(source, target)))
    results.record(ITEM, MADE, 1)
    assert order == ["id-1.webm", "id-1.json"]


def test_a_second_run_on_the_folder_is_refused_and_a_later_one_is_not(results):
    with pytest.raises(BenchmarkError, match="Another run is writing"), Results(results.folder):
        pass
    results.__exit__(None, None, None)
    with Results(results.folder):
        pass


def test_what_a_killed_run_left_half_written_is_removed_and_nothing_else(tmp_path):
    left = (".scores.csv.01234567.tmp", "items/.id-1.mp4.0a1b2c3d.tmp", "scores/references/.a.json.00000000.tmp")
    others = ("items/.mine.tmp", "items/id-2.mp4", "my/.own.0a1b2c3d.tmp", "notes.tmp")
    for name in (*left, *others):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with Results(tmp_path):
        assert everything(tmp_path) == sorted([".lock", *others])


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (errno.ENOSPC, "no room for 7 bytes"),
        (errno.EDQUOT, "no room for 7 bytes"),
        (errno.EFBIG, "no room for 7 bytes"),
        (errno.EIO, "cannot be written"),
    ],
)
def test_a_refusal_to_write_stops_the_run_and_leaves_nothing(results, monkeypatch, code, cause):
    def refuse(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(BenchmarkError, match=cause) as caught:
        results.record(ITEM, MADE, 1)
    assert str(results.folder) in str(caught.value)
    assert everything(results.folder) == [".lock"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BenchmarkError, match="file"), Results(tmp_path / "file" / "results"):
        pass
