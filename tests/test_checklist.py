"""Pairs: formed, pruned, ordered, bounded (RFC 8445 §6.1.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.checklist import (
    CandidatePair,
    Checklist,
    LocalCandidate,
    PairState,
    heard_candidate,
    openness_of,
    pair_priority,
    peer_reflexive_priority,
)
from icekit.net import Address, Datagram, Transport

HOST = Address("192.168.1.2", 5000)
PUBLIC = Address("198.51.100.1", 6000)
RELAYED = Address("203.0.113.20", 50000)
REMOTE = Address("198.51.100.2", 7000)


def candidate(
    address: Address = REMOTE,
    kind: CandidateType = CandidateType.HOST,
    priority: int = 2130706431,
    foundation: str = "1",
    component: int = 1,
    transport: str = "udp",
    tcptype: TcpType | None = None,
) -> Candidate:
    return Candidate(foundation, component, transport, priority, address.host, address.port, kind, tcptype=tcptype)


def local(
    base: Address = HOST, priority: int = 2130706431, server: str | None = None, **more: object
) -> LocalCandidate:
    kind = CandidateType.HOST if server is None else CandidateType.RELAYED
    return LocalCandidate(candidate(base, kind, priority, **more), base, server)  # type: ignore[arg-type]


def addresses(checklist: Checklist) -> list[tuple[Address, Address]]:
    return [(pair.local.base, pair.remote_address) for pair in checklist]


def test_pair_priority_is_that_of_the_rfc() -> None:
    # RFC 8445 §6.1.2.3: 2^32 × MIN(G,D) + 2 × MAX(G,D) + (G > D)
    assert pair_priority(7, 5) == 5 * 2**32 + 2 * 7 + 1
    assert pair_priority(5, 7) == 5 * 2**32 + 2 * 7
    assert pair_priority(7, 7) == 7 * 2**32 + 2 * 7


@pytest.mark.parametrize(
    ("base", "address", "openness"),
    [
        ("8.8.8.8", "9.9.9.9", 2),
        ("2600::1", "2a00::1", 2),
        # Laboratories use documentation addresses as public ones.
        ("198.51.100.1", "203.0.113.1", 2),
        # Our NAT lets the answer in.
        ("192.168.1.2", "9.9.9.9", 1),
        ("100.64.0.2", "9.9.9.9", 1),
        # From here there is no way to the Internet.
        ("169.254.1.2", "9.9.9.9", 0),
        ("fd00::1", "2a00::1", 0),
        # Nobody knows whose network this address belongs to.
        ("8.8.8.8", "192.168.1.2", 0),
        ("192.168.1.2", "192.168.1.3", 0),
        ("2600::1", "fd00::1", 0),
    ],
)
def test_how_open_a_path_is(base: str, address: str, openness: int) -> None:
    theirs = candidate(Address(address, 7000))
    mine = local(Address(base, 5000))
    assert openness_of(mine, theirs) == openness
    # A NAT of the peer's is opened by the peer; a relay has to permit the peer; TCP connects for itself.
    assert openness_of(mine, candidate(Address(address, 7000), CandidateType.SERVER_REFLEXIVE)) == 0
    assert openness_of(local(Address(base, 5000), server="203.0.113.10"), theirs) == 0
    over_tcp = local(Address(base, 5000), transport="tcp", tcptype=TcpType.ACTIVE)
    assert openness_of(over_tcp, theirs) == 0


def test_both_sides_order_pairs_alike() -> None:
    mine = [local(Address("192.0.2.1", 1), 100), local(Address("192.0.2.1", 2), 90)]
    theirs = [local(Address("192.0.2.2", 1), 95), local(Address("192.0.2.2", 2), 91)]
    one, other = Checklist(True), Checklist(False)
    for item in mine:
        one.add_local(item)
        other.add_remote(item.candidate)
    for item in theirs:
        one.add_remote(item.candidate)
        other.add_local(item)
    ours = {(pair.local.base, pair.remote_address): pair.priority for pair in one}
    assert ours == {(pair.remote_address, pair.local.base): pair.priority for pair in other}
    assert len(ours) == 4


def test_a_changed_role_changes_every_priority() -> None:
    checklist = Checklist(True)
    checklist.add_local(local(priority=9))
    checklist.add_remote(candidate(priority=5))
    checklist.set_role(False)
    assert [pair.priority for pair in checklist] == [pair_priority(5, 9)]


def test_a_reflexive_candidate_is_pruned_to_its_base() -> None:
    checklist = Checklist(True)
    checklist.add_local(local())
    checklist.add_local(LocalCandidate(candidate(PUBLIC, CandidateType.SERVER_REFLEXIVE, 100), HOST))
    checklist.add_remote(candidate())
    assert addresses(checklist) == [(HOST, REMOTE)]


@pytest.mark.parametrize(
    ("base", "server", "remote"),
    [
        (HOST, None, candidate(component=2)),
        (HOST, None, candidate(transport="tcp")),
        (HOST, None, candidate(Address("2001:db8::2", 7000))),
        (HOST, None, candidate(Address("name.local", 7000))),
        (HOST, None, candidate(Address("0.0.0.0", 7000))),
        (HOST, None, candidate(Address("224.0.0.1", 7000))),
        (HOST, None, candidate(Address("198.51.100.2", 0))),
        (Address("2001:db8::1", 1), None, candidate(Address("fe80::1", 7000))),
        (Address("fe80::1", 1), None, candidate(Address("2001:db8::1", 7000))),
        (RELAYED, "203.0.113.10", candidate(Address("192.168.1.9", 7000))),
        (RELAYED, "203.0.113.10", candidate(Address("10.0.0.9", 7000))),
        (RELAYED, "203.0.113.10", candidate(Address("169.254.1.1", 7000))),
        (RELAYED, "203.0.113.10", candidate(Address("127.0.0.1", 7000))),
        (Address("2001:db8::20", 50000), "2001:db8::10", candidate(Address("fd00::9", 7000))),
    ],
)
def test_pairs_that_cannot_work_are_not_formed(base: Address, server: str | None, remote: Candidate) -> None:
    checklist = Checklist(True)
    checklist.add_local(local(base, server=server))
    checklist.add_remote(remote)
    assert addresses(checklist) == []


@pytest.mark.parametrize(
    ("base", "server", "remote"),
    [
        (HOST, None, Address("192.168.7.7", 7000)),
        (HOST, None, Address("169.254.1.1", 7000)),
        (Address("fe80::1", 1), None, Address("fe80::2", 7000)),
        (RELAYED, "203.0.113.10", REMOTE),
        (Address("192.168.1.20", 50000), "192.168.1.10", Address("192.168.1.9", 7000)),
        (Address("127.0.0.1", 50000), "127.0.0.1", Address("127.0.0.1", 7000)),
    ],
)
def test_pairs_that_may_work_are_formed(base: Address, server: str | None, remote: Address) -> None:
    checklist = Checklist(True)
    checklist.add_local(local(base, server=server))
    checklist.add_remote(candidate(remote))
    assert addresses(checklist) == [(base, remote)]


def test_one_relay_ranks_above_two() -> None:
    direct = candidate(Address("192.0.2.9", 1), CandidateType.SERVER_REFLEXIVE, 1694498815)
    relay_there = candidate(Address("203.0.113.21", 50001), CandidateType.RELAYED, 16777215)
    checklist = Checklist(True)
    checklist.add_local(local())
    checklist.add_local(local(RELAYED, 16777215, "203.0.113.10"))
    for remote in (direct, relay_there):
        checklist.add_remote(remote)
    ranked = sorted(checklist, key=lambda pair: -pair.priority)
    relays = [pair.local.is_relayed + (pair.remote.type == CandidateType.RELAYED) for pair in ranked]
    assert relays == [0, 1, 1, 2]


def test_addresses_are_compared_in_one_spelling() -> None:
    checklist = Checklist(True)
    checklist.add_local(local(Address("2001:db8::1", 5000)))
    checklist.add_remote(candidate(Address("2001:DB8:0::2", 7000)))
    assert addresses(checklist) == [(Address("2001:db8::1", 5000), Address("2001:db8::2", 7000))]


def test_a_heard_address_becomes_a_peer_reflexive_candidate_and_merges_when_it_is_signalled() -> None:
    checklist = Checklist(True)
    checklist.add_local(local())
    heard = candidate(kind=CandidateType.PEER_REFLEXIVE, priority=1845501695)
    pair = checklist.form_heard(HOST, heard)
    assert pair is not None
    assert (pair.remote, pair.priority) == (heard, pair_priority(2130706431, 1845501695))
    signalled = candidate(kind=CandidateType.SERVER_REFLEXIVE, priority=1694498815)
    checklist.add_remote(signalled)
    assert [known is pair for known in checklist] == [True]
    assert (pair.remote, pair.priority) == (signalled, pair_priority(2130706431, 1694498815))
    assert checklist.remotes == [signalled]


def test_a_heard_address_that_is_known_keeps_its_candidate() -> None:
    checklist = Checklist(True)
    signalled = candidate(kind=CandidateType.RELAYED, priority=5)
    checklist.add_remote(signalled)
    # Paired too late for the relay: a private address that is heard all the same is a pair.
    checklist.add_local(local())
    other = LocalCandidate(candidate(RELAYED, CandidateType.RELAYED, 3), RELAYED, "203.0.113.10")
    checklist.add_local(other)
    pair = checklist.form_heard(RELAYED, candidate(kind=CandidateType.PEER_REFLEXIVE))
    assert pair is not None
    assert pair.remote == signalled
    assert checklist.remotes == [signalled]


def test_nothing_is_heard_on_a_base_that_is_not_ours() -> None:
    assert Checklist(True).form_heard(HOST, candidate()) is None


def test_the_local_candidate_of_a_pair_is_the_one_with_the_mapped_address() -> None:
    checklist = Checklist(True)
    host = local()
    srflx = candidate(PUBLIC, CandidateType.SERVER_REFLEXIVE, 1694498815)
    checklist.add_local(host)
    checklist.add_local(LocalCandidate(srflx, HOST))
    checklist.add_remote(candidate())
    (pair,) = checklist
    assert checklist.local_of(pair) == host.candidate
    checklist.map(pair, HOST)
    assert checklist.local_of(pair) == host.candidate
    checklist.map(pair, PUBLIC)
    assert checklist.local_of(pair) == srflx
    # A NAT that gives another port for every destination: nobody has told that address before.
    checklist.map(pair, Address(PUBLIC.host, 6001))
    found = checklist.local_of(pair)
    assert (found.type, found.address, found.port) == (CandidateType.PEER_REFLEXIVE, PUBLIC.host, 6001)
    assert (found.related_address, found.related_port) == HOST
    assert found.priority == peer_reflexive_priority(host.candidate) == 110 << 24 | 2130706431 & 0xFFFFFF
    # RFC 8445 §7.2.5.3.2.
    assert pair.priority == pair_priority(found.priority, pair.remote.priority)
    checklist.set_role(False)
    assert pair.priority == pair_priority(pair.remote.priority, found.priority)


def test_the_first_pair_of_a_foundation_is_checked_and_success_thaws_the_others() -> None:
    checklist = Checklist(True)
    for port in (1, 2):
        checklist.add_local(local(Address("192.0.2.1", port), 100 - port))
    checklist.add_remote(candidate())
    one, other = checklist
    assert (one.state, other.state) == (PairState.WAITING, PairState.FROZEN)
    checklist.thaw(one.foundation)
    assert other.state is PairState.WAITING


def test_new_pairs_are_checked_by_priority_and_frozen_ones_after_those_that_wait() -> None:
    checklist = Checklist(True)
    checklist.add_local(local(HOST, 1000))
    checklist.add_remote(candidate(priority=1, foundation="low"))
    checklist.add_remote(candidate(Address(REMOTE.host, 7001), priority=3, foundation="high"))
    checklist.add_remote(candidate(Address(REMOTE.host, 7002), priority=9, foundation="high"))
    order = []
    while (pair := checklist.next_waiting()) is not None:
        order.append(pair.remote.priority)
        pair.state = PairState.IN_PROGRESS
    assert order == [3, 1, 9]
    assert checklist.next_waiting() is None


def test_a_triggered_check_waits_once() -> None:
    checklist = Checklist(True)
    checklist.add_local(local())
    for port in (1, 2, 3):
        checklist.add_remote(candidate(Address(REMOTE.host, port), foundation=str(port)))
    one, two, three = checklist
    for pair in (one, two, one):
        checklist.trigger(pair)
    checklist.trigger(three, first=True)
    checklist.trigger(two, first=True)
    assert list(checklist.triggered) == [two, three, one]


def test_a_full_checklist_keeps_the_best_and_what_was_heard() -> None:
    checklist = Checklist(True, max_pairs=3)
    checklist.add_local(local())
    for priority in (10, 20, 30):
        checklist.add_remote(candidate(Address(REMOTE.host, priority), priority=priority))
    # The peer may name no more than three candidates, but others may be heard.
    checklist.add_remote(candidate(Address(REMOTE.host, 40), priority=40))
    assert [pair.remote.priority for pair in checklist] == [10, 20, 30]
    heard = [checklist.form_heard(HOST, candidate(Address(REMOTE.host, port), priority=port)) for port in (5, 15, 35)]
    for pair in heard:
        if pair is not None:
            pair.heard = True
    assert sorted(pair.remote.priority for pair in checklist) == [20, 30, 35]
    for pair in checklist:
        pair.heard = True
    assert checklist.form_heard(HOST, candidate(Address(REMOTE.host, 50), priority=50)) is None


def test_in_a_full_checklist_failed_pairs_give_way_first() -> None:
    """RFC 8838 §10, §11. A relay comes late and ranks last, and may be the only way where all others have failed."""
    checklist = Checklist(True, max_pairs=3)
    checklist.add_local(local())
    for priority in (10, 20, 30):
        checklist.add_remote(candidate(Address(REMOTE.host, priority), priority=priority))
    low, middle, high = checklist
    relay = local(RELAYED, priority=1, server="203.0.113.10")
    checklist.add_local(relay)
    assert relay not in [pair.local for pair in checklist]
    middle.state = high.state = PairState.FAILED
    # Its path was open in one direction.
    high.heard = True
    late = Checklist(True, max_pairs=3, remotes=checklist.remotes, pairs=checklist.pairs)
    late.add_local(relay)
    assert [pair.remote.priority for pair in late if pair.local is relay] == [30]
    assert [pair for pair in late if pair.local is not relay] == [low, high]
    late.add_local(local(Address("203.0.113.21", 50000), priority=1, server="203.0.113.10"))
    assert len([pair for pair in late if pair.local.is_relayed]) == 1


def test_a_full_checklist_has_room_for_relays() -> None:
    checklist = Checklist(True, max_pairs=8)
    checklist.add_local(local())
    for priority in range(10, 18):
        checklist.add_remote(candidate(Address(REMOTE.host, priority), priority=priority))
    checklist.add_local(local(RELAYED, priority=1, server="203.0.113.10"))
    # Two of eight: the best of the relay's, in the place of the least of the others, none of which has failed.
    kept = [(pair.local.is_relayed, pair.remote.priority) for pair in checklist]
    assert sorted(kept) == [(False, number) for number in range(12, 18)] + [(True, 16), (True, 17)]
    # They stay when something better comes, but not when they are more than their share.
    heard = checklist.form_heard(HOST, candidate(Address(REMOTE.host, 5), priority=50))
    assert heard is not None
    assert sum(pair.is_relayed for pair in checklist) == 2
    assert len(checklist.pairs) == 8


def test_the_best_valid_pair() -> None:
    checklist = Checklist(True)
    checklist.add_local(local())
    for priority in (10, 30, 20):
        checklist.add_remote(candidate(Address(REMOTE.host, priority), priority=priority))
    low, high, middle = checklist
    assert checklist.best_valid(1) is None
    low.state = middle.state = PairState.SUCCEEDED
    assert checklist.best_valid(1) is middle
    assert checklist.best_valid(2) is None
    assert checklist.may_improve(middle)
    high.state = PairState.FAILED
    assert not checklist.may_improve(middle)


_candidates = st.builds(
    candidate,
    st.builds(
        Address,
        st.sampled_from(["192.168.1.9", "198.51.100.2", "2001:db8::9", "fe80::1", "x.local", "127.0.0.1", "0.0.0.0"]),
        st.integers(0, 5),
    ),
    st.sampled_from(list(CandidateType)),
    st.integers(1, 2**31 - 1),
    st.sampled_from("abc"),
    st.integers(1, 2),
)


@given(st.lists(st.tuples(st.sampled_from(["local", "remote", "heard", "valid", "role"]), _candidates), max_size=60))
def test_a_checklist_is_bounded_and_has_each_pair_once(steps: list[tuple[str, Candidate]]) -> None:
    checklist = Checklist(True, max_pairs=8)
    checklist.add_local(local())
    for step, item in steps:
        address = Address(item.address, item.port)
        match step:
            case "local" if address.host[0].isdigit():
                relay = "203.0.113.10" if item.type == CandidateType.RELAYED else None
                checklist.add_local(LocalCandidate(item, address, relay))
            case "remote":
                checklist.add_remote(item)
            case "heard" if address.host[0].isdigit():
                pair = checklist.form_heard(HOST, item)
                if pair is not None:
                    pair.heard = True
                    checklist.trigger(pair)
            case "valid" if (best := checklist.next_waiting()) is not None:
                best.state = PairState.SUCCEEDED
                checklist.thaw(best.foundation)
            case "role":
                checklist.set_role(not checklist.controlling)
        assert len(checklist.pairs) <= 8
        assert len(checklist.remotes) <= 8
        assert set(checklist.triggered) <= set(checklist)
        for (base, remote, transport), pair in checklist.pairs.items():
            assert (pair.local.base, pair.remote_address, pair.local.transport) == (base, remote, transport)
            assert pair.remote_address == (pair.remote.address, pair.remote.port)
            mine, theirs = pair.local.candidate.priority, pair.remote.priority
            wanted = pair_priority(mine, theirs) if checklist.controlling else pair_priority(theirs, mine)
            assert pair.priority == wanted


def test_pairs_are_compared_by_identity() -> None:
    one, other = (CandidatePair(local(), candidate(), 1) for _ in range(2))
    assert one != other


# TCP (RFC 6544).

ACTIVE_BASE = Address(HOST.host, 9)


def tcp(address: Address, tcptype: TcpType, priority: int = 1518280447) -> Candidate:
    return candidate(address, priority=priority, transport="TCP", tcptype=tcptype)


def test_active_is_paired_with_passive_and_with_nothing_else() -> None:
    checklist = Checklist(True)
    checklist.add_local(local())
    checklist.add_local(LocalCandidate(tcp(ACTIVE_BASE, TcpType.ACTIVE), ACTIVE_BASE))
    checklist.add_local(LocalCandidate(tcp(HOST, TcpType.PASSIVE), HOST))
    for tcptype in TcpType:
        checklist.add_remote(tcp(Address(REMOTE.host, 1000 + list(TcpType).index(tcptype)), tcptype))
    (pair,) = checklist
    assert pair.key == (ACTIVE_BASE, Address(REMOTE.host, 1001), Transport.TCP)
    assert pair.datagram(b"x") == Datagram(*pair.key[:2], b"x", Transport.TCP)


def test_udp_and_tcp_at_one_address_and_port_are_two_candidates() -> None:
    checklist = Checklist(True)
    checklist.add_local(LocalCandidate(tcp(ACTIVE_BASE, TcpType.ACTIVE), ACTIVE_BASE))
    checklist.add_local(local(ACTIVE_BASE))
    checklist.add_remote(candidate())
    checklist.add_remote(tcp(REMOTE, TcpType.PASSIVE))
    checklist.add_remote(tcp(REMOTE, TcpType.PASSIVE))
    assert sorted(key[2] for key in checklist.pairs) == [Transport.TCP, Transport.UDP]
    assert checklist.component_of(HOST, Transport.TCP) is None
    assert checklist.component_of(ACTIVE_BASE, Transport.TCP) == 1


def test_who_connects_is_a_peer_reflexive_active_candidate() -> None:
    checklist = Checklist(False)
    checklist.add_local(LocalCandidate(tcp(HOST, TcpType.PASSIVE), HOST))
    check = Datagram(Address(REMOTE.host, 40000), HOST, b"", Transport.TCP)
    heard = heard_candidate(check, 1, 7)
    pair = checklist.form_heard(HOST, heard)
    assert pair is not None
    assert pair.remote.tcptype is TcpType.ACTIVE
    assert pair.remote.type is CandidateType.PEER_REFLEXIVE
    # The socket for UDP that has the same address and port is another base.
    assert checklist.form_heard(HOST, heard_candidate(Datagram(REMOTE, HOST, b""), 1, 7)) is None


@pytest.mark.parametrize(
    ("mapped", "kind"),
    [
        (Address(HOST.host, 40123), CandidateType.HOST),
        (Address("198.51.100.9", 40123), CandidateType.PEER_REFLEXIVE),
    ],
)
def test_an_active_candidate_has_the_port_of_its_connection(mapped: Address, kind: CandidateType) -> None:
    checklist = Checklist(True)
    checklist.add_local(LocalCandidate(tcp(ACTIVE_BASE, TcpType.ACTIVE), ACTIVE_BASE))
    checklist.add_remote(tcp(REMOTE, TcpType.PASSIVE))
    (pair,) = checklist
    checklist.map(pair, mapped)
    found = checklist.local_of(pair)
    assert ((found.address, found.port), found.type, found.tcptype) == (mapped, kind, TcpType.ACTIVE)


def test_tcp_ranks_below_everything_of_udp_that_is_no_relay() -> None:
    highest = peer_reflexive_priority(tcp(HOST, TcpType.PASSIVE, 2**31 - 1))
    assert highest >> 24 == 80
    assert highest < 100 << 24
