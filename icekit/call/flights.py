"""When a flight of a DTLS handshake is sent once more: a core without sockets, clock or keys.

Within the library of DTLS the timer of a flight is one second at first, and cannot be set. ICE has measured the round
trip, for which RFC 9147 §5.8.2 lets the timer be one and a half of it. So the datagram of the last flight is sent as it
was: to a peer that has it already it is a replay (RFC 6347 §4.1.2.6), to one that has not it is the flight. The
library goes on to repeat by its own timer, with record numbers that are new; to a peer of another make whose last
flight was lost, only those say that it is to repeat it.
"""

from __future__ import annotations

from typing import Final

_CHANGE_CIPHER_SPEC, _HANDSHAKE, _APPLICATION_DATA = 20, 22, 23
_RTP: Final = range(128, 192)

# Seconds that a peer may compute before it answers; RFC 9147 §5.8.2: the timer of DTLS-SRTP where nothing is known.
_COMPUTING, _UNKNOWN = 0.05, 0.4
# With the doubling, 12 s at least. A flight has 1.5 kB at most, and goes to an address that ICE has authenticated.
_MAX_REPEATS: Final = 8


def answer_timeout(rtt: float | None, unknown: float = _UNKNOWN) -> float:
    """How long to wait for what is answered at once, over a path with this round trip; all in seconds."""
    return unknown if rtt is None else rtt + max(rtt / 2, _COMPUTING)


class Flights:
    """The flights of one handshake. ``rtt`` of the path, in seconds, ``None`` if it is not known.

    Tell it what is ``sent`` and ``received``; at ``get_timer`` (absolute; ``None``: never) ``repeat`` has a datagram.
    """

    def __init__(self, rtt: float | None) -> None:
        self._first_timeout = answer_timeout(rtt)
        self._timeout = self._first_timeout
        self._flight = b""
        self._name = b""
        self._left = 0
        self._due: float | None = None
        self._hurried = False
        self._complete = False
        # The last datagram of the peer's handshake, and the one that our flight is the answer to.
        self._heard: bytes | None = None
        self._answered: bytes | None = None
        self.is_over = False
        """Nothing will be repeated any more: the peer has all that it needs."""

    def sent(self, datagram: bytes, now: float) -> None:
        """The library of DTLS has sent this."""
        if not datagram or datagram[0] not in (_CHANGE_CIPHER_SPEC, _HANDSHAKE):
            return
        self._flight = datagram
        self._answered = self._heard
        # RFC 6347 §4.2.2: type, length and number of the first message stay the same when it is sent again.
        name = datagram[:1] + datagram[13:19]
        if name != self._name:
            self._name = name
            self._timeout = self._first_timeout
            self._left = _MAX_REPEATS
            self._hurried = False
            self._due = now + self._timeout

    def received(self, datagram: bytes, now: float) -> None:
        """This has come from the peer, and the library of DTLS has not seen it yet."""
        if not datagram:
            return
        kind = datagram[0]
        if kind in (_CHANGE_CIPHER_SPEC, _HANDSHAKE):
            if self._complete and datagram == self._answered:
                # RFC 6347 §4.2.4: whoever has finished and is sent a flight again sends the last one again.
                self._due = now
            self._heard = datagram
        elif kind == _APPLICATION_DATA or kind in _RTP:
            if self._complete:
                self.is_over = True
            elif self._flight and not self._hurried:
                # RFC 9147 §5.8.1: data that cannot be read yet show that the flight before them was lost.
                self._hurried = True
                self._due = now

    def completed(self) -> None:
        """The handshake is complete here. Whoever had the last word keeps it until the peer has shown that it knows."""
        self._complete = True
        self._due = None
        self.is_over = self._answered is not self._heard

    def get_timer(self) -> float | None:
        """When there is something to repeat."""
        return None if self.is_over or not self._left else self._due

    def repeat(self, now: float) -> bytes | None:
        """The datagram to send now, if its time has come."""
        due = self.get_timer()
        if due is None or due > now:
            return None
        self._left -= 1
        if self._complete:
            # RFC 6347 §4.2.4: the last flight has no timer of its own.
            self._due = None
        else:
            self._timeout *= 2
            self._due = now + self._timeout
        return self._flight
