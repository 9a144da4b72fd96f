"""A real TURN server for tests: coturn, one process per configuration, on ports of its own.

::

    with Coturn(CoturnConfig(denied_peers=("127.0.0.1",))) as coturn:
        client(coturn.turn_uri(), coturn.username, coturn.password)

The fixtures are in ``tests/interop/conftest.py``. A server that is up is in ``Coturn.running``, and the report of a
failed test shows its log (``add_logs``).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, NamedTuple

import pytest
import trustme

from icekit.net import Address
from tests.requirements import require_program, require_root

REALM = "icekit.test"
USERNAME = "alice"
PASSWORD = "correct-horse-battery"  # coturn's configuration file has no way to write a space or a colon
START_SECONDS = 15.0


class Ports(NamedTuple):
    """The ports of one server, on each of its addresses; relayed addresses are in ``first_relay``–``last_relay``."""

    plain: int
    alternate: int
    tls: int
    tls_alternate: int
    first_relay: int
    last_relay: int


# For a server that has a network namespace to itself.
STANDARD_PORTS = Ports(3478, 3479, 5349, 5350, 49152, 49251)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoturnConfig:
    """What to run; the defaults are a good server (UDP, TCP, TLS, DTLS, RFC 5780) on two loopback addresses.

    ``hosts``: two of them make RFC 5780 work. ``relay_host``: where relayed addresses are (default: the first host).
    ``realm`` None leaves the option away: REALM is then empty. ``auth_secret`` switches to time-limited users
    (``Coturn.time_limited``). ``plain_tcp`` False: the TLS port takes nothing but TLS (by itself coturn takes both on
    both ports). ``tls`` False: no port takes TLS or DTLS; a ClientHello then gets silence or a reset (the
    random bytes in it decide which), so a test must hold for both.
    ``certificate_names``: what the certificate is for. ``ports`` None reserves a free block, of which ``relay_ports``
    at most are for relaying. ``options``: more lines of the configuration file.
    """

    hosts: tuple[str, ...] = ("127.0.0.1", "127.0.0.2")
    relay_host: str | None = None
    realm: str | None = REALM
    auth_secret: str | None = None
    denied_peers: tuple[str, ...] = ()
    stun_only: bool = False
    tls: bool = True
    plain_tcp: bool = True
    certificate_names: tuple[str, ...] = ("localhost", "127.0.0.1", "turn.icekit.test")
    ports: Ports | None = None
    lifetime: int | None = None
    relay_ports: int | None = None
    options: tuple[str, ...] = ()


class Coturn:
    """One running ``turnserver``; a context manager.

    ``command`` turns an argument list into the one to execute: ``Namespace.command`` of ``icekit.lab`` runs the server
    inside a network namespace; a client that is to reach it is run with the attribute of that name. Skips the test
    where coturn is not installed, and fails with the log where it does not come up.
    """

    running: ClassVar[list[Coturn]] = []

    def __init__(
        self, config: CoturnConfig | None = None, *, command: Callable[[Sequence[str]], list[str]] = list
    ) -> None:
        self.config = config or CoturnConfig()
        self.command = command
        self._program = require_program("turnserver")
        self._reservation: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Coturn:
        self._folder = Path(tempfile.mkdtemp(prefix="icekit-coturn-"))
        try:
            # coturn itself opens its sockets late; another program may have taken one of the ports by then.
            for attempt in range(3):
                self._start()
                if self._comes_up():
                    break
                if self.config.ports is not None or attempt == 2:
                    raise AssertionError(f"turnserver did not come up:\n{self.log()}")
                self._stop_process()
        except BaseException:
            self.stop()
            raise
        self.running.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def username(self) -> str:
        return USERNAME

    @property
    def password(self) -> str:
        return PASSWORD

    def time_limited(self, expires_in: float, user: str = USERNAME) -> tuple[str, str]:
        """Username and password for ``auth_secret``; a negative number of seconds has expired already."""
        assert self.config.auth_secret is not None
        name = f"{int(time.time() + expires_in)}:{user}"
        digest = hmac.digest(self.config.auth_secret.encode(), name.encode(), hashlib.sha1)
        return name, base64.b64encode(digest).decode()

    @property
    def address(self) -> Address:
        """The plain port (UDP and TCP) on the first address."""
        return Address(self.config.hosts[0], self.ports.plain)

    @property
    def alternate_address(self) -> Address:
        """What OTHER-ADDRESS has to say (RFC 5780 §7.4)."""
        return Address(self.config.hosts[1], self.ports.alternate)

    @property
    def tls_address(self) -> Address:
        return Address(self.config.hosts[0], self.ports.tls)

    @property
    def relay_host(self) -> str:
        return self.config.relay_host or self.config.hosts[0]

    @property
    def ca_file(self) -> Path:
        """The issuer of its certificate; ``SSL_CERT_FILE`` makes OpenSSL, and so Python, trust it."""
        return self._folder / "ca.pem"

    def stun_uri(self, host: str | None = None) -> str:
        return f"stun:{host or self.address.host}:{self.ports.plain}"

    def turn_uri(self, transport: str = "udp", host: str | None = None) -> str:
        return f"turn:{host or self.address.host}:{self.ports.plain}?transport={transport}"

    def turns_uri(self, transport: str = "tcp", host: str = "localhost") -> str:
        """``udp`` is DTLS. By name, as a certificate wants it."""
        return f"turns:{host}:{self.ports.tls}?transport={transport}"

    def log(self) -> str:
        try:
            return (self._folder / "log").read_text(errors="replace")
        except OSError:
            return ""

    def stop(self) -> None:
        if self in self.running:
            self.running.remove(self)
        self._stop_process()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop_process(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._reservation is not None:
            self._reservation.close()
            self._reservation = None

    def _start(self) -> None:
        if self.config.ports is None:
            self._reservation, self.ports = _reserve_ports()
        else:
            self.ports = self.config.ports
        configuration = self._folder / "turnserver.conf"
        configuration.write_text("\n".join(self._options()) + "\n")
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self.command([str(self._program), "-c", str(configuration)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )

    def _options(self) -> Iterator[str]:
        config, ports = self.config, self.ports
        yield from (f"listening-ip={host}" for host in config.hosts)
        yield f"relay-ip={self.relay_host}"
        yield f"listening-port={ports.plain}"
        yield f"alt-listening-port={ports.alternate}"
        yield f"tls-listening-port={ports.tls}"
        yield f"alt-tls-listening-port={ports.tls_alternate}"
        yield f"min-port={ports.first_relay}"
        last = ports.last_relay if config.relay_ports is None else ports.first_relay + config.relay_ports - 1
        yield f"max-port={last}"
        yield from config.options
        # coturn allows this only with a password for its console, or with none at all.
        yield from ("allow-loopback-peers", "no-cli")
        yield from ("fingerprint", "verbose", "log-file=stdout", "no-multicast-peers")
        yield f"pidfile={self._folder / 'pid'}"
        yield f"userdb={self._folder / 'turndb'}"
        yield from (f"denied-peer-ip={host}" for host in config.denied_peers)
        if config.realm is not None:
            yield f"realm={config.realm}"
        if config.lifetime is not None:
            yield f"max-allocate-lifetime={config.lifetime}"
        if config.stun_only:
            yield "stun-only"
        elif config.auth_secret is not None:
            yield "use-auth-secret"
            yield f"static-auth-secret={config.auth_secret}"
        else:
            yield "lt-cred-mech"
            yield f"user={USERNAME}:{PASSWORD}"
        if not config.plain_tcp:
            yield "no-tcp"
        if not config.tls:
            yield from ("no-tls", "no-dtls")
        else:
            certificate, key = self._issue_certificate()
            yield f"cert={certificate}"
            yield f"pkey={key}"

    def _issue_certificate(self) -> tuple[Path, Path]:
        authority = trustme.CA()
        issued = authority.issue_cert(*self.config.certificate_names)
        certificate, key = self._folder / "cert.pem", self._folder / "key.pem"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        self.ca_file.write_bytes(authority.cert_pem.bytes())
        # It drops its privileges if it is told to; nothing here is worth guarding.
        for path in (certificate, key, self.ca_file):
            path.chmod(0o644)
        return certificate, key

    def _comes_up(self) -> bool:
        """Whether it has all its listeners and answers a Binding request on every address."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            # It would try to bind for a long time; a fresh block of ports is quicker.
            hopeless = self._process.poll() is not None or "Cannot bind" in self.log()
            if hopeless or time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return all(self._answers(host) for host in self.config.hosts)

    def _listens(self) -> bool:
        # In the log and not in /proc/net: it may be in another network namespace.
        opened = set(re.findall(r"(TCP|TLS|UDP) listener opened on ?: (\S+)", self.log()))
        ports = self.ports
        wanted = {("UDP", ports.plain), ("UDP", ports.alternate)}
        if self.config.plain_tcp:
            wanted.add(("TCP", ports.plain))
        if self.config.tls:
            wanted |= {("TCP" if self.config.plain_tcp else "TLS", ports.tls), ("UDP", ports.tls)}
        return all((kind, f"{host}:{port}") in opened for kind, port in wanted for host in self.config.hosts)

    def _answers(self, host: str) -> bool:
        client = str(require_program("turnutils_stunclient"))
        command = self.command([client, "-p", str(self.ports.plain), host])
        try:
            asked = subprocess.run(command, capture_output=True, timeout=5.0, check=False)
        except subprocess.TimeoutExpired:
            return False
        return b"reflexive addr" in asked.stdout


