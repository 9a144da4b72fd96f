"""The tables of W3C WebRTC §4.3.3 and §4.3.4."""

from __future__ import annotations

import pytest

from icekit.call.states import connection_state, ice_state


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("", "new"),
        ("new closed", "new"),
        ("closed", "new"),
        ("new checking", "checking"),
        ("new completed", "checking"),
        ("checking connected", "checking"),
        ("connected completed", "connected"),
        ("connected", "connected"),
        ("completed closed", "completed"),
        ("disconnected checking", "disconnected"),
        ("failed disconnected", "failed"),
    ],
)
def test_ice(states: str, expected: str) -> None:
    assert ice_state(set(states.split())) == expected


@pytest.mark.parametrize(
    ("ice", "dtls", "expected"),
    [
        ("", "", "new"),
        ("new", "new", "new"),
        ("checking", "new", "connecting"),
        ("connected", "new", "connecting"),
        ("completed", "connecting", "connecting"),
        ("new completed", "connected", "connecting"),
        ("completed closed", "connected", "connected"),
        ("connected", "connected", "connected"),
        ("disconnected", "connected", "disconnected"),
        ("failed", "connected", "failed"),
        ("completed", "failed", "failed"),
        ("completed", "closed", "connected"),
    ],
)
def test_connection(ice: str, dtls: str, expected: str) -> None:
    assert connection_state(set(ice.split()), set(dtls.split())) == expected
