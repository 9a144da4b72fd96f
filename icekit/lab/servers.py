"""The servers of a TUN laboratory: ``python -m icekit.lab.servers HOST…`` in its namespace. They end with their stdin.

icekit's own STUN and TURN server by default, or coturn. Ports 3478 and 3479 on every host, and TURN over TCP on 443 for
networks that let nothing else out.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import icekit
from icekit.aio.server import serve
from icekit.coturn import coturn_config
from icekit.errors import ConfigError, IcekitError
from icekit.lab.namespaces import Namespace
from icekit.net import canonical_host
from icekit.server import ServerConfig, TurnServerConfig
from icekit.stun import Class, Message, Method

USERNAME = "icekit"
PORTS = (3478, 3479)
WEB_PORTS = (443, 444)

_PASSWORD_VARIABLE = "ICEKIT_CREDENTIAL"  # noqa: S105  # its name
_READY = "ready"
_PATIENCE = 20.0
# Two relays on one address do not reach for the same ports.
_RELAY_PORTS = {PORTS: (49152, 57343), WEB_PORTS: (57344, 65535)}


@contextmanager
def running_servers(namespace: Namespace, hosts: tuple[str, ...], password: str, *, coturn: bool) -> Iterator[None]:
    """The servers on these addresses of ``namespace``, in a process of their own. ConfigError if they do not start."""
    # Found wherever this package is, not where the command was called.
    environment = os.environ | {_PASSWORD_VARIABLE: password, "PYTHONPATH": str(Path(icekit.__file__).parent.parent)}
    command = [sys.executable, "-P", "-m", __name__, *(["--coturn"] if coturn else []), *hosts]
    with tempfile.TemporaryFile("w+") as log:
        process = namespace.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment)
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                if process.stdout.readline().strip() != _READY:
                    process.wait(_PATIENCE)
                    log.seek(0)
                    lines = log.read().strip().splitlines() or ["no reason given"]
                    raise ConfigError(f"the servers of the laboratory do not start: {lines[-1]}")
                yield
            finally:
                process.stdin.close()
                try:
                    process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()


def urls(host: str) -> tuple[str, ...]:
    """What a client may ask on ``host``."""
    return (
        f"stun:{host}",
        f"turn:{host}?transport=udp",
        f"turn:{host}?transport=tcp",
        f"turn:{host}:{WEB_PORTS[0]}?transport=tcp",
    )


def _turn(hosts: list[str], password: str, relay_ports: tuple[int, int]) -> TurnServerConfig:
    literals = [canonical_host(host) for host in hosts]
    return TurnServerConfig(
        users={USERNAME: password},
        relay_ipv4=next((host for host in literals if ":" not in host), None),
        relay_ipv6=next((host for host in literals if ":" in host), None),
        relay_ports=relay_ports,
    )


async def _serve(hosts: list[str], password: str) -> None:
    async with AsyncExitStack() as stack:
        for ports, relay_ports in _RELAY_PORTS.items():
            # The clients of a laboratory look like one network, and none of them is a stranger.
            config = ServerConfig(turn=_turn(hosts, password, relay_ports), rate=100_000.0, burst=100_000.0)
            await stack.enter_async_context(serve(config, hosts=hosts, ports=ports))
        print(_READY, flush=True)  # noqa: T201  # read by running_servers
        await asyncio.to_thread(sys.stdin.read)


def _run_coturn(hosts: list[str], password: str) -> None:
    program = shutil.which("turnserver") or shutil.which("turnserver", path="/usr/sbin:/usr/bin")
    if program is None:
        raise ConfigError("coturn is not installed: apt-get install coturn")
    text = coturn_config(_turn(hosts, password, (49152, 65535)), hosts=hosts, port=PORTS[0], alternate_port=PORTS[1])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "turnserver.conf")
        text += "".join(f"aux-server={f'[{host}]' if ':' in host else host}:{WEB_PORTS[0]}\n" for host in hosts)
        text += f"log-file={folder}/log\nsimple-log\npidfile={folder}/pid\nuserdb={folder}/db\n"
        file.touch(0o600)
        file.write_text(text, encoding="utf-8")
        with subprocess.Popen([program, "-c", str(file)], stdout=subprocess.DEVNULL) as process:  # noqa: S603
            try:
                _await_coturn(hosts, process)
                print(_READY, flush=True)  # noqa: T201
                sys.stdin.read()
            finally:
                process.terminate()


def _await_coturn(hosts: list[str], process: subprocess.Popen[bytes]) -> None:
    """Until every listener answers: they come up one by one, in an order of coturn's own."""
    deadline = time.monotonic() + _PATIENCE
    missing = [(kind, host, port) for kind in ("udp", "tcp") for host in hosts for port in (*PORTS, WEB_PORTS[0])]
    while process.poll() is None and time.monotonic() < deadline:
        missing = [listener for listener in missing if not _answers(*listener)]
        if not missing:
            return
        time.sleep(0.02)
    where = ", ".join(f"{kind} {host}:{port}" for kind, host, port in missing)
    code = process.poll()
    ended = f"is still starting after {_PATIENCE:.0f} s" if code is None else f"ended with exit code {code}"
    raise ConfigError(f"coturn {ended}; run turnserver by hand to see why. Nothing listens on {where}")


def _answers(kind: str, host: str, port: int) -> bool:
    try:
        if kind == "tcp":
            socket.create_connection((host, port), timeout=1).close()
            return True
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            asking.connect((host, port))
            asking.send(Message(Method.BINDING, Class.REQUEST, os.urandom(12)).encode())
            return bool(asking.recv(2048))
    except OSError:
        return False


def main(arguments: list[str]) -> None:
    """Run until stdin ends."""
    # Ctrl-C is for the command in the laboratory, which may still need its relay.
    os.setsid()
    password = os.environ.pop(_PASSWORD_VARIABLE)
    coturn, hosts = arguments[:1] == ["--coturn"], [item for item in arguments if item != "--coturn"]
    try:
        if coturn:
            _run_coturn(hosts, password)
        else:
            asyncio.run(_serve(hosts, password))
    except IcekitError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
