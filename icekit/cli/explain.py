"""``icekit explain``: what a pasted text is and means, offline."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icekit.cli.completion import codes
from icekit.cli.options import JsonOutput
from icekit.errors import ConfigError

if TYPE_CHECKING:
    from icekit.explanation import Explanation

MAX_FILE = 200_000_000
"""More of a file, in bytes, is not read: captures are large."""
_GZIP = b"\x1f\x8b"

TextOrFile = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT|FILE…|-",
        help="A text (quotes are not needed), a file or two (offer and answer, both reports), or - for stdin.",
        autocompletion=codes,
    ),
]


def explain(words: TextOrFile = None, json: JsonOutput = False) -> None:
    """Explain what you paste: candidates, an SDP (or an offer and its answer), an iceServers list,
    a log, a browser's statistics, a packet capture, a report, a code.

    Exit code 1: the text is not known, or nothing can use it.
    """
    from icekit.cli import render

    explanation = _explain(_read(words))
    if not explanation.understood and words is not None and len(words) == 1:
        _say_what_was_read(words[0])
    if json:
        render.print_json(explanation)
    else:
        render.print_explanation(explanation)
    if not explanation.understood:
        raise typer.Exit(1)


def _say_what_was_read(word: str) -> None:
    """Where a word that looks like the name of a file was taken for a text."""
    if _file(word) is not None:
        return
    path = Path(word)
    if len(word) < 200 and path.is_dir():
        typer.echo(f"icekit: {word} is a folder; name a file in it", err=True)
    elif _is_name_of_file(word):
        typer.echo(f"icekit: there is no file {word}, so this is about the text itself", err=True)


def _explain(data: bytes) -> Explanation:
    from icekit.explain import explain as explain_text

    # The dumps of Chromium are compressed.
    if data[:2] == _GZIP:
        data = _unpacked(data)
    # Both formats have zeros there (a version, a length), and text has none: it does not need the reader of captures.
    if 0 in data[:8]:
        from icekit.explain_capture import explain_capture
        from icekit.pcap import is_capture

        if is_capture(data):
            return explain_capture(data)
    return explain_text(data.decode("utf-8", errors="replace"), unix_time=time.time())


def _unpacked(data: bytes) -> bytes:
    import zlib

    unpacker = zlib.decompressobj(wbits=31)
    try:
        return unpacker.decompress(data, MAX_FILE)
    except zlib.error:
        raise ConfigError("the file is compressed with gzip and damaged; save it again") from None


def _read(words: list[str] | None) -> bytes:
    if words is None or words == ["-"]:
        if words is None and sys.stdin.isatty():
            raise ConfigError("nothing to explain; give a text, a file, or - to read what you paste")
        data = sys.stdin.buffer.read(MAX_FILE)
        if not data.strip():
            raise ConfigError("nothing to explain: stdin is empty; give a text, or a file")
        return data
    paths = [_file(word) for word in words]
    if any(paths) and all(path is not None or _is_name_of_file(word) for path, word in zip(paths, words, strict=True)):
        # An offer and its answer, or two reports.
        return b"\n".join(_content(path or Path(word)) for path, word in zip(paths, words, strict=True))
    return " ".join(words).encode("utf-8", errors="replace")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


_is_name_of_file = re.compile(r"(?:[\w.-]*/)+[\w.-]+|[\w-]+\.[a-z]{1,5}", re.IGNORECASE).fullmatch


def _file(text: str) -> Path | None:
    try:
        return Path(text) if Path(text).is_file() else None
    except (OSError, ValueError):
        return None  # too long for a name, or with characters that no name has
