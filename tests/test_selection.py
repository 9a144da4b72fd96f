"""Which pair carries data: before, at and after the nomination, and what renomination changes."""

from __future__ import annotations

import pytest

from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.checklist import CandidatePair, Checklist, LocalCandidate, PairState
from icekit.ice_config import IceConfig
from icekit.net import Address
from icekit.selection import Chosen, Improvable, Selection

HOST = Address("192.0.2.1", 5000)
RTT = 0.04


def made(controlling: bool = True, *, renominates: bool = False) -> tuple[Selection, CandidatePair, CandidatePair]:
    """A selection with two pairs, the better one first."""
    checklist = Checklist(controlling)
    mine = Candidate("1", 1, "udp", 2**31 - 1, *HOST, CandidateType.HOST)
    checklist.add_local(LocalCandidate(mine, HOST))
    for port, priority in ((1, 20), (2, 10)):
        checklist.add_remote(Candidate(str(port), 1, "udp", priority, "192.0.2.2", port, CandidateType.HOST))
    high, low = checklist
    return Selection(checklist, IceConfig(), renominates=renominates), high, low


def valid(selection: Selection, pair: CandidatePair, now: float) -> None:
    pair.state, pair.rtt, pair.answered_at, pair.consent_until = PairState.SUCCEEDED, RTT, now, now + 30
    selection.became_valid(pair, now)


def nominated(selection: Selection, pair: CandidatePair, now: float) -> None:
    """The controlling side waits, nominates and is confirmed."""
    valid(selection, pair, now)
    selection.decide(now + 1, complete=False)
    assert selection.is_nominating(pair)
    selection.answered(pair, now + 1, nominating=True, now=now + 1)
    assert selection.nominated == {1}


def test_data_moves_to_better_pairs_until_one_is_nominated() -> None:
    selection, high, low = made()
    valid(selection, low, 0.0)
    valid(selection, high, 0.1)
    assert selection.told == [Chosen(low, nominated=False), Chosen(high, nominated=False)]
    assert selection.selected == {1: high}


def test_the_window_is_two_round_trips_and_ends_when_nothing_better_can_come() -> None:
    selection, high, low = made()
    valid(selection, low, 1.0)
    assert selection.get_timer() == pytest.approx(1.0 + 2 * RTT)
    selection.decide(1.0, complete=True)
    assert selection.nominating == {}
    high.state = PairState.FAILED
    selection.decide(1.0, complete=True)
    assert selection.nominating == {1: low}


def test_the_controlled_side_nominates_nothing() -> None:
    selection, _, low = made(controlling=False)
    valid(selection, low, 0.0)
    selection.decide(10.0, complete=True)
    assert selection.nominating == {}
    assert selection.get_timer() is None


def test_what_is_better_after_the_nomination_is_told_once() -> None:
    selection, high, low = made()
    nominated(selection, low, 0.0)
    selection.told.clear()
    valid(selection, high, 2.0)
    valid(selection, high, 3.0)
    assert selection.told == [Improvable(high)]
    assert selection.selected == {1: low}


def test_with_renomination_the_better_pair_is_taken_at_once() -> None:
    selection, high, low = made(renominates=True)
    nominated(selection, low, 0.0)
    assert low.nomination == 1
    valid(selection, high, 2.0)
    assert selection.is_nominating(high)
    assert high.nomination == 2
    # Data stays where it is until the peer has confirmed.
    assert selection.selected == {1: low}
    selection.answered(high, 2.0, nominating=True, now=2.1)
    assert selection.selected == {1: high}
    assert (low.nominated, high.nominated) == (False, True)
    assert not any(isinstance(change, Improvable) for change in selection.told)


def test_a_renomination_that_nobody_confirms_is_taken_back() -> None:
    selection, high, low = made(renominates=True)
    nominated(selection, low, 0.0)
    valid(selection, high, 2.0)
    selection.leaves(high, 2.0)
    selection.decide(6.0, complete=False)
    # The peer may have followed already: the third number brings it back.
    assert selection.is_nominating(low)
    assert (low.nomination, high.nomination, high.state) == (3, 0, PairState.IN_PROGRESS)
    selection.answered(low, 6.0, nominating=True, now=6.1)
    assert selection.selected == {1: low}
    assert selection.nominating == {}


def test_a_nomination_that_has_not_left_yet_is_not_given_up() -> None:
    selection, high, _ = made()
    valid(selection, high, 0.0)
    selection.decide(1.0, complete=False)
    # 1,000 agents of a process share its slots (RFC 8445 §14.2): the check may stand in line for seconds.
    assert selection.get_timer() is None
    selection.decide(20.0, complete=False)
    assert selection.is_nominating(high)
    selection.leaves(high, 20.0)
    selection.leaves(high, 20.5)
    assert selection.get_timer() == pytest.approx(24.0)
    selection.decide(24.0, complete=False)
    assert not selection.is_nominating(high)


