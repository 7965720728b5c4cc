"""Every text is there in every language, follows the English of today, and keeps what must not be translated."""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any

import pytest

from tests import locales

pytestmark = pytest.mark.host

# What some language writes as English does.
SAME = {
    "fps",
    "images",
    "video",
    "latents",
    "latent",
    "expert",
    "second",
    "prompt",
    "prompts",
    "checkpointing",
    "Pause",
}
SAME |= {"{size} MB", "{size} kB"}
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
# Names of files, folders and layers: words with a slash, an underscore or a dot inside.
NAME = re.compile(r"[A-Za-z0-9]*\w[/_.][A-Za-z0-9][\w/.*-]*|\.\w+\b|\b[A-Z][a-z]*[A-Z]\w*?(?=s?\b)")
PLACEHOLDER = re.compile(r"\{\w+\}")
WORDS = re.compile(r"`(\w+)\.\$\{|[\"'](\w+\.\w+)[\"']")


@pytest.fixture(scope="module")
def schemas(pack: ModuleType) -> list[Any]:
    return [node.define_schema() for node in importlib.import_module(f"{pack.__name__}.nodes").all_nodes()]


@pytest.fixture(scope="module")
def english(schemas: list[Any]) -> dict[str, Any]:
    return locales.english(schemas)


@pytest.fixture(scope="module", params=locales.LANGUAGES)
def pairs(request: pytest.FixtureRequest, english: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """English and translation of every text, by path; the paths must be the same."""
    source, texts = locales.flat(english), locales.flat(locales.read(request.param))
    assert list(texts) == list(source), f"not the English paths, in their order; {locales.__doc__}"
    return {path: (source[path], text) for path, text in texts.items()}


def test_locales_en_repeats_the_schemas_and_our_modules(english: dict[str, Any]) -> None:
    assert locales.read("en") == english, locales.__doc__
    assert [path for path, text in locales.flat(english).items() if not (text or "").strip()] == []


def test_translations_follow_the_english_of_today(english: dict[str, Any]) -> None:
    paths = locales.flat(english)
    assert locales.stale(paths) == [], locales.__doc__
    assert set(locales.sources()) == set(paths)


def test_a_changed_text_makes_its_translations_stale(english: dict[str, Any]) -> None:
    path, text = next(iter(locales.flat(english).items()))
    assert locales.stale({path: text}) == []
    assert locales.stale({path: f"{text}!"}) == [path]
    assert locales.stale({"nodeDefs.ME_New.display_name": "New"}) == ["nodeDefs.ME_New.display_name"]


def test_everything_is_translated(pairs: dict[str, tuple[str, str]]) -> None:
    left = {path: text for path, (source, text) in pairs.items() if not text.strip() or text == source}
    assert {path for path, text in left.items() if text not in SAME} == set()


def test_numbers_and_placeholders_are_kept(pairs: dict[str, tuple[str, str]]) -> None:
    for path, both in pairs.items():
        source, text = (set(NUMBER.findall(spaced(one))) for one in both)
        assert source <= text, path
        source, text = (sorted(PLACEHOLDER.findall(one)) for one in both)
        assert text == source, path


def test_names_of_files_and_classes_are_kept(schemas: list[Any], pairs: dict[str, tuple[str, str]]) -> None:
    shown = {i.id for schema in schemas for i in schema.inputs}  # translated where the editor shows them
    for path, (source, text) in pairs.items():
        if path.endswith((".name", "display_name")):
            continue
        names = {name.rstrip(".") for name in NAME.findall(PLACEHOLDER.sub("", source))} - shown
        assert {name for name in names if name not in text} == set(), path


def test_options_are_named_as_the_editor_shows_them(schemas: list[Any], pairs: dict[str, tuple[str, str]]) -> None:
    for schema in schemas:
        for one in schema.inputs:
            source, text = pairs[f"nodeDefs.{schema.node_id}.inputs.{one.id}.tooltip"]
            named = {str(option) for option in getattr(one, "options", None) or []}
            named = {option for option in named if re.search(rf"{re.escape(option)}(?=[:,])", source)}
            assert {option for option in named if option not in text} == set(), (schema.node_id, one.id)


def test_the_front_end_takes_no_text_for_a_formula(english: dict[str, Any], pairs: dict[str, tuple[str, str]]) -> None:
    formulas = [path for path, both in pairs.items() if path.startswith("nodeDefs") and set("{}@|$") & set(both[1])]
    assert formulas == []
    assert [path for path, text in locales.flat(english).items() if path.startswith("nodeDefs") and "|" in text] == []


def test_every_word_of_our_modules_is_known_and_used(english: dict[str, Any]) -> None:
    known = set(english["main"]["motionEmbeddings"])
    areas = {key.split(".")[0] for key in known}
    used: set[str] = set()
    for module in locales.ENGLISH_WORDS.parent.glob("*.js"):
        if module == locales.ENGLISH_WORDS:
            continue
        for prefix, key in WORDS.findall(module.read_text("utf-8")):
            if prefix:
                used |= {key for key in known if key.startswith(f"{prefix}.")}
            elif key.split(".")[0] in areas and not key.endswith(".js"):
                used.add(key)
    assert used == known


def spaced(text: str) -> str:
    """Numbers apart from the letters that some languages set right beside them, and from the words of a name."""
    text = text.replace("_", " ")
    return re.sub(r"(?<=[^\x00-\xff])(?=\d)|(?<=\d)(?=[^\x00-\xff])", " ", text)
