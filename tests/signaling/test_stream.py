from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from aiortc import RTCIceCandidate, RTCSessionDescription
from aiortc.contrib.signaling import BYE, BaseSignaling, TcpSocketSignaling, UnixSocketSignaling
from aiortc.sdp import candidate_from_sdp

from icekit.errors import ConfigError, SignalingError
from icekit.signaling import Answer, Bye, Offer, TrickledCandidate, connect, make_transport
from icekit.signaling.stream import StreamLink, StreamTransport
from tests.signaling.contract import PATIENCE, Contract, Place, RestartContract, take

LINE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[StreamLink]:
    """The connections that are made in this test."""
    found: list[StreamLink] = []
    original = StreamTransport.open

    async def recorded(self: StreamTransport) -> StreamLink:
        link = await original(self)
        assert isinstance(link, StreamLink)
        found.append(link)
        return link

    monkeypatch.setattr(StreamTransport, "open", recorded)
    return found


def cutter(links: list[StreamLink]) -> Callable[[], Coroutine[None, None, None]]:
    async def cut() -> None:
        for link in links:
            if link._connected.done() and not link._connected.cancelled():
                link._connected.result()[1].transport.abort()

    return cut


class TestTcp(Contract, RestartContract):
    @pytest.fixture
    def place(self, links: list[StreamLink]) -> Place:
        ports: dict[str, int] = {}
        return Place(lambda room: f"tcp://127.0.0.1:{ports.setdefault(room, free_port())}", restart=cutter(links))


class TestUnix(Contract, RestartContract):
    @pytest.fixture
    def place(self, links: list[StreamLink], tmp_path: Path) -> Place:
        return Place(lambda room: f"unix:{tmp_path}/{room}", restart=cutter(links))


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, BaseSignaling]:
    """A URL, and aiortc's own class for the same place."""
    if request.param == "unix":
        return f"unix:{tmp_path}/socket", UnixSocketSignaling(str(tmp_path / "socket"))
    port = free_port()
    return f"tcp://127.0.0.1:{port}", TcpSocketSignaling("127.0.0.1", port)


def aiortc_candidate() -> RTCIceCandidate:
    candidate = candidate_from_sdp(LINE.removeprefix("candidate:"))
    candidate.sdpMid = "0"
    candidate.sdpMLineIndex = 0
    return candidate


async def test_aiortc_offers(address: tuple[str, BaseSignaling]) -> None:
    url, aiortc = address
    sending = asyncio.create_task(aiortc.send(RTCSessionDescription(sdp="v=0\r\n", type="offer")))
    # aiortc listens when it has something to send; whoever comes before that would listen in its place.
    while not getattr(aiortc, "_server", None):  # noqa: ASYNC110
        await asyncio.sleep(0)
    async with connect(url) as channel, asyncio.timeout(PATIENCE):
        await sending
        await aiortc.send(aiortc_candidate())
        offer, candidate = await take(channel, 2)
        assert offer == Offer(sdp="v=0\r\n")
        assert candidate == TrickledCandidate(candidate=LINE, sdp_mid="0", sdp_mline_index=0)
        await channel.send(Answer(sdp="v=0\r\ns=ours\r\n"))
        await channel.send(TrickledCandidate(candidate=LINE, sdp_mid="0", sdp_mline_index=0))
        await channel.send(TrickledCandidate(candidate=""))
        await channel.send(Bye(reason="aiortc knows no reasons"))
        answer = await aiortc.receive()
        assert isinstance(answer, RTCSessionDescription)
        assert (answer.type, answer.sdp) == ("answer", "v=0\r\ns=ours\r\n")
        assert await aiortc.receive() == aiortc_candidate()
        assert await aiortc.receive() is BYE
        await aiortc.close()
        assert await take(channel, 1) == [Bye()]
        # The other side is gone for good.
        async for message in channel:
            raise AssertionError(message)


async def test_aiortc_answers(address: tuple[str, BaseSignaling]) -> None:
    url, aiortc = address
    async with connect(url) as channel, asyncio.timeout(PATIENCE):
        await channel.send(Offer(sdp="v=0\r\n"))
        offer = await aiortc.receive()
        assert isinstance(offer, RTCSessionDescription)
        assert (offer.type, offer.sdp) == ("offer", "v=0\r\n")
        await aiortc.send(RTCSessionDescription(sdp="v=0\r\n", type="answer"))
        assert await take(channel, 1) == [Answer(sdp="v=0\r\n")]
        await channel.close()
        assert await aiortc.receive() is None
        await aiortc.close()


async def test_a_peer_of_the_followed_call_is_answered_in_its_shape(tmp_path: Path) -> None:
    async with connect(f"unix:{tmp_path}/socket", name="alice") as channel, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        writer.write(b'{"type":"offer","offer":{"type":"offer","sdp":"v=0"}}\n')
        assert await take(channel, 1) == [Offer(sdp="v=0")]
        await channel.send(Answer(sdp="v=0"))
        lines = []
        while not lines or '"answer"' not in lines[-1]:
            lines.append((await reader.readline()).decode())
        assert '"answer":{"type":"answer","sdp":"v=0"}' in lines[-1]
        writer.close()


async def test_who_only_knocks_is_no_peer(tmp_path: Path) -> None:
    url = f"unix:{tmp_path}/socket"
    async with connect(url, name="alice") as alice, asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        writer.close()
        await writer.wait_closed()
        # Bob may come while alice is not listening again yet; then he listens, and she comes to him.
        async with connect(url, name="bob") as bob:
            await bob.send(Bye())
            (bye,) = await take(alice, 1)
            assert bye.sender == "bob"


async def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with connect(f"unix:{path}", name="a") as one, connect(f"unix:{path}", name="b") as two:
        await one.send(Bye())
        await take(two, 1)
    assert not path.exists()


async def test_who_lost_its_socket_to_another_goes_there(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with connect(f"unix:{path}", name="a") as one:
        path.unlink()
        async with connect(f"unix:{path}", name="b") as two:
            await one.send(Bye())
            await take(two, 1)


async def test_a_line_without_end_is_not_kept(tmp_path: Path) -> None:
    link = await make_transport(f"unix:{tmp_path}/socket", name="a").open()
    _, writer = await asyncio.open_unix_connection(tmp_path / "socket")

    async def flood() -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    flooding = asyncio.create_task(flood())
    with pytest.raises(ConnectionError, match="more than"):
        await link.receive()
    flooding.cancel()
    await asyncio.wait({flooding})
    await link.close()
    writer.close()


async def test_an_address_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(SignalingError, match="no connection: No such file or directory"):
        async with connect(f"unix:{tmp_path}/missing/socket"):
            raise AssertionError


@pytest.mark.parametrize("url", ["tcp://host", "tcp://:80", "tcp://host:99999", "tcp:", "unix:"])
def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError):
        connect(url)
