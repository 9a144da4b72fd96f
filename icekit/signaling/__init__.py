"""Signaling: messages between the peers of a call, over any transport.

::

    async with connect("memory:lobby") as channel:
        await channel.send(Offer(sdp=…))
        async for message in channel:
            …
"""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from icekit.errors import ConfigError
from icekit.signaling.message import (
    Ack,
    Answer,
    Bye,
    Fault,
    Message,
    Offer,
    Presence,
    Report,
    Shape,
    TrickledCandidate,
    decode,
    encode,
)

if TYPE_CHECKING:
    from icekit.signaling.channel import Channel
    from icekit.signaling.transport import Transport

__all__ = [
    "connect",
    "make_transport",
    "decode",
    "encode",
    "Message",
    "Offer",
    "Answer",
    "TrickledCandidate",
    "Bye",
    "Ack",
    "Presence",
    "Report",
    "Fault",
    "Shape",
]

# Scheme of the URL: the module that makes its transport.
_MODULES = {
    "memory": "memory",
    "stdio": "stdio",
    "tcp": "stream",
    "unix": "stream",
    "ws": "ws",
    "wss": "ws",
    "stomp": "stomp",
    "stomps": "stomp",
    "stomp+ws": "stomp",
    "stomp+wss": "stomp",
    "mqtt": "mqtt",
    "mqtts": "mqtt",
    "redis": "redis",
    "rediss": "redis",
    "nats": "nats",
    "nats+tls": "nats",
    "http": "whip",
    "https": "whip",
}

ENTRY_POINTS = "icekit.signaling"
"""Entry-point group of other people's transports: the name is the scheme, the object is a ``transport`` function."""


def connect(url: str, *, name: str | None = None, token: str | None = None) -> Channel:
    """A channel to the room at ``url``; enter it with ``async with``.

    ``name`` is what the others see (random by default, different for each participant), ``token`` what a server asks
    for. ConfigError for a URL that cannot be, MissingExtra for a library that is not installed; SignalingError on
    entering, when there is no connection.
    """
    from icekit.signaling.channel import Channel

    name = secrets.token_hex(4) if name is None else name
    return Channel(make_transport(url, name=name, token=token), name, without_secrets(url))


def without_secrets(url: str) -> str:
    """``url`` without user, password and query, to show it."""
    parts = urlsplit(url)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return shown if parts.netloc or not shown.startswith(f"{parts.scheme}://") else url.partition("?")[0]


def make_transport(url: str, *, name: str, token: str | None = None) -> Transport:
    """The transport of ``url`` alone: text lines, without order, echo suppression or reconnecting."""
    scheme = url.partition(":")[0].lower()
    if scheme in _MODULES:
        module = importlib.import_module(f"icekit.signaling.{_MODULES[scheme]}")
        make: Callable[..., Transport] = module.transport
        return make(url, name=name, token=token)
    for entry in entry_points(group=ENTRY_POINTS, name=scheme):
        make = entry.load()
        return make(url, name=name, token=token)
    schemes = sorted({*_MODULES, *(entry.name for entry in entry_points(group=ENTRY_POINTS))})
    # HOST:PORT/ROOM reads like a scheme with a path.
    after = url.partition(":")[2]
    found = f"found the scheme {scheme[:20]!r}" if after and not after[0].isdigit() else "it has no scheme"
    raise ConfigError(f"signaling URL: {found}, allowed: {', '.join(schemes)}; most write ws://HOST:PORT/ROOM")
