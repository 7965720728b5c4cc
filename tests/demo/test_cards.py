"""The cards of the template browser: what stands where, and how large they get."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from demo.cards import SIDE, Strip, encoded, graph_card, strips_card

RED, GREEN = (200, 0, 0), (0, 200, 0)


def plain(colour: tuple[int, int, int], frames: int = 8) -> np.ndarray:
    return np.broadcast_to(np.uint8(colour), (frames, 16, 16, 3))


def rows_of(card: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((np.asarray(card) == colour).all(-1).any(1))


def test_strips_stand_under_one_another_and_are_equally_high() -> None:
    card = strips_card([Strip("first", plain(RED)), Strip("second", plain(GREEN))])
    first, second = rows_of(card, RED), rows_of(card, GREEN)
    assert card.size == (SIDE, SIDE)
    assert len(first) == len(second) > 100
    assert first.max() < second.min()


def test_frames_are_taken_evenly_from_first_to_last() -> None:
    frames = np.stack([np.full((4, 4, 3), i, np.uint8) for i in range(10)])
    assert [np.asarray(picture)[0, 0, 0] for picture in Strip("", frames, 4).pictures] == [0, 3, 6, 9]


def test_a_graph_is_drawn_below_its_reference_without_the_notes() -> None:
    def node(key: int, kind: str, x: int, colour: str) -> dict:
        return {"id": key, "type": kind, "pos": [x, 0], "size": [100, 100], "bgcolor": colour}

    workflow = {
        "nodes": [node(1, "A", 0, "#00c800"), node(2, "B", 300, "#00c800"), node(3, "MarkdownNote", 150, "#0000c8")],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    }
    card = graph_card(Strip("reference", plain(RED)), workflow)
    assert rows_of(card, RED).max() < rows_of(card, GREEN).min()
    assert not len(rows_of(card, (0, 0, 200)))


def test_a_card_of_noise_still_fits_into_its_file() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 256, 256, 3), np.uint8)
    card = encoded(strips_card([Strip("noise", noise)] * 3))
    assert len(card) <= 60_000
    assert Image.open(io.BytesIO(card)).size == (SIDE, SIDE)
