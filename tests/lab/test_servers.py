"""The servers of a laboratory, in a namespace of their own; tests/netns has clients for them."""

from __future__ import annotations

import subprocess

import pytest

from icekit.errors import ConfigError
from icekit.lab import Namespace
from icekit.lab.servers import running_servers, urls
from tests.conftest import child_processes

HOSTS = ("203.0.113.10", "203.0.113.11")


def test_the_urls_of_the_servers() -> None:
    assert urls("203.0.113.10") == (
        "stun:203.0.113.10",
        "turn:203.0.113.10?transport=udp",
        "turn:203.0.113.10?transport=tcp",
        "turn:203.0.113.10:443?transport=tcp",
    )


@pytest.mark.netns
@pytest.mark.parametrize("coturn", [False, pytest.param(True, marks=pytest.mark.interop("turnserver"))])
def test_they_listen_and_end(coturn: bool) -> None:
    with Namespace("server") as namespace:
        namespace.ip(*(f"addr add {host}/24 dev lo" for host in HOSTS))
        with running_servers(namespace, HOSTS, "secret", coturn=coturn):
            for kind in ("-lnu", "-lnt"):
                sockets = namespace.run(["ss", "-H", kind]).stdout
                assert {f"{host}:{port}" for host in HOSTS for port in (3478, 3479)} <= set(sockets.split())
            assert {f"{host}:443" for host in HOSTS} <= set(sockets.split())
            arguments = " ".join(child_processes().values())
            assert "icekit.lab.servers" in arguments
            assert "secret" not in arguments
        left = subprocess.run(["ip", "netns", "pids", namespace.name], capture_output=True, text=True, check=True)
        assert left.stdout == ""


@pytest.mark.netns
def test_why_they_do_not_start() -> None:
    with (
        Namespace("server") as namespace,
        pytest.raises(ConfigError, match=r"^the servers of the laboratory do not start: .*203\.0\.113\.10"),
        running_servers(namespace, HOSTS, "secret", coturn=False),
    ):
        pass
