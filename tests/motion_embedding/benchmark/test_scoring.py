from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from motion_embedding.benchmark import instruments, scorer
from motion_embedding.benchmark.columns import SCORE_KEYS
from motion_embedding.benchmark.instruments import Instruments, fingerprint, read_frames
from motion_embedding.benchmark.manifest import MetricSettings
from motion_embedding.benchmark.scored import read_benchmark, read_rows
from motion_embedding.benchmark.scorer import Scorer
from motion_embedding.benchmark.scoring import score_folder
from motion_embedding.errors import InputError
from motion_embedding.metrics import encoders
from motion_embedding.metrics.transfer import Evidence
from tests.motion_embedding.benchmark.fake_results import DRIFTING, FAITHFUL, Colours, fail, write_results

KINDS = (FAITHFUL, DRIFTING)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two methods on three clips, one prompt; unscored."""
    return write_results(tmp_path_factory.mktemp("generated"), KINDS, clips=3, prompts=1)


@pytest.fixture(scope="module")
def scored(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(generated, tmp_path_factory.mktemp("scored"), dirs_exist_ok=True)
    score_folder(folder)
    return folder


@pytest.fixture
def folder(scored: Path, tmp_path: Path) -> Path:
    """A scored folder to spoil."""
    return shutil.copytree(scored, tmp_path / "results")


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the videos that are tracked from here on."""
    names: list[str] = []
    gather = Instruments.gather

    def noted(self: Instruments, video: Path):
        names.append(video.name)
        return gather(self, video)

    monkeypatch.setattr(Instruments, "gather", noted)
    return names


def scores(folder: Path) -> dict[str, dict]:
    """Every score by its item."""
    return {id: json.loads((folder / "scores" / f"{id}.json").read_text()) for id in read_benchmark(folder).items}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_finished_item_gets_every_score(scored):
    rows = read_rows(read_benchmark(scored))
    assert len(rows) == 6
    for row in rows:
        assert row.status == "scored"
        assert set(SCORE_KEYS) <= set(row.values)
        assert row.values["motion_fidelity_ceiling"] == pytest.approx(1)
        # No encoder was given.
        assert row.values["text_similarity"] is row.values["appearance_leakage"] is None
    means = {
        method: np.mean([row.values["motion_fidelity"] for row in rows if row.method == method]) for method in KINDS
    }
    assert means[FAITHFUL] > means[DRIFTING] + 0.1


def test_tables_hold_one_row_per_item_and_the_means_of_methods_and_groups(scored):
    table = list(csv.DictReader((scored / "scores.csv").open(encoding="utf-8")))
    assert [row["id"] for row in table] == list(read_benchmark(scored).items)
    summary = json.loads((scored / "summary.json").read_text())
    assert (summary["scored"], summary["failed"], summary["missing"]) == (6, 0, 0)
    mine = [float(row["motion_fidelity"]) for row in table if row["method"] == FAITHFUL]
    assert summary["methods"][FAITHFUL]["motion_fidelity"]["mean"] == pytest.approx(sum(mine) / 3)
    assert summary["methods"][FAITHFUL]["motion_fidelity"]["clips"] == 3
    hard = [float(row["motion_fidelity"]) for row in table if row["method"] == DRIFTING and row["group"] == "hard"]
    found = summary["groups"]["hard"][DRIFTING]["motion_fidelity"]
    assert (found["mean"], found["n"], found["low"]) == (pytest.approx(hard[0]), 1, None)
    assert summary["methods"][FAITHFUL]["text_similarity"] is None


def test_tracks_are_kept_for_drawing_in_tenths_of_a_pixel(scored):
    benchmark = read_benchmark(scored)
    drawn = json.loads((scored / "scores" / f"{benchmark.items[0]}.tracks.json").read_text())
    assert (drawn["width"], drawn["height"]) == (64, 64)
    assert 0 < len(drawn["tracks"]) <= 64
    assert all(len(track) == 8 for track in drawn["tracks"])
    points = [point for track in drawn["tracks"] for point in track if point is not None]
    assert all(type(tenths) is int and -5 <= tenths <= 640 for point in points for tenths in point)
    # Some pixels, not tenths of them.
    assert max(tenths for point in points for tenths in point) > 100
    assert len(list((scored / "scores" / "references").glob("*.tracks.json"))) == 3


