"""What a TURN allocation tells its owner (RFC 8656): one frozen value for each thing that happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from icekit.attributes import AddressErrorCode
from icekit.errors import ConnectivityError, ErrorResponse, TransactionTimeout
from icekit.net import Address, StreamFailure, StreamReleased, StreamWanted


class TurnState(StrEnum):
    """Where an allocation is in its life."""

    NEW = "new"
    CONNECTING = "connecting"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    RELEASING = "releasing"
    CLOSED = "closed"


class Step(StrEnum):
    """What an allocation was doing when something failed."""

    CONNECT = "connect"
    TLS = "tls"
    ALLOCATE = "allocate"
    PERMISSION = "permission"
    CHANNEL = "channel"
    REFRESH = "refresh"


class StreamError(ConnectivityError):
    """The connection to the server could not be opened, or was lost."""

    def __init__(self, failure: StreamFailure, detail: str = "") -> None:
        super().__init__(failure, detail)
        self.failure = failure
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.failure}: {self.detail}" if self.detail else str(self.failure)


TurnError = ErrorResponse | TransactionTimeout | StreamError


@dataclass(frozen=True, slots=True)
class ServerConnected:
    """TCP is up."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ServerSecured:
    """TLS is up; ``seconds`` are those of the handshake."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ServerChallenged:
    """The server wants credentials for ``realm``; the signed request is on its way."""

    realm: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerRedirected:
    """The server named another one (300, ALTERNATE-SERVER), which is tried now."""

    server: Address


@dataclass(frozen=True, slots=True)
class AllocationCreated:
    """The relay is there: its addresses, our ``mapped`` address as the server sees it, ``lifetime`` in seconds."""

    relayed: tuple[Address, ...]
    mapped: Address | None
    lifetime: int
    seconds: float
    rtt: float | None
    software: str | None
    refused_families: tuple[AddressErrorCode, ...] = ()


@dataclass(frozen=True, slots=True)
class AllocationFailed:
    """There is no allocation, or it is gone. ``signed``: the refused request carried credentials.

    ``error`` is a 500 of our own when the server's answer cannot be used. Is there something on the server to give
    back, an AllocationReleased follows.
    """

    step: Step
    error: TurnError
    signed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class AllocationRefreshed:
    """The server prolonged it by ``lifetime`` seconds."""

    lifetime: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AllocationReleased:
    """It is given back. ``confirmed``: the server said so."""

    confirmed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class PermissionCreated:
    """Peers at ``host`` may send to the relay. Told once; renewing it is silent until it fails."""

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PermissionFailed:
    """The server refused, or did not answer."""

    host: str
    error: TurnError
    seconds: float


@dataclass(frozen=True, slots=True)
class ChannelBound:
    """Data to and from ``peer`` uses ChannelData now."""

    peer: Address
    channel: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ChannelFailed:
    """Data to and from ``peer`` keeps using indications."""

    peer: Address
    error: TurnError
    seconds: float


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A peer sent this through the relay."""

    peer: Address
    data: bytes
    channel: int | None


@dataclass(frozen=True, slots=True)
class IcmpReceived:
    """The relay got an ICMP error for what we sent to ``peer`` (RFC 8656 §11.5)."""

    peer: Address
    type: int
    code: int


TurnEvent = (
    ServerConnected
    | ServerSecured
    | ServerChallenged
    | ServerRedirected
    | AllocationCreated
    | AllocationFailed
    | AllocationRefreshed
    | AllocationReleased
    | PermissionCreated
    | PermissionFailed
    | ChannelBound
    | ChannelFailed
    | DataReceived
    | IcmpReceived
    | StreamWanted
    | StreamReleased
)
