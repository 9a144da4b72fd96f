"""icekit's IceConnection, ICE without a call on top: ``python -m icekit.bench.programs.icekit_ice``."""

from __future__ import annotations

from typing import Any

import aioice

from icekit import __version__
from icekit.aio.connection import IceConnection
from icekit.bench.lines import PairEnd, Start
from icekit.bench.programs.aioice import AioicePeer
from icekit.bench.programs.icekit import pair_changes
from icekit.bench.programs.stdio import Pair, Voice, run
from icekit.call.description import announce, read_announced
from icekit.candidate import Candidate
from icekit.ice_config import IceConfig
from icekit.pacing import Floor
from icekit.servers import IceServer


class IcekitIcePeer(AioicePeer):
    """aioice with one import changed; its candidates trickle. ``floor`` is of a machine that this process simulates."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(voice)
        self.floor: Floor | None = None

    def make_connection(self, controlling: bool, start: Start) -> Any:
        """The connection, with all servers."""
        policy = aioice.TransportPolicy.RELAY if start.relay_only else None
        servers = [IceServer.from_json(item) for item in start.ice_servers]
        return IceConnection(
            controlling, ice_servers=servers, transport_policy=policy, pacing=IceConfig().ta, floor=self.floor
        )

    async def describe(self, kind: str, sdp: str) -> None:
        """The other side's description with its pacing; an offer is answered."""
        self.connection.set_pacing(read_announced(sdp).pacing)
        await super().describe(kind, sdp)

    def description(self, candidates: list[Any] | None) -> str:
        """With our options and pacing."""
        return announce(super().description(candidates), IceConfig().ta)

    async def tell_description(self, kind: str) -> None:
        """At once if candidates trickle."""
        if not self.start_.trickle:
            await super().tell_description(kind)
            return
        self.voice.described(kind, self.description(None))
        self.spawn(self._tell_candidates())

    async def pair(self) -> Pair | None:
        """The pair that carries the data now."""
        pair = self.connection.selected_pair
        return None if pair is None else (_end(pair.local), _end(pair.remote))

    def tell_selected(self) -> None:
        """Whenever another pair is used."""
        self.spawn(self._tell_pairs())

    async def _tell_pairs(self) -> None:
        async for _ in pair_changes(self.connection):
            self.voice.selected()

    async def _tell_candidates(self) -> None:
        async for candidate in self.connection.candidates():
            self.voice.candidate(str(candidate), "0", 0)
        self.voice.candidate("", "0", 0)


def _end(candidate: Candidate) -> PairEnd:
    return PairEnd(kind=str(candidate.type), address=candidate.address, port=candidate.port)


if __name__ == "__main__":
    run("icekit_ice", __version__, IcekitIcePeer)
