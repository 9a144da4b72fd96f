"""``icekit serve``: it says where it is, serves, and ends with Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from icekit.attributes import REALM, REQUESTED_TRANSPORT, XOR_MAPPED_ADDRESS
from icekit.errors import SignalingError
from icekit.net import Address
from icekit.signaling import connect
from icekit.stun import Message, Method, decode, request
from icekit.tokens import RoomGrant, make_token


@contextmanager
def serving(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "icekit", "serve", "--host", "127.0.0.1", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "icekit", "serve", *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return done.returncode, done.stdout, done.stderr


def ask(server: str, message: Message) -> Message:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(message.encode(), Address.parse(server))
        return decode(client.recv(2000))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_json(number: signal.Signals) -> None:
    with serving("--realm", "example.org", "--json") as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        (first, second) = ready["udp"]
        assert ready == {
            "schema": "icekit/serve/1",
            "urls": [f"stun:{first}", f"turn:{first}?transport=udp", f"turn:{first}?transport=tcp"],
            "udp": [first, second],
            "tcp": [first, second],
            "tls": [],
            "realm": "example.org",
            "username": "icekit",
            "credential": ready["credential"],
            "signaling": ready["signaling"],
            "page": ready["page"],
        }
        assert re.fullmatch(r"ws://127\.0\.0\.1:[0-9]+/", ready["signaling"])
        assert ready["page"] == ready["signaling"].replace("ws:", "http:")
        assert len(ready["credential"]) == 16
        for server in (first, second):
            answer = ask(server, request(Method.BINDING, bytes(12)))
            assert answer.get(XOR_MAPPED_ADDRESS) is not None
        challenge = ask(first, request(Method.ALLOCATE, bytes(12), REQUESTED_TRANSPORT(17)))
        assert (challenge.error().code, challenge.get(REALM)) == (401, "example.org")
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (0, "")
        assert (
            err
            == "Stopped. 3 answers, 0 packets relayed to peers and 0 to clients. 0 joined rooms and sent 0 messages.\n"
        )


def test_text_without_turn_and_tcp() -> None:
    with serving("--stun-only", "--no-tcp", "--no-http") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("stun:127.0.0.1:")
        assert process.stdout.readline() == "Ready. Ctrl-C stops it.\n"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(Address.parse(url.removeprefix("stun:")), timeout=5)


def test_over_tls(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("localhost")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    arguments = ("--tls-port", "0", "--certificate", str(certificate), "--key", str(key))
    with serving("--user", "alice:secret", "--json", *arguments) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        (tls,) = ready["tls"]
        assert ready["urls"][-1] == f"turns:{tls}?transport=tcp"
        assert (ready["username"], ready["credential"]) == (None, None)
        assert ready["signaling"].startswith("wss://127.0.0.1:")


async def test_rooms_behind_a_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * 40 + "\n")
    token = make_token("x" * 40, RoomGrant(room="lobby", expires_at=time.time() + 60))
    with serving("--signaling-only", "--json", "--room-secret", f"@{secret}", "--room-size", "1") as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert (ready["urls"], ready["udp"], ready["realm"]) == ([], [], None)
        async with connect(f"{ready['signaling']}lobby", token=token):
            for given, reason in ((None, "and none was given"), (token, "room is full")):
                with pytest.raises(SignalingError, match=reason):
                    await connect(f"{ready['signaling']}lobby", token=given).__aenter__()
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.to_thread(process.communicate, timeout=10)
        assert (process.returncode, err) == (0, "Stopped. 1 joined rooms and sent 1 messages.\n")


def test_text_of_signaling() -> None:
    with serving("--signaling-only", "--origin", "https://call.example.org") as process:
        assert process.stdout is not None
        assert re.fullmatch(r"signaling   ws://127\.0\.0\.1:[0-9]+/ROOM\n", process.stdout.readline())


def test_the_page_gets_the_channels_it_may_choose() -> None:
    broker = "stomp+ws://user:password@127.0.0.1:15674/ws?topic={room}"
    with serving("--page-signaling", broker) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        page = next(line.split()[1] for line in lines if line.startswith("page "))
        with urllib.request.urlopen(page, timeout=5) as answer:
            assert b"Check this network" in answer.read()
            assert "ws://127.0.0.1:15674" in answer.headers["Content-Security-Policy"]
        with urllib.request.urlopen(f"{page}config.json", timeout=5) as answer:
            assert json.loads(answer.read())["signaling"] == [broker]


def test_coturn_config(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("alice:secret\n")
    code, out, err = ended(
        *("--coturn-config", "--host", "192.0.2.1", "--user", f"@{tmp_path}/user", "--allow-peers", "loopback")
    )
    assert (code, err) == (0, "")
    assert {"listening-ip=192.0.2.1", "user=alice:secret", "allow-loopback-peers", "alt-listening-port=3479"} <= set(
        out.splitlines()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "localhost"), "--host: 'localhost' is no IP address"),
        (("--host", "0.0.0.0"), "name the addresses of this machine"),
        (
            ("--host", "192.0.2.1", "--port", "0"),
            "192.0.2.1:0: cannot assign requested address; choose an address of this host",
        ),
        (("--port", "65535"), "--alternate-port"),
        (("--port", "3478", "--alternate-port", "3478"), "another port"),
        (("--user", "alice"), "--user wants NAME:PASSWORD"),
        (("--user", "@/nonexistent"), "--user"),
        (("--relay-ports", "5"), "--relay-ports wants FIRST-LAST"),
        (("--relay-ports", "9-5"), "relay ports 9 to 5"),
        (("--relay-host", "nowhere"), "relay host"),
        (("--external-host", "nowhere"), "external host"),
        (("--allow-peers", "everyone"), "allowed peers"),
        (("--tls-port", "0"), "--certificate and --key"),
        (("--tls-port", "0", "--certificate", "/nonexistent", "--key", "/nonexistent"), "--certificate /nonexistent"),
        (("--certificate", "/nonexistent"), "--certificate /nonexistent: No such file or directory; write PEM files"),
        (("--key", "key.pem"), "--key needs --certificate"),
        (("--coturn-config", "--json"), "--coturn-config prints a configuration, --json what is served"),
        (("--coturn-config", "--secret", "a b"), "coturn's file cannot hold this secret"),
        (("--room-secret", "short"), "the secret for room tokens has 5 bytes"),
        (("--origin", "call.example.org"), "write SCHEME://HOST[:PORT]"),
        (("--signaling-only", "--no-http"), "nothing to serve"),
        (("--signaling-only", "--stun-only"), "--signaling-only has no STUN and no TURN, which --stun-only is about"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    code, out, err = ended(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
