"""What the training step is measured against takes the same step, and what is said of sizes is what the numbers say."""

from __future__ import annotations

import math
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import step_growth, step_on_paper, training_step
from benchmarks.devices import SPEEDS, floors
from benchmarks.our_step import Ours
from benchmarks.plain_step import Plain
from benchmarks.step_growth import Point, exponent, grown
from benchmarks.step_modes import OURS, PLAIN, Choice, Row, alone, has_encoder, in_turns, peak_of, runner, with_kept
from benchmarks.step_networks import EXTENTS, REAL, network, small

CPU, META = torch.device("cpu"), torch.device("meta")
SHORT = (4, 8, 8)
pytestmark = pytest.mark.host


@pytest.mark.parametrize("again", [False, True])
def test_the_plain_step_learns_what_ours_does(comfy, again: bool) -> None:
    """Rates of Adam turn rounding of small gradients into steps of their own, so plain descent is compared."""
    torch.manual_seed(0)
    net = small(torch.device("cpu"), torch.float32, 4, 8, 8)
    ours = Ours(net, "recommended", "all" if again else "none")
    plain = Plain(net, "recommended", again, lambda: ours.prompt)
    ours.optimiser = torch.optim.SGD(ours.trainable.parameters(), 1.0)
    plain.optimiser = torch.optim.SGD([*plain.rows.values(), *plain.values.values()], 1.0)
    losses = []
    for step in (ours.step, plain.step):
        torch.manual_seed(1)
        losses.append(step())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for layer, row in plain.rows.items():
        assert row.abs().max() > 0
        torch.testing.assert_close(ours.trainable.query_key[layer], row[0], rtol=1e-3, atol=1e-9)
    for (layer, name), value in ours.trainable.value.items():
        torch.testing.assert_close(value.flatten(0, 1), plain.values[layer + name], rtol=1e-3, atol=1e-9)


def test_growth_is_the_slope_between_logarithms() -> None:
    assert exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    assert exponent([1, 2, 4], [3, math.nan, 48]) == pytest.approx(2), "of those that fitted"
    assert math.isnan(exponent([1, 2], [3, math.nan]))


def test_every_mode_is_measured(comfy) -> None:
    """Alone as on a GPU, and in turns as on a CPU, where the network of each mode is its own."""
    net, choice = network("tiny", CPU, torch.float32, SHORT), Choice("recommended")
    between = sum(runner(mode, net, choice)[0].kept for mode in OURS) / 2
    modes = [*OURS, with_kept(between / 1e9), *PLAIN]
    rows = [alone(mode, net, choice, 1) for mode in modes]
    for row in rows:
        assert row.seconds > 0 and row.peak > row.weights >= net.weights and row.beside > row.resting > 0
    none, every, some, *plain = rows
    assert every.beside < some.beside < none.beside
    assert all(row.weights > net.weights for row in plain), "their text encoder's too"
    turns = in_turns(lambda: network("tiny", CPU, torch.float32, SHORT), modes[1:4:2], choice, 1)
    assert [row.name for row in turns] == modes[1:4:2]


def test_values_of_few_numbers_rest_in_less_memory(comfy) -> None:
    net = network("tiny", CPU, torch.float32, SHORT)
    full, low = (runner(OURS[0], net, Choice("recommended", form))[0] for form in ("full", "low rank 1"))
    assert low.resting < full.resting
    with pytest.raises(ValueError, match="learns all values"):
        runner(PLAIN[0], net, Choice("recommended", "low rank 1"))


