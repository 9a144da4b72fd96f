"""What the default gateway offers for opening ports: NAT-PMP (RFC 6886), PCP (RFC 6887), UPnP IGD (by its SSDP answer).

Questions only: the external address (NAT-PMP), an ANNOUNCE (PCP), a search (SSDP). Nothing is opened or changed on the
gateway. Why it is asked: the address that it has outside tells whether another NAT follows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Final

from icekit.errors import DecodeError
from icekit.net import (
    Address,
    AddressClass,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    canonical_host,
    classify_host,
)
from icekit.report import PortmapReport
from icekit.transaction import Schedule

PORT: Final = 5351
"""Where NAT-PMP and PCP servers listen."""
SSDP: Final = Address("239.255.255.250", 1900)

_MAX_PCP: Final = 1100
_MAX_SSDP: Final = 4096
_MAX_URL: Final = 256
# RFC 6886 §3.1 asks for a minute; the gateway is one hop away. A UPnP device may wait a second before it answers.
_REQUESTS: Final = Schedule((0.0, 0.25, 0.75, 1.75), 2.75)
_SEARCHES: Final = Schedule((0.0, 0.5, 1.0, 1.5), 3.0)

_GATEWAY_DEVICE: Final = "urn:schemas-upnp-org:device:InternetGatewayDevice:"

# NAT-PMP is version 0 of what became PCP; a client of one must expect the server of the other (RFC 6887 §9, app. A).
_NAT_PMP_VERSION: Final = 0
_PCP_VERSION: Final = 2
_UNSUPPORTED_VERSION: Final = 1
_ADDRESS_MISMATCH: Final = 12

NAT_PMP_REQUEST: Final = bytes(2)
"""Version 0, opcode 0: what is your external address (RFC 6886 §3.2)."""


@dataclass(frozen=True, slots=True)
class NatPmpAnswer:
    """``external`` is the gateway's IPv4 address outside, if it says one; ``result`` 0 is success (RFC 6886 §3.5)."""

    version: int
    result: int
    external: str | None


@dataclass(frozen=True, slots=True)
class PcpAnswer:
    """``version`` 0: a NAT-PMP server that knows no PCP. ``result`` as in RFC 6887 §7.4."""

    version: int
    result: int


@dataclass(frozen=True, slots=True)
class SsdpAnswer:
    """``location``: URL of the device description, if there is a harmless one."""

    search_target: str
    location: str | None

    @property
    def is_gateway(self) -> bool:
        """Whether an Internet gateway device answers."""
        return self.search_target.startswith(_GATEWAY_DEVICE)


def read_nat_pmp(data: bytes) -> NatPmpAnswer:
    """The answer to ``NAT_PMP_REQUEST``; DecodeError if it is none."""
    # RFC 6886 §3.5: the answer's opcode is that of the request plus 128. An error may end after the time, at 8 bytes.
    if not 8 <= len(data) <= _MAX_PCP or data[1] != 128:
        raise DecodeError("not an answer to a NAT-PMP address request")
    # A PCP server that knows no NAT-PMP may answer in its own format, where the result is the fourth byte.
    result = int.from_bytes(data[2:4]) if data[0] == _NAT_PMP_VERSION else data[3]
    if result == 0 and (data[0] != _NAT_PMP_VERSION or len(data) < 12):
        raise DecodeError("a NAT-PMP answer without an address")
    external = str(IPv4Address(data[8:12])) if result == 0 else None
    return NatPmpAnswer(data[0], result, external if external is not None and _is_usable(external) else None)


def _is_usable(host: str) -> bool:
    """Whether an interface can have this address: a gateway that is offline says 0.0.0.0."""
    nonsense = (AddressClass.UNSPECIFIED, AddressClass.LOOPBACK, AddressClass.MULTICAST, AddressClass.RESERVED)
    return classify_host(host) not in nonsense


def pcp_request(client: str) -> bytes:
    """An ANNOUNCE request (RFC 6887 §14.1) from ``client``, an IPv4 literal."""
    # RFC 6887 §5: an IPv4 address goes as an IPv4-mapped IPv6 one. §14.1: the lifetime of ANNOUNCE is 0.
    return bytes((_PCP_VERSION, 0, 0, 0)) + bytes(4) + bytes(10) + b"\xff\xff" + IPv4Address(client).packed


