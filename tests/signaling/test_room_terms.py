"""Names, and bounds that fit together."""

from __future__ import annotations

import secrets

import pytest

from icekit.signaling.message import MAX_MESSAGE, MAX_PEERS, MAX_SDP
from icekit.signaling.room_terms import MAX_NAME, ROOM_NAME, SESSION, RoomsConfig, is_member_name


@pytest.mark.parametrize("name", ["a", "Ana María", "x" * MAX_NAME, "👩‍🚀"[0]])
def test_names_of_members(name: str) -> None:
    assert is_member_name(name)


@pytest.mark.parametrize("name", ["", " ", "a ", "\ta", "a\u2028b", "\ud800", "x" * (MAX_NAME + 1)])
def test_what_is_no_name(name: str) -> None:
    assert not is_member_name(name)


def test_rooms_and_sessions() -> None:
    assert ROOM_NAME.fullmatch("Team_1-a")
    assert not ROOM_NAME.fullmatch("a.b")
    assert SESSION.fullmatch(secrets.token_urlsafe(24))


def test_the_bounds_fit_together() -> None:
    config = RoomsConfig()
    # What one peer may send at once waits for one who reads slowly, and an SDP of the largest size passes.
    assert config.max_message == MAX_MESSAGE > MAX_SDP
    assert config.max_queued >= 8 * 2**20 + MAX_MESSAGE
    assert config.max_queued_lines > config.message_burst
    assert config.max_members < MAX_PEERS
