"""Calls of an hour in virtual time while the network misbehaves: they come back, on one pair, and nothing is left over.

Two calls between the same two hosts. An application on each side does what one must: it sends a datagram a second, and
when nothing is heard it begins anew, by an ICE restart or with a new connection. What happens to them, one thing after
the other: loss, rebooted NATs, another network with other addresses, a server that is killed and comes back, a host
that is cut off, a clock that jumps as that of a machine which slept.

After each of them both calls must flow again; both sides then use the same pair, and what arrives is their own. At the
end nothing may be left: no socket, task, timer or connection, and no allocation on the server.

``ICEKIT_SEEDS`` of 1000 and more: a run of an hour for each hundred. Below: one of some minutes. With
``--log-cli-level=INFO`` each says what has happened in it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from icekit.aio.connection import IceConnection
from icekit.aio.server import RunningServer, serve
from icekit.errors import InvalidState
from icekit.ice_events import IceState
from icekit.pacing import Floor
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.sim import Host, Internet, Link
from icekit.sim.network import Network

log = logging.getLogger(__name__)

SEEDS = int(os.environ.get("ICEKIT_SEEDS", "20"))
RUNS, DURATION = (SEEDS // 100, 3600.0) if SEEDS >= 1000 else (1, 240.0)

SERVER = "203.0.113.10"
USER, PASSWORD = "alice", "correct-horse"
SERVERS = [
    IceServer(urls=f"stun:{SERVER}"),
    IceServer(urls=f"turn:{SERVER}?transport=udp", username=USER, credential=PASSWORD),
]
NATS = ("full-cone", "restricted", "port-restricted", "symmetric", "cgnat", "alg")
SIGNALING = 0.05
# Silence that an application does not accept, and how long it gives a new beginning.
SILENCE, ATTEMPT = 7.0, 15.0
# By then both calls flow again: silence, two attempts that fell into the trouble, and one that did not.
RECOVERY = 75.0
# By then the sockets of the generation before have been closed.
FAREWELL = 10.0


class Side:
    """One side of a call."""

    def __init__(self, call: Call, name: str, host: Host, *, offers: bool) -> None:
        self.call, self.name, self.host, self.offers = call, name, host, offers
        self.other: Side
        self.epoch = -1
        self.heard = 0.0
        self.received = 0
        self.inbox: asyncio.Queue[tuple[int, str, Any]] = asyncio.Queue()
        self.connection: IceConnection | None = None
        self.work: list[asyncio.Task[None]] = []
        self.reader: asyncio.Task[None] | None = None

    def tell(self, kind: str, value: Any = None) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(SIGNALING, self.other.inbox.put_nowait, (self.epoch, kind, value))

    async def run(self) -> None:
        sender = asyncio.create_task(self.send())
        try:
            while True:
                epoch, kind, value = await self.inbox.get()
                if kind == "over":
                    return
                if kind == "begin":
                    await self.begin(epoch, fresh=value)
                elif epoch != self.epoch:
                    continue
                elif kind == "credentials":
                    assert self.connection is not None
                    self.connection.remote_username, self.connection.remote_password = value
                    self.work.append(asyncio.create_task(self.connect(self.connection)))
                else:
                    assert self.connection is not None
                    await self.connection.add_remote_candidate(value)
        finally:
            await self.stop([sender, *self.work])
            await self.hang_up()

    async def begin(self, epoch: int, *, fresh: bool) -> None:
        self.epoch = epoch
        await self.stop(self.work)
        self.work = []
        if not fresh and self.connection is not None:
            try:
                self.connection.restart()
            except InvalidState:
                fresh = True
        if fresh or self.connection is None:
            await self.hang_up()
            # A floor of its own: the sides are two machines.
            self.connection = IceConnection(self.offers, ice_servers=SERVERS, floor=Floor())
            self.call.world.made.add(self.connection)
            self.reader = asyncio.create_task(self.read(self.connection))
        self.tell("credentials", (self.connection.local_username, self.connection.local_password))
        self.work.append(asyncio.create_task(self.gather(self.connection)))

    async def gather(self, connection: IceConnection) -> None:
        async for candidate in connection.candidates():
            self.tell("candidate", candidate)
        self.tell("candidate", None)

    async def connect(self, connection: IceConnection) -> None:
        try:
            await connection.connect()
        except ConnectionError:
            self.call.world.seen["failed attempts"] += 1

    async def read(self, connection: IceConnection) -> None:
        while True:
            try:
                data = await connection.recv()
            except ConnectionError:
                # Not connected yet, or not any more.
                if connection.state in (IceState.FAILED, IceState.CLOSED):
                    return
                await asyncio.sleep(0.2)
                continue
            # What arrives is of this call and of the other side, in whatever order.
            assert data.startswith(f"{self.call.name}/{self.other.name}/".encode()), data
            self.heard = self.call.world.net.now
            self.received += 1

    async def send(self) -> None:
        number = 0
        while True:
            number += 1
            if self.connection is not None:
                with suppress(ConnectionError):
                    await self.connection.send(f"{self.call.name}/{self.name}/{number}".encode())
            await asyncio.sleep(1.0)

    async def hang_up(self) -> None:
        if self.connection is not None:
            await self.connection.close()
        await self.stop([] if self.reader is None else [self.reader])
        self.connection = self.reader = None

    async def stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(done, Exception):
                raise done


class Call:
    """Two sides, and what their users would do: begin anew when there is silence."""

    def __init__(self, world: World, name: str, alice: Host, bob: Host) -> None:
        self.world, self.name = world, name
        self.sides = Side(self, "alice", alice, offers=True), Side(self, "bob", bob, offers=False)
        self.sides[0].other, self.sides[1].other = self.sides[::-1]
        self.began = 0.0
        self.epoch = -1

    @property
    def settled(self) -> bool:
        """Whether both sides have agreed on a pair of their last beginning."""
        return all(
            side.connection is not None and side.connection.state is IceState.COMPLETED and side.epoch == self.epoch
            for side in self.sides
        )

    @property
    def flows(self) -> bool:
        """Whether both sides have just heard each other on the pair that they have agreed on."""
        return self.settled and all(self.world.net.now - side.heard < 2.5 for side in self.sides)

    def begin(self, *, fresh: bool) -> None:
        self.began, self.epoch = self.world.net.now, self.epoch + 1
        self.world.seen["new connections" if fresh else "restarts"] += 1
        for side in self.sides:
            side.inbox.put_nowait((self.epoch, "begin", fresh))

    async def watch(self) -> None:
        self.begin(fresh=True)
        while True:
            await asyncio.sleep(1.0)
            now = self.world.net.now
            # A restart while the host was cut off may leave the old pair in use, and come to nothing.
            silent = any(now - side.heard > SILENCE for side in self.sides) or not self.settled
            if silent and now - self.began > ATTEMPT:
                failed = any(side.connection is None or side.connection.state is IceState.FAILED for side in self.sides)
                self.begin(fresh=failed or self.world.dice.random() < 0.2)

    def check_pair(self) -> None:
        """Both sides use one pair: what is local to one is remote to the other."""
        one, other = (side.connection.selected_pair for side in self.sides if side.connection is not None)
        assert one is not None
        assert other is not None
        for left, right in ((one, other), (other, one)):
            assert (left.local.address, left.local.port) == (right.remote.address, right.remote.port), (one, other)
        self.world.seen["relayed" if "relay" in (one.local.type, one.remote.type) else "direct"] += 1


class World:
    """The hosts, and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(f"{seed}/chaos")
        self.net = Internet(seed, link=Link(delay=0.02, jitter=0.01))
        self.server = self.net.host("server", addresses=[SERVER])
        self.loss = 0.0
        self._pass_through = self.net.pass_through
        self.net.pass_through = self._lossy  # type: ignore[method-assign]
        self.hosts = [self.net.host(name, nat=self.dice.choice(NATS)) for name in ("alice", "bob")]
        self.homes = {host: [host.interfaces[0].network] for host in self.hosts}
        for host, homes in self.homes.items():
            homes += [self.net.network(self.dice.choice(NATS), name=f"{host.name}-{n}") for n in range(2)]
        self.seen: Counter[str] = Counter()
        self.made: weakref.WeakSet[IceConnection] = weakref.WeakSet()
        self.running: RunningServer | None = None

    def _lossy(self, channel: Any, datagram: Any, then: Any, *more: Any) -> None:
        if not self.loss or self.dice.random() >= self.loss:
            self._pass_through(channel, datagram, then, *more)

    async def serve(self) -> None:
        turn = TurnServerConfig(users={USER: PASSWORD}, relay_ipv4=SERVER, max_allocations_per_user=1000)
        async with serve(ServerConfig(turn=turn), hosts=[SERVER], ports=(3478,), tcp=False) as self.running:
            await asyncio.Event().wait()

    # What happens.

    async def lose(self) -> None:
        self.loss = self.dice.uniform(0.05, 0.4)
        await asyncio.sleep(15.0)
        self.loss = 0.0

    async def reboot(self) -> None:
        self._network(self.dice.choice(self.hosts)).nat.reboot()

    async def move(self) -> None:
        host = self.dice.choice(self.hosts)
        old, address = self._network(host), host.address
        self.dice.choice([home for home in self.homes[host] if home is not old]).attach(host)
        old.detach(host, address)

    async def kill_server(self) -> None:
        self.server.kill()
        await asyncio.sleep(self.dice.uniform(5.0, 25.0))
        self.server.run(self.serve())

    async def cut_off(self) -> None:
        host = self.dice.choice(self.hosts)
        host.down()
        await asyncio.sleep(self.dice.uniform(2.0, 35.0))
        host.up()

    async def jump(self) -> None:
        # Everything that was to happen in between is late, as after a sleep of the machine.
        asyncio.get_running_loop()._now += self.dice.uniform(3.0, 90.0)  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)

    def _network(self, host: Host) -> Network:
        return next(interface.network for interface in host.interfaces if interface.addresses)

    # The course of events.

    async def run(self, duration: float) -> None:
        loop = asyncio.get_running_loop()
        self.server.run(self.serve())
        await asyncio.sleep(0.1)
        calls = [Call(self, name, *self.hosts) for name in ("one", "two")]
        before = asyncio.all_tasks()
        sides = [side.host.run(side.run()) for call in calls for side in call.sides]
        watches = [asyncio.create_task(call.watch()) for call in calls]
        events: list[Callable[[], Awaitable[None]]] = [
            self.lose,
            self.reboot,
            self.move,
            self.kill_server,
            self.cut_off,
            self.jump,
        ]
        await self.until_all_flow(calls, sides, "the beginning")
        while self.net.now < duration:
            await asyncio.sleep(self.dice.uniform(0.0, 10.0))
            event = self.dice.choice(events)
            self.seen[event.__name__] += 1
            await event()
            await self.until_all_flow(calls, sides, event.__name__)
        # An hour has room for everything, some minutes have not.
        assert duration < 3600 or {event.__name__ for event in events} <= set(self.seen), self.seen
        await self.stop(watches)
        for call in calls:
            for side in call.sides:
                side.inbox.put_nowait((side.epoch, "over", None))
        await asyncio.gather(*sides)
        assert all(not host._udp for host in self.hosts)
        # What moved away without a word: the server forgets it after the lifetime of an allocation (RFC 8656 §7.2).
        await asyncio.sleep(700.0)
        assert self.running is not None
        assert self.running.core.allocations == 0
        assert (
            asyncio.all_tasks() - before - {asyncio.current_task()}
            == {
                task for task in asyncio.all_tasks() if "icekit-serve" in task.get_name() or "World.serve" in repr(task)
            }
            - before
        )
        del calls, sides, watches, call, side
        gc.collect()
        assert list(self.made) == []
        timers = [entry for entry in loop._timers if not entry[2].cancelled()]  # type: ignore[attr-defined]
        assert len(timers) <= 2, timers

    async def until_all_flow(self, calls: list[Call], sides: list[asyncio.Task[None]], after: str) -> None:
        began = self.net.now
        while not all(call.flows for call in calls):
            assert self.net.now - began < RECOVERY, f"{after} at {began:.0f} s: no data again"
            await asyncio.sleep(0.5)
            for task in sides:
                if task.done():
                    await task
        for call in calls:
            call.check_pair()
        await asyncio.sleep(FAREWELL)
        for host in self.hosts:
            # One for each call.
            assert len(host._udp) == len(calls) or any(self.net.now - call.began <= 2 * FAREWELL for call in calls)

    async def stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.timeout(600)
def test_calls_survive_an_hour_of_chaos(seed: int) -> None:
    world = World(seed)
    world.net.run(world.run(DURATION))
    log.info("seed %d: %s", seed, ", ".join(f"{count} {name}" for name, count in sorted(world.seen.items())))
    assert world.seen["direct"] + world.seen["relayed"] >= 8
