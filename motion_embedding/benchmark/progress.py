"""What a running workflow reports over ComfyUI's websocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
from dataclasses import dataclass
from types import TracebackType

import aiohttp


@dataclass(frozen=True)
class Progress:
    """Node ``node_id`` has done ``value`` of ``total`` steps; ``total`` is 0 when it has only just begun."""

    node_id: str
    value: float
    total: float


class ProgressListener:
    """Collects progress reports from the websocket at ``url`` into a queue while the context is open.

    It lives in a thread of its own, so that it also works where an event loop is already running.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._events: queue.SimpleQueue[Progress] = queue.SimpleQueue()
        self._connected = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> queue.SimpleQueue[Progress]:
        self._thread.start()
        self._connected.wait(timeout=10)
        return self._events

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already when the server went away first
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        self._task = self._loop.create_task(self._listen())
        # Progress is a courtesy: without a connection the run goes on and its end is seen in the history.
        with contextlib.closing(self._loop), contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
            try:
                self._loop.run_until_complete(self._task)
            finally:
                self._connected.set()

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url, max_msg_size=0) as socket:
            self._connected.set()
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT and (event := parse(message.data)):
                    self._events.put(event)


def parse(message: str) -> Progress | None:
    """The progress that one websocket text message reports, if it reports any."""
    content = json.loads(message)
    data = content.get("data", {})
    if not data.get("node"):
        return None
    if content["type"] == "executing":
        return Progress(data["node"], 0, 0)
    if content["type"] == "progress":
        return Progress(data["node"], data["value"], data["max"])
    return None
