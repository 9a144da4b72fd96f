"""One target under atheris: ``python tests/fuzz/run.py TARGET [option of libFuzzer …]``; see ``scripts/fuzz``."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["icekit"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
