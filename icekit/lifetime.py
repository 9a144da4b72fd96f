"""The binding lifetime test: how long a NAT or firewall remembers a silent socket (RFC 5780 §4.6, RFC 4787 §4.3).

RFC 5780 searches with one socket after another, which takes many times the lifetime. Here one socket for each idle time
starts at once, and the test takes as long as the longest of them, or until two in a row found their binding gone.

A socket sends one request and falls silent. After its idle time another socket, the *asker*, wants the server to answer
to the first one's mapped port (RESPONSE-PORT): the answer comes through only if the binding is still there, and it does
not depend on what the NAT does with a new packet from inside. Where no server does that, each socket asks again itself,
and a mapped address that changed shows that its binding was gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from icekit import attributes as attr
from icekit.attributes import Item
from icekit.binding_response import mapped_address
from icekit.errors import ConfigError, DecodeError
from icekit.nat_observations import MIN_TRANSMISSIONS, LifetimeTrial
from icekit.net import Address, Datagram, SocketFailure, SocketReleased, SocketWanted
from icekit.stun import Class, Message, Method, decode
from icekit.transaction import Outcome, Path, Refused, Schedule, Succeeded, TimedOut, Transactions

SHORTEST: Final = 5.0
LONGEST: Final = 3600.0

# (up to, step): fine where lifetimes are short and a keepalive has to be chosen with care.
_STEPS: Final = ((60, 5), (120, 10), (300, 20), (600, 60), (3600, 300))


def idle_times(longest: float) -> tuple[float, ...]:
    """The idle times to try, in seconds, ascending, with ``longest`` as the last; ConfigError unless 5 to 3600."""
    if not SHORTEST <= longest <= LONGEST:
        raise ConfigError(f"the longest idle time is {longest:g} s; it may be {SHORTEST:g} to {LONGEST:g} seconds")
    found: list[float] = []
    first = 0
    for last, step in _STEPS:
        found += [float(idle) for idle in range(first + step, last + 1, step) if idle < longest]
        first = last
    return (*found, float(longest))


@dataclass(frozen=True, slots=True, kw_only=True)
class LifetimeConfig:
    """How the test waits; times in seconds.

    ``longest``: the longest idle time. ``transmissions``, ``interval`` and ``patience``: how often a request is sent,
    how far apart, and how long an answer may take after the last one. ``stagger``: between the first requests of two
    sockets. ``confirmations``: so many bindings in a row must be gone before longer ones are no longer waited for.
    ``max_servers``: how many servers are asked whether they know RESPONSE-PORT.
    """

    longest: float = 180.0
    transmissions: int = 6
    interval: float = 0.2
    patience: float = 2.0
    stagger: float = 0.02
    confirmations: int = 2
    max_servers: int = 4


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """One idle time is over; for progress. ``alive`` ``None``: it could not be told (yet)."""

    idle: float
    alive: bool | None


@dataclass(frozen=True, slots=True)
class LifetimeObserved:
    """The test is over. Without trials ``reason`` says why."""

    trials: tuple[LifetimeTrial, ...]
    reason: str


LifetimeEvent = TrialEnded | LifetimeObserved | SocketWanted | SocketReleased


@dataclass(slots=True)
class _Server:
    """What is known of a server's RESPONSE-PORT. ``why`` it cannot be used, once that is settled."""

    address: Address
    asker: Address | None = None
    reference: Address | None = None
    answered: bool = False
    why: str | None = None


@dataclass(slots=True)
class _Binding:
    """The binding of one socket. ``wake``: when its idle time is over."""

    idle: float
    local: Address
    start: float
    mapped: Address | None = None
    opened: float | None = None
    wake: float | None = None
    silent: int | None = None
    asker: str | None = None
    asker_settled: bool = False
    again: Address | None = None
    alive: bool | None = None
    done: bool = False


@dataclass(slots=True)
class _Sockets:
    asker: Address | None = None
    reference: Address | None = None
    idle: dict[int, Address] = field(default_factory=dict)


# Identifiers of sockets: the asker, the reference that shows whether RESPONSE-PORT works, then one for each idle time.
_ASKER: Final = 0
_REFERENCE: Final = 1
_FIRST: Final = 2


