"""What an ICE agent tells its owner: one frozen value for each thing that happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from icekit.candidate import Candidate
from icekit.net import Address
from icekit.path_mtu import PathMtu


class IceState(StrEnum):
    """The state of the agent, in the words of browsers."""

    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    COMPLETED = "completed"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class SelectedPair:
    """The pair that carries data: ``base`` and ``address`` are the ends of the wire."""

    component: int
    local: Candidate
    remote: Candidate
    base: Address
    address: Address
    rtt: float | None


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The agent's state is now ``state``."""

    state: IceState


@dataclass(frozen=True, slots=True)
class PairSelected:
    """Data of a component uses this pair from now on; ``nominated``: both sides have agreed on it."""

    pair: SelectedPair
    nominated: bool


@dataclass(frozen=True, slots=True)
class PairImproved:
    """A better pair became valid after the nomination; an ICE restart would take it (RFC 8445 §8.1.1)."""

    pair: SelectedPair


class DataReceived(NamedTuple):
    """The peer sent this. A named tuple: there is one for every packet, and frozen dataclasses are slow to make."""

    component: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A role conflict was settled (RFC 8445 §7.3.1.1)."""

    controlling: bool


IceEvent = StateChanged | PairSelected | PairImproved | DataReceived | RoleChanged


@dataclass(frozen=True, slots=True)
class PairStats:
    """One pair in numbers; ``rtt`` in seconds. ``checks_refused``: answered with an unsigned 401, no proof.

    ``mtu``: how large a packet it takes from here to the peer; ``None``: not measured (it has carried no data for some
    seconds, or is a stream), or the path is too lossy to tell.
    """

    component: int
    local: Candidate
    remote: Candidate
    state: str
    priority: int
    nominated: bool
    selected: bool
    rtt: float | None
    checks_sent: int
    checks_received: int
    responses_received: int
    bytes_sent: int
    bytes_received: int
    checks_refused: int = 0
    mtu: PathMtu | None = None
