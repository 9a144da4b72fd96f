from __future__ import annotations

import pytest

from icekit.candidate import Candidate
from icekit.errors import ErrorResponse, TransactionTimeout
from icekit.gathering_events import (
    CandidateGathered,
    GatheringComplete,
    GatherReport,
    LocalAddressFailed,
    RelayLost,
    ServerAnswered,
    ServerFailed,
    failure_text,
    gather_report,
)
from icekit.net import Address, SocketFailure, StreamFailure, Transport
from icekit.report import from_dict, to_dict
from icekit.turn_events import Step, StreamError, TurnError

LINE = "candidate:1 1 udp 2130706431 192.168.1.9 54321 typ host"
BASE = Address("192.168.1.9", 54321)
SERVER = Address("203.0.113.10", 3478)
MAPPED = Address("198.51.100.1", 6000)
EVENTS = (
    CandidateGathered(Candidate.parse(LINE), BASE, None, None, 0.0),
    LocalAddressFailed("10.0.0.1", SocketFailure.UNAVAILABLE, 0.0),
    ServerAnswered("stun:203.0.113.10", SERVER, BASE, MAPPED, (), 0.25),
    ServerFailed("turn:192.0.2.1", Address("192.0.2.1", 3478), "192.168.1.9", "no answer", 5.0),
    ServerFailed("turn:nowhere.invalid", None, None, "no such name", 5.0),
)


def test_the_document() -> None:
    report = gather_report((*EVENTS, GatheringComplete(5.5), RelayLost("turn:192.0.2.1", (), "reset", 9.0)))
    document = to_dict(report)
    assert document == {
        "schema": "icekit/gather/1",
        "duration": 5.5,
        "complete": True,
        "candidates": [
            {
                "candidate": LINE,
                "type": "host",
                "class": "private",
                "url": None,
                "base": "192.168.1.9:54321",
                "seconds": 0.0,
            }
        ],
        "servers": [
            {
                "url": "stun:203.0.113.10",
                "address": "203.0.113.10:3478",
                "base": "192.168.1.9:54321",
                "outcome": "answered",
                "error": None,
                "mapped_address": "198.51.100.1:6000",
                "relayed_addresses": [],
                "seconds": 0.25,
            },
            {
                "url": "turn:192.0.2.1",
                "address": "192.0.2.1:3478",
                "base": "192.168.1.9",
                "outcome": "failed",
                "error": "no answer",
                "mapped_address": None,
                "relayed_addresses": [],
                "seconds": 5.0,
            },
            {
                "url": "turn:nowhere.invalid",
                "address": None,
                "base": None,
                "outcome": "failed",
                "error": "no such name",
                "mapped_address": None,
                "relayed_addresses": [],
                "seconds": 5.0,
            },
        ],
        "unusable_addresses": [{"address": "10.0.0.1", "error": "it is no address of this host"}],
    }
    assert from_dict(GatherReport, document) == report


def test_what_counts_as_success() -> None:
    assert gather_report(EVENTS).successful
    assert not gather_report((EVENTS[0], *EVENTS[3:])).successful
    assert not gather_report(()).successful
    assert not gather_report(EVENTS).complete


@pytest.mark.parametrize(
    ("error", "step", "signed", "text"),
    [
        (
            ErrorResponse(401, "Unauthorized"),
            Step.ALLOCATE,
            True,
            "401 Unauthorized: the user name or the password is wrong, or has expired",
        ),
        (ErrorResponse(401, "Unauthorized"), Step.ALLOCATE, False, "401 Unauthorized"),
        (ErrorResponse(486, "Quota"), Step.ALLOCATE, True, "486 Quota: the server has no relay left to give"),
        (
            TransactionTimeout(4, 5.0),
            Step.ALLOCATE,
            False,
            "no answer to 4 transmissions in 5.0 s; it is down, or a firewall drops the packets",
        ),
        (
            StreamError(StreamFailure.REFUSED, "connection refused"),
            Step.CONNECT,
            False,
            "cannot connect, refused: connection refused",
        ),
        (StreamError(StreamFailure.TLS_NAME, "x"), Step.TLS, False, "the TLS handshake fails, tls-name: x"),
        (StreamError(StreamFailure.RESET), Step.ALLOCATE, False, "reset"),
    ],
)
def test_failures_in_words(error: TurnError, step: Step, signed: bool, text: str) -> None:
    assert failure_text(error, step, signed=signed) == text


@pytest.mark.parametrize(
    ("failure", "ports", "error"),
    [
        (SocketFailure.UNAVAILABLE, (5, 6), "it is no address of this host"),
        (SocketFailure.IN_USE, None, "no TCP port is free"),
        (SocketFailure.IN_USE, (5, 6), "all TCP ports from 5 to 6 are in use; widen the port range, or end what uses"),
        (SocketFailure.DENIED, (80, 90), "TCP ports below 1024 are not allowed; choose a port range above"),
        (SocketFailure.DENIED, None, "the system does not allow a TCP socket there"),
        (SocketFailure.UNREACHABLE, None, "unreachable"),
    ],
)
def test_what_is_wrong_with_a_local_address(failure: SocketFailure, ports: tuple[int, int] | None, error: str) -> None:
    event = LocalAddressFailed("10.0.0.1", failure, 0.0, Transport.TCP, ports)
    assert event.error.startswith(error)
