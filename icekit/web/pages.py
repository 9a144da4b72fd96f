"""The pages and scripts that a browser loads, as ``path -> (status, headers, body)``: for any HTTP server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from icekit.errors import ConfigError
from icekit.servers import IceServer
from icekit.web.conclusions import catalogue

Page = tuple[int, dict[str, str], bytes]

_FILES = {
    "/": "index.html",
    "/local": "local.html",
    "/icekit.js": "icekit.js",
    "/page.js": "page.js",
    "/local.js": "local.js",
    "/view.js": "view.js",
    "/style.css": "style.css",
    "/icon.svg": "icon.svg",
}
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SCHEMES = {"ws": "ws", "wss": "wss", "stomp+ws": "ws", "stomp+wss": "wss"}


def pages(
    ice_servers: Callable[[bool], Iterable[IceServer]] = lambda admitted: (),
    *,
    admitted: Callable[[str, str], bool] | None = None,
    signaling: Sequence[str] = (),
) -> Callable[[str], Page]:
    """The hook. ``ice_servers`` is asked for each page, so that its credentials can be young.

    ``admitted(room, token)`` says whether a token is good, ``None``: nobody needs one. ``ice_servers`` is told the
    answer. ``signaling``: URLs with ``{room}`` in them, for browsers to choose from besides the rooms of the server
    that the page came from; whoever loads the page can read them. ConfigError for one that no browser can open.
    """
    sources = sorted({_source(url) for url in signaling})
    headers = _headers(sources)

    def page(path: str) -> Page:
        # /config.json, or /config/ROOM/TOKEN
        if path == "/config.json" or path.startswith("/config/"):
            room, _, token = path.removeprefix("/config/").partition("/")
            allowed = admitted is None or (path != "/config.json" and admitted(room, token))
            config = {
                "schema": "icekit/page/1",
                "admitted": allowed,
                "iceServers": [_entry(server) for server in ice_servers(allowed)],
                "signaling": list(signaling),
            }
            return 200, {**headers, "Content-Type": "application/json", "Cache-Control": "no-store"}, _json(config)
        if path == "/catalogue.json":
            return 200, {**headers, "Content-Type": "application/json", "Cache-Control": "no-cache"}, _catalogue()
        name = _FILES.get(path)
        if name is None:
            return 404, {**headers, "Content-Type": "text/plain; charset=utf-8"}, b"There is no such page; see /\n"
        kind = _KINDS[name[name.rindex(".") :]]
        return 200, {**headers, "Content-Type": kind, "Cache-Control": "no-cache"}, _file(name)

    return page


def _headers(sources: list[str]) -> dict[str, str]:
    # Scripts and styles only from here and never inline; the only other places are the signaling servers.
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": " ".join(["'self'", *sources]),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
        # The address may hold a token.
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _source(url: str) -> str:
    """What the Content-Security-Policy is to let through for a signaling URL."""
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    # Without the URL in the sentence: it may hold a password.
    if scheme is None:
        raise ConfigError(f"signaling URL for browsers: scheme {parts.scheme!r}; write one of {', '.join(_SCHEMES)}")
    try:
        port = parts.port
    except ValueError:
        raise ConfigError("signaling URL for browsers: the port is no number from 0 to 65535") from None
    if not parts.hostname or not all(sign.isalnum() or sign in ".-:" for sign in parts.hostname):
        raise ConfigError("signaling URL for browsers: the host is missing or no name; write wss://HOST/{room}")
    if "{room}" not in url:
        raise ConfigError("signaling URL for browsers: write {room} where the name of the room belongs")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{host}" + ("" if port is None else f":{port}")


def _entry(server: IceServer) -> dict[str, Any]:
    entry: dict[str, Any] = {"urls": [str(url) for url in server.urls]}
    if server.username is not None:
        entry["username"] = server.username
    if server.credential is not None:
        entry["credential"] = server.credential
    return entry


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@cache
def _catalogue() -> bytes:
    return _json(catalogue())


@cache
def _file(name: str) -> bytes:
    return (resources.files("icekit.web") / "static" / name).read_bytes()
