"""What the errors of the system and of OpenSSL mean, in the words of ``icekit.net``."""

from __future__ import annotations

import errno
import os
import ssl

from icekit.errors import ConfigError
from icekit.net import Address, SocketFailure, StreamFailure

_BIND_FIXES = {
    errno.EACCES: "; choose a port above 1023, or run it as root",
    errno.EADDRINUSE: "; stop what listens there, or choose another port",
    errno.EADDRNOTAVAIL: "; choose an address of this host",
}


def bind_error(what: str, local: Address, error: OSError) -> ConfigError:
    """What to tell who named ``local``."""
    number = error.errno or 0
    # The text of asyncio repeats the address.
    text = os.strerror(number).lower() if number > 0 else error.strerror or str(error)
    return ConfigError(f"cannot {what} {local}: {text}{_BIND_FIXES.get(number, '')}")


def socket_failure(error: OSError) -> SocketFailure:
    """The kind of a UDP socket's error."""
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return SocketFailure.DENIED
        case errno.EADDRINUSE:
            return SocketFailure.IN_USE
        case errno.ECONNREFUSED | errno.ECONNRESET:
            return SocketFailure.REFUSED
        case errno.ENETUNREACH | errno.EHOSTUNREACH | errno.ENETDOWN | errno.EHOSTDOWN:
            return SocketFailure.UNREACHABLE
        case _:
            return SocketFailure.UNAVAILABLE


# Linux says EINVAL where the source address cannot reach the destination, such as loopback to the Internet.
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL, errno.EINVAL)


def has_no_route(error: OSError) -> bool:
    """Whether a datagram did not leave because there is no way from its source to its destination."""
    return error.errno in _NO_ROUTE


# X509_V_ERR_* of OpenSSL.
_NAME_ERRORS = (62, 63, 64)
_EXPIRY_ERRORS = (9, 10)


def stream_failure(error: Exception) -> tuple[StreamFailure, str]:
    """The kind of a connection's error, and the system's text."""
    match error:
        case ssl.SSLCertVerificationError():
            if error.verify_code in _NAME_ERRORS:
                return StreamFailure.TLS_NAME, error.verify_message
            if error.verify_code in _EXPIRY_ERRORS:
                return StreamFailure.TLS_EXPIRED, error.verify_message
            return StreamFailure.TLS_ISSUER, error.verify_message
        case ssl.SSLError():
            # A server that answers in plain text, or hangs up on a ClientHello, does not speak TLS on that port.
            reason = getattr(error, "reason", None) or str(error)
            plain = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
            return (StreamFailure.NOT_TLS if reason in plain else StreamFailure.TLS_OTHER), reason
        case ConnectionRefusedError():
            return StreamFailure.REFUSED, "connection refused"
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return StreamFailure.RESET, _system_text(error)
        case TimeoutError():
            return StreamFailure.TIMEOUT, "no answer"
        case ValueError():
            return StreamFailure.TLS_NAME, str(error)
        case _:
            return StreamFailure.UNREACHABLE, _system_text(error)


def _system_text(error: Exception) -> str:
    """What the system says of the error, without the number and the address that asyncio writes around it."""
    number = error.errno if isinstance(error, OSError) else None
    return str(error) if number is None else os.strerror(number).lower()
