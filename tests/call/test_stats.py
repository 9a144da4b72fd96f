"""ICE in ``getStats()``; with a real connection in test_peer_connection.py."""

from __future__ import annotations

import datetime

from icekit.aio.connection import IceConnection
from icekit.call.stats import RTCIceCandidatePairStats, RTCIceCandidateStats, ice_stats

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


async def test_candidates_without_a_peer() -> None:
    connection = IceConnection(True, local_addresses=["127.0.0.1"])
    try:
        await connection.gather_candidates()
        (candidate,) = connection.gathered
        (stats,) = ice_stats(connection, "transport_1", NOW)
        assert stats == RTCIceCandidateStats(
            timestamp=NOW,
            type="local-candidate",
            id=stats.id,
            transportId="transport_1",
            foundation=candidate.foundation,
            address="127.0.0.1",
            port=candidate.port,
            protocol="udp",
            candidateType="host",
            priority=candidate.priority,
            url=None,
        )
        # The identifier is that of the object, and of no other transport's.
        assert next(iter(ice_stats(connection, "transport_1", NOW))).id == stats.id
        assert next(iter(ice_stats(connection, "transport_2", NOW))).id != stats.id
    finally:
        await connection.close()


async def test_a_pair_names_its_candidates() -> None:
    one, other = (IceConnection(controlling, local_addresses=["127.0.0.1"]) for controlling in (True, False))
    try:
        await one.gather_candidates()
        await other.gather_candidates()
        await one.add_remote_candidate(other.gathered[0])
        one.remote_username, one.remote_password = other.local_username, other.local_password
        await one.connect()
        stats = {item.id: item for item in ice_stats(one, "transport_1", NOW)}
        (pair,) = [item for item in stats.values() if isinstance(item, RTCIceCandidatePairStats)]
        local, remote = stats[pair.localCandidateId], stats[pair.remoteCandidateId]
        assert isinstance(local, RTCIceCandidateStats)
        assert isinstance(remote, RTCIceCandidateStats)
        assert (local.port, remote.port) == (one.gathered[0].port, other.gathered[0].port)
        assert pair.selected
        assert len(stats) == 3
    finally:
        await one.close()
        await other.close()
