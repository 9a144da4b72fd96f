"""The tree of errors: exit codes, sentences, and no surprises in them."""

from __future__ import annotations

import copy
import pickle

import pytest

from icekit import errors
from icekit.errors import (
    CallFailed,
    CandidateError,
    ConfigError,
    ConnectivityError,
    DecodeError,
    ErrorResponse,
    IceFailed,
    IcekitError,
    InvalidState,
    MissingCredentials,
    MissingExtra,
    NegotiationError,
    ProgramError,
    ProtocolError,
    SignalingError,
    SimulationDeadlock,
    SimulationRealClock,
    SimulationTimeLimit,
    TokenError,
    TransactionTimeout,
    UnusableCredentials,
    UriError,
)
from icekit.report import Finding, Severity

EVERY = [
    (ProtocolError("x"), 3, "x"),
    (DecodeError("x"), 3, "x"),
    (
        CandidateError("priority", 17, "-1", "1 to 2147483647", "candidate:…"),
        3,
        "candidate, column 17, priority: found '-1', allowed: 1 to 2147483647",
    ),
    (
        UriError("port", 12, "", "1 to 65535", "stun:host:"),
        3,
        "server URI, column 12, port: found nothing, allowed: 1 to 65535",
    ),
    (ErrorResponse(401, "Unauthorized"), 3, "401 Unauthorized"),
    (ErrorResponse(438, ""), 3, "438"),
    (TokenError("x"), 3, "x"),
    (InvalidState("x"), 3, "x"),
    (ConnectivityError("x"), 1, "x"),
    (TransactionTimeout(7, 39.5), 1, "no answer to 7 transmissions in 39.5 s"),
    (TransactionTimeout(1, 0.5), 1, "no answer to 1 transmission in 0.5 s"),
    (IceFailed("x"), 1, "x"),
    (CallFailed("CALL-ANSWER", "no answer"), 1, "no answer (CALL-ANSWER: no answer)"),
    (
        CallFailed("CALL-PATH", "late", (Finding("ICE009", Severity.ERROR, "No path.", "Fix it."),)),
        1,
        "No path. (CALL-PATH: late)",
    ),
    (SignalingError("x"), 3, "x"),
    (NegotiationError("x"), 3, "x"),
    (NegotiationError("why", (Finding("ICE026", Severity.ERROR, "No.", "Fix."),)), 3, "No. (why)"),
    (ProgramError("wrtc", "it has ended"), 3, "the program wrtc: it has ended"),
    (ProgramError("wrtc", "it has ended", "no memory"), 3, "the program wrtc: it has ended; it said: no memory"),
    (SimulationDeadlock(1.5, ("a: x",)), 3, "deadlock at 1.500000 s of virtual time:\n  a: x"),
    (
        SimulationRealClock(1.0, ()),
        3,
        SimulationRealClock.what + " at 1.000000 s of virtual time:",
    ),
    (SimulationTimeLimit(60, ()), 3, "not finished at 60.000000 s of virtual time:"),
    (ConfigError("x"), 2, "x"),
    (MissingCredentials("turn:a", ("username",)), 2, "turn:a needs a username; give username beside its URL"),
    (UnusableCredentials("ice-pwd"), 2, "ice-pwd"),
    (MissingExtra("DTLS", "dtls"), 2, "DTLS needs an extra: pip install 'icekit[dtls]'"),
]


@pytest.mark.parametrize(("error", "exit_code", "text"), EVERY, ids=[type(row[0]).__name__ for row in EVERY])
def test_exit_code_and_sentence(error: IcekitError, exit_code: int, text: str) -> None:
    assert error.exit_code == exit_code
    assert str(error) == text


@pytest.mark.parametrize("error", [row[0] for row in EVERY], ids=[type(row[0]).__name__ for row in EVERY])
def test_errors_survive_pickle_and_copy(error: IcekitError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
    # As tblib does it, which dask brings along for all exceptions.
    assert type(type(error).__new__(type(error))) is type(error)


def test_every_error_is_in_the_tree_and_in_its_picture() -> None:
    kinds = {item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)}
    public = {kind for kind in kinds if not kind.__name__.startswith("_")}
    assert {type(error) for error, _, _ in EVERY} | {IcekitError} == public
    for kind in public:
        assert issubclass(kind, IcekitError)
        assert kind.__name__ in (errors.__doc__ or "")


def test_bad_text_and_bad_configuration_are_value_errors() -> None:
    assert issubclass(CandidateError, DecodeError)
    assert issubclass(UriError, DecodeError)
    assert issubclass(DecodeError, ValueError)
    assert issubclass(ConfigError, ValueError)
    assert not issubclass(ProtocolError, ValueError)


def test_what_was_found_is_shortened_and_escaped() -> None:
    error = CandidateError("foundation", 1, "\x1b[2J" + "a" * 1000, "32 characters", "")
    assert "\x1b" not in str(error)
    assert len(str(error)) < 150


def test_a_server_phrase_cannot_steer_a_terminal() -> None:
    error = ErrorResponse(403, "Forb\x1b[2Jidden\r\n\u202e")
    assert str(error) == "403 Forb\ufffd[2Jidden\ufffd\ufffd\ufffd"
    assert error.reason == "Forb\x1b[2Jidden\r\n\u202e"
