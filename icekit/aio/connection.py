"""``IceConnection``: an ICE connection on asyncio, with the methods and keywords of ``aioice.Connection`` and more."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from icekit.aio.convert import from_aioice, to_aioice
from icekit.aio.dns import Resolver
from icekit.aio.driver import Driver
from icekit.aio.gatherer import local_addresses as default_addresses
from icekit.candidate import Candidate
from icekit.errors import ConfigError, IceFailed, InvalidState
from icekit.gathering_events import CandidateGathered, GatheringComplete, ServerAnswered, ServerFailed
from icekit.gathering_plan import GatherServer, gather_servers
from icekit.ice import IceConfig
from icekit.ice_events import DataReceived, IceState, PairStats, SelectedPair
from icekit.net import AddressClass, classify_host
from icekit.pacing import Floor
from icekit.servers import IceServer, ServerUri
from icekit.session import IceSession, SessionEvent

if TYPE_CHECKING:
    import aioice.ice

log = logging.getLogger(__name__)

# RFC 8445 §14.2: all agents of a process together start at most one transaction each 5 ms.
_FLOOR = Floor()
_MAX_RECEIVED = 1024
# Without trickle a description waits for this long after the last candidate, and no longer than that in all.
_STRAGGLER, _GATHERING_LIMIT = 0.3, 2.0
_MDNS_TIMEOUT = 2.0


class IceConnection:
    """One component between two peers.

    Takes the keywords of ``aioice.Connection``, and: ``ice_servers``, any number of STUN and TURN servers;
    ``local_addresses``, used instead of the machine's interfaces; ``pacing``, the Ta of the peer in seconds (RFC 8445
    §14.2) where nothing negotiates it. ``candidates`` gives candidates as they are found, so that they can be sent at
    once (RFC 8838); ``connect`` may be called before any candidate is known.
    """

    def __init__(
        self,
        ice_controlling: bool,
        components: int = 1,
        stun_server: tuple[str, int] | None = None,
        turn_server: tuple[str, int] | None = None,
        turn_username: str | None = None,
        turn_password: str | None = None,
        turn_ssl: bool = False,
        turn_transport: str = "udp",
        use_ipv4: bool = True,
        use_ipv6: bool = True,
        transport_policy: aioice.TransportPolicy | None = None,
        local_username: str | None = None,
        local_password: str | None = None,
        *,
        ice_servers: Sequence[IceServer] | None = None,
        local_addresses: Sequence[str] | None = None,
        pacing: float | None = None,
        config: IceConfig | None = None,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        token_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if components != 1:
            raise ConfigError("icekit connects one component: use rtcp-mux, as every browser does")
        if (local_username is None) != (local_password is None):
            raise ConfigError("give local_username and local_password together")
        servers = tuple(ice_servers or ()) + _servers(
            stun_server, turn_server, turn_username, turn_password, turn_ssl, turn_transport
        )
        hosts = default_addresses() if local_addresses is None else local_addresses
        self._wanted: tuple[GatherServer, ...] = gather_servers(servers)
        self._session = IceSession(
            ice_controlling,
            [host for host in hosts if (use_ipv6 if ":" in host else use_ipv4)],
            self._wanted,
            token_bytes,
            config=config,
            floor=_FLOOR,
            relay_only=transport_policy is not None and transport_policy.name == "RELAY",
            credentials=None if local_username is None or local_password is None else (local_username, local_password),
        )
        self._agent = self._session.agent
        self._agent.set_pacing(pacing)
        self._resolver = resolver or Resolver()
        self._ssl_context = ssl_context
        self._driver: Driver[SessionEvent] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._gathered: list[Candidate] = []
        self._remote: list[aioice.Candidate] = []
        self._gathering_done = False
        self._last_gathered = 0.0
        self._received: deque[bytes] = deque()
        self._resolving = 0
        self._remote_end = False
        self._closed = False
        self.servers: list[ServerAnswered | ServerFailed] = []
        """What became of each server, with its time."""
        self.remote_username: str | None = None
        self.remote_password: str | None = None
        self.remote_is_lite = False

    # What aioice has, too.

    @property
    def ice_controlling(self) -> bool:
        """The role; a conflict may change it."""
        return self._agent.controlling

    @property
    def local_username(self) -> str:
        """The user name fragment of this generation."""
        return self._agent.local_ufrag

    @property
    def local_password(self) -> str:
        """The password of this generation."""
        return self._agent.local_password

    @property
    def local_candidates(self) -> list[aioice.Candidate]:
        """What has been gathered so far, in aioice's type."""
        return [to_aioice(candidate) for candidate in self._gathered]

    @property
    def remote_candidates(self) -> list[aioice.Candidate]:
        """What the peer has told so far, in aioice's type."""
        return list(self._remote)

    def get_default_candidate(self, component: int) -> aioice.Candidate | None:
        """The candidate that a peer without ICE is told (RFC 8839 §4.2.1.2): the most reachable one of IPv4."""
        order = {"relay": 0, "srflx": 1, "host": 2}
        fitting = [item for item in self._gathered if item.component == component and ":" not in item.address]
        best = min(fitting, key=lambda item: order.get(str(item.type), 3), default=None)
        return None if best is None else to_aioice(best)

    async def gather_candidates(self) -> None:
        """Gather until all servers answered, or 300 ms after the last candidate, 2 s at most; the rest trickles in."""
        driver = self._start()
        deadline = driver.now() + _GATHERING_LIMIT
        while not self._gathering_done and not self._closed:
            until = deadline
            if self._gathered:
                until = min(until, self._last_gathered + max(_STRAGGLER, 0.0))
            if driver.now() >= until:
                return
            await self._wait(until)

    async def add_remote_candidate(self, remote_candidate: aioice.Candidate | Candidate | None) -> None:
        """A candidate of the peer, at any time; ``None`` when there are no more. Names are resolved on the side."""
        if self._remote_end:
            raise ValueError("Cannot add remote candidate after end-of-candidates.")
        if self._closed:
            return
        if remote_candidate is None:
            self._remote_end = True
            self._end_remote()
            return
        if isinstance(remote_candidate, Candidate):
            candidate, copy = remote_candidate, to_aioice(remote_candidate)
        else:
            candidate, copy = from_aioice(remote_candidate), remote_candidate
        self._remote.append(copy)
        if classify_host(candidate.address) in (AddressClass.MDNS, AddressClass.NAME):
            self._resolving += 1
            self._spawn(self._resolve_remote(candidate))
        else:
            self._agent.add_remote_candidate(candidate, asyncio.get_running_loop().time())
            self._wake()

    async def connect(self) -> None:
        """Wait until data may flow (RFC 8445 §12.1), in both roles; IceFailed (a ConnectionError) if it never may."""
        if self.remote_username is None or self.remote_password is None:
            raise InvalidState("set remote_username and remote_password before connect()")
        driver = self._start()
        self._agent.set_remote_credentials(self.remote_username, self.remote_password, driver.now())
        self._wake()
        await self._until(lambda: self._agent.selected_pair() is not None)

    async def settled(self) -> SelectedPair:
        """The nominated pair, once there is one."""
        await self._until(self._agent.is_settled)
        pair = self._agent.selected_pair()
        assert pair is not None
        return pair

    async def close(self) -> None:
        """Give relays back and close sockets. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._driver is not None:
            await self._driver.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._changed.set()

    async def get_event(self) -> aioice.ice.ConnectionEvent | None:
        """``aioice.ConnectionClosed`` when the connection has ended."""
        import aioice

        while not self._closed and self._agent.state is not IceState.FAILED:
            await self._wait(None)
        return aioice.ConnectionClosed()

    async def recv(self) -> bytes:
        """The next datagram of the peer; IceFailed when the connection ends."""
        while not self._received:
            self._check_alive()
            await self._wait(None)
        return self._received.popleft()

    async def recvfrom(self) -> tuple[bytes, int]:
        """The next datagram, and its component."""
        return await self.recv(), 1

    async def send(self, data: bytes) -> None:
        """Send a datagram on the pair in use; IceFailed when there is none."""
        self._check_alive()
        try:
            self._agent.send(1, data, asyncio.get_running_loop().time())
        except InvalidState as error:
            raise IceFailed(str(error)) from None
        self._wake()

    async def sendto(self, data: bytes, component: int) -> None:
        """Send a datagram; the component is 1."""
        if component != 1:
            raise ValueError(f"component {component} does not exist")
        await self.send(data)

    # What aioice has not.

    async def candidates(self) -> AsyncIterator[Candidate]:
        """Local candidates as they are found; starts the gathering, and ends with it."""
        self._start()
        told = 0
        while True:
            while told < len(self._gathered):
                told += 1
                yield self._gathered[told - 1]
            if self._gathering_done or self._closed:
                return
            await self._wait(None)

    @property
    def state(self) -> IceState:
        """The state, in the words of browsers."""
        return self._agent.state

    @property
    def selected_pair(self) -> SelectedPair | None:
        """The pair that carries data now, with candidates of icekit's type."""
        return self._agent.selected_pair()

    def stats(self) -> tuple[PairStats, ...]:
        """Every pair in numbers."""
        return self._agent.stats()

    def restart(self) -> None:
        """New local credentials (RFC 8445 §9): exchange them, set the peer's, and ``connect`` again."""
        self._agent.restart(asyncio.get_running_loop().time())
        self._remote.clear()
        self._remote_end = False
        self.remote_username = self.remote_password = None
        if self._gathering_done:
            self._agent.end_of_local_candidates(asyncio.get_running_loop().time())
        self._wake()

    # Inside.

    def _start(self) -> Driver[SessionEvent]:
        if self._closed:
            raise InvalidState("the connection is closed")
        if self._driver is None:
            driver = self._driver = Driver(self._session, ssl_context=self._ssl_context)
            self._session.start(driver.now())
            driver.wake()
            self._spawn(self._read(driver))
            for place, server in enumerate(self._wanted):
                self._spawn(self._resolve_server(driver, place, server))
        return self._driver

    async def _read(self, driver: Driver[SessionEvent]) -> None:
        async for event in driver.events():
            match event:
                case CandidateGathered(candidate=candidate):
                    self._gathered.append(candidate)
                    self._last_gathered = driver.now()
                case GatheringComplete():
                    self._gathering_done = True
                case ServerAnswered() | ServerFailed():
                    self.servers.append(event)
                case DataReceived(data=data):
                    if len(self._received) < _MAX_RECEIVED:
                        self._received.append(data)
                    else:
                        log.debug("! nobody reads; dropped %d bytes", len(data))
                case _:
                    pass
            self._changed.set()

    async def _resolve_server(self, driver: Driver[SessionEvent], place: int, server: GatherServer) -> None:
        resolution = await self._resolver.resolve(server.uri)
        if resolution.endpoints:
            self._session.server_resolved(place, resolution.endpoints, driver.now())
        else:
            text = f"the name {server.uri.host} does not resolve: {resolution.failure}"
            self._session.server_unresolved(place, text, driver.now())
        driver.wake()

    async def _resolve_remote(self, candidate: Candidate) -> None:
        """A name of the peer becomes addresses; one that does not resolve delays nobody."""
        from dataclasses import replace

        try:
            async with asyncio.timeout(_MDNS_TIMEOUT):
                hosts = await _addresses_of(candidate.address, self._resolver)
        except (OSError, TimeoutError) as error:
            log.info("remote candidate %s: %s", candidate.address, error)
            hosts = ()
        now = asyncio.get_running_loop().time()
        for host in hosts:
            self._agent.add_remote_candidate(replace(candidate, address=host), now)
        self._resolving -= 1
        self._end_remote()

    def _end_remote(self) -> None:
        if self._remote_end and not self._resolving:
            self._agent.end_of_remote_candidates(asyncio.get_running_loop().time())
        self._wake()

    def _wake(self) -> None:
        if self._driver is not None:
            self._session.agent_used(self._driver.now())
            self._driver.wake()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._check_alive()
            await self._wait(None)

    def _check_alive(self) -> None:
        if self._closed:
            raise IceFailed("the connection is closed")
        if self._agent.state is IceState.FAILED:
            raise IceFailed("no candidate pair works, or the peer has fallen silent")

    async def _wait(self, until: float | None) -> None:
        """Wait for any change, or until a time."""
        self._changed.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            pass


def _servers(
    stun: tuple[str, int] | None,
    turn: tuple[str, int] | None,
    username: str | None,
    password: str | None,
    turn_ssl: bool,
    transport: str,
) -> tuple[IceServer, ...]:
    """The two servers of aioice's keywords."""
    found = []
    if stun is not None:
        found.append(IceServer(urls=ServerUri.parse(f"stun:{_bracketed(stun[0])}:{stun[1]}")))
    if turn is not None:
        scheme = "turns" if turn_ssl else "turn"
        uri = ServerUri.parse(f"{scheme}:{_bracketed(turn[0])}:{turn[1]}?transport={transport}")
        found.append(IceServer(urls=uri, username=username, credential=password))
    return tuple(found)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _addresses_of(name: str, resolver: Resolver) -> tuple[str, ...]:
    if not name.rstrip(".").lower().endswith(".local"):
        return await resolver.addresses(name)
    from aioice import mdns

    protocol = await mdns.create_mdns_protocol()
    try:
        found = await protocol.resolve(name)
    finally:
        await protocol.close()
    return () if found is None else (found,)
