"""A TURN server asked for the mapped address beside an allocation: when it is, when not, and what it never changes."""

from __future__ import annotations

import random

import pytest

from icekit import attributes as attr
from icekit.attributes import ErrorCode, Item
from icekit.gathering import Gatherer
from icekit.gathering_events import CandidateGathered, GatheringComplete, ServerAnswered, ServerFailed
from icekit.gathering_plan import GatherConfig
from icekit.net import Address, Datagram, Transport
from icekit.pacing import Floor, Pacer
from icekit.stun import Class, Message, Method, decode
from tests.gathering_world import (
    HOME,
    HOME_IPV6,
    PUBLIC,
    STUN,
    TURN,
    TURN_IPV6,
    USER,
    WIFI,
    WRONG,
    World,
    endpoint,
    server,
    turn_server,
)

STUN_URL = "stun:stun.example.org"
TURN_URL = "turn:turn.example.org"
DEAD_URL = "stun:192.0.2.1"
DEAD = Address("192.0.2.1", 3478)
# One way to the servers, in seconds.
FAR = 0.030


def found(world: World) -> list[tuple[str, str | None, float]]:
    """Type, URL and milliseconds of every candidate."""
    return [
        (str(event.candidate.type), event.url, round(event.seconds * 1000, 6))
        for event in world.events
        if isinstance(event, CandidateGathered)
    ]


def asked(world: World, method: Method = Method.BINDING) -> list[tuple[float, str, Address]]:
    """Milliseconds, base and server of each such request."""
    return [
        (round((when - 100) * 1000, 6), datagram.source.host, datagram.destination)
        for when, datagram in world.sent
        if datagram.transport is Transport.UDP and decode(datagram.data).method is method
    ]


def failures(world: World) -> list[tuple[str, str]]:
    return [(event.url, event.error) for event in world.events if isinstance(event, ServerFailed)]


def complete_at(world: World) -> float:
    (event,) = [event for event in world.events if isinstance(event, GatheringComplete)]
    return round(event.seconds, 6)


def dead_stun(credential: tuple[str, str] = USER, *, config: GatherConfig | None = None) -> World:
    """The only STUN server is dead, and TURN a round trip of 60 ms away."""
    world = World([HOME], [server(DEAD_URL), server(TURN_URL, credential)], config=config)
    world.add(turn_server(), FAR, TURN)
    world.start()
    world.resolve(0, endpoint(DEAD_URL, DEAD))
    world.resolve(1, endpoint(TURN_URL, TURN))
    return world


def reply(world: World, method: Method, message_class: Class, *items: Item) -> None:
    """To the first such request to the TURN server, now."""
    request = next(item for _, item in world.sent if item.destination == TURN and decode(item.data).method is method)
    data = Message(method, message_class, request.data[8:20], items).encode()
    world.core.receive_datagram(Datagram(request.destination, request.source, data), world.now)
    world.pump()


@pytest.mark.parametrize(("ta", "milliseconds"), [(0.005, 10), (0.02, 35), (0.05, 95)])
def test_the_mapped_address_is_there_a_round_trip_and_two_slots_after_the_start(ta: float, milliseconds: float) -> None:
    world = dead_stun(config=GatherConfig(ta=ta))
    world.run()
    slot = ta * 1000
    assert found(world) == [("host", None, 0), ("srflx", TURN_URL, milliseconds + 60), ("relay", TURN_URL, slot + 120)]
    # It leaves at the end of the Allocate's slot, or in the next one where slots are the least there may be.
    assert asked(world)[:2] == [(0, HOME, DEAD), (milliseconds, HOME, TURN)]
    assert [url for url, _ in failures(world)] == [DEAD_URL]
    # As it would be if the Allocate had told it.
    events = [event for event in world.events if isinstance(event, CandidateGathered)]
    assert (events[1].server, events[1].candidate.related_address) == (TURN, HOME)
    assert (events[2].candidate.related_address, events[2].candidate.related_port) == (PUBLIC, 15000)
    (answer,) = [event for event in world.events if isinstance(event, ServerAnswered)]
    assert (answer.url, answer.mapped, len(answer.relayed)) == (TURN_URL, Address(PUBLIC, 15000), 1)
    assert complete_at(world) == 5


def test_a_turn_server_alone_tells_it_before_the_relay() -> None:
    world = World([HOME], [server(TURN_URL, USER)])
    world.add(turn_server(), FAR, TURN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN))
    world.run()
    assert found(world) == [("host", None, 0), ("srflx", TURN_URL, 65), ("relay", TURN_URL, 120)]
    assert complete_at(world) == 0.12
    # Each is asked once, the Allocate twice: the second is signed.
    assert [len(asked(world, method)) for method in (Method.BINDING, Method.ALLOCATE)] == [1, 2]


