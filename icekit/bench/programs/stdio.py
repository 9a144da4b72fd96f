"""What the programs share: requests from stdin to a ``Peer``, its events to stdout.

A program is ``run("name", version, make_peer)``. Nothing else reaches its driver: what a library prints on stdout
goes to stderr.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from icekit.bench.lines import (
    MAX_LINE,
    AskPair,
    Description,
    Echoed,
    End,
    Ended,
    Event,
    Failed,
    Opened,
    PairEnd,
    PairTold,
    Ready,
    Request,
    Selected,
    Send,
    Sounded,
    Start,
    StateChanged,
    TrickledCandidate,
    decode_request,
    encode,
)

LABEL: Final = "echo"
"""The data channel that the offering side opens."""
GREETING: Final = "is it there?"
"""What it sends as soon as the channel is open."""


class Voice:
    """The events of one connection; from any thread. A candidate waits for the description that it belongs to.

    ``clock`` is CLOCK_MONOTONIC, in a simulation its own; ``at`` is the time of an event on it, if that is not now.
    """

    def __init__(self, write: Callable[[bytes], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._early: list[TrickledCandidate] | None = []
        self._sounded = False

    def tell(self, event: Event) -> None:
        """Write one event as a line."""
        line = encode(event)
        with self._lock:
            self._write(line)

    def described(self, kind: str, sdp: str, at: float | None = None) -> None:
        """An offer or an answer."""
        description = Description(kind=kind, sdp=sdp, time=self._moment(at))
        with self._lock:
            early, self._early = self._early or (), None
            for item in (description, *early):
                self._write(encode(item))

    def candidate(
        self, text: str, sdp_mid: str | None = None, sdp_mline_index: int | None = None, at: float | None = None
    ) -> None:
        """A candidate, or the empty text for their end."""
        text = text.removeprefix("a=")
        now = self._moment(at)
        item = TrickledCandidate(candidate=text, sdp_mid=sdp_mid, sdp_mline_index=sdp_mline_index, time=now)
        with self._lock:
            if self._early is None:
                self._write(encode(item))
            else:
                self._early.append(item)

    def state(self, of: str, state: str, at: float | None = None) -> None:
        """``of`` is ice, connection, gathering or dtls."""
        self.tell(StateChanged(of=of, state=state, time=self._moment(at)))

    def selected(self, at: float | None = None) -> None:
        """Another pair is used from now on."""
        self.tell(Selected(time=self._moment(at)))

    def opened(self, at: float | None = None) -> None:
        """The data channel is open."""
        self.tell(Opened(time=self._moment(at)))

    def echoed(self, text: str, at: float | None = None) -> None:
        """A text has come."""
        self.tell(Echoed(text=text, time=self._moment(at)))

    def sounded(self, at: float | None = None) -> None:
        """Sound has come; what comes after the first packet is passed over."""
        if not self._sounded:
            self._sounded = True
            self.tell(Sounded(time=self._moment(at)))

    def failed(self, message: str) -> None:
        """Something went wrong."""
        self.tell(Failed(message=message, time=self._clock()))

    def _moment(self, at: float | None) -> float:
        return self._clock() if at is None else at


Pair = tuple[PairEnd, PairEnd]


class Peer(Protocol):
    """One peer connection with a data channel, and with sound of the offering side if ``start`` wants it. The offering
    side describes itself in ``start``, the other one when it is described to; both tell their events as they happen.
    """

    async def start(self, start: Start) -> None:
        """Make it; if it offers, open the channel and tell the offer."""

    async def describe(self, kind: str, sdp: str) -> None:
        """The other side's description; an offer is answered. Returns when candidates may be added."""

    async def add_candidate(self, item: TrickledCandidate) -> None:
        """A candidate of the other side, or the end of them."""

    def send(self, text: str) -> None:
        """Send over the channel."""

    async def pair(self) -> Pair | None:
        """The pair in use."""

    async def close(self) -> None:
        """End it."""


Write = Callable[[bytes], None]


def run(engine: str, version: str, make_peer: Callable[[Voice], Peer], *, media: bool = False) -> None:
    """Serve the driver until it closes stdin. ``media``: the peer has sound."""
    run_main(lambda write: serve(write, engine, version, make_peer, media=media))


def run_main(main: Callable[[Write], Coroutine[Any, Any, None]]) -> None:
    """For a program that has to make something ready before it can ``serve``."""
    # A library that prints must not be taken for the program.
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        asyncio.run(main(lambda line: _write_all(own, line)))
    except BrokenPipeError:
        # The driver has gone without a word.
        sys.exit(1)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


class Attendant:
    """Does what the driver says, one connection at a time; ``clock`` as of ``Voice``."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        make_peer: Callable[[Voice], Peer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._make_peer = make_peer
        self._clock = clock
        self._voice = Voice(write, clock)
        self._peer: Peer | None = None

    async def heed(self, line: bytes) -> None:
        """One request; what goes wrong is told."""
        try:
            await self._do(decode_request(line))
        except Exception as error:  # noqa: BLE001  # the driver is told, and may go on
            self._voice.failed(f"{type(error).__name__}: {error}")

    async def close(self) -> None:
        """End the connection if there is one."""
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()

    async def _do(self, request: Request) -> None:
        peer = self._peer
        match request:
            case Start():
                await self.close()
                self._voice = Voice(self._write, self._clock)
                self._peer = self._make_peer(self._voice)
                await self._peer.start(request)
            case _ if peer is None:
                self._voice.failed("no connection is started")
            case End():
                await self.close()
                self._voice.tell(Ended(time=self._clock()))
            case Description():
                await peer.describe(request.kind, request.sdp)
            case TrickledCandidate():
                await peer.add_candidate(request)
            case Send():
                peer.send(request.text)
            case AskPair():
                pair = await peer.pair()
                local, remote = (None, None) if pair is None else pair
                self._voice.tell(PairTold(local=local, remote=remote, time=self._clock()))


async def serve(
    write: Write, engine: str, version: str, make_peer: Callable[[Voice], Peer], *, media: bool = False
) -> None:
    """Tell that it is ready, and do what the driver says until it closes stdin."""
    reader = asyncio.StreamReader(limit=MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ready = Ready(engine=engine, version=version, clock="monotonic", time=time.monotonic(), media=media)
    Voice(write).tell(ready)
    attendant = Attendant(write, make_peer)
    while line := await reader.readline():
        await attendant.heed(line)
    await attendant.close()