@pytest.mark.parametrize(("second", "wins"), [(2, True), (0, False)])
def test_the_controlled_side_follows_the_larger_number(second: int, wins: bool) -> None:
    selection, high, low = made(controlling=False, renominates=True)
    for pair in (low, high):
        valid(selection, pair, 0.0)
    high.nomination, low.nomination = 1, second
    selection.agreed(high, 0.1)
    selection.agreed(low, 0.2)
    assert selection.selected == {1: low if wins else high}


def test_a_second_nomination_without_a_number_is_a_challenge() -> None:
    selection, high, low = made(controlling=False)
    for pair in (low, high):
        valid(selection, pair, 0.0)
    selection.agreed(high, 0.0)
    selection.agreed(low, 0.5)
    assert not selection.wants_answer(high)
    selection.agreed(low, 5.0)
    assert selection.wants_answer(high)
    # It answers: it stays.
    selection.answered(high, 5.1, nominating=False, now=5.2)
    selection.decide(10.0, complete=False)
    assert selection.selected == {1: high}
    # It does not: the other one has it.
    selection.agreed(low, 20.0)
    selection.decide(21.0, complete=False)
    assert selection.selected == {1: low}
    assert not high.valid


def test_the_next_best_takes_the_place_of_a_dead_pair() -> None:
    selection, high, low = made()
    valid(selection, low, 0.0)
    valid(selection, high, 0.0)
    selection.died(high, 1.0)
    assert selection.selected == {1: low}
    # But not one without consent.
    selection.died(low, 1.0)
    assert selection.selected == {}
    assert selection.first_valid == {}


def test_a_change_of_role_forgets_what_was_under_way() -> None:
    selection, _, low = made()
    valid(selection, low, 0.0)
    selection.decide(1.0, complete=False)
    selection.role_changed()
    assert selection.nominating == {}


# TCP (RFC 6544): a connection can end.


def made_tcp(tcptype: TcpType, *, controlling: bool = True) -> tuple[Selection, CandidatePair, CandidatePair]:
    selection, high, low = made(controlling)
    mine = Candidate("2", 1, "tcp", 100, *HOST, CandidateType.HOST, tcptype=tcptype)
    for pair in (high, low):
        pair.local = LocalCandidate(mine, HOST)
    return selection, high, low


def test_another_valid_pair_takes_the_place_of_a_lost_connection() -> None:
    selection, high, low = made_tcp(TcpType.ACTIVE)
    valid(selection, low, 0.0)
    nominated(selection, high, 0.0)
    selection.disconnected(high)
    assert selection.selected == {1: low}
    assert selection.nominated == set()
    # It is decided anew, and what was lost may still come back.
    assert high.state is PairState.IN_PROGRESS
    assert list(selection.checklist.triggered)[-1] is high
    nominated(selection, low, 1.0)


@pytest.mark.parametrize(
    ("tcptype", "state"), [(TcpType.ACTIVE, PairState.IN_PROGRESS), (TcpType.PASSIVE, PairState.FAILED)]
)
def test_the_only_connection_stays_in_use_until_consent_runs_out(tcptype: TcpType, state: PairState) -> None:
    selection, high, low = made_tcp(tcptype)
    nominated(selection, high, 0.0)
    selection.checklist.triggered.clear()
    selection.disconnected(high)
    assert (high.state, selection.selected) == (state, {1: high})
    assert (high in selection.checklist.triggered) == (tcptype is TcpType.ACTIVE)
    # A second loss, of the attempt to open it again, asks for no third one.
    selection.checklist.triggered.clear()
    selection.disconnected(high)
    assert (high.state, list(selection.checklist.triggered)) == (PairState.FAILED, [])
    # The peer connects again, from another port, and that pair ranks lower.
    nominated(selection, low, 2.0)
    assert selection.selected == {1: low}


def test_a_connection_that_is_not_in_use_is_not_opened_again() -> None:
    selection, high, low = made_tcp(TcpType.ACTIVE)
    nominated(selection, high, 0.0)
    valid(selection, low, 0.0)
    selection.disconnected(low)
    assert (low.state, selection.selected, selection.nominated) == (PairState.FAILED, {1: high}, {1})


def test_a_nomination_under_way_ends_with_its_connection() -> None:
    selection, high, _ = made_tcp(TcpType.ACTIVE)
    valid(selection, high, 0.0)
    selection.decide(1.0, complete=False)
    assert selection.is_nominating(high)
    selection.disconnected(high)
    assert not selection.is_nominating(high)
    # The same pair, valid again, carries the data and is nominated.
    valid(selection, high, 2.0)
    selection.decide(3.0, complete=False)
    assert selection.is_nominating(high)