def test_a_mode_that_does_not_fit_says_so(comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.step_modes.Ours", _full_device)
    row = alone(OURS[0], network("tiny", CPU, torch.float32, SHORT), Choice("paper"), 1)
    assert math.isnan(row.seconds)
    cells = training_step.table([row], "tiny", Choice("paper"), (None, None)).rows[0]
    assert cells[:3] == (OURS[0], "out of memory", "-")


def _full_device(*args: object) -> None:
    raise torch.OutOfMemoryError


def test_only_small_text_encoders_are_part_of_a_plain_step(comfy) -> None:
    with_one = [size for size in EXTENTS if has_encoder(network(size, META, torch.float16))]
    assert with_one == ["tiny", "zeroscope", "animatediff"]


@pytest.mark.parametrize("size", REAL)
def test_other_clips_are_of_the_same_modules(comfy, size: str) -> None:
    net = network(size, META, torch.float16)
    other = network(size, META, torch.float16, (2, 16, 8), net)
    assert other.modules == net.modules
    assert (other.call.frames, other.call.height, other.call.width) == (2, 16, 8)
    step = step_on_paper.Step(other, "paper", "low rank 4")
    assert step.flop() > 0 and step.traffic() > 0


def test_clips_of_a_sweep_end_with_the_whole_one() -> None:
    for size in REAL:
        for kind, extents in grown(size).items():
            assert extents[-1] == EXTENTS[size], kind
            assert all(side % 8 == 0 for *_, h, w in extents[:-1] for side in (h, w) if kind == "area")
    points = step_growth.points("zeroscope", "recommended")
    assert len(points) == len(set(points)) == 5 + 2
    assert points[0].clip == "72x40x12"


@pytest.fixture
def short(comfy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The narrow network on short clips, and a page of its own."""
    monkeypatch.setattr(step_growth, "_NARROW", {"frames": [(2, 8, 8), (4, 8, 8)], "area": [(2, 8, 8), (2, 16, 16)]})
    monkeypatch.setitem(step_growth.EXTENTS, "tiny", SHORT)
    monkeypatch.setattr("benchmarks.step_modes._WARM", 0)
    monkeypatch.setattr(training_step, "OUT", page := tmp_path / "page.md")
    return page


@pytest.mark.parametrize("apart", [False, True])
def test_a_sweep_gives_a_row_for_every_clip_and_mode(short: Path, apart: bool) -> None:
    *_, found = step_growth.run("tiny", CPU, torch.float32, Choice("recommended"), OURS[:1], 1, apart)
    table, fits = step_growth.table(found), step_growth.fits(found, "tiny", "recommended")
    assert {row[:3] for row in table.rows} >= {("8x8x2", "recommended", OURS[0]), ("8x8x4", "paper", OURS[0])}
    assert len(table.rows) == 3 + 2
    assert [row[:2] for row in fits.rows] == [(kind, mode) for kind in ("frames", "area") for mode in OURS[:1]]
    assert float(fits.rows[0][3]) > 0.5, "twice the frames keep more"


def test_a_run_adds_its_modes_and_no_row_twice(short: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def ran(mode: str, *what: object) -> Row:
        return Row(mode, 0.1, 9e9, 3e9, 1e9)

    monkeypatch.setattr(training_step, "alone", ran)
    point = Point(SHORT, "recommended")
    monkeypatch.setattr(step_growth, "run", lambda *what: iter([{(point, mode): ran(mode) for mode in OURS}]))
    options = {"ours": True, "steps": 1, "out": True, "peak_tflops": None, "bandwidth": None}
    measured = ("tiny", CPU, torch.float32)
    training_step.one(*measured, Choice("paper"), Namespace(keep=[6.0], **options))
    part = training_step.part_of("tiny", Choice("paper"), torch.float32, CPU)
    assert short.read_text().startswith(f"## {part}\n")
    training_step.one(*measured, Choice("paper"), Namespace(keep=[], **options))
    training_step.one(*measured, Choice("paper", "low rank 1"), Namespace(keep=[], **options))
    page = short.read_text()
    assert [page.count(f"| {mode} |") for mode in (*OURS, with_kept(6))] == [2, 2, 1]
    for _ in range(2):
        training_step.grow(*measured, Choice("recommended"), Namespace(keep=[], **options))
        assert short.read_text().startswith(page)
        assert short.read_text().count("| grows with |") == 1
        assert short.read_text().count("| 8x8x4 | recommended |") == 2
    capsys.readouterr()


def test_on_a_gpu_the_peak_is_all_that_was_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for name in ("reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: asked.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: asked.append("peak") or 7)
    assert peak_of(lambda: asked.append("step"), torch.device("cuda"), resting=1, weights=2) == 7
    assert asked == ["reset_peak_memory_stats", "step", "synchronize", "peak"]


def test_what_did_not_fit_is_in_the_table_of_a_sweep() -> None:
    point = Point((12, 40, 72), "paper")
    assert step_growth.table({(point, OURS[0]): Row(OURS[0])}).rows == (
        ("72x40x12", "paper", OURS[0], "out of memory", "-"),
    )


def test_floors_are_operations_and_bytes_over_what_the_device_can(tmp_path: Path, monkeypatch) -> None:
    """A row of the counts says 40 TFLOP and 300 GB; an H100 needs 40 and 90 ms for them at least."""
    row = ("paper", "full", "6 GB kept", "1 of 2", "", "", "", "", "40.0", "300 GB", "")
    columns = ("layers", "values", "again", "blocks again", "a", "b", "c", "d", "TFLOP", "traffic", "floors")
    monkeypatch.setattr(training_step, "OUT", tmp_path / "page.md")
    training_step.keep(training_step.OUT, training_step.Table(columns, 3, (row,)), "zeroscope on paper")
    speed = SPEEDS["NVIDIA H100 80GB HBM3"]
    ran = Row(with_kept(6), 0.18, 9e9, 3e9, 1e9)
    cells = training_step.table([ran], "zeroscope", Choice("paper"), (speed.flops, speed.bandwidth)).rows[0]
    assert cells == (ran.name, "0.180 s", "9.00 GB", "3.00 GB", "6.00 GB", "1.00 GB", "40 ms, 90 ms", "2.0")
    cells = training_step.table([ran], "zeroscope", Choice("paper"), (None, None)).rows[0]
    assert cells[-2:] == ("unknown, unknown", "-")
    for other in (replace(ran, name=OURS[0]), replace(ran, name=PLAIN[0])):
        cells = training_step.table([other], "zeroscope", Choice("paper"), (speed.flops, speed.bandwidth)).rows[0]
        assert cells[-2:] == ("-", "-"), "nothing is known of it"
    assert floors(1e12, 1e9, (1e12, None)) == "1000 ms, unknown"


def test_runs_of_another_kind_are_another_part_of_the_page() -> None:
    part = training_step.part_of
    names = {
        part(size, choice, dtype, CPU)
        for size in ("zeroscope", "svd")
        for choice in (Choice("paper"), Choice("recommended"), Choice("paper", "low rank 8"))
        for dtype in (torch.float16, torch.bfloat16)
    }
    assert len(names) == 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layers", "nowhere"], "--layers"),
        (["--value-form", "low rank x"], "--value-form: 'low rank x' is none of full"),
        (["--peak-tflops", "0"], "0 is not above zero"),
        (["--card", "Voodoo"], "invalid choice: 'Voodoo'"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(comfy, arguments: list[str], said: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["training_step", *arguments])
    with pytest.raises(SystemExit) as ended:
        training_step.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