def test_nothing_new_waits_longer_than_the_least_interval() -> None:
    pacer = Pacer(0.02, Floor(0.005))
    core = Gatherer([HOME], [server(DEAD_URL), server(TURN_URL, USER)], random.Random(1).randbytes, pacer=pacer)
    core.start(1.0)
    core.socket_opened(0, Address(HOME, 5000), 1.0)
    core.server_resolved(1, [endpoint(TURN_URL, TURN)], 1.0)
    core.handle_timer(1.0)
    assert core.get_timer() == pytest.approx(1.015)
    # A server whose name comes now is asked in the next slot, as if there were no other request.
    core.server_resolved(0, [endpoint(DEAD_URL, DEAD)], 1.01)
    assert core.get_timer() == pytest.approx(1.02)
    core.datagrams_to_send()
    core.handle_timer(1.02)
    assert [item.destination for item in core.datagrams_to_send()] == [DEAD]
    core.handle_timer(1.0351)
    assert [item.destination for item in core.datagrams_to_send()] == [TURN]
    assert pacer.slot_at() == pytest.approx(1.0401)


def test_it_is_not_asked_for_what_is_known() -> None:
    # The STUN server answers before the slot comes, and after another local address nobody has.
    world = World([HOME, WIFI], [server(STUN_URL), server(TURN_URL, USER)], config=GatherConfig(ta=0.05))
    world.add(turn_server(), 0.010, STUN, TURN)
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    world.resolve(1, endpoint(TURN_URL, TURN))
    world.run()
    assert {server for _, _, server in asked(world)} == {STUN}


def test_it_is_forgotten_when_the_stun_server_answers() -> None:
    world = World([HOME], [server(STUN_URL), server(TURN_URL, USER)])
    world.add(turn_server(), 0.1, STUN)
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    world.resolve(1, endpoint(TURN_URL, TURN))
    world.run()
    # A dead TURN server: one packet, and no more once the answer of the other is there.
    assert [when for when, _, server in asked(world) if server == TURN] == [10]
    assert found(world) == [("host", None, 0), ("srflx", STUN_URL, 200)]
    assert [url for url, _ in failures(world)] == [TURN_URL]
    sent = len(world.sent)
    reply(world, Method.BINDING, Class.SUCCESS, attr.XOR_MAPPED_ADDRESS(Address(PUBLIC, 9)))
    assert (len(found(world)), len(world.sent)) == (2, sent)


def test_the_address_that_a_stun_url_names_is_asked_once() -> None:
    for order in ((0, 1), (1, 0)):
        world = World([HOME], [server(STUN_URL), server(TURN_URL, USER)])
        world.add(turn_server(), FAR, TURN)
        world.start()
        for place in order:
            world.resolve(place, endpoint((STUN_URL, TURN_URL)[place], TURN))
        world.run()
        assert len(asked(world)) == 1
        assert [kind for kind, *_ in found(world)] == ["host", "srflx", "relay"]
        assert {url for kind, url, _ in found(world) if kind == "srflx"} == {STUN_URL}


def test_every_local_address_asks_for_its_own() -> None:
    world = World([HOME, HOME_IPV6], [server(TURN_URL, USER)])
    world.add(turn_server(), FAR, TURN, TURN_IPV6)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN_IPV6), endpoint(TURN_URL, TURN))
    world.run()
    # Behind both allocations; over IPv6 there is no NAT here, so the answer ends the asking without a candidate.
    assert asked(world) == [(10, HOME, TURN), (15, HOME_IPV6, TURN_IPV6)]
    assert complete_at(world) == 0.125


@pytest.mark.parametrize("url", [f"{TURN_URL}?transport=tcp", "turns:turn.example.org"])
def test_over_a_stream_there_is_none(url: str) -> None:
    world = World([HOME], [server(url, USER)])
    world.add(turn_server(), FAR, TURN)
    world.start()
    world.resolve(0, endpoint(url, TURN))
    world.run()
    assert asked(world) == []


def test_who_wants_relays_alone_asks_for_none() -> None:
    core = Gatherer([HOME], [server(TURN_URL, USER)], random.Random(1).randbytes, relay_only=True)
    core.start(1.0)
    core.socket_opened(0, Address(HOME, 5000), 1.0)
    core.server_resolved(0, [endpoint(TURN_URL, TURN)], 1.0)
    for step in range(20):
        core.handle_timer(1.0 + step * 0.1)
    assert {decode(item.data).method for item in core.datagrams_to_send()} == {Method.ALLOCATE}


