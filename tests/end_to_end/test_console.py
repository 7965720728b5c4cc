"""That nothing of ours complains, as the other tests have it, can be seen to fail: what breaks here is found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from demo.host import ROOT, Server
from tests.browser import EDITOR_IS_READY, complaints_of_ours, open_editor

pytestmark = pytest.mark.browser

ADD_NODE = """
() => {
  app.graph.clear()
  const node = LiteGraph.createNode('ME_LoadMotionEmbedding')
  node.pos = [80, 130]
  app.graph.add(node)
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [0, 0]
}
"""
FAIL_ELSEWHERE = "() => { setTimeout(() => { window.elsewhere = true; null.elsewhere }) }"


@pytest.fixture(scope="module")
def editor(server: Server) -> Iterator[tuple[Page, list[str]]]:
    with open_editor(server.address, 1000, 800, patience=20_000) as opened:
        yield opened


@pytest.fixture
def page(editor: tuple[Page, list[str]]) -> Iterator[Page]:
    """The editor, of which nothing of ours has complained."""
    page, complaints = editor
    assert complaints_of_ours(page, complaints) == []
    yield page
    page.unroute_all()
    complaints.clear()


def load_again(page: Page) -> None:
    page.reload(timeout=180_000)
    page.wait_for_function(EDITOR_IS_READY, timeout=180_000)


def broken(module: str, *beginnings: str) -> str:
    """The text of a module of ours whose methods throw where they begin."""
    text = (ROOT / "js" / module).read_text(encoding="utf-8")
    for beginning in beginnings:
        assert text.count(beginning) == 1, beginning
        text = text.replace(beginning, f"{beginning} null.broken;")
    return text


def test_what_our_modules_throw_is_found_by_its_stack(page: Page, editor: tuple[Page, list[str]]) -> None:
    """In what a click calls, and in what nobody waits for. The messages are the engine's: they name nothing of ours."""
    module = "motion_panel.js"
    body = broken(module, "  browse() {", "  async #read() {")
    answer = {"body": body, "content_type": "text/javascript"}
    page.route(f"**/extensions/motion_embeddings/{module}", lambda route: route.fulfill(**answer))
    load_again(page)
    with page.expect_event("pageerror"):
        page.evaluate(ADD_NODE)
    with page.expect_event("pageerror"):
        page.get_by_role("button", name="Browse…").click()
    with page.expect_event("pageerror"):
        page.evaluate(FAIL_ELSEWHERE)
    found = complaints_of_ours(*editor)
    assert [text.splitlines()[0] for text in found] == ["Cannot read properties of null (reading 'broken')"] * 2
    assert [place in text for place, text in zip(("#read", "browse"), found, strict=True)] == [True, True]
    assert complaints_of_ours(*editor) == [], "each is told once"


@pytest.mark.parametrize(
    "path",
    ["/extensions/motion_embeddings/motion_embeddings.css", "/extensions/motion_embeddings/english.js"],
)
def test_a_file_of_ours_that_is_missing_is_found_by_its_address(
    page: Page, editor: tuple[Page, list[str]], path: str
) -> None:
    page.route(f"**{path}", lambda route: route.fulfill(status=404))
    with page.expect_response(lambda response: response.url.endswith(path)):
        load_again(page)
    found = complaints_of_ours(*editor)
    assert [text for text in found if text.startswith("Failed to load") and text.endswith(path)], found


def test_an_answer_of_our_server_that_fails_is_found_by_its_address(page: Page, editor: tuple[Page, list[str]]) -> None:
    load_again(page)
    page.route("**/motion_embeddings/motions", lambda route: route.fulfill(status=500))
    page.evaluate(ADD_NODE)
    page.get_by_role("button", name="Browse…").click()
    expect(page.locator(".me-motions")).to_contain_text("500")
    found = complaints_of_ours(*editor)
    assert found
    assert all("status of 500" in text and text.endswith("/motion_embeddings/motions") for text in found)


def test_what_the_front_end_asks_for_on_trial_is_not_ours(page: Page, editor: tuple[Page, list[str]]) -> None:
    """A node's help in a language, before the help there is; but not the help there is."""
    asked = "(paths) => Promise.all(paths.map((path) => fetch(`/extensions/motion_embeddings/docs/${path}`)))"
    page.evaluate(asked, ["ME_DebiasMotion/pt-BR.md", "ME_Absent.md"])
    (found,) = complaints_of_ours(*editor)
    assert found.endswith("/docs/ME_Absent.md")
