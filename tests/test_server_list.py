"""Server lists of every form, and what three readers make of them; aiortc itself is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiortc import RTCIceServer
from aiortc.rtcicetransport import connection_kwargs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icekit.server_list import MAX_ENTRIES, ListedServer, Use, read_list, uses

ENTRY = {"urls": "turn:turn.example.org", "username": "bob", "credential": "hunter2"}


@pytest.mark.parametrize(
    "data",
    [
        [ENTRY],
        ENTRY,
        {"iceServers": [ENTRY]},
        {"iceServers": [{**ENTRY, "urls": ["turn:turn.example.org"]}], "iceTransportPolicy": "relay"},
    ],
)
def test_every_right_form(data: Any) -> None:
    found = read_list(data)
    assert found.problems == ()
    (server,) = found.servers
    assert (server.url, server.username, server.has_credential) == ("turn:turn.example.org", "bob", True)
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("data", "where", "urls", "fatal"),
    [
        ({"iceServers": ENTRY}, "iceServers", 1, True),
        ({"ice_servers": [ENTRY]}, "ice_servers", 1, False),
        (["stun:a.example"], "iceServers[0]", 1, True),
        ([{"url": "stun:a.example"}], "iceServers[0].url", 1, True),
        ([{**ENTRY, "credential": None, "password": "x"}], "", 1, False),
        ([{"urls": "turn:a.example", "username": "bob", "password": "x"}], "iceServers[0].password", 1, False),
        ([{"urls": []}], "iceServers[0].urls", 0, True),
        ([{}], "iceServers[0].urls", 0, True),
        ([{"urls": [1]}], "iceServers[0].urls[0]", 0, True),
        ([5], "iceServers[0]", 0, True),
        ({"iceServers": 5}, "iceServers", 0, True),
        ([{**ENTRY, "credentialType": "oauth"}], "iceServers[0].credentialType", 1, False),
        ([{"urls": "stun:a.example"}] * (MAX_ENTRIES + 1), "iceServers", MAX_ENTRIES, False),
    ],
)
def test_what_is_wrong_with_an_entry(data: Any, where: str, urls: int, fatal: bool) -> None:
    found = read_list(data)
    assert len(found.servers) == urls
    assert [(problem.where, problem.fatal) for problem in found.problems] == ([(where, fatal)] if where else [])


def used(*urls: str, **changes: Any) -> list[tuple[Use, Use, Use]]:
    values: dict[str, Any] = {"username": "bob", "has_credential": True} | changes
    servers = [ListedServer(url, "", **values) for url in urls]
    return [(item.icekit.use, item.aiortc.use, item.chromium.use) for item in uses(servers)]


YES, NO, ALL = Use.USED, Use.IGNORED, Use.REFUSED


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("stun:a.example", (YES, YES, YES)),
        ("stuns:a.example", (NO, NO, YES)),
        ("turn:a.example", (YES, YES, YES)),
        ("turn:a.example?transport=tcp", (YES, YES, YES)),
        ("turns:a.example", (YES, YES, YES)),
        ("turns:a.example?transport=udp", (YES, NO, YES)),
        ("turn:a.example?transport=sctp", (ALL, NO, ALL)),
        ("turn:[2001:db8::1]", (YES, ALL, YES)),
        ("stun:a.example?transport=udp", (ALL, ALL, ALL)),
        ("STUN:a.example", (YES, ALL, YES)),
        ("turn://a.example", (ALL, YES, ALL)),
        ("turn:bob:hunter2@a.example", (ALL, ALL, ALL)),
        ("a.example", (ALL, ALL, ALL)),
    ],
)
def test_one_url(url: str, expected: tuple[Use, Use, Use]) -> None:
    assert used(url) == [expected]


def test_what_a_turn_url_needs_beside_it() -> None:
    assert used("turn:a.example", has_credential=False) == [(ALL, YES, ALL)]
    assert used("turn:a.example", username=None) == [(ALL, YES, ALL)]
    assert used("turn:a.example", username="u" * 510) == [(YES, YES, ALL)]
    assert used("turn:a.example", username="u" * 509) == [(YES, YES, YES)]
    assert used("stun:a.example", username=None, has_credential=False) == [(YES, YES, YES)]
    assert used("turn:a.example", misnamed=True) == [(YES, YES, NO)]


def test_aiortc_takes_the_first_of_each_sort() -> None:
    urls = ["stun:a.example", "stun:b.example", "turns:c.example?transport=udp", "turn:d.example", "turns:e.example"]
    assert [row[1] for row in used(*urls)] == [YES, NO, NO, YES, NO]


def test_a_password_in_a_url_is_not_shown() -> None:
    (item,) = uses([ListedServer("turn:bob:hunter2@a.example")])
    assert "hunter2" not in repr(item) + item.url


pieces = st.sampled_from(
    [
        *("stun:", "stuns:", "turn:", "turns:", "TURN:", "http:", "//", "a.example", "[2001:db8::1]", "10.0.0.1"),
        *(":3478", ":", ":0x1", "?transport=udp", "?transport=tcp", "?transport=", "?transport=TCP", "?x=1", "?", "@"),
    ]
)
some_url = st.lists(pieces, max_size=4).map("".join)


@settings(deadline=None)
@given(st.lists(some_url, max_size=5))
@example(["stun:a:1", "turn:b?transport=sctp", "turns:c"])
@example(["turns:a?transport=udp", "turn:b"])
def test_aiortc_itself_agrees(urls: list[str]) -> None:
    """The installed aiortc is asked what it makes of the same list."""
    found = uses([ListedServer(url, "", "bob", True) for url in urls])
    verdicts = [item.aiortc.use for item in found]
    try:
        chosen = connection_kwargs([RTCIceServer(urls=url, username="bob", credential="x") for url in urls])
    except ValueError:
        assert Use.REFUSED in verdicts
        return
    assert Use.REFUSED not in verdicts
    hosts = {chosen[key][0] for key in ("stun_server", "turn_server") if key in chosen}
    taken = [item.server.text for item in found if item.aiortc.use is Use.USED]
    assert len(taken) == len([key for key in chosen if key in ("stun_server", "turn_server")])
    assert all(any(host in url for url in taken) for host in hosts)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["stun:a.example", "turn:b"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["iceServers", "urls", "url", "username", "credential", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(json_values)
def test_any_json_has_an_answer(data: Any) -> None:
    found = read_list(data)
    assert len(uses(found.servers)) == len(found.servers)
    json.dumps([problem.where for problem in found.problems])
