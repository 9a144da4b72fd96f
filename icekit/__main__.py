"""``python -m icekit``."""

from icekit.cli import main

main()
