from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import Page

from motion_embedding.benchmark.columns import COLUMNS
from motion_embedding.benchmark.comparison import Comparison
from motion_embedding.benchmark.report import write_report
from motion_embedding.benchmark.report_scatter import scatter
from motion_embedding.benchmark.report_tables import differences_tables, failures, few_tracks, methods_table, verdict
from motion_embedding.benchmark.report_videos import choose, shrink
from motion_embedding.benchmark.scored import FAILED, SCORED, Row, read_benchmark
from motion_embedding.benchmark.scoring import score_folder
from motion_embedding.errors import InputError
from motion_embedding.metrics import encoders
from tests.browser import open_page
from tests.motion_embedding.benchmark.fake_results import (
    METHODS,
    Colours,
    fail,
    set_metrics,
    write_clip,
    write_results,
)

NASTY = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'


class Elements(HTMLParser):
    """The elements of a page, and the text of script elements by their id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._script = dict(attributes).get("id") or "" if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scored benchmark of three methods, one of its items failed with a nasty cause."""
    folder = write_results(tmp_path_factory.mktemp("results"), clips=4, prompts=1)
    set_metrics(folder, clip=str(folder / "clips"))
    fail(folder, read_benchmark(folder).items[-1], NASTY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "load_encoder", lambda path: Colours())
        score_folder(folder)
    return folder


def rows_of(scores: dict[str, list[float | None]], key: str = "motion_fidelity", **more: str) -> list[Row]:
    """Rows of methods with one score per clip."""
    return [
        Row(f"{method} {clip}", method, f"clip {clip}", "", "a prompt", 1, SCORED, {key: value}, **more)
        for method, values in scores.items()
        for clip, value in enumerate(values)
    ]


def comparison(scores: dict[str, list[float | None]], key: str = "motion_fidelity") -> Comparison:
    return Comparison(list(scores), rows_of(scores, key))


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def test_the_leader_is_bold_only_where_it_is_ahead_of_every_other_beyond_doubt():
    noise = np.random.default_rng(0).normal(0, 0.1, 10)
    clear = comparison({"a": list(0.5 + noise), "b": list(0.3 + noise + 0.01 * np.arange(10))})
    assert "<b>" in methods_table({"all": clear})
    assert "0.5" in verdict(clear)
    assert "best" in verdict(clear)
    assert "not clearly ahead" not in verdict(clear)
    close = comparison({"a": list(0.5 + noise), "b": list(0.5 + noise[::-1]), "c": list(noise)})
    assert "<b>" not in methods_table({"all": close})
    assert "not clearly ahead of every other method" in verdict(close)


def test_the_first_sentence_is_about_methods_that_were_scored_and_says_on_what():
    clear = {"a": [0.5] * 8, "b": [0.3] * 8}
    assert text(verdict(comparison(clear | {"c & d": [None] * 8}))).endswith(
        "clearly ahead of b . Nothing of c &amp; d has been scored."
    )
    partly = text(verdict(comparison(clear | {"c": [0.1] * 7 + [None]})))
    assert partly.endswith("clearly ahead of every other method, on the scenes that they share.")
    alone = text(verdict(comparison({"a": [0.5] * 8, "b": [None] * 8, "c": [None] * 8})))
    assert "ahead" not in alone and alone.endswith("Nothing of b and c has been scored.")


def test_less_is_better_where_it_is_an_error():
    table = methods_table({"all": comparison({"a": [1.0] * 8, "b": [2.0] * 8}, "camera_pan_error")})
    assert "<b>1.00</b>" in table
    assert "↓" in table


def test_with_too_few_clips_nothing_is_bold_and_intervals_are_marked():
    few = comparison({"a": [0.9, 0.8, 0.9], "b": [0.1, 0.2, 0.1]})
    table = methods_table({"all": few})
    assert "<b>" not in table
    assert "0.800 to 0.900 °" in table
    assert "from 3 clips" in verdict(few)
    assert "one clip" in methods_table({"all": comparison({"a": [0.5]})})


def test_a_table_says_how_many_items_a_mean_is_of_and_chance_and_ceiling():
    rows = rows_of({"a": [0.5, 0.7, 0.9]})
    ends = {
        "motion_fidelity_chance": 0.25,
        "motion_fidelity_chance_turned": 0.375,
        "motion_fidelity_ceiling": 1.0,
        "text_similarity": 0.3,
    }
    rows = [
        Row(**{**vars(row), "values": {**row.values, **(ends if number else {})}}) for number, row in enumerate(rows)
    ]
    shown = text(methods_table({"all": Comparison(["a"], rows)}))
    assert "a 3 0.700" in shown
    assert "chance 0.250, turned 0.375 · ceiling 1.000" in shown
    assert "0.3000 0.3000 to 0.3000 ° n 2" in shown
    assert "leakage" not in shown, "columns without a value are left out"


