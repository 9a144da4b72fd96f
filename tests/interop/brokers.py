"""Real message brokers for tests, one process each, on free ports of 127.0.0.1, with folders of their own.

::

    with rabbitmq() as broker:
        connect(f"stomp://guest:guest@127.0.0.1:{broker.ports['stomp']}/room")
        await broker.restart()                  # SIGKILL, then the same again on the same ports
        await broker.kill()                     # SIGKILL: nobody listens until
        await broker.start()
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import trustme

from tests.requirements import find_program, require_program

ROOT = Path(__file__).resolve().parents[2]

STARTING = 90.0
"""How long a broker may take to listen, in seconds; RabbitMQ takes five where nothing else runs."""

# Runs the broker; the next line that it reads kills it, the one after that runs it again, and so on; at the end of its
# input it kills it and ends, also when the tests are killed. The broker is not our child, so that a test may end with
# another process than it began with. RabbitMQ's program is a shell script with the broker inside: the whole group is
# killed, and waited for, ten seconds at most: the first process of a container may bury no orphans. The file "pid" is
# there while it runs.
SUPERVISOR = """
while :; do
    setsid "$@" >>log 2>&1 </dev/null &
    broker=$!
    echo $broker >pid.new && mv pid.new pid
    read -r again
    last=$?
    kill -9 -$broker $broker
    wait $broker
    turns=0
    while kill -0 -$broker && [ $turns -lt 500 ]; do sleep 0.02; turns=$((turns + 1)); done
    rm pid
    [ $last = 0 ] && read -r again || exit 0
done
"""


class Broker:
    """A broker that is running. ``ports`` by name; it is up when each of them takes connections."""

    def __init__(
        self,
        ports: Sequence[str],
        configure: Callable[[Path, Mapping[str, int]], Sequence[str | Path]],
        environment: Callable[[Path, Mapping[str, int]], Mapping[str, str]] = lambda folder, ports: {},
        cleanup: Callable[[Mapping[str, str]], None] = lambda environment: None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="icekit-broker-")
        self.folder = Path(self._folder.name)
        self.ports = dict(zip(ports, free_ports(len(ports)), strict=True))
        self._command = [str(word) for word in configure(self.folder, self.ports)]
        self._environment = {**os.environ, **environment(self.folder, self.ports)}
        self._cleanup = cleanup
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broker:
        self._supervisor = subprocess.Popen(
            ["/bin/sh", "-c", SUPERVISOR, "sh", *self._command],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env=self._environment,
        )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._supervisor is not None
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.close()
        self._supervisor.wait(STARTING)
        self._cleanup(self._environment)
        self._folder.cleanup()

    async def restart(self) -> None:
        """Kill it, and start it again when it is dead."""
        await self.kill()
        await self.start()

    async def kill(self) -> None:
        """Return when it is dead: everybody's connections are broken, and nobody listens."""
        await asyncio.to_thread(self._command_supervisor, self._wait_until_dead)

    async def start(self) -> None:
        """Start it again after ``kill``; return when it listens."""
        await asyncio.to_thread(self._command_supervisor, self._wait_until_up)

    @property
    def is_running(self) -> bool:
        """Whether there is a process, which may not listen yet."""
        return (self.folder / "pid").exists()

    def _command_supervisor(self, wait: Callable[[], None]) -> None:
        assert self._supervisor is not None
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.write(b"\n")
        self._supervisor.stdin.flush()
        wait()

    def _wait_until_dead(self) -> None:
        deadline = time.monotonic() + STARTING
        while self.is_running:
            assert time.monotonic() < deadline, "the broker does not die"
            time.sleep(0.01)

    def _wait_until_up(self) -> None:
        assert self._supervisor is not None
        deadline = time.monotonic() + STARTING
        for name, port in self.ports.items():
            while not is_listening(port):
                log = self.folder / "log"
                said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
                assert time.monotonic() < deadline, f"{self._command[0]} does not listen on port {name}:\n{said}"
                time.sleep(0.02)


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 below those that the kernel gives to clients, which a restart could find taken."""
    ports: list[int] = []
    holders: list[socket.socket] = []
    candidates = iter(range(20000 + os.getpid() * 17 % 10000, 32000))
    try:
        while len(ports) < count:
            holder = socket.socket()
            try:
                holder.bind(("127.0.0.1", port := next(candidates)))
            except OSError:
                holder.close()
                continue
            holders.append(holder)
            ports.append(port)
    finally:
        for holder in holders:
            holder.close()
    return ports


def issue_certificate(folder: Path) -> tuple[Path, Path]:
    """The files with a certificate for 127.0.0.1, and with its key; ``authority.pem`` is whom to trust for it."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def mosquitto() -> Broker:
    """Ports ``mqtt`` and, over TLS, ``mqtts``; everybody may do everything."""

    def configure(folder: Path, ports: Mapping[str, int]) -> list[str | Path]:
        certificate, key = issue_certificate(folder)
        (folder / "mosquitto.conf").write_text(
            "allow_anonymous true\npersistence false\nuser root\n"
            f"listener {ports['mqtt']} 127.0.0.1\n"
            f"listener {ports['mqtts']} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n"
        )
        return [require_program("mosquitto"), "-c", folder / "mosquitto.conf"]

    return Broker(["mqtt", "mqtts"], configure)


