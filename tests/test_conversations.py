"""What a capture tells: runs of the simulator, whose truth is known, and each place where a call can stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit import stun
from icekit.conversations import Conversation, outcome, read_conversations
from icekit.net import Address, Datagram, Transport
from icekit.pcap import Packet, read_capture
from icekit.report import Severity
from icekit.stun import Method

ONE, OTHER, SERVER = Address("10.0.0.1", 5000), Address("198.51.100.2", 6000), Address("203.0.113.10", 3478)
KEY = stun.short_term_key("x" * 22)
CLIENT_HELLO = bytes([22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
SERVER_HELLO = CLIENT_HELLO[:13] + b"\x02"
ALERT = bytes([21]) + CLIENT_HELLO[1:13] + b"\x02"
ENCRYPTED = bytes([23, 254, 253, 0, 1]) + bytes(20)
RTP = bytes([128]) + bytes(20)


def check(number: int, *, nominate: bool = False) -> bytes:
    items = [attr.USERNAME("a:b"), attr.PRIORITY(1), *([attr.USE_CANDIDATE(True)] if nominate else [])]
    return stun.request(Method.BINDING, bytes([number]) * 12, *items).encode(KEY, fingerprint=True)


def success(number: int) -> bytes:
    return stun.Message(
        Method.BINDING, stun.Class.SUCCESS, bytes([number]) * 12, [attr.XOR_MAPPED_ADDRESS(ONE)]
    ).encode(KEY)


def error(number: int, code: int, method: Method = Method.BINDING) -> bytes:
    item = attr.ERROR_CODE(attr.ErrorCode(code, ""))
    return stun.Message(method, stun.Class.ERROR, bytes([number]) * 12, [item]).encode()


def there(*messages: bytes) -> list[tuple[Address, Address, bytes]]:
    return [(ONE, OTHER, message) for message in messages]


def back(*messages: bytes) -> list[tuple[Address, Address, bytes]]:
    return [(OTHER, ONE, message) for message in messages]


def conversation(messages: list[tuple[Address, Address, bytes]]) -> Conversation:
    packets = [Packet(index * 0.1, Datagram(*message)) for index, message in enumerate(messages)]
    [found] = read_conversations(packets)
    return found


GOOD = there(check(1, nominate=True)) + back(success(1))

STOPS = [
    (there(check(1), check(2), check(3)), Severity.WARNING, "3 checks, nothing came back"),
    (there(check(1)) + back(check(2)), Severity.WARNING, "1 checks one way and 1 the other, none was answered"),
    (there(check(1)) + back(error(1, 401)), Severity.ERROR, "1 checks, answered with 401: the ice-pwd does not fit"),
    (there(check(1)) + back(error(1, 487)), Severity.ERROR, "1 checks, answered with 487: both sides insist"),
    (there(check(1), check(2)) + back(success(1)), Severity.INFO, "1 of 2 checks answered, never nominated"),
    (GOOD, Severity.WARNING, "1 of 1 checks answered, nominated, but nothing was sent on it"),
    (GOOD + there(CLIENT_HELLO, CLIENT_HELLO), Severity.ERROR, "DTLS stopped: 2 ClientHello without an answer"),
    (GOOD + there(CLIENT_HELLO) + back(CLIENT_HELLO), Severity.ERROR, "both sides began DTLS as client"),
    (GOOD + there(CLIENT_HELLO) + back(SERVER_HELLO), Severity.ERROR, "DTLS stopped behind ServerHello"),
    (GOOD + there(CLIENT_HELLO) + back(ALERT), Severity.ERROR, "DTLS was refused with an alert"),
    (GOOD + there(ENCRYPTED) + back(ENCRYPTED, RTP), Severity.OK, "works: encrypted both ways, 1 media packets"),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "severity", "text"), STOPS, ids=[text[:30] for *_, text in STOPS])
def test_where_it_stopped(messages: list[tuple[Address, Address, bytes]], severity: Severity, text: str) -> None:
    found = outcome(conversation(messages))
    assert found.text.startswith(text)
    assert found.severity is severity


def test_turn_and_what_goes_through_it() -> None:
    allocate = stun.request(Method.ALLOCATE, b"a" * 12, attr.REQUESTED_TRANSPORT(17)).encode()
    peer_address = attr.XOR_PEER_ADDRESS(OTHER)
    peer_address = attr.XOR_PEER_ADDRESS(OTHER)
    bind = stun.request(Method.CHANNEL_BIND, b"c" * 12, attr.CHANNEL_NUMBER(0x4000), peer_address).encode()
    items = [peer_address, attr.DATA(check(1, nominate=True))]
    send = stun.Message(Method.SEND, stun.Class.INDICATION, b"s" * 12, items).encode()
    messages = [
        (ONE, SERVER, allocate),
        (SERVER, ONE, error(ord("a"), 401, Method.ALLOCATE)),
        (ONE, SERVER, allocate),
        (SERVER, ONE, stun.Message(Method.ALLOCATE, stun.Class.SUCCESS, b"a" * 12, []).encode()),
        (ONE, SERVER, bind),
        (SERVER, ONE, stun.Message(Method.CHANNEL_BIND, stun.Class.SUCCESS, b"c" * 12, []).encode()),
        (ONE, SERVER, send),
        (SERVER, ONE, stun.ChannelData(0x4000, success(1)).encode(padded=False)),
        (ONE, SERVER, stun.ChannelData(0x4000, ENCRYPTED).encode(padded=False)),
        (SERVER, ONE, stun.ChannelData(0x4000, ENCRYPTED).encode(padded=False)),
    ]
    packets = [Packet(index * 0.1, Datagram(*message)) for index, message in enumerate(messages)]
    server, peer = read_conversations(packets)
    assert server.requests == {("Allocate", "sent"): 2, ("Allocate", "401"): 1, ("Allocate", "granted"): 1,
                               ("ChannelBind", "sent"): 1, ("ChannelBind", "granted"): 1}  # fmt: skip
    assert outcome(server).text == "the TURN server works"
    assert (peer.one, peer.other, peer.relay) == (ONE, OTHER, SERVER)
    assert outcome(peer).text == "works: encrypted both ways"


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([], "the TURN server does not answer"),
        ([401, 401], "the TURN server refuses Allocate with 401"),
        ([438, 486], "the TURN server refuses Allocate with 486"),
    ],
)
def test_turn_that_fails(answers: list[int], text: str) -> None:
    request = stun.request(Method.ALLOCATE, b"a" * 12, attr.REQUESTED_TRANSPORT(17)).encode()
    messages = [(ONE, SERVER, request)]
    messages += [(SERVER, ONE, error(ord("a"), code, Method.ALLOCATE)) for code in answers]
    assert outcome(conversation(messages)).text == text


def test_turn_over_tcp_in_pieces() -> None:
    request = stun.request(Method.ALLOCATE, b"a" * 12, attr.REQUESTED_TRANSPORT(17)).encode()
    packets = [
        Packet(0.0, Datagram(ONE, SERVER, b"", Transport.TCP), syn=True),
        Packet(0.1, Datagram(ONE, SERVER, request[:11], Transport.TCP)),
        Packet(0.2, Datagram(ONE, SERVER, request[11:], Transport.TCP)),
    ]
    [found] = read_conversations(packets)
    assert found.requests == {("Allocate", "sent"): 1}
    # A TLS stream says nothing.
    assert read_conversations([Packet(0.0, Datagram(ONE, SERVER, b"\x16\x03\x01" * 9, Transport.TCP))]) == ()


def test_other_traffic_is_not_of_interest() -> None:
    assert read_conversations([Packet(0.0, Datagram(ONE, OTHER, b"\x00\x01dns"))]) == ()


def test_a_call_of_the_simulator_as_its_capture_tells_it(tmp_path: Path) -> None:
    import aioice

    from icekit.sim import Internet

    path = tmp_path / "call.pcapng"
    net = Internet(capture=path)
    hosts = [net.host("a"), net.host("b")]

    async def main() -> None:
        pair = aioice.Connection(ice_controlling=True), aioice.Connection(ice_controlling=False)
        for index in (0, 1):
            await hosts[index].run(pair[index].gather_candidates())
        for one, other in (pair, pair[::-1]):
            for candidate in other.local_candidates:
                await one.add_remote_candidate(candidate)
            await one.add_remote_candidate(None)
            one.remote_username, one.remote_password = other.local_username, other.local_password
        await asyncio.gather(*(hosts[index].run(pair[index].connect()) for index in (0, 1)))
        await asyncio.gather(*(hosts[index].run(pair[index].close()) for index in (0, 1)))

    net.run(main())
    found = read_conversations(read_capture(path.read_bytes()).packets)
    assert len(found) == 1
    assert {found[0].one.host, found[0].other.host} == {hosts[0].addresses[0], hosts[1].addresses[0]}
    assert found[0].nominated
    assert "checks answered" in outcome(found[0]).text


ends = st.sampled_from([ONE, OTHER, SERVER])
payloads = st.binary(max_size=60) | st.sampled_from([check(1), success(1), CLIENT_HELLO, ENCRYPTED, RTP])


ends = st.sampled_from([ONE, OTHER, SERVER])
payloads = st.binary(max_size=60) | st.sampled_from([check(1), success(1), CLIENT_HELLO, ENCRYPTED, RTP])


@given(st.lists(st.tuples(ends, ends, payloads), max_size=20))
def test_any_packets_have_an_outcome(messages: list[tuple[Address, Address, bytes]]) -> None:
    for udp in (True, False):
        transport = Transport.UDP if udp else Transport.TCP
        for found in read_conversations([Packet(0.0, Datagram(*message, transport)) for message in messages]):
            assert outcome(found).text
