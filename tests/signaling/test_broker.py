from __future__ import annotations

import socket
import ssl

import pytest

from icekit.errors import ConfigError
from icekit.signaling.broker import BrokerUrl, certificate_error, reason


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


def bad_certificate(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_code, error.verify_message = code, message
    return error


def test_a_bad_certificate_is_found_behind_the_errors_of_a_library() -> None:
    bad = bad_certificate(20, "unable to get local issuer certificate")

    def connect() -> None:
        try:
            try:
                raise bad
            except OSError:
                raise RuntimeError("connecting") from None
        except RuntimeError as error:
            raise ValueError("refused") from error

    with pytest.raises(ValueError, match="refused") as caught:
        connect()
    assert certificate_error(caught.value) is bad
    assert certificate_error(ValueError("refused")) is None


def test_why_there_is_no_connection() -> None:
    assert reason(bad_certificate(20, "no issuer")).endswith("(no issuer): if it is right, name a file with the "
        "certificate of its authority in SSL_CERT_FILE")  # fmt: skip
    assert reason(bad_certificate(62, "Hostname mismatch.")).endswith(
        "(Hostname mismatch): connect by a name or address that it was issued for"
    )
    refused = "nothing listens there; start the server, or correct host and port"
    assert reason(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")) == refused
    both = "[Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] Connect call failed ('127.0.0.1', 1)"
    assert reason(OSError(f"Multiple exceptions: {both}")) == refused
    assert reason(socket.gaierror(-2, "Name or service not known")) == (
        "the name of the host is not found (Name or service not known); check its spelling"
    )
    # Not the fault of the name.
    again = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert reason(again).endswith("(Temporary failure in name resolution); check this host's network and DNS")
    for number in (101, 113):
        for error in (OSError(number, "Network is unreachable"), OSError(f"Multiple exceptions: [Errno {number}] x")):
            assert reason(error).startswith("there is no route to it; check this host's network")
    assert reason(TimeoutError()).startswith("no answer in time")
    assert reason(ConnectionResetError(104, "Connection reset by peer")).endswith("the scheme says so (wss: or ws:)")
    assert reason(ConnectionResetError()) == reason(ConnectionResetError(104, "Connection reset by peer"))
    assert reason(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")).startswith("TLS fails (")
