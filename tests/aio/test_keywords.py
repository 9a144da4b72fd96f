"""aioice's keywords for servers and credentials."""

from __future__ import annotations

import aioice
import pytest

from icekit.aio.keywords import credentials, is_relay_only, servers_of
from icekit.errors import ConfigError


def urls(*arguments: object) -> list[str]:
    return [str(url) for server in servers_of(*arguments) for url in server.urls]  # type: ignore[arg-type]


def test_the_keywords_of_aioice_are_urls() -> None:
    assert urls(None, None, None, None, False, "udp") == []
    assert urls(("stun.example.org", 3478), None, None, None, False, "udp") == ["stun:stun.example.org:3478"]
    assert urls(("2001:db8::1", 3478), ("192.0.2.1", 443), "a", "b", True, "tcp") == [
        "stun:[2001:db8::1]:3478",
        "turns:192.0.2.1:443?transport=tcp",
    ]
    (server,) = servers_of(None, ("192.0.2.1", 3478), "alice", "secret", False, "udp")
    assert (server.username, server.credential) == ("alice", "secret")
    with pytest.raises(ValueError, match="port"):
        urls(("stun.example.org", 99999), None, None, None, False, "udp")


@pytest.mark.parametrize("server", ["192.0.2.1:3478", ("192.0.2.1",), ("192.0.2.1", "3478"), (3478, "192.0.2.1"), 5])
def test_a_server_that_is_no_pair(server: object) -> None:
    with pytest.raises(TypeError, match=r"^stun_server is a host and a port, such as "):
        urls(server, None, None, None, False, "udp")
    with pytest.raises(TypeError, match=r"^turn_server is a host and a port, such as "):
        urls(None, server, "alice", "secret", False, "udp")


def test_the_policy() -> None:
    assert [is_relay_only(policy) for policy in (None, *aioice.TransportPolicy)] == [False, False, True]
    with pytest.raises(TypeError, match=r"^transport_policy is aioice\.TransportPolicy\.ALL or RELAY, not str$"):
        is_relay_only("relay")  # type: ignore[arg-type]


def test_what_is_not_given_of_credentials_is_made_up() -> None:
    assert credentials(None, None, bytes) is None
    assert credentials("abcd", "p" * 22, bytes) == ("abcd", "p" * 22)
    assert credentials("a" * 32, "p" * 256, bytes) == ("a" * 32, "p" * 256)
    assert credentials("abcd", None, bytes) == ("abcd", "A" * 24)
    assert credentials(None, "p" * 22, bytes) == ("A" * 8, "p" * 22)
    for username, password in (
        ("abc", None),
        ("a:cd", None),
        ("a" * 33, None),
        (None, "p" * 257),
        (None, "p" * 21),
        (None, "p p" * 9),
    ):
        with pytest.raises(ConfigError, match=r"wants (4 to 32|22 to 256) letters") as error:
            credentials(username, password, bytes)
        assert "p p" not in str(error.value)
