"""``icekit explain``: what a pasted text is and means, offline."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from icekit.cli.options import JsonOutput
from icekit.errors import ConfigError

TextOrFile = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT|FILE|-", help="A text (quotes are not needed), a file, or - for stdin."),
]


def explain(words: TextOrFile = None, json: JsonOutput = False) -> None:
    """Explain what you paste: candidates, an SDP (or an offer and its answer), an iceServers list, a report, a code.

    Exit code 1: the text is not known, or nothing can use it.
    """
    from icekit.cli import render
    from icekit.explain import explain as explain_text

    explanation = explain_text(_read(words), unix_time=time.time())
    if json:
        render.print_json(explanation)
    else:
        render.print_explanation(explanation)
    if not explanation.understood:
        raise typer.Exit(1)


def _read(words: list[str] | None) -> str:
    from icekit.pasted import MAX_TEXT

    if words is None or words == ["-"]:
        if words is None and sys.stdin.isatty():
            raise ConfigError("nothing to explain; give a text, a file, or - to read what you paste")
        data = sys.stdin.buffer.read(MAX_TEXT + 1)
    elif len(words) == 1 and (path := _file(words[0])) is not None:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT + 1)
    else:
        return " ".join(words)
    return data.decode("utf-8", errors="replace")


def _file(text: str) -> Path | None:
    try:
        return Path(text) if Path(text).is_file() else None
    except (OSError, ValueError):
        return None  # too long for a name, or with characters that no name has
