"""The configuration of a TURN server, and the records of an allocation."""

from __future__ import annotations

import pytest

from icekit.admission import Identity, Request
from icekit.allocation import Allocation, Channel, Relay, TurnServerConfig, family_of
from icekit.errors import ConfigError
from icekit.net import Transport
from icekit.stun import Method, long_term_key, request
from tests.turn_client import CLIENT, PEER, SERVER


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": {}}, "needs credentials"),
        ({"users": {}, "secret": ""}, "needs credentials"),
        ({"relay_ipv4": None}, "a host to relay on"),
        ({"relay_ipv4": "::1"}, "not an IPv4 address"),
        ({"relay_ipv6": "127.0.0.1"}, "not an IPv6 address"),
        ({"relay_ipv4": "localhost"}, "'localhost' is not an IPv4 address"),
        ({"external_ipv4": "2001:db8::1"}, "not an IPv4 address"),
        ({"relay_ports": (0, 100)}, "relay ports 0 to 100"),
        ({"relay_ports": (100, 99)}, "relay ports 100 to 99"),
        ({"relay_ports": (1, 65536)}, "relay ports 1 to 65536"),
    ],
)
def test_a_configuration_that_cannot_be(changes: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"users": {"alice": "secret"}, "relay_ipv4": "127.0.0.1", **changes}
    with pytest.raises(ConfigError, match=message):
        TurnServerConfig(**values)  # type: ignore[arg-type]


def test_what_has_expired_is_forgotten() -> None:
    message = request(Method.ALLOCATE, bytes(12))
    allocation = Allocation(
        Request(message, CLIENT, SERVER, Transport.TLS, 20, False),
        Identity("alice", "alice", long_term_key("alice", "r", "secret")),
        600,
        True,
        0.0,
    )
    assert (allocation.streamed, allocation.places, family_of(SERVER)) == (True, 2, 1)
    allocation.permissions = {"192.0.2.1": 10.0, "192.0.2.2": 11.0}
    for number, expires in ((0x4000, 10.0), (0x4001, 11.0)):
        channel = Channel(number, PEER._replace(port=number), Relay(allocation, SERVER, SERVER))
        channel.expires = expires
        allocation.by_number[number] = allocation.by_peer[channel.peer] = channel
    allocation.forget_permissions(10.0)
    allocation.forget_channels(10.0)
    assert list(allocation.permissions) == ["192.0.2.2"]
    assert list(allocation.by_number) == [0x4001]
    assert list(allocation.by_peer) == [PEER._replace(port=0x4001)]
