"""Two ends of DTLS over a pipe of virtual time that loses what it is told to: what is repeated, and what that costs."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import pytest
from aiortc import RTCCertificate, RTCDtlsTransport
from OpenSSL import SSL

from icekit.call.flights import answer_timeout
from icekit.call.handshake import DtlsTransport, Handshake
from icekit.sim import Internet

T = TypeVar("T")

SEEDS: Final = int(os.environ.get("ICEKIT_SEEDS", "1"))
CERTIFICATES: Final = [RTCCertificate.generateCertificate() for _ in range(2)]

Loses = Callable[[str, int], bool]
"""Whether a datagram is lost: by its sender and its number."""


class Path:
    """An ICE transport that is connected."""

    state = "completed"
    role = "controlled"

    def __init__(self, name: str, rtt: float, loses: Loses) -> None:
        self.name = name
        self.rtt: float | None = rtt
        self.delay = rtt / 2
        self.loses = loses
        self.other: Path = self
        self.handshake: Handshake | None = None
        self.sent: list[bytes] = []
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()

    async def send_again(self, data: bytes) -> None:
        self.sent.append(data)
        if not self.loses(self.name, len(self.sent) - 1):
            asyncio.get_running_loop().call_later(self.delay, self.other.inbox.put_nowait, data)

    async def _send(self, data: bytes) -> None:
        if self.handshake is not None:
            self.handshake.sent(data)
        await self.send_again(data)

    async def _recv(self) -> bytes:
        data = await self.inbox.get()
        if self.handshake is not None:
            self.handshake.received(data)
        return data


class Pair:
    """A client and a server, and when they were connected."""

    def __init__(self, rtt: float, loses: Loses = lambda _name, _number: False) -> None:
        self.paths = [Path(name, rtt, loses) for name in ("client", "server")]
        self.paths[0].other, self.paths[1].other = self.paths[1], self.paths[0]
        self.ends = [
            DtlsTransport(path, [certificate])  # type: ignore[arg-type]
            for path, certificate in zip(self.paths, CERTIFICATES, strict=True)
        ]
        self.connected: dict[str, float] = {}

    @property
    def handshakes(self) -> int:
        """Datagrams of the handshake that were sent."""
        return sum(data[0] in (20, 22) for path in self.paths for data in path.sent)

    async def start(self, end: int) -> None:
        transport = self.ends[end]
        transport._set_role(self.paths[end].name)
        await transport.start(self.ends[1 - end].getLocalParameters())
        assert transport.state == "connected"
        self.connected[self.paths[end].name] = asyncio.get_running_loop().time()

    async def connect(self) -> None:
        async with asyncio.timeout(300):
            await asyncio.gather(self.start(0), self.start(1))

    async def stop(self) -> None:
        await asyncio.gather(*(end.stop() for end in self.ends))


@pytest.fixture(autouse=True)
def without_the_timer_of_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the real clock."""
    monkeypatch.setattr(SSL.Connection, "DTLSv1_get_timeout", lambda _: None)


def simulate(main: Coroutine[Any, Any, T]) -> T:
    return Internet(seed=1).run(main)


def run(rtt: float, loses: Loses = lambda _name, _number: False) -> Pair:
    async def main() -> Pair:
        pair = Pair(rtt, loses)
        await pair.connect()
        # Long enough for whatever is still repeated.
        await asyncio.sleep(30)
        await pair.stop()
        return pair

    return simulate(main())


@pytest.mark.parametrize("rtt", [0.0, 0.002, 0.05, 0.1, 0.3, 2.0])
def test_nothing_is_repeated_where_nothing_is_lost(rtt: float) -> None:
    pair = run(rtt)
    assert pair.handshakes == 4
    assert pair.connected == pytest.approx({"server": 1.5 * rtt, "client": 2 * rtt})