class LifetimeProbe:
    """Runs the test from ``host`` with servers that are known to answer; emits ``LifetimeObserved`` once."""

    def __init__(
        self,
        host: str,
        servers: Sequence[Address],
        token_bytes: Callable[[int], bytes],
        *,
        config: LifetimeConfig | None = None,
    ) -> None:
        self._config = config or LifetimeConfig()
        self._idle_times = idle_times(self._config.longest)
        self._host = host
        unique = tuple(dict.fromkeys(servers))[: self._config.max_servers]
        self._servers = {address: _Server(address) for address in unique}
        self._transactions = Transactions(token_bytes)
        self._events: deque[LifetimeEvent] = deque()
        self._sockets = _Sockets()
        self._awaited: set[int] = set()
        self._bindings: dict[int, _Binding] = {}
        self._by_local: dict[Address, _Binding] = {}
        self._server: Address | None = None
        self._response_port = False
        self._done = False
        self.dropped = 0

    def start(self, now: float) -> None:
        """Begin: all sockets are opened."""
        if not self._servers:
            self._finish()
            return
        for number in range(_FIRST + len(self._idle_times)):
            self._awaited.add(number)
            self._events.append(SocketWanted(number, Address(self._host, 0)))

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take an answer; what comes to a silent socket from elsewhere is dropped."""
        try:
            message = decode(datagram.data)
            if not self._receive_diverted(message, datagram, now):
                for outcome in self._transactions.receive(message, datagram, now):
                    self._take(outcome, now)
        except DecodeError:
            self.dropped += 1
        self._check_done()

    def handle_timer(self, now: float) -> None:
        """Send what is due, wake the sockets whose idle time is over, believe silences."""
        for outcome in self._transactions.handle_timer(now):
            self._take(outcome, now)
        if self._server is not None and not self._done:
            for index, binding in self._bindings.items():
                if binding.done:
                    continue
                if binding.start <= now and binding.opened is None:
                    binding.opened = now
                    self._send(("open", index), binding.local, self._server, now)
                if binding.wake is not None and binding.wake <= now:
                    binding.wake = None
                    self._ask_about(index, binding, self._server, now)
        self._check_done()

    def get_timer(self) -> float | None:
        """The next transmission or the end of the next idle time."""
        if self._done:
            return None
        due = [self._transactions.get_timer()]
        if self._server is not None:
            for binding in self._bindings.values():
                if not binding.done:
                    due.append(binding.start if binding.opened is None else binding.wake)
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        return self._transactions.datagrams_to_send()

    def next_event(self) -> LifetimeEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop now; what is known is emitted."""
        if not self._done:
            self._finish()

    # SocketUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """The test begins when all sockets are there."""
        if self._done:
            self._events.append(SocketReleased(local))
            return
        if id == _ASKER:
            self._sockets.asker = local
        elif id == _REFERENCE:
            self._sockets.reference = local
        else:
            self._sockets.idle[id] = local
        self._ready(id, now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """An idle time without its socket is left out."""
        if not self._done:
            self._ready(id, now)

    # Inside.

    def _ready(self, id: int, now: float) -> None:
        self._awaited.discard(id)
        if self._awaited:
            return
        asker, reference = self._sockets.asker, self._sockets.reference
        if asker is None or reference is None or not self._sockets.idle:
            self._finish("no socket could be opened")
            return
        for server in self._servers:
            self._send(("asker", server), asker, server, now)
            self._send(("reference", server), reference, server, now)

    def _send(self, tag: tuple[str, object], local: Address, server: Address, now: float, *items: Item) -> None:
        config = self._config
        schedule = Schedule.even(config.transmissions, config.interval, config.patience)
        self._transactions.send(tag, Method.BINDING, Path(local, server), items, schedule, now)

    def _receive_diverted(self, message: Message, datagram: Datagram, now: float) -> bool:
        """An answer that the asker wanted to go to another socket; such a thing is no answer to ``Transactions``."""
        binding = self._by_local.get(datagram.destination)
        from_server = datagram.source == self._server
        if binding is not None and binding.wake is not None and binding.opened is not None and from_server:
            # A NAT may take a late second answer for traffic, so silence begins after it. Nothing that a stranger
            # sends may put the test off for long.
            if now - binding.opened < self._config.patience:
                binding.wake = now + binding.idle
            self.dropped += 1
            return True
        if message.message_class is not Class.SUCCESS or message.method != Method.BINDING:
            return False
        match self._transactions.tag_of(message.transaction_id):
            case ("support", Address() as server):
                if datagram.destination != self._sockets.reference or datagram.source != server:
                    return False
                self._transactions.cancel(("support", server))
                self._begin(server, now, response_port=True)
                return True
            case ("ask", int() as index):
                binding = self._bindings[index]
                if datagram.destination != binding.local or not from_server:
                    return False
                self._transactions.cancel(("ask", index))
                self._transactions.cancel(("control", index))
                self._end(binding, True)
                return True
        return False

    def _take(self, outcome: Outcome, now: float) -> None:
        match outcome.tag:
            case (("asker" | "reference" | "support") as test, Address() as address):
                self._take_support(test, self._servers[address], outcome, now)
            case (str() as test, int() as index):
                binding = self._bindings[index]
                if not binding.done:
                    self._take_trial(test, binding, outcome, now)

    def _take_support(self, test: str, server: _Server, outcome: Outcome, now: float) -> None:
        """Whether this server sends an answer to another port of ours, tried with a binding that is fresh."""
        match test, outcome:
            case "support", Succeeded():
                server.why = f"server {server.address} ignores RESPONSE-PORT (RFC 5780)"
            case "support", Refused(error=error):
                server.why = f"server {server.address} refuses RESPONSE-PORT ({error.code})"
            case "support", TimedOut():
                server.why = f"an answer of server {server.address} to another port of ours does not arrive"
            case _, Succeeded(response=response):
                server.answered = True
                mapped = mapped_address(response)
                if mapped is None:
                    server.why = f"server {server.address} tells no mapped address"
                elif test == "asker":
                    server.asker = mapped
                else:
                    server.reference = mapped
            case _:
                server.why = f"server {server.address} does not answer"
        if self._done or self._server is not None:
            return
        if server.why is None and server.asker is not None and server.reference is not None:
            if server.asker.host != server.reference.host:
                server.why = "the NAT gives this host's sockets different public addresses"
            else:
                assert self._sockets.asker is not None
                item = attr.RESPONSE_PORT(server.reference.port)
                self._send(("support", server.address), self._sockets.asker, server.address, now, item)
        if all(item.why is not None for item in self._servers.values()):
            answering = [item for item in self._servers.values() if item.answered]
            if answering:
                self._begin(answering[0].address, now, response_port=False)
            else:
                self._finish("no STUN server answered over UDP")

    def _begin(self, server: Address, now: float, *, response_port: bool) -> None:
        """The silent sockets send their one request."""
        if self._server is not None:
            return
        self._server = server
        self._response_port = response_port
        for order, (number, local) in enumerate(sorted(self._sockets.idle.items())):
            binding = _Binding(self._idle_times[number - _FIRST], local, now + order * self._config.stagger)
            self._bindings[number] = binding
            self._by_local[local] = binding

    def _ask_about(self, index: int, binding: _Binding, server: Address, now: float) -> None:
        assert binding.mapped is not None
        if not self._response_port:
            self._send(("again", index), binding.local, server, now)
            return
        asker = self._sockets.asker
        assert asker is not None
        self._send(("ask", index), asker, server, now, attr.RESPONSE_PORT(binding.mapped.port))
        # Silence counts only if the server is heard at the same time, and sees the asker at the address to which the
        # answer has to go.
        self._send(("control", index), asker, server, now)

    def _take_trial(self, test: str, binding: _Binding, outcome: Outcome, now: float) -> None:
        mapped: Address | None = None
        if isinstance(outcome, Succeeded):
            mapped = mapped_address(outcome.response)
        match test:
            case "open" if mapped is not None:
                binding.mapped = mapped
                binding.wake = now + binding.idle
            case "again" if mapped is not None:
                binding.again = mapped
                self._end(binding, None if mapped == binding.mapped else False)
            case "control":
                binding.asker, binding.asker_settled = None if mapped is None else mapped.host, True
                self._judge_silence(binding)
            case "ask" if isinstance(outcome, TimedOut):
                binding.silent = outcome.sent
                self._judge_silence(binding)
            case _:
                self._end(binding, None)

    def _judge_silence(self, binding: _Binding) -> None:
        if binding.silent is None or not binding.asker_settled:
            return
        assert binding.mapped is not None
        heard = binding.asker == binding.mapped.host and binding.silent >= MIN_TRANSMISSIONS
        self._end(binding, False if heard else None)

    def _end(self, binding: _Binding, alive: bool | None) -> None:
        binding.done, binding.alive, binding.wake = True, alive, None
        self._events.append(TrialEnded(binding.idle, alive))

    def _check_done(self) -> None:
        if self._done or self._server is None:
            return
        known = sorted(self._bindings.values(), key=lambda binding: binding.idle)
        gone = 0
        for binding in known:
            if not binding.done:
                return
            gone = gone + 1 if binding.alive is False else 0
            if gone == self._config.confirmations:
                break
        self._finish()

    def _trials(self) -> tuple[tuple[LifetimeTrial, ...], str]:
        known = [binding for binding in self._bindings.values() if binding.done]
        trials = [LifetimeTrial(item.idle, item.alive) for item in known if item.alive is not None]
        if self._response_port:
            return tuple(trials), "" if trials else "no binding could be watched to the end of its idle time"
        why = next((server.why for server in self._servers.values() if server.answered and server.why), None)
        if why is None:
            return (), "the test was cut short" if self._servers else "no STUN server answered over UDP"
        opened = [binding for binding in self._bindings.values() if binding.mapped is not None]
        kept = sum(binding.mapped is not None and binding.mapped.port == binding.local.port for binding in opened)
        if 2 * kept > len(opened):
            return (), f"{why}, and the port number stays: a new binding would look like the old one"
        if not trials:
            longest = max((binding.idle for binding in known), default=0.0)
            return (), f"{why}, and no mapped address changed within {longest:.0f} s, which proves nothing"
        # This NAT gives a new binding another port, as was seen, so an unchanged one is the old one.
        trials += [LifetimeTrial(item.idle, True) for item in known if item.again is not None and item.alive is None]
        return tuple(sorted(trials, key=lambda trial: trial.idle)), ""

    def _finish(self, reason: str | None = None) -> None:
        self._done = True
        trials, why = self._trials()
        for tag in self._transactions.tags():
            self._transactions.cancel(tag)
        sockets = self._sockets
        for local in (sockets.asker, sockets.reference, *sockets.idle.values()):
            if local is not None:
                self._events.append(SocketReleased(local))
        self._events.append(LifetimeObserved(trials, reason or why))
