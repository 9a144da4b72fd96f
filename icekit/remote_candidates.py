"""Candidates of the peer, which may come before, between and after the descriptions that they belong to (RFC 8838)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

MAX_WAITING = 256
"""Most candidates that wait for a description; the oldest are dropped."""

MAX_CANDIDATES = 512
"""Most candidates of one generation."""

MAX_PAST = 32
"""So many user name fragments of earlier generations are known as stale."""


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    """A candidate line (``""``: there are no more), the section that it belongs to, and its user name fragment."""

    line: str
    mid: str | None = None
    index: int | None = None
    ufrag: str | None = None

    @property
    def generation(self) -> str | None:
        """The user name fragment, which some stacks write at the end of the line instead."""
        if self.ufrag:
            return self.ufrag
        # RFC 8839 §5.1: extensions are pairs of words after the eight words that every candidate has.
        words = self.line.split()[8:]
        return dict(zip(words[::2], words[1::2], strict=False)).get("ufrag")

    @property
    def is_end(self) -> bool:
        """Whether it is end-of-candidates (RFC 8838 §14)."""
        return self.line.removeprefix("a=").strip() in ("", "end-of-candidates")


class RemoteCandidates:
    """Sorts candidates by generation: what belongs to the description in force, to one that is to come, to none.

    ``received`` counts those of the generation in force, ``stale`` those of earlier ones, ``dropped`` the rest.
    """

    def __init__(self) -> None:
        self._current: frozenset[str] | None = None
        self._past: deque[str] = deque(maxlen=MAX_PAST)
        self._ignoring = False
        self._waiting: deque[RemoteCandidate] = deque()
        self._seen: set[tuple[str, str | None, int | None]] = set()
        self.ended = False
        self.received = 0
        self.stale = 0
        self.dropped = 0

    def receive(self, candidate: RemoteCandidate) -> tuple[RemoteCandidate, ...]:
        """What is to be added to the connection now."""
        generation = candidate.generation
        if generation is not None and generation in self._past:
            self.stale += 1
            return ()
        if generation is None and self._ignoring:
            self.dropped += 1
            return ()
        if self._current is None or (generation is not None and generation not in self._current):
            if len(self._waiting) == MAX_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(candidate)
            return ()
        return self._take(candidate)

    @property
    def foreign(self) -> int:
        """How many have come that belong to another description than the one in force."""
        return self.stale + len(self._waiting)

    def describe(self, ufrags: Iterable[str], *, complete: bool, known: int = 0) -> tuple[RemoteCandidate, ...]:
        """A description with these fragments is in force; gives the candidates that waited for it.

        It has ``known`` candidates itself; ``complete``: and says that there are no more.
        """
        new = frozenset(ufrags)
        if new != self._current:
            self._past.extend((self._current or frozenset()) - new)
            # A peer that goes back to an earlier generation is believed.
            self._past = deque((item for item in self._past if item not in new), MAX_PAST)
            self._current = new
            self._seen.clear()
            self.ended = False
            self.received = known
        self._ignoring = False
        self.ended = self.ended or complete
        waiting, self._waiting = self._waiting, deque()
        return tuple(item for candidate in waiting for item in self.receive(candidate))

    def ignore(self, ufrags: Iterable[str]) -> None:
        """A description with these fragments is not taken, and so none of its candidates is."""
        unwanted = frozenset(ufrags) - (self._current or frozenset())
        self._past.extend(item for item in unwanted if item not in self._past)
        self._ignoring = True
        kept = (item for item in self._waiting if item.generation is not None and item.generation not in unwanted)
        self._waiting = deque(kept)

    def _take(self, candidate: RemoteCandidate) -> tuple[RemoteCandidate, ...]:
        key = (candidate.line, candidate.mid, candidate.index)
        if key in self._seen or len(self._seen) >= MAX_CANDIDATES:
            self.dropped += 1
            return ()
        self._seen.add(key)
        if candidate.is_end:
            self.ended = True
        else:
            self.received += 1
        return (candidate,)
