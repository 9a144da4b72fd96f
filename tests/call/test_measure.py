"""Counters of two reports become rates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from aiortc.stats import (
    RTCInboundRtpStreamStats,
    RTCRemoteInboundRtpStreamStats,
    RTCStatsReport,
    RTCTransportStats,
)

from icekit.call.measure import Meter, UsedPair
from icekit.call.stats import RTCIceCandidatePairStats, RTCIceCandidateStats

NOW: dict[str, Any] = {"timestamp": datetime.now(UTC)}


def report(received: int, lost: int, inward: int, outward: int, *, pair: bool = True) -> RTCStatsReport:
    found = RTCStatsReport()
    stream: dict[str, Any] = NOW | {"ssrc": 1, "kind": "audio", "transportId": "t"}
    found.add(
        RTCInboundRtpStreamStats(
            type="inbound-rtp", id="in", packetsReceived=received, packetsLost=lost, jitter=480, **stream
        )
    )
    found.add(
        RTCRemoteInboundRtpStreamStats(
            type="remote-inbound-rtp", id="rin", packetsReceived=9, packetsLost=1, jitter=0, roundTripTime=0.25,
            fractionLost=0.1, **stream,
        )
    )  # fmt: skip
    found.add(
        RTCTransportStats(
            type="transport", id="t", packetsSent=1, packetsReceived=1, bytesSent=outward, bytesReceived=inward,
            iceRole="controlling", dtlsState="connected", **NOW,
        )
    )  # fmt: skip
    if pair:
        for side, address, kind in (("local", "192.0.2.1", "host"), ("remote", "2001:db8::1", "relay")):
            found.add(
                RTCIceCandidateStats(
                    type=f"{side}-candidate", id=side, transportId="t", foundation="1", address=address, port=5,
                    protocol="udp", candidateType=kind, priority=1, **NOW,
                )
            )  # fmt: skip
        found.add(
            RTCIceCandidatePairStats(
                type="candidate-pair", id="pair", transportId="t", localCandidateId="local",
                remoteCandidateId="remote", state="succeeded", priority=1, nominated=True, selected=True,
                currentRoundTripTime=0.05, requestsSent=1, requestsReceived=1, responsesReceived=1, bytesSent=1,
                bytesReceived=1, **NOW,
            )
        )  # fmt: skip
    return found


def test_the_first_report_has_no_rates() -> None:
    stats = Meter().measure(report(100, 0, 1000, 2000), 1.0, ())
    assert (stats.bitrate_in, stats.bitrate_out, stats.loss) == (None, None, None)
    assert (stats.rtt, stats.loss_out, stats.jitter) == (0.05, 0.1, pytest.approx(0.01))
    assert stats.pair == UsedPair("host", "relay", "192.0.2.1:5", "[2001:db8::1]:5")
    assert stats.pair.is_relayed


def test_rates_are_of_the_time_in_between() -> None:
    meter = Meter()
    meter.measure(report(100, 10, 1000, 2000), 1.0, ())
    stats = meter.measure(report(190, 20, 3000, 3000), 3.0, ())
    assert (stats.bitrate_in, stats.bitrate_out) == (8000, 4000)
    assert stats.loss == pytest.approx(0.1)
    # Packets that were only late are found again.
    assert meter.measure(report(191, 10, 3000, 3000), 4.0, ()).loss == 0
    assert meter.measure(report(191, 10, 3000, 3000), 5.0, ()).loss is None


def test_a_new_connection_counts_anew() -> None:
    meter = Meter()
    meter.measure(report(100, 0, 1000, 2000), 1.0, ())
    stats = meter.measure(report(5, 0, 10, 20), 2.0, ())
    assert stats.bitrate_in is None


def test_without_a_pair_the_round_trip_is_that_of_rtcp() -> None:
    stats = Meter().measure(report(1, 0, 1, 1, pair=False), 1.0, ())
    assert (stats.rtt, stats.pair) == (0.25, None)
    assert Meter().measure(RTCStatsReport(), 1.0, ()).rtt is None
