"""What a transport of signaling has to offer: text lines both ways, and nothing else.

Order, duplicates, echoes, acknowledgements and reconnecting are the channel's (``delivery.py``, ``channel.py``).
A transport is made from a URL by a function of its module::

    def transport(url: str, *, name: str, token: str | None) -> Transport

which raises ConfigError for a URL that cannot be, and does no input or output itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """How a transport differs from a topic of a broker.

    ``resumes``: peers may be sent numbers and acknowledgements. ``presence``: a server tells who joins and leaves, so
    the channel adds nothing to it. ``pair``: there is one peer at most, and when it has said farewell the channel ends.
    """

    resumes: bool = True
    presence: bool = False
    pair: bool = False


class Link(Protocol):
    """One connection. Whatever breaks it is an OSError (ConnectionError, TimeoutError); then it is of no more use."""

    async def send(self, line: str) -> None:
        """Send one text without line ends; returns when there is room for more (back-pressure)."""

    async def receive(self) -> str | bytes | None:
        """The next text, or None when the other side has ended for good. At most ``MAX_MESSAGE`` characters or bytes.

        Cancelling it loses nothing.
        """

    async def close(self) -> None:
        """Send what is pending, if that is possible at once, and free everything; may be called twice; never raises."""


class Transport(Protocol):
    """Where lines go."""

    @property
    def traits(self) -> Traits:
        """How it differs from a topic of a broker."""

    async def open(self) -> Link:
        """Connect. OSError: not now, the channel tries again. SignalingError or ConfigError: never."""
