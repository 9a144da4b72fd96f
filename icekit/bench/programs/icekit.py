"""icekit's PeerConnection: ``python -m icekit.bench.programs.icekit``."""

from __future__ import annotations

from typing import Any

import aiortc

from icekit import __version__
from icekit.bench.lines import PairEnd
from icekit.bench.programs.aiortc import AiortcPeer
from icekit.bench.programs.stdio import Pair, run
from icekit.call.peer_connection import PeerConnection
from icekit.candidate import Candidate


class IcekitPeer(AiortcPeer):
    """aiortc with one import changed; its candidates trickle."""

    def make_connection(self, configuration: aiortc.RTCConfiguration) -> Any:
        """The connection."""
        return PeerConnection(configuration)

    async def pair(self) -> Pair | None:
        """The pair that carries the data now."""
        (transport,) = self.connection.ice_transports
        pair = transport.connection.selected_pair
        return None if pair is None else (_end(pair.local), _end(pair.remote))


def _end(candidate: Candidate) -> PairEnd:
    return PairEnd(kind=str(candidate.type), address=candidate.address, port=candidate.port)


if __name__ == "__main__":
    run("icekit", __version__, IcekitPeer)
