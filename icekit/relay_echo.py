"""The client's end of the echo through a relay: questions until an answer proves both directions, then larger ones."""

from __future__ import annotations

from typing import Final

from icekit.echo import EchoPeer
from icekit.net import Address
from icekit.path_mtu import PathMtu, PathMtuSearch

_INTERVAL: Final = 0.05
_NUMBER_BYTES: Final = 2
# RFC 8656 §12.4: channel number and length.
_CHANNEL_HEADER: Final = 4


class RelayEcho:
    """Questions to ``peer`` through the relay at ``server``; the owner sends them, and hands over what comes back."""

    def __init__(self, peer: EchoPeer, server: Address) -> None:
        self.asked_since: float | None = None
        self.rtt: float | None = None
        """Seconds through the relay and back; ``None``: no answer yet."""
        self._peer = peer
        self._headers = (48 if ":" in server.host else 28) + _CHANNEL_HEADER
        # When each question left, and the IP packet to the relay that it was in (bytes).
        self._asked: list[tuple[float, int]] = []
        self._question_at: float | None = None
        self._late = 0.0
        self._search: PathMtuSearch | None = None

    @property
    def mtu(self) -> PathMtu | None:
        """How large a packet comes through the relay and back; ``None``: not measured."""
        return None if self._search is None else self._search.result

    @property
    def is_measuring(self) -> bool:
        """Whether more questions follow on the answer."""
        return self._search is not None and self._search.due is not None

    def begin(self, now: float) -> None:
        """The relay is ready for data."""
        self.asked_since = self._question_at = now

    def measure(self, now: float) -> None:
        """After the first answer: with questions of other sizes."""
        self._search = PathMtuSearch(now, self._headers + len(self._peer.question) + _NUMBER_BYTES)

    def stop(self) -> None:
        """No more questions."""
        self._question_at = None
        if self._search is not None:
            self._search.due = None

    def unanswered_for(self, now: float) -> float:
        """Seconds of questions without any answer, less what they left late: a loop that stood still did not listen."""
        return 0.0 if self.asked_since is None or self.rtt is not None else now - self.asked_since - self._late

    def next_question(self, now: float) -> bytes | None:
        """What to send to the peer now, if a question is due."""
        if self._question_at is not None and self._question_at <= now:
            self._late += now - self._question_at
            self._question_at = now + _INTERVAL
            return self._question(0, now)
        if self._search is not None and (size := self._search.next_size(now, self.rtt)) is not None:
            return self._question(size, now)
        return None

    def hear(self, data: bytes, now: float) -> bool:
        """Whether this is an answer; the relay gives what the peer has sent, and perhaps what others have."""
        start = len(self._peer.answer)
        number = int.from_bytes(data[start : start + _NUMBER_BYTES])
        if not data.startswith(self._peer.answer) or number >= len(self._asked):
            return False
        when, size = self._asked[number]
        if len(data) != self._length(size):
            return False
        if self._question_at is not None:
            self._question_at, self.rtt = None, now - when
        elif self._search is not None and size:
            self._search.answered(size, now)
        return True

    def get_timer(self) -> float | None:
        """When the next question is due."""
        return self._question_at if self._search is None else self._search.due

    def _question(self, size: int, now: float) -> bytes:
        question = self._peer.question + len(self._asked).to_bytes(_NUMBER_BYTES)
        self._asked.append((now, size))
        return question.ljust(self._length(size), b"\0")

    def _length(self, size: int) -> int:
        """Bytes of a question or an answer that fills an IP packet; 0: of the shortest."""
        return max(size - self._headers, len(self._peer.question) + _NUMBER_BYTES)
