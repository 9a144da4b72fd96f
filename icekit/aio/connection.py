"""``IceConnection``: an ICE connection on asyncio, with the methods and keywords of ``aioice.Connection`` and more."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from icekit.aio.aioice_candidates import default_candidate, to_aioice
from icekit.aio.background import Background
from icekit.aio.dns import Resolver
from icekit.aio.driver import Driver
from icekit.aio.floor import shared_floor
from icekit.aio.gatherer import require_hosts
from icekit.aio.history import History
from icekit.aio.inbox import Inbox
from icekit.aio.keywords import credentials, is_relay_only, servers_of
from icekit.aio.patience import Patience
from icekit.aio.remote_names import RemoteNames
from icekit.aio.server_names import ServerNames
from icekit.aio.state_readers import StateReaders
from icekit.aio.usable_candidates import UsableCandidates
from icekit.candidate import Candidate
from icekit.errors import ConfigError, IceFailed, InvalidState
from icekit.gathering_events import (
    CandidateGathered,
    GatheringComplete,
    LocalAddressFailed,
    ServerAnswered,
    ServerFailed,
)
from icekit.gathering_plan import GatherServer, gather_servers
from icekit.ice import IceConfig
from icekit.ice_events import DataReceived, IceState, PairStats, SelectedPair, StateChanged
from icekit.net import AddressClass
from icekit.network_config import NetworkConfig
from icekit.pacing import Floor
from icekit.rules_pairs import pair_findings
from icekit.servers import IceServer
from icekit.session import IceSession, SessionEvent

if TYPE_CHECKING:
    import aioice
    import aioice.ice

log = logging.getLogger(__name__)

FoundEvent = CandidateGathered | ServerAnswered | ServerFailed

_NOT_YET = (IceState.NEW, IceState.CHECKING)
# RFC 8445 §5.1.2.1 leaves room for 256; media has two (RTP and RTCP).
_MAX_COMPONENTS = 8


class IceConnection:
    """Everything between two peers: one component (of media: RTP and RTCP on one, as every browser has it), or several.

    Takes the keywords of ``aioice.Connection``, and: ``ice_servers``, any number of STUN and TURN servers;
    ``local_addresses``, used instead of the machine's interfaces; ``network``, filters of interfaces and addresses, the
    port range, announced addresses (1:1 NAT), candidates over TCP; ``pacing``, the Ta of the peer in seconds (RFC 8445
    §14.2) where nothing negotiates it; ``floor``, of an agent that does not share the pace of all agents of the process
    (for simulations of several). ``candidates`` gives candidates as they are found, so that they can be sent at
    once (RFC 8838); ``connect`` may be called before any candidate is known.

    ConfigError for servers that cannot be asked, and where there is no local address.
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
        network: NetworkConfig | None = None,
        pacing: float | None = None,
        config: IceConfig | None = None,
        floor: Floor | None = None,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        token_bytes: Callable[[int], bytes] | None = None,
    ) -> None:
        if not 1 <= components <= _MAX_COMPONENTS:
            raise ConfigError(f"a connection has 1 to {_MAX_COMPONENTS} components, not {components}")
        servers = servers_of(stun_server, turn_server, turn_username, turn_password, turn_ssl, turn_transport)
        self._local_addresses = local_addresses
        self._network = network or NetworkConfig()
        self._families = tuple(family for family, used in ((4, use_ipv4), (6, use_ipv6)) if used)
        self._relay_only = is_relay_only(transport_policy)
        self._wanted: tuple[GatherServer, ...] = gather_servers((*(ice_servers or ()), *servers))
        self._session = IceSession(
            ice_controlling,
            self._hosts(),
            self._wanted,
            token_bytes or os.urandom,
            config=replace(config or IceConfig(), components=components),
            network=self._network,
            floor=floor or shared_floor(),
            relay_only=self._relay_only,
            credentials=credentials(local_username, local_password, token_bytes or os.urandom),
        )
        self._agent = self._session.agent
        self._agent.set_pacing(pacing)
        self._server_names = ServerNames(self._session, self._wanted, resolver or Resolver())
        self._names = RemoteNames()
        self._ssl_context = ssl_context
        self._driver: Driver[SessionEvent] | None = None
        self._background = Background()
        self._closing: asyncio.Task[None] | None = None
        # Everything but data, which comes too often to wake whoever waits for anything else.
        self._changed = asyncio.Event()
        self._inbox = Inbox()
        self._found: list[FoundEvent] = []
        self._unusable: list[LocalAddressFailed] = []
        self._gathering_done = False
        self._patience = Patience()
        self._remote = UsableCandidates(self._names, relay_only=self._relay_only)
        self._end_told = False
        self._generation = 0
        self._state_readers = StateReaders()
        self.history = History()
        """All that has happened but data."""
        self.remote_username: str | None = None
        self.remote_password: str | None = None
        self.remote_is_lite = False

    # What aioice has, too.

    @property
    def ice_controlling(self) -> bool:
        """The role; a conflict may change it. Setting it is for before ``connect``."""
        return self._agent.controlling

    @ice_controlling.setter
    def ice_controlling(self, controlling: bool) -> None:
        self._agent.set_controlling(controlling, 0.0 if self._driver is None else self._driver.now())

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
        return [to_aioice(candidate) for candidate in self.gathered]

    @property
    def remote_candidates(self) -> list[aioice.Candidate]:
        """What the peer has told so far, in aioice's type."""
        return [to_aioice(candidate) for candidate in self._remote.told]

    def get_default_candidate(self, component: int) -> aioice.Candidate | None:
        """The candidate that a peer without ICE is told (RFC 8839 §4.2.1.2): the most reachable one, of IPv4 first."""
        best = default_candidate(self.gathered, component)
        return None if best is None else to_aioice(best)

    async def gather_candidates(self) -> None:
        """Gather until all servers have answered or are late (``Patience``), 2 s at most; the rest trickles in."""
        driver = self._start()
        asked = driver.now()
        while not self._gathering_done and self._closing is None:
            until = self._patience.ends(asked)
            if driver.now() >= until:
                return
            await self._wait(until)

    async def gather_hosts(self) -> None:
        """Gather until the host candidates are there; what servers answer trickles in."""
        await self._start().opened()

    async def add_remote_candidate(self, remote_candidate: aioice.Candidate | Candidate | None) -> None:
        """A candidate of the peer, at any time; ``None`` when there are no more.

        Names of mDNS are resolved on the side; what is no candidate that can be used is left out, as it came from the
        peer. ValueError after ``None``.
        """
        remote = self._remote
        if remote.ended:
            raise ValueError("Cannot add remote candidate after end-of-candidates.")
        if self._closing is not None:
            return
        if remote_candidate is None:
            remote.ended = True
            self._end_remote()
        elif (candidate := remote.admit(remote_candidate)) is not None:
            if candidate.address_class is AddressClass.MDNS:
                self._background.run(self._resolve_remote(remote, candidate))
            else:
                self._agent.add_remote_candidate(candidate, self._now())
                # RFC 8445 §6.1.4.2: of those that come together the best one is checked first.
                asyncio.get_running_loop().call_soon(lambda: self._wake(at_once=True))

    async def connect(self) -> None:
        """Wait until data may flow (RFC 8445 §12.1), in both roles; IceFailed (a ConnectionError) if it never may."""
        self._check_alive()
        if self.remote_username is None or self.remote_password is None:
            raise IceFailed("Remote username or password is missing: set both before connect()")
        self._start()
        self.begin_checks()
        await self._until(lambda: self._agent.is_connected)

    async def close(self) -> None:
        """Give relays back and close sockets. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._shut(), name="icekit-close")
            self._notify()
        await asyncio.shield(self._closing)

    async def get_event(self) -> aioice.ice.ConnectionEvent | None:
        """``aioice.ConnectionClosed`` once when the connection has ended, then ``None``."""
        import aioice

        while not self._has_ended():
            await self._wait(None)
        told, self._end_told = self._end_told, True
        return None if told else aioice.ConnectionClosed()

    async def recv(self) -> bytes:
        """The next datagram of the peer; IceFailed (a ConnectionError) while not connected, and when that ends."""
        return waiting.popleft()[0] if (waiting := self._inbox.waiting) else (await self.recvfrom())[0]

    async def recvfrom(self) -> tuple[bytes, int]:
        """The next datagram, and its component."""
        if not self._inbox.waiting and self._agent.state in _NOT_YET:
            self._check_alive()
            raise IceFailed("Cannot receive data, not connected")
        return await self._inbox.take(self._check_alive)

    async def send(self, data: bytes) -> None:
        """Send a datagram on the pair in use; IceFailed (a ConnectionError) when there is none."""
        self._send(1, data)

    async def sendto(self, data: bytes, component: int) -> None:
        """Send a datagram of this component."""
        self._send(component, data)

    def _send(self, component: int, data: bytes) -> None:
        driver = self._driver
        try:
            self._session.send(component, data, self._now() if driver is None else driver.now())
        except InvalidState:
            self._check_alive()
            if not 1 <= component <= self._agent.config.components:
                raise IceFailed(f"Cannot send data, there is no component {component}") from None
            raise IceFailed("Cannot send data, not connected") from None
        if driver is not None:
            driver.wake()

    # What aioice has not.

    async def candidates(self) -> AsyncGenerator[Candidate, None]:
        """Local candidates as they are found; starts the gathering, and ends with it, or at a restart."""
        async with aclosing(self.gathering()) as events:
            async for event in events:
                if isinstance(event, CandidateGathered):
                    yield event.candidate

    async def gathering(self) -> AsyncGenerator[FoundEvent, None]:
        """The same with all that is told of a candidate, and what becomes of each server."""
        self._start()
        generation, told = self._generation, 0
        while True:
            while generation == self._generation and told < len(self._found):
                told += 1
                yield self._found[told - 1]
            if self._gathering_done or self._closing is not None or generation != self._generation:
                return
            await self._wait(None)

    async def events(self) -> AsyncGenerator[tuple[float, SessionEvent], None]:
        """What has happened so far and what follows until ``close``, each with its time; data is for ``recv``.

        ``PairImproved`` is among it: a pair that is better than the nominated one, and that ``restart`` would take.
        """
        told = 0
        while True:
            entries, told = self.history.after(told)
            for entry in entries:
                yield entry
            if not entries:
                if self._closing is not None and self._closing.done():
                    return
                await self._wait(None)

    async def settled(self) -> SelectedPair:
        """The nominated pair, once there is one; IceFailed if there never is."""
        await self._until(self._agent.is_settled)
        pair = self._agent.selected_pair()
        assert pair is not None
        return pair

    async def states(self) -> AsyncGenerator[IceState, None]:
        """The state now, and each that follows, until ``CLOSED``."""
        told = None
        with self._state_readers.reader(self._agent.state) as reader:
            while True:
                while reader:
                    state = reader.popleft()
                    if state is not told:
                        yield (told := state)
                if self._closing is not None and self._closing.done():
                    return
                await self._wait(None)

    @property
    def state(self) -> IceState:
        """The state, in the words of browsers."""
        return self._agent.state

    @property
    def gathering_complete(self) -> bool:
        """Whether every server has answered or failed."""
        return self._gathering_done

    @property
    def found(self) -> tuple[FoundEvent, ...]:
        """What ``gathering`` has told so far."""
        return tuple(self._found)

    @property
    def gathered(self) -> tuple[Candidate, ...]:
        """What has been gathered so far, in icekit's type."""
        return tuple(event.candidate for event in self._found if isinstance(event, CandidateGathered))

    @property
    def selected_pair(self) -> SelectedPair | None:
        """The pair that carries data now, with candidates of icekit's type."""
        return self._agent.selected_pair()

    def set_pacing(self, seconds: float | None) -> None:
        """The Ta that the peer proposes (``a=ice-pacing``, RFC 8839 §5.5); ``None``: it proposes nothing."""
        self._agent.set_pacing(seconds)

    def set_renomination(self, both: bool) -> None:
        """Whether both sides have announced ``ice-options:renomination``: better pairs are then taken at any time."""
        self._agent.set_renomination(both)

    def stats(self) -> tuple[PairStats, ...]:
        """Every pair in numbers."""
        return self._agent.stats()

    def restart(self) -> None:
        """Begin anew (RFC 8445 §9): gather from the addresses that this host has now, with new local credentials.

        Exchange them and the candidates, set the peer's, and ``connect`` again. The pair in use carries data until
        then. InvalidState before anything was gathered, and after ``close``.
        """
        if self._driver is None or self._closing is not None:
            raise InvalidState("restart() is for a connection that gathers or connects, and is not closed")
        self._session.restart(self._now(), self._hosts())
        self._found.clear()
        self._unusable.clear()
        self._remote = UsableCandidates(self._names, relay_only=self._relay_only)
        self._gathering_done = self._end_told = False
        self._patience = Patience()
        self.remote_username = self.remote_password = None
        self._generation += 1
        self._server_names.resolve_again(self._driver)
        self._notify()

    # Inside.

    def _hosts(self) -> list[str]:
        """The addresses to gather from, as they are now."""
        return require_hosts(self._local_addresses, self._network, self._families)

    def _start(self) -> Driver[SessionEvent]:
        if self._closing is not None:
            raise IceFailed("the connection is closed")
        if self._driver is None:
            driver = self._driver = Driver(self._session, ssl_context=self._ssl_context, deliver=self._happened)
            # Who is called knows the peer already: then its checks need not wait for ``connect``. That tells errors.
            with suppress(ConfigError):
                self.begin_checks(told=False)
            self._session.start(driver.now())
            self._server_names.resolve(driver)
        return self._driver

    def begin_checks(self, *, told: bool = True) -> None:
        """Check what is known, before ``connect``. ``told``: the peer has our credentials."""
        if (ufrag := self.remote_username) is not None and (password := self.remote_password) is not None:
            self._agent.set_remote_credentials(ufrag, password, self._now(), lite=self.remote_is_lite, told=told)
        if told:
            self._wake(at_once=True)

    async def _shut(self) -> None:
        await asyncio.gather(self._server_names.close(), self._background.close())
        if self._driver is not None:
            await self._driver.close()
        else:
            self._agent.close(self._now())
        await self._names.close()
        self._found.clear()
        self._state_readers.tell(self._agent.state)
        # Whoever waits looks once more when this task is done.
        asyncio.get_running_loop().call_soon(self._notify)

    def _happened(self, event: SessionEvent) -> None:
        if isinstance(event, DataReceived):
            self._inbox.put(event.data, event.component)
            return
        now = self._now()
        match event:
            case CandidateGathered():
                self._found.append(event)
                self._patience.found(event.candidate, now)
            case ServerAnswered() | ServerFailed():
                self._found.append(event)
            case LocalAddressFailed():
                self._unusable.append(event)
            case GatheringComplete():
                self._gathering_done = True
            case StateChanged(state=state):
                self._state_readers.tell(state)
        self.history.add(now, event)
        self._notify()

    async def _resolve_remote(self, remote: UsableCandidates, candidate: Candidate) -> None:
        """A name of the peer becomes an address; one that does not resolve delays nobody."""
        resolved = await remote.resolve(candidate)
        # After a restart it belongs to nobody.
        if remote is self._remote:
            if resolved is not None:
                self._agent.add_remote_candidate(resolved, self._now())
            self._end_remote()

    def _end_remote(self) -> None:
        if self._remote.complete:
            self._agent.end_of_remote_candidates(self._now())
        self._wake()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wake(self, *, at_once: bool = False) -> None:
        if self._driver is not None:
            self._session.agent_used(self._driver.now())
            (self._driver.hurry if at_once else self._driver.wake)()

    def _notify(self) -> None:
        self._changed.set()
        if self._has_ended():
            self._inbox.wake()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while True:
            self._check_alive()
            if reached():
                return
            await self._wait(None)

    def _has_ended(self) -> bool:
        return self._closing is not None or self._agent.state is IceState.FAILED

    def _check_alive(self) -> None:
        if self._closing is not None:
            raise IceFailed("the connection is closed")
        if self._agent.state is IceState.FAILED:
            findings = tuple(pair_findings(self.gathered, self.stats()))
            raise IceFailed("no candidate pair works, or the peer has fallen silent", findings)
        if self._gathering_done and self._unusable and not self.gathered and not self._agent.uses_old_pair():
            why = "; ".join(f"{item.host}: {item.error}" for item in self._unusable)
            raise IceFailed(f"there is no local candidate to connect from: {why}")

    async def _wait(self, until: float | None) -> None:
        """Wait for any change, or until a time."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._changed.wait()
