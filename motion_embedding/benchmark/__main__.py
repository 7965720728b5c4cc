"""``python -m motion_embedding.benchmark``."""

import signal
import sys

from .cli import main

if __name__ == "__main__":
    # Terminating is stopping as with Ctrl+C, so that no ComfyUI is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
