"""Why a benchmark cannot go on."""

from __future__ import annotations


class BenchmarkError(RuntimeError):
    """The run as a whole has to stop (no worker, no room, a folder in use); what was finished is kept."""
