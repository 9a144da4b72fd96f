"""The NAT test: runs its plan as an ``Endpoint`` and ends in observations (RFC 5780, 4787).

Silence is believed after several transmissions and a wait that follows the round-trip time of a control request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from icekit import attributes as attr
from icekit.attributes import Item
from icekit.binding_response import is_usable, readable, without_fingerprint
from icekit.errors import DecodeError
from icekit.nat_observations import FilterTrial, HairpinTrial, NatObservations, Sample, Silence, alternate_flaw
from icekit.net import Address, Datagram, SocketFailure, SocketReleased, SocketWanted
from icekit.probe_plan import ProbeConfig, Trial, plan
from icekit.stun import Class, Message, Method, decode
from icekit.transaction import Outcome, Path, Refused, Schedule, Succeeded, TimedOut, Transactions


@dataclass(frozen=True, slots=True)
class NatObserved:
    """The test is over."""

    observations: NatObservations


ProbeEvent = NatObserved | SocketWanted | SocketReleased


@dataclass(slots=True)
class _Filter:
    """What is known of one CHANGE-REQUEST so far; ``seconds`` is set when it is decided."""

    trial: Trial
    started: float
    sent: int = 0
    source: Address | None = None
    control: bool = False
    other: Address | None = None
    error: int | None = None
    seconds: float | None = None


@dataclass(slots=True)
class _Asked:
    """An open request: where it went, when, and how many first transmissions there were before."""

    server: Address
    started: float
    order: int


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
        # Round-trip times by host, and the one that TCP told.
        self._rtts: dict[str, float] = {}
        self._expected: float | None = None
        self._open: dict[Hashable, _Asked] = {}
        self._order = 0
        self._mapping_local: Address | None = None
        self._asked: set[Address] = set()
        self._garbled: set[Address] = set()
        self._rewritten = False
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

    def expect_rtt(self, rtt: float) -> None:
        """Tell what TCP needed to reach these servers: then silence over UDP need not be waited for so long."""
        self._expected = rtt if self._expected is None else min(rtt, self._expected)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take an answer, or a request of our own that came back through the NAT."""
        try:
            message = decode(datagram.data)
        except DecodeError:
            self.dropped += 1
            if datagram.source in self._servers:
                self._garbled.add(datagram.source)
                self._rewritten = self._rewritten or self._is_rewritten(datagram.data)
            return
        if message.message_class is Class.REQUEST:
            self._receive_request(message, datagram, now)
        else:
            for outcome in self._transactions.receive(message, datagram, now):
                self._take(outcome, now)
        self._check_done(now)

    def handle_timer(self, now: float) -> None:
        """Retransmit, and believe silences whose time has come."""
        if (due := self.get_timer()) is not None and now - due > self._config.margin:
            # This host stood still: what was lost meanwhile is no silence of the network.
            for asked in self._open.values():
                asked.started += now - due
        for outcome in self._transactions.handle_timer(now):
            self._take(outcome, now)
        for tag, asked in list(self._open.items()):
            if (deadline := self._deadline(tag, asked)) is not None and deadline <= now and tag in self._open:
                self._silent(tag, self._transactions.cancel(tag), now)
        self._check_done(now)

    def get_timer(self) -> float | None:
        """The earliest retransmission or decision."""
        if self._done:
            return None
        due = [self._transactions.get_timer(), *(self._deadline(tag, asked) for tag, asked in self._open.items())]
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
        if self._done or id not in self._awaited:
            self._events.append(SocketReleased(local))
            return
        self._sockets[id] = local
        self._tests[local] = self._plan[id]
        self._ready(id, now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A test without its socket does not take part."""
        if not self._done and id in self._awaited:
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
            self._mapping_local = local
            for server in self._servers:
                self._ask_for_mapping(server, now)
        elif trial.change is not None:
            assert trial.server is not None
            self._filters[local] = _Filter(trial, now)
            self._send(("filter", local), local, trial.server, now, attr.CHANGE_REQUEST(trial.change), any_source=True)
            self._send((_CONTROL, local), local, trial.server, now)
        else:
            assert self._best is not None
            self._send(("ask", local, self._best), local, self._best, now)

    def _ask_for_mapping(self, server: Address, now: float) -> None:
        if self._mapping_local is not None and server not in self._asked:
            self._asked.add(server)
            self._send(("ask", self._mapping_local, server), self._mapping_local, server, now)

    def _send(
        self, tag: Hashable, local: Address, server: Address, now: float, *items: Item, any_source: bool = False
    ) -> None:
        config = self._config
        schedule = Schedule.even(config.transmissions, config.interval, config.patience)
        self._order += 1
        self._open[tag] = _Asked(server, now, self._order)
        path = Path(local, server)
        self._transactions.send(tag, Method.BINDING, path, items, schedule, now, any_source=any_source)

    def _deadline(self, tag: Hashable, asked: _Asked) -> float | None:
        """When the silence of a request counts: its transmissions, some round-trip times, a margin."""
        config = self._config
        rtt = self._rtts.get(asked.server.host)
        stranger = 0.0
        if rtt is None and isinstance(tag, tuple) and tag[0] == _HAIRPIN:
            # The way to our own NAT is a part of every other way.
            rtt = min(self._rtts.values(), default=None)
        elif rtt is None:
            rtt = min(self._rtts.values(), default=self._expected)
            stranger = config.stranger
        if rtt is None:
            return None
        return asked.started + config.burst + config.rtt_factor * rtt + config.margin + stranger

    def _take(self, outcome: Outcome, now: float) -> None:
        tag = outcome.tag
        match outcome:
            case Succeeded():
                self._answered(tag, outcome, now)
            case Refused(error=error):
                self._refused(tag, error.code, outcome.sent, now)
            case TimedOut(sent=sent):
                self._silent(tag, sent, now)
            case _:
                pass

    def _answered(self, tag: Hashable, outcome: Succeeded, now: float) -> None:
        asked = self._open.pop(tag)
        response = outcome.response
        if outcome.source == asked.server:
            host = asked.server.host
            self._rtts[host] = min(outcome.seconds, self._rtts.get(host, outcome.seconds))
        other = readable(response, attr.OTHER_ADDRESS) or readable(response, attr.CHANGED_ADDRESS)
        match tag:
            case ("filter", Address() as local):
                found = self._filters[local]
                found.source, found.sent, found.seconds = outcome.source, outcome.sent, outcome.seconds
                self._ask_alternates(found.trial.server, now)
                return
            case (kind, Address() as local, *_) if kind == _CONTROL:
                test = _CONTROL
                self._controlled(self._filters[local], outcome, other)
            case ("ask", Address() as local, *_):
                test = self._tests[local].test
            case _:
                return
        if other is not None:
            self._others.setdefault(asked.server, other)
        self._ask_alternates(asked.server, now)
        self._sample(test, local, asked, outcome, now)

    def _sample(self, test: str, local: Address, asked: _Asked, outcome: Succeeded, now: float) -> None:
        """What the answer says of the mapping; the first one tells whom the second wave asks."""
        response = outcome.response
        mapped, plain = readable(response, attr.XOR_MAPPED_ADDRESS), readable(response, attr.MAPPED_ADDRESS)
        address = mapped or plain
        if address is None or not is_usable(address):
            self._silences.append(
                Silence(test, asked.server, outcome.sent, outcome.seconds, "no usable mapped address")
            )
            return
        self._samples.append(
            Sample(
                test,
                local,
                asked.server,
                address,
                None if mapped is None else plain,
                asked.order,
                outcome.sent,
                outcome.seconds,
            )
        )
        if test == "hairpin":
            self._hairpin_mapped[local] = address
            if len(self._hairpin_mapped) == 2:
                self._start_hairpin(now)
        if self._wave == 1:
            self._best = asked.server
            self._open_wave(2)

    def _controlled(self, found: _Filter, outcome: Succeeded, other: Address | None) -> None:
        found.control = True
        found.other = other
        if other is None and found.seconds is None:
            # Nothing can come from an address that the server does not have.
            tag = ("filter", outcome.path.local)
            found.sent, found.seconds = self._transactions.cancel(tag), outcome.seconds
            del self._open[tag]

    def _ask_alternates(self, server: Address | None, now: float) -> None:
        """RFC 5780 §4.3: the alternate address with the primary port, and with the alternate port.

        The alternate port of the primary address comes on top: it is the control of the second filtering test. Nothing
        is sent to them before filtering is decided: some firewalls open for the whole host and not for a socket.
        """
        other = self._others.get(server) if server in self._servers else None
        if server is None or other is None or alternate_flaw(server, other) is not None:
            return
        if any(item.trial.server == server and item.seconds is None for item in self._filters.values()):
            return
        for address in (Address(other.host, server.port), other, Address(server.host, other.port)):
            self._ask_for_mapping(address, now)

    def _start_hairpin(self, now: float) -> None:
        """Both send, so that a NAT that filters has been told by each side to expect the other."""
        (one, one_mapped), (two, two_mapped) = self._hairpin_mapped.items()
        hosts = {one_mapped.host, two_mapped.host}
        if hosts & set(self._local_hosts) or {one_mapped.family, two_mapped.family} != {one.family}:
            return
        self._hairpin_started = now
        self._send((_HAIRPIN, one), one, two_mapped, now, any_source=True)
        self._send((_HAIRPIN, two), two, one_mapped, now, any_source=True)

    def _is_rewritten(self, data: bytes) -> bool:
        """Whether it would be an answer to us, if its FINGERPRINT (RFC 8489 §14.7) were not that of other addresses."""
        message = without_fingerprint(data)
        if message is None or self._transactions.tag_of(message.transaction_id) is None:
            return False
        mapped, plain = readable(message, attr.XOR_MAPPED_ADDRESS), readable(message, attr.MAPPED_ADDRESS)
        return None not in (mapped, plain) and mapped != plain

    def _receive_request(self, message: Message, datagram: Datagram, now: float) -> None:
        """A request can only be ours: through the NAT and back, or from a server that echoes whatever it gets."""
        tag = self._transactions.tag_of(message.transaction_id)
        if self._hairpin_started is None or not isinstance(tag, tuple) or tag[0] != _HAIRPIN:
            self.dropped += 1
            if datagram.source in self._servers:
                self._garbled.add(datagram.source)
            return
        sent = 0 if self._hairpin is None else self._hairpin.sent
        for local in self._hairpin_mapped:
            self._open.pop((_HAIRPIN, local), None)
            sent += self._transactions.cancel((_HAIRPIN, local))
        self._hairpin = HairpinTrial(sent, 1, now - self._hairpin_started)

    def _refused(self, tag: Hashable, code: int, sent: int, now: float) -> None:
        match tag:
            case ("filter", Address() as local):
                del self._open[tag]
                found = self._filters[local]
                found.error, found.sent, found.seconds = code, sent, now - found.started
                self._ask_alternates(found.trial.server, now)
            case (kind, Address() as local) if kind == _CONTROL:
                del self._open[tag]
                self._filters[local].error = code
            case _:
                self._silent(tag, sent, now, f"error {code}")

    def _silent(self, tag: Hashable, sent: int, now: float, heard: str = "") -> None:
        asked = self._open.pop(tag)
        match tag:
            case ("ask", Address() as local, *_):
                if not heard and asked.server in self._garbled:
                    heard = "something that is not STUN"
                self._silences.append(Silence(self._tests[local].test, asked.server, sent, now - asked.started, heard))
            case ("filter", Address() as local):
                found = self._filters[local]
                found.sent, found.seconds = sent, now - found.started
                self._ask_alternates(found.trial.server, now)
            case (kind, Address()) if kind == _HAIRPIN and self._hairpin_started is not None:
                before = 0 if self._hairpin is None else self._hairpin.sent
                self._hairpin = HairpinTrial(before + sent, 0, now - self._hairpin_started)
            case _:
                pass

    def _check_done(self, now: float) -> None:
        if not self._done and not self._awaited and not self._open:
            self._finish(now)

    def _finish(self, now: float) -> None:
        self._done = True
        for tag in list(self._open):
            sent = self._transactions.cancel(tag)
            match tag:
                case ("filter", Address() as local):
                    self._filters[local].sent = sent
                case ("ask", Address(), *_):
                    self._silent(tag, sent, now)
                case _:
                    pass
        self._open.clear()
        filters = tuple(
            FilterTrial(
                found.trial.server,
                found.trial.change,
                found.sent,
                found.source,
                found.control,
                found.other,
                found.error,
                now - found.started if found.seconds is None else found.seconds,
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
            rewritten=self._rewritten,
            seconds=now - self._began,
        )
        for local in self._tests:
            self._events.append(SocketReleased(local))
        self._events.append(NatObserved(observations))
