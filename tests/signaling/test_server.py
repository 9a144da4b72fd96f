"""The signaling server on real sockets, and, where time passes, on the simulated Internet."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from icekit.errors import ConfigError
from icekit.signaling.room_terms import RoomsConfig
from icekit.signaling.server import RunningSignaling, SignalingServerConfig, serve
from icekit.sim import Internet
from icekit.tokens import RoomGrant, make_token

SECRET = "a secret for tests that has at least 32 bytes"
SESSION = "session-of-alice"
BYE = '{"type":"bye"}'
DEADLINE = 20.0


@asynccontextmanager
async def member(
    running: RunningSignaling, name: str, room: str = "r", **query: str
) -> AsyncIterator[ClientConnection]:
    """A member that has had its greeting."""
    async with connect(url(running, room, name=name, **query)) as connection:
        assert (await take(connection))["to"] == name
        yield connection


def url(running: RunningSignaling, room: str = "r", **query: str) -> str:
    return f"{running.url(room)}?{urllib.parse.urlencode(query)}"


async def take(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        found = json.loads(await connection.recv())
    assert isinstance(found, dict)
    return found


async def closed(connection: ClientConnection) -> tuple[int | None, str | None]:
    """How the connection ends, when nothing more comes."""
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(ConnectionClosed):
            await connection.recv()
    return connection.close_code, connection.close_reason


async def get(running: RunningSignaling, path: str) -> tuple[int, Mapping[str, str], str]:
    def fetch() -> tuple[int, Mapping[str, str], str]:
        try:
            with urllib.request.urlopen(running.page(path), timeout=DEADLINE) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    return await asyncio.to_thread(fetch)


async def figures(running: RunningSignaling) -> dict[str, float]:
    """Every figure by its name, those of faults with the code."""
    status, headers, text = await get(running, "/metrics")
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "application/openmetrics-text")
    return {
        sample.labels.get("code", sample.name.removeprefix("icekit_signaling_")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def token(room: str = "r", *, secret: str = SECRET, seconds: float = 60, name: str | None = None) -> str:
    return make_token(secret, RoomGrant(room=room, expires_at=time.time() + seconds, name=name))


async def test_two_meet_and_talk() -> None:
    async with serve(port=0) as running, member(running, "alice") as alice:
        async with member(running, "bob") as bob:
            assert (await take(alice))["joined"] == ["bob"]
            await alice.send(BYE)
            assert await take(bob) == {"type": "bye", "from": "alice"}
        assert (await take(alice))["left"] == ["bob"]


async def test_a_member_without_a_name_gets_one() -> None:
    async with serve(port=0) as running, connect(running.url("r")) as nameless:
        assert (await take(nameless))["to"].startswith("peer-")


@pytest.mark.parametrize("given", ["header", "query"])
async def test_a_token_opens_its_room(given: str) -> None:
    async with serve(SignalingServerConfig(secrets=(SECRET,)), port=0) as running:
        where = url(running, token=token()) if given == "query" else url(running)
        headers = {"Authorization": f"Bearer {token()}"} if given == "header" else {}
        async with connect(where, additional_headers=headers) as alice:
            assert (await take(alice))["peers"] == []


WRONG = {
    "none": {},
    "empty": {"token": ""},
    "garbage": {"token": "a.b.c"},
    "other room": {"token": token("other")},
    "other secret": {"token": token(secret=SECRET[::-1])},
    "room of its own": {"token": token("r2")},
}


@pytest.mark.parametrize("query", WRONG.values(), ids=WRONG)
async def test_a_wrong_token_gets_nothing(query: dict[str, str]) -> None:
    async with (
        serve(SignalingServerConfig(secrets=(SECRET,)), port=0) as running,
        member(running, "alice", token=token()) as alice,
    ):
        answers = []
        # A room with somebody in it, and one that does not exist.
        for room in ("r", "nobody"):
            async with connect(url(running, room, name="mallory", **query)) as mallory:
                with suppress(ConnectionClosed):
                    await mallory.send(BYE)
                answers.append(await take(mallory))
                assert await closed(mallory) == (1008, "token")
        assert answers[0] == answers[1]
        assert answers[0]["code"] == "token"
        # Whatever happened is over, and alice has heard nothing of it.
        async with member(running, "bob", token=token()) as bob:
            await bob.send(BYE)
            assert [(await take(alice))["type"], await take(alice)] == ["presence", {"type": "bye", "from": "bob"}]
        assert (await figures(running))["token"] == 2


async def test_an_expired_token_gets_nothing_but_the_reason() -> None:
    async with (
        serve(SignalingServerConfig(secrets=(SECRET,)), port=0) as running,
        connect(url(running, token=token(seconds=-1))) as late,
    ):
        assert "expired" in (await take(late))["text"]
        assert await closed(late) == (1008, "token")


async def test_a_token_with_a_name_is_for_that_name() -> None:
    config = SignalingServerConfig(secrets=(SECRET,))
    async with serve(config, port=0) as running, member(running, "alice", token=token()) as squatter:
        async with connect(url(running, name="bob", token=token(name="alice"))) as bob:
            assert "'alice'" in (await take(bob))["text"]
            assert await closed(bob) == (1008, "token")
        async with connect(url(running, token=token(name="alice"))) as alice:
            assert (await take(alice))["to"] == "alice"
            assert (await take(squatter))["code"] == "replaced"
            assert await closed(squatter) == (1008, "replaced")


@pytest.mark.parametrize(
    ("query", "room", "code"),
    [({"name": " "}, "r", "bad-name"), ({"session": "short"}, "r", "bad-session"), ({}, "a%2Fb", "bad-room"),
     ({"name": "alice"}, "r", "name-taken"), ({}, "", "bad-room")],
)  # fmt: skip
async def test_who_cannot_join_is_told_why(query: dict[str, str], room: str, code: str) -> None:
    async with serve(port=0) as running, member(running, "alice"):
        where = f"{running.url()}{room}?{urllib.parse.urlencode(query)}"
        async with connect(where) as refused:
            assert (await take(refused))["code"] == code
            assert await closed(refused) == (1008, code)


@pytest.mark.parametrize("text", ["{", '{"type":"presence","left":["bob"]}', b"\xff\xfe"])
async def test_a_malformed_message_closes_only_its_sender(text: str | bytes) -> None:
    async with serve(port=0) as running, member(running, "alice") as alice, member(running, "bob") as bob:
        await take(alice)
        await alice.send(text, text=True)
        assert (await take(alice))["code"] == "malformed"
        assert await closed(alice) == (1008, "malformed")
        assert (await take(bob))["left"] == ["alice"]
        async with member(running, "carol") as carol:
            await take(bob)
            await bob.send(BYE)
            assert (await take(carol))["from"] == "bob"


async def test_an_oversized_message_closes_only_its_sender() -> None:
    config = SignalingServerConfig(rooms=RoomsConfig(max_message=1000))
    async with (
        serve(config, port=0) as running,
        member(running, "alice", session=SESSION) as alice,
        member(running, "bob") as bob,
    ):
        await take(alice)
        await alice.send(BYE.ljust(1000))
        assert (await take(bob))["type"] == "bye"
        await alice.send(BYE.ljust(1001))
        code, _ = await closed(alice)
        assert code == 1009
        assert (await take(bob))["left"] == ["alice"]


async def test_resume_after_a_lost_connection() -> None:
    async with serve(port=0) as running, member(running, "bob") as bob:
        async with member(running, "alice", session=SESSION) as alice:
            await take(bob)
            alice.transport.abort()
            while running.rooms.away == 0:  # noqa: ASYNC110 - nothing tells when the server has noticed
                await asyncio.sleep(0)
        await bob.send(BYE)
        async with member(running, "alice", session=SESSION) as again:
            assert await take(again) == {"type": "bye", "from": "bob"}
            await again.send(BYE)
            # No word of coming and going.
            assert (await take(bob))["type"] == "bye"
        assert (await take(bob))["left"] == ["alice"]
        assert (await figures(running))["resumes_total"] == 1


async def test_a_newer_connection_of_the_same_session_wins() -> None:
    async with (
        serve(port=0) as running,
        member(running, "alice", session=SESSION) as old,
        member(running, "alice", session=SESSION),
    ):
        assert (await take(old))["code"] == "replaced"
        assert await closed(old) == (1008, "replaced")


async def test_pages_of_other_origins_may_not_connect() -> None:
    async with serve(SignalingServerConfig(origins=("https://call.example.org",)), port=0) as running:
        for origin in ("https://evil.example.org", "null"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(running.url("r"), origin=origin)  # type: ignore[arg-type]
            assert refused.value.response.status_code == 403
        for origin in ("https://call.example.org", running.page("")):
            async with connect(running.url("r"), origin=origin) as allowed:  # type: ignore[arg-type]
                assert (await take(allowed))["type"] == "presence"
        with pytest.raises(InvalidStatus, match="400"):
            await connect(running.url("r"), additional_headers=[("Origin", "null"), ("Origin", "null")])


async def test_connections_are_bounded_whatever_they_do() -> None:
    async with serve(SignalingServerConfig(max_connections=3), port=0) as running:
        silent = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(2)]
        async with member(running, "alice") as alice:
            with pytest.raises(InvalidMessage):
                await connect(running.url("r"))
            for _, writer in silent:
                writer.close()
                await writer.wait_closed()
            await alice.send(BYE)
            while True:
                try:
                    found = await figures(running)
                    break
                except OSError:
                    await asyncio.sleep(0.01)
            assert found["refused_connections_total"] >= 1


async def test_who_asks_for_nothing_is_cut_off() -> None:
    async with serve(SignalingServerConfig(open_seconds=0.01), port=0) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    "data",
    [b"\0" * 100, b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"GET / HTTP/9.9\r\n\r\n",
     b"GET " + b"x" * 20_000, b"GET /r?token=%ff%00&name=%ff HTTP/1.1\r\n\r\n", b"GET http://[:::/ HTTP/1.1\r\n\r\n"],
)  # fmt: skip
async def test_garbage_instead_of_http(data: bytes) -> None:
    async with serve(port=0) as running, member(running, "alice") as alice:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            answer = await reader.read()
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        writer.close()
        async with member(running, "bob") as bob:
            await take(alice)
            await alice.send(BYE)
            assert (await take(bob))["type"] == "bye"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("//[", ""),
        ("//[x]:99999/r", ""),
        ("http://[/r", ""),
        ("/r", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
        ("/r", "Upgrade: websocket\r\n"),
    ],
)
@pytest.mark.parametrize("upgrade", ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"], ids=["page", "room"])
async def test_a_request_that_cannot_be_is_refused_without_a_traceback(
    path: str, headers: str, upgrade: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    async with serve(port=0) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{upgrade}{headers}{key}\r\n".encode())
        async with asyncio.timeout(DEADLINE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        writer.close()
    assert caplog.records == []


async def test_over_tls() -> None:
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with serve(port=0, ssl_context=server_context) as running:
        assert running.url("r").startswith("wss://127.0.0.1:")
        assert running.page().startswith("https://127.0.0.1:")
        async with connect(running.url("r"), ssl=context) as alice:
            assert (await take(alice))["type"] == "presence"


async def test_health_metrics_and_pages() -> None:
    def pages(path: str) -> tuple[int, Mapping[str, str], bytes]:
        if path == "/broken":
            raise ZeroDivisionError
        return 200, {"Content-Type": "text/plain"}, f"page {path}".encode()

    async with serve(port=0, pages=pages) as running, member(running, "alice"):
        status, headers, text = await get(running, "/health")
        assert (status, json.loads(text)["status"], headers["Cache-Control"]) == (200, "ok", "no-store")
        status, headers, text = await get(running, "/a%20b?x=y")
        assert (status, text, headers["X-Content-Type-Options"]) == (200, "page /a b", "nosniff")
        assert (await get(running, "/broken"))[0] == 500
        found = await figures(running)
        assert {name: found[name] for name in ("rooms", "members", "joins_total", "connections")} == {
            "rooms": 1, "members": 1, "joins_total": 1, "connections": 2,
        }  # fmt: skip
        assert {"slow", "token", "malformed", "queued_bytes", "sent_bytes_total"} <= set(found)


async def test_without_pages_there_is_none() -> None:
    async with serve(port=0) as running:
        assert (await get(running, "/"))[0] == 404


async def test_the_end_tells_everybody_to_come_back() -> None:
    async with serve(port=0) as running:
        alice = await connect(running.url("r"))
        await take(alice)
        silent = await asyncio.open_connection("127.0.0.1", running.port)
    assert (await closed(alice))[0] == 1012
    silent[1].close()
    with pytest.raises(OSError):
        await connect(running.url("r"))


async def test_secrets_are_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # This test's own client would log what it sends.
    logging.getLogger("websockets.client").setLevel(logging.CRITICAL)
    config = SignalingServerConfig(secrets=(SECRET,))
    good, bad = token(), token("other")
    async with serve(config, port=0) as running, member(running, "alice", token=good, session=SESSION):
        for query in ({"token": bad}, {"token": good, "session": SESSION[:5]}):
            async with connect(url(running, **query)) as refused:
                assert not {good, bad, SECRET} & set((await take(refused))["text"].split())
        _, _, text = await get(running, "/metrics")
    assert "alice joined r" in caplog.text
    for secret in (SECRET, good, bad, SESSION):
        assert secret not in caplog.text + text + repr(config) + repr(running)


async def test_several_hosts_have_the_same_port() -> None:
    async with serve(hosts=["127.0.0.1", "::1"], port=0) as running:
        for host in ("127.0.0.1", "[::1]"):
            async with connect(f"ws://{host}:{running.port}/r") as alice:
                await take(alice)


async def test_what_cannot_be_listened_on() -> None:
    async with serve(port=0) as running:
        with pytest.raises(ConfigError, match="address already in use; stop what listens there"):
            async with serve(port=running.port):
                pass
    with pytest.raises(ConfigError, match="choose an address of this host"):
        async with serve(hosts=["192.0.2.1"], port=0):
            pass

    # These tests may run as root, who may listen everywhere.
    async def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "error while attempting to bind")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "create_server", refused)
        with pytest.raises(ConfigError, match="choose a port above 1023, or run it as root"):
            async with serve(port=80):
                pass
    with pytest.raises(ConfigError, match="at least one host"):
        async with serve(hosts=[], port=0):
            pass


def test_a_config_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="openssl rand"):
        SignalingServerConfig(secrets=("short",))
    with pytest.raises(ConfigError, match="SCHEME://HOST"):
        SignalingServerConfig(origins=("call.example.org",))


# What takes time, in virtual time: a server, and clients on hosts of their own.


def simulate(main: Callable[[Internet, RunningSignaling], Any], config: SignalingServerConfig | None = None) -> None:
    net = Internet(seed=5)
    host = net.host("server")

    async def run() -> None:
        ready: asyncio.Future[RunningSignaling] = asyncio.get_running_loop().create_future()
        done = asyncio.Event()

        async def run_server() -> None:
            async with serve(config, hosts=[host.address], port=80) as running:
                ready.set_result(running)
                await done.wait()

        server = host.run(run_server())
        await main(net, await ready)
        done.set()
        await server

    net.run(run())


async def on(net: Internet, name: str, running: RunningSignaling, **query: str) -> tuple[Any, ClientConnection]:
    """A member on a host of its own."""
    host = net.host(name)
    connection = await host.run(_open(url(running, name=name, **query)))
    assert (await take_late(connection))["to"] == name
    return host, connection


async def _open(where: str) -> ClientConnection:
    return await connect(where, proxy=None, ping_interval=None, close_timeout=1)


async def take_late(connection: ClientConnection) -> dict[str, Any]:
    found = json.loads(await connection.recv())
    assert isinstance(found, dict)
    return found


def test_who_sends_too_fast_is_read_later() -> None:
    async def main(net: Internet, running: RunningSignaling) -> None:
        _, alice = await on(net, "alice", running)
        _, bob = await on(net, "bob", running)
        for _ in range(6):
            await alice.send(BYE)
        now = asyncio.get_running_loop().time
        times = []
        for _ in range(6):
            await take_late(bob)
            times.append(round(now(), 1))
        assert times == [0, 0, 1, 2, 3, 4]
        await alice.close()
        await bob.close()

    simulate(main, SignalingServerConfig(rooms=RoomsConfig(message_rate=1, message_burst=1)))


def test_a_member_whose_plug_was_pulled_is_noticed() -> None:
    async def main(net: Internet, running: RunningSignaling) -> None:
        lost, _ = await on(net, "alice", running, session=SESSION)
        _, bob = await on(net, "bob", running)
        lost.down()
        left = await take_late(bob)
        assert left["left"] == ["alice"]
        # Asked after 20 s, given up after 20 more, closed after 2; then it had 30 s to come back.
        assert asyncio.get_running_loop().time() == pytest.approx(72, abs=1)
        await bob.close()
        lost.kill()

    simulate(main)


def test_who_comes_back_in_time_has_missed_nothing() -> None:
    async def main(net: Internet, running: RunningSignaling) -> None:
        lost, _ = await on(net, "alice", running, session=SESSION)
        _, bob = await on(net, "bob", running)
        lost.down()
        await asyncio.sleep(45)
        await bob.send(BYE)
        await asyncio.sleep(20)
        again = await net.host("elsewhere").run(_open(url(running, name="alice", session=SESSION)))
        assert [(await take_late(again))["type"] for _ in range(2)] == ["presence", "bye"]
        await again.send(BYE)
        assert (await take_late(bob))["type"] == "bye"
        for connection in (again, bob):
            await connection.close()
        lost.kill()

    simulate(main)


def test_who_does_not_read_is_put_out_and_holds_nobody_up() -> None:
    async def main(net: Internet, running: RunningSignaling) -> None:
        slow, _ = await on(net, "slow", running)
        _, alice = await on(net, "alice", running)
        _, bob = await on(net, "bob", running)
        await take_late(alice)
        slow.down()
        text = json.dumps({"type": "offer", "offer": {"type": "offer", "sdp": "x" * 50_000}})
        for _ in range(60):
            await alice.send(text)
            while (await take_late(bob))["type"] == "presence":
                pass
            await asyncio.sleep(0.1)
        assert (await take_late(alice))["left"] == ["slow"]
        # Long before a sign of life was missed.
        assert asyncio.get_running_loop().time() < 15
        for connection in (alice, bob):
            await connection.close()
        slow.kill()

    simulate(main, SignalingServerConfig(rooms=RoomsConfig(max_queued=200_000)))


async def test_who_sends_more_than_is_read_has_to_wait_and_holds_up_no_shutdown() -> None:
    config = SignalingServerConfig(rooms=RoomsConfig(message_rate=0.001, message_burst=1))
    async with serve(config, port=0) as running, member(running, "alice") as alice:
        text = json.dumps({"type": "offer", "offer": {"type": "offer", "sdp": "x" * 1_000_000}})

        async def send() -> None:
            for _ in range(60):
                await alice.send(text)

        sending = asyncio.create_task(send())
        done, _ = await asyncio.wait({sending}, timeout=1.0)
        assert not done
        sending.cancel()
        await asyncio.wait({sending})
        alice.transport.abort()
