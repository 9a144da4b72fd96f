"""Binding and RFC 5780, rule by rule."""

from __future__ import annotations

import pytest

from icekit.admission import Request
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
from icekit.net import Address, Datagram, Transport
from icekit.stun import Class, Method, decode, request
from icekit.stun_server import StunServer

A1, A2, P1, P2 = "198.51.100.1", "198.51.100.2", 3478, 3479
CLIENT = Address("203.0.113.5", 40000)
PRIMARY = Address(A1, P1)
BOTH = Change.IP | Change.PORT


def server(*local: Address, transport: Transport = Transport.UDP, software: str = "icekit") -> StunServer:
    answering = StunServer(software=software, path_mtu=1500)
    for address in local or tuple(Address(host, port) for host in (A1, A2) for port in (P1, P2)):
        answering.add_local_address(address, transport)
    return answering


def ask(
    answering: StunServer,
    *items: Item,
    destination: Address = PRIMARY,
    source: Address = CLIENT,
    transport: Transport = Transport.UDP,
    fingerprint: bool = False,
) -> Datagram:
    data = request(Method.BINDING, bytes(12), *items).encode(fingerprint=fingerprint)
    answer = answering.answer(Request(decode(data), source, destination, transport, len(data), fingerprint))
    assert answer is not None
    return answer


@pytest.mark.parametrize("change", [Change(0), Change.IP, Change.PORT, BOTH])
@pytest.mark.parametrize(("host", "other_host"), [(A1, A2), (A2, A1)])
@pytest.mark.parametrize(("port", "other_port"), [(P1, P2), (P2, P1)])
def test_the_source_of_the_answer(host: str, other_host: str, port: int, other_port: int, change: Change) -> None:
    # RFC 5780 §6.1, Table 1
    origin = Address(other_host if change & Change.IP else host, other_port if change & Change.PORT else port)
    answer = ask(server(), CHANGE_REQUEST(change), destination=Address(host, port))
    assert (answer.source, answer.destination) == (origin, CLIENT)
    message = decode(answer.data)
    assert message.message_class is Class.SUCCESS
    assert message.get(RESPONSE_ORIGIN) == origin
    assert message.get(OTHER_ADDRESS) == Address(other_host, other_port)
    assert message.get(MAPPED_ADDRESS) == message.get(XOR_MAPPED_ADDRESS) == CLIENT
    assert message.get(SOFTWARE) == "icekit"


def test_a_plain_request_is_answered_with_all_of_it_too() -> None:
    message = decode(ask(server()).data)
    assert message.get(OTHER_ADDRESS) == Address(A2, P2)
    assert message.get(RESPONSE_ORIGIN) == Address(A1, P1)


@pytest.mark.parametrize(
    "local",
    [
        (Address(A1, P1),),
        (Address(A1, P1), Address(A1, P2)),
        (Address(A1, P1), Address(A2, P1)),
        (Address(A1, P1), Address(A1, P2), Address(A2, P2)),
        (Address(A1, P1), Address("2001:db8::1", P1), Address("2001:db8::1", P2), Address(A1, P2)),
    ],
)
@pytest.mark.parametrize("change", [Change(0), BOTH])
def test_without_a_full_alternate_there_is_no_other_address_and_change_request_is_420(
    local: tuple[Address, ...], change: Change
) -> None:
    assert decode(ask(server(*local)).data).get(OTHER_ADDRESS) is None
    answer = decode(ask(server(*local), CHANGE_REQUEST(change)).data)
    assert answer.error().code == 420
    assert answer.get(UNKNOWN_ATTRIBUTES) == (CHANGE_REQUEST.type,)


def test_both_families_have_their_own_alternates() -> None:
    both = server(*(Address(h, p) for h in (A1, A2, "2001:db8::1", "2001:db8::2") for p in (P1, P2)))
    answer = ask(both, destination=Address("2001:db8::2", P1), source=Address("2001:db8::9", 5))
    assert decode(answer.data).get(OTHER_ADDRESS) == Address("2001:db8::1", P2)


def test_response_port() -> None:
    answer = ask(server(), RESPONSE_PORT(1234), CHANGE_REQUEST(Change.PORT))
    assert (answer.source, answer.destination) == (Address(A1, P2), Address(CLIENT.host, 1234))
    # The mapped address is still that of the sender.
    assert decode(answer.data).get(XOR_MAPPED_ADDRESS) == CLIENT


@pytest.mark.parametrize(
    "items",
    [
        (RESPONSE_PORT(1234), PADDING(bytes(100))),
        (RESPONSE_PORT(0),),
        ((RESPONSE_PORT.type, b"\0"),),
        ((CHANGE_REQUEST.type, b"\0"),),
    ],
)
def test_what_cannot_be_done_is_answered_400(items: tuple[Item, ...]) -> None:
    answer = ask(server(), *items)
    assert answer.destination == CLIENT
    assert decode(answer.data).error().code == 400


def test_padding_has_the_size_of_the_mtu_as_far_as_the_request_pays_for_it() -> None:
    assert [len(decode(ask(server(), PADDING(bytes(size))).data).get(PADDING) or b"") for size in (1500, 3000)] == [
        1500,
        1500,
    ]
    answer = ask(server(), PADDING(bytes(200)))
    assert len(answer.data) <= 2.5 * (20 + 4 + 200 + 28) - 28
    assert len(decode(answer.data).get(PADDING) or b"") > 200


def test_unknown_attributes() -> None:
    answer = decode(ask(server(), (0x7ABC, b""), (0x8ABC, b"")).data)
    assert answer.error().code == 420
    assert answer.get(UNKNOWN_ATTRIBUTES) == (0x7ABC,)


@pytest.mark.parametrize("item", [CHANGE_REQUEST(BOTH), RESPONSE_PORT(5), PADDING(bytes(40))])
def test_over_a_stream_only_the_address_is_told(item: Item) -> None:
    streamed = server(transport=Transport.TCP)
    plain = decode(ask(streamed, transport=Transport.TCP).data)
    assert plain.get(OTHER_ADDRESS) == Address(A2, P2)
    answer = decode(ask(streamed, item, transport=Transport.TCP).data)
    assert answer.error().code == 420
    assert answer.get(UNKNOWN_ATTRIBUTES) == (item[0],)


@pytest.mark.parametrize("fingerprint", [True, False])
def test_a_fingerprint_is_answered_with_one(fingerprint: bool) -> None:
    answer = ask(server(), fingerprint=fingerprint)
    assert (answer.data[-8:-4] == b"\x80\x28\x00\x04") is fingerprint


@pytest.mark.parametrize(("source", "software", "told"), [(CLIENT, "icekit", "icekit"), (CLIENT, "x" * 100, None)])
def test_software_gives_way_to_the_size(source: Address, software: str, told: str | None) -> None:
    answer = ask(server(software=software), source=source)
    assert decode(answer.data).get(SOFTWARE) == told
    assert len(answer.data) + 28 <= 2.5 * 48
