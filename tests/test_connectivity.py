"""The play by itself; that it is true is proven against programs in tests/sim/test_prediction.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.connectivity import Neighbours, Party, WorkingPair, play
from icekit.nat import Hairpinning, NatConfig
from icekit.report import Behavior, Pooling

EI, AD, APD = Behavior

HOME = NatConfig(filtering=APD)
RESTRICTED = NatConfig(filtering=AD)
SYMMETRIC = NatConfig(mapping=APD, filtering=APD)
BLOCKED = NatConfig(udp=False, translates=False)
FIREWALL = NatConfig(filtering=APD, translates=False)


def kinds(a: Party, b: Party, neighbours: Neighbours = Neighbours.APART) -> list[str]:
    return [f"{pair.local}-{pair.remote}" for pair in play(a, b, neighbours)]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (Party(), Party(), ["host-host"]),
        (Party(HOME), Party(HOME), ["srflx-srflx"]),
        (Party(FIREWALL), Party(HOME), ["host-srflx"]),
        (Party(SYMMETRIC), Party(RESTRICTED), ["prflx-srflx"]),
        (Party(SYMMETRIC), Party(HOME), []),
        (Party(SYMMETRIC), Party(SYMMETRIC), []),
        (Party(BLOCKED), Party(), []),
        # Without STUN nobody is told where to send, but the open side answers where it hears from.
        (Party(HOME, reflexive=False), Party(), ["prflx-host"]),
        (Party(HOME, reflexive=False), Party(HOME), []),
        (Party(host=False), Party(), []),
    ],
)
def test_direct(a: Party, b: Party, expected: list[str]) -> None:
    assert kinds(a, b) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (Party(SYMMETRIC, relay=True), Party(HOME), ["relay-srflx"]),
        (Party(SYMMETRIC), Party(HOME, relay=True), ["prflx-relay"]),
        (Party(BLOCKED, relay=True), Party(BLOCKED), []),
        (Party(BLOCKED, relay=True), Party(BLOCKED, relay=True), ["relay-relay"]),
        (Party(host=False, relay=True), Party(HOME), ["relay-srflx"]),
        # Every destination sees another address, so the permission that the relay has is for a wrong one …
        (Party(NatConfig(mapping=APD, pooling=Pooling.ARBITRARY)), Party(BLOCKED, relay=True), []),
        # … and with a relay of its own that side still has a path.
        (
            Party(NatConfig(mapping=APD, pooling=Pooling.ARBITRARY), relay=True),
            Party(BLOCKED, relay=True),
            ["relay-relay"],
        ),
    ],
)
def test_relayed(a: Party, b: Party, expected: list[str]) -> None:
    assert kinds(a, b) == expected


def test_fewer_relays_come_first() -> None:
    pairs = play(Party(HOME, relay=True), Party(HOME, relay=True))
    assert [pair.relays for pair in pairs] == [0, 1, 1, 2]
    assert pairs[0] == WorkingPair(pairs[0].local, pairs[0].remote)
    assert str(pairs[0].local) == str(pairs[0].remote) == "srflx"


@pytest.mark.parametrize(
    ("hairpinning", "neighbours", "expected"),
    [
        (Hairpinning.NONE, Neighbours.SAME_NETWORK, ["host-host"]),
        (Hairpinning.EXTERNAL_SOURCE, Neighbours.SAME_NETWORK, ["host-host"]),
        (Hairpinning.NONE, Neighbours.SAME_NAT, []),
        (Hairpinning.EXTERNAL_SOURCE, Neighbours.SAME_NAT, ["srflx-srflx"]),
    ],
)
def test_neighbours(hairpinning: Hairpinning, neighbours: Neighbours, expected: list[str]) -> None:
    party = Party(NatConfig(filtering=APD, hairpinning=hairpinning))
    assert kinds(party, party, neighbours) == expected


def test_a_blocked_gateway_does_not_stop_a_call_inside() -> None:
    assert kinds(Party(BLOCKED), Party(BLOCKED), Neighbours.SAME_NETWORK) == ["host-host"]


CONFIGS = st.builds(
    NatConfig,
    mapping=st.sampled_from(Behavior),
    filtering=st.sampled_from(Behavior),
    pooling=st.sampled_from(Pooling),
    hairpinning=st.sampled_from(Hairpinning),
    translates=st.booleans(),
    udp=st.booleans(),
)
PARTIES = st.builds(Party, nat=st.none() | CONFIGS, host=st.booleans(), reflexive=st.booleans(), relay=st.booleans())


@given(PARTIES, PARTIES, st.sampled_from(Neighbours))
def test_it_does_not_matter_who_is_first(a: Party, b: Party, neighbours: Neighbours) -> None:
    if neighbours is Neighbours.SAME_NETWORK:
        b = Party(a.nat, b.host, b.reflexive, b.relay)
    turned = {WorkingPair(pair.remote, pair.local) for pair in play(b, a, neighbours)}
    # Which of two kinds a candidate has that was both told and heard may depend on who was heard first.
    assert {pair.relays for pair in play(a, b, neighbours)} == {pair.relays for pair in turned}


@given(PARTIES, PARTIES)
def test_a_relay_never_takes_a_direct_path_away(a: Party, b: Party) -> None:
    def direct(one: Party, other: Party) -> bool:
        return any(not pair.relays for pair in play(one, other))

    with_relay = Party(a.nat, a.host, a.reflexive, relay=True)
    without = Party(a.nat, a.host, a.reflexive, relay=False)
    assert direct(with_relay, b) is direct(without, b)
