"""Text that comes from elsewhere."""

from __future__ import annotations

import pytest

from icekit.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ✓ and ü", "plain, ✓ and ü"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("\u202eevil", "\\u202eevil"),
        ("", ""),
    ],
)
def test_what_is_not_printable_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
