"""Node, for the tests of ``icekit.js``: the module is a copy whose name tells every version of Node what it is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from icekit.web.conclusions import catalogue

STATIC = Path(__file__).resolve().parent.parent.parent / "icekit" / "web" / "static"


def environment(folder: Path) -> dict[str, str]:
    """The environment in which scripts find the module and the catalogue, both made in ``folder``."""
    module = shutil.copyfile(STATIC / "icekit.js", folder / "icekit.mjs")
    texts = folder / "catalogue.json"
    texts.write_text(json.dumps(catalogue()), encoding="utf-8")
    return {**os.environ, "ICEKIT_JS": str(module), "ICEKIT_CATALOGUE": str(texts)}
