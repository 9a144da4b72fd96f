"""The connections under TCP pairs: opened, accepted, bounded; strangers are hung up on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.framing import frame
from icekit.ice_tcp import FIRST_ID, PathLost, PathOpened, TcpConfig, TcpPaths
from icekit.net import Address, Datagram, StreamFailure, StreamReleased, StreamWanted, Transport

ACTIVE = Address("10.0.0.5", 0)
LISTENS = Address("10.0.0.5", 5000)
SOCKET = Address("10.0.0.5", 40000)
REMOTE = Address("192.0.2.2", 7000)
CHECK = b"a check of the peer"
CONFIG = TcpConfig(max_strangers=3, max_connections=2, max_first_frame=30)


def paths(config: TcpConfig = CONFIG) -> TcpPaths:
    core = TcpPaths(lambda data: data == CHECK, config)
    core.add_active(ACTIVE)
    return core


def datagram(source: Address, destination: Address, data: bytes) -> Datagram:
    return Datagram(source, destination, data, Transport.TCP)


def events(core: TcpPaths) -> list[Any]:
    found = []
    while (event := core.next_event()) is not None:
        found.append(event)
    return found


def opened(core: TcpPaths, now: float = 0.0) -> None:
    core.send(datagram(ACTIVE, REMOTE, b"x"), now)
    (wanted,) = events(core)
    core.stream_opened(wanted.id, SOCKET, REMOTE, now)


def accepted(core: TcpPaths, id: int = -1, port: int = 7001, now: float = 0.0) -> Address:
    remote = Address(REMOTE.host, port)
    core.stream_accepted(id, LISTENS, remote, now)
    return remote


def test_the_first_datagram_opens_the_connection_and_is_not_kept() -> None:
    core = paths()
    for data in (b"one", b"two"):
        core.send(datagram(ACTIVE, REMOTE, data), 1.0)
    assert events(core) == [StreamWanted(FIRST_ID, ACTIVE.host, REMOTE, Transport.TCP)]
    core.stream_opened(FIRST_ID, SOCKET, REMOTE, 1.1)
    assert core.datagrams_to_send() == []
    assert core.news() == [PathOpened((ACTIVE, REMOTE, Transport.TCP))]
    core.send(datagram(ACTIVE, REMOTE, b"three"), 1.2)
    assert core.datagrams_to_send() == [datagram(SOCKET, REMOTE, b"\x00\x05three")]


def test_what_arrives_is_cut_and_belongs_to_the_base_of_the_pair() -> None:
    core = paths()
    opened(core)
    assert core.receive(datagram(REMOTE, SOCKET, frame(b"one") + b"\x00"), 1.0) == [datagram(REMOTE, ACTIVE, b"one")]
    assert core.receive(datagram(REMOTE, SOCKET, b"\x03two"), 1.0) == [datagram(REMOTE, ACTIVE, b"two")]
    assert core.owns(datagram(REMOTE, SOCKET, b""))
    assert not core.owns(datagram(REMOTE, ACTIVE, b""))


def test_nothing_leaves_from_a_base_that_is_not_active() -> None:
    core = paths()
    core.send(datagram(LISTENS, REMOTE, b"x"), 0.0)
    assert (events(core), core.datagrams_to_send()) == ([], [])


def test_what_does_not_fit_into_a_frame_is_dropped() -> None:
    core = paths()
    opened(core)
    core.send(datagram(ACTIVE, REMOTE, bytes(65536)), 0.0)
    assert (core.datagrams_to_send(), core.dropped) == ([], 1)


@pytest.mark.parametrize("failure", [StreamFailure.REFUSED, StreamFailure.TIMEOUT])
def test_a_connection_that_fails_is_told_and_may_be_tried_again(failure: StreamFailure) -> None:
    core = paths()
    core.send(datagram(ACTIVE, REMOTE, b"x"), 0.0)
    if failure is StreamFailure.TIMEOUT:
        assert core.get_timer() == CONFIG.connect_timeout
        core.handle_timer(CONFIG.connect_timeout)
        assert events(core)[1:] == [StreamReleased(FIRST_ID)]
    else:
        core.stream_closed(FIRST_ID, failure, 0.1)
        assert len(events(core)) == 1
    assert core.news() == [PathLost((ACTIVE, REMOTE, Transport.TCP))]
    assert core.get_timer() is None
    # The driver may still tell how it ended.
    core.stream_closed(FIRST_ID, failure, 11.0)
    core.stream_opened(FIRST_ID, SOCKET, REMOTE, 11.0)
    assert events(core) == [StreamReleased(FIRST_ID)]
    core.send(datagram(ACTIVE, REMOTE, b"x"), 12.0)
    assert events(core) == [StreamWanted(FIRST_ID + 1, ACTIVE.host, REMOTE, Transport.TCP)]


def test_who_connects_and_sends_a_check_is_heard_and_answered() -> None:
    core = paths()
    remote = accepted(core)
    core.send(datagram(LISTENS, remote, b"too early"), 0.0)
    assert core.datagrams_to_send() == []
    arrived = frame(CHECK) + frame(bytes(1000))
    found = core.receive(datagram(remote, LISTENS, arrived[:10]), 0.1)
    # The rest of a long frame may come in the same piece, as soon as the first frame was a check.
    found += core.receive(datagram(remote, LISTENS, arrived[10 : 2 + len(CHECK)]), 0.1)
    found += core.receive(datagram(remote, LISTENS, arrived[2 + len(CHECK) :]), 0.1)
    assert found == [datagram(remote, LISTENS, CHECK), datagram(remote, LISTENS, bytes(1000))]
    core.send(datagram(LISTENS, remote, b"answer"), 0.2)
    assert core.datagrams_to_send() == [datagram(LISTENS, remote, frame(b"answer"))]
    assert events(core) == []


@pytest.mark.parametrize(
    "first", [frame(b"no check"), frame(CHECK + b"."), b"\x00\x1f" + bytes(31), b"GET / HTTP/1.1\r\n"]
)
def test_who_does_not_begin_with_a_check_is_hung_up_on(first: bytes) -> None:
    core = paths()
    remote = accepted(core)
    assert core.receive(datagram(remote, LISTENS, first), 0.1) == []
    assert events(core) == [StreamReleased(-1)]
    assert core.news() == []
    assert core.receive(datagram(remote, LISTENS, frame(CHECK)), 0.2) == []


def test_strangers_have_five_seconds_whatever_they_trickle() -> None:
    core = paths()
    remote = accepted(core, now=10.0)
    for second in range(4):
        core.receive(datagram(remote, LISTENS, b"\x00"), 10.0 + second)
        core.handle_timer(10.0 + second)
        if second == 0:
            core.receive(datagram(remote, LISTENS, b"\x13"), 10.5)
    assert events(core) == []
    assert core.get_timer() == 15.0
    core.handle_timer(15.0)
    assert events(core) == [StreamReleased(-1)]


def test_the_stranger_that_waits_longest_gives_way_and_the_peer_never_does() -> None:
    core = paths()
    peer = accepted(core, -1)
    core.receive(datagram(peer, LISTENS, frame(CHECK)), 0.0)
    for number in range(2, 6):
        accepted(core, -number, 7000 + number)
    assert events(core) == [StreamReleased(-2)]
    assert core.receive(datagram(peer, LISTENS, frame(b"data")), 1.0) == [datagram(peer, LISTENS, b"data")]


def test_connections_are_bounded() -> None:
    core = paths()
    opened(core)
    for number in range(1, 3):
        remote = accepted(core, -number, 7000 + number)
        heard = core.receive(datagram(remote, LISTENS, frame(CHECK)), 0.0)
        assert bool(heard) == (number == 1)
    assert events(core) == [StreamReleased(-2)]
    core.send(datagram(ACTIVE, Address("192.0.2.3", 1), b"x"), 0.0)
    assert events(core) == []


def test_an_idle_connection_is_closed_and_traffic_keeps_it() -> None:
    core = paths()
    opened(core)
    core.send(datagram(ACTIVE, REMOTE, b"x"), 50.0)
    assert core.get_timer() == 110.0
    core.receive(datagram(REMOTE, SOCKET, frame(b"y")), 100.0)
    core.handle_timer(159.0)
    assert events(core) == []
    core.handle_timer(160.0)
    assert events(core) == [StreamReleased(FIRST_ID)]
    assert core.news()[1:] == [PathLost((ACTIVE, REMOTE, Transport.TCP))]


def test_a_peer_that_hangs_up_is_told_and_a_stranger_is_not() -> None:
    core = paths()
    peer = accepted(core, -1)
    core.receive(datagram(peer, LISTENS, frame(CHECK)), 0.0)
    accepted(core, -2, 7002)
    core.stream_closed(-2, StreamFailure.CLOSED, 1.0)
    assert core.news() == []
    core.stream_closed(-1, StreamFailure.RESET, 1.0, "gone")
    assert core.news() == [PathLost((LISTENS, peer, Transport.TCP))]
    assert events(core) == []


def test_bases_that_are_given_up_take_their_connections_along() -> None:
    core = paths()
    opened(core)
    accepted(core, -1)
    core.release({ACTIVE})
    assert events(core) == [StreamReleased(FIRST_ID)]
    core.send(datagram(ACTIVE, REMOTE, b"x"), 0.0)
    assert events(core) == []
    core.close()
    assert events(core) == [StreamReleased(-1)]
    accepted(core, -3, 7003)
    assert events(core) == [StreamReleased(-3)]
    assert core.get_timer() is None


_steps = st.one_of(
    st.tuples(st.just("accept"), st.integers(1, 12), st.just(b"")),
    st.tuples(st.just("bytes"), st.integers(1, 12), st.sampled_from([frame(CHECK), b"\x00", b"\xff\xff", frame(b"z")])),
    st.tuples(st.just("send"), st.integers(1, 12), st.binary(max_size=3)),
    st.tuples(st.just("open"), st.integers(0, 11), st.just(b"")),
    st.tuples(st.just("close"), st.integers(0, 11), st.just(b"")),
    st.tuples(st.just("time"), st.integers(0, 80), st.just(b"")),
)


@given(st.lists(_steps, max_size=80))
def test_nothing_grows_and_nothing_raises(steps: list[tuple[str, int, bytes]]) -> None:
    core, now, accepts = paths(), 0.0, 0
    for step, number, data in steps:
        remote = Address(REMOTE.host, 7000 + number)
        match step:
            case "accept":
                accepts += 1
                core.stream_accepted(-accepts, LISTENS, remote, now)
            case "bytes":
                for local in (LISTENS, SOCKET):
                    core.receive(datagram(remote, local, data), now)
            case "send":
                core.send(datagram(ACTIVE, remote, data), now)
                core.send(datagram(LISTENS, remote, data), now)
            case "open":
                core.stream_opened(FIRST_ID + number, SOCKET, remote, now)
            case "close":
                core.stream_closed(FIRST_ID + number, StreamFailure.RESET, now)
                core.stream_closed(-number, StreamFailure.RESET, now)
            case "time":
                now += number
                core.handle_timer(now)
                timer = core.get_timer()
                assert timer is None or timer > now
        core.news()
        streams = core._by_id.values()
        assert sum(stream.stranger for stream in streams) <= CONFIG.max_strangers
        assert sum(not stream.stranger for stream in streams) <= CONFIG.max_connections
        assert max(len(core._by_key), len(core._by_wire)) <= len(streams)
    core.close()
    assert (core._by_id, core._by_key, core._by_wire, core.get_timer()) == ({}, {}, {}, None)