@pytest.mark.parametrize("rtt", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("lost", [("client", 0), ("server", 0), ("client", 1), ("server", 1)])
def test_a_lost_flight_costs_one_wait(rtt: float, lost: tuple[str, int]) -> None:
    pair = run(rtt, lambda name, number: (name, number) == lost)
    assert max(pair.connected.values()) <= 2 * rtt + answer_timeout(rtt) + rtt
    assert pair.handshakes <= 4 + 2


def test_the_last_flight_is_sent_again_although_openssl_drops_what_asks_for_it() -> None:
    """The client's flight comes a second time with the numbers that it had: a replay."""
    rtt = 0.05
    pair = run(rtt, lambda name, number: (name, number) == ("server", 1))
    client, server = (path.sent for path in pair.paths)
    assert client[1] == client[2]
    assert server[1] == server[2]
    assert pair.connected["server"] == pytest.approx(1.5 * rtt)
    assert pair.connected["client"] == pytest.approx(rtt + answer_timeout(rtt) + rtt)
    assert pair.handshakes == 6


def test_data_of_the_server_show_the_client_that_a_flight_was_lost() -> None:
    rtt = 0.2

    async def main() -> Pair:
        pair = Pair(rtt, lambda name, number: (name, number) == ("server", 1))
        client = asyncio.ensure_future(pair.start(0))
        await pair.start(1)
        await pair.ends[1]._send_data(b"hello")
        await client
        await pair.stop()
        return pair

    pair = simulate(main())
    # At once when they come, and not when the time of its flight is over.
    assert pair.connected["client"] == pytest.approx(3 * rtt)


def test_keys_are_the_same_after_repeats_and_nothing_listens_any_more() -> None:
    async def main() -> None:
        pair = Pair(0.05, lambda name, number: number in (0, 1, 3) if name == "client" else number in (0, 2))
        await pair.connect()
        heard: list[bytes] = []

        class Receiver:
            async def _handle_data(self, data: bytes) -> None:
                heard.append(data)

        for end in pair.ends:
            end._register_data_receiver(Receiver())
        await pair.ends[0]._send_data(b"from the client")
        await pair.ends[1]._send_data(b"from the server")
        await asyncio.sleep(1)
        assert sorted(heard) == [b"from the client", b"from the server"]
        assert [path.handshake for path in pair.paths] == [None, None]
        await pair.stop()

    simulate(main())


def test_a_peer_that_is_silent_gets_nine_datagrams_of_a_flight_and_no_more() -> None:
    async def main() -> None:
        pair = Pair(0.05, lambda _name, _number: True)
        work = asyncio.ensure_future(pair.start(0))
        await asyncio.sleep(1000)
        assert len(pair.paths[0].sent) == 9
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        assert pair.paths[0].handshake is None
        await pair.stop()

    simulate(main())


def test_stopped_in_the_middle_it_sends_nothing_more() -> None:
    async def main() -> None:
        pair = Pair(0.05, lambda _name, _number: True)
        work = asyncio.ensure_future(pair.start(0))
        await asyncio.sleep(0.01)
        await pair.ends[0].stop()
        sent = len(pair.paths[0].sent)
        await asyncio.sleep(100)
        assert len(pair.paths[0].sent) == sent
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    simulate(main())


def test_a_fifth_lost_each_way() -> None:
    """Seeded; without repeats of ours none of those that lose anything would end."""
    rtt, runs = 0.05, 60 * SEEDS
    taken, sent = [], []
    for seed in range(runs):
        dice = random.Random(seed)
        pair = run(rtt, lambda _name, _number, dice=dice: dice.random() < 0.2)  # type: ignore[misc]
        taken.append(max(pair.connected.values()))
        sent.append(pair.handshakes)
    taken.sort()
    # 100 ms if nothing is lost.
    assert taken[runs // 2] <= 0.25
    assert taken[runs * 9 // 10] <= 0.8
    assert taken[-1] <= 10
    assert max(sent) <= 36
    assert sum(sent) / runs <= 8


def test_methods_of_aiortc_that_call_ours() -> None:
    assert "_do_handshake" in RTCDtlsTransport.start.__code__.co_names
    assert "encrypted" in RTCDtlsTransport._do_handshake.__code__.co_names
