"""One program for each stack: ``python -m icekit.bench.programs.wrtc`` speaks the protocol of ``docs/programs.md``.

They import what they are named after and the standard library. Of icekit they use only what needs nothing else, so
that they run in any Python of 3.11 or newer that has the stack.
"""
