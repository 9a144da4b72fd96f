"""What is printed for coturn. That coturn takes it: tests/interop/test_server.py."""

from __future__ import annotations

import pytest

from icekit.coturn import coturn_config
from icekit.errors import ConfigError
from icekit.server import TurnServerConfig

HEAD = """\
# Made by icekit serve --coturn-config, for coturn 4.6
fingerprint
no-cli
no-multicast-peers
listening-ip=192.0.2.1
"""


def test_stun_only() -> None:
    text = coturn_config(None, hosts=["192.0.2.1"], port=3478, alternate_port=None, tcp=False)
    assert text == HEAD + "listening-port=3478\nno-tcp\nno-tls\nno-dtls\nstun-only\n"


def test_users_relays_and_peers_are_written() -> None:
    turn = TurnServerConfig(
        users={"alice": "secret", "bob": "a:b"},
        realm="example.org",
        relay_ipv4="10.0.0.5",
        relay_ipv6="2001:db8::5",
        external_ipv4="192.0.2.7",
        relay_ports=(50000, 50100),
        allow_peers=("10.0.0.0/8", "192.168.1.1"),
    )
    text = coturn_config(
        turn, hosts=["192.0.2.1"], port=3478, alternate_port=3479, tls_port=5349, certificate="/a.pem", key="/k.pem"
    )
    lines = text.splitlines()
    denied = [line for line in lines if line.startswith("denied-peer-ip=")]
    assert len(denied) == 14
    assert "denied-peer-ip=172.16.0.0-172.31.255.255" in denied
    assert (
        "\n".join(line for line in lines if line not in denied) + "\n"
        == HEAD
        + """\
listening-port=3478
alt-listening-port=3479
tls-listening-port=5349
cert=/a.pem
pkey=/k.pem
no-dtls
realm=example.org
lt-cred-mech
user=alice:secret
user=bob:a:b
relay-ip=10.0.0.5
relay-ip=2001:db8::5
external-ip=192.0.2.7/10.0.0.5
min-port=50000
max-port=50100
stale-nonce=3600
max-allocate-lifetime=3600
permission-lifetime=300
channel-lifetime=600
total-quota=1000
user-quota=100
allowed-peer-ip=10.0.0.0-10.255.255.255
allowed-peer-ip=192.168.1.1
"""
    )


@pytest.mark.parametrize("peers", ["127.0.0.0/8", "127.0.0.1", "::1", "0.0.0.0/0"])
def test_loopback_peers_have_a_switch_of_their_own(peers: str) -> None:
    turn = TurnServerConfig(secret="top", relay_ipv4="127.0.0.1", allow_peers=(peers,))
    text = coturn_config(turn, hosts=["127.0.0.1"], port=1, alternate_port=2)
    assert "\nallow-loopback-peers\n" in text
    assert "\nuse-auth-secret\nstatic-auth-secret=top\n" in text


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"users": {"alice": "secret"}, "secret": "top"}, "not both"),
        ({"users": {"al ice": "secret"}}, "user name"),
        ({"users": {"al:ice": "secret"}}, "user name"),
        ({"users": {"alice": "sec#ret"}}, "password"),
        ({"users": {"alice": "sec\nret"}}, "password"),
        ({"secret": "to p"}, "secret"),
        ({"secret": "top", "realm": ""}, "realm"),
    ],
)
def test_what_the_file_cannot_hold(changes: dict[str, object], what: str) -> None:
    turn = TurnServerConfig(relay_ipv4="127.0.0.1", **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=what) as caught:
        coturn_config(turn, hosts=["127.0.0.1"], port=1, alternate_port=2)
    assert "sec#ret" not in str(caught.value)
