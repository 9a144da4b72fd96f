"""Until when the certificate of a TLS server is valid, whether or not it can be trusted."""

from __future__ import annotations

import asyncio
import ssl

from icekit.net import Address

_TIMEOUT = 5.0


async def certificate_expiry(address: Address, server_name: str | None) -> float | None:
    """The end of its certificate as Unix time; ``None`` if it cannot be read, or no handshake came about in 5 s.

    A connection of its own: an expired certificate ends the one that a client would use before it can be read.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_TIMEOUT):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=context, server_hostname=server_name or address.host
            )
    except (OSError, TimeoutError):
        return None
    try:
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = connection.getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return None if certificate is None else _not_after(certificate)


def _not_after(certificate: bytes) -> float | None:
    # aiortc brings it; it takes a tenth of a second to load.
    from cryptography.x509 import InvalidVersion, load_der_x509_certificate

    try:
        return load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except (ValueError, InvalidVersion):
        # OpenSSL takes more than the standard allows.
        return None
