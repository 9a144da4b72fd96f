"""Text of servers and peers, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """What is not printable as an escape: nobody else's text may steer the terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
