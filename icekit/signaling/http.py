"""What the signaling server answers to plain HTTP, and which web pages may open a WebSocket to it."""

from __future__ import annotations

import http
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Response

from icekit.errors import ConfigError
from icekit.net import canonical_host

Page: TypeAlias = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body; the length of the body is added."""

Pages: TypeAlias = Callable[[str], Page]
"""Gives the page of a path (``/index.html``, without a query); 404 for one that is not there."""

ANY_ORIGIN = "*"


def response(status: int, headers: Mapping[str, str], body: bytes) -> Response:
    """A response after which the connection ends."""
    found = Headers(headers)
    found["Content-Length"] = str(len(body))
    found["Connection"] = "close"
    found["X-Content-Type-Options"] = "nosniff"
    return Response(status, http.HTTPStatus(status).phrase, found, body)


def text_response(status: int, text: str) -> Response:
    """A sentence for people."""
    return response(status, {"Content-Type": "text/plain; charset=utf-8"}, f"{text}\n".encode())


def json_response(status: int, value: Mapping[str, object]) -> Response:
    """A JSON object that nobody keeps."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return response(status, headers, json.dumps(value).encode())


def require_origins(origins: Iterable[str]) -> tuple[str, ...]:
    """Origins as browsers write them (RFC 6454 §6.2), or ``*``; ConfigError for anything else."""
    found = []
    for origin in origins:
        parts = _split(origin)
        if origin != ANY_ORIGIN and (
            parts is None or parts.scheme not in {"http", "https"} or _written(parts) != origin.lower()
        ):
            raise ConfigError(f"origin {origin!r}: write SCHEME://HOST[:PORT], such as https://call.example.org, or *")
        found.append(origin.lower())
    return tuple(found)


def origin_allowed(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """Whether a page of ``origin`` may connect to the server that it calls ``host`` (both as in the request).

    Programs send no origin. What is not listed may connect if it came from this very server, and that was called by an
    address or ``localhost``: a name could be a stranger's, pointed at this server (DNS rebinding); list it.
    """
    if origin is None or ANY_ORIGIN in allowed or origin.lower() in allowed:
        return True
    parts = _split(origin)
    if parts is None or host is None or parts.netloc.lower() != host.lower():
        return False
    return parts.hostname == "localhost" or _is_literal(parts.hostname or "")


def _split(origin: str) -> SplitResult | None:
    try:
        parts = urlsplit(origin)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def _written(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}".lower()


def _is_literal(host: str) -> bool:
    try:
        canonical_host(host)
    except ValueError:
        return False
    return True
