"""Value types that cross modules: what was measured, what it means, and how both are written as JSON.

``None`` means not measured; the reason stands in ``reason`` under the field's name. Every type converts with
``to_dict`` and ``from_dict``; field names of the JSON are the attribute names, except where ``_json`` says otherwise
(``class`` is a Python keyword).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from icekit.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Severity(StrEnum):
    """How bad a finding is: ``error`` the call will fail, ``warning`` probably not wanted, ``info`` harmless."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Behavior(StrEnum):
    """How a NAT maps or filters (RFC 4787 §4.1, §5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"

    @property
    def strictness(self) -> int:
        """0 for endpoint-independent, to 2: of two NATs in a row the stricter one decides."""
        return tuple(Behavior).index(self)


class PortAssignment(StrEnum):
    """How a NAT chooses the external port (RFC 4787 §4.2.1)."""

    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    RANDOM = "random"


class Pooling(StrEnum):
    """Whether one internal host keeps one external address (RFC 4787 §4.1)."""

    PAIRED = "paired"
    ARBITRARY = "arbitrary"


class PathKind(StrEnum):
    """What will carry a call."""

    DIRECT = "direct"
    RELAY = "relay"
    NONE = "none"
    MAYBE = "maybe"


class VerdictCode(StrEnum):
    """The probe's conclusion about calls from this network."""

    OK = "OK"
    DIRECT_ONLY = "DIRECT-ONLY"
    RELAY_ONLY = "RELAY-ONLY"
    UDP_BLOCKED = "UDP-BLOCKED"
    BLOCKED = "BLOCKED"
    DEGRADED = "DEGRADED"
    UNKNOWN = "UNKNOWN"


class StageName(StrEnum):
    """The stages of a TURN test, in order."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    CHALLENGE = "challenge"
    ALLOCATE = "allocate"
    RELAY_ADDRESS = "relay-address"
    PERMISSION = "permission"
    CHANNEL = "channel"
    ECHO = "echo"
    REFRESH = "refresh"
    RELEASE = "release"


NO_FIX: Final = "None needed."
"""The fix of a finding that needs none."""


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table of findings (``icekit.catalogue``).

    ``believed`` is the mistake that brings people here, ``meaning`` what is true, ``fix`` what to do.
    ``seen`` are public threads where people met it, as ``owner/repository#number`` of GitHub.
    """

    code: str
    name: str
    severity: Severity
    believed: str
    meaning: str
    fix: str
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence that a person can act on, with the observations that prove it."""

    code: str
    severity: Severity
    message: str
    fix: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one plain sentence."""

    code: VerdictCode
    severity: Severity
    summary: str


@dataclass(frozen=True, slots=True)
class Interface:
    """A local address: ``address_class`` as in ``icekit.net``, ``kind`` such as ethernet, wifi, vpn, bridge."""

    name: str
    address: str
    address_class: str
    kind: str | None = None

    _json: ClassVar = {"address_class": "class"}


@dataclass(frozen=True, slots=True)
class NatTest:
    """One test: how many requests were sent, how many were answered, how long it took (seconds)."""

    name: str
    sent: int
    answered: int
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NatReport:
    """What lies between this host and the Internet, for one address family (RFC 4787, 5780).

    ``hairpinning`` and ``alg`` tell whether it was seen; ``nats`` counts translations when it can be known;
    ``port_step`` belongs to sequential assignment; ``binding_lifetime`` is in seconds.
    """

    mapping: Behavior | None = None
    filtering: Behavior | None = None
    hairpinning: bool | None = None
    port_assignment: PortAssignment | None = None
    port_step: int | None = None
    address_pooling: Pooling | None = None
    behind_nat: bool | None = None
    udp: bool | None = None
    parity: bool | None = None
    alg: bool | None = None
    cgnat: bool | None = None
    nats: int | None = None
    binding_lifetime: float | None = None
    mapped_addresses: tuple[str, ...] = ()
    reason: dict[str, str] = field(default_factory=dict)
    tests: tuple[NatTest, ...] = ()


@dataclass(frozen=True, slots=True)
class NatReports:
    """One report per address family; ``None`` where the host has no such address."""

    ipv4: NatReport | None = None
    ipv6: NatReport | None = None


