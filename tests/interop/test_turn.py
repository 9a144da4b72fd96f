"""``TurnAllocation`` on real sockets against coturn: UDP, TCP and TLS, data proven both ways, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from icekit.aio.driver import Driver
from icekit.errors import ErrorResponse
from icekit.long_term_credential import LongTermCredential
from icekit.net import Address, Datagram, Transport
from icekit.turn import TurnAllocation, TurnState
from icekit.turn_events import (
    AllocationCreated,
    AllocationFailed,
    AllocationRefreshed,
    AllocationReleased,
    ChannelBound,
    ChannelFailed,
    DataReceived,
    PermissionCreated,
    PermissionFailed,
    ServerChallenged,
    ServerConnected,
    ServerSecured,
    Step,
    TurnEvent,
)
from tests.interop.coturn import REALM, Coturn, CoturnConfig

pytestmark = pytest.mark.interop("turnserver", "turnutils_stunclient")

TRANSPORTS = [Transport.UDP, Transport.TCP, Transport.TLS]


class Echo(asyncio.DatagramProtocol):
    """A peer that sends everything back, with its name in front."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.transport.sendto(b"echo:" + data, source)


@asynccontextmanager
async def echo_peer() -> AsyncIterator[Address]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    try:
        yield Address(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


class Client:
    """An allocation, its driver, and its events one by one."""

    def __init__(self, coturn: Coturn, transport: Transport, password: str) -> None:
        context = ssl.create_default_context(cafile=str(coturn.ca_file)) if transport is Transport.TLS else None
        self.core = TurnAllocation(
            coturn.tls_address if transport is Transport.TLS else coturn.address,
            transport,
            LongTermCredential(coturn.username, password),
            os.urandom,
            local=None,
            server_name="turn.icekit.test",
        )
        self.driver: Driver[TurnEvent] = Driver(self.core, ssl_context=context)
        self._events = self.driver.events()

    async def start(self) -> None:
        if self.core.transport is Transport.UDP:
            # The core is made before its socket, because the driver is made with the core.
            self.core._connection._local = await self.driver.bind(Address("127.0.0.1", 0))
        self.core.allocate(self.driver.now())
        self.driver.wake()

    async def event(self) -> TurnEvent:
        return await asyncio.wait_for(anext(self._events), 10)

    async def until(self, kind: type[TurnEvent]) -> list[TurnEvent]:
        """The events up to the first of this kind."""
        events = [await self.event()]
        while not isinstance(events[-1], kind):
            events.append(await self.event())
        return events

    def call(self, change: Callable[[float], None]) -> None:
        change(self.driver.now())
        self.driver.wake()

    async def close(self) -> list[TurnEvent]:
        await self.driver.close()
        return [event async for event in self._events]


@asynccontextmanager
async def client(coturn: Coturn, transport: Transport, password: str | None = None) -> AsyncIterator[Client]:
    running = Client(coturn, transport, coturn.password if password is None else password)
    try:
        await running.start()
        yield running
    finally:
        await running.close()


async def wait_for_log(coturn: Coturn, text: str) -> None:
    async with asyncio.timeout(5):
        while text not in coturn.log():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_whole_life(start_coturn: Callable[[CoturnConfig], Coturn], transport: Transport) -> None:
    coturn = start_coturn(CoturnConfig())
    async with echo_peer() as peer, client(coturn, transport) as turn:
        first = await turn.until(AllocationCreated)
        connected = {
            Transport.UDP: [],
            Transport.TCP: [ServerConnected],
            Transport.TLS: [ServerConnected, ServerSecured],
        }
        assert [type(event) for event in first] == [*connected[transport], ServerChallenged, AllocationCreated]
        challenged, created = first[-2:]
        assert isinstance(challenged, ServerChallenged)
        assert isinstance(created, AllocationCreated)
        assert challenged.realm == REALM
        assert created.lifetime == 600
        assert created.relayed[0].host == "127.0.0.1"
        assert coturn.ports.first_relay <= created.relayed[0].port <= coturn.ports.last_relay
        assert created.mapped is not None
        assert created.mapped.host == "127.0.0.1"
        assert created.software is not None
        assert created.software.startswith("Coturn-")

        # By indication, with the permission asked for on the way.
        turn.call(lambda now: turn.core.send(peer, b"one", now))
        events = await turn.until(DataReceived)
        assert [type(event) for event in events] == [PermissionCreated, DataReceived]
        assert events[-1] == DataReceived(peer, b"echo:one", None)

        # By channel; of every length, so that each padding is there.
        turn.call(lambda now: turn.core.bind_channel(peer, now))
        bound = await turn.event()
        assert isinstance(bound, ChannelBound)
        for size in range(5):
            turn.call(lambda now, size=size: turn.core.send(peer, b"x" * size, now))  # type: ignore[misc]
            assert await turn.event() == DataReceived(peer, b"echo:" + b"x" * size, bound.channel)

        turn.call(lambda now: turn.core.refresh(now))
        refreshed = await turn.event()
        assert isinstance(refreshed, AllocationRefreshed)
        assert refreshed.lifetime == 600

        (released,) = await turn.close()
        assert isinstance(released, AllocationReleased)
        assert released.confirmed
        assert turn.core.state is TurnState.CLOSED
    # coturn writes its log when its buffer is full or it has time.
    await wait_for_log(coturn, "ALLOCATE processed, success")
    await wait_for_log(coturn, "delete: realm=<icekit.test>, username=<alice>")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_wrong_password(coturn: Coturn, transport: Transport) -> None:
    async with client(coturn, transport, password="not-it") as turn:
        failed = (await turn.until(AllocationFailed))[-1]
        assert isinstance(failed, AllocationFailed)
        assert isinstance(failed.error, ErrorResponse)
        assert (failed.step, failed.error.code, failed.signed) == (Step.ALLOCATE, 401, True)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_forbidden_peer(start_coturn: Callable[[CoturnConfig], Coturn], transport: Transport) -> None:
    coturn = start_coturn(CoturnConfig(denied_peers=("127.0.0.2",)))
    denied = Address("127.0.0.2", 9)
    async with client(coturn, transport) as turn:
        await turn.until(AllocationCreated)
        turn.call(lambda now: turn.core.send(denied, b"x", now))
        permission = await turn.event()
        turn.call(lambda now: turn.core.bind_channel(denied, now))
        channel = await turn.event()
        assert isinstance(permission, PermissionFailed)
        assert isinstance(channel, ChannelFailed)
        for error in (permission.error, channel.error):
            assert isinstance(error, ErrorResponse)
            assert error.code == 403
        # The allocation goes on.
        async with echo_peer() as peer:
            turn.call(lambda now: turn.core.send(peer, b"still", now))
            assert (await turn.until(DataReceived))[-1] == DataReceived(peer, b"echo:still", None)


async def test_closed_between_the_signed_request_and_its_answer(start_coturn: Callable[[CoturnConfig], Coturn]) -> None:
    coturn = start_coturn(CoturnConfig())
    turn = Client(coturn, Transport.UDP, coturn.password)
    receive = turn.core.receive_datagram

    def challenged(datagram: Datagram, now: float) -> None:
        turn.core.receive_datagram = receive  # type: ignore[method-assign]
        receive(datagram, now)
        turn.core.close(now)

    turn.core.receive_datagram = challenged  # type: ignore[method-assign]
    await turn.start()
    events = await turn.until(AllocationReleased)
    await turn.close()
    assert [type(event) for event in events] == [ServerChallenged, AllocationReleased]
    assert isinstance(events[-1], AllocationReleased)
    assert events[-1].confirmed
    await wait_for_log(coturn, "delete: realm=<icekit.test>, username=<alice>")


async def test_a_second_allocation_on_the_same_five_tuple(coturn: Coturn) -> None:
    async with client(coturn, Transport.UDP) as turn:
        await turn.until(AllocationCreated)
        local = turn.core._connection._local
        second = TurnAllocation(
            coturn.address,
            Transport.UDP,
            LongTermCredential(coturn.username, coturn.password),
            os.urandom,
            local=local,
        )
        # On the first one's socket, by hand: what arrives goes to both.
        receive = turn.core.receive_datagram
        turn.core.receive_datagram = lambda datagram, now: (  # type: ignore[method-assign]
            receive(datagram, now),
            second.receive_datagram(datagram, now),
        )[0]
        second.allocate(turn.driver.now())
        async with asyncio.timeout(5):
            while not isinstance(event := second.next_event(), AllocationFailed):
                for datagram in second.datagrams_to_send():
                    turn.driver._send(datagram)
                await asyncio.sleep(0.01)
        assert isinstance(event.error, ErrorResponse)
        assert event.error.code == 437
