"""The binding lifetime test on a fake wire: servers that do not play along, interruption, strangers, any input."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.errors import ConfigError
from icekit.lifetime import LifetimeConfig, LifetimeObserved, LifetimeProbe, TrialEnded, idle_times
from icekit.nat import Nat, NatConfig
from icekit.nat_classification import classify
from icekit.nat_observations import LifetimeTrial, NatObservations, Sample
from icekit.net import Address, Datagram, SocketFailure, SocketReleased, SocketWanted
from icekit.report import PortAssignment
from icekit.stun import Message, decode, failure, success

HOST, SERVER, SECOND = "192.168.1.2", Address("203.0.113.10", 3478), Address("203.0.113.11", 3478)
DELAY = 0.01

# What a server answers to a request and where: the request, its source, and the address that was asked.
Answer = Callable[[Message, Address, Address], list[tuple[Address, Message]]]


def honouring(message: Message, source: Address, server: Address) -> list[tuple[Address, Message]]:
    port = message.get(attr.RESPONSE_PORT)
    target = source if port is None else Address(source.host, port)
    return [(target, success(message, attr.XOR_MAPPED_ADDRESS(source)))]


def ignoring(message: Message, source: Address, server: Address) -> list[tuple[Address, Message]]:
    return [(source, success(message, attr.XOR_MAPPED_ADDRESS(source)))]


def refusing(message: Message, source: Address, server: Address) -> list[tuple[Address, Message]]:
    if message.has(attr.RESPONSE_PORT):
        return [(source, failure(message, 420, attr.UNKNOWN_ATTRIBUTES((attr.RESPONSE_PORT.type,))))]
    return ignoring(message, source, server)


def swallowing(message: Message, source: Address, server: Address) -> list[tuple[Address, Message]]:
    return [] if message.has(attr.RESPONSE_PORT) else ignoring(message, source, server)


def dead(message: Message, source: Address, server: Address) -> list[tuple[Address, Message]]:
    return []


def speechless(message: Message, source: Address, server: Address) -> list[tuple[Address, Message]]:
    return [(source, success(message))]


class World:
    """A test behind a NAT, and servers whose answers are functions; time jumps to what is next."""

    def __init__(
        self,
        nat: NatConfig | None,
        answers: dict[Address, Answer],
        *,
        longest: float = 60.0,
        unbound: tuple[int, ...] = (),
    ) -> None:
        self.now = 0.0
        source = Random(1).randbytes
        self.nat = None if nat is None else Nat(nat, ("198.51.100.1",), token_bytes=source)
        self.answers = answers
        self.probe = LifetimeProbe(HOST, tuple(answers), source, config=LifetimeConfig(longest=longest))
        self.events: list[TrialEnded | LifetimeObserved] = []
        self.open: set[Address] = set()
        self.sent = 0
        self._unbound = unbound
        self._port = itertools.count(40_001, 2)
        self._order = itertools.count()
        self._wire: list[tuple[float, int, Datagram]] = []
        self.probe.start(self.now)
        self.pump()

    @property
    def observed(self) -> LifetimeObserved:
        [found] = [event for event in self.events if isinstance(event, LifetimeObserved)]
        return found

    def pump(self) -> None:
        while True:
            for datagram in self.probe.datagrams_to_send():
                self.sent += 1
                self._leave(datagram)
            event = self.probe.next_event()
            match event:
                case None:
                    return
                case SocketWanted(id=number) if number in self._unbound:
                    self.probe.socket_failed(number, SocketFailure.UNAVAILABLE, self.now)
                case SocketWanted(id=number, local=local):
                    bound = Address(local.host, next(self._port))
                    self.open.add(bound)
                    self.probe.socket_opened(number, bound, self.now)
                case SocketReleased(local=local):
                    self.open.remove(local)
                case _:
                    self.events.append(event)

    def _leave(self, datagram: Datagram) -> None:
        outside = datagram if self.nat is None else self.nat.outbound(datagram, self.now)
        if outside is None:
            return
        request = decode(outside.data)
        for target, message in self.answers[outside.destination](request, outside.source, outside.destination):
            answer = Datagram(outside.destination, target, message.encode())
            heapq.heappush(self._wire, (self.now + DELAY, next(self._order), answer))

    def arrive(self, datagram: Datagram) -> None:
        inside = datagram if self.nat is None else self.nat.inbound(datagram, self.now)
        if inside is not None:
            self.probe.receive_datagram(inside, self.now)
            self.pump()

    def run(self, until: float = 10_000.0) -> World:
        while True:
            timer = self.probe.get_timer()
            arrival = self._wire[0][0] if self._wire else None
            due = min((when for when in (timer, arrival) if when is not None), default=None)
            if due is None or due > until:
                self.now = max(self.now, min(until, self.now if due is None else due))
                return self
            self.now = max(self.now, due)
            if arrival == due:
                self.arrive(heapq.heappop(self._wire)[2])
            else:
                self.probe.handle_timer(self.now)
                after = self.probe.get_timer()
                assert after is None or after > self.now
                self.pump()


PRESERVING = NatConfig(udp_lifetime=30.0)
RANDOM = NatConfig(udp_lifetime=30.0, port_assignment=PortAssignment.RANDOM)
BEFORE, AFTER = (5.0, 10.0, 15.0, 20.0, 25.0), (30.0, 35.0)
FOUND = tuple([LifetimeTrial(idle, True) for idle in BEFORE] + [LifetimeTrial(idle, False) for idle in AFTER])


def test_the_idle_times() -> None:
    assert idle_times(12.0) == (5.0, 10.0, 12.0)
    assert idle_times(5.0) == (5.0,)
    assert idle_times(180.0)[11:] == (60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 140.0, 160.0, 180.0)
    assert idle_times(3600.0)[-2:] == (3300.0, 3600.0)


@pytest.mark.parametrize("longest", [0.0, -1.0, 4.9, 3600.1, float("inf"), float("nan")])
def test_an_idle_time_that_is_out_of_range(longest: float) -> None:
    with pytest.raises(ConfigError, match=r"it may be 5 to 3600 seconds"):
        LifetimeProbe(HOST, [SERVER], Random(1).randbytes, config=LifetimeConfig(longest=longest))


@pytest.mark.parametrize("nat", [PRESERVING, RANDOM])
def test_with_response_port(nat: NatConfig) -> None:
    world = World(nat, {SERVER: honouring}).run()
    assert world.observed == LifetimeObserved(FOUND, "")
    assert not world.open
    assert world.probe.get_timer() is None


def test_the_server_that_knows_response_port_is_found() -> None:
    servers = {Address("203.0.113.9", 3478): dead, SERVER: refusing, SECOND: honouring}
    assert World(PRESERVING, servers).run().observed == LifetimeObserved(FOUND, "")


@pytest.mark.parametrize("answer", [ignoring, refusing, swallowing])
def test_without_response_port_a_random_port_shows_it(answer: Answer) -> None:
    assert World(RANDOM, {SERVER: answer}).run().observed == LifetimeObserved(FOUND, "")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ignoring, "server 203.0.113.10:3478 ignores RESPONSE-PORT (RFC 5780)"),
        (refusing, "server 203.0.113.10:3478 refuses RESPONSE-PORT (420)"),
        (swallowing, "an answer of server 203.0.113.10:3478 to another port of ours does not arrive"),
    ],
)
def test_without_response_port_a_port_that_stays_proves_nothing(answer: Answer, why: str) -> None:
    world = World(PRESERVING, {SERVER: answer}).run()
    assert world.observed == LifetimeObserved(
        (), f"{why}, and the port number stays: a new binding would look like the old one"
    )


def test_without_response_port_an_unchanged_address_proves_nothing() -> None:
    nat = NatConfig(udp_lifetime=300.0, port_assignment=PortAssignment.RANDOM)
    world = World(nat, {SERVER: ignoring}).run()
    assert world.observed == LifetimeObserved(
        (),
        "server 203.0.113.10:3478 ignores RESPONSE-PORT (RFC 5780), "
        "and no mapped address changed within 60 s, which proves nothing",
    )


@pytest.mark.parametrize("answers", [{}, {SERVER: dead}, {SERVER: dead, SECOND: dead}])
def test_no_server_answers(answers: dict[Address, Answer]) -> None:
    assert World(PRESERVING, answers).run().observed == LifetimeObserved((), "no STUN server answered over UDP")


def test_a_server_without_a_mapped_address() -> None:
    observed = World(PRESERVING, {SERVER: speechless}).run().observed
    assert observed.trials == ()
    assert observed.reason.startswith("server 203.0.113.10:3478 tells no mapped address")


@pytest.mark.parametrize("unbound", [(0,), (1,), tuple(range(100))])
def test_no_socket(unbound: tuple[int, ...]) -> None:
    world = World(PRESERVING, {SERVER: honouring}, unbound=unbound).run()
    assert world.observed == LifetimeObserved((), "no socket could be opened")
    assert not world.open


def test_an_idle_time_without_its_socket_is_left_out() -> None:
    observed = World(PRESERVING, {SERVER: honouring}, unbound=(3,)).run().observed
    assert observed.trials == tuple(trial for trial in FOUND if trial.idle != 10.0)


def test_a_server_that_falls_silent_is_no_sign_of_a_lifetime() -> None:
    answers: dict[Address, Answer] = {SERVER: honouring}
    world = World(PRESERVING, answers).run(until=12.0)
    answers[SERVER] = dead
    world.run()
    assert world.observed.trials == FOUND[:2]
    # Without a second binding that is gone, every idle time has been waited for.
    assert world.now > 60.0


def test_a_public_address_that_changes_is_no_sign_of_a_lifetime() -> None:
    world = World(NatConfig(udp_lifetime=300.0), {SERVER: honouring}).run(until=12.0)
    assert world.nat is not None
    # The asker, too, has a new address then: the answer goes elsewhere.
    world.nat = Nat(world.nat.config, ("198.51.100.77",), token_bytes=Random(2).randbytes)
    world.run()
    assert world.observed.trials == FOUND[:2]


def test_closed_early_it_tells_what_is_known() -> None:
    world = World(PRESERVING, {SERVER: honouring}).run(until=17.0)
    world.probe.close(world.now)
    world.probe.close(world.now)
    world.pump()
    assert world.observed == LifetimeObserved(FOUND[:3], "")
    assert not world.open
    assert world.probe.get_timer() is None


@pytest.mark.parametrize("until", [0.0, 0.015])
def test_closed_before_anything_is_known(until: float) -> None:
    world = World(PRESERVING, {SERVER: honouring}).run(until=until)
    world.probe.close(world.now)
    world.pump()
    assert world.observed.trials == ()
    assert world.observed.reason in (
        "the test was cut short",
        "no binding could be watched to the end of its idle time",
    )
    assert not world.open


def test_a_socket_that_opens_after_the_end_is_released() -> None:
    probe = LifetimeProbe(HOST, [SERVER], Random(1).randbytes)
    probe.start(0.0)
    probe.close(0.0)
    while probe.next_event() is not None:
        pass
    probe.socket_opened(0, Address(HOST, 40_000), 0.0)
    assert probe.next_event() == SocketReleased(Address(HOST, 40_000))


def test_strangers_neither_prove_nor_delay_anything() -> None:
    world = World(None, {SERVER: honouring}, longest=5.0).run(until=1.0)
    stranger = Address("203.0.113.66", 3478)
    garbage = success(decode(b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)), attr.XOR_MAPPED_ADDRESS(SERVER)).encode()
    for _ in range(50):
        for local in list(world.open):
            world.arrive(Datagram(stranger, local, garbage))
            # Forged in the name of the server it can delay the end, but only by as much as an answer may take.
            world.arrive(Datagram(SERVER, local, garbage))
        world.run(until=world.now + 0.1)
    world.run()
    assert world.observed == LifetimeObserved((LifetimeTrial(5.0, True),), "")
    assert world.now < 5.0 + 2.0 + 1.0
    assert world.probe.dropped >= 50


def test_the_number_of_requests_is_bounded() -> None:
    world = World(None, {SERVER: honouring}, longest=180.0).run()
    # For each idle time one request, one for the asker's own answer, one to be diverted; three to find the server.
    assert world.sent == 3 * len(idle_times(180.0)) + 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_input_ends_in_one_result(data: st.DataObject) -> None:
    world = World(None, {SERVER: ignoring, SECOND: swallowing}, longest=5.0)
    locals_ = sorted(world.open)
    for _ in range(data.draw(st.integers(0, 12))):
        world.run(until=world.now + data.draw(st.floats(0.0, 2.0)))
        payload = data.draw(st.binary(max_size=60) | st.just(b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)))
        source = data.draw(st.sampled_from([SERVER, SECOND, Address("198.51.100.9", 1)]))
        world.arrive(Datagram(source, data.draw(st.sampled_from(locals_)), payload))
    world.run()
    assert isinstance(world.observed, LifetimeObserved)
    assert not world.open


# What the report makes of it.


def lifetime(*trials: LifetimeTrial, reason: str = "", mapped: str = "198.51.100.1") -> tuple[float | None, str | None]:
    local, server = Address(HOST, 40_000), SERVER
    sample = Sample("mapping", local, server, Address(mapped, 40_000), None, 1, 1, 0.02)
    seen = NatObservations(local_hosts=(HOST,), samples=(sample,), lifetime=trials, lifetime_reason=reason)
    report = classify(seen)
    return report.binding_lifetime, report.reason.get("binding_lifetime")


def test_the_conclusion() -> None:
    there, gone = LifetimeTrial(25.0, True), LifetimeTrial(30.0, False)
    assert lifetime(there, gone) == (25.0, "between 25 and 30 s")
    assert lifetime(there) == (None, "more than 25 s, the longest time that was waited")
    assert lifetime(gone) == (None, "less than 30 s, the shortest time that was waited")
    assert lifetime(there, LifetimeTrial(20.0, False), gone) == (
        None,
        "contradictory: gone after 20 s, and another one there after 25 s",
    )
    assert lifetime() == (None, "not asked for (--lifetime)")
    assert lifetime(mapped=HOST) == (None, "no NAT")
    assert lifetime(reason="no socket could be opened", mapped=HOST) == (None, "no socket could be opened")
    assert lifetime(there, gone, mapped=HOST) == (25.0, "between 25 and 30 s")