def read_pcp(data: bytes) -> PcpAnswer:
    """The answer to ``pcp_request``; DecodeError if it is none."""
    if not 8 <= len(data) <= _MAX_PCP or not data[1] & 0x80:
        raise DecodeError("not an answer to a PCP request")
    if data[0] == _NAT_PMP_VERSION:
        return PcpAnswer(_NAT_PMP_VERSION, int.from_bytes(data[2:4]))
    # RFC 6887 §8.3: a response is at least 24 bytes long and a multiple of 4.
    if len(data) < 24 or len(data) % 4:
        raise DecodeError("a PCP answer of a wrong length")
    return PcpAnswer(data[0], data[3])


def ssdp_request(destination: Address) -> bytes:
    """A search for Internet gateway devices (UPnP Device Architecture §1.3.2); MX goes only with multicast."""
    wait = ("MX: 1",) if destination == SSDP else ()
    head = ("M-SEARCH * HTTP/1.1", f"HOST: {destination}", 'MAN: "ssdp:discover"', *wait, f"ST: {_GATEWAY_DEVICE}1")
    return "\r\n".join((*head, "", "")).encode()


def read_ssdp(data: bytes) -> SsdpAnswer:
    """The answer to a search; DecodeError if it is none."""
    if len(data) > _MAX_SSDP:
        raise DecodeError(f"an SSDP answer of more than {_MAX_SSDP} bytes")
    status, *lines = data.decode("latin-1").split("\r\n")
    if status.split(" ", 2)[:2] not in (["HTTP/1.1", "200"], ["HTTP/1.0", "200"]):
        raise DecodeError("not an answer to an SSDP search")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    if "st" not in headers:
        raise DecodeError("an SSDP answer without ST")
    return SsdpAnswer(headers["st"], _harmless_url(headers.get("location", "")))


def _harmless_url(text: str) -> str | None:
    fits = len(text) <= _MAX_URL and text.isascii() and text.isprintable() and not set(text) & set(" \"'<>\\^`{|}")
    return text if fits and text.startswith("http://") else None


@dataclass(frozen=True, slots=True)
class PortmapObserved:
    """Every question is answered or given up."""

    report: PortmapReport


PortmapEvent = PortmapObserved | SocketWanted | SocketReleased

# The fields of the report, by the identifier of the socket that asks.
_NAT_PMP: Final = 0
_PCP: Final = 1
_UPNP: Final = 2
_FIELDS: Final = {_NAT_PMP: "nat_pmp", _PCP: "pcp", _UPNP: "upnp"}


@dataclass(slots=True)
class _Question:
    schedule: Schedule
    remote: Address | None
    local: Address | None = None
    started: float = 0.0
    sent: int = 0

    def due(self) -> float | None:
        if self.local is None:
            return None
        offsets = self.schedule.offsets
        return self.started + (offsets[self.sent] if self.sent < len(offsets) else self.schedule.timeout)


