"""The NAT test without sockets: a ``NatProbe``, a chain of ``Nat`` and servers, joined by a wire in virtual time.

For tests of a thousand seeds: several times as fast as the same probe on the simulator, which has asyncio in it.
"""

from __future__ import annotations

import heapq
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from icekit.nat import Nat, NatConfig
from icekit.nat_classification import classify
from icekit.nat_observations import NatObservations
from icekit.net import Address, Datagram, SocketFailure, SocketReleased, SocketWanted
from icekit.probe import NatObserved, NatProbe
from icekit.probe_plan import ProbeConfig
from icekit.report import NatReport
from icekit.server import Server, ServerConfig

# How many seeds a statistical test runs; 1,000 and more in the long run.
SEEDS = int(os.environ.get("ICEKIT_SEEDS", "20"))

Answerer = Callable[[Datagram], Sequence[Datagram]]

HOSTS = {4: ("203.0.113.10", "203.0.113.11"), 6: ("2001:db8:1::10", "2001:db8:1::11")}
EXTERNAL = {4: ("198.51.100.1", "198.51.100.2"), 6: ("2001:db8:2::1", "2001:db8:2::2")}
INSIDE = {4: "192.168.1.2", 6: "fd00::2"}
PRIMARY = {family: Address(hosts[0], 3478) for family, hosts in HOSTS.items()}


def discovery_server(family: int = 4, hosts: Sequence[str] = (), ports: Sequence[int] = (3478, 3479)) -> Answerer:
    """A server with RFC 5780 on two hosts and two ports; with one of each it is a plain one."""
    core = Server(ServerConfig(rate=1e6, burst=1e6), token_bytes=random.Random(1).randbytes)
    for host in hosts or HOSTS[family]:
        for port in ports:
            core.add_local_address(Address(host, port))

    def answer(datagram: Datagram) -> Sequence[Datagram]:
        core.receive_datagram(datagram, 0.0)
        return core.datagrams_to_send()

    return answer


class Wire:
    """One host behind ``chain`` (NATs from the inside out). ``delay`` each way in seconds, ``loss`` of each way.

    ``first_loss``: of each packet on its way to the innermost NAT. ``external``: how many addresses the outermost NAT
    has. ``answerers``: who answers at a host (by IP). ``far``: extra delay each way by host. ``sent`` counts what left
    the host, by destination; ``wire`` is all of it in order.
    """

    def __init__(
        self,
        chain: Sequence[NatConfig] = (),
        *,
        seed: int = 0,
        family: int = 4,
        delay: float = 0.025,
        loss: float = 0.0,
        first_loss: float = 0.0,
        external: int = 1,
        answerers: Mapping[str, Answerer] | None = None,
        far: Mapping[str, float] | None = None,
    ) -> None:
        self.dice = random.Random(seed)
        self.family = family
        self.host = INSIDE[family] if any(config.translates for config in chain) else EXTERNAL[family][0]
        self.nats = [self._nat(config, index, len(chain), external) for index, config in enumerate(chain)]
        self.delay, self.loss, self.first_loss = delay, loss, first_loss
        server = discovery_server(family)
        self.answerers: Mapping[str, Answerer] = answerers or dict.fromkeys(HOSTS[family], server)
        self.far = far or {}
        self.now = 0.0
        self.sent: Counter[Address] = Counter()
        self.wire: list[Datagram] = []
        self.released: set[Address] = set()
        self.failing_sockets: set[int] = set()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._ports: set[int] = set()
        self.observed: NatObservations | None = None

    def _nat(self, config: NatConfig, index: int, count: int, external: int) -> Nat:
        if not config.translates:
            return Nat(config, token_bytes=self.dice.randbytes)
        outermost = index == count - 1
        hosts = EXTERNAL[self.family][:external] if outermost else (f"100.64.0.{index + 1}",)
        return Nat(config, hosts, token_bytes=self.dice.randbytes)

    def probe(self, servers: Sequence[Address] = (), config: ProbeConfig | None = None) -> NatProbe:
        """A core for this host."""
        return NatProbe(self.host, servers or [PRIMARY[self.family]], self.dice.randbytes, config=config)

    def run(self, probe: NatProbe | None = None, *, until: float = 60.0) -> NatReport:
        """Run the test to its end (or close it at ``until``) and conclude."""
        core = probe or self.probe()
        core.start(self.now)
        self._pump(core)
        while self.observed is None:
            timer = core.get_timer()
            head = self._queue[0][0] if self._queue else None
            times = [when for when in (timer, head) if when is not None]
            assert times, "the core waits for nothing"
            if min(times) > until:
                self.now = until
                core.close(until)
            elif head is not None and head <= min(times):
                self.now = head
                heapq.heappop(self._queue)[2]()
            else:
                self.now = min(times)
                self.run_timer(core)
            self._pump(core)
        assert core.get_timer() is None
        return classify(self.observed)

    def run_timer(self, core: NatProbe) -> None:
        """The timer is due."""
        core.handle_timer(self.now)
        left = core.get_timer()
        assert left is None or left > self.now

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, action))

    def _pump(self, core: NatProbe) -> None:
        for datagram in core.datagrams_to_send():
            self.sent[datagram.destination] += 1
            self.wire.append(datagram)
            self._leave(core, datagram)
        while (event := core.next_event()) is not None:
            match event:
                case SocketWanted():
                    self._later(0.0, partial(self._open, core, event.id, event.local.host))
                case SocketReleased(local=local):
                    assert local not in self.released
                    self.released.add(local)
                case NatObserved(observations=observations):
                    assert self.observed is None
                    self.observed = observations

    def _open(self, core: NatProbe, id: int, host: str) -> None:
        if id in self.failing_sockets:
            core.socket_failed(id, SocketFailure.UNAVAILABLE, self.now)
            return
        port = self.dice.randrange(32_768, 61_000)
        while port in self._ports:
            port = self.dice.randrange(32_768, 61_000)
        self._ports.add(port)
        core.socket_opened(id, Address(host, port), self.now)

    def _leave(self, core: NatProbe, datagram: Datagram) -> None:
        if self.first_loss and self.dice.random() < self.first_loss:
            return
        packet: Datagram | None = datagram
        for index, nat in enumerate(self.nats):
            assert packet is not None
            destination = packet.destination
            packet = nat.outbound(packet, self.now)
            if packet is None:
                return
            if packet.destination != destination:
                self._enter(core, packet, self.nats[:index])
                return
        assert packet is not None
        if self.dice.random() >= self.loss:
            self._later(self._way(packet.destination), partial(self._arrive, core, packet))

    def _way(self, server: Address) -> float:
        return self.delay + self.far.get(server.host, 0.0)

    def _arrive(self, core: NatProbe, packet: Datagram) -> None:
        answerer = self.answerers.get(packet.destination.host)
        for answer in () if answerer is None else answerer(packet):
            if self.dice.random() >= self.loss:
                self._later(self._way(answer.source), partial(self._enter, core, answer, self.nats))

    def _enter(self, core: NatProbe, packet: Datagram, nats: Sequence[Nat]) -> None:
        entering: Datagram | None = packet
        for nat in reversed(nats):
            assert entering is not None
            entering = nat.inbound(entering, self.now)
            if entering is None:
                return
        assert entering is not None
        if entering.destination.host == self.host and entering.destination not in self.released:
            core.receive_datagram(entering, self.now)
