"""One call between two programs: the signaling between them, and what they told of it, with times."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from icekit.bench.lines import (
    AskPair,
    Description,
    Echoed,
    End,
    Ended,
    Event,
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
)
from icekit.candidate import Candidate
from icekit.errors import DecodeError, ProgramError
from icekit.net import Address
from icekit.sdp import read_sdp

CONNECTED = ("connected", "completed")
_SECOND_TEXT = "still there?"
_MAX_UNDER_WAY = 256
_MAX_RELAYS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class CallConfig:
    """What both sides are told, and deadlines in seconds. ``media``: sound of the offering side is waited for, too.

    ``signaling_delay`` is what a line is under way. ``checks_again``: a second text must come back after the pairs have
    settled (ICE alone does not repeat one that is lost). ``settles_within``: how long to wait after the echo for pairs
    that stay for ``settled_after``. ``answers_within``: a program that is slower to tell its pair or its end is broken.
    """

    ice_servers: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    trickle: bool = True
    relay_only: bool = False
    media: bool = False
    signaling_delay: float = 0.0
    checks_again: bool = True
    fails_after: float = 20.0
    settled_after: float = 0.5
    settles_within: float = 5.0
    answers_within: float = 10.0


class Speaker(Protocol):
    """What ``Program`` is to a call."""

    @property
    def name(self) -> str:
        """For errors."""

    @property
    def ready(self) -> Ready:
        """What it has said of itself."""

    async def send(self, request: Request) -> None:
        """Say something to it."""

    async def next_event(self) -> Event:
        """The next thing that it says; ProgramError if it has failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideReport:
    """One side; times in seconds since both were told to start, ``None`` for what did not happen or is not told.

    ``told``: when its first candidate of each type was. ``selected``: when it sent on the pair that it stayed with.
    ``secured``: when DTLS was connected. ``heard``: when the first text had come to it (of the offering side: back).
    ``sounded``: when the first sound had.
    ``relays``: the addresses that it has called its relayed candidates.
    """

    engine: str
    version: str
    described: float | None
    told: Mapping[str, float]
    connected: float | None
    selected: float | None
    secured: float | None
    opened: float | None
    heard: float | None
    sounded: float | None
    local: PairEnd | None
    remote: PairEnd | None
    relays: frozenset[Address]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallReport:
    """``began``: on the clock of all, when both were told to start. ``failure``: what did not flow, if anything."""

    offerer: SideReport
    answerer: SideReport
    began: float
    failure: str | None

    @property
    def echoed(self) -> float | None:
        """When the first text was back at the offering side."""
        return self.offerer.heard

    @property
    def connected(self) -> float | None:
        """When ICE was connected on both sides."""
        return _later(self.offerer.connected, self.answerer.connected)

    @property
    def selected(self) -> float | None:
        """When both sides sent on the pair that they stayed with."""
        return _later(self.offerer.selected, self.answerer.selected)

    @property
    def secured(self) -> float | None:
        """When DTLS was connected on both sides."""
        return _later(self.offerer.secured, self.answerer.secured)

    @property
    def opened(self) -> float | None:
        """When the data channel was open on both sides."""
        return _later(self.offerer.opened, self.answerer.opened)

    @property
    def relays(self) -> tuple[int | None, int | None]:
        """How many relays the data go through that the offering, that the answering side sends; ``None``: not told."""
        return _relays(self.offerer, self.answerer), _relays(self.answerer, self.offerer)

    @property
    def path(self) -> str:
        """``direct``, ``relay`` (at least one way), ``none`` or ``unknown``."""
        if self.failure is not None:
            return "none"
        if None in self.relays:
            return "unknown"
        return "relay" if any(self.relays) else "direct"

    @property
    def same_pair(self) -> bool | None:
        """Whether both sides send over the same pair, as far as they tell; ``None`` if one told nothing."""
        agreed = (_agree(self.offerer, self.answerer), _agree(self.answerer, self.offerer))
        return None if None in agreed else all(agreed)


def _agree(side: SideReport, other: SideReport) -> bool | None:
    """Whether ``side`` reaches the other one where that one sends from: at its relay, or not there."""
    if side.remote is None or other.local is None:
        return None
    relayed = other.local.kind == "relay"
    if side.remote.address is None or side.remote.port is None:
        # libwebrtc hides where a peer-reflexive candidate is.
        return side.remote.kind == "prflx" or (side.remote.kind == "relay") == relayed
    return _is_relay(side.remote, other) == relayed


