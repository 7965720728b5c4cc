"""Headless Chromium, as the tests of the editor and of the report use it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import ConsoleMessage, Error, Page, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EDITOR_IS_READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.KSampler"
PATIENCE = 5_000  # Playwright's own
OURS = re.compile(r"motion_embeddings|MotionEmbeddings|\bME_")
# The front end asks comfy.org who wrote a node, which the page's own policy blocks, and for a node's help in its
# language before it asks for the one that there is.
OF_THE_HOST = re.compile(r"api\.comfy\.org|status of 404 .*\n.*/docs/ME_\w+/[\w-]+\.md$")


@contextmanager
def open_page(width: int, height: int) -> Iterator[tuple[Page, list[str]]]:
    """An empty page of that size, and everything that what it loads complains about, each with where it comes from."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, "Chromium is not installed; demo/setup.sh --browser installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(told(message)) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(uncaught(error)))
        yield page, complaints
        browser.close()


@contextmanager
def open_editor(
    address: str, width: int, height: int, renderer: str = "canvas", patience: int = PATIENCE
) -> Iterator[tuple[Page, list[str]]]:
    """ComfyUI's front end at ``address``, ready to load a graph, its nodes drawn by ``canvas`` or ``vue``.

    patience: for how many milliseconds what is expected of a page may take meanwhile.
    """
    drawn_by_vue = f"{address}/settings/Comfy.VueNodes.Enabled"
    with open_page(width, height) as (page, complaints):
        # A new user is greeted with a dialog that would cover the graph.
        page.request.post(f"{address}/settings/Comfy.TutorialCompleted", data="true")
        page.request.post(drawn_by_vue, data=json.dumps(renderer == "vue"))
        page.goto(address, timeout=180_000)
        page.wait_for_function(EDITOR_IS_READY, timeout=180_000)
        expect.set_options(timeout=patience)
        try:
            yield page, complaints
        finally:
            expect.set_options(timeout=PATIENCE)
        page.request.post(drawn_by_vue, data="false")


def told(message: ConsoleMessage) -> str:
    """A line in the console and the address of the code that wrote it, or of what could not be loaded."""
    return f"{message.text}\n    at {message.location['url']}"


def uncaught(error: Error) -> str:
    """An exception that nobody caught, with its stack: the message alone seldom says whose it is."""
    return f"{error.message}\n{error.stack}"


def complaints_of_ours(page: Page, complaints: list[str]) -> list[str]:
    """Those of :func:`ours` that have come so far, each told once: ``complaints`` is empty afterwards."""
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")  # what the page has said by now has come
    found = ours(complaints)
    complaints.clear()
    return found


def ours(complaints: list[str]) -> list[str]:
    """The complaints that name something of this pack, in their words or in where they come from."""
    return [text for text in complaints if OURS.search(text) and not OF_THE_HOST.search(text)]


def queue(page: Page) -> None:
    """Run the graph."""
    page.evaluate("() => app.queuePrompt(0)")


def close_dialog(page: Page) -> None:
    """The host's own, of an error, which shows the traceback too."""
    dialog = page.locator(".p-dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
