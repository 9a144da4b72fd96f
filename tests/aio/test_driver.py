"""The driver on real sockets of the loopback, with cores that only write down what they are told."""

from __future__ import annotations

import asyncio
import datetime
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme

from icekit.aio.driver import Driver
from icekit.errors import ConfigError
from icekit.net import (
    Address,
    Datagram,
    ListenerReleased,
    ListenerWanted,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    Transport,
)

ANY = Address("127.0.0.1", 0)


class Core:
    """Does what the test says, and keeps what the driver says."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.called = asyncio.Event()
        self.out: list[Datagram] = []
        self.events: list[Any] = []
        self.timer: float | None = None
        self.fired: list[float] = []
        self.at_timer: Callable[[float], None] = lambda now: None
        self.at_close: Callable[[float], None] = lambda now: None

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        self.called.set()

    async def call(self, name: str) -> tuple[Any, ...]:
        """Wait for the next call of this name, and forget those before it."""
        async with asyncio.timeout(10):
            while True:
                while self.calls:
                    if (call := self.calls.pop(0))[0] == name:
                        return call
                self.called.clear()
                await self.called.wait()

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        self._note("datagram", datagram)

    def handle_timer(self, now: float) -> None:
        if self.timer is not None and self.timer <= now:
            self.timer = None
            self.fired.append(now)
            self.at_timer(now)

    def get_timer(self) -> float | None:
        return self.timer

    def datagrams_to_send(self) -> list[Datagram]:
        out, self.out = self.out, []
        return out

    def next_event(self) -> Any:
        return self.events.pop(0) if self.events else None

    def close(self, now: float) -> None:
        self._note("close")
        self.at_close(now)

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        self._note("socket_opened", id, local)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        self._note("socket_failed", id, failure)

    def stream_connected(self, id: int, now: float) -> None:
        self._note("stream_connected", id)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        self._note("stream_opened", id, local, remote)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        self._note("stream_closed", id, failure, detail)

    def listener_opened(self, id: int, local: Address, now: float) -> None:
        self._note("listener_opened", id, local)

    def listener_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        self._note("listener_failed", id, failure)

    def stream_accepted(self, id: int, transport: Transport, local: Address, remote: Address, now: float) -> None:
        self._note("stream_accepted", id, transport, local, remote)


@asynccontextmanager
async def driven(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Core, Driver[Any]]]:
    core = Core()
    driver: Driver[Any] = Driver(core, ssl_context=context)
    try:
        yield core, driver
    finally:
        await driver.close()
        assert driver._udp == {}
        assert driver._streams == {}
        # A task tells its owner before its last callback has run.
        await asyncio.sleep(0)
        assert driver._tasks == {}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def plain_server(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[Address]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


def closed_port(kind: socket.SocketKind) -> Address:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        return Address(*taken.getsockname())


# UDP.


async def test_datagrams_both_ways() -> None:
    async with driven() as (one, first), driven() as (two, second):
        here, there = await first.bind(ANY), await second.bind(ANY)
        one.out = [Datagram(ANY, there, b"from nowhere"), Datagram(here, there, b"a")]
        first.wake()
        assert await two.call("datagram") == ("datagram", Datagram(here, there, b"a"))
        two.out = [Datagram(there, here, b"b")]
        second.wake()
        assert await one.call("datagram") == ("datagram", Datagram(there, here, b"b"))


async def test_the_longest_datagram_arrives_whole() -> None:
    longest = bytes(range(256)) * 256
    longest = longest[: 65_535 - 20 - 8]  # RFC 791 and 768: a packet of IPv4 with both headers
    async with driven() as (one, first), driven() as (two, second):
        here, there = await first.bind(ANY), await second.bind(ANY)
        one.out = [Datagram(here, there, longest)]
        first.wake()
        assert await two.call("datagram") == ("datagram", Datagram(here, there, longest))


async def test_what_cannot_be_bound() -> None:
    async with driven() as (_, driver):
        taken = await driver.bind(ANY)
        with pytest.raises(ConfigError, match=f"cannot bind UDP {taken}"):
            await driver.bind(taken)
        with pytest.raises(ConfigError, match=r"cannot bind UDP 192\.0\.2\.1:0"):
            await driver.bind(Address("192.0.2.1", 0))


async def test_sockets_that_the_core_asks_for() -> None:
    async with driven() as (core, driver):
        taken = await driver.bind(ANY)
        core.events = [SocketWanted(1, taken), SocketWanted(2, Address("192.0.2.1", 0)), SocketWanted(3, ANY)]
        driver.wake()
        async with asyncio.timeout(5):
            while len(core.calls) < 3:
                core.called.clear()
                await core.called.wait()
        calls = sorted(core.calls)
        assert calls[:2] == [
            ("socket_failed", 1, SocketFailure.IN_USE),
            ("socket_failed", 2, SocketFailure.UNAVAILABLE),
        ]
        local = calls[2][2]
        assert calls[2] == ("socket_opened", 3, local)
        assert local.host == "127.0.0.1"
        core.events = [SocketReleased(local), SocketReleased(Address("127.0.0.1", 1))]
        driver.wake()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await driver.bind(local) == local


async def test_opened_waits_for_another_socket_where_the_first_cannot_be() -> None:
    class Stubborn(Core):
        def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
            super().socket_failed(id, failure, now)
            self.events.append(SocketWanted(id, ANY))

    core = Stubborn()
    driver: Driver[Any] = Driver(core)
    try:
        taken = await driver.bind(ANY)
        core.events = [SocketWanted(1, taken), SocketWanted(2, ANY), ListenerWanted(2, ANY), ListenerWanted(3, ANY)]
        driver.wake()
        async with asyncio.timeout(10):
            await driver.opened()
        assert sorted(call[:2] for call in core.calls) == [
            ("listener_opened", 2),
            ("listener_opened", 3),
            ("socket_failed", 1),
            ("socket_opened", 1),
            ("socket_opened", 2),
        ]
    finally:
        await driver.close()


async def test_nobody_waits_for_the_sockets_of_a_closed_driver() -> None:
    async with driven() as (core, driver):
        core.events = [SocketWanted(1, ANY)]
        driver.wake()
        waiting = asyncio.ensure_future(driver.opened())
        await asyncio.sleep(0)
        await driver.close()
        async with asyncio.timeout(10):
            await waiting


async def test_icmp_on_a_connected_socket() -> None:
    async with driven() as (core, driver):
        nobody = closed_port(socket.SOCK_DGRAM)
        core.events = [SocketWanted(5, ANY, nobody)]
        driver.wake()
        _, _, local = await core.call("socket_opened")
        core.out = [Datagram(local, nobody, b"anyone?")]
        driver.wake()
        assert await core.call("socket_failed") == ("socket_failed", 5, SocketFailure.REFUSED)


# Streams.


async def wanted(
    core: Core, driver: Driver[Any], remote: Address, transport: Transport, name: str | None = None
) -> None:
    core.events.append(StreamWanted(1, None, remote, transport, name))
    driver.wake()


async def test_a_stream_both_ways() -> None:
    async with driven() as (core, driver), driven() as (serving, server):
        listening = await server.listen(ANY, Transport.TCP)
        core.events.append(StreamWanted(1, "127.0.0.1", listening, Transport.TCP))
        driver.wake()
        _, number, local, remote = await core.call("stream_opened")
        assert (number, remote, local.host) == (1, listening, "127.0.0.1")
        assert await serving.call("stream_accepted") == ("stream_accepted", -1, Transport.TCP, listening, local)
        core.out = [Datagram(local, remote, b"to", Transport.TCP)]
        driver.wake()
        assert await serving.call("datagram") == ("datagram", Datagram(local, remote, b"to", Transport.TCP))
        serving.out = [Datagram(remote, local, b"fro", Transport.TCP)]
        server.wake()
        assert await core.call("datagram") == ("datagram", Datagram(remote, local, b"fro", Transport.TCP))
        core.events = [StreamReleased(1)]
        driver.wake()
        assert await serving.call("stream_closed") == ("stream_closed", -1, StreamFailure.CLOSED, "")
        # To a stream that is gone.
        core.out = [Datagram(local, remote, b"late", Transport.TCP)]
        driver.wake()


async def test_tls_both_ways(authority: trustme.CA) -> None:
    async with driven(client_context(authority)) as (core, driver), driven() as (serving, server):
        listening = await server.listen(ANY, Transport.TLS, server_context(authority, "turn.example.org"))
        await wanted(core, driver, listening, Transport.TLS, "turn.example.org")
        assert await core.call("stream_connected") == ("stream_connected", 1)
        _, _, local, remote = await core.call("stream_opened")
        core.out = [Datagram(local, remote, b"to", Transport.TLS)]
        driver.wake()
        assert await serving.call("datagram") == ("datagram", Datagram(local, remote, b"to", Transport.TLS))
        serving.events = [StreamReleased(-1)]
        server.wake()
        assert (await core.call("stream_closed"))[1:3] == (1, StreamFailure.CLOSED)


async def test_listening_on_what_is_taken() -> None:
    async with driven() as (_, driver):
        taken = await driver.listen(ANY, Transport.TCP)
        with pytest.raises(ConfigError, match=f"cannot listen on TCP {taken}"):
            await driver.listen(taken, Transport.TCP)


async def test_a_listener_that_the_core_asks_for() -> None:
    async with driven() as (serving, server), driven() as (core, driver):
        serving.events = [ListenerWanted(4, ANY)]
        server.wake()
        _, number, local = await serving.call("listener_opened")
        assert number == 4
        serving.events = [ListenerWanted(5, local), ListenerWanted(6, Address("192.0.2.1", 0))]
        server.wake()
        failed = {await serving.call("listener_failed") for _ in range(2)}
        assert failed == {
            ("listener_failed", 5, SocketFailure.IN_USE),
            ("listener_failed", 6, SocketFailure.UNAVAILABLE),
        }
        await wanted(core, driver, local, Transport.TCP)
        _, _, mine, _ = await core.call("stream_opened")
        assert (await serving.call("stream_accepted"))[2:] == (Transport.TCP, local, mine)
        serving.events = [ListenerReleased(local)]
        server.wake()
        core.out = [Datagram(mine, local, b"still here", Transport.TCP)]
        driver.wake()
        assert await serving.call("datagram") == ("datagram", Datagram(mine, local, b"still here", Transport.TCP))
        core.events.append(StreamWanted(2, None, local, Transport.TCP))
        driver.wake()
        assert (await core.call("stream_closed"))[1:3] == (2, StreamFailure.REFUSED)


async def test_a_closed_port() -> None:
    async with driven() as (core, driver):
        await wanted(core, driver, closed_port(socket.SOCK_STREAM), Transport.TCP)
        assert (await core.call("stream_closed"))[1:3] == (1, StreamFailure.REFUSED)


@pytest.mark.parametrize(
    ("names", "options", "asked", "failure"),
    [
        (("other.example.org",), {}, "turn.example.org", StreamFailure.TLS_NAME),
        (("turn.example.org",), {}, "127.0.0.1", StreamFailure.TLS_NAME),
        (("turn.example.org",), {}, ".turn.example.org", StreamFailure.TLS_NAME),
        (("turn.example.org",), {}, "turn..example.org", StreamFailure.TLS_NAME),
    ],
)
async def test_a_certificate_with_another_name(
    authority: trustme.CA, names: tuple[str, ...], options: dict[str, Any], asked: str, failure: StreamFailure
) -> None:
    async with driven(client_context(authority)) as (core, driver), driven() as (_, server):
        listening = await server.listen(ANY, Transport.TLS, server_context(authority, *names, **options))
        await wanted(core, driver, listening, Transport.TLS, asked)
        _, number, found, detail = await core.call("stream_closed")
        assert (number, found) == (1, failure)
        assert detail


async def test_a_certificate_that_has_expired(authority: trustme.CA) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    async with driven(client_context(authority)) as (core, driver), driven() as (_, server):
        context = server_context(authority, "turn.example.org", not_after=past)
        listening = await server.listen(ANY, Transport.TLS, context)
        await wanted(core, driver, listening, Transport.TLS, "turn.example.org")
        assert (await core.call("stream_closed"))[1:] == (1, StreamFailure.TLS_EXPIRED, "certificate has expired")


async def test_a_certificate_of_an_unknown_issuer(authority: trustme.CA) -> None:
    async with driven() as (core, driver), driven() as (_, server):
        listening = await server.listen(ANY, Transport.TLS, server_context(authority, "turn.example.org"))
        await wanted(core, driver, listening, Transport.TLS, "turn.example.org")
        assert (await core.call("stream_closed"))[1:3] == (1, StreamFailure.TLS_ISSUER)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes.fromhex("011100402112a442") + bytes(76)],
    ids=["http", "ssh", "stun"],
)
async def test_a_server_that_answers_in_plain_text(authority: trustme.CA, answer: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async with plain_server(handle) as address, driven(client_context(authority)) as (core, driver):
        await wanted(core, driver, address, Transport.TLS, "turn.example.org")
        assert (await core.call("stream_closed"))[1:3] == (1, StreamFailure.NOT_TLS)


async def test_a_server_that_hangs_up_on_tls(authority: trustme.CA) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with plain_server(handle) as address, driven(client_context(authority)) as (core, driver):
        await wanted(core, driver, address, Transport.TLS, "turn.example.org")
        assert (await core.call("stream_closed"))[2] in (StreamFailure.RESET, StreamFailure.NOT_TLS)


async def test_a_released_stream_that_is_still_opening(authority: trustme.CA) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # It takes the ClientHello and says nothing.
        began.set()
        while await reader.read(4096):
            pass
        ended.set()
        writer.close()

    async with plain_server(handle) as address, driven(client_context(authority)) as (core, driver):
        await wanted(core, driver, address, Transport.TLS, "turn.example.org")
        await asyncio.wait_for(began.wait(), 5)
        core.events = [StreamReleased(1)]
        driver.wake()
        await asyncio.wait_for(ended.wait(), 5)
        assert [call for call in core.calls if call[0] in ("stream_closed", "stream_opened")] == []


async def test_a_released_stream_whose_server_does_not_answer_the_end_of_tls(authority: trustme.CA) -> None:
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_context(authority, "turn.example.org").wrap_bio(incoming, outgoing, server_side=True)
        with suppress(ConnectionResetError):
            while data := await reader.read(4096):
                incoming.write(data)
                with suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                writer.write(outgoing.read())
        ended.set()
        writer.close()

    async with plain_server(handle) as address:
        async with driven(client_context(authority)) as (core, driver):
            await wanted(core, driver, address, Transport.TLS, "turn.example.org")
            await core.call("stream_opened")
            core.events = [StreamReleased(1)]
            driver.wake()
        await asyncio.wait_for(ended.wait(), 5)


async def test_dtls_to_a_closed_port() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    address = Address(*transport.get_extra_info("sockname"))
    transport.close()
    await asyncio.sleep(0)
    async with driven() as (core, driver):
        await wanted(core, driver, address, Transport.DTLS)
        assert (await core.call("stream_closed"))[1:3] == (1, StreamFailure.REFUSED)


async def test_a_peer_that_does_not_read_costs_no_memory() -> None:
    hold = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.close()

    async with plain_server(handle) as address:
        async with driven() as (core, driver):
            await wanted(core, driver, address, Transport.TCP)
            _, _, local, remote = await core.call("stream_opened")
            core.out = [Datagram(local, remote, bytes(60_000), Transport.TCP)] * 500
            driver.wake()
            (stream,) = driver._streams.values()
            assert stream.transport.get_write_buffer_size() < 200_000
        # Closing did not wait for that peer.
        hold.set()


# Time, events, end.


async def test_the_timer_is_not_early() -> None:
    async with driven() as (core, driver):
        for _ in range(5):
            due = core.timer = driver.now() + 0.003
            core.fired.clear()
            fired = asyncio.Event()
            core.at_timer = lambda now, fired=fired: fired.set()  # type: ignore[misc]
            driver.wake()
            await asyncio.wait_for(fired.wait(), 5)
            assert len(core.fired) == 1
            assert core.fired[0] >= due


async def test_an_earlier_and_a_cancelled_timer() -> None:
    async with driven() as (core, driver):
        core.timer = driver.now() + 1000
        driver.wake()
        fired = asyncio.Event()
        core.at_timer = lambda now: fired.set()
        core.timer = driver.now() + 0.001
        driver.wake()
        await asyncio.wait_for(fired.wait(), 5)
        core.timer = driver.now() + 0.001
        driver.wake()
        core.timer = None
        driver.wake()
        assert driver._timer.when is None


async def test_events_come_in_order_and_wait_in_a_bounded_queue() -> None:
    async with driven() as (core, driver):
        core.events = list(range(3000))
        driver.wake()
        assert len(driver._waiting) == 1024
        assert len(core.events) == 3000 - 1024
        events = driver.events()
        assert [await anext(events) for _ in range(3000)] == list(range(3000))
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        core.events = ["later"]
        driver.wake()
        assert await waiting == "later"
        await events.aclose()


async def test_events_end_with_close() -> None:
    async with driven() as (core, driver):
        core.at_close = lambda now: core.events.append("goodbye")
        core.events = ["hello"]
        reader = asyncio.ensure_future(collect(driver))
        await asyncio.sleep(0)
        await driver.close()
        assert await reader == ["hello", "goodbye"]


async def collect(driver: Driver[Any]) -> list[Any]:
    return [event async for event in driver.events()]


async def test_close_lets_the_core_say_goodbye() -> None:
    async with driven() as (core, driver), driven() as (peer, other):
        here, there = await driver.bind(ANY), await other.bind(ANY)

        def farewell(now: float) -> None:
            core.timer = now + 0.01
            core.at_timer = lambda now: core.out.append(Datagram(here, there, b"goodbye"))

        core.at_close = farewell
        await driver.close()
        await driver.close()
        assert await peer.call("datagram") == ("datagram", Datagram(here, there, b"goodbye"))
        assert [call for call in core.calls if call == ("close",)] == [("close",)]


async def test_close_does_not_wait_for_ever() -> None:
    async with driven() as (core, driver):

        def again(now: float) -> None:
            core.timer = now + 0.005

        core.at_close = core.at_timer = again
        began = driver.now()
        await driver.close(timeout=0.05)
        assert 0.05 <= driver.now() - began < 1.0


async def test_a_cancelled_close_leaks_nothing() -> None:
    core = Core()
    driver: Driver[Any] = Driver(core)
    local = await driver.bind(ANY)
    listening = await driver.listen(ANY, Transport.TCP)
    core.events = [StreamWanted(1, None, listening, Transport.TCP)]
    driver.wake()
    await core.call("stream_opened")

    def stay(now: float) -> None:
        core.timer = now + 1000

    core.at_close = stay
    closing = asyncio.ensure_future(driver.close())
    await asyncio.sleep(0.01)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert (driver._udp, driver._streams, driver._tasks) == ({}, {}, {})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(local)
    gc.collect()


async def test_a_defect_of_the_driver_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Driver[object], wanted: StreamWanted) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Driver, "_open_stream", broken)
    async with driven() as (core, driver):
        core.events.append(StreamWanted(1, None, Address("127.0.0.1", 9), Transport.TCP))
        driver.wake()
        with pytest.raises(ZeroDivisionError):
            await anext(driver.events())


async def test_events_can_be_delivered_as_they_happen() -> None:
    core, told = Core(), []
    driver: Driver[Any] = Driver(core, deliver=told.append)
    core.events = ["one", SocketWanted(1, ANY), "two"]
    driver.wake()
    assert told == ["one", "two"]
    await core.call("socket_opened")
    await driver.close()


class Routed(Core):
    """A core that wants to know what did not leave, and answers it with something else."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[Datagram] = []

    def unreachable(self, datagram: Datagram, now: float) -> None:
        self.refused.append(datagram)
        if len(self.refused) == 1:
            self.out.append(Datagram(datagram.source, datagram.source, b"instead"))


