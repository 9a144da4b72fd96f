"""The NAT test: a plan of requests, run as an ``Endpoint``, that ends in observations (RFC 5780, 4787).

Mapping and filtering are measured apart, side by side, each from a fresh socket. The plan has two waves:

1. from one socket a Binding request to every server, and to their alternate addresses as they become known (mapping);
   for every server two sockets that ask for an answer from another address and from another port (filtering). Those
   two never send to the alternate address, and nobody needs to know it before they start.
2. after the first answer, in one burst to that server: sockets for the port assignment, and two that then send to each
   other's mapped address (hairpinning).

Silence is believed after several transmissions and a wait that follows the round-trip time of a control request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from icekit import attributes as attr
from icekit.attributes import Change, Item
from icekit.errors import DecodeError
from icekit.net import Address, Datagram, SocketFailure, SocketReleased, SocketWanted
from icekit.observations import FilterTrial, HairpinTrial, NatObservations, Sample, Silence
from icekit.stun import Class, Message, Method, decode
from icekit.transaction import Outcome, Path, Refused, Schedule, Succeeded, TimedOut, Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """How patient the NAT test is; times in seconds.

    RFC 8489 §6.2.1 waits 500 ms before the first retransmission, because a client cannot know better. A test sends a
    handful of 20-byte requests once, and must not depend on a lost one, so it repeats them every ``interval``.

    ``transmissions``: per request. ``patience``: how long the first answer may take after the last of them.
    ``rtt_factor`` and ``margin``: a silence counts after that many round-trip times and that margin.
    ``port_sockets``: sockets of the port test. ``max_servers``: how many of the given servers are used.
    """

    transmissions: int = 6
    interval: float = 0.1
    patience: float = 2.0
    rtt_factor: float = 2.5
    margin: float = 0.1
    port_sockets: int = 8
    max_servers: int = 8

    @property
    def burst(self) -> float:
        """Seconds from the first to the last transmission of a request."""
        return (self.transmissions - 1) * self.interval


@dataclass(frozen=True, slots=True)
class Trial:
    """One socket of the plan: what it tests, with which server (``None``: all, or the one that answered first)."""

    test: str
    wave: int
    server: Address | None = None
    change: Change | None = None


def plan(servers: Sequence[Address], config: ProbeConfig) -> tuple[Trial, ...]:
    """The sockets of a NAT test with these servers, in the order in which they send."""
    first = [Trial("mapping", 1)]
    for server in servers:
        first.append(Trial("filtering-address", 1, server, Change.IP | Change.PORT))
        first.append(Trial("filtering-port", 1, server, Change.PORT))
    second = [Trial("port", 2) for _ in range(config.port_sockets)] + [Trial("hairpin", 2), Trial("hairpin", 2)]
    return (*first, *second)


@dataclass(frozen=True, slots=True)
class NatObserved:
    """The test is over."""

    observations: NatObservations


ProbeEvent = NatObserved | SocketWanted | SocketReleased


@dataclass(slots=True)
class _Filter:
    """What is known of one CHANGE-REQUEST so far."""

    trial: Trial
    started: float
    sent: int = 0
    source: Address | None = None
    control: bool | None = None
    other: Address | None = None
    error: int | None = None
    seconds: float | None = None


_CONTROL: Final = "control"
_HAIRPIN: Final = "hairpinning"


class NatProbe:
    """Runs the plan from ``host`` (the source address towards the servers) and emits ``NatObserved`` once."""

    def __init__(
        self,
        host: str,
        servers: Sequence[Address],
        token_bytes: Callable[[int], bytes],
        *,
        local_hosts: Sequence[str] = (),
        config: ProbeConfig | None = None,
    ) -> None:
        self._config = config or ProbeConfig()
        self._host = host
        self._servers = tuple(dict.fromkeys(servers))[: self._config.max_servers]
        self._local_hosts = tuple(dict.fromkeys((host, *local_hosts)))
        self._transactions = Transactions(token_bytes)
        self._plan = plan(self._servers, self._config)
        self._events: deque[ProbeEvent] = deque()
        self._sockets: dict[int, Address | None] = {}
        self._tests: dict[Address, Trial] = {}
        self._awaited: set[int] = set()
        self._wave = 0
        self._best: Address | None = None
        self._rtt: float | None = None
        self._give_up: dict[Hashable, float] = {}
        self._orders: dict[Hashable, int] = {}
        self._order = 0
        self._asked: set[Address] = set()
        self._filters: dict[Address, _Filter] = {}
        self._samples: list[Sample] = []
        self._silences: list[Silence] = []
        self._others: dict[Address, Address] = {}
        self._hairpin_mapped: dict[Address, Address] = {}
        self._hairpin_started: float | None = None
        self._hairpin: HairpinTrial | None = None
        self._began = 0.0
        self._done = False
        self.dropped = 0

    # What the owner calls.

    def start(self, now: float) -> None:
        """Begin. Without a server there is nothing to observe, and the test ends at once."""
        self._began = now
        if self._servers:
            self._open_wave(1)
        else:
            self._finish(now)

    def expect_rtt(self, rtt: float, now: float) -> None:
        """Tell what TCP needed to reach these servers: then silence over UDP need not be waited for so long."""
        if self._rtt is None:
            self._shorten(rtt, now)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take an answer, or a request of our own that came back through the NAT."""
        try:
            message = decode(datagram.data)
            if message.message_class is Class.REQUEST:
                self._receive_request(message, datagram, now)
            else:
                for outcome in self._transactions.receive(message, datagram, now):
                    self._take(outcome, now)
        except DecodeError:
            self.dropped += 1
        self._check_done(now)

    def handle_timer(self, now: float) -> None:
        """Retransmit, and believe silences whose time has come."""
        for outcome in self._transactions.handle_timer(now):
            self._take(outcome, now)
        for tag, when in list(self._give_up.items()):
            if when <= now:
                del self._give_up[tag]
                self._silent(tag, self._transactions.cancel(tag), now)
        self._check_done(now)

    def get_timer(self) -> float | None:
        """The earliest retransmission or decision."""
        if self._done:
            return None
        due = [self._transactions.get_timer(), *self._give_up.values()]
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        return self._transactions.datagrams_to_send()

    def next_event(self) -> ProbeEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop now; what is known is emitted."""
        if not self._done:
            self._finish(now)

    # SocketUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """A socket of the current wave is there; the wave sends when all of it are."""
        if self._done:
            self._events.append(SocketReleased(local))
            return
        self._sockets[id] = local
        self._tests[local] = self._plan[id]
        self._ready(id, now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A test without its socket does not take part."""
        if not self._done:
            self._ready(id, now)

    # Inside.

    def _open_wave(self, wave: int) -> None:
        self._wave = wave
        for index, trial in enumerate(self._plan):
            if trial.wave == wave:
                self._sockets[index] = None
                self._awaited.add(index)
                self._events.append(SocketWanted(index, Address(self._host, 0)))

    def _ready(self, id: int, now: float) -> None:
        self._awaited.discard(id)
        if self._awaited:
            return
        for index in sorted(self._sockets):
            local = self._sockets[index]
            if local is not None and self._plan[index].wave == self._wave:
                self._begin(self._plan[index], local, now)
        self._check_done(now)

    def _begin(self, trial: Trial, local: Address, now: float) -> None:
        if trial.test == "mapping":
            for server in self._servers:
                self._ask(local, server, now)
        elif trial.change is not None:
            assert trial.server is not None
            self._filters[local] = _Filter(trial, now)
            self._send(("filter", local), local, trial.server, now, attr.CHANGE_REQUEST(trial.change), any_source=True)
            self._send((_CONTROL, local), local, trial.server, now)
        else:
            assert self._best is not None
            self._ask(local, self._best, now)

    def _ask(self, local: Address, server: Address, now: float) -> None:
        if self._tests[local].test == "mapping":
            if server in self._asked:
                return
            self._asked.add(server)
        self._send(("ask", local, server), local, server, now)

    def _send(
        self, tag: Hashable, local: Address, server: Address, now: float, *items: Item, any_source: bool = False
    ) -> None:
        config = self._config
        schedule = Schedule.even(config.transmissions, config.interval, config.patience)
        self._order += 1
        self._orders[tag] = self._order
        path = Path(local, server)
        self._transactions.send(tag, Method.BINDING, path, items, schedule, now, any_source=any_source)
        if self._rtt is not None:
            self._give_up[tag] = now + config.burst + config.rtt_factor * self._rtt + config.margin

    def _take(self, outcome: Outcome, now: float) -> None:
        tag = outcome.tag
        self._give_up.pop(tag, None)
        match outcome:
            case Succeeded():
                self._answered(tag, outcome, now)
            case Refused(error=error):
                match tag:
                    case ("filter", Address() as local):
                        found = self._filters[local]
                        found.error, found.sent, found.seconds = error.code, outcome.sent, outcome.seconds
                    case _:
                        self._silent(tag, outcome.sent, now)
            case TimedOut(sent=sent):
                self._silent(tag, sent, now)
            case _:
                pass

    def _answered(self, tag: Hashable, outcome: Succeeded, now: float) -> None:
        response = outcome.response
        mapped = response.get(attr.XOR_MAPPED_ADDRESS)
        plain = response.get(attr.MAPPED_ADDRESS)
        other = response.get(attr.OTHER_ADDRESS) or response.get(attr.CHANGED_ADDRESS)
        if self._rtt is None:
            self._shorten(outcome.seconds, now)
        match tag:
            case ("filter", Address() as local):
                found = self._filters[local]
                found.source, found.sent, found.seconds = outcome.source, outcome.sent, outcome.seconds
                return
            case (kind, Address() as local, *_) if kind == _CONTROL:
                self._controlled(self._filters[local], outcome, other)
                test = _CONTROL
            case ("ask", Address() as local, Address() as server):
                test = self._tests[local].test
                if test == "mapping":
                    self._learn_alternate(local, server, other, now)
            case _:
                return
        address = mapped or plain
        if address is None:
            return
        server = outcome.path.remote
        self._samples.append(Sample(test, local, server, address, plain, self._orders[tag], outcome.sent, outcome.rtt))
        if test == "hairpin":
            self._hairpin_mapped[local] = address
            if len(self._hairpin_mapped) == 2:
                self._start_hairpin(now)
        if self._wave == 1 and not self._awaited:
            self._best = server
            self._open_wave(2)

    def _controlled(self, found: _Filter, outcome: Succeeded, other: Address | None) -> None:
        found.control = True
        found.other = other
        if other is None:
            # Nothing can come from an address that the server does not have.
            tag = ("filter", outcome.path.local)
            if found.seconds is None:
                found.sent = self._transactions.cancel(tag)
                found.seconds = outcome.seconds
            self._give_up.pop(tag, None)

    def _learn_alternate(self, local: Address, server: Address, other: Address | None, now: float) -> None:
        """RFC 5780 §4.3: the alternate address with the primary port, and with the alternate port; both at once."""
        if other is None or server not in self._servers or server in self._others:
            return
        self._others[server] = other
        if other.family == server.family and other.host != server.host and other.port != server.port and other.port:
            self._ask(local, Address(other.host, server.port), now)
            self._ask(local, other, now)

    def _start_hairpin(self, now: float) -> None:
        """Both send, so that a NAT that filters has been told by each side to expect the other."""
        (one, one_mapped), (two, two_mapped) = self._hairpin_mapped.items()
        if one_mapped.host in self._local_hosts:
            return
        self._hairpin_started = now
        self._send((_HAIRPIN, one), one, two_mapped, now, any_source=True)
        self._send((_HAIRPIN, two), two, one_mapped, now, any_source=True)

    def _receive_request(self, message: Message, datagram: Datagram, now: float) -> None:
        """A request can only be ours: through the NAT and back."""
        tag = self._transactions.tag_of(message.transaction_id)
        if self._hairpin_started is None or not isinstance(tag, tuple) or tag[0] != _HAIRPIN or self._hairpin:
            self.dropped += 1
            return
        sent = 0
        for local in self._hairpin_mapped:
            self._give_up.pop((_HAIRPIN, local), None)
            sent += self._transactions.cancel((_HAIRPIN, local))
        self._hairpin = HairpinTrial(sent, 1, now - self._hairpin_started)

    def _silent(self, tag: Hashable, sent: int, now: float) -> None:
        match tag:
            case ("ask", Address() as local, Address() as server):
                self._silences.append(Silence(self._tests[local].test, server, sent, now - self._began))
            case ("filter", Address() as local):
                found = self._filters[local]
                found.sent, found.seconds = sent, now - found.started
            case (kind, Address() as local) if kind == _CONTROL:
                self._filters[local].control = False
            case (kind, Address()) if kind == _HAIRPIN and self._hairpin_started is not None:
                before = 0 if self._hairpin is None else self._hairpin.sent
                self._hairpin = HairpinTrial(before + sent, 0, now - self._hairpin_started)
            case _:
                pass

    def _shorten(self, rtt: float, now: float) -> None:
        """From now on a silence has a measure: the transmissions, some round-trip times, a margin."""
        config = self._config
        self._rtt = rtt
        # Another server may be farther away than the one that we know.
        wait = config.burst + config.rtt_factor * rtt + config.margin
        for tag in self._transactions.tags():
            foreign = isinstance(tag, tuple) and tag[0] in ("ask", _CONTROL)
            self._give_up[tag] = max(now, self._began) + wait + (0.5 if foreign else 0.0)

    def _check_done(self, now: float) -> None:
        if not self._done and not self._awaited and not len(self._transactions):
            self._finish(now)

    def _finish(self, now: float) -> None:
        self._done = True
        filters = tuple(
            FilterTrial(
                found.trial.server,
                found.trial.change,
                found.sent,
                found.source,
                bool(found.control),
                found.other,
                found.error,
                found.seconds or now - found.started,
            )
            for found in self._filters.values()
            if found.trial.server is not None and found.trial.change is not None
        )
        observations = NatObservations(
            local_hosts=self._local_hosts,
            samples=tuple(self._samples),
            silences=tuple(self._silences),
            filters=filters,
            hairpin=self._hairpin,
            others=tuple(self._others.items()),
            seconds=now - self._began,
        )
        for local in self._tests:
            self._events.append(SocketReleased(local))
        for tag in self._transactions.tags():
            self._transactions.cancel(tag)
        self._give_up.clear()
        self._events.append(NatObserved(observations))
