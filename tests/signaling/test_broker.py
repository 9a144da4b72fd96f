from __future__ import annotations

import pytest

from icekit.errors import ConfigError
from icekit.signaling.broker import BrokerUrl


def test_every_part() -> None:
    url = BrokerUrl.parse("stomp+ws://us%40er:p%2Fw@[::1]:15674/ws?topic=a.b", options=("topic",))
    assert (url.scheme, url.host, url.port, url.path) == ("stomp+ws", "::1", 15674, "ws")
    assert (url.username, url.password) == ("us@er", "p/w")
    assert url.options == {"topic": "a.b"}
    assert "p/w" not in repr(url)
    assert BrokerUrl.parse("mqtt://host/a/b").room() == "a/b"
    assert BrokerUrl.parse("mqtt://host/a").port is None


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("nats:///room", "nats URL, host"),
        ("nats://host:port/room", "nats URL: Port"),
        ("nats://[::1/room", "nats URL: Invalid"),
        ("nats://host/room?a=b", "nats URL, option: found 'a', allowed: none"),
    ],
)
def test_what_cannot_be(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        BrokerUrl.parse(url)


@pytest.mark.parametrize(
    "room", ["", "#", "+", "a/#", "*", ">", "a..b", ".a", "a.", "/a", "a b", "$SYS", "a" * 201, "é"]
)
def test_no_room_hears_another(room: str) -> None:
    with pytest.raises(ConfigError, match="room: found"):
        BrokerUrl.parse("mqtt://host").room(room)


def test_tls_checks_certificates() -> None:
    assert BrokerUrl.parse("mqtt://host/a").tls("mqtts") is None
    context = BrokerUrl.parse("mqtts://host/a").tls("mqtts")
    assert context is not None
    assert context.check_hostname
