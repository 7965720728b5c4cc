"""A ComfyUI server that any thread may stop, also while it starts, and that does not outlive this process."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import Any

from .server import Server, ServerError

# Waits for the end of its input, which comes when this process is gone, however it went; then clears up. A line means
# that it is not needed any more. It is no child of this process: Ray kills the children of a worker that it ends.
# (dash does not understand `kill -KILL --`.)
_GUARD = 'exec 3<&0; (read -r _ <&3 || { kill -s KILL -- "-$1"; rm -rf -- "$2"; }) &'


class HostServer(Server):
    """A :class:`.server.Server` for a worker thread; ``work`` is a scratch folder that is given up with the server.

    A runner that is killed (kill -9) cannot stop anything: a guard, a sleeping shell, then ends the server and
    removes ``work``, so that no accelerator stays taken by a host that nobody talks to.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._guard: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._stopped = False

    def stop(self) -> None:
        """Stop it for good, now. Whoever waits for it gets a :class:`.server.ServerError`."""
        self._stopped = True
        self._stop()

    def alive(self) -> bool:
        return not self._stopped and self._alive()

    def _wait_until_ready(self) -> None:
        with self._lock:
            if self._stopped:
                raise ServerError("ComfyUI was stopped before it had started.")
            command = ["sh", "-c", _GUARD, "sh", str(self._process.pid), str(self.work)]
            self._guard = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
            self._guard.wait()  # it has left the guard behind
        super()._wait_until_ready()

    def _alive(self) -> bool:
        process = self._process  # another thread may set it to None between two looks
        return process is not None and process.poll() is None

    def _stop(self) -> None:
        with self._lock:
            if self._guard is not None:  # first: a process id that is free again may be somebody else's
                with contextlib.suppress(BrokenPipeError), self._guard.stdin as guard:
                    guard.write(b"\n")
                self._guard = None
            super()._stop()
