"""Dumps of real browsers (webrtc_internals.json and get_stats.json are from Chromium 156), and the older spelling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.browser_stats import StatsCandidate, read_browser_stats
from icekit.errors import DecodeError
from icekit.sdp import GatheringError

HERE = Path(__file__).parent
LINE = "candidate:1 1 udp 2113937151 192.0.2.1 36367 typ host generation 0 ufrag UEc6 network-cost 999"


def test_a_dump_of_chromium() -> None:
    one, other = read_browser_stats((HERE / "webrtc_internals.json").read_text())
    assert one.servers == ("stun:127.0.0.1:9", "turn:127.0.0.1:9")
    assert not one.relay_only
    assert [candidate.type for candidate in one.local] == ["host", "host"]
    assert [candidate.address[-6:] for candidate in one.remote] == [".local", ".local"]
    assert one.last("iceconnectionstate") == "connected"
    assert one.ever("iceconnectionstate", "checking")
    assert not one.ever("iceconnectionstate", "failed")
    assert one.last("nosuchstate") is None
    assert one.offer is not None
    assert one.offer.startswith("v=0\r\n")
    assert (one.offer, one.answer) == (other.offer, other.answer)
    assert [pair.selected for pair in one.pairs] == [False, True]
    first = one.pairs[0]
    assert first.local == StatsCandidate("host", None, 36367, "udp")
    assert str(first.local) == "host (hidden):36367"
    assert (first.state, first.nominated, first.rtt) == ("succeeded", True, 0.001)
    assert (first.requests_sent, first.responses_received, first.requests_received) == (3, 3, 5)
    assert (first.bytes_sent, first.bytes_received) == (2181, 2330)
    assert one.problems == ()


@pytest.mark.parametrize("as_object", [False, True])
def test_the_result_of_get_stats(as_object: bool) -> None:
    reports = json.loads((HERE / "get_stats.json").read_text())
    data = {report["id"]: report for report in reports} if as_object else reports
    [connection] = read_browser_stats(json.dumps(data))
    assert [pair.selected for pair in connection.pairs] == [False, True]
    assert connection.states == ()


def test_a_map_turned_into_a_list() -> None:
    reports = json.loads((HERE / "get_stats.json").read_text())
    [connection] = read_browser_stats(json.dumps([[report["id"], report] for report in reports]))
    assert len(connection.pairs) == 2


OLD = {
    "PeerConnections": {
        "1-1": {
            "url": "https://app.example.org/",
            "rtcConfiguration": "{ iceServers: [stun:a.example.org, turn:b.example.org?transport=tcp], "
            "iceTransportPolicy: relay, bundlePolicy: balanced }",
            "updateLog": [
                {
                    "type": "setLocalDescription",
                    "value": "type: offer, sdp: v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n",
                    "time": "",
                },
                {"type": "icecandidate", "value": f"sdpMid: 0, sdpMLineIndex: 0, candidate: {LINE}, url: stun:a"},
                {"type": "addIceCandidate", "value": "sdpMid: 0, sdpMLineIndex: 0, candidate: nonsense"},
                {
                    "type": "icecandidateerror",
                    "value": "url: turn:b.example.org?transport=tcp, address: 10.0.0.x, port: 5, "
                    "host_candidate: 10.0.0.x:5, error_text: TURN allocate request timed out., error_code: 701",
                },
                {"type": "iceconnectionstatechange", "value": "failed"},
                {"type": "setRemoteDescriptionOnFailure", "value": "Failed to parse"},
            ],
            "stats": {},
        }
    }
}


def test_the_older_spelling() -> None:
    [connection] = read_browser_stats(json.dumps(OLD))
    assert connection.page == "https://app.example.org/"
    assert connection.servers == ("stun:a.example.org", "turn:b.example.org?transport=tcp")
    assert connection.relay_only
    assert [candidate.port for candidate in connection.local] == [36367]
    assert connection.remote == ()
    assert connection.errors == (
        GatheringError("turn:b.example.org?transport=tcp", 701, "TURN allocate request timed out."),
    )
    assert connection.last("iceconnectionstate") == "failed"
    assert connection.offer == "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"
    assert connection.answer is None
    assert connection.problems == ("setRemoteDescriptionOnFailure: Failed to parse",)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "3", '[{"type": "offer"}]', '{"PeerConnections": 3}', "[" * 5000]
)
def test_something_else(text: str) -> None:
    with pytest.raises(DecodeError):
        read_browser_stats(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
TYPES = ["icecandidate", "onicecandidateerror", "setLocalDescription", "oniceconnectionstatechange"]
FIELDS = ("localCandidateId", "state", "requestsSent", "currentRoundTripTime", "address", "port")
entries = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["icecandidate", "onicecandidateerror", "setLocalDescription", "oniceconnectionstatechange"]
        )
        | st.text(max_size=10),
        "value": json_values | json_values.map(json.dumps),
        "timestamp": json_values,
    }
)
reports = st.fixed_dictionaries(
    {"id": st.sampled_from("abc"), "type": st.sampled_from(["candidate-pair", "local-candidate", "transport"])},
    optional=dict.fromkeys(
        ("localCandidateId", "state", "requestsSent", "currentRoundTripTime", "address", "port"), json_values
    ),
)


@given(st.lists(entries, max_size=5), json_values, st.dictionaries(st.text(max_size=12), json_values, max_size=4))
def test_any_dump_can_be_read(log: list[object], configuration: object, stats: object) -> None:
    dump = {"PeerConnections": {"1": {"updateLog": log, "rtcConfiguration": configuration, "stats": stats}}}
    assert len(read_browser_stats(json.dumps(dump))) == 1


@given(st.lists(reports, min_size=1, max_size=5))
def test_any_statistics_can_be_read(listed: list[object]) -> None:
    assert len(read_browser_stats(json.dumps(listed))) == 1


@given(st.text() | json_values.map(json.dumps))
def test_any_text_is_refused_or_read(text: str) -> None:
    try:
        connections = read_browser_stats(text)
    except DecodeError:
        return
    assert connections is not None
