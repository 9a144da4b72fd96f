"""Which code and cause a failed stage of a TURN test has: exactly one for each thing that can be wrong.

The texts of the codes are in ``icekit.catalogue``. Pure functions from what happened to a ``StageFailure``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from icekit.errors import ErrorResponse, TransactionTimeout
from icekit.net import SocketFailure, StreamFailure, Transport
from icekit.relay_user import RelayUser
from icekit.report import StageName
from icekit.servers import decode_username
from icekit.turn_events import Step, StreamError, TurnError


class StageFailure(NamedTuple):
    """``detail`` is for people: the server's or the system's own words."""

    stage: StageName
    code: str
    cause: str | None
    detail: str


# How servers that know only Binding refuse Allocate.
_STUN_ONLY_REFUSALS: Final = (400, 404, 405, 501)
_UNCONNECTED: Final = (StreamFailure.REFUSED, StreamFailure.UNREACHABLE, StreamFailure.UNSUPPORTED)
_WITHOUT_WORDS: Final = (StreamFailure.RESET, StreamFailure.CLOSED, StreamFailure.TIMEOUT)


def socket_failure(failure: SocketFailure) -> StageFailure:
    """The UDP socket to the server could not be bound, or ICMP came back before any answer."""
    detail = f"{failure} (ICMP, or this host's own firewall)"
    return StageFailure(StageName.CONNECT, "TURN-CONNECT", failure.value, detail)


def connection_failure(
    step: Step, error: StreamError, transport: Transport, *, answers_plain_udp: bool = False
) -> StageFailure:
    """No connection, or no TLS on it. ``answers_plain_udp``: the server's DTLS port knows STUN without DTLS."""
    failure, detail = error.failure, str(error)
    if transport is Transport.DTLS:
        # There is no connection apart from the handshake, and a silent port may be that of a server that is down.
        if failure is StreamFailure.TIMEOUT and not answers_plain_udp:
            return StageFailure(StageName.TLS, "TURN-NO-ANSWER", None, detail)
        step = Step.CONNECT if failure in _UNCONNECTED else Step.TLS
    if step is Step.CONNECT:
        return StageFailure(StageName.CONNECT, "TURN-CONNECT", failure.value, detail)
    # A peer that hangs up on a ClientHello, or has nothing to say to it, does not speak TLS.
    if failure in _WITHOUT_WORDS:
        failure = StreamFailure.NOT_TLS
    return StageFailure(StageName.TLS, "TURN-TLS", failure.value, detail)


def is_stun_only(error: TurnError) -> bool:
    """Whether a first Allocate is answered as a server does that knows only Binding; one for TURN may say the same."""
    return isinstance(error, ErrorResponse) and error.code in _STUN_ONLY_REFUSALS


def refusal(error: ErrorResponse, *, binding_works: bool) -> StageFailure:
    """The first Allocate, without credentials, is answered with an error that is no challenge that we can answer."""
    if error.code == 401:
        return StageFailure(StageName.CHALLENGE, "TURN-401", "challenge", str(error))
    if binding_works and is_stun_only(error):
        return StageFailure(StageName.CHALLENGE, "TURN-NOT-TURN", "refused", str(error))
    return StageFailure(StageName.CHALLENGE, f"TURN-{error.code}", None, str(error))


def silence(error: TurnError, *, answers_binding: bool = False, speaks_tls: bool = False) -> StageFailure:
    """The first Allocate is not answered. ``speaks_tls``: the port does TLS, and we came without."""
    if answers_binding:
        return StageFailure(StageName.CHALLENGE, "TURN-NOT-TURN", None, "Binding is answered, Allocate is not")
    if speaks_tls:
        return StageFailure(StageName.CHALLENGE, "TURN-NO-ANSWER", "wants-tls", f"{error}; the port speaks TLS")
    return request_failure(StageName.CHALLENGE, error)


def request_failure(stage: StageName, error: TurnError) -> StageFailure:
    """A request of this stage failed: the number that the server sent, else the code of the silence there."""
    match error:
        case ErrorResponse():
            return StageFailure(stage, f"TURN-{error.code}", None, str(error))
        case TransactionTimeout():
            return StageFailure(stage, _SILENT.get(stage, "TURN-REFRESH"), None, str(error))
        case StreamError():
            return StageFailure(stage, "TURN-NO-ANSWER", "hangs-up", str(error))


_SILENT: Final = {
    StageName.CHALLENGE: "TURN-NO-ANSWER",
    StageName.ALLOCATE: "TURN-NO-ANSWER",
    StageName.PERMISSION: "TURN-PERMISSION",
    StageName.CHANNEL: "TURN-PERMISSION",
}


def credentials_failure(error: ErrorResponse, user: RelayUser) -> StageFailure:
    """401 after a request that was signed as ``user``."""
    cause = "wrong"
    name = decode_username(user.username)
    if not user.username or not user.password:
        cause = "empty"
    elif name.milliseconds:
        cause = "milliseconds"
    elif name.expires_at is not None and user.unix_time is not None and name.expires_at <= user.unix_time:
        cause = "expired"
    return StageFailure(StageName.ALLOCATE, "TURN-401", cause, str(error))


def echo_failure(*, out: bool, back: bool) -> StageFailure:
    """Data is lost. ``out``: some came from the client to the peer; ``back``: some came from the peer to the client."""
    if out:
        return StageFailure(StageName.ECHO, "TURN-ECHO-IN", None, "peer to client is lost, client to peer works")
    if back:
        return StageFailure(StageName.ECHO, "TURN-ECHO-OUT", None, "client to peer is lost, peer to client works")
    return StageFailure(StageName.ECHO, "TURN-ECHO-OUT", "both", "lost in both directions")
