"""(ComfyUI) Telling the person at the editor something, on the node that is running."""

from __future__ import annotations

import logging
import sys

from comfy_execution.utils import get_executing_context

_log = logging.getLogger(__name__)


def tell(text: str) -> None:
    """Log ``text`` and, where a server runs, write it on the node being executed."""
    _log.info(text)
    context = get_executing_context()
    server = sys.modules.get("server")  # importing it outside a running server fails
    instance = getattr(getattr(server, "PromptServer", None), "instance", None)
    if context is not None and instance is not None:
        instance.send_progress_text(text, context.node_id)
