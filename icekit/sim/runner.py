"""Runs a ``Scenario``: two peers, the servers and the signaling between them, in one simulated Internet."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import aioice

from icekit.aio.connection import IceConnection
from icekit.aio.server import serve
from icekit.pacing import Floor
from icekit.report import PathKind
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.sim.host import Host
from icekit.sim.internet import Internet
from icekit.sim.link import Link
from icekit.sim.network import Network
from icekit.sim.scenario import Engine, Outcome, PeerOutcome, Scenario, StunServer, TurnServer

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

SERVER, NOBODY = "203.0.113.10", "203.0.113.99"
_USER, _PASSWORD = "user", "password"  # of a server that exists only here
_PORTS = {TurnServer.UDP: 3478, TurnServer.TCP: 443, TurnServer.DEAD: 3478}
# Virtual seconds: until a peer gives up, and how often and how far apart data is tried.
_LIMIT, _ATTEMPTS, _INTERVAL = 120.0, 10, 0.5


def run(scenario: Scenario, *, timeline: bool = False, capture: Path | None = None) -> Outcome:
    """Run the call to its end in virtual time; with ``timeline`` the outcome has the fate of every packet.

    ``capture``: a file for all packets, as ``Internet`` writes it.
    """
    net = Internet(scenario.seed, timeline=timeline, capture=capture, limit=10 * _LIMIT)
    server = net.host("server", addresses=[SERVER])
    hosts, places = [], []
    for name, nat in (("a", scenario.a), ("b", scenario.b)):
        network = net.root if nat == "open" else net.network(nat, name=f"{name}-lan")
        host = network.host(name)
        for _ in range(scenario.dead_interfaces):
            net.network(None).attach(host)
        hosts.append(host)
        places.append(_seen_outside(host, network))
    for place in places:
        net.root.path(server, place, _link(scenario, scenario.server_rtt_ms))
    net.root.path(places[0], places[1], _link(scenario, scenario.direct_rtt_ms))
    a, b, path = net.run(_call(scenario, server, *hosts))
    split = path is not PathKind.NONE and a.relayed != b.relayed
    lines = None if net.timeline is None else tuple(map(str, net.timeline.records))
    return Outcome(scenario=scenario, path=path, split=split, a=a, b=b, timeline=lines)


def _link(scenario: Scenario, rtt_ms: float) -> Link:
    return Link(delay=rtt_ms / 2000, jitter=scenario.jitter_ms / 1000, loss=scenario.loss)


def _seen_outside(host: Host, network: Network) -> Host | Network:
    """What the Internet knows of a host: itself, or the network of its outermost NAT."""
    seen: Host | Network = host
    while network.gateway is not None:
        seen, network = network, network.gateway.outside
    return seen


class _Line:
    """One direction of the signaling: everything arrives, ``delay`` seconds later."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._words: asyncio.Queue[Any] = asyncio.Queue()

    def tell(self, word: Any) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._words.put_nowait, word)

    async def hear(self) -> Any:
        return await self._words.get()


class _Peer(ABC):
    """One end of the call: user name and password are told first, then candidates, then None."""

    def __init__(self, scenario: Scenario, offers: bool, inward: _Line, outward: _Line, began: float) -> None:
        self.offers = offers
        self.scenario = scenario
        self.inward = inward
        self.outward = outward
        self.began = began
        self.gathered_ms: float | None = None
        self.connected_ms: float | None = None
        self.settled_ms: float | None = None
        self.failure: str | None = None
        self.connection: Any = None

    async def run(self) -> None:
        """Make the call; ``failure`` says why it did not come about."""
        try:
            async with asyncio.timeout(_LIMIT):
                await self.call()
        except TimeoutError:
            self.failure = f"not connected after {_LIMIT:.0f} s"
        except ConnectionError as error:
            self.failure = str(error)

    @abstractmethod
    async def call(self) -> None:
        """Until the pair is nominated; ConnectionError if that cannot be."""

    @abstractmethod
    def pair(self) -> tuple[str, str, str] | None:
        """Kinds of the local and of the remote candidate in use, and the host that packets are sent to."""

    def now_ms(self) -> float:
        """Since A began, rounded to a microsecond."""
        return round(1000 * (asyncio.get_running_loop().time() - self.began), 3)

    def tell_credentials(self) -> None:
        """The first thing that the other one hears."""
        self.outward.tell((self.connection.local_username, self.connection.local_password))

    async def hear_credentials(self) -> None:
        """Wait for the first thing that the other one tells."""
        self.connection.remote_username, self.connection.remote_password = await self.inward.hear()

    async def hear_candidates(self) -> None:
        """Take the others until there are no more."""
        candidate = object()
        while candidate is not None:
            candidate = await self.inward.hear()
            await self.connection.add_remote_candidate(candidate)

    def outcome(self) -> PeerOutcome:
        """What there is to tell, before the connection is closed."""
        local, remote, target = self.pair() or (None, None, None)
        return PeerOutcome(
            local=local,
            remote=remote,
            relayed=None if target is None else "relay" in (local, remote) or target == SERVER,
            gathered_ms=self.gathered_ms,
            connected_ms=self.connected_ms,
            settled_ms=self.settled_ms,
            failure=self.failure,
        )


