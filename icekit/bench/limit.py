"""The limit of setup time: an agent that paces nothing and loses nothing, in virtual time.

Every check leaves at once; a check that arrives is answered, and its pair checked in return. No STUN: packets are
marks, so the oracle shares nothing with the agent that it judges except the NAT model. ``formulas`` are those of the
published table, for an agent that repeats nothing, without skew. What follows ICE is counted in round trips.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from random import Random

from icekit.bench.networks import Network, read_network
from icekit.bench.samples import Phase, Setting
from icekit.nat import Nat
from icekit.nat_presets import preset
from icekit.net import Address, Datagram

SERVER = Address("203.0.113.10", 3478)
RELAYS = {"A": Address("203.0.113.20", 50001), "B": Address("203.0.113.20", 50002)}
OUTSIDE = {"A": "198.51.100.1", "B": "198.51.100.2"}
INSIDE = {"A": Address("192.168.1.2", 5000), "B": Address("192.168.2.2", 5000)}

# Round trips to a server: a Binding; an Allocate that is challenged first (RFC 8656 §7.1); a TCP connection before it.
_BINDING, _ALLOCATION, _CONNECTION = 1, 2, 1


@dataclass
class _Agent:
    name: str
    nats: list[Nat]
    host: Address
    blocked: bool
    began: float = 0.0
    gathers_for: float = 0.0
    bases: list[Address] = field(default_factory=list)
    remotes: list[Address] = field(default_factory=list)
    checked: set[tuple[Address, Address]] = field(default_factory=set)
    permitted: set[str] = field(default_factory=set)
    candidates: list[Address] = field(default_factory=list)
    told: dict[str, float] = field(default_factory=dict)
    waiting: list[Address | None] = field(default_factory=list)
    early: list[tuple[Address, Address]] = field(default_factory=list)
    has_credentials: bool = False
    started: bool = False
    first_check: float = math.inf
    valid: set[tuple[Address, Address]] = field(default_factory=set)
    valid_at: float | None = None
    valid_pair: tuple[Address, Address] | None = None


class Oracle:
    """One run. Round trips in seconds; ``skew``: the answering side begins this much later.

    ``stun``, ``turn``   whether both sides use a server; one that never answers is one that is not there
    ``relay_only``       nothing else is a candidate
    ``trickle``          candidates are told as they are found, else all at once
    ``gathered``         all of them are known before the call
    ``repeats``          each check is on the wire all the time, so that one passes as soon as a NAT or a relay lets it;
                         else a check that comes too early is lost
    """

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
        trickle: bool = True,
        gathered: bool = False,
        repeats: bool = False,
    ) -> None:
        self.signaling, self.server, self.direct = signaling, server, direct
        self.stun, self.turn, self.relay_only = stun, turn, relay_only
        self.trickle, self.gathered, self.repeats = trickle, gathered, repeats
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._refused: list[Callable[[], bool]] = []
        self.agents = {name: self._agent(name, kind) for name, kind in zip("AB", nats, strict=True)}
        one, other = self.agents.values()
        one.began = max(0.0, -skew)
        other.began = one.began + (0.0 if trickle or gathered else one.gathers_for) + signaling / 2 + skew
        for agent in self.agents.values():
            # Of a side that has gathered before, the first packets left as long before the call as gathering takes.
            gathers_at = agent.began - (agent.gathers_for if gathered else 0.0)
            self._at(gathers_at, partial(self._gather, agent))
            self._at(agent.began, partial(self._start, agent))

    def _agent(self, name: str, kind: str | None) -> _Agent:
        chain = () if kind is None else preset(kind).chain
        dice = Random(1)  # noqa: S311  # of a simulated NAT, no secret
        boxes = [Nat(item, (OUTSIDE[name],) if item.translates else (), token_bytes=dice.randbytes) for item in chain]
        host = INSIDE[name] if any(item.translates for item in chain) else Address(OUTSIDE[name], 5000)
        agent = _Agent(name, boxes, host, blocked=not all(item.udp for item in chain))
        if (self.stun or self.turn) and not self.relay_only and not agent.blocked:
            agent.gathers_for = _BINDING * self.server
        if self.turn:
            agent.gathers_for = (_ALLOCATION + agent.blocked * _CONNECTION) * self.server
        return agent

    def run(self) -> tuple[float, float]:
        """When A and when B have a valid pair; infinity if they never have."""
        one, other = self.agents.values()
        gathered = max(agent.began + agent.gathers_for for agent in (one, other))
        while self._agenda and (one.valid_at is None or other.valid_at is None or self._agenda[0][0] <= gathered):
            self.now, _, action = heapq.heappop(self._agenda)
            action()
        return tuple(math.inf if agent.valid_at is None else agent.valid_at for agent in (one, other))  # type: ignore[return-value]

    @property
    def relayed(self) -> bool:
        """Whether a side that has a valid pair has it through a relay."""
        pairs = (agent.valid_pair for agent in self.agents.values())
        return any(address in RELAYS.values() for pair in pairs if pair is not None for address in pair)

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        # Rounded, so that what is equal on paper is equal here, and first come is first served.
        heapq.heappush(self._agenda, (round(when, 9), self._count, action))

    def _other(self, name: str) -> str:
        return "B" if name == "A" else "A"

    def _gather(self, agent: _Agent) -> None:
        name = agent.name
        if not self.relay_only:
            self._found(name, "host", agent.host, agent.host)
        # A TURN server answers a Binding request, too (RFC 8656 §3 extends STUN); libwebrtc asks it that way.
        if (self.stun or self.turn) and not self.relay_only:
            self._send(name, agent.host, SERVER, ("bind",))
        if self.turn:
            round_trips = _ALLOCATION + agent.blocked * _CONNECTION
            relay = RELAYS[name]
            self._at(self.now + round_trips * self.server, lambda: self._found(name, "relay", relay, relay))

    def _start(self, agent: _Agent) -> None:
        agent.started = True
        other = self._other(agent.name)
        self._at(self._tells_at(agent) + self.signaling / 2, lambda: self._learn(other, None))
        for address in agent.waiting:
            self._learn(agent.name, address)

    def _tells_at(self, agent: _Agent) -> float:
        """When what is known now can be told."""
        waits_for = agent.began if self.trickle or self.gathered else agent.began + agent.gathers_for
        return max(self.now, waits_for)

    def _found(self, name: str, kind: str, base: Address, candidate: Address) -> None:
        agent = self.agents[name]
        if base not in agent.bases:
            agent.bases.append(base)
        if candidate not in agent.candidates:
            agent.candidates.append(candidate)
            other, when = self._other(name), self._tells_at(agent)
            agent.told.setdefault(kind, when)
            self._at(when + self.signaling / 2, lambda: self._learn(other, candidate))
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
                self._check(name, base, source)
        else:
            agent.remotes.append(address)
        self._check_all(name)

    def _check_all(self, name: str) -> None:
        agent = self.agents[name]
        for base in agent.bases if agent.has_credentials else ():
            for remote in agent.remotes:
                if (base, remote) not in agent.checked:
                    agent.checked.add((base, remote))
                    self._check(name, base, remote)

    def _check(self, name: str, base: Address, remote: Address) -> None:
        agent = self.agents[name]
        agent.first_check = min(agent.first_check, self.now)
        self._send(name, base, remote, ("check", base, remote))

    def _send(self, name: str, source: Address, destination: Address, mark: tuple[object, ...]) -> None:
        if source == RELAYS[name]:
            # The permission goes with the packet.
            def relay() -> None:
                self.agents[name].permitted.add(destination.host)
                self._try_again()
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
        self._try_again()
        self._travel(name, out.source, destination, mark)

    def _try_again(self) -> None:
        """Something has been let out, so something else may be let in."""
        self._refused = [enters for enters in self._refused if not enters()]

    def _admit(self, enters: Callable[[], bool]) -> None:
        if not enters() and self.repeats:
            self._refused.append(enters)

    def _travel(self, origin: str, source: Address, destination: Address, mark: tuple[object, ...]) -> None:
        if destination == SERVER:
            self._at(self.now + self.server / 2, lambda: self._travel("S", SERVER, source, ("mapped", source)))
        for name, relayed in RELAYS.items():
            if destination == relayed:
                delay = 0.0 if origin == "S" else self.server / 2
                enters = partial(self._relay, name, source, mark)
                self._at(self.now + delay, partial(self._admit, enters))
        for name, host in OUTSIDE.items():
            if destination.host == host:
                delay = (self.server if origin == "S" else self.direct) / 2
                enters = partial(self._enter, name, source, destination, mark)
                self._at(self.now + delay, partial(self._admit, enters))

    def _relay(self, name: str, source: Address, mark: tuple[object, ...]) -> bool:
        admitted = source.host in self.agents[name].permitted
        if admitted:
            self._at(self.now + self.server / 2, lambda: self._receive(name, RELAYS[name], source, mark))
        return admitted

    def _enter(self, name: str, source: Address, destination: Address, mark: tuple[object, ...]) -> bool:
        into: Datagram | None = Datagram(source, destination, b"")
        for nat in reversed(self.agents[name].nats):
            assert into is not None
            into = nat.inbound(into, self.now)
            if into is None:
                return False
        found = into
        assert found is not None
        # Not within the loop over what was refused, which this may add to.
        self._at(self.now, lambda: self._receive(name, found.destination, source, mark))
        return True

    def _receive(self, name: str, base: Address, source: Address, mark: tuple[object, ...]) -> None:
        agent = self.agents[name]
        match mark:
            case ("mapped", Address() as mapped):
                self._found(name, "srflx", base, mapped)
            case ("check", asked_base, asked_remote):
                self._send(name, base, source, ("answer", asked_base, asked_remote))
                # Triggered: at once, also where a check is on its way.
                if (base, source) in agent.valid:
                    pass
                elif agent.has_credentials:
                    self._check(name, base, source)
                else:
                    agent.early.append((base, source))
            case ("answer", asked_base, asked_remote) if (asked_base, asked_remote) == (base, source):
                agent.valid.add((base, source))
                if agent.valid_at is None:
                    agent.valid_at, agent.valid_pair = self.now, (base, source)


def limits(setting: Setting, *, ice_only: bool = False) -> Mapping[Phase, float]:
    """What no engine can be faster than in this setting, in seconds; phases without such a bound are left out.

    Of engines with DTLS: DTLS 1.3 (RFC 9147: one round trip until the client has ended the handshake) from the side
    that is ready first, then SCTP (RFC 9260 §5.1), whose COOKIE ECHO takes the OPEN message of the channel (RFC 8832)
    and the first data along. Sound needs no SCTP: the client of DTLS sends it behind its Finished, the server when it
    knows the client by that. ICE over TCP is not considered. Empty where no path exists.
    """
    network = read_network(setting.network)
    relay_only = setting.relay_only or network.relay_only
    return _limits(
        network,
        setting.signaling,
        setting.rtt,
        setting.dead != "stun",
        setting.dead != "turn",
        relay_only,
        setting.trickle,
        setting.gathered,
        ice_only,
        setting.media,
    )


@lru_cache(maxsize=1024)
def _limits(
    network: Network,
    signaling: float,
    rtt: float,
    stun: bool,
    turn: bool,
    relay_only: bool,
    trickle: bool,
    gathered: bool,
    ice_only: bool,
    media: bool,
) -> Mapping[Phase, float]:
    oracle = Oracle(
        2 * signaling,
        rtt,
        rtt,
        (network.a, network.b),
        stun=stun,
        turn=turn,
        relay_only=relay_only,
        trickle=trickle,
        gathered=gathered,
        repeats=True,
    )
    offerer, answerer = oracle.run()
    if math.isinf(max(offerer, answerer)):
        return {}
    one, other = oracle.agents.values()
    waits = not (trickle or gathered)
    found: dict[Phase, float] = {Phase.RESOLVE: 0.0} if not gathered else {}
    found[Phase.FIRST_CANDIDATE] = min(min(agent.told.values(), default=math.inf) for agent in (one, other))
    for phase, kind in ((Phase.SRFLX, "srflx"), (Phase.RELAY, "relay")):
        found[phase] = min(agent.told.get(kind, math.inf) for agent in (one, other))
    found[Phase.OFFER] = one.began + waits * one.gathers_for
    found[Phase.ANSWER] = other.began + waits * other.gathers_for
    found[Phase.FIRST_CHECK] = min(one.first_check, other.first_check)
    found[Phase.FIRST_VALID] = found[Phase.SELECTED] = max(offerer, answerer)
    # Through a relay, or two of one server: to the server and on, and back again.
    path = 2 * rtt if oracle.relayed else rtt
    if ice_only:
        found[Phase.DATA] = offerer + path / 2
    else:
        # Both ways: who is the client is free (a=setup:actpass); the offering side opens the channel.
        from_offerer, from_answerer = max(offerer + path / 2, answerer), max(answerer + path / 2, offerer)
        found[Phase.DTLS] = min(from_offerer, from_answerer) + path
        found[Phase.OPEN] = found[Phase.DATA] = min(from_offerer + 2 * path, from_answerer + 2.5 * path)
        if media:
            found[Phase.MEDIA] = min(from_offerer + path, from_answerer + 1.5 * path)
    return {phase: round(value, 9) for phase, value in found.items() if not math.isinf(value)}


def direct_is_possible(network: Network) -> bool:
    """Whether the NATs of a network let packets through without a relay."""
    return not math.isinf(max(Oracle(0.1, 0.1, 0.1, (network.a, network.b)).run()))


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
