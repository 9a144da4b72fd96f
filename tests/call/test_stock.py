"""The contract with aiortc: the private names that we stand on, who calls them, and what they give."""

from __future__ import annotations

import inspect

import aiortc
import pytest
from aiortc import (
    RTCConfiguration,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceTransport,
    RTCPeerConnection,
    RTCSctpTransport,
)
from aiortc.rtcdtlstransport import SRTP_PROFILES
from aiortc.rtcsctptransport import DataChunk

from icekit.call import stock
from icekit.call.stock import PRIVATE_ATTRIBUTES, PRIVATE_NAMES, check_names
from icekit.errors import ConfigError
from tests.call.calls import closing, ours

WHY = f"aiortc {aiortc.__version__} has changed: read its changes, then icekit/call/stock.py and this test"
OWN = "_RTCPeerConnection__"


def test_methods_are_there() -> None:
    check_names()
    for owner, names in PRIVATE_NAMES.items():
        for name in names:
            assert inspect.isfunction(vars(owner).get(name)), f"{owner.__name__}.{name}: {WHY}"


def test_a_missing_method_is_told_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(RTCPeerConnection, f"{OWN}gather")
    with pytest.raises(ConfigError, match=r"does not fit aiortc .*RTCPeerConnection._RTCPeerConnection__gather"):
        check_names()


def test_who_calls_what() -> None:
    """An override that nobody calls any more would be silent."""
    calls = {
        "setLocalDescription": ("gather", "connect"),
        "setRemoteDescription": ("connect", "updateIceConnectionState", "updateConnectionState"),
        f"{OWN}createSctpTransport": ("createDtlsTransport", "sctp"),
        "createDataChannel": ("createSctpTransport", "sctp"),
        f"{OWN}createTransceiver": ("createDtlsTransport",),
        f"{OWN}gather": ("iceTransports",),
        f"{OWN}localDescription": ("pendingLocalDescription", "currentLocalDescription"),
        "close": ("isClosed", "updateIceConnectionState", "updateConnectionState"),
    }
    for method, names in calls.items():
        code = vars(RTCPeerConnection)[method].__code__
        for name in names:
            assert f"{OWN}{name}" in code.co_names, f"{method} does not use {name}: {WHY}"
    assert {"start", "getLocalCandidates", "iceGatherer"} <= set(
        vars(RTCPeerConnection)[f"{OWN}connect"].__code__.co_names
    ), WHY
    assert {"_recv"} <= set(RTCDtlsTransport._recv_next.__code__.co_names), WHY
    assert {"_send"} <= set(RTCDtlsTransport._write_ssl.__code__.co_names), WHY


def test_who_calls_what_in_an_association() -> None:
    calls = {
        "_handle_data": ("_receive_chunk",),
        "_receive_chunk": ("_send_chunk", "_t1_start", "_set_state", "_last_received_tsn"),
        "_t1_expired": ("_send_chunk", "_t1_chunk", "_t1_failures"),
        "_data_channel_flush": ("_send", "_transmit_reconfig", "_association_state", "_outbound_queue"),
        "_send": ("_transmit", "_local_tsn", "_outbound_queue"),
        "_transmit": ("_send_chunk", "_sent_queue", "_flight_size_increase", "_t3_start"),
        "_send_chunk": ("_remote_verification_tag", "_send_data"),
    }
    for method, names in calls.items():
        code = vars(RTCSctpTransport)[method].__code__
        for name in names:
            assert name in code.co_names, f"{method} does not use {name}: {WHY}"
    chunk = DataChunk()
    assert {"_sent_count", "_sent_time"} <= set(type(chunk).__annotations__), WHY


def test_aiortc_still_has_the_methods_that_are_replaced() -> None:
    expected = {
        RTCIceTransport.start: ["self", "remoteParameters"],
        RTCIceTransport.stop: ["self"],
        RTCIceTransport.addRemoteCandidate: ["self", "candidate"],
        RTCIceGatherer.gather: ["self"],
        RTCSctpTransport.__init__: ["self", "transport", "port"],
        RTCSctpTransport._receive_chunk: ["self", "chunk"],
        RTCSctpTransport._send_chunk: ["self", "chunk"],
        RTCSctpTransport._t1_start: ["self", "chunk"],
        RTCSctpTransport._send: [
            "self",
            "stream_id",
            "pp_id",
            "user_data",
            "expiry",
            "max_retransmits",
            "ordered",
        ],
        RTCSctpTransport._data_channel_receive: ["self", "stream_id", "pp_id", "data"],
        RTCIceGatherer.getLocalCandidates: ["self"],
        RTCDtlsTransport.__init__: ["self", "transport", "certificates"],
        RTCPeerConnection.setLocalDescription: ["self", "sessionDescription"],
        RTCPeerConnection.addIceCandidate: ["self", "candidate"],
    }
    for function, names in expected.items():
        assert list(inspect.signature(function).parameters) == names, f"{function.__qualname__}: {WHY}"


async def test_attributes_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    async with closing(connection):
        connection.createDataChannel("x")
        transport = connection.sctp.transport.transport
        for item in (connection, transport, transport.iceGatherer, connection.sctp):
            for name in PRIVATE_ATTRIBUTES[type(item)]:
                assert name in vars(item), f"{type(item).__name__}.{name}: {WHY}"
        dtls = connection.sctp.transport
        (certificate,) = vars(connection)["_RTCPeerConnection__certificates"]
        for item in (dtls, certificate):
            for name in PRIVATE_ATTRIBUTES[type(item)]:
                assert name in vars(item), f"{type(item).__name__}.{name}: {WHY}"
        assert dtls._srtp_profiles is SRTP_PROFILES
        assert "_create_ssl_context" in RTCDtlsTransport.start.__code__.co_names, WHY
        assert dtls._stats_id in dtls._get_stats(), WHY


async def test_our_transports_are_aiortcs() -> None:
    connection = ours()
    async with closing(connection):
        connection.createDataChannel("x")
        transport = connection.sctp.transport.transport
        assert isinstance(transport, stock.IceTransport | RTCIceTransport)
        assert (transport.state, transport.role, transport.iceGatherer.state) == ("new", "controlled", "new")
        assert transport.iceGatherer.getLocalParameters().usernameFragment == transport.connection.local_username
        assert transport.getRemoteCandidates() == []
        await transport.iceGatherer.first_candidate()
    assert transport.state == "closed"
    with pytest.raises(aiortc.InvalidStateError):
        await transport.start(transport.iceGatherer.getLocalParameters())