@contextmanager
def relay_firewall(coturn: Coturn, direction: str = "in") -> Iterator[None]:
    """Drop UDP at the relayed addresses of one server: ``in`` what peers send to them, ``out`` what they send to peers.

    Needs root. Touches nothing but the ports that this server has reserved, in an nftables table of its own.
    """
    require_root()
    nft = str(require_program("nft"))
    table = f"inet icekit-test-{os.getpid()}-{coturn.ports.plain}"
    port = {"in": "dport", "out": "sport"}[direction]
    rule = f"ip daddr {coturn.relay_host} udp {port} {coturn.ports.first_relay}-{coturn.ports.last_relay} drop"
    if direction == "out":
        rule = rule.replace("daddr", "saddr")
    chain = f"chain input {{ type filter hook input priority filter; {rule}; }}"
    subprocess.run([nft, "-f", "-"], input=f"table {table} {{\n{chain}\n}}\n", text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([nft, "delete", "table", *table.split()], check=True)


def add_logs(report: pytest.TestReport) -> None:
    """Show what the running servers wrote last beside a failure."""
    if report.failed:
        for coturn in Coturn.running:
            lines = coturn.log().splitlines()[-40:]
            report.sections.append((f"turnserver on {coturn.address}, end of its log", "\n".join(lines)))


# Below the ports that the kernel hands out by itself (32768 and up), so that no client socket takes one.
_BLOCKS = range(10_000, 32_000, 100)


def _reserve_ports() -> tuple[socket.socket, Ports]:
    """A block of 100 ports that no other server of these tests uses, on this machine, as long as the socket is open.

    The socket is the reservation: it holds the first port of the block for TCP, which the server does not use.
    """
    blocks = list(_BLOCKS)
    random.shuffle(blocks)
    for first in blocks:
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            holder.bind(("127.0.0.1", first))
            holder.listen(1)
        except OSError:
            holder.close()
            continue
        return holder, Ports(first + 1, first + 2, first + 3, first + 4, first + 10, first + 99)
    raise AssertionError("no free block of ports")