def _relays(side: SideReport, other: SideReport) -> int | None:
    if side.local is None or side.remote is None:
        return None
    # Each side knows its own end best: to the other one it may look peer-reflexive.
    hidden = side.remote.address is None
    there = other.local is not None and other.local.kind == "relay" if hidden else _is_relay(side.remote, other)
    return (side.local.kind == "relay") + there


def _is_relay(remote: PairEnd, owner: SideReport) -> bool:
    known = remote.address is not None and remote.port is not None
    return remote.kind == "relay" or (known and Address(str(remote.address), int(remote.port or 0)) in owner.relays)


def _later(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


async def call(offerer: Speaker, answerer: Speaker, config: CallConfig) -> CallReport:
    """``offerer`` calls ``answerer``. What goes wrong between them is in the report; ProgramError if a program breaks,
    or has no sound and is to send it.

    After a report both may be used again.
    """
    sides = (_Side(offerer), _Side(answerer))
    went_wrong: str | None = None
    echo, sound = sides[0].echo, sides[1].sound
    if config.media:
        for side in sides:
            if not side.program.ready.media:
                raise ProgramError(side.program.name, 'it has no sound: its ready event does not say "media": true')
    carrying = [asyncio.create_task(_carry(one, other, config)) for one, other in (sides, tuple(reversed(sides)))]
    try:
        began = _now()
        for side, role in ((sides[1], "answer"), (sides[0], "offer")):
            start = Start(
                role=role,
                ice_servers=config.ice_servers,
                trickle=config.trickle,
                relay_only=config.relay_only,
                media=config.media,
            )
            await side.program.send(start)
        wanted = (*(side.opened for side in sides), echo, *((sound,) if config.media else ()))
        try:
            async with asyncio.timeout(config.fails_after):
                await _first(carrying, *wanted)
        except TimeoutError:
            missing = "sound" if all(item.done() for item in wanted if item is not sound) else "echo"
            went_wrong = f"no {missing} after {config.fails_after:g} s"
        else:
            await _settle(carrying, sides, config)
            if config.checks_again and not await _echoes_again(carrying, sides[0], config):
                went_wrong = f"no echo {config.answers_within:g} s after the pairs had settled"
        await _end(carrying, sides, config)
    finally:
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
    first, second = (side.report(began) for side in sides)
    return CallReport(offerer=first, answerer=second, began=began, failure=went_wrong)


def _now() -> float:
    # CLOCK_MONOTONIC, as all programs have it; in a simulation its own.
    return asyncio.get_running_loop().time()


async def _echoes_again(carrying: list[asyncio.Task[None]], offerer: _Side, config: CallConfig) -> bool:
    await offerer.program.send(Send(text=_SECOND_TEXT))
    try:
        async with asyncio.timeout(config.answers_within):
            await _first(carrying, offerer.second_echo)
    except TimeoutError:
        return False
    return True


async def _first(carrying: list[asyncio.Task[None]], *wanted: asyncio.Future[float]) -> None:
    """Wait for all that is wanted, and no longer than the programs speak."""
    missing = {item for item in wanted if not item.done()}
    while missing:
        speaking: set[asyncio.Future[Any]] = {task for task in carrying if not task.done()}
        await asyncio.wait(speaking | missing, return_when=asyncio.FIRST_COMPLETED)
        for task in speaking:
            # One that is done without an exception has ended as it should, and tells nothing more.
            if task.done():
                task.result()
        missing = {item for item in missing if not item.done()}


async def _settle(carrying: list[asyncio.Task[None]], sides: tuple[_Side, _Side], config: CallConfig) -> None:
    """Ask both for their pairs until they have stayed the same for a while."""
    began = since = _now()
    last: Any = None
    while (now := _now()) < began + config.settles_within:
        for side in sides:
            side.pair = asyncio.get_running_loop().create_future()
            await side.program.send(AskPair())
        await _answered(carrying, {side.program: side.pair for side in sides}, config)
        seen = [side.ends for side in sides]
        if seen != last:
            last, since = seen, now
        elif now - since >= config.settled_after:
            return
        await asyncio.sleep(0.05)


async def _end(carrying: list[asyncio.Task[None]], sides: tuple[_Side, _Side], config: CallConfig) -> None:
    for side in sides:
        side.ending = True
        await side.program.send(End())
    await _answered(carrying, {side.program: side.ended for side in sides}, config)


async def _answered(
    carrying: list[asyncio.Task[None]], answers: Mapping[Speaker, asyncio.Future[float]], config: CallConfig
) -> None:
    """Wait for what every program can tell at once."""
    try:
        async with asyncio.timeout(config.answers_within):
            await _first(carrying, *answers.values())
    except TimeoutError:
        silent = next(program.name for program, answer in answers.items() if not answer.done())
        raise ProgramError(silent, f"no answer to a request for {config.answers_within:g} s") from None


async def _carry(source: _Side, target: _Side, config: CallConfig) -> None:
    """Take what one program says: signaling to the other one, the rest into its record. Ends with the connection."""
    lines: asyncio.Queue[tuple[float, Description | TrickledCandidate]] = asyncio.Queue(_MAX_UNDER_WAY)

    async def deliver() -> None:
        while True:
            due, item = await lines.get()
            await asyncio.sleep(max(0.0, due - _now()))
            # A candidate that comes late finds no connection any more, and is no mistake of the program.
            if not target.ending:
                await target.program.send(item)

    delivering = asyncio.create_task(deliver())
    try:
        while not source.ended.done():
            event = await source.program.next_event()
            source.note(event)
            if isinstance(event, Description | TrickledCandidate):
                await lines.put((_now() + config.signaling_delay, _untimed(event)))
    finally:
        # If it has failed, its target does not read any more, which that one's own events show.
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)


