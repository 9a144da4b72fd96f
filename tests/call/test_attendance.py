"""Who the other side is."""

from __future__ import annotations

from icekit.call.attendance import Attendance, Change
from icekit.signaling import Bye, Presence


def test_the_first_who_is_there_is_the_peer() -> None:
    attendance = Attendance("bob")
    assert attendance.is_unknown
    assert attendance.see(Presence(joined=("alice",), peers=("alice",), sender="alice")) is Change.ARRIVED
    assert (attendance.peer, attendance.offers_first, attendance.is_told) == ("alice", True, False)
    assert attendance.see(Presence(joined=("carl",), peers=("alice", "carl"), sender="carl")) is Change.NOTHING
    assert attendance.admits(Bye(sender="alice"))
    assert not attendance.admits(Bye(sender="carl"))
    assert not attendance.admits(Bye(sender="alice", to="carl"))
    assert not attendance.admits(Bye(sender="bob"))
    assert not Attendance("alice").offers_first


def test_of_both_sides_one_offers_first() -> None:
    one, other = Attendance("alice"), Attendance("bob")
    one.see(Presence(peers=("bob",)))
    other.see(Presence(peers=("alice",)))
    assert [one.offers_first, other.offers_first] == [False, True]


def test_who_goes_makes_room_for_the_next() -> None:
    attendance = Attendance("bob")
    attendance.see(Presence(peers=("bob", "alice", "carl")))
    assert attendance.is_told
    assert not attendance.is_unknown
    assert attendance.see(Presence(left=("dora",), peers=("alice", "carl"))) is Change.NOTHING
    assert attendance.see(Presence(left=("alice",), peers=("bob", "carl"))) is Change.LEFT
    assert attendance.peer == "carl"
    assert attendance.see(Presence(left=("carl",), peers=("bob",))) is Change.LEFT
    assert attendance.peer is None


def test_who_never_says_a_name() -> None:
    attendance = Attendance("bob")
    assert attendance.admits(Bye())
    assert attendance.peer is None
    assert not attendance.is_unknown
    assert attendance.admits(Bye())
    assert not attendance.admits(Bye(sender="alice"))
    # Who comes later is not the one who speaks.
    assert attendance.see(Presence(joined=("alice",), peers=("alice",))) is Change.NOTHING


def test_only_one_is_wanted() -> None:
    attendance = Attendance("bob", wanted="carl")
    assert not attendance.is_unknown
    assert not attendance.admits(Bye(sender="alice"))
    assert not attendance.admits(Bye())
    assert attendance.see(Presence(peers=("alice",))) is Change.NOTHING
    assert attendance.see(Presence(joined=("carl",), peers=("alice", "carl"))) is Change.ARRIVED
    assert attendance.admits(Bye(sender="carl"))
