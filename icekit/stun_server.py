"""The Binding method of a STUN server (RFC 8489 §12), with behaviour discovery over two addresses (RFC 5780).

``StunServer`` keeps nothing about its clients: what goes in decides what comes out.
"""

from __future__ import annotations

from typing import NamedTuple

from icekit.admission import Request, answer_budget, encode_within
from icekit.attributes import (
    CHANGE_REQUEST,
    MAPPED_ADDRESS,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    SOFTWARE,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    Change,
    Item,
)
from icekit.errors import DecodeError
from icekit.net import Address, Datagram, Transport
from icekit.stun import failure, success

_DISCOVERY = frozenset({CHANGE_REQUEST.type, RESPONSE_PORT.type, PADDING.type})


class Alternate(NamedTuple):
    """The three other sources of an answer, seen from the address that a request came to (RFC 5780 §6.1)."""

    other_host: Address
    other_port: Address
    other_both: Address


class StunServer:
    """Answers Binding requests. ``path_mtu`` bounds PADDING (bytes, RFC 5780 §7.6)."""

    __slots__ = ("_alternates", "_local", "_path_mtu", "_software")

    def __init__(self, *, software: str, path_mtu: int) -> None:
        self._software = SOFTWARE(software) if software else None
        self._path_mtu = path_mtu
        self._local: dict[Transport, list[Address]] = {}
        self._alternates: dict[tuple[Transport, Address], Alternate] = {}

    def add_local_address(self, local: Address, transport: Transport) -> None:
        """The server listens on ``local``. Two hosts with the same two ports make behaviour discovery work."""
        known = self._local.setdefault(transport, [])
        if local not in known:
            known.append(local)
        self._alternates = {
            (kind, address): alternate
            for kind, addresses in self._local.items()
            for address in addresses
            if (alternate := _alternate(address, addresses)) is not None
        }

    def answer(self, request: Request) -> Datagram | None:
        """The answer; ``None`` when it would be more than 2.5 times the request."""
        message = request.message
        source, target = request.destination, request.source
        budget = answer_budget(request)
        alternate = self._alternates.get((request.transport, request.destination))
        items: list[Item] = []
        code = 0
        unknown = message.unknown_required()
        try:
            change = message.get(CHANGE_REQUEST)
            response_port = message.get(RESPONSE_PORT)
            padding = message.get(PADDING)
            if request.transport is not Transport.UDP:
                # A stream has one path only, so nothing of RFC 5780 can be asked over it.
                unknown += tuple([number for number, _ in message.attributes if number in _DISCOVERY])
            elif change is not None and alternate is None:
                # RFC 5780 §6.1: without an alternate address every CHANGE-REQUEST is answered 420.
                unknown += (CHANGE_REQUEST.type,)
        except DecodeError:
            code = 400
            change = response_port = padding = None
        if unknown:
            code = 420
            items = [UNKNOWN_ATTRIBUTES(unknown)]
        elif padding is not None and response_port is not None:
            # RFC 5780 §6.1: both together would aim a large answer at another port, so they are refused.
            code = 400
        elif response_port == 0:
            code = 400
        if code:
            response = failure(message, code, *items, *self._software_items())
        else:
            if change and alternate is not None:
                source = _changed(source, alternate, change)
            if response_port is not None:
                target = Address(target.host, response_port)
            # RFC 5780 §6.1: both forms of the mapped address; RESPONSE-ORIGIN always.
            items = [XOR_MAPPED_ADDRESS(request.source), MAPPED_ADDRESS(request.source), RESPONSE_ORIGIN(source)]
            if alternate is not None:
                # RFC 5780 §6.1: OTHER-ADDRESS is the address with both changed, whatever was asked.
                items.append(OTHER_ADDRESS(alternate.other_both))
            items.extend(self._software_items())
            response = success(message, *items)
            if padding is not None:
                # RFC 5780 §6.1: PADDING is answered with PADDING of the size of the MTU; the budget goes first.
                room = budget - len(response.encode(fingerprint=request.fingerprint)) - 4
                length = min(self._path_mtu, room) & ~3
                if length > 0:
                    response = success(message, *items, PADDING(bytes(length)))
        data = encode_within(response, budget, fingerprint=request.fingerprint)
        return None if data is None else Datagram(source, target, data, request.transport)

    def _software_items(self) -> tuple[Item, ...]:
        return () if self._software is None else (self._software,)


def _changed(local: Address, alternate: Alternate, change: Change) -> Address:
    if Change.IP in change:
        return alternate.other_both if Change.PORT in change else alternate.other_host
    return alternate.other_port if Change.PORT in change else local


def _alternate(local: Address, addresses: list[Address]) -> Alternate | None:
    """The addresses with other host, other port and both, where the server has all of them."""
    for other in addresses:
        if other.family == local.family and other.host != local.host and other.port != local.port:
            other_host, other_port = Address(other.host, local.port), Address(local.host, other.port)
            if other_host in addresses and other_port in addresses:
                return Alternate(other_host, other_port, other)
    return None