class _IcekitPeer(_Peer):
    async def call(self) -> None:
        urls = []
        if self.scenario.stun is not StunServer.NONE:
            urls.append(f"stun:{_stun_host(self.scenario)}:3478")
        if self.scenario.turn is not TurnServer.NONE:
            transport = "tcp" if self.scenario.turn is TurnServer.TCP else "udp"
            urls.append(f"turn:{_turn_host(self.scenario)}:{_PORTS[self.scenario.turn]}?transport={transport}")
        # A floor of its own: the peers are two machines.
        connection = self.connection = IceConnection(
            self.offers,
            ice_servers=[IceServer(urls=url, username=_USER, credential=_PASSWORD) for url in urls],
            floor=Floor(),
        )
        if not self.offers:
            await self.hear_credentials()
        self.tell_credentials()
        work = [asyncio.create_task(self._gather())]
        try:
            if self.offers:
                await self.hear_credentials()
            work.append(asyncio.create_task(self.hear_candidates()))
            await connection.connect()
            self.connected_ms = self.now_ms()
            await connection.settled()
            self.settled_ms = self.now_ms()
            await work[0]
        finally:
            for task in work:
                task.cancel()

    async def _gather(self) -> None:
        async for candidate in self.connection.candidates():
            self.outward.tell(candidate)
        self.gathered_ms = self.now_ms()
        self.outward.tell(None)

    def pair(self) -> tuple[str, str, str] | None:
        pair = None if self.connection is None else self.connection.selected_pair
        return None if pair is None else (str(pair.local.type), str(pair.remote.type), pair.address.host)


class _AioicePeer(_Peer):
    async def call(self) -> None:
        options: dict[str, Any] = {}
        if self.scenario.stun is not StunServer.NONE:
            options["stun_server"] = (_stun_host(self.scenario), 3478)
        if self.scenario.turn is not TurnServer.NONE:
            options["turn_server"] = (_turn_host(self.scenario), _PORTS[self.scenario.turn])
            options |= {"turn_username": _USER, "turn_password": _PASSWORD}
            options["turn_transport"] = "tcp" if self.scenario.turn is TurnServer.TCP else "udp"
        connection = self.connection = aioice.Connection(ice_controlling=self.offers, **options)
        if not self.offers:
            await self.hear_credentials()
            await self.hear_candidates()
        await connection.gather_candidates()
        self.gathered_ms = self.now_ms()
        self.tell_credentials()
        for candidate in (*connection.local_candidates, None):
            self.outward.tell(candidate)
        if self.offers:
            await self.hear_credentials()
            await self.hear_candidates()
        await connection.connect()
        # It nominates with its first checks.
        self.connected_ms = self.settled_ms = self.now_ms()

    def pair(self) -> tuple[str, str, str] | None:
        # aioice has no public way to ask.
        pair = None if self.connection is None else self.connection._nominated.get(1)  # noqa: SLF001
        return None if pair is None else (pair.local_candidate.type, pair.remote_candidate.type, pair.remote_addr[0])


def _stun_host(scenario: Scenario) -> str:
    return NOBODY if scenario.stun is StunServer.DEAD else SERVER


def _turn_host(scenario: Scenario) -> str:
    return NOBODY if scenario.turn is TurnServer.DEAD else SERVER


async def _call(scenario: Scenario, server: Host, a: Host, b: Host) -> tuple[PeerOutcome, PeerOutcome, PathKind]:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    service = server.run(_serve(ready))
    await ready
    signaling, skew = scenario.signaling_rtt_ms / 2000, scenario.skew_ms / 1000
    to_a, to_b = _Line(signaling + max(0.0, -skew)), _Line(signaling + max(0.0, skew))
    kind = _IcekitPeer if scenario.engine is Engine.ICEKIT else _AioicePeer
    one = kind(scenario, True, to_a, to_b, loop.time())
    other = kind(scenario, False, to_b, to_a, loop.time())
    try:
        await asyncio.gather(a.run(one.run()), b.run(other.run()))
        path = PathKind.NONE
        if one.failure is None and other.failure is None and await _data_flows(one, other):
            relayed = (one.outcome().relayed, other.outcome().relayed)
            path = PathKind.RELAY if True in relayed else PathKind.DIRECT
        return one.outcome(), other.outcome(), path
    finally:
        await asyncio.gather(a.run(_close(one)), b.run(_close(other)))
        service.cancel()


async def _data_flows(one: _Peer, other: _Peer) -> bool:
    """Whether a datagram arrives, both ways."""

    async def there(source: Any, target: Any) -> bool:
        for _ in range(_ATTEMPTS):
            try:
                await source.send(b"data")
                async with asyncio.timeout(_INTERVAL):
                    await target.recv()
                return True
            except TimeoutError:
                continue
            except ConnectionError:
                return False
        return False

    works: list[Coroutine[Any, Any, bool]] = [
        there(one.connection, other.connection),
        there(other.connection, one.connection),
    ]
    return all(await asyncio.gather(*works))


async def _close(peer: _Peer) -> None:
    if peer.connection is not None:
        await peer.connection.close()


async def _serve(ready: asyncio.Future[None]) -> None:
    turn = TurnServerConfig(users={_USER: _PASSWORD}, relay_ipv4=SERVER)
    async with serve(ServerConfig(turn=turn), hosts=[SERVER], ports=(3478, 443)):
        ready.set_result(None)
        await asyncio.Event().wait()
