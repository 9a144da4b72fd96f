"""``icekit``, and ``python -m icekit``."""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit."""
    # Ctrl-C ends it as any program: nobody wants to read where in its imports it was. Who has it ignored keeps that.
    was_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if was_default:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is imported stays: looking for garbage among it takes a seventh of the time until a command begins.
    gc.disable()
    from icekit.cli import main as run

    gc.freeze()
    gc.enable()
    if was_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
