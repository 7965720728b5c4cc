"""The routes that the editor asks about a clip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from PIL import Image

from demo.host import Server
from tests.motion_embedding.video_media import make_clip

pytestmark = pytest.mark.host

WIDGETS = {
    "start": "0.5",
    "frames": "4",
    "fps": "0",
    "stride": "2",
    "width": "32",
    "height": "0",
    "resize": "crop",
    "multiple_of": "8",
}


@pytest.fixture
def routes(pack: ModuleType, tmp_path: Path) -> Iterator[ModuleType]:
    """The module, with an input folder of its own that holds ``clip.mp4`` and a file beside that folder."""
    import folder_paths
    from motion_embeddings_pack.nodes import routes

    before = folder_paths.get_input_directory()
    folder = tmp_path / "input"
    folder.mkdir()
    make_clip(folder / "clip.mp4")
    make_clip(tmp_path / "secret.mp4", 3)
    folder_paths.set_input_directory(str(folder))
    yield routes
    folder_paths.set_input_directory(before)


def test_the_plan_follows_the_widgets(routes: ModuleType) -> None:
    answer = routes.describe({"file": "clip.mp4", **WIDGETS})
    assert answer["error"] is None
    assert {name: answer["clip"][name] for name in ("frames", "width", "height")} == {
        "frames": 20,
        "width": 64,
        "height": 48,
    }
    plan = answer["plan"]
    assert (plan["frames"], plan["width"], plan["height"]) == (4, 32, 24)
    assert (plan["start"], plan["end"], plan["fps"]) == pytest.approx((0.5, 1.1, 5), abs=0.02)
    assert plan["memory"] == pytest.approx(4 * 32 * 24 * 12 / 2**20)


def test_a_clip_of_the_pack_is_known_until_the_person_has_one(routes: ModuleType) -> None:
    assert routes.describe({"file": "clip.mp4", **WIDGETS})["clip"]["example"] is False
    clip = routes.describe({"file": "circle.mp4", **WIDGETS})["clip"]
    assert (clip["frames"], clip["width"], clip["example"]) == (8, 256, True)
    make_clip(Path(routes.find_file("clip.mp4")[0]).with_name("circle.mp4"))
    assert routes.describe({"file": "circle.mp4", **WIDGETS})["clip"]["example"] is False


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({"start": "7"}, "start", "7 s is at or after the end of the clip"),
        ({"frames": "x"}, "frames", "'x' is not a number"),
        ({"frames": "1"}, "frames", "out of range"),
    ],
)
def test_a_plan_that_cannot_be_still_tells_about_the_clip(
    routes: ModuleType, change: dict, name: str, words: str
) -> None:
    answer = routes.describe({"file": "clip.mp4", **WIDGETS, **change})
    assert answer["clip"]["frames"] == 20
    assert answer["plan"] is None
    assert answer["error"]["input"] == name
    assert words in answer["error"]["message"]


@pytest.mark.parametrize(
    "name",
    ["", "none", "absent.mp4", "../secret.mp4", "x/../../secret.mp4", "../secret.mp4 [input]", "/etc/passwd", "."],
)
def test_no_file_outside_the_input_folder_is_read(routes: ModuleType, name: str) -> None:
    answer = routes.describe({"file": name, **WIDGETS})
    assert (answer["clip"], answer["plan"], answer["error"]["input"]) == (None, None, "file")


def test_a_changed_file_is_read_anew(routes: ModuleType, tmp_path: Path) -> None:
    assert routes.describe({"file": "clip.mp4"})["clip"]["frames"] == 20
    make_clip(tmp_path / "input" / "clip.mp4", 30)
    assert routes.describe({"file": "clip.mp4"})["clip"]["frames"] == 30


@pytest.mark.server
def test_over_http(server: Server) -> None:
    make_clip(server.base / "input" / "routes clip.mp4")
    query = urlencode({"file": "routes clip.mp4", **WIDGETS})
    with urlopen(f"{server.address}/motion_embeddings/video?{query}") as response:
        assert json.load(response)["plan"]["frames"] == 4
    query = urlencode({"file": "routes clip.mp4", "count": 4, "height": 32})
    with urlopen(f"{server.address}/motion_embeddings/film_strip?{query}") as response:
        assert response.headers["Content-Type"] == "image/jpeg"
        assert Image.open(BytesIO(response.read())).size == (4 * 43, 32)


@pytest.mark.server
@pytest.mark.parametrize(
    "query", [{"file": "../x.mp4", "count": 4, "height": 32}, {"file": "a.mp4", "count": 0, "height": 32}, {}]
)
def test_a_strip_that_cannot_be_is_refused_in_words(server: Server, query: dict) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{server.address}/motion_embeddings/film_strip?{urlencode(query)}")
    assert refused.value.code == 400
    assert json.load(refused.value)["error"]["message"]
