"""Why a benchmark cannot go on."""

from __future__ import annotations


class BenchmarkError(RuntimeError):
    """The run as a whole has to stop (no worker, no room, a folder in use); what was finished is kept."""


def brief(reason: str) -> str:
    """A reason in one line: its first and, where a log or a traceback follows, its last."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]} [...] {lines[-1]}"
