"""Which web pages may connect, and what plain HTTP gets."""

from __future__ import annotations

import json

import pytest

from icekit.errors import ConfigError
from icekit.signaling.http import json_response, origin_allowed, require_origins, response, text_response

LISTED = ("https://call.example.org", "http://dev.example.org:8080")


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "anything", True),
        (None, None, True),
        ("https://call.example.org", "10.0.0.1:8080", True),
        ("HTTPS://Call.Example.org", "10.0.0.1:8080", True),
        ("http://dev.example.org:8080", "x", True),
        ("http://call.example.org", "call.example.org", False),
        ("https://call.example.org:444", "call.example.org:444", False),
        ("https://call.example.org.evil.test", "x", False),
        # The server's own page, called by an address or localhost …
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("https://[2001:db8::1]:8080", "[2001:DB8::1]:8080", True),
        ("http://localhost:8080", "localhost:8080", True),
        # … and what only looks like it.
        ("http://127.0.0.1:8081", "127.0.0.1:8080", False),
        ("http://127.0.0.1:8080", None, False),
        ("http://rebinding.test:8080", "rebinding.test:8080", False),
        ("http://localhost.evil.test", "localhost.evil.test", False),
        ("null", "127.0.0.1:8080", False),
        ("", "", False),
        ("http://[::1", "[::1", False),
        ("http://h:99999", "h:99999", False),
    ],
)
def test_origins(origin: str | None, host: str | None, allowed: bool) -> None:
    assert origin_allowed(origin, host, require_origins(LISTED)) is allowed


def test_any_origin() -> None:
    assert origin_allowed("null", "x", require_origins(["*"]))
    assert not origin_allowed("null", "x", ())


@pytest.mark.parametrize(
    "origin", ["call.example.org", "https://", "https://a/path", "https://a/", "ws://a", "", "http://a:x"]
)
def test_origins_that_cannot_be(origin: str) -> None:
    with pytest.raises(ConfigError, match="SCHEME://HOST"):
        require_origins([origin])


def test_a_response_has_its_length_and_headers() -> None:
    made = response(404, {"Content-Type": "text/html"}, b"gone")
    assert (made.status_code, made.reason_phrase, made.body) == (404, "Not Found", b"gone")
    assert dict(made.headers.raw_items()) == {
        "Content-Type": "text/html",
        "Content-Length": "4",
        "Connection": "close",
        "X-Content-Type-Options": "nosniff",
    }
    assert text_response(403, "no").body == b"no\n"
    answer = json_response(200, {"status": "ok"})
    assert (json.loads(answer.body), answer.headers["Cache-Control"]) == ({"status": "ok"}, "no-store")
