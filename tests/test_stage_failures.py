"""One code and cause for each thing that can be wrong."""

from __future__ import annotations

import re

import pytest

from icekit.catalogue import describe
from icekit.errors import ErrorResponse, TransactionTimeout
from icekit.net import Address, SocketFailure, StreamFailure, Transport
from icekit.reachability import Target
from icekit.relay_user import RelayUser
from icekit.report import StageName
from icekit.stage_failures import (
    StageFailure,
    connection_failure,
    credentials_failure,
    echo_failure,
    refusal,
    request_failure,
    silence,
    socket_failure,
)
from icekit.stage_texts import CAUSES
from icekit.turn_events import Step, StreamError, TurnError
from tests.pages import ROOT

TIMEOUT = TransactionTimeout(5, 4.0)
NOW = 1_700_000_000.0


def user(username: str, password: str, unix_time: float | None) -> RelayUser:
    target = Target("turn:192.0.2.1", Address("192.0.2.1", 3478), Transport.UDP)
    return RelayUser(target, "192.0.2.9", username, password, bytes, unix_time)


@pytest.mark.parametrize(
    ("step", "failure", "transport", "expected"),
    [
        (Step.CONNECT, "refused", Transport.TCP, ("connect", "TURN-CONNECT", "refused")),
        (Step.CONNECT, "timeout", Transport.TLS, ("connect", "TURN-CONNECT", "timeout")),
        (Step.TLS, "tls-name", Transport.TLS, ("tls", "TURN-TLS", "tls-name")),
        (Step.TLS, "tls-expired", Transport.TLS, ("tls", "TURN-TLS", "tls-expired")),
        (Step.TLS, "not-tls", Transport.TLS, ("tls", "TURN-TLS", "not-tls")),
        # Silence or a hang-up after a ClientHello, whichever the server prefers.
        (Step.TLS, "timeout", Transport.TLS, ("tls", "TURN-TLS", "not-tls")),
        (Step.TLS, "reset", Transport.TLS, ("tls", "TURN-TLS", "not-tls")),
        (Step.TLS, "closed", Transport.TLS, ("tls", "TURN-TLS", "not-tls")),
        (Step.CONNECT, "refused", Transport.DTLS, ("connect", "TURN-CONNECT", "refused")),
        (Step.CONNECT, "unsupported", Transport.DTLS, ("connect", "TURN-CONNECT", "unsupported")),
        (Step.CONNECT, "tls-name", Transport.DTLS, ("tls", "TURN-TLS", "tls-name")),
        (Step.CONNECT, "timeout", Transport.DTLS, ("tls", "TURN-NO-ANSWER", None)),
    ],
)
def test_connection(step: Step, failure: str, transport: Transport, expected: tuple[str, str, str | None]) -> None:
    found = connection_failure(step, StreamError(StreamFailure(failure), "words"), transport)
    assert found[:3] == expected
    assert found.detail == f"{failure}: words"


def test_a_dtls_port_that_knows_only_plain_stun() -> None:
    error = StreamError(StreamFailure.TIMEOUT)
    found = connection_failure(Step.CONNECT, error, Transport.DTLS, answers_plain_udp=True)
    assert found[:3] == ("tls", "TURN-TLS", "not-tls")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, ("TURN-NOT-TURN", "refused")) for code in (400, 404, 405, 501)),
        (486, ("TURN-486", None)),
    ],
)
def test_refusal_of_the_first_request(code: int, expected: tuple[str, str | None]) -> None:
    assert refusal(ErrorResponse(code, "words"), binding_works=True)[:3] == ("challenge", *expected)
    # Without an answer to Binding it is no STUN server either.
    assert refusal(ErrorResponse(code, "words"), binding_works=False)[:3] == ("challenge", f"TURN-{code}", None)


def test_a_challenge_that_cannot_be_answered_is_no_refused_password() -> None:
    assert refusal(ErrorResponse(401, "words"), binding_works=True)[:3] == ("challenge", "TURN-401", "challenge")


@pytest.mark.parametrize(
    ("error", "answers_binding", "speaks_tls", "expected"),
    [
        (TIMEOUT, False, False, ("TURN-NO-ANSWER", None)),
        (TIMEOUT, True, False, ("TURN-NOT-TURN", None)),
        (TIMEOUT, False, True, ("TURN-NO-ANSWER", "wants-tls")),
        (StreamError(StreamFailure.CLOSED), False, False, ("TURN-NO-ANSWER", "hangs-up")),
        (StreamError(StreamFailure.RESET), False, True, ("TURN-NO-ANSWER", "wants-tls")),
    ],
)
def test_silence(error: TurnError, answers_binding: bool, speaks_tls: bool, expected: tuple[str, str | None]) -> None:
    found = silence(error, answers_binding=answers_binding, speaks_tls=speaks_tls)
    assert found[:3] == ("challenge", *expected)


