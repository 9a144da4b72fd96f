"""Open checks, the order of the next check, and components that the peer does not have."""

from __future__ import annotations

import pytest

from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.checklist import CandidatePair, LocalCandidate, PairState
from icekit.generation import Generation, OpenCheck
from icekit.ice_config import IceConfig
from icekit.net import Address

HOST = Address("10.0.0.1", 5000)


def candidate(address: Address, priority: int = 100, component: int = 1) -> Candidate:
    return Candidate(f"f{address.port}", component, "udp", priority, *address, CandidateType.HOST)


def remote(port: int, priority: int = 100, component: int = 1) -> Candidate:
    return candidate(Address("10.0.0.2", port), priority, component)


def made(*remotes: Candidate, config: IceConfig | None = None, known: bool = True) -> Generation:
    generation = Generation("ufrag", "password", controlling=True, config=config or IceConfig())
    generation.checklist.add_local(LocalCandidate(candidate(HOST), HOST))
    for item in remotes:
        generation.checklist.add_remote(item)
    if known:
        generation.meet("peer", "secret")
        generation.start(0.0)
    return generation


def check(pair: CandidatePair, sent: float = 0.0) -> OpenCheck:
    return OpenCheck(pair, sent, controlling=True, nominating=False)


def test_nothing_is_checked_before_the_credentials_are_known() -> None:
    generation = made(remote(1), known=False)
    assert generation.next_check(0.0) is None
    assert generation.check_due() is None
    assert not generation.has_new_pair
    assert "password" not in repr(generation)


def test_triggered_then_new_then_whoever_waited_longest() -> None:
    generation = made(remote(1, 30), remote(2, 20), remote(3, 10))
    first, second, third = generation.checklist
    generation.checklist.trigger(third)
    assert generation.next_check(0.0, only_urgent=True) is third
    assert generation.next_check(0.0, only_urgent=True) is None
    assert generation.next_check(0.0) is first
    for pair, when in ((first, 0.0), (second, 0.1), (third, 0.05)):
        generation.pace(pair, when, 0.005)
        pair.last_check = when
    assert generation.check_due() == pytest.approx(0.02)
    assert generation.next_check(0.019) is None
    assert generation.next_check(1.0) is first
    first.last_check = 0.9
    assert generation.next_check(1.0) is third


def test_only_patience_that_was_used_up_begins_anew_when_the_peer_has_our_credentials() -> None:
    generation = made(remote(1, 30), remote(2, 20), known=False)
    generation.meet("peer", "secret")
    silent, refused = generation.checklist
    generation.pace(silent, 0.0, 0.005)
    generation.pace(refused, 0.0, 0.005)
    assert generation.next_check(39.4) is silent
    generation.next_check(39.5)
    assert silent.state is refused.state is PairState.FAILED
    refused.first_check = 39.5
    generation.start(60.0)
    assert (silent.state, refused.state) == (PairState.WAITING, PairState.FAILED)
    assert generation.next_check(60.0) is silent
    generation.pace(silent, 60.0, 0.005)
    assert silent.interval == 0.02


INTERNET = "198.51.100.7"


def test_the_first_check_of_an_open_path_goes_before_gathering() -> None:
    generation = made(remote(1, 300), candidate(Address(INTERNET, 2), 200), candidate(Address(INTERNET, 3), 100))
    private, likely, other = generation.checklist
    assert generation.next_check(0.0, only_urgent=True) is likely
    # One that the peer has sent a check on is proven open.
    generation.checklist.trigger(private)
    assert generation.next_check(0.0, only_urgent=True) is private
    generation.pace(likely, 0.0, 0.005)
    assert generation.check_due(only_urgent=True) is None
    assert generation.next_check(0.0, only_urgent=True) is None
    assert generation.next_check(0.0) is private
    # Where the system has no route for it, nothing is lost, and the next one is the first.
    likely.state = PairState.FAILED
    assert generation.next_check(0.0, only_urgent=True) is other


def test_each_component_has_a_first_check() -> None:
    generation = made(candidate(Address(INTERNET, 2)), config=IceConfig(components=2))
    second = Address(HOST.host, 5001)
    generation.checklist.add_local(LocalCandidate(candidate(second, component=2), second))
    generation.checklist.add_remote(candidate(Address(INTERNET, 3), component=2))
    one, other = generation.checklist
    assert generation.next_check(0.0, only_urgent=True) is one
    generation.pace(one, 0.0, 0.005)
    assert generation.next_check(0.0, only_urgent=True) is other
    generation.pace(other, 0.0, 0.005)
    assert generation.check_due(only_urgent=True) is None


def test_a_pair_has_as_much_time_as_all_of_them() -> None:
    generation = made(remote(1))
    (pair,) = generation.checklist
    generation.pace(pair, 0.0, 0.005)
    assert generation.next_check(39.4) is pair
    assert generation.next_check(39.5) is None
    assert pair.state is PairState.FAILED


def test_open_checks_are_bounded_and_forgotten() -> None:
    generation = made(remote(1), config=IceConfig(max_open_checks=3))
    (pair,) = generation.checklist
    for number in range(5):
        generation.remember(bytes([number]), check(pair, float(number)))
    assert [generation.open_check(bytes([number])) is not None for number in range(5)] == [False] * 2 + [True] * 3
    generation.forget_checks(33.0)
    assert generation.open_checks == 1
    generation.answered(bytes([4]))
    assert generation.open_checks == 0


@pytest.mark.parametrize(("told", "used"), [((), (1, 2)), ((1,), (1,)), ((1, 2), (1, 2)), ((7,), (1, 2))])
def test_components_of_which_the_peer_tells_nothing_are_not_used(told: tuple[int, ...], used: tuple[int, ...]) -> None:
    generation = made(*(remote(9, component=item) for item in told), config=IceConfig(components=2))
    generation.end_of_remote_candidates()
    assert generation.components == used
    assert not generation.is_settled
    generation.selection.nominated.update(used)
    assert generation.is_settled


def test_over_tcp_a_check_is_repeated_twice_a_second() -> None:
    generation = made()
    base = Address(HOST.host, 0)
    active = Candidate("t", 1, "tcp", 9, HOST.host, 9, CandidateType.HOST, tcptype=TcpType.ACTIVE)
    generation.checklist.add_local(LocalCandidate(active, base))
    generation.checklist.add_remote(
        Candidate("r", 1, "tcp", 9, "10.0.0.2", 7, CandidateType.HOST, tcptype=TcpType.PASSIVE)
    )
    (pair,) = generation.checklist
    for when in (0.0, 0.5):
        generation.pace(pair, when, 0.005)
        assert pair.interval == 0.5
