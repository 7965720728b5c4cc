"""What is said while a run goes: how long it will still take, and not too often."""

from __future__ import annotations

from motion_embedding.benchmark.items import Clip, Item, Method
from motion_embedding.benchmark.run import Progress, Summary
from motion_embedding.benchmark.terminal import Line, ScoringTicker, Ticker, print_summary
from motion_embedding.benchmark.work import Outcome
from motion_embedding.video import VideoRequest


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def items_of(clips: int, prompts: int, method: Method | None = None) -> dict[str, Item]:
    method = method or Method("learns", {})
    made = [
        Item(method, Clip(f"clip{clip}", None), f"prompt {index}", 1, index, VideoRequest(), "")
        for clip in range(clips)
        for index in range(prompts)
    ]
    return {f"{item.method.name} {item.clip.name} {item.index}": item for item in made}


def said(capsys, ticker: Ticker, clock: Clock, done: list[tuple[str, float]], total: int, error: str = "") -> str:
    """The last line, after the items ``done`` (id and seconds) one after another on one worker."""
    for number, (id, seconds) in enumerate(done, start=1):
        clock.now += seconds + 20  # 20 s besides, so that every line is shown
        ticker(Progress(number, 0, total, Outcome(id, "worker-1", seconds, error=error)))
    return capsys.readouterr().out.splitlines()[-1]


def test_the_training_of_the_first_item_is_not_counted_for_every_item(capsys):
    clock = Clock()
    ticker = Ticker(items_of(clips=3, prompts=4), clock)
    assert "left" not in said(capsys, ticker, clock, [("learns clip0 0", 580)], 12), "nothing is known of the others"
    # To come: the first ones of clips 1 and 2, and 2 + 3 + 3 others. The clock ran 640 s (from the first item's
    # beginning, 20 s for itself) for 620 s of work.
    line = said(capsys, ticker, clock, [("learns clip0 1", 40)], 12)
    left = (2 * 580 + 8 * 40) * (580 + 40 + 20) / 620
    assert f"about {round(left / 60)} min left" in line


def test_a_method_that_costs_another_time_counts_by_its_own(capsys):
    clock = Clock()
    slow, quick = items_of(2, 1), items_of(2, 1, Method("quick", {}))
    ticker = Ticker({**slow, **quick}, clock)
    line = said(capsys, ticker, clock, [("learns clip0 0", 380), ("quick clip0 0", 0)], 4)
    # 400 s were needed for 380 s of work: 380 s and 0 s to come take 420 / 380 of that.
    assert "about 7 min left" in line


def test_failed_and_copied_items_say_nothing_about_time(capsys):
    clock = Clock()
    elsewhere = items_of(3, 1, Method("theirs", videos="{clip}.mp4"))
    ticker = Ticker({**items_of(2, 1), **elsewhere}, clock)
    assert "left" not in said(capsys, ticker, clock, [("theirs clip0 0", 0)], 5)
    assert "left" not in said(capsys, ticker, clock, [("learns clip0 0", 0.1)], 5, error="out of memory")
    assert "about 2 min left" not in said(capsys, ticker, clock, [("theirs clip1 0", 0)], 5)
    assert "about 0 s left" in said(capsys, ticker, clock, [("learns clip1 0", 90)], 5)


def test_a_log_file_gets_a_line_in_ten_seconds_and_the_last(capsys):
    clock, line = Clock(), None
    line = Line(clock)
    for second in range(25):
        clock.now = second
        line.show(str(second), last=second == 24)
    line.end()
    assert capsys.readouterr().out.split() == ["0", "10", "20", "24"]


def test_a_terminal_gets_one_line_that_fits_and_is_left_whole(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "20")
    line = Line(Clock())
    line.show("a" * 50)
    line.show("b")
    line.end()
    line.end()
    assert capsys.readouterr().out == f"\r\x1b[K{'a' * 19}\r\x1b[Kb\n"


def test_scoring_says_how_long_it_will_take(capsys):
    clock = Clock()
    ticker = ScoringTicker(clock)
    clock.now = 30.0
    ticker(1, 5)
    assert capsys.readouterr().out == "scored 1/5, about 2 min left\n"


def test_one_cause_of_many_failures_is_said_once(capsys):
    print_summary(Summary(1, {"a": "no such model", "b": "out of memory", "c": "no such model", "d": "no such model"}))
    assert capsys.readouterr().out.splitlines() == [
        "1 made, 4 failed",
        "  a and 2 more: no such model",
        "  b: out of memory",
    ]