@dataclass(frozen=True, slots=True)
class ServerReport:
    """One server address over one transport. ``rtt`` is in seconds; ``behavior_discovery``: RFC 5780 offered.

    ``error`` begins with a cause word (a ``StreamFailure`` value, ``timeout``, ``refused``, ``nxdomain`` …), then
    perhaps ``: detail``. ``seconds`` is what the entry cost: until it answered or was given up.
    """

    url: str
    address: str | None
    transport: str
    reachable: bool | None
    rtt: float | None = None
    mapped_address: str | None = None
    behavior_discovery: bool | None = None
    error: str | None = None
    interface: str | None = None
    software: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DnsReport:
    """One query and its answers."""

    name: str
    type: str
    answers: tuple[str, ...] = ()
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage of a TURN test."""

    name: StageName
    ok: bool
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TurnReport:
    """One TURN server, stage by stage; ``code`` and ``cause`` belong to ``failed_stage``.

    ``warnings`` are codes of stages that went on (``TURN-REALM-EMPTY``). ``lifetime`` is in seconds, and so is ``rtt``,
    which was measured through the relay and back. So were ``packet_passed``, the largest IP packet that came through,
    and ``packet_lost``, the smallest that did not (bytes, on the way to the server).
    """

    url: str
    ok: bool
    failed_stage: StageName | None = None
    code: str | None = None
    cause: str | None = None
    lifetime: int | None = None
    relayed_address: str | None = None
    rtt: float | None = None
    stages: tuple[StageResult, ...] = ()
    server_address: str | None = None
    warnings: tuple[str, ...] = ()
    not_tested: tuple[StageName, ...] = ()
    packet_passed: int | None = None
    packet_lost: int | None = None
    reason: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PortmapReport:
    """What the gateway offers for opening ports: UPnP IGD, NAT-PMP (RFC 6886), PCP (RFC 6887).

    ``external_address``: what the gateway says that its own address outside is; ``description_url``: of the UPnP
    device.
    """

    gateway: str | None
    upnp: bool | None = None
    nat_pmp: bool | None = None
    pcp: bool | None = None
    reason: dict[str, str] = field(default_factory=dict)
    external_address: str | None = None
    description_url: str | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """The path to a class of peer; ``peer`` is one of ``icekit.findings.PEERS``, ``why`` says what decides."""

    peer: str
    path: PathKind
    why: str = ""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Everything that ``icekit probe`` found out; ``duration`` in seconds."""

    duration: float
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    nat: NatReports = NatReports()
    servers: tuple[ServerReport, ...] = ()
    dns: tuple[DnsReport, ...] = ()
    portmap: PortmapReport | None = None
    turn: tuple[TurnReport, ...] = ()
    candidates: tuple[str, ...] = ()
    outlook: tuple[Outlook, ...] = ()

    _schema: ClassVar = "icekit/probe/1"


T = TypeVar("T")


def to_dict(value: Any) -> Any:
    """A report as plain JSON values, in the order of its fields; a type with a schema carries it first."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names: dict[str, str] = getattr(value, "_json", {})
        schema = getattr(value, "_schema", None)
        result: dict[str, Any] = {} if schema is None else {"schema": schema}
        for item in dataclasses.fields(value):
            result[names.get(item.name, item.name)] = to_dict(getattr(value, item.name))
        return result
    if isinstance(value, dict):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_dict(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def turn_document(report: TurnReport, findings: Sequence[Finding]) -> dict[str, Any]:
    """What ``icekit turn --json`` prints: one element of ``turn``, its schema and its findings."""
    return {"schema": "icekit/turn/1", **to_dict(report), "findings": to_dict(tuple(findings))}


def from_dict(kind: type[T], data: Any, where: str = "report") -> T:
    """Read what ``to_dict`` wrote. Unknown fields are ignored (a newer schema); DecodeError names what is wrong."""
    target: Any = kind
    if not isinstance(data, dict):
        raise DecodeError(f"{where}: expected an object, found {_shown(data)}")
    schema = getattr(target, "_schema", None)
    if schema is not None and data.get("schema") != schema:
        raise DecodeError(f"{where}.schema: found {_shown(data.get('schema'))}, expected {schema!r}")
    names: dict[str, str] = getattr(target, "_json", {})
    hints = _hints(target)
    arguments: dict[str, Any] = {}
    for item in dataclasses.fields(target):
        key = names.get(item.name, item.name)
        if key in data:
            arguments[item.name] = _convert(hints[item.name], data[key], f"{where}.{key}")
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise DecodeError(f"{where}.{key}: is missing")
    result: T = target(**arguments)
    return result


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        if value is None:
            return None
        [hint] = [option for option in typing.get_args(hint) if option is not types.NoneType]
        return _convert(hint, value, where)
    if origin is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        inner = typing.get_args(hint)[1]
        return {str(key): _convert(inner, item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast("type[Any]", hint), value, where)
    if isinstance(hint, type) and issubclass(hint, StrEnum) and isinstance(value, str):
        try:
            return hint(value)
        except ValueError:
            raise DecodeError(f"{where}: {_shown(value)} is none of {', '.join(hint)}") from None
    # A bool is an int to Python, but not to JSON; a whole number is a number.
    found = type(value)
    if hint is found and (found is not float or isfinite(value)):
        return value
    if hint is float and found is int and abs(value) < 2**1023:
        return float(value)
    raise DecodeError(f"{where}: found {_shown(value)}, expected {_NAMES.get(origin or hint, 'one of its values')}")


# What a person calls the JSON types.
_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
_NAMES |= {tuple: "a list", dict: "an object"}


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
