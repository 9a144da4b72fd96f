"""``icekit turn`` against coturn: all stages pass on a good server, each fault has a code or cause of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from icekit.lab.namespaces import Namespace
from tests.faults import FIRST, Fault
from tests.interop.coturn import PASSWORD, STANDARD_PORTS, USERNAME, Coturn, CoturnConfig, relay_firewall
from tests.requirements import require_netns, require_program, require_root

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.interop("turnserver", "turnutils_stunclient")

STAGES = {
    "udp": "resolve challenge allocate relay-address permission channel echo refresh release",
    "tcp": "resolve connect challenge allocate relay-address permission channel echo refresh release",
    "tls": "resolve connect tls challenge allocate relay-address permission channel echo refresh release",
    "dtls": "resolve tls challenge allocate relay-address permission channel echo refresh release",
}
FIELDS = [
    *("schema", "url", "ok", "failed_stage", "code", "cause", "lifetime", "relayed_address", "rtt", "stages"),
    *("server_address", "warnings", "not_tested", "packet_passed", "packet_lost", "reason", "findings"),
]


@dataclass
class Setting:
    """A server with a fault, and how to ask it."""

    uri: str
    server: Coturn | None = None
    username: str = USERNAME
    credential: str = PASSWORD
    trusted: bool = True
    stack: ExitStack = field(default_factory=ExitStack)

    def command(self) -> list[str]:
        arguments = [sys.executable, "-m", "icekit", "turn", self.uri, "--json"]
        arguments += ["--username", self.username, "--credential", self.credential]
        return arguments if self.server is None else self.server.command(arguments)

    def environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT")}
        environment["PYTHONPATH"] = str(ROOT)
        if self.server is not None and self.trusted:
            environment["SSL_CERT_FILE"] = str(self.server.ca_file)
        return environment

    def run(self) -> tuple[int, dict[str, Any]]:
        """Exit code and document; nothing may be secret in it."""
        done = subprocess.run(
            self.command(), env=self.environment(), capture_output=True, text=True, timeout=40, check=False
        )
        assert done.stderr == ""
        assert self.credential not in done.stdout
        document = json.loads(done.stdout)
        assert list(document) == FIELDS
        assert document["schema"] == "icekit/turn/1"
        assert document["url"] == self.uri
        return done.returncode, document


Start = Callable[[CoturnConfig], Coturn]


def left_over(server: Coturn, before: str = "") -> list[str]:
    """Allocations that coturn made and was not asked to end, by its log. Waits until it has written everything.

    ``before``: what it had written by then; other tests may leave theirs to time out.
    """
    deadline = time.monotonic() + 5
    while True:
        log = server.log().removeprefix(before)
        made = re.findall(r"session (\d+): new, realm", log)
        left = [session for session in made if not re.search(rf"session {session}: refreshed, .*lifetime=0\b", log)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def made(server: Coturn) -> int:
    return len(re.findall(r"session \d+: new, realm", server.log()))


@pytest.mark.parametrize("transport", STAGES)
def test_all_stages_pass(coturn: Coturn, transport: str) -> None:
    uri = {"tls": coturn.turns_uri(), "dtls": coturn.turns_uri("udp")}.get(transport) or coturn.turn_uri(transport)
    log, before = coturn.log(), made(coturn)
    exits, document = Setting(uri, coturn).run()
    assert exits == 0, document
    assert [stage["name"] for stage in document["stages"]] == STAGES[transport].split()
    assert all(stage["ok"] for stage in document["stages"])
    summary = {name: document[name] for name in ("ok", "failed_stage", "code", "cause", "lifetime", "warnings")}
    assert summary == {
        "ok": True,
        "failed_stage": None,
        "code": None,
        "cause": None,
        "lifetime": 600,
        "warnings": [],
    }
    assert document["not_tested"] == []
    assert 0 < document["rtt"] < 1
    host, _, port = document["relayed_address"].rpartition(":")
    assert host == "127.0.0.1"
    assert coturn.ports.first_relay <= int(port) <= coturn.ports.last_relay
    assert made(coturn) == before + 1
    assert left_over(coturn, log) == []


def test_an_empty_realm_is_a_warning(start_coturn: Start) -> None:
    server = start_coturn(CoturnConfig(realm=None))
    exits, document = Setting(server.turn_uri(), server).run()
    assert (exits, document["ok"], document["warnings"]) == (0, True, ["TURN-REALM-EMPTY"])
    assert [(finding["code"], finding["severity"]) for finding in document["findings"]] == [
        ("TURN-REALM-EMPTY", "warning")
    ]


def test_without_binding_a_second_allocation_is_the_peer(start_coturn: Start) -> None:
    server = start_coturn(CoturnConfig())
    with firewalled_binding(server):
        exits, document = Setting(server.turn_uri("tcp"), server).run()
    assert exits == 0, document
    echo = next(stage for stage in document["stages"] if stage["name"] == "echo")
    assert "a second allocation" in echo["detail"]
    assert made(server) == 2
    assert left_over(server) == []


@contextmanager
def firewalled_binding(server: Coturn) -> Iterator[None]:
    """UDP to the server's ports is dropped, as a firewall does that lets only TCP out."""
    require_root()
    nft = str(require_program("nft"))
    table = f"inet icekit-test-{os.getpid()}-udp-{server.ports.plain}"
    rule = f"udp dport {{ 3478, {server.ports.plain}, {server.ports.tls} }} drop"
    text = f"table {table} {{\nchain input {{ type filter hook input priority filter; {rule}; }}\n}}\n"
    subprocess.run([nft, "-f", "-"], input=text, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([nft, "delete", "table", *table.split()], check=True)


# The faults. Each gets a way to start servers and says how to ask.


def wrong_password(start: Start) -> Setting:
    server = start(CoturnConfig())
    return Setting(server.turn_uri(), server, credential="wrong-password")


def expired_user(start: Start) -> Setting:
    server = start(CoturnConfig(auth_secret="shared-secret"))
    username, credential = server.time_limited(-3600)
    return Setting(server.turn_uri(), server, username, credential)


def user_in_milliseconds(start: Start) -> Setting:
    server = start(CoturnConfig())
    return Setting(server.turn_uri(), server, f"{int(time.time() * 1000)}:alice")


def empty_user(start: Start) -> Setting:
    server = start(CoturnConfig())
    return Setting(server.turn_uri(), server, username="")


def denied_peer(start: Start) -> Setting:
    server = start(CoturnConfig(denied_peers=("127.0.0.1",)))
    return Setting(server.turn_uri(), server)


def firewall(direction: str) -> Callable[[Start], Setting]:
    def fault(start: Start) -> Setting:
        require_root()
        require_program("nft")
        server = start(CoturnConfig())
        setting = Setting(server.turn_uri(), server)
        setting.stack.enter_context(relay_firewall(server, direction))
        return setting

    return fault


def private_address(start: Start) -> Setting:
    require_netns()
    config = CoturnConfig(hosts=("203.0.113.10", "203.0.113.11"), relay_host="10.0.0.5", ports=STANDARD_PORTS)
    stack = ExitStack()
    namespace = stack.enter_context(Namespace("relay"))
    namespace.ip(*(f"addr add {host}/32 dev lo" for host in (*config.hosts, "10.0.0.5")))
    server = stack.enter_context(Coturn(config, command=namespace.command))
    return Setting(server.turn_uri(), server, stack=stack)


def wrong_name(transport: str) -> Callable[[Start], Setting]:
    def fault(start: Start) -> Setting:
        server = start(CoturnConfig(certificate_names=("turn.icekit.test",)))
        return Setting(server.turns_uri(transport), server)

    return fault


def unknown_issuer(transport: str) -> Callable[[Start], Setting]:
    def fault(start: Start) -> Setting:
        server = start(CoturnConfig())
        return Setting(server.turns_uri(transport), server, trusted=False)

    return fault


def tcp_on_tls_port(start: Start) -> Setting:
    server = start(CoturnConfig(plain_tcp=False))
    return Setting(f"turn:127.0.0.1:{server.ports.tls}?transport=tcp", server)


def tls_on_plain_port(transport: str) -> Callable[[Start], Setting]:
    def fault(start: Start) -> Setting:
        server = start(CoturnConfig(tls=False))
        # Without TLS it has no certificate, and so no issuer to trust.
        return Setting(f"turns:localhost:{server.ports.plain}?transport={transport}", server, trusted=False)

    return fault


def closed_port(transport: str) -> Callable[[Start], Setting]:
    def fault(start: Start) -> Setting:
        # Bound, so that nobody else takes it, and not listening: closed.
        kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
        stack = ExitStack()
        if transport == "tcp":
            holder = stack.enter_context(socket.socket(socket.AF_INET, kind))
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
        else:
            with socket.socket(socket.AF_INET, kind) as holder:
                holder.bind(("127.0.0.1", 0))
                port = holder.getsockname()[1]
        return Setting(f"turn:127.0.0.1:{port}?transport={transport}", stack=stack)

    return fault


def silent_port(start: Start) -> Setting:
    stack = ExitStack()
    holder = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    holder.bind(("127.0.0.1", 0))
    return Setting(f"turn:127.0.0.1:{holder.getsockname()[1]}?transport=udp", stack=stack)


def stun_only(transport: str) -> Callable[[Start], Setting]:
    def fault(start: Start) -> Setting:
        server = start(CoturnConfig(stun_only=True))
        return Setting(server.turn_uri(transport), server)

    return fault


@dataclass(frozen=True)
class Expected:
    stage: str
    code: str
    cause: str | None
    allocations: int = 0


# One row for each fault; the same fault over another transport stands in the row's list.
FAULTS: dict[str, tuple[Expected, list[Callable[[Start], Setting]]]] = {
    "wrong password": (Expected("allocate", "TURN-401", "wrong"), [wrong_password]),
    "expired user": (Expected("allocate", "TURN-401", "expired"), [expired_user]),
    "user in milliseconds": (Expected("allocate", "TURN-401", "milliseconds"), [user_in_milliseconds]),
    "empty user": (Expected("allocate", "TURN-401", "empty"), [empty_user]),
    "denied peer": (Expected("permission", "TURN-403", None, 1), [denied_peer]),
    "relay ports closed inwards": (Expected("echo", "TURN-ECHO-IN", None, 1), [firewall("in")]),
    "relay ports closed outwards": (Expected("echo", "TURN-ECHO-OUT", None, 1), [firewall("out")]),
    "private relay address": (Expected("relay-address", "TURN-RELAY-PRIVATE", None, 1), [private_address]),
    "TLS name": (Expected("tls", "TURN-TLS", "tls-name"), [wrong_name("tcp"), wrong_name("udp")]),
    "TLS issuer": (Expected("tls", "TURN-TLS", "tls-issuer"), [unknown_issuer("tcp"), unknown_issuer("udp")]),
    "plain TCP on a TLS port": (Expected("challenge", "TURN-NO-ANSWER", "wants-tls"), [tcp_on_tls_port]),
    "TLS on a plain port": (
        Expected("tls", "TURN-TLS", "not-tls"),
        [tls_on_plain_port("tcp"), tls_on_plain_port("udp")],
    ),
    "closed port": (Expected("connect", "TURN-CONNECT", "refused"), [closed_port("udp"), closed_port("tcp")]),
    "silent port": (Expected("challenge", "TURN-NO-ANSWER", None), [silent_port]),
    "STUN only": (Expected("challenge", "TURN-NOT-TURN", None), [stun_only("udp"), stun_only("tcp")]),
}
CASES = [
    pytest.param(expected, fault, id=f"{name} {number}".replace(" ", "-"))
    for name, (expected, faults) in FAULTS.items()
    for number, fault in enumerate(faults)
]


def test_no_fault_gives_the_code_and_cause_of_another() -> None:
    answers = [(expected.code, expected.cause) for expected, _ in FAULTS.values()]
    assert len(set(answers)) == len(answers) == 15


def test_the_simulator_says_the_same() -> None:
    same = {
        "wrong password": Fault.UNAUTHORIZED,
        "expired user": Fault.EXPIRED,
        "denied peer": Fault.FORBIDDEN,
        "private relay address": Fault.PRIVATE_RELAY,
        "relay ports closed outwards": Fault.RELAY_PORTS,
    }
    assert {name: FAULTS[name][0].code for name in same} == {name: FIRST[fault][0] for name, fault in same.items()}


@pytest.mark.parametrize(("expected", "fault"), CASES)
def test_a_fault_has_its_own_code(start_coturn: Start, expected: Expected, fault: Callable[[Start], Setting]) -> None:
    setting = fault(start_coturn)
    with setting.stack:
        exits, document = setting.run()
        answer = Expected(
            document["failed_stage"], document["code"], document["cause"], made(setting.server) if setting.server else 0
        )
        assert (exits, document["ok"], answer) == (1, False, expected), document
        # The first failure ends it: what passed, what failed, the farewell, and what is left, without gaps.
        stages = document["stages"]
        failed = [stage["name"] for stage in stages if not stage["ok"]]
        assert failed == [expected.stage]
        names = [stage["name"] for stage in stages]
        if expected.allocations:
            assert names.pop() == "release"
        assert names[-1] == expected.stage
        transport = setting.uri[-3:]
        if setting.uri.startswith("turns:"):
            transport = {"tcp": "tls", "udp": "dtls"}[transport]
        order = STAGES[transport].split()
        if expected.stage in order:
            passed = order[: order.index(expected.stage) + 1]
            rest = order[order.index(expected.stage) + 1 :]
            assert names == passed
            assert document["not_tested"] == [name for name in rest if name != "release"]
        # Exactly one finding says it, and none of the catalogue's other codes repeats it.
        assert [finding["code"] for finding in document["findings"]] == [expected.code]
        if setting.server is not None:
            assert left_over(setting.server) == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_ctrl_c_gives_the_allocation_back(firewalled: Coturn, transport: str) -> None:
    setting = Setting(firewalled.turn_uri(transport), firewalled)
    with subprocess.Popen(
        setting.command(), env=setting.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            # The echo of a firewalled relay takes more than a second.
            wait_for(lambda: "CHANNEL_BIND processed, success" in firewalled.log())
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 130, error
    document = json.loads(out)
    assert (document["ok"], document["code"]) == (False, None)
    # The answer that the log tells of may come after the signal.
    tested = [stage["name"] for stage in document["stages"]]
    assert tested[-2:] == (["permission", "release"] if "channel" in document["not_tested"] else ["channel", "release"])
    assert document["not_tested"][-2:] == ["echo", "refresh"]
    assert made(firewalled) == 1
    assert left_over(firewalled) == []


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _no_credentials_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ICEKIT_USERNAME", "ICEKIT_CREDENTIAL"):
        monkeypatch.delenv(name, raising=False)