async def test_a_core_is_told_what_has_no_route() -> None:
    core = Routed()
    driver: Driver[Any] = Driver(core)
    local = await driver.bind(ANY)
    # Loopback reaches nothing but this host: the system says so at once.
    nowhere = Datagram(local, Address("203.0.113.9", 9), b"lost")
    core.out.append(nowhere)
    driver.wake()
    assert core.refused == [nowhere]
    assert (await core.call("datagram"))[1] == Datagram(local, local, b"instead")
    # What can leave is not refused because something before it was.
    assert core.refused == [nowhere]
    await driver.close()


class Steady(Core):
    """A core that says whether its timer has moved."""

    def __init__(self) -> None:
        super().__init__()
        self.timer_moved = False
        self.asked = 0

    def get_timer(self) -> float | None:
        self.asked += 1
        self.timer_moved = False
        return super().get_timer()


async def test_a_timer_that_has_not_moved_is_not_asked_for() -> None:
    core = Steady()
    driver: Driver[Any] = Driver(core)
    driver.wake()
    await asyncio.sleep(0)
    assert core.asked == 0
    core.timer, core.timer_moved = driver.now() + 0.01, True
    for _ in range(3):
        driver.wake()
    core.at_timer = lambda now: core._note("fired")
    await core.call("fired")
    assert core.asked == 1
    await driver.close()


async def test_what_a_datagram_makes_due_is_done_in_the_same_turn_of_the_loop() -> None:
    class Answering(Steady):
        def receive_datagram(self, datagram: Datagram, now: float) -> None:
            self.timer, self.timer_moved = now + float(datagram.data), True
            super().receive_datagram(datagram, now)

    core = Answering()
    driver: Driver[Any] = Driver(core)
    local = await driver.bind(ANY)
    driver._received(ANY, local, b"0.01", Transport.UDP)
    assert core.fired == []
    core.at_timer = lambda _now: core.out.append(Datagram(local, local, b"0.02"))
    driver._received(ANY, local, b"0", Transport.UDP)
    assert len(core.fired) == 1
    # What it has made the core send has left as well.
    assert (await core.call("datagram"))[1].data == b"0.01"
    assert (await core.call("datagram"))[1].data == b"0"
    assert (await core.call("datagram"))[1].data == b"0.02"
    core.at_timer, core.timer, core.timer_moved = lambda _now: None, driver.now(), True
    driver.hurry()
    assert len(core.fired) == 2
    await driver.close()
    driver.hurry()
