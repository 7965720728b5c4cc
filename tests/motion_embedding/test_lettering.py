from __future__ import annotations

import numpy as np
import pytest

from motion_embedding.lettering import clipped, legible, line_height, text_width, wrapped, write


def sheet() -> np.ndarray:
    return np.full((40, 200, 3), 255, np.uint8)


@pytest.mark.parametrize(("align", "left"), [(0.0, 100), (0.5, 50), (1.0, 0)])
def test_ink_lies_where_the_alignment_puts_it(align: float, left: int) -> None:
    picture = sheet()
    width = text_width("HHHHH", 20)
    write(picture, "HHHHH", (100, 4), 20, (10, 20, 30), align)
    inked = np.flatnonzero((picture < 255).any((0, 2)))
    start = 100 - align * width
    assert start <= inked[0] < start + 4 and start + width - 4 < inked[-1] <= start + width
    assert (picture[:4] == 255).all() and (picture[4 + line_height(20) :] == 255).all()
    assert picture.reshape(-1, 3).min(0).tolist() == [10, 20, 30]


@pytest.mark.parametrize("at", [(-20, -8), (190, 30), (500, 5), (5, 500), (-900, -900)])
def test_what_lies_outside_is_cut_off(at: tuple[int, int]) -> None:
    picture = sheet()
    write(picture, "outside", at, 20, (0, 0, 0))
    assert (picture < 255).any() == (at in [(-20, -8), (190, 30)])


def test_text_is_clipped_and_wrapped_to_its_width() -> None:
    text = "one two three four five six seven"
    lines = wrapped(text, 20, 110, 3)
    assert 1 < len(lines) <= 3 and all(text_width(line, 20) <= 110 for line in lines)
    assert lines[-1].endswith("…") and " ".join(lines)[:-1] == text[: len(" ".join(lines)) - 1]
    assert wrapped(text, 20, 10000, 3) == [text]
    assert clipped(text, 20, 10000) == text
    assert text_width(clipped("x" * 99, 20, 60), 20) <= 60


def test_letters_that_the_font_lacks_lose_their_accent_or_are_marked() -> None:
    assert legible("großes Öl à la carte\n10 °C") == f"grosses Ol a la carte 10 {legible('°')}C"
    assert legible("红 car") == "? car"
    assert legible("plain, 1/8…") == "plain, 1/8…"
