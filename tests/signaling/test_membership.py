"""Who has a name that two want: every server comes to the same answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.signaling.membership import Membership

memberships = st.builds(
    Membership,
    name=st.just("alice"),
    key=st.none() | st.sampled_from(["a", "b"]),
    since=st.floats(min_value=0, max_value=10),
    owner=st.booleans(),
)


def alice(key: str | None, since: float, owner: bool = False) -> Membership:
    return Membership(name="alice", key=key, since=since, owner=owner)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (alice("a", 2), alice("a", 1)),  # a session moves: the newer
        (alice("a", 1), alice("b", 2)),  # a name is taken: the older
        (alice(None, 1), alice(None, 2)),
        (alice("a", 2, owner=True), alice("b", 1)),  # who owns the name
        (alice("a", 2, owner=True), alice("b", 1, owner=True)),
    ],
)
def test_who_prevails(one: Membership, other: Membership) -> None:
    assert one.prevails(other)
    assert not other.prevails(one)


@given(memberships, memberships)
def test_one_of_two_prevails(one: Membership, other: Membership) -> None:
    if one.since != other.since:
        assert one.prevails(other) != other.prevails(one)


def test_sameness_needs_a_session() -> None:
    assert alice("a", 1).is_same(alice("a", 2))
    assert not alice(None, 1).is_same(alice(None, 1))
