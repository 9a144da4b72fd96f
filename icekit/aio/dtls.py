"""DTLS to a server (``turns:`` with ``?transport=udp``, RFC 7350): OpenSSL on a connected UDP socket.

Python's ``ssl`` has no DTLS; pyOpenSSL has. ``open_dtls`` gives a protocol the surface of a TLS transport: ``write``
sends one record, ``data_received`` gets the content of one. Errors are those of ``ssl`` and of the system.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from contextlib import suppress
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto

# Bytes of a UDP packet that every path takes: the smallest MTU of IPv6 is 1,280.
_MTU = 1200
_RECORD_HEADER = 13
# X509_V_ERR_* of OpenSSL, in its own words; pyOpenSSL does not hand them out.
_HOSTNAME_MISMATCH, _IP_MISMATCH = 62, 64
_FLAWS = {
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
}


async def open_dtls(
    protocol: asyncio.Protocol,
    remote: tuple[str, int],
    *,
    local_host: str | None,
    server_name: str,
    ssl_context: ssl.SSLContext | None,
) -> None:
    """Connect, shake hands and check that the certificate is valid and for ``server_name``.

    Trusted are the authorities of ``ssl_context``, or the system's. OSError, which ``ssl.SSLError`` is, when it fails;
    it may take for ever where nobody answers, so the caller has to cancel it. ``protocol`` gets ``connection_made``
    before the handshake, and with it the transport to abort.
    """
    loop = asyncio.get_running_loop()
    transport = DtlsTransport(protocol, server_name, ssl_context)
    local = None if local_host is None else (local_host, 0)
    await loop.create_datagram_endpoint(lambda: transport, local_addr=local, remote_addr=remote)
    await transport.opened


class DtlsTransport(asyncio.DatagramProtocol):
    """A connection: a protocol to the UDP socket, a transport to ``protocol``; ``opened`` is done or has the error."""

    def __init__(self, protocol: asyncio.Protocol, server_name: str, ssl_context: ssl.SSLContext | None) -> None:
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self._protocol = protocol
        self._server_name = server_name
        self._flaw: tuple[int, str] | None = None
        self._udp: Any = None
        self._timer: asyncio.TimerHandle | None = None
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.set_verify(SSL.VERIFY_PEER, self._verify)
        _trust(context, ssl_context)
        self._connection = SSL.Connection(context, None)
        self._connection.set_ciphertext_mtu(_MTU)
        self._connection.set_connect_state()
        if not _is_address(server_name):
            # RFC 6066 §3: a server name must be a DNS name, without the last dot.
            self._connection.set_tlsext_host_name(server_name.rstrip(".").encode("idna"))

    # DatagramProtocol.

    def connection_made(self, transport: Any) -> None:
        """The socket is there: say hello."""
        self._udp = transport
        self._protocol.connection_made(self)  # type: ignore[arg-type]
        self._advance()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Records, or garbage, which OpenSSL drops (RFC 6347 §4.1.2.7)."""
        if not self._udp.is_closing():
            self._connection.bio_write(data)
            self._advance()

    def error_received(self, exc: Exception) -> None:
        """ICMP: nobody is there (any more)."""
        self._end(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._stop_timer()
        if not self.opened.done():
            self.opened.cancel()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The system's buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """There is room again."""
        self._protocol.resume_writing()

    # Transport.

    def write(self, data: bytes) -> None:
        """Send ``data`` as one record; after an error it is lost, as a datagram may be."""
        try:
            self._connection.send(data)
        except SSL.Error:
            return
        self._flush()

    def close(self) -> None:
        """Say goodbye and close."""
        if self._udp.is_closing():
            return
        # Before the end of the handshake there is nothing to say goodbye to.
        with suppress(SSL.Error):
            self._connection.shutdown()
        self._flush()
        self._stop_timer()
        self._udp.close()

    def abort(self) -> None:
        """Close."""
        self._stop_timer()
        self._udp.abort()

    def is_closing(self) -> bool:
        """Whether ``close`` or ``abort`` was called, or the connection is lost."""
        return bool(self._udp.is_closing())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``sockname`` and ``peername`` of the socket."""
        return self._udp.get_extra_info(name, default)

    # Inside.

    def _advance(self) -> None:
        """Let OpenSSL work on what has come, send what it wants sent, arm its timer."""
        if not self.opened.done():
            self._shake_hands()
        if self.opened.done() and not self._udp.is_closing():
            self._read()
        self._flush()
        self._arm_timer()

    def _shake_hands(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self._flush()
            self._end(self._explain(error))
        else:
            self.opened.set_result(None)

    def _read(self) -> None:
        while True:
            try:
                data = self._connection.recv(65536)
            except SSL.WantReadError:
                return
            except SSL.Error:
                # close_notify, or a fatal alert
                self._end(None)
                return
            self._protocol.data_received(data)

    def _flush(self) -> None:
        """The BIO is a stream without borders: cut it at those of the records, as many to a packet as fit."""
        try:
            data = self._connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return
        if self._udp.is_closing():
            return
        start = end = 0
        while end < len(data):
            following = end + _RECORD_HEADER + int.from_bytes(data[end + 11 : end + 13])
            if following - start > _MTU and end > start:
                self._udp.sendto(data[start:end])
                start = end
            end = following
        self._udp.sendto(data[start:])

    def _arm_timer(self) -> None:
        self._stop_timer()
        if not self._udp.is_closing() and (seconds := self._connection.DTLSv1_get_timeout()) is not None:
            self._timer = self._loop.call_later(max(seconds, 0.001), self._timer_fired)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timer_fired(self) -> None:
        self._timer = None
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self._end(TimeoutError("no answer"))
            return
        self._advance()

    def _end(self, error: Exception | None) -> None:
        self._stop_timer()
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionResetError("closed during the handshake"))
        self._udp.abort()

    # The certificate.

    def _verify(self, connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, valid: int) -> bool:
        """OpenSSL's question for each certificate of the chain; the server's own is the last."""
        if not valid:
            self._flaw = self._flaw or (code, _FLAWS.get(code, f"certificate error {code}"))
            return False
        if depth == 0 and not is_certificate_for(certificate.to_cryptography(), self._server_name):
            mismatch = _IP_MISMATCH if _is_address(self._server_name) else _HOSTNAME_MISMATCH
            self._flaw = (mismatch, f"certificate is not valid for '{self._server_name}'")
            return False
        return True

    def _explain(self, error: SSL.Error) -> ssl.SSLError:
        if self._flaw is not None:
            failure = ssl.SSLCertVerificationError(1, self._flaw[1])
            failure.verify_code, failure.verify_message = self._flaw
            return failure
        reasons = [reason for entry in (error.args[0] if error.args else ()) for reason in entry[2:] if reason]
        return ssl.SSLError(1, reasons[0] if reasons else "DTLS handshake failed")


def _trust(context: SSL.Context, trusted: ssl.SSLContext | None) -> None:
    if trusted is None:
        context.set_default_verify_paths()
        return
    store = context.get_cert_store()
    assert store is not None
    for authority in trusted.get_ca_certs(binary_form=True):
        store.add_cert(crypto.X509.from_cryptography(x509.load_der_x509_certificate(authority)))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_certificate_for(certificate: x509.Certificate, name: str) -> bool:
    """Whether ``name`` (a DNS name or an IP literal) is among its alternative names (RFC 9525 §6); never raises."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    if _is_address(name):
        return ipaddress.ip_address(name) in names.get_values_for_type(x509.IPAddress)
    wanted = name.rstrip(".").lower().split(".")
    return any(_matches(pattern.lower().split("."), wanted) for pattern in names.get_values_for_type(x509.DNSName))


def _matches(pattern: list[str], wanted: list[str]) -> bool:
    # RFC 9525 §6.3: a wildcard must be the whole leftmost label, and stands for exactly one.
    if pattern[0] == "*" and len(pattern) > 2:
        return len(pattern) == len(wanted) and pattern[1:] == wanted[1:]
    return pattern == wanted