def test_a_second_time_nothing_is_measured_and_nothing_changes(folder, looked_at):
    before = contents(folder)
    score_folder(folder)
    assert looked_at == []
    assert contents(folder) == before


def test_a_stopped_run_keeps_what_it_has_and_goes_on_there(generated, scored, tmp_path, looked_at):
    folder = shutil.copytree(generated, tmp_path / "results")

    def stop_after_two(done: int, total: int) -> None:
        assert total == 6
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_folder(folder, on_progress=stop_after_two)
    written = sorted(path for path in (folder / "scores").glob("*.json") if "tracks" not in path.name)
    assert len(written) == 2
    looked_at.clear()
    progress: list[tuple[int, int]] = []
    score_folder(folder, on_progress=lambda *step: progress.append(step))
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not {path.stem + ".mp4" for path in written} & set(looked_at)
    assert contents(folder) == contents(scored)


def test_a_reference_is_tracked_once_however_many_clips_there_are(tmp_path, looked_at, monkeypatch):
    tracks = np.cumsum(np.ones((4, 8, 2)), axis=1)
    monkeypatch.setattr(instruments, "gather", lambda frames, *_: Evidence(frames, tracks))
    kept = []
    measure = scorer.measure
    monkeypatch.setattr(scorer, "measure", lambda *args: kept.append((args[0], *args[3])) or measure(*args))
    folder = write_results(tmp_path, (FAITHFUL,), clips=11, prompts=1, seeds=(1, 2), groups=())
    score_folder(folder)
    references = [name for name in looked_at if (folder / "clips" / name).is_file()]
    assert sorted(references) == sorted({f"{index}.mp4" for index in range(11)})
    assert len(looked_at) == 11 + 22
    assert {len(reference.frames) for references in kept for reference in references} == {1}, "pictures stay in memory"


def test_unrelated_clips_are_at_most_eight_of_the_same_few_and_never_the_clip_itself(tmp_path):
    benchmark = read_benchmark(_names_only(tmp_path, 20))
    many = Scorer(benchmark, MetricSettings())
    chosen = {name: many.unrelated(name) for name in benchmark.references}
    assert all(len(others) == 8 and name not in others for name, others in chosen.items())
    assert len({other for others in chosen.values() for other in others}) == 9
    few = Scorer(read_benchmark(_names_only(tmp_path, 3)), MetricSettings())
    assert few.unrelated("1") == ["0", "2"]
    assert Scorer(read_benchmark(_names_only(tmp_path, 1)), MetricSettings()).unrelated("0") == []


def test_another_video_or_a_broken_score_is_scored_again_and_no_other(folder, looked_at):
    first, second, *_ = read_benchmark(folder).items
    before = scores(folder)
    record = folder / "items" / f"{first}.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sha256": "another"}))
    (folder / "scores" / f"{second}.json").write_text("{half a sco")
    score_folder(folder)
    assert {name for name in looked_at if not (folder / "clips" / name).is_file()} == {f"{first}.mp4", f"{second}.mp4"}
    after = scores(folder)
    assert after[second] == before[second]
    assert after[first]["settings"] != before[first]["settings"]


def test_other_settings_score_everything_again_with_the_encoder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "load_encoder", lambda path: Colours())
    (tmp_path / "clip").mkdir()
    before = scores(folder)
    score_folder(folder, MetricSettings(clip=tmp_path / "clip"))
    after = scores(folder)
    for id, score in after.items():
        assert score["settings"] != before[id]["settings"]
        assert score["motion_fidelity"] == before[id]["motion_fidelity"]
        assert -1 <= score["text_similarity"] <= 1
        assert score["appearance_leakage"] is not None