def _untimed(item: Description | TrickledCandidate) -> Description | TrickledCandidate:
    if isinstance(item, Description):
        return Description(kind=item.kind, sdp=item.sdp)
    return TrickledCandidate(
        candidate=item.candidate,
        sdp_mid=item.sdp_mid,
        sdp_mline_index=item.sdp_mline_index,
        username_fragment=item.username_fragment,
    )


def _future() -> asyncio.Future[float]:
    return asyncio.get_running_loop().create_future()


@dataclass(eq=False, kw_only=False, slots=True)
class _Side:
    """What one program has told so far; times on the clock of all."""

    program: Speaker
    described: float | None = None
    told: dict[str, float] = field(default_factory=dict)
    connected: float | None = None
    completed: float | None = None
    selected: float | None = None
    secured: float | None = None
    ends: tuple[PairEnd | None, PairEnd | None] = (None, None)
    relays: set[Address] = field(default_factory=set)
    opened: asyncio.Future[float] = field(default_factory=_future)
    echo: asyncio.Future[float] = field(default_factory=_future)
    second_echo: asyncio.Future[float] = field(default_factory=_future)
    sound: asyncio.Future[float] = field(default_factory=_future)
    pair: asyncio.Future[float] = field(default_factory=_future)
    ending: bool = False
    ended: asyncio.Future[float] = field(default_factory=_future)

    def note(self, event: Event) -> None:
        match event:
            case Description(sdp=sdp):
                self.described = event.time
                with contextlib.suppress(DecodeError):
                    for section in read_sdp(sdp, strict=False).media:
                        for candidate in section.candidates:
                            self._note_candidate(candidate, event.time)
            case TrickledCandidate(candidate=text) if text:
                with contextlib.suppress(DecodeError):
                    self._note_candidate(Candidate.parse(text, strict=False), event.time)
            case StateChanged(of="ice", state=state) if state in CONNECTED:
                self.connected = event.time if self.connected is None else self.connected
                if state == "completed" and self.completed is None:
                    self.completed = event.time
            case StateChanged(of="dtls", state="connected") if self.secured is None:
                self.secured = event.time
            case Selected():
                self.selected = event.time
            case Opened():
                _set(self.opened, event.time)
            case Echoed(text=text):
                _set(self.second_echo if text == _SECOND_TEXT else self.echo, event.time)
            case Sounded():
                _set(self.sound, event.time)
            case PairTold(local=local, remote=remote):
                self.ends = (local, remote)
                _set(self.pair, event.time)
            case Ended():
                _set(self.ended, event.time)

    def _note_candidate(self, candidate: Candidate, now: float | None) -> None:
        if now is not None:
            self.told.setdefault(str(candidate.type), now)
        if candidate.type == "relay" and len(self.relays) < _MAX_RELAYS:
            self.relays.add(Address(candidate.address, candidate.port))

    def report(self, began: float) -> SideReport:
        def since(moment: float | None) -> float | None:
            return None if moment is None else moment - began

        ready = self.program.ready
        return SideReport(
            engine=ready.engine,
            version=ready.version,
            described=since(self.described),
            told={kind: moment - began for kind, moment in self.told.items()},
            connected=since(self.connected),
            selected=since(self.completed if self.selected is None else self.selected),
            secured=since(self.secured),
            opened=since(self.opened.result() if self.opened.done() else None),
            heard=since(self.echo.result() if self.echo.done() else None),
            sounded=since(self.sound.result() if self.sound.done() else None),
            local=self.ends[0],
            remote=self.ends[1],
            relays=frozenset(self.relays),
        )


def _set(future: asyncio.Future[float], value: float) -> None:
    if not future.done():
        future.set_result(value)