class PortmapProbe:
    """Asks ``gateway`` (IPv4 literals both) from ``host`` and emits ``PortmapObserved`` once."""

    def __init__(self, host: str, gateway: str) -> None:
        self._host = canonical_host(host)
        self._gateway = canonical_host(gateway)
        server = Address(self._gateway, PORT)
        self._open = {
            _NAT_PMP: _Question(_REQUESTS, server),
            _PCP: _Question(_REQUESTS, server),
            # Its answers come from any port, some of them from port 1900.
            _UPNP: _Question(_SEARCHES, None),
        }
        self._elsewhere: str | None = None
        self._report = PortmapReport(self._gateway)
        self._events: deque[PortmapEvent] = deque()
        self._out: list[Datagram] = []
        self.dropped = 0

    def start(self, now: float) -> None:
        """Begin: the sockets are opened."""
        for number, question in self._open.items():
            self._events.append(SocketWanted(number, Address(self._host, 0), question.remote))

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take an answer; what is none is counted and dropped."""
        number = next((key for key, item in self._open.items() if item.local == datagram.destination), None)
        if number is None or (number != _UPNP and datagram.source != Address(self._gateway, PORT)):
            self.dropped += 1
            return
        try:
            if number == _NAT_PMP:
                self._take_nat_pmp(read_nat_pmp(datagram.data))
            elif number == _PCP:
                self._take_pcp(read_pcp(datagram.data))
            else:
                self._take_ssdp(read_ssdp(datagram.data), datagram.source)
        except DecodeError:
            self.dropped += 1

    def handle_timer(self, now: float) -> None:
        """Ask again, or give up."""
        for number, question in list(self._open.items()):
            due = question.due()
            if due is None or due > now:
                continue
            if question.sent < len(question.schedule.offsets):
                # A timer that is late moves the rest of the schedule: no burst.
                question.started += now - due
                self._ask(number, question)
            else:
                self._give_up(number, f"no answer to {question.sent} requests")

    def get_timer(self) -> float | None:
        """The next transmission or the end of the wait."""
        due = [question.due() for question in self._open.values()]
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> PortmapEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop now; what is known is emitted, the rest was not measured."""
        for number in list(self._open):
            self._settle(number, None, "the test was cut short")

    # SocketUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """The question goes out at once."""
        question = self._open.get(id)
        if question is None:
            self._events.append(SocketReleased(local))
            return
        question.local, question.started = local, now
        self._ask(id, question)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """No socket: not measured. An ICMP error: nobody listens there."""
        question = self._open.get(id)
        if question is None:
            return
        if question.local is not None and failure is SocketFailure.REFUSED:
            self._settle(id, False, "refused (ICMP)")
        else:
            self._settle(id, None, f"the gateway cannot be asked: {failure}")

    # Inside.

    def _ask(self, number: int, question: _Question) -> None:
        local = question.local
        assert local is not None
        question.sent += 1
        if number == _NAT_PMP:
            self._out.append(Datagram(local, Address(self._gateway, PORT), NAT_PMP_REQUEST))
        elif number == _PCP:
            self._out.append(Datagram(local, Address(self._gateway, PORT), pcp_request(self._host)))
        else:
            # The firewall of many a host drops answers to multicast, as they come from an address that was not asked.
            for destination in (SSDP, Address(self._gateway, SSDP.port)):
                self._out.append(Datagram(local, destination, ssdp_request(destination)))

    def _take_nat_pmp(self, answer: NatPmpAnswer) -> None:
        if answer.version != _NAT_PMP_VERSION or answer.result == _UNSUPPORTED_VERSION:
            self._settle(_NAT_PMP, False, "the gateway speaks PCP only")
            return
        self._report = replace(self._report, external_address=answer.external)
        if answer.result:
            self._settle(_NAT_PMP, True, f"it is there, but tells no address (result {answer.result})")
        else:
            self._settle(_NAT_PMP, True, "" if answer.external else "it is there, but has no address outside")

    def _take_pcp(self, answer: PcpAnswer) -> None:
        if answer.version == _NAT_PMP_VERSION:
            self._settle(_PCP, False, "the gateway speaks NAT-PMP only")
        elif answer.result == _ADDRESS_MISMATCH:
            self._settle(_PCP, True, "a NAT lies between this host and the gateway (ADDRESS_MISMATCH)")
        else:
            self._settle(_PCP, True, f"it is there, but refuses (result {answer.result})" if answer.result else "")

    def _take_ssdp(self, answer: SsdpAnswer, source: Address) -> None:
        if not answer.is_gateway:
            self.dropped += 1
        elif source.host != self._gateway:
            self._elsewhere = source.host
        else:
            self._report = replace(self._report, description_url=answer.location)
            self._settle(_UPNP, True, "")

    def _give_up(self, number: int, why: str) -> None:
        if number == _UPNP and self._elsewhere is not None:
            why = f"the Internet gateway device at {self._elsewhere} is not the default gateway"
        self._settle(number, False, why)

    def _settle(self, number: int, value: bool | None, why: str) -> None:
        name = _FIELDS[number]
        question = self._open.pop(number)
        if question.local is not None:
            self._events.append(SocketReleased(question.local))
        reason = self._report.reason | ({name: why} if why else {})
        if name == "nat_pmp":
            self._report = replace(self._report, nat_pmp=value, reason=reason)
        elif name == "pcp":
            self._report = replace(self._report, pcp=value, reason=reason)
        else:
            self._report = replace(self._report, upnp=value, reason=reason)
        if not self._open:
            self._events.append(PortmapObserved(self._report))
