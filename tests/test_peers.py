"""The books that a TURN client keeps of its peers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.errors import ConfigError, DecodeError, InvalidState
from icekit.net import Address
from icekit.peers import PeerTable, PeerTag, canonical_peer
from icekit.stun import ChannelData, Method, decode
from icekit.turn_events import DataReceived, Step

HOST = "203.0.113.99"
PEER = Address(HOST, 7000)


def table(max_peers: int = 3) -> PeerTable:
    return PeerTable(240.0, 200.0, max_peers)


def test_a_permission_is_asked_for_once_and_renewed() -> None:
    peers = table()
    tag = peers.add_permission(HOST)
    assert tag == (Step.PERMISSION, HOST)
    assert peers.add_permission(HOST) is None
    assert peers.request(tag) == (Method.CREATE_PERMISSION, (attr.XOR_PEER_ADDRESS(Address(HOST, 0)),))
    assert peers.get_timer() is None
    assert peers.granted(tag, 10.0)
    assert peers.get_timer() == 250.0
    assert peers.take_due(249.9) == []
    assert peers.take_due(250.0) == [tag]
    assert peers.take_due(250.0) == []
    assert peers.get_timer() is None
    assert not peers.granted(tag, 251.0)
    assert peers.get_timer() == 491.0


def test_a_channel_is_used_when_it_is_granted() -> None:
    peers = table()
    tag = peers.add_channel(PEER)
    assert tag == (Step.CHANNEL, PEER)
    assert peers.add_channel(PEER) is None
    assert peers.request(tag) == (Method.CHANNEL_BIND, (attr.CHANNEL_NUMBER(0x4000), attr.XOR_PEER_ADDRESS(PEER)))
    assert peers.frame(PEER, b"x", padded=False) is None
    assert peers.granted(tag, 10.0)
    assert peers.frame(PEER, b"x", padded=False) == b"\x40\x00\x00\x01x"
    assert peers.frame(PEER, b"x", padded=True) == b"\x40\x00\x00\x01x\0\0\0"
    assert peers.get_timer() == 210.0
    peers.refused(tag)
    assert peers.frame(PEER, b"x", padded=False) is None
    assert peers.get_timer() is None


def test_a_refused_permission_can_be_asked_for_again() -> None:
    peers = table(max_peers=1)
    tag = peers.add_permission(HOST)
    assert tag is not None
    with pytest.raises(InvalidState):
        peers.add_permission("203.0.113.98")
    peers.refused(tag)
    assert peers.add_permission("203.0.113.98") is not None


def test_numbers_stay_with_their_peers() -> None:
    peers = table(max_peers=2)
    one, two, three = (Address(HOST, port) for port in (1, 2, 3))
    tags = [peers.add_channel(one), peers.add_channel(two)]
    assert [peers.number_of(one), peers.number_of(two)] == [0x4000, 0x4001]
    for tag in tags:
        assert tag is not None
        peers.refused(tag)
    with pytest.raises(InvalidState):
        peers.add_channel(three)
    assert peers.add_channel(two) is not None
    assert peers.number_of(two) == 0x4001


def test_what_is_wanted_of_what_arrives() -> None:
    peers = table()
    peers.add_channel(PEER)
    assert peers.channel_data(ChannelData(0x4000, b"x").encode(padded=True)) == DataReceived(PEER, b"x", 0x4000)
    assert peers.channel_data(ChannelData(0x4001, b"x").encode(padded=False)) is None
    with pytest.raises(DecodeError):
        peers.channel_data(b"\x40\x00\x00\x02x")


def test_a_send_indication() -> None:
    message = decode(table().indication(PEER, b"x", bytes(12), dont_fragment=False))
    assert message.method == Method.SEND
    assert (message.get(attr.XOR_PEER_ADDRESS), message.get(attr.DATA)) == (PEER, b"x")
    assert not message.has(attr.DONT_FRAGMENT)


def test_canonical_peer() -> None:
    assert canonical_peer(Address("2001:DB8:0:0::1", 1)) == Address("2001:db8::1", 1)
    assert canonical_peer(Address("::ffff:192.0.2.1", 1)) == Address("192.0.2.1", 1)
    with pytest.raises(ConfigError):
        canonical_peer(Address("peer.example.org", 1))


@given(st.lists(st.tuples(st.sampled_from(["ask", "bind", "grant", "refuse", "wait"]), st.integers(0, 3)), max_size=40))
def test_every_request_is_open_or_has_its_time(script: list[tuple[str, int]]) -> None:
    peers = table()
    opened: list[PeerTag] = []
    now = 0.0
    for what, number in script:
        tag: PeerTag | None = None
        with suppress(InvalidState):
            if what == "ask":
                tag = peers.add_permission(f"203.0.113.{number}")
            elif what == "bind":
                tag = peers.add_channel(Address(HOST, number + 1))
        if tag is not None:
            opened.append(tag)
        if what == "grant" and opened:
            peers.granted(opened.pop(number % len(opened)), now)
        elif what == "refuse" and opened:
            peers.refused(opened.pop(number % len(opened)))
        elif what == "wait":
            now += 100.0 * number
            due = peers.take_due(now)
            assert not set(due) & set(opened)
            opened += due
        timer = peers.get_timer()
        assert what != "wait" or timer is None or timer > now
        assert len(set(opened)) == len(opened) <= 6
