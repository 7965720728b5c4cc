"""Whoever runs a ComfyUI may be killed (kill -9) and stop nothing: something that ends it then."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

# Waits for the end of its input, which comes when this process is gone, however it went; then clears up. A line means
# that it is not needed any more. It is no child of this process: Ray kills the children of a worker that it ends.
# (dash does not understand `kill -KILL --`.)
_SCRIPT = 'exec 3<&0; (read -r _ <&3 || { kill -s KILL -- "-$1"; rm -rf -- "$2"; }) &'


class Guard:
    """A sleeping shell that ends the processes of a group and removes a folder once this process is gone.

    So no accelerator stays taken by a host that nobody talks to.
    """

    def __init__(self, group: int, folder: Path) -> None:
        command = ["sh", "-c", _SCRIPT, "sh", str(group), str(folder)]
        self._shell = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._shell.wait()  # it has left the guard behind

    def release(self) -> None:
        """Let both be."""
        with contextlib.suppress(BrokenPipeError), self._shell.stdin as stdin:
            stdin.write(b"\n")
