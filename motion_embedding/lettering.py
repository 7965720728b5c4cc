"""Text in pictures, in the font that comes with Pillow, so that every machine has it.

It has few letters beside plain Latin ones: others lose their accents, and what is missing even then is a question mark.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


_MISSING = "\uffff"


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    return bytes(_font(16).getmask(letter)) != bytes(_font(16).getmask(_MISSING))


@lru_cache(maxsize=1024)
def legible(text: str) -> str:
    """``text`` in letters that the font has, in one line."""
    text, found = " ".join(text.split()), []
    for letter in text:
        plain = [part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part)]
        instead = letter if _has(letter) else "".join(plain).replace("ß", "ss")
        found += [part if _has(part) else "?" for part in instead]
    return "".join(found)


@lru_cache(maxsize=1024)
def _mask(text: str, size: int) -> np.ndarray:
    """How much ink each pixel ``[height, width]`` gets, 0..1; equally high for all texts of one size."""
    width = max(1, text_width(text, size))
    image = Image.new("L", (width, line_height(size)))
    ImageDraw.Draw(image).text((0, 0), legible(text), fill=255, font=_font(size))
    return np.asarray(image, np.float32) / 255


def line_height(size: int) -> int:
    return sum(_font(size).getmetrics())


def text_width(text: str, size: int) -> int:
    return int(np.ceil(_font(size).getlength(legible(text))))


def write(
    picture: np.ndarray,
    text: str,
    at: tuple[int, int],
    size: int,
    colour: tuple[int, int, int],
    align: float = 0.0,
) -> None:
    """Write one line into ``picture`` ``[H, W, 3]`` uint8; what lies outside it is cut off.

    Args:
        at: (x, y) of the line's upper edge; x of its left end for ``align`` 0, middle for 0.5, right end for 1.
        size: of the font, in pixels.
    """
    mask = _mask(text, size)
    x, y = round(at[0] - align * mask.shape[1]), at[1]
    left, top = max(0, -x), max(0, -y)
    place = picture[max(0, y) : max(0, y + mask.shape[0]), max(0, x) : max(0, x + mask.shape[1])]
    ink = mask[top : top + place.shape[0], left : left + place.shape[1], None]
    place[:] = (place * (1 - ink) + np.float32(colour) * ink).round()


def wrapped(text: str, size: int, width: int, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines of ``width`` pixels, broken between words; an ellipsis where it goes on."""
    words, found = " ".join(text.split()).split(" "), [""]
    for index, word in enumerate(words):
        longer = f"{found[-1]} {word}".strip()
        if text_width(longer, size) <= width:
            found[-1] = longer
        elif len(found) < lines and found[-1]:
            found.append(word)
        else:
            return [*found[:-1], clipped(" ".join([found[-1], *words[index:]]).strip(), size, width)]
    found[-1] = clipped(found[-1], size, width)
    return found


def clipped(text: str, size: int, width: int) -> str:
    """``text``, or as much of its beginning as fits into ``width`` pixels, with an ellipsis."""
    if text_width(text, size) <= width:
        return text
    kept = len(text)
    while kept and text_width(text[:kept] + "…", size) > width:
        kept -= 1
    return text[:kept] + "…"