@pytest.mark.parametrize(
    ("stage", "silent"),
    [
        (StageName.CHALLENGE, "TURN-NO-ANSWER"),
        (StageName.ALLOCATE, "TURN-NO-ANSWER"),
        (StageName.PERMISSION, "TURN-PERMISSION"),
        (StageName.CHANNEL, "TURN-PERMISSION"),
        (StageName.ECHO, "TURN-REFRESH"),
        (StageName.REFRESH, "TURN-REFRESH"),
    ],
)
def test_a_request_fails_by_its_number_its_silence_or_the_lost_connection(stage: StageName, silent: str) -> None:
    assert request_failure(stage, TIMEOUT)[:3] == (stage, silent, None)
    assert request_failure(stage, ErrorResponse(403, "Forbidden"))[:3] == (stage, "TURN-403", None)
    assert request_failure(stage, StreamError(StreamFailure.CLOSED))[:3] == (stage, "TURN-NO-ANSWER", "hangs-up")


def test_a_socket_fails_by_its_reason_and_says_who_may_have_refused() -> None:
    detail = "refused (ICMP, or this host's own firewall)"
    assert socket_failure(SocketFailure.REFUSED) == StageFailure(StageName.CONNECT, "TURN-CONNECT", "refused", detail)


@pytest.mark.parametrize(
    ("username", "password", "unix_time", "cause"),
    [
        ("alice", "guess", NOW, "wrong"),
        ("", "guess", NOW, "empty"),
        ("alice", "", NOW, "empty"),
        (f"{NOW - 1:.0f}:alice", "guess", NOW, "expired"),
        (f"{NOW:.0f}:alice", "guess", NOW, "expired"),
        (f"{NOW + 1:.0f}:alice", "guess", NOW, "wrong"),
        (f"{NOW - 1:.0f}:alice", "guess", None, "wrong"),
        (f"{NOW * 1000:.0f}:alice", "guess", NOW, "milliseconds"),
        # What is missing comes first: an expired name without a password is still without a password.
        (f"{NOW - 1:.0f}:alice", "", NOW, "empty"),
    ],
)
def test_credentials(username: str, password: str, unix_time: float | None, cause: str) -> None:
    found = credentials_failure(ErrorResponse(401, "Unauthorized"), user(username, password, unix_time))
    assert found == StageFailure(StageName.ALLOCATE, "TURN-401", cause, "401 Unauthorized")


@pytest.mark.parametrize(
    ("out", "back", "expected"),
    [
        (True, False, ("TURN-ECHO-IN", None)),
        (False, True, ("TURN-ECHO-OUT", None)),
        (False, False, ("TURN-ECHO-OUT", "both")),
        # Each direction worked once, but no answer came: it is the way back that fails now.
        (True, True, ("TURN-ECHO-IN", None)),
    ],
)
def test_echo(out: bool, back: bool, expected: tuple[str, str | None]) -> None:
    assert echo_failure(out=out, back=back)[:3] == ("echo", *expected)


def test_every_code_is_in_the_catalogue() -> None:
    failures = [echo_failure(out=out, back=back) for out in (True, False) for back in (True, False)]
    failures += [silence(TIMEOUT, answers_binding=known) for known in (True, False)]
    failures += [silence(TIMEOUT, speaks_tls=True), request_failure(StageName.ECHO, StreamError(StreamFailure.CLOSED))]
    failures += [
        *(refusal(ErrorResponse(400, ""), binding_works=works) for works in (True, False)),
        request_failure(StageName.CHANNEL, TIMEOUT),
    ]
    assert [failure.code for failure in failures if describe(failure.code) is None] == []
    spoken = {(failure.code, failure.cause) for failure in failures if failure.cause not in (None, "refused")}
    assert spoken <= set(CAUSES)


def test_the_page_about_a_turn_server_has_every_stage_with_its_codes() -> None:
    page = (ROOT / "docs" / "howto" / "turn-server.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z, -]+) \| .+ \| (\[TURN-.+) \|$", page, re.MULTILINE)
    codes = {
        stage: re.findall(r"\[(TURN-[A-Z0-9-]+)\]", links) for stages, links in rows for stage in stages.split(", ")
    }
    assert list(codes) == list(StageName)
    failures = [
        connection_failure(Step.CONNECT, StreamError(StreamFailure.REFUSED), Transport.TCP),
        connection_failure(Step.TLS, StreamError(StreamFailure.TLS_NAME), Transport.TLS),
        *(socket_failure(failure) for failure in SocketFailure),
        silence(TIMEOUT),
        silence(TIMEOUT, answers_binding=True),
        credentials_failure(ErrorResponse(401, "words"), user("user", "password", NOW)),
        request_failure(StageName.ALLOCATE, ErrorResponse(486, "words")),
        request_failure(StageName.PERMISSION, ErrorResponse(403, "words")),
        *(request_failure(stage, TIMEOUT) for stage in (StageName.PERMISSION, StageName.CHANNEL, StageName.REFRESH)),
        *(echo_failure(out=out, back=not out) for out in (False, True)),
    ]
    assert [failure for failure in failures if failure.code not in codes[failure.stage]] == []
