"""icekit's PeerConnection: ``python -m icekit.bench.programs.icekit``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import aiortc

from icekit import __version__
from icekit.aio.connection import IceConnection
from icekit.bench.lines import PairEnd
from icekit.bench.programs.aiortc import AiortcPeer
from icekit.bench.programs.stdio import Pair, Voice, run
from icekit.call.peer_connection import PeerConnection
from icekit.candidate import Candidate
from icekit.ice_events import PairSelected, SelectedPair
from icekit.pacing import Floor


class IcekitPeer(AiortcPeer):
    """aiortc with one import changed; its candidates trickle. ``floor`` is of a machine that this process simulates."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(voice)
        self.floor: Floor | None = None
        self._telling: asyncio.Task[None] | None = None

    def make_connection(self, configuration: aiortc.RTCConfiguration) -> Any:
        """The connection."""
        return PeerConnection(configuration, floor=self.floor)

    def watch_transport(self) -> None:
        """Besides, which pair is used."""
        super().watch_transport()
        self._telling = asyncio.create_task(self._tell_pairs())

    async def close(self) -> None:
        """End it."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        await super().close()

    async def pair(self) -> Pair | None:
        """The pair that carries the data now."""
        (transport,) = self.connection.ice_transports
        pair = transport.connection.selected_pair
        return None if pair is None else (_end(pair.local), _end(pair.remote))

    async def _tell_pairs(self) -> None:
        (transport,) = self.connection.ice_transports
        async for _ in pair_changes(transport.connection):
            self.voice.selected()


async def pair_changes(connection: IceConnection) -> AsyncGenerator[SelectedPair, None]:
    """Each pair that carries the data from then on; not the one that does so already when it is nominated."""
    ends = None
    async for _, event in connection.events():
        if isinstance(event, PairSelected) and (event.pair.base, event.pair.address) != ends:
            ends = event.pair.base, event.pair.address
            yield event.pair


def _end(candidate: Candidate) -> PairEnd:
    return PairEnd(kind=str(candidate.type), address=candidate.address, port=candidate.port)


if __name__ == "__main__":
    run("icekit", __version__, IcekitPeer, media=True)