def test_differences_are_of_the_same_scenes_and_coloured_by_what_is_better():
    scores = {"base": [0.5] * 8 + [0.0], "more": [0.6] * 8 + [None], "less": [0.4] * 9}
    html = differences_tables(comparison(scores), "base")
    chosen = re.search(r'<div class="against" data-baseline="0">(.*?)</div></div>', html, re.S)[1]
    assert "more 8 +0.100 +0.100 to +0.100" in text(chosen)
    assert re.search(r'class="better"><span>\+0\.100', chosen)
    # -0.1 in eight scenes and +0.4 in the ninth: -0.0444 on the mean, and anything may be true.
    assert re.search(r"<td><span>\N{MINUS SIGN}0\.044", chosen)
    assert html.count("hidden>") == 2


def test_one_method_has_nothing_to_be_compared_with():
    assert "nothing to compare" in differences_tables(comparison({"a": [0.5]}), "a")
    assert "Nothing has been scored" in verdict(comparison({"a": [None]}))


def test_the_scatter_falls_back_to_leakage_and_then_says_that_there_is_nothing():
    rows = [
        Row(str(i), "a", str(i), "", "p", 1, SCORED, {"motion_fidelity": 0.1 * i, "appearance_leakage": 0.2})
        for i in range(7)
    ]
    html = scatter(Comparison(["a"], rows), rows)
    assert html.count('class="dot') == 7
    assert "appearance leakage stands in its place" in html
    assert "nothing to set motion against" in scatter(comparison({"a": [0.5]}), rows_of({"a": [0.5]}))


def test_dots_lie_where_their_values_are():
    values = [(0.0, 0.0), (1.0, 0.5), (0.5, 1.0)]
    rows = [
        Row(str(i), "a", str(i), "", "p", 1, SCORED, {"text_similarity": x, "motion_fidelity": y})
        for i, (x, y) in enumerate(values)
    ]
    html = scatter(Comparison(["a"], rows), rows)
    dots = re.findall(r'class="dot m0" data-item="(\d)" cx="([\d.]+)" cy="([\d.]+)"', html)
    (x0, y0), (x1, y1), (x2, y2) = ((float(x), float(y)) for _, x, y in sorted(dots))
    assert x2 - x0 == pytest.approx((x1 - x0) / 2, abs=0.1)
    assert y0 - y1 == pytest.approx((y0 - y2) / 2, abs=0.1)
    assert y2 < y0, "up is more"


def test_scores_that_rest_on_few_tracks_are_counted():
    rows = [
        Row(str(n), "a", str(n), "", "p", 1, SCORED, {"tracks_reference": 40, "tracks_result": n})
        for n in (0, 7, 8, 64)
    ]
    assert "In 2 of 4 items" in few_tracks(rows)
    assert few_tracks(rows[2:]) == ""


def test_failures_are_listed_by_cause_the_most_frequent_first_and_escaped():
    rows = rows_of({"a": [None] * 30}, error="")
    rows = [
        Row(**{**vars(row), "status": FAILED, "error": "rare <i>" if n == 0 else "often"}) for n, row in enumerate(rows)
    ]
    html = failures(rows, missing=2)
    assert html.index("often") < html.index("rare &lt;i&gt;")
    assert "and 9 more" in html
    assert "2 items not made yet" in html
    assert "None" in failures([], 0)


@pytest.mark.parametrize("most", [0, 1, 4, 9, 10, 100])
def test_videos_are_whole_scenes_from_best_to_worst(most):
    values = [0.1, 0.9, 0.5, 0.3, 0.7]
    rows = rows_of({"a": values, "b": values}, file=Path("x.mp4"))
    chosen = choose(rows, most)
    assert len(chosen) == min(most, 10)
    assert chosen == choose(rows, most)
    clips = {int(rows[index].clip[-1]) for index in chosen}
    if most >= 4:
        assert {1, 0} <= clips, "the best and the worst"
    if most == 4:
        assert clips == {1, 0}
        assert {rows[index].method for index in chosen} == {"a", "b"}


