"""The limit of setup time: an agent that paces nothing, repeats nothing and loses nothing, in virtual time.

Every check leaves at once and only once; a check that arrives is answered, and its pair checked in return. No STUN:
packets are marks, so the oracle shares nothing with the agent that it judges except the NAT model. ``formulas`` are
those of the published table, without skew.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from icekit.nat import Nat, preset
from icekit.net import Address, Datagram

SERVER = Address("203.0.113.10", 3478)
RELAYS = {"A": Address("203.0.113.20", 50001), "B": Address("203.0.113.20", 50002)}
OUTSIDE = {"A": "198.51.100.1", "B": "198.51.100.2"}
INSIDE = {"A": Address("192.168.1.2", 5000), "B": Address("192.168.2.2", 5000)}


@dataclass
class _Agent:
    name: str
    nats: list[Nat]
    host: Address
    bases: list[Address] = field(default_factory=list)
    remotes: list[Address] = field(default_factory=list)
    checked: set[tuple[Address, Address]] = field(default_factory=set)
    permitted: set[str] = field(default_factory=set)
    candidates: list[Address] = field(default_factory=list)
    waiting: list[Address | None] = field(default_factory=list)
    early: list[tuple[Address, Address]] = field(default_factory=list)
    has_credentials: bool = False
    started: bool = False
    valid_at: float | None = None


class Oracle:
    """One run; ``stun``, ``turn``: which of both sides use a server; ``relay_only``: nothing else is a candidate."""

    def __init__(
        self,
        signaling: float,
        server: float,
        direct: float,
        nats: tuple[str | None, str | None],
        *,
        skew: float = 0.0,
        stun: bool = True,
        turn: bool = False,
        relay_only: bool = False,
    ) -> None:
        self.signaling, self.server, self.direct = signaling, server, direct
        self.stun, self.turn, self.relay_only = stun, turn, relay_only
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.agents = {}
        for name, kind in zip("AB", nats, strict=True):
            chain = () if kind is None else preset(kind).chain
            boxes = [Nat(item, (OUTSIDE[name],), token_bytes=Random(1).randbytes) for item in chain]
            host = INSIDE[name] if boxes else Address(OUTSIDE[name], 5000)
            self.agents[name] = _Agent(name, boxes, host)
        self._at(max(0.0, -skew), lambda: self._start("A"))
        self._at(signaling / 2 + max(0.0, skew), lambda: self._start("B"))

    def run(self) -> tuple[float, float]:
        """When A and when B have a valid pair."""
        one, other = self.agents.values()
        while self._agenda and (one.valid_at is None or other.valid_at is None):
            self.now, _, action = heapq.heappop(self._agenda)
            action()
        assert one.valid_at is not None
        assert other.valid_at is not None
        return one.valid_at, other.valid_at

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        # Rounded, so that what is equal on paper is equal here, and first come is first served.
        heapq.heappush(self._agenda, (round(when, 9), self._count, action))

    def _other(self, name: str) -> str:
        return "B" if name == "A" else "A"

    def _start(self, name: str) -> None:
        agent = self.agents[name]
        agent.started = True
        other = self._other(name)
        self._at(self.now + self.signaling / 2, lambda: self._learn(other, None))
        if not self.relay_only:
            self._found(name, agent.host, agent.host)
        if self.stun and not self.relay_only:
            self._send(name, agent.host, SERVER, ("bind",))
        if self.turn:
            self._at(self.now + 2 * self.server, lambda: self._found(name, RELAYS[name], RELAYS[name]))
        for address in agent.waiting:
            self._learn(name, address)

    def _found(self, name: str, base: Address, candidate: Address) -> None:
        agent = self.agents[name]
        if base not in agent.bases:
            agent.bases.append(base)
        if candidate not in agent.candidates:
            agent.candidates.append(candidate)
            other = self._other(name)
            self._at(self.now + self.signaling / 2, lambda: self._learn(other, candidate))
        self._check_all(name)

    def _learn(self, name: str, address: Address | None) -> None:
        """A candidate of the peer, or (None) its credentials: no check can be made without them."""
        agent = self.agents[name]
        if not agent.started:
            agent.waiting.append(address)
            return
        if address is None:
            agent.has_credentials = True
            for base, source in agent.early:
                self._send(name, base, source, ("check", base, source))
        else:
            agent.remotes.append(address)
        self._check_all(name)

    def _check_all(self, name: str) -> None:
        agent = self.agents[name]
        for base in agent.bases if agent.has_credentials else ():
            for remote in agent.remotes:
                if (base, remote) not in agent.checked:
                    agent.checked.add((base, remote))
                    self._send(name, base, remote, ("check", base, remote))

    def _send(self, name: str, source: Address, destination: Address, mark: tuple[object, ...]) -> None:
        if source == RELAYS[name]:
            # The permission goes with the packet.
            def relay() -> None:
                self.agents[name].permitted.add(destination.host)
                self._travel("S", source, destination, mark)

            self._at(self.now + self.server / 2, relay)
            return
        out: Datagram | None = Datagram(source, destination, b"")
        for nat in self.agents[name].nats:
            assert out is not None
            out = nat.outbound(out, self.now)
            if out is None or out.destination != destination:
                return
        assert out is not None
        self._travel(name, out.source, destination, mark)

    def _travel(self, origin: str, source: Address, destination: Address, mark: tuple[object, ...]) -> None:
        if destination == SERVER:
            self._at(self.now + self.server / 2, lambda: self._travel("S", SERVER, source, ("mapped", source)))
        for name, relayed in RELAYS.items():
            if destination == relayed:
                delay = 0.0 if origin == "S" else self.server / 2
                self._at(self.now + delay, lambda name=name: self._relay(name, source, mark))  # type: ignore[misc]
        for name, host in OUTSIDE.items():
            if destination.host == host:
                delay = (self.server if origin == "S" else self.direct) / 2
                self._at(self.now + delay, lambda name=name: self._enter(name, source, destination, mark))  # type: ignore[misc]

    def _relay(self, name: str, source: Address, mark: tuple[object, ...]) -> None:
        if source.host in self.agents[name].permitted:
            self._at(self.now + self.server / 2, lambda: self._receive(name, RELAYS[name], source, mark))

    def _enter(self, name: str, source: Address, destination: Address, mark: tuple[object, ...]) -> None:
        into: Datagram | None = Datagram(source, destination, b"")
        for nat in reversed(self.agents[name].nats):
            assert into is not None
            into = nat.inbound(into, self.now)
            if into is None:
                return
        assert into is not None
        self._receive(name, into.destination, source, mark)

    def _receive(self, name: str, base: Address, source: Address, mark: tuple[object, ...]) -> None:
        agent = self.agents[name]
        match mark:
            case ("mapped", Address() as mapped):
                self._found(name, base, mapped)
            case ("check", asked_base, asked_remote):
                self._send(name, base, source, ("answer", asked_base, asked_remote))
                # Triggered: at once, also where a check is on its way.
                if agent.has_credentials:
                    self._send(name, base, source, ("check", base, source))
                else:
                    agent.early.append((base, source))
            case ("answer", asked_base, asked_remote) if (asked_base, asked_remote) == (base, source):
                agent.valid_at = self.now if agent.valid_at is None else agent.valid_at


def formulas(case: str, s: float, t: float, p: float) -> tuple[float, float]:
    """The published limits of A and B, without skew."""
    match case:
        case "host–host":
            return s + p, s / 2 + p
        case "port-restricted" | "port-restricted, TURN":
            return s + t + p, s / 2 + t + p if s <= p else s + t + 1.5 * p
        case "symmetric–restricted":
            return s + t + p, s + t + 1.5 * p
        case "restricted–symmetric, relay":
            return s + 4 * t, s / 2 + 4 * t if s <= 2 * t else s + 5 * t
        case "relay only":
            return s + 4 * t, s + 5 * t
    raise ValueError(case)
