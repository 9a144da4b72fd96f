"""Predictions from reports; against real outcomes: tests/sim/test_prediction.py."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.nat_presets import PRESETS
from icekit.net import Transport
from icekit.predict import ChangeKind, Prediction, matrix, predict
from icekit.report import Behavior, NatReport, NatReports, PathKind, Pooling, to_dict
from icekit.sides import Relay, Side

EI, AD, APD = Behavior
PAIRED = Pooling.PAIRED
OPEN = NatReport(udp=True, behind_nat=False, filtering=EI)
HOME = NatReport(udp=True, behind_nat=True, mapping=EI, filtering=APD, hairpinning=False, address_pooling=PAIRED)
RESTRICTED = replace(HOME, filtering=AD)
SYMMETRIC = replace(HOME, mapping=APD)
BLOCKED = NatReport(udp=False)
FIREWALL6 = NatReport(udp=True, behind_nat=False, filtering=APD)

SERVER = "203.0.113.10"
S, T, P = 0.1, 0.04, 0.04


def side(nat: NatReport | None, six: NatReport | None = None, **others: Any) -> Side:
    others.setdefault("rtts", {SERVER: T})
    return Side(nat=NatReports(nat, six), **others)


def relayed(nat: NatReport | None, transport: Transport = Transport.UDP, **others: Any) -> Side:
    return side(nat, relays=(Relay(transport, 4, SERVER),), **others)


# --- the path --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "path", "local", "remote", "relays", "why"),
    [
        (
            side(OPEN), side(OPEN), "direct", "host", "host", (),
            "Both have public addresses and open their own firewalls by sending.",
        ),
        (
            side(HOME), side(HOME), "direct", "srflx", "srflx", (),
            "Both NATs keep one port for every peer, so each side opens its own for the other.",
        ),
        (
            side(OPEN), side(HOME), "direct", "host", "srflx", (),
            "A has a public address, and the NAT of B keeps one port for every peer.",
        ),
        (
            side(RESTRICTED), side(SYMMETRIC), "direct", "srflx", "prflx", (),
            "The NAT of B uses another port for each peer, but A lets any of them in.",
        ),
        (
            side(HOME), side(SYMMETRIC), "none", None, None, (),
            "The NAT of B uses another port for each peer, which A does not let in, and no relay works.",
        ),
        (
            relayed(HOME), side(SYMMETRIC), "relay", "relay", "prflx", ("a",),
            "The NAT of B uses another port for each peer, which A does not let in; the relay of A carries the call.",
        ),
        (
            side(SYMMETRIC), side(SYMMETRIC), "none", None, None, (),
            "Both NATs use another port for each peer, and no relay works.",
        ),
        (
            relayed(BLOCKED), relayed(BLOCKED), "relay", "relay", "relay", ("a", "b"),
            "UDP is blocked at A and B; both relays carry the call.",
        ),
        (
            relayed(HOME), side(BLOCKED), "none", None, None, (),
            "UDP is blocked at B, and B cannot reach the relay of A.",
        ),
        (
            side(HOME), side(None, FIREWALL6), "none", None, None, (),
            "A and B have no family of addresses in common, and no relay works.",
        ),
        (
            side(SYMMETRIC, FIREWALL6), side(SYMMETRIC, FIREWALL6), "direct", "host", "host", (),
            "Both have public addresses and open their own firewalls by sending over IPv6.",
        ),
        (
            side(HOME, reflexive=False), side(HOME, reflexive=False), "none", None, None, (),
            "Neither side learns an address at which the other can reach it, and no relay works.",
        ),
        (
            replace(relayed(None), relays=(Relay(Transport.UDP, 6),)), relayed(BLOCKED), "none", None, None, (),
            "UDP is blocked at B, and the relays of the two sides cannot reach each other.",
        ),
    ],
)  # fmt: skip
def test_path_and_reason(
    a: Side, b: Side, path: str, local: str | None, remote: str | None, relays: tuple[str, ...], why: str
) -> None:
    found = predict(a, b)
    assert (found.path, found.local, found.remote, found.relays, found.why) == (path, local, remote, relays, why)
    assert found.possible == (found.path,)
    turned = predict(b, a)
    assert (turned.path, turned.local, turned.remote) == (path, remote, local)


def test_neighbours_are_direct_or_need_hairpinning() -> None:
    def home(host: str, nat: NatReport = HOME) -> Side:
        return side(nat, local_hosts=frozenset({host}), public_hosts=frozenset({"198.51.100.7"}))

    near = predict(home("192.168.1.2"), home("192.168.1.3"), signaling_rtt=S)
    assert (near.path, near.local, near.remote) == (PathKind.DIRECT, "host", "host")
    assert near.why == "Both are in the same network and reach each other there."
    assert near.reason["setup"] == "no round trip inside the network that both share was measured"
    far = predict(home("192.168.1.2"), home("192.168.9.3"))
    assert far.path is PathKind.NONE
    assert far.why == (
        "Both are behind one NAT, which does not send packets back inside (hairpinning), and no relay works."
    )
    hairpin = replace(HOME, hairpinning=True)
    assert predict(home("192.168.1.2", hairpin), home("192.168.9.3", hairpin)).path is PathKind.DIRECT


def test_of_two_relays_the_one_that_is_there_first_carries_the_call() -> None:
    quick, slow = relayed(SYMMETRIC), relayed(SYMMETRIC, Transport.TLS)
    assert predict(quick, slow).relays == ("a",)
    assert predict(slow, quick).relays == ("b",)
    # Where neither time is known the answer is one of them all the same.
    assert len(predict(replace(quick, rtts={}), replace(slow, rtts={})).relays) == 1


def test_one_relay_of_the_right_side_is_enough() -> None:
    assert predict(relayed(BLOCKED, Transport.TCP), relayed(HOME)).relays == ("a",)
    assert predict(relayed(HOME), relayed(BLOCKED, Transport.TLS)).relays == ("b",)


# --- maybe -----------------------------------------------------------------------------------------------------------


def test_maybe_names_what_was_not_measured() -> None:
    unknown = replace(HOME, mapping=None)
    found = predict(side(unknown), side(HOME))
    assert (found.path, found.possible) == (PathKind.MAYBE, (PathKind.DIRECT, PathKind.NONE))
    assert found.why == ("It depends on what was not measured, the mapping of the NAT of A: a direct path or no path.")
    assert found.reason["local"] == "the path is not certain"
    assert found.best_change is not None
    assert found.best_change.kind is ChangeKind.TURN
    assert predict(relayed(unknown), relayed(HOME)).possible == (PathKind.DIRECT, PathKind.RELAY)


def test_what_was_not_measured_may_not_matter() -> None:
    found = predict(side(NatReport(udp=True)), side(OPEN))
    assert found.path is PathKind.DIRECT
    assert found.why == (
        "Whatever was not measured (whether A is behind a NAT and the mapping of the NAT of A) is like, "
        "there is a direct path."
    )
    assert found.reason["local"] == "it depends on whether A is behind a NAT and the mapping of the NAT of A"
    assert found.family == 4


def test_an_unknown_second_family_does_not_make_a_certain_path_uncertain() -> None:
    found = predict(side(HOME, NatReport()), side(HOME, NatReport()))
    assert found.path is PathKind.DIRECT
    assert found.family is None


# --- the setup time: the table of the limit; server and path have equal round-trip times ---------------------------


@pytest.mark.parametrize("s", [0.02, 0.06, 0.4])
@pytest.mark.parametrize(
    ("a", "b", "row"),
    [
        (side(OPEN), side(OPEN), lambda s: (s + P, s / 2 + P)),
        (side(HOME), side(HOME), lambda s: (s + T + P, s / 2 + T + P if s <= P else s + T + 1.5 * P)),
        (side(SYMMETRIC), side(RESTRICTED), lambda s: (s + T + P, s + T + 1.5 * P)),
        (
            side(HOME), relayed(SYMMETRIC),
            lambda s: (s + 2 * T + 2 * T, s / 2 + 2 * T + 2 * T if s <= 2 * T else s + 2 * T + 3 * T),
        ),
        (
            relayed(SYMMETRIC), side(HOME),
            lambda s: (
                max(2 * T, s + T) + 2 * T,
                s / 2 + 2 * T + 2 * T if s <= 2 * T else max(2 * T, s + T) + 3 * T,
            ),
        ),
        (relayed(BLOCKED), relayed(BLOCKED), lambda s: (s + 2 * T + 2 * T, s + 2 * T + 3 * T)),
        # TURN over TCP takes one round trip more, over TLS two.
        (relayed(BLOCKED, Transport.TCP), relayed(BLOCKED), lambda s: (s + 3 * T + 2 * T, s + 3 * T + 3 * T)),
        (
            side(OPEN), relayed(BLOCKED, Transport.TLS),
            lambda s: (s + 4 * T + 2 * T, s / 2 + 6 * T if s <= 2 * T else s + 7 * T),
        ),
    ],
)  # fmt: skip
def test_the_limit(a: Side, b: Side, row: Any, s: float) -> None:
    setup = predict(a, b, signaling_rtt=s).setup
    assert setup is not None
    assert (setup.a, setup.b) == pytest.approx(row(s))


def test_round_trips_are_estimated_from_servers_that_both_know() -> None:
    a = side(HOME, rtts={SERVER: 0.01, "192.0.2.1": 0.2, "192.0.2.2": 0.001})
    b = side(HOME, rtts={SERVER: 0.05, "192.0.2.1": 0.2})
    assert predict(a, b).peer_rtt == 0.05
    relay = replace(a, nat=NatReports(SYMMETRIC), relays=(Relay(Transport.UDP, 4, SERVER),))
    assert predict(relay, b).peer_rtt == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("a", "b", "field", "reason"),
    [
        (side(HOME), side(HOME), "setup", "the round-trip time of the signaling is not known (--signaling-rtt)"),
        (side(HOME, rtts={}), side(HOME), "peer_rtt", "the two sides measured no server in common"),
        (relayed(SYMMETRIC, rtts={}), side(HOME), "peer_rtt", "A has not measured the round trip to its relay"),
        (
            relayed(SYMMETRIC), side(HOME, rtts={}), "peer_rtt",
            "B has not measured the round trip to the other side's relay",
        ),
        (
            relayed(BLOCKED),
            side(BLOCKED, relays=(Relay(Transport.TCP, 4, "192.0.2.1"),), rtts={"192.0.2.1": T}),
            "peer_rtt",
            "the round trip between the two relays was not measured",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_for_the_times(a: Side, b: Side, field: str, reason: str) -> None:
    found = predict(a, b)
    assert found.setup is None
    assert found.reason[field] == reason


# --- what would help -------------------------------------------------------------------------------------------------


TLS_443 = "Give B a TURN server over TLS on port 443: UDP is blocked there."
OPEN_A_PORT = "Let the gateway of {} open a port (UPnP, NAT-PMP or PCP), or forward one by hand."


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (side(HOME), side(HOME), None),
        (side(SYMMETRIC), side(HOME), ("turn", "a", "relay", "Give A a TURN server.")),
        (
            side(HOME), side(BLOCKED),
            ("turn-tls-443", "b", "relay", TLS_443),
        ),
        # A relay of A helps only if B reaches it.
        (side(HOME), side(BLOCKED, tcp=False), None),
        (relayed(BLOCKED), side(BLOCKED), ("turn-tls-443", "b", "relay", TLS_443)),
        (
            relayed(SYMMETRIC), side(HOME),
            ("port-mapping", "a", "direct", OPEN_A_PORT.format("A")),
        ),
        (
            relayed(replace(SYMMETRIC, cgnat=True)), side(HOME),
            ("port-mapping", "b", "direct", OPEN_A_PORT.format("B")),
        ),
        (
            relayed(SYMMETRIC, port_mapping=False), side(HOME, FIREWALL6, port_mapping=False),
            ("ipv6", "a", "direct", "Give A IPv6, which B has."),
        ),
        (relayed(SYMMETRIC, port_mapping=False), side(replace(HOME, nats=2)), None),
    ],
)  # fmt: skip
def test_the_best_change(a: Side, b: Side, expected: tuple[str, ...] | None) -> None:
    change = predict(a, b).best_change
    assert (change and (change.kind, change.side, change.path, change.text)) == expected


# --- as data ---------------------------------------------------------------------------------------------------------


def test_the_document_of_json() -> None:
    document = to_dict(predict(relayed(SYMMETRIC), side(HOME), signaling_rtt=0.0))
    assert list(document) == [
        "schema", "path", "possible", "local", "remote", "relays", "family", "peer_rtt", "setup", "best_change", "why",
        "reason",
    ]  # fmt: skip
    assert document["schema"] == "icekit/predict/1"
    assert (document["path"], document["local"], document["relays"]) == ("relay", "relay", ["a"])
    assert document["setup"] == {"a": pytest.approx(0.16), "b": pytest.approx(0.16)}
    assert document["best_change"]["kind"] == "port-mapping"


def test_the_matrix() -> None:
    table = matrix()
    cells = {(cell.a, cell.b): cell for cell in table.cells}
    assert list(cells) == list(product(PRESETS, PRESETS))
    for (a, b), cell in cells.items():
        assert cells[b, a].without_turn is cell.without_turn
        assert cells[b, a].with_turn is cell.with_turn
        assert (cell.without_turn is PathKind.DIRECT) == (cell.with_turn is PathKind.DIRECT)
        assert (cell.with_turn is PathKind.NONE) == ("blocked" in (a, b))
    assert cells["port-restricted", "symmetric"].with_turn is PathKind.RELAY
    assert to_dict(table)["schema"] == "icekit/predict-matrix/1"


OPTIONAL = st.none() | st.booleans()
REPORTS = st.builds(
    NatReport,
    mapping=st.none() | st.sampled_from(Behavior),
    filtering=st.none() | st.sampled_from(Behavior),
    hairpinning=OPTIONAL,
    address_pooling=st.none() | st.sampled_from(Pooling),
    behind_nat=OPTIONAL,
    udp=OPTIONAL,
    cgnat=OPTIONAL,
)
HOSTS = st.frozensets(
    st.sampled_from(["192.168.1.2", "192.168.1.3", "10.0.0.1", "198.51.100.7", "2606::1", "fd00::1%e"])
)
SIDES = st.builds(
    Side,
    nat=st.builds(NatReports, st.none() | REPORTS, st.none() | REPORTS),
    relays=st.lists(
        st.builds(Relay, st.none() | st.sampled_from(Transport), st.sampled_from([4, 6]), st.sampled_from([None, "x"])),
        max_size=2,
    ).map(tuple),
    rtts=st.dictionaries(st.sampled_from(["x", "y"]), st.floats(0, 10)),
    local_hosts=HOSTS,
    public_hosts=HOSTS,
    tcp=OPTIONAL,
    reflexive=st.booleans(),
    port_mapping=OPTIONAL,
)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.none() | st.floats(0, 10))
def test_it_never_raises_and_the_order_of_the_sides_does_not_matter(a: Side, b: Side, signaling: float | None) -> None:
    one, other = predict(a, b, signaling_rtt=signaling), predict(b, a, signaling_rtt=signaling)
    assert (one.path, one.possible, one.family) == (other.path, other.possible, other.family)
    check(one)
    check(other)


def check(prediction: Prediction) -> None:
    for field in ("local", "remote", "family", "peer_rtt", "setup"):
        assert (getattr(prediction, field) is None) == (field in prediction.reason), field
    assert (prediction.path is PathKind.MAYBE) == (len(prediction.possible) > 1)
    assert prediction.why.endswith(".")
    if prediction.path in (PathKind.DIRECT, PathKind.NONE):
        assert prediction.relays == ()


KNOWN = st.builds(
    NatReport,
    mapping=st.sampled_from(Behavior),
    filtering=st.sampled_from(Behavior),
    hairpinning=st.booleans(),
    address_pooling=st.sampled_from(Pooling),
    behind_nat=st.booleans(),
    udp=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(KNOWN, KNOWN, st.booleans(), st.booleans())
def test_maybe_only_where_something_was_not_measured(a: NatReport, b: NatReport, one: bool, other: bool) -> None:
    found = predict(*(relayed(nat) if relay else side(nat) for nat, relay in ((a, one), (b, other))))
    assert found.path is not PathKind.MAYBE
