"""The server: requests as strangers send them, and a whole call between both own ends."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from icekit.call import Call
from icekit.call.config import CallConfig
from icekit.errors import ConfigError, SignalingError
from icekit.sdp import MAX_SDP
from icekit.sdpfrag import CONTENT_TYPE, read_fragment
from icekit.servers import IceServer
from icekit.signaling import Answer, Bye, Message, Offer, Report, TrickledCandidate, connect
from icekit.signaling.whip_server import RunningWhip, WhipChannel, WhipServerConfig, serve
from icekit.tokens import RoomGrant, make_token
from icekit.transitions import SignalingState

PWD = "P2uYro0UCOQ4zxjKXaWCBui1"
HOST = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
SECRET = "0123456789abcdef0123456789abcdef"
SDP = {"Content-Type": "application/sdp"}


def description(ufrag: str = "abcd", setup: str = "actpass") -> str:
    return (
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
        f"a=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{PWD}\r\na=setup:{setup}\r\n"
    )


def fragment(ufrag: str = "abcd") -> str:
    return f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{PWD}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na={HOST}\r\n"


class Answering:
    """Answers every offer, with a candidate that follows; keeps what came."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.ended = asyncio.Event()

    async def __call__(self, channel: WhipChannel) -> None:
        count = 0
        async for message in channel:
            self.heard.append(message)
            if isinstance(message, Offer):
                count += 1
                await channel.send(Answer(sdp=description(f"srv{count}", "active")))
                await channel.send(TrickledCandidate(candidate=HOST, sdp_mid="0", username_fragment=f"srv{count}"))
                await channel.send(TrickledCandidate(candidate="", username_fragment=f"srv{count}"))
        self.ended.set()


@asynccontextmanager
async def serving(
    handler: Answering, config: WhipServerConfig | None = None
) -> AsyncIterator[tuple[RunningWhip, aiohttp.ClientSession]]:
    async with (
        serve(handler, config, port=0) as running,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as client,
    ):
        yield running, client


async def test_a_session_from_post_to_delete() -> None:
    handler = Answering()
    server = IceServer(urls="turn:turn.example.org", username="user", credential="word")
    async with serving(handler, WhipServerConfig(ice_servers=(server,))) as (running, client):
        async with client.post(running.url("/whip/stage"), data=description(), headers=SDP) as response:
            assert response.status == 201
            assert response.content_type == "application/sdp"
            assert response.headers["Accept-Patch"] == CONTENT_TYPE
            assert 'rel="ice-server"; username="user"; credential="word"' in response.headers["Link"]
            answer = await response.text()
            session, etag = running.url(response.headers["Location"]), response.headers["ETag"]
        # The answer waited for its candidates.
        assert f"a={HOST}\r\na=end-of-candidates\r\n" in answer
        headers = {"Content-Type": CONTENT_TYPE}
        for match, body, status in (
            (etag, fragment(), 204),
            (None, fragment(), 428),
            ('"other"', fragment(), 412),
            (etag, fragment("newu"), 412),
            (etag, "nonsense", 400),
        ):
            sent = headers if match is None else headers | {"If-Match": match}
            async with client.patch(session, data=body, headers=sent) as response:
                assert response.status == status
        async with client.patch(session, data=fragment(), headers=SDP | {"If-Match": etag}) as response:
            assert response.status == 415
        async with client.patch(session, data=fragment("newu"), headers=headers | {"If-Match": "*"}) as response:
            assert (response.status, response.content_type) == (200, CONTENT_TYPE)
            assert response.headers["ETag"] != etag
            found = read_fragment(await response.text())
            assert (found.ufrag, len(found.candidates), found.ended) == ("srv2", 1, True)
        async with client.get(session) as response:
            assert response.status == 405
        async with client.delete(session) as response:
            assert response.status == 200
        async with client.delete(session) as response:
            assert response.status == 404
        await asyncio.wait_for(handler.ended.wait(), 10)
        assert running.sessions == {}
    first, candidate, second, bye = handler.heard
    assert first == Offer(sdp=description())
    assert candidate == TrickledCandidate(candidate=HOST, sdp_mid="0", username_fragment="abcd")
    assert isinstance(second, Offer)
    assert read_fragment(second.sdp).ufrag == "newu"
    assert isinstance(bye, Bye)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"", SDP, 400, id="nothing"),
        pytest.param(b"v=0\r\n", SDP, 400, id="one line"),
        pytest.param(b"\xff\xff", SDP, 400, id="no text"),
        pytest.param(fragment().encode(), SDP, 400, id="a fragment"),
        pytest.param(description().encode(), {"Content-Type": "text/plain"}, 415, id="another type"),
        pytest.param(b"a" * (MAX_SDP + 1), SDP, 413, id="too long"),
    ],
)
async def test_offers_that_are_refused(body: bytes, headers: dict[str, str], status: int) -> None:
    async with serving(Answering()) as (running, client):
        async with client.post(running.url("/whip/stage"), data=io.BytesIO(body), headers=headers) as response:
            assert response.status == status
        assert running.sessions == {}


OFFERING = b"POST /whip/r HTTP/1.1\r\nHost: h\r\nContent-Type: application/sdp\r\n"