def test_a_server_that_refuses_the_credentials_may_tell_the_mapped_address() -> None:
    world = dead_stun(WRONG)
    world.run()
    assert found(world) == [("host", None, 0), ("srflx", TURN_URL, 70)]
    (refused, _) = failures(world)
    assert refused[0] == TURN_URL
    assert refused[1].startswith("401 ")
    assert not [event for event in world.events if isinstance(event, ServerAnswered)]


FORBIDDEN = attr.ERROR_CODE(ErrorCode(403, "Forbidden"))


@pytest.mark.parametrize("after", [0.2, None])
def test_after_a_refusal_it_is_waited_for_half_a_second(after: float | None) -> None:
    world = World([HOME], [server(TURN_URL, USER)])
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN))
    world.run(0.1)
    reply(world, Method.ALLOCATE, Class.ERROR, FORBIDDEN)
    if after is not None:
        mapped = attr.XOR_MAPPED_ADDRESS(Address(PUBLIC, 15000))
        world.later(after, lambda: reply(world, Method.BINDING, Class.SUCCESS, mapped))
    world.run()
    assert failures(world) == [(TURN_URL, "403 Forbidden")]
    assert [kind for kind, *_ in found(world)][1:] == ([] if after is None else ["srflx"])
    assert complete_at(world) == pytest.approx(world.now - 100)
    assert world.now - 100 <= 0.1 + (0.5 if after is None else after) + 0.03


@pytest.mark.parametrize(
    ("kind", "item"),
    [
        (Class.ERROR, attr.ERROR_CODE(ErrorCode(401, "Unauthorized"))),
        (Class.SUCCESS, attr.XOR_MAPPED_ADDRESS(Address("0.0.0.0", 5))),
    ],
)
def test_what_it_answers_is_no_verdict_on_the_server(kind: Class, item: Item) -> None:
    world = World([HOME], [server(TURN_URL, USER)])
    world.add(turn_server(), 0.4, TURN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN))
    world.run(0.1)
    sent = len(asked(world))
    reply(world, Method.BINDING, kind, item)
    world.run()
    assert failures(world) == []
    assert found(world) == [("host", None, 0), ("srflx", TURN_URL, 1600), ("relay", TURN_URL, 1600)]
    assert (len(asked(world)), complete_at(world)) == (sent, 1.6)


def test_a_dead_turn_server_is_given_up_as_before_and_each_address_is_asked_once() -> None:
    world = World([HOME], [server(TURN_URL, USER)])
    world.add(turn_server(), FAR, TURN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, DEAD), endpoint(TURN_URL, TURN))
    world.run()
    assert found(world) == [("host", None, 0), ("srflx", TURN_URL, 2565), ("relay", TURN_URL, 2620)]
    alone = World([HOME], [server(TURN_URL, USER)])
    alone.start()
    alone.resolve(0, endpoint(TURN_URL, DEAD))
    alone.run()
    assert [url for url, _ in failures(alone)] == [TURN_URL]
    assert complete_at(alone) == 5


def test_what_the_system_cannot_send_costs_nothing() -> None:
    core = Gatherer([HOME], [server(TURN_URL, USER)], random.Random(1).randbytes)
    core.start(1.0)
    core.socket_opened(0, Address(HOME, 5000), 1.0)
    core.server_resolved(0, [endpoint(TURN_URL, TURN)], 1.0)
    core.handle_timer(1.0)
    core.datagrams_to_send()
    core.handle_timer(1.005)
    (binding,) = core.datagrams_to_send()
    assert decode(binding.data).method is Method.BINDING
    core.unreachable(binding, 1.005)
    core.handle_timer(1.1)
    assert core.datagrams_to_send() == []
    events = list(iter(core.next_event, None))
    assert not [event for event in events if isinstance(event, ServerFailed | GatheringComplete)]


def test_a_turn_server_whose_first_address_has_no_route_is_asked_at_the_second() -> None:
    """The farewell to the first address cannot leave either, and is about nobody who is asked now."""
    core = Gatherer([HOME], [server(TURN_URL, USER)], random.Random(1).randbytes)
    core.start(1.0)
    core.socket_opened(0, Address(HOME, 5000), 1.0)
    core.server_resolved(0, [endpoint(TURN_URL, DEAD), endpoint(TURN_URL, TURN)], 1.0)
    now, asked_for = 1.0, []
    for _ in range(30):
        core.handle_timer(now)
        while sent := core.datagrams_to_send():
            asked_for += [(decode(item.data).method, item.destination) for item in sent]
            for datagram in sent:
                if datagram.destination == DEAD:
                    core.unreachable(datagram, now)
        now += 0.01
    assert asked_for.count((Method.ALLOCATE, DEAD)) == 1
    assert (Method.ALLOCATE, TURN) in asked_for
    assert not [event for event in iter(core.next_event, None) if isinstance(event, ServerFailed)]
