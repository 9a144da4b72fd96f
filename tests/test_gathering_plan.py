from __future__ import annotations

from typing import Any

import pytest

from icekit.errors import ConfigError
from icekit.gathering_plan import MAX_HOSTS, GatherConfig, GatherServer, gather_servers, local_hosts
from icekit.servers import IceServer, ServerUri


def test_every_url_once_with_its_credential() -> None:
    servers = [
        IceServer(urls=["stun:192.0.2.1", "turn:192.0.2.2"], username="bob", credential="secret"),
        IceServer(urls="stun:192.0.2.1"),
        IceServer(urls="turn:192.0.2.2", username="eve", credential="other"),
    ]
    assert gather_servers(servers) == (
        GatherServer(ServerUri.parse("stun:192.0.2.1")),
        GatherServer(ServerUri.parse("turn:192.0.2.2"), ("bob", "secret")),
        GatherServer(ServerUri.parse("turn:192.0.2.2"), ("eve", "other")),
    )
    assert "secret" not in repr(gather_servers(servers))


@pytest.mark.parametrize("url", ["turn:192.0.2.2", "turn:192.0.2.2?transport=sctp"])
def test_servers_that_cannot_be_asked(url: str) -> None:
    with pytest.raises(ConfigError, match=r"turn:192\.0\.2\.2"):
        gather_servers([IceServer(urls=url)])


@pytest.mark.parametrize(("username", "credential"), [("bob\t", "secret"), ("bob", "secret\n"), ("b" * 514, "secret")])
def test_credentials_that_cannot_be_sent(username: str, credential: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gather_servers([IceServer(urls="turn:192.0.2.2", username=username, credential=credential)])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("servers", ["stun:192.0.2.1", ["stun:192.0.2.1"], [{"urls": "stun:192.0.2.1"}]])
def test_what_is_no_server_is_told_what_would_be(servers: Any) -> None:
    with pytest.raises(TypeError, match=r"a server is an IceServer, not (str|dict): IceServer\(urls='stun:HOST'\)"):
        gather_servers(servers)


def test_local_hosts_are_canonical_and_named_once() -> None:
    assert local_hosts(["2001:DB8::0:1", "2001:db8::1", "::ffff:192.0.2.1"]) == ("2001:db8::1", "192.0.2.1")


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        (["eth0"], "'eth0' is no IP address"),
        (["0.0.0.0"], "0.0.0.0 is not one address"),
        (["ff02::1"], "ff02::1 is not one address"),
        ([], "1 to 32 local addresses, not from 0"),
        ([f"10.0.0.{number}" for number in range(MAX_HOSTS + 1)], "not from 33"),
    ],
)
def test_hosts_that_are_none(hosts: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        local_hosts(hosts)


@pytest.mark.parametrize("change", [{"ta": 0.0}, {"patience": 0.0}, {"max_addresses": 0}])
def test_configurations_that_cannot_be(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        GatherConfig(**change)  # type: ignore[arg-type]
