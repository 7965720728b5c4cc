"""``python -m motion_embedding.benchmark``."""

import signal
import sys
from importlib.util import find_spec

if find_spec("fcntl") is None:  # locks, process groups: nothing here is written for another system
    sys.exit("The benchmark runs on Linux and macOS; on Windows, run it in WSL.")

from .cli import main

if __name__ == "__main__":
    # Terminating is stopping as with Ctrl+C, so that no ComfyUI is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