@pytest.mark.parametrize(
    "request_of_a_stranger",
    [
        OFFERING + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk",
        OFFERING + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OFFERING + b"Origin: \1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=["no gzip", "no chunk", "control character", "TLS"],
)
async def test_what_is_no_http_is_refused_without_a_traceback(
    request_of_a_stranger: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(Answering(), port=0) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request_of_a_stranger)
        async with asyncio.timeout(20):
            assert (await reader.readline()).split()[1:2] == [b"400"]
        writer.close()
    assert caplog.records == []


async def test_tokens_are_for_a_room() -> None:
    def token(room: str, seconds: float) -> str:
        return make_token(SECRET, RoomGrant(room=room, expires_at=int(time.time() + seconds)))

    async with serving(Answering(), WhipServerConfig(secrets=(SECRET,))) as (running, client):
        for given, status in (
            (None, 401),
            ("nonsense", 401),
            (token("other", 60), 401),
            (token("stage", -60), 401),
            (token("stage", 60), 201),
        ):
            headers = SDP if given is None else SDP | {"Authorization": f"Bearer {given}"}
            async with client.post(running.url("/whep/stage"), data=description(), headers=headers) as response:
                assert response.status == status
                assert status == 201 or response.headers["WWW-Authenticate"] == "Bearer"
        (session,) = running.sessions
        assert running.sessions[session].egress
        async with client.delete(running.url(f"/whep/stage/{session}")) as response:
            assert response.status == 401
        other = {"Authorization": f"Bearer {token('other', 60)}"}
        async with client.delete(running.url(f"/whep/other/{session}"), headers=other) as response:
            assert response.status == 404
        assert session in running.sessions


async def test_web_pages_of_other_origins() -> None:
    config = WhipServerConfig(origins=("https://studio.example.org",))
    async with serving(Answering(), config) as (running, client):
        headers = {"Origin": "https://studio.example.org", "Access-Control-Request-Method": "PATCH"}
        async with client.options(running.url("/whip/stage"), headers=headers) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "https://studio.example.org"
            assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
            assert "If-Match" in response.headers["Access-Control-Allow-Headers"]
            assert response.headers["Accept-Post"] == "application/sdp"
        strange = SDP | {"Origin": "https://evil.example.org"}
        async with client.post(running.url("/whip/stage"), data=description(), headers=strange) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_only_so_many_sessions() -> None:
    async with serving(Answering(), WhipServerConfig(max_sessions=1)) as (running, client):
        for status in (201, 503):
            async with client.post(running.url("/whip/stage"), data=description(), headers=SDP) as response:
                assert response.status == status
                assert status == 201 or int(response.headers["Retry-After"]) > 0


async def test_a_handler_that_fails_or_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(channel: WhipChannel) -> None:
        raise RuntimeError("broken")

    async def silent(channel: WhipChannel) -> None:
        async for _ in channel:
            pass
        with pytest.raises(SignalingError):
            await channel.send(Report(report={}))

    for handler in (fails, silent):
        async with (
            serve(handler, WhipServerConfig(answer=0.05), port=0) as running,
            aiohttp.ClientSession() as client,
        ):
            async with client.post(running.url("/whip/stage"), data=description(), headers=SDP) as response:
                assert response.status == 500
                assert "broken" not in await response.text()
            assert running.sessions == {} or handler is silent


async def test_a_client_that_goes_before_its_answer() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def thinking(channel: WhipChannel) -> None:
        async for message in channel:
            asked.set()
            if isinstance(message, Bye):
                assert message.reason == "the client went before its answer"
        ended.set()

    async with serve(thinking, port=0) as running:
        body = description().encode()
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"POST /whip/stage HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\n")
        writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(10):
            await asked.wait()
            assert len(running.sessions) == 1
            writer.close()
            await ended.wait()
        assert running.sessions == {}


async def test_a_client_that_goes_in_the_middle_of_a_body_that_is_refused() -> None:
    async with serve(Answering(), port=0) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"POST /whip/stage HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\n")
        writer.write(f"Content-Length: {MAX_SDP * 2}\r\n\r\n".encode() + b"a" * (MAX_SDP + 1))
        async with asyncio.timeout(10):
            assert b" 413 " in await reader.readline()
            (serving,) = (task for task in asyncio.all_tasks() if "RequestHandler" in str(task.get_coro()))
            writer.close()
            # aiohttp would wait for the rest of the body, from a connection that is gone.
            await asyncio.wait({serving})


async def test_a_port_that_is_taken() -> None:
    async with serving(Answering()) as (running, _):
        with pytest.raises(ConfigError, match="choose another port"):
            async with serve(Answering(), port=running.port):
                pass


async def test_a_call_with_candidates_and_a_restart() -> None:
    """Both own ends: that another stack agrees is for tests/browser/test_whip.py to say."""
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def publish(channel: WhipChannel) -> None:
        async with Call(channel, config=CallConfig(local_addresses=("127.0.0.1",))) as call:
            ended.set_result(await call.ended())

    config = CallConfig(local_addresses=("127.0.0.1",), receive=(), data=False)
    async with serve(publish, port=0) as running, asyncio.timeout(40):
        async with connect(running.url("/whip/stage")) as channel, Call(channel, media=["tone"], config=config) as call:
            await call.connected()
            (session,) = running.sessions.values()
            before, tag = session.ufrag, session.etag
            call.restart()
            for _ in range(1000):
                # The tag is new when the answer goes out, the state when it is applied.
                if session.etag != tag and call._running.negotiation.state is SignalingState.STABLE:
                    break
                await asyncio.sleep(0.02)
            assert session.ufrag != before
            assert call.is_connected
            assert {finding.code for finding in call.findings} <= {"CALL-SILENT"}
        assert "ended the session" in await ended