def redis() -> Broker:
    """Ports ``redis`` and, over TLS, ``rediss``; nothing is saved."""

    def configure(folder: Path, ports: Mapping[str, int]) -> list[str | Path]:
        program = require_program("redis-server")
        certificate, key = issue_certificate(folder)
        options = ["--port", str(ports["redis"]), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        tls = ["--tls-port", str(ports["rediss"]), "--tls-cert-file", certificate, "--tls-key-file", key]
        return [program, *options, *tls, "--tls-auth-clients", "no", "--dir", folder]

    return Broker(["redis", "rediss"], configure)


def nats(*, tls: bool = False) -> Broker:
    """Port ``nats``, which speaks TLS if that is wanted."""

    def configure(folder: Path, ports: Mapping[str, int]) -> list[str | Path]:
        certificate, key = issue_certificate(folder)
        options = ["--tls", "--tlscert", certificate, "--tlskey", key] if tls else []
        return [require_program("nats-server"), "-a", "127.0.0.1", "-p", str(ports["nats"]), *options]

    return Broker(["nats"], configure)


def icekit_serve(*options: str) -> Broker:
    """Port ``http``: ``icekit serve --signaling-only`` with more ``options``."""

    def configure(folder: Path, ports: Mapping[str, int]) -> list[str | Path]:
        port = ["--host", "127.0.0.1", "--http-port", str(ports["http"])]
        return [sys.executable, "-m", "icekit", "serve", "--signaling-only", *port, *options]

    return Broker(["http"], configure, lambda folder, ports: {"PYTHONPATH": str(ROOT)})


def rabbitmq() -> Broker:
    """Ports ``stomp`` and ``web_stomp`` (plugin web_stomp, path ``/ws``), over TLS ``stomps`` and ``web_stomps``.

    User and password are ``guest``.
    """
    # Debian's script in sbin changes to a user of its own and to the system's folders.
    program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

    def configure(folder: Path, ports: Mapping[str, int]) -> list[str | Path]:
        require_program("rabbitmq-server")
        certificate, key = issue_certificate(folder)
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{ports['amqp']}\n"
            f"stomp.listeners.tcp.1 = 127.0.0.1:{ports['stomp']}\n"
            f"web_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = {ports['web_stomp']}\n"
            f"stomp.listeners.ssl.1 = 127.0.0.1:{ports['stomps']}\n"
            f"ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n"
            f"web_stomp.ssl.ip = 127.0.0.1\nweb_stomp.ssl.port = {ports['web_stomps']}\n"
            f"web_stomp.ssl.certfile = {certificate}\nweb_stomp.ssl.keyfile = {key}\n"
        )
        (folder / "enabled_plugins").write_text("[rabbitmq_web_stomp].\n")
        return [program]

    def environment(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
        return {
            # Erlang's cookie, and the port of its name server, so that others on this machine are left alone.
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(ports["distribution"] + 20000),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
            "RABBITMQ_NODENAME": f"icekit-{ports['amqp']}@localhost",
            "RABBITMQ_DIST_PORT": str(ports["distribution"]),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

    def stop_name_server(environment: Mapping[str, str]) -> None:
        epmd = find_program("epmd")
        if epmd is not None:
            subprocess.run([epmd, "-kill"], env=dict(environment), capture_output=True, check=False, timeout=10)

    return Broker(
        ["stomp", "web_stomp", "stomps", "web_stomps", "amqp", "distribution"], configure, environment, stop_name_server
    )