def test_a_small_video_is_narrow_h264_with_every_frame(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (5, 90, 602, 3)).astype(np.uint8)
    write_clip(tmp_path / "wide.mp4", frames)
    small = shrink(tmp_path / "wide.mp4")
    assert (small.width, small.height) == (256, 38)
    with av.open(io.BytesIO(base64.b64decode(small.base64))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (256, 38, 8)
        assert len(list(container.decode(stream))) == 5


def test_the_page_is_whole_in_itself_and_nothing_from_outside_becomes_markup(scored):
    page = write_report(scored).read_text(encoding="utf-8")
    elements = Elements(page)
    assert not [tag for tag, attributes in elements.tags if {"src", "href", "onerror"} & set(attributes)]
    assert "img" not in [tag for tag, _ in elements.tags]
    assert [
        attributes.get("id") for tag, attributes in elements.tags if tag == "script" and "type" not in attributes
    ] == [None], "one script that runs: ours"
    assert "sprites &amp; &lt;others&gt;" in page
    assert "copying &lt;b&gt;" in page
    data = json.loads(elements.scripts["data"])
    assert data["methods"] == list(METHODS)
    assert [item[5] for item in data["items"]].count(NASTY) == 1
    assert len([item for item in data["items"] if item[6]]) == 11
    assert [name for name in elements.scripts if re.fullmatch(r"clip-\d", name)] == [
        "clip-0",
        "clip-1",
        "clip-2",
        "clip-3",
    ]
    assert json.loads(elements.scripts["tracks-0"])["tracks"]
    for column in COLUMNS:
        assert escape(column.formula) in page


def test_the_page_holds_no_more_videos_than_asked_and_says_so(scored, tmp_path):
    folder = shutil.copytree(scored, tmp_path / "results")
    page = write_report(folder, videos=4).read_text(encoding="utf-8")
    assert page.count('id="video-') == 4
    assert "videos of 4 of 11 results" in page
    assert "no videos" in write_report(folder, videos=0).read_text(encoding="utf-8")


def test_the_same_results_give_the_same_page(scored):
    assert write_report(scored).read_bytes() == write_report(scored).read_bytes()


def test_an_unknown_baseline_is_refused(scored):
    with pytest.raises(InputError, match="baseline"):
        write_report(scored, baseline="nothing")


def test_a_benchmark_of_which_nothing_is_scored_has_a_page(tmp_path):
    page = write_report(write_results(tmp_path, clips=1, prompts=1)).read_text(encoding="utf-8")
    assert "Nothing has been scored yet" in page
    assert "It has not been scored yet" in page


@pytest.fixture
def opened(scored: Path) -> Iterator[tuple[Page, list[str], list[str]]]:
    """The report in headless Chromium, what it complains of and what it asks for."""
    with open_page(1200, 800) as (page, complaints):
        requests: list[str] = []
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(write_report(scored).as_uri())
        yield page, complaints, requests


PAINTED = """() => [...document.querySelectorAll(".scene canvas")].some((canvas) => canvas.width &&
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value))"""


def wait_until(page: Page, expression: str, seconds: float = 10) -> None:
    """Wait for a condition in the page. (Playwright's own waiting needs eval, which the page forbids.)"""
    for _ in range(int(seconds / 0.05)):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never became true: {expression}")


@pytest.mark.browser
def test_the_page_plays_draws_tracks_filters_and_jumps_without_the_network(opened):
    page, complaints, requests = opened
    videos = page.locator(".scene video")
    assert page.locator(".scene").count() == 4
    assert videos.first.evaluate("(video) => video.src") == "", "nothing is loaded before it is seen"

    page.locator(".scene").first.scroll_into_view_if_needed()
    wait_until(page, "document.querySelector('.scene video').currentTime > 0.2")
    assert not page.evaluate(PAINTED)
    page.locator("#tracks").check()
    wait_until(page, PAINTED)
    page.locator("#tracks").uncheck()
    wait_until(page, f"!({PAINTED})()")

    page.evaluate("scrollTo(0, 0)")
    wait_until(page, "document.querySelector('.scene video').paused")

    assert page.locator(".scene").first.locator("figure").count() == 4
    page.locator("#method").select_option(label=METHODS[1])
    assert page.locator(".scene").first.locator("figure").count() == 2
    page.locator("#group").select_option("hard")
    assert page.locator(".scene").count() == 2
    page.locator("#find").fill("circle")
    wait_until(page, "document.querySelectorAll('.scene').length == 1")
    assert page.locator("#count").inner_text() == "1 of 4 scenes"

    # A dot of another clip lifts the filter and goes to its scene.
    dot = page.locator('.dot[data-item="0"]')
    dot.dispatch_event("pointerover")
    assert "motion fidelity" in page.locator("#tip").inner_text()
    dot.dispatch_event("click")
    assert page.locator(".scene.found").inner_text().count("pan 0") == 1
    assert page.locator(".scene").count() == 4

    page.locator("#sort").select_option(label="motion fidelity, worst first")
    order = page.locator(".scene header").all_inner_texts()
    page.locator("#sort").select_option(label="motion fidelity, best first")
    assert page.locator(".scene header").all_inner_texts() == order[::-1]
    page.locator("#baseline").select_option(label=METHODS[2])
    assert page.locator(".against:visible").inner_text().startswith(f"minus {METHODS[2]}")

    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
