"""``icekit``, and ``python -m icekit``."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit."""
    # What is imported stays: looking for garbage among it takes a seventh of the time until a command begins.
    gc.disable()
    try:
        from icekit.cli import main as run
    except KeyboardInterrupt:
        # As an interrupt of a command: nobody wants to read where in its imports it was.
        sys.exit(130)
    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
