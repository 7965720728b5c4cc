"""(ComfyUI) Telling the person at the editor something, on the node that is running."""

from __future__ import annotations

import logging
import sys
from typing import Any

from comfy_execution.utils import get_executing_context

_log = logging.getLogger(__name__)


def tell(text: str) -> None:
    """Log ``text`` and, where a server runs, write it on the node being executed."""
    _log.info(text)
    context, instance = get_executing_context(), _server()
    if context is not None and instance is not None:
        instance.send_progress_text(text, context.node_id)


def send(event: str, data: dict[str, Any]) -> None:
    """Send ``data`` to the page that queued what is being executed, with the ids of its ``node`` and ``run``."""
    context, instance = get_executing_context(), _server()
    if context is not None and instance is not None:
        about = {"node": context.node_id, "run": context.prompt_id}
        instance.send_sync(event, {**about, **data}, instance.client_id)


def running_node() -> str | None:
    """The id of the node being executed; None outside a graph.

    Asked for as a hidden input, the id would become part of what the host compares before it runs a node again.
    """
    context = get_executing_context()
    return None if context is None else context.node_id


def _server() -> Any:
    """The host's, where one runs."""
    server = sys.modules.get("server")  # importing it outside a running server fails
    return getattr(getattr(server, "PromptServer", None), "instance", None)
