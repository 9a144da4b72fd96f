"""What the servers of one gathering told: candidates and events, each with its time since the gathering began."""

from __future__ import annotations

from collections import deque

from icekit.candidate import Candidate
from icekit.gathering_events import CandidateGathered, RelayLost, ServerAnswered, ServerFailed
from icekit.local_candidates import LocalCandidates
from icekit.net import Address, StreamReleased, StreamWanted
from icekit.server_leg import ServerLeg

AskingEvent = CandidateGathered | ServerAnswered | ServerFailed | RelayLost | StreamWanted | StreamReleased


class ServerAnswers:
    """The events of a ``ServerAsking``, in order; what servers gave becomes one of ``candidates``."""

    def __init__(self, candidates: LocalCandidates) -> None:
        self._candidates = candidates
        self._events: deque[AskingEvent] = deque()
        self._began = 0.0

    def start(self, now: float) -> None:
        """Seconds count from now."""
        self._began = now

    def reflexive(self, leg: ServerLeg, mapped: Address, now: float) -> None:
        """It saw our packets come from ``mapped``."""
        local = leg.base.local
        assert local is not None
        candidate = self._candidates.server_reflexive(leg.base.host, local, mapped, leg.source)
        self._gathered(candidate, local, leg, now)

    def relayed(self, leg: ServerLeg, addresses: tuple[Address, ...], mapped: Address | None, now: float) -> None:
        """It relays on these addresses, one of each family."""
        for index, address in enumerate(addresses):
            related = mapped or leg.local
            candidate = self._candidates.relayed(leg.base.host, address, related, leg.source, second=index > 0)
            self._gathered(candidate, leg.local, leg, now)

    def answered(self, leg: ServerLeg, mapped: Address | None, relayed: tuple[Address, ...], now: float) -> None:
        """It did what it was asked for."""
        base = leg.local or leg.base.local
        assert base is not None
        seconds = now - self._began
        self._events.append(ServerAnswered(leg.url, leg.endpoint.address, base, mapped, relayed, seconds))

    def failed(self, leg: ServerLeg, error: str, now: float) -> None:
        """It did not, from this local address."""
        seconds = now - self._began
        self._events.append(ServerFailed(leg.url, leg.endpoint.address, leg.base.host, error, seconds))

    def not_asked(self, url: str, error: str, now: float) -> None:
        """There is nobody to ask."""
        self._events.append(ServerFailed(url, None, None, error, now - self._began))

    def relay_lost(self, leg: ServerLeg, relayed: tuple[Address, ...], error: str, now: float) -> None:
        """What it had given is gone."""
        self._events.append(RelayLost(leg.url, relayed, error, now - self._began))

    def pass_on(self, event: StreamWanted | StreamReleased) -> None:
        """What an allocation wants of the world."""
        self._events.append(event)

    def next_event(self) -> AskingEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def _gathered(self, candidate: Candidate | None, base: Address | None, leg: ServerLeg, now: float) -> None:
        if candidate is not None and base is not None:
            server = leg.endpoint.address
            self._events.append(CandidateGathered(candidate, base, leg.url, server, now - self._began))
