"""Stock aioice, ICE without a call on top: ``python -m icekit.bench.programs.aioice``.

Its descriptions hold credentials and candidates only, so it speaks with programs of its kind. The channel is the ICE
connection itself, open when ``connect`` returns; on a network without loss every text arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aioice

from icekit.bench.lines import PairEnd, Start, TrickledCandidate
from icekit.bench.programs.stdio import GREETING, Pair, Voice, run
from icekit.sdp import SdpMedia, read_sdp
from icekit.servers import IceServer, ServerUri

_HEAD = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP ice\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"


_GREETS_EVERY = 0.05


class AioicePeer:
    """A connection of aioice, or one with its interface."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.connection: Any = None
        self.start_: Start = Start(role="offer")
        self._heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def make_connection(self, controlling: bool, start: Start) -> Any:
        """The connection: with the first STUN and the first TURN server, it takes no more."""
        servers = [IceServer.from_json(item) for item in start.ice_servers]
        found: dict[bool, tuple[ServerUri, IceServer]] = {}
        for server in servers:
            for uri in server.urls:
                found.setdefault(uri.is_turn, (uri, server))
        arguments: dict[str, Any] = {}
        if False in found:
            arguments["stun_server"] = _address(found[False][0])
        if True in found:
            uri, server = found[True]
            arguments["turn_server"] = _address(uri)
            arguments["turn_username"], arguments["turn_password"] = server.username, server.credential
            arguments["turn_ssl"], arguments["turn_transport"] = uri.secure, uri.transport_token or "udp"
        if start.relay_only:
            arguments["transport_policy"] = aioice.TransportPolicy.RELAY
        return aioice.Connection(controlling, **arguments)

    async def start(self, start: Start) -> None:
        """Make it; if it offers, tell the offer."""
        self.start_ = start
        if self.connection is None:
            self.connection = self.make_connection(start.role == "offer", start)
        if start.role == "offer":
            await self.tell_description("offer")

    async def describe(self, kind: str, sdp: str) -> None:
        """The other side's description; an offer is answered, which may take as long as gathering does."""
        (section,) = read_sdp(sdp, strict=False).media
        self.connection.remote_username, self.connection.remote_password = section.ufrag, section.pwd
        await self.add_described(section)
        self.spawn(self._answer() if kind == "offer" else self._connect())

    async def add_described(self, section: SdpMedia) -> None:
        """The candidates of a description."""
        for candidate in section.candidates:
            await self._add(str(candidate))
        if section.end_of_candidates:
            await self.connection.add_remote_candidate(None)

    async def add_candidate(self, item: TrickledCandidate) -> None:
        """A candidate of the other side, or the end of them."""
        if item.candidate:
            await self._add(item.candidate)
        else:
            await self.connection.add_remote_candidate(None)

    def send(self, text: str) -> None:
        """Send over the connection."""
        self.spawn(self.connection.send(text.encode()))

    async def pair(self) -> Pair | None:
        """The pair in use."""
        # There is no public way to ask for it.
        pair = self.connection._nominated.get(1)
        return None if pair is None else (_end(pair.local_candidate), _end(pair.remote_candidate))

    def tell_selected(self) -> None:
        """It nominates with its first checks, so the pair is chosen when it is connected."""
        self.voice.selected()

    async def close(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connection.close()

    async def tell_description(self, kind: str) -> None:
        """With all candidates: it has no way to tell them as they come."""
        await self.connection.gather_candidates()
        self.voice.described(kind, self.description([*self.connection.local_candidates]))

    def description(self, candidates: list[Any] | None) -> str:
        """Credentials, and all candidates if they are known."""
        connection = self.connection
        lines = [f"a=ice-ufrag:{connection.local_username}", f"a=ice-pwd:{connection.local_password}"]
        if candidates is not None:
            lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in candidates]
            lines.append("a=end-of-candidates")
        return _HEAD + "".join(f"{line}\r\n" for line in lines)

    async def _add(self, text: str) -> None:
        await self.connection.add_remote_candidate(aioice.Candidate.from_sdp(text.removeprefix("candidate:")))

    def spawn(self, work: Any) -> None:
        """Run something until the end."""
        self._tasks.append(asyncio.ensure_future(work))

    async def _answer(self) -> None:
        await self._told(self.tell_description("answer"))
        await self._connect()

    async def _connect(self) -> None:
        await self._told(self._talk())

    async def _told(self, work: Any) -> None:
        try:
            await work
        except ConnectionError as error:
            self.voice.failed(f"{type(error).__name__}: {error}")

    async def _talk(self) -> None:
        self.voice.state("ice", "checking")
        await self.connection.connect()
        self.voice.state("ice", "connected")
        self.tell_selected()
        self.voice.opened()
        offers = self.start_.role == "offer"
        if offers:
            # libnice drops what comes before its own check is answered, and over ICE alone nobody else repeats it.
            self.spawn(self._greet())
        while True:
            data = await self.connection.recv()
            if not offers:
                await self.connection.send(data)
            self._heard.set()
            self.voice.echoed(data.decode())

    async def _greet(self) -> None:
        while not self._heard.is_set():
            await self.connection.send(GREETING.encode())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), _GREETS_EVERY)


def _address(uri: ServerUri) -> tuple[str, int]:
    return uri.host, uri.port or uri.default_port


def _end(candidate: Any) -> PairEnd:
    return PairEnd(kind=str(candidate.type), address=candidate.host, port=candidate.port)


if __name__ == "__main__":
    run("aioice", aioice.__version__, AioicePeer)
