"""What gathering tells its owner, one frozen value for each thing that happened, and all of it as one report.

``seconds`` are those since the gathering began; ``url`` is a server as it was given, ``server`` the address it led to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from icekit.candidate import Candidate
from icekit.errors import ErrorResponse, TransactionTimeout
from icekit.net import Address, SocketFailure, Transport
from icekit.turn_events import Step, StreamError, TurnError


@dataclass(frozen=True, slots=True)
class CandidateGathered:
    """A new candidate. ``base``: the local address that it was gathered from (that of the stream for TCP and TLS)."""

    candidate: Candidate
    base: Address
    url: str | None
    server: Address | None
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerAnswered:
    """A server gave what it has: our ``mapped`` address (equal to ``base`` without a NAT), and relays if it is TURN."""

    url: str
    server: Address
    base: Address
    mapped: Address | None
    relayed: tuple[Address, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerFailed:
    """A server did not give what it is for; one that refuses to relay may tell the mapped address all the same.

    ``host``: asked from there; ``None``: it was not asked at all.
    """

    url: str
    server: Address | None
    host: str | None
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LocalAddressFailed:
    """A local address is of no use: no socket can be bound there. ``ports``: all of these were tried.

    For TCP only the passive candidate is missing.
    """

    host: str
    failure: SocketFailure
    seconds: float
    transport: Transport = Transport.UDP
    ports: tuple[int, int] | None = None

    @property
    def error(self) -> str:
        """What is wrong, and what helps."""
        kind = self.transport.upper()
        match self.failure:
            case SocketFailure.UNAVAILABLE:
                return "it is no address of this host"
            case SocketFailure.IN_USE if self.ports is not None:
                first, last = self.ports
                return f"all {kind} ports from {first} to {last} are in use; widen the port range, or end what uses it"
            case SocketFailure.IN_USE:
                return f"no {kind} port is free"
            case SocketFailure.DENIED if self.ports is not None and self.ports[0] < 1024:
                return f"{kind} ports below 1024 are not allowed; choose a port range above, or run it as root"
            case SocketFailure.DENIED:
                return f"the system does not allow a {kind} socket there"
            case failure:
                return failure.value


@dataclass(frozen=True, slots=True)
class RelayLost:
    """An allocation that was there is gone, and its candidate with it."""

    url: str
    relayed: tuple[Address, ...]
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RelayedDataReceived:
    """A peer sent ``data`` to the relayed address."""

    relayed: Address
    peer: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class GatheringComplete:
    """Every server has answered or failed (RFC 8838 §13: the end of candidates)."""

    seconds: float


GatherEvent = CandidateGathered | ServerAnswered | ServerFailed | LocalAddressFailed | RelayLost | GatheringComplete


class ServerOutcome(StrEnum):
    """What became of a server, asked from one local address."""

    ANSWERED = "answered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class GatheredCandidate:
    """A candidate line with what is known beside it."""

    candidate: str
    type: str
    address_class: str
    url: str | None
    base: str
    seconds: float

    _json: ClassVar = {"address_class": "class"}


@dataclass(frozen=True, slots=True)
class AskedServer:
    """One server from one local address; ``base`` is ``None`` when it was not asked."""

    url: str
    address: str | None
    base: str | None
    outcome: ServerOutcome
    error: str | None
    mapped_address: str | None
    relayed_addresses: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class UnusableAddress:
    """A local address without a candidate."""

    address: str
    error: str


@dataclass(frozen=True, slots=True)
class GatherReport:
    """What ``icekit gather --json`` prints. ``complete``: nothing was still unanswered; ``duration`` in seconds."""

    duration: float
    complete: bool
    candidates: tuple[GatheredCandidate, ...]
    servers: tuple[AskedServer, ...]
    unusable_addresses: tuple[UnusableAddress, ...] = ()

    _schema: ClassVar = "icekit/gather/1"

    @property
    def successful(self) -> bool:
        """Whether any server gave what it is for: a reflexive or relayed address, or that there is no NAT."""
        return any(server.outcome is ServerOutcome.ANSWERED for server in self.servers)


def gather_report(events: Iterable[GatherEvent]) -> GatherReport:
    """All events so far as one report."""
    candidates: list[GatheredCandidate] = []
    servers: list[AskedServer] = []
    unusable: list[UnusableAddress] = []
    duration, complete = 0.0, False
    for event in events:
        if not complete:
            duration = event.seconds
        match event:
            case CandidateGathered(candidate=candidate, base=base, url=url, seconds=seconds):
                kind = candidate.address_class.value
                candidates.append(GatheredCandidate(str(candidate), str(candidate.type), kind, url, str(base), seconds))
            case ServerAnswered(url=url, server=server, base=base, mapped=mapped, relayed=relayed, seconds=seconds):
                seen = None if mapped is None else str(mapped)
                relays = tuple(map(str, relayed))
                servers.append(
                    AskedServer(url, str(server), str(base), ServerOutcome.ANSWERED, None, seen, relays, seconds)
                )
            case ServerFailed(url=url, server=failed, host=host, error=error, seconds=seconds):
                where = None if failed is None else str(failed)
                servers.append(AskedServer(url, where, host, ServerOutcome.FAILED, error, None, (), seconds))
            case LocalAddressFailed(host=host):
                unusable.append(UnusableAddress(host, event.error))
            case GatheringComplete():
                complete = True
            case RelayLost():
                pass
    return GatherReport(duration, complete, tuple(candidates), tuple(servers), tuple(unusable))


def failure_text(error: TurnError, step: Step = Step.ALLOCATE, *, signed: bool = False) -> str:
    """What went wrong with a server, and what that may mean; ``signed``: the request carried credentials."""
    match error:
        case ErrorResponse(code=401 | 441) if signed:
            return f"{error}: the user name or the password is wrong, or has expired"
        case ErrorResponse(code=486 | 508):
            return f"{error}: the server has no relay left to give"
        case TransactionTimeout():
            return f"{error}; it is down, or a firewall drops the packets"
        case StreamError() if step is Step.TLS:
            return f"the TLS handshake fails, {error}"
        case StreamError() if step is Step.CONNECT:
            return f"cannot connect, {error}"
        case _:
            return str(error)