def test_an_encoder_that_reads_no_text_leaves_only_text_out(folder, tmp_path, monkeypatch):
    class Silent(Colours):
        def texts(self, prompts):
            raise NotImplementedError

    monkeypatch.setattr(encoders, "load_encoder", lambda path: Silent())
    score_folder(folder, MetricSettings(clip=tmp_path))
    assert all(score["text_similarity"] is None for score in scores(folder).values())
    assert all(score["temporal_consistency"] is not None for score in scores(folder).values())


def test_a_result_that_cannot_be_read_has_its_error_as_score_and_the_rest_goes_on(folder):
    broken, *others = read_benchmark(folder).items
    video = folder / "items" / f"{broken}.mp4"
    whole = video.read_bytes()
    video.write_bytes(b"no video")
    shutil.rmtree(folder / "scores")
    score_folder(folder)
    after = scores(folder)
    assert "not a video" in after[broken]["error"]
    assert "motion_fidelity" not in after[broken]
    assert all("error" not in after[id] for id in others)
    assert [row.status for row in read_rows(read_benchmark(folder))][:2] == ["unreadable", "scored"]
    # Errors are tried again, since what caused them may have gone.
    video.write_bytes(whole)
    score_folder(folder)
    assert "error" not in scores(folder)[broken]


def test_a_reference_that_cannot_be_read_is_the_error_of_its_items_only(folder):
    (folder / "clips" / "1.mp4").unlink()
    score_folder(folder)
    for row in read_rows(read_benchmark(folder)):
        assert row.status == ("unreadable" if row.clip.endswith("1") else "scored"), row
        assert ("no file" in row.error) == row.clip.endswith("1")


def test_failed_and_missing_items_are_counted_and_not_scored(folder):
    first, second, *_ = read_benchmark(folder).items
    fail(folder, first, "out of memory")
    (folder / "items" / f"{second}.json").unlink()
    score_folder(folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["items"], summary["scored"], summary["failed"], summary["missing"]) == (6, 4, 1, 1)
    table = {row["id"]: row for row in csv.DictReader((folder / "scores.csv").open(encoding="utf-8"))}
    assert (table[first]["status"], table[first]["error"]) == ("failed", "out of memory")
    assert second not in table


def test_an_encoder_that_cannot_be_loaded_stops_before_any_score_is_written(generated, tmp_path):
    folder = shutil.copytree(generated, tmp_path / "results")
    with pytest.raises(InputError):
        score_folder(folder, MetricSettings(clip=tmp_path / "nowhere"))
    assert not (folder / "scores").exists()


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"benchmark\.json"):
        score_folder(tmp_path)


def test_the_fingerprint_is_of_settings_files_and_code_and_not_of_where_they_lie(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    here = fingerprint(MetricSettings(clip=tmp_path / "here"))
    assert here == fingerprint(MetricSettings(clip=tmp_path / "there"))
    assert here != fingerprint(MetricSettings(appearance=tmp_path / "here"))
    (tmp_path / "there" / "config.json").write_text("{ }")
    assert here != fingerprint(MetricSettings(clip=tmp_path / "there"))
    (tmp_path / "code.py").write_text("changed = True")
    monkeypatch.setattr(instruments, "_METRICS", tmp_path)
    assert here != fingerprint(MetricSettings(clip=tmp_path / "here"))


def test_frames_are_read_as_written(scored):
    frames, rate = read_frames(scored / "clips" / "0.mp4")
    assert (frames.shape, frames.dtype, rate) == ((8, 64, 64, 3), np.uint8, 8)


def test_what_stays_empty_for_want_of_an_encoder_is_said_once(generated, tmp_path, caplog):
    folder = shutil.copytree(generated, tmp_path / "results")
    score_folder(folder)
    assert [record.message for record in caplog.records].count(
        "No CLIP is named: text similarity and temporal consistency stay empty, and so does appearance leakage."
    ) == 1


def _names_only(folder: Path, clips: int) -> Path:
    """A benchmark of so many clips and nothing else."""
    facts = {"format": 1, "name": "names", "methods": [], "items": []}
    facts["clips"] = {str(index): {"file": f"clips/{index}.mp4"} for index in range(clips)}
    (folder / "benchmark.json").write_text(json.dumps(facts))
    return folder
