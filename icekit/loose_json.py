"""JSON as people paste it: values one after the other, and literals of JavaScript and Python."""

from __future__ import annotations

import json
import re
from typing import Any, Final

MAX_VALUES: Final = 2000
"""Most JSON values one after the other."""

_STRING = r'"(?:[^"\\\n]|\\.)*"' + r"|'(?:[^'\\\n]|\\.)*'" + r"|`[^`\\$]*`"
_PIECES = re.compile(
    rf"(?P<string>{_STRING})|(?P<comment>//[^\n]*|/\*.*?\*/|#[^\n]*)|(?P<name>[A-Za-z_$][\w$]*)", re.DOTALL
)
_NAMES = {"undefined": "null", "None": "null", "True": "true", "False": "false"}
_JSON_NAMES = ("null", "true", "false")


def read_values(text: str) -> list[Any]:
    """The JSON values that stand one after the other; none if there is anything else in between."""
    decoder, place = json.JSONDecoder(), 0
    found: list[Any] = []
    while place < len(text) and len(found) < MAX_VALUES:
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return []
        found.append(value)
        while place < len(text) and (text[place].isspace() or text[place] in ",;"):
            place += 1
    return found


def read_literals(text: str) -> list[Any]:
    """Literals of JavaScript or Python: other quotes, names without quotes, comments, a last comma."""
    tidy = re.sub(r",(\s*[\]}])", r"\1", _PIECES.sub(_as_json, text))
    return read_values(tidy.rstrip().rstrip(";"))


def _as_json(piece: re.Match[str]) -> str:
    if (string := piece["string"]) is not None:
        if string[0] == '"':
            return string
        inner = string[1:-1].replace("\\'", "'").replace('"', '\\"')
        return f'"{inner}"'
    if piece["comment"] is not None:
        return " "
    name = piece["name"]
    return _NAMES.get(name) or (name if name in _JSON_NAMES else f'"{name}"')


def up_to_closing_bracket(text: str) -> str:
    """The beginning up to the bracket that closes the first one; all of it if none does."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "[{") - (character in "]}")
        if depth == 0:
            return text[: place + 1]
    return text


def why_no_json(text: str) -> str:
    """What the parser says of a text that ``read_values`` cannot read."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)[:100]
    return "too much of it"
