"""Errors of the system, by kind."""

from __future__ import annotations

import errno
import ssl

import pytest

from icekit.aio.failures import bind_error, socket_failure, stream_failure
from icekit.net import Address, SocketFailure, StreamFailure


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.EACCES, SocketFailure.DENIED),
        (errno.EPERM, SocketFailure.DENIED),
        (errno.EADDRINUSE, SocketFailure.IN_USE),
        (errno.ECONNREFUSED, SocketFailure.REFUSED),
        (errno.ENETUNREACH, SocketFailure.UNREACHABLE),
        (errno.EHOSTUNREACH, SocketFailure.UNREACHABLE),
        (errno.EADDRNOTAVAIL, SocketFailure.UNAVAILABLE),
    ],
)
def test_kinds_of_socket_errors(number: int, failure: SocketFailure) -> None:
    assert socket_failure(OSError(number, "text")) is failure


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ConnectionRefusedError(), StreamFailure.REFUSED),
        (ConnectionResetError(), StreamFailure.RESET),
        (BrokenPipeError(), StreamFailure.RESET),
        (TimeoutError(), StreamFailure.TIMEOUT),
        (OSError(errno.ENETUNREACH, "x"), StreamFailure.UNREACHABLE),
        (OSError(errno.EADDRNOTAVAIL, "x"), StreamFailure.UNREACHABLE),
        (ssl.SSLError(1, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] x"), StreamFailure.TLS_OTHER),
        (ValueError("server_hostname"), StreamFailure.TLS_NAME),
    ],
)
def test_kinds_of_stream_errors(error: Exception, failure: StreamFailure) -> None:
    assert stream_failure(error)[0] is failure


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EACCES, "choose a port above 1023"),
        (errno.EADDRINUSE, "stop what listens there"),
        (errno.EADDRNOTAVAIL, "choose an address of this host"),
        (errno.ENOBUFS, "no buffer space available"),
    ],
)
def test_who_named_the_address_is_told_what_to_do(number: int, fix: str) -> None:
    text = str(bind_error("bind UDP", Address("192.0.2.1", 53), OSError(number, "text")))
    assert text.startswith("cannot bind UDP 192.0.2.1:53: ")
    assert fix in text
