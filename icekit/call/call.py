"""``Call``: two peers, a signaling channel between them, and what they want to hear and see of each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Literal, Protocol

from aiortc import RTCDataChannel
from aiortc.mediastreams import MediaStreamTrack

from icekit.aio.background import Background
from icekit.call import side
from icekit.call.attendance import Attendance, Change
from icekit.call.config import CallConfig
from icekit.call.exchange import Exchange, Owner
from icekit.call.leg import Leg
from icekit.call.measure import CallStats, Meter
from icekit.call.sinks import Level, Sink
from icekit.call.sources import SwitchedTrack, open_sources
from icekit.call.trace import Mark, Trace
from icekit.catalogue import CODES, new_finding
from icekit.errors import CallFailed, IcekitError, InvalidState, SignalingError
from icekit.negotiation_events import ChangeFailed, NegotiationEvent, NegotiationFailed, PeerLeft, PhaseChanged
from icekit.phases import Phase
from icekit.report import Finding
from icekit.rules_pairs import narrow_path
from icekit.servers import IceServer
from icekit.signaling.message import Bye, Fault, Message, Presence, Report

log = logging.getLogger(__name__)

# Seconds: alone in a room that tells nobody who is there, before an offer goes to whoever comes; with a peer that
# should offer and does not; for the other side's report or for a farewell; for the first media before the trace is
# told without them.
_ALONE, _COURTESY, _REPORT, _MEDIA = 1.0, 1.0, 2.0, 3.0
_MAX_TEXTS, _MAX_STATS, _MAX_FINDINGS = 1000, 3600, 50


class MessageChannel(Protocol):
    """What a call needs of a channel of ``icekit.signaling``."""

    @property
    def name(self) -> str:
        """Our name in the room."""

    async def send(self, message: Message) -> None:
        """Send it, or wait until there is room."""

    def __aiter__(self) -> AsyncIterator[Message]:
        """What comes in, until the channel is closed."""


class Call:
    """A call with one peer over ``channel``, whichever of the two begins.

    ::

        async with connect("ws://example.org/lobby") as channel, Call(channel, media=["tone", "bars"]) as call:
            await call.connected()

    ``media`` are words of ``icekit.call.sources.SOURCES`` or tracks of aiortc; they are open before anything is said.
    Entering raises ConfigError for media or servers that cannot be; leaving hangs up. The channel stays the caller's.
    """

    def __init__(
        self,
        channel: MessageChannel,
        *,
        ice_servers: Sequence[IceServer] = (),
        media: Sequence[str | MediaStreamTrack] = (),
        config: CallConfig | None = None,
    ) -> None:
        self.config = config or CallConfig()
        self._channel = channel
        self._servers = tuple(ice_servers)
        self._media = tuple(media)
        self._attendance = Attendance(channel.name, wanted=self.config.peer)
        self._tracks: list[SwitchedTrack] = []
        self._exchange: Exchange | None = None
        self._sink: Sink | None = None
        self._trace: Trace | None = None
        self._background = Background()
        self._freeing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._meter = Meter()
        self._texts: deque[str | bytes] = deque(maxlen=_MAX_TEXTS)
        self._failing = False
        self._failure: CallFailed | None = None
        self._end: str | None = None
        self._was_connected = False
        self._ours: side.SideReport | None = None
        self._theirs: side.SideReport | None = None
        self._side_told = False
        self._closed = False
        self.findings: tuple[Finding, ...] = ()
        """What is to be said of the call so far; of a call that failed the same as in the error."""
        self.history: deque[CallStats] = deque(maxlen=_MAX_STATS)
        """The statistics of each second, the newest last."""
        self.data: RTCDataChannel | None = None
        """The data channel, which either side may have opened."""

    async def __aenter__(self) -> Call:
        """Open the media and begin."""
        trace = self._trace = Trace(self._now())
        try:
            self._sink = Sink(self.config.record, trace.began, self._heard_first)
            words = [item for item in self._media if isinstance(item, str)]
            self._tracks = await open_sources(words)
            self._tracks += [SwitchedTrack(item) for item in self._media if not isinstance(item, str)]
            # What cannot be asked is told here, and not in the middle of the call.
            await self.config.connection(self._servers).close()
        except BaseException:
            await self._free()
            raise
        trace.mark(Mark.MEDIA_OPENED, self._now())
        owner = Owner(
            say=self._say,
            tell=self._hear,
            lost=self._lose,
            begins=self._begin_leg,
            track=self._sink.add,
            channel=self._open,
        )
        self._exchange = Exchange(self._channel.name, self.config, self._servers, self._tracks, trace, owner)
        self._exchange.start()
        self._background.run(self._read())
        self._background.run(self._offer_later(_ALONE, None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    # What the caller does.

    async def connected(self) -> None:
        """Wait until media may flow; CallFailed, with the findings of both sides, if they never do."""
        await self._until(lambda: self._was_connected)

    async def first_media(self) -> Level:
        """Wait for the first decoded frame of the peer, and tell what it is; CallFailed if the call ends before."""
        await self._until(lambda: any(level.frames for level in self.levels))
        return min((level for level in self.levels if level.frames), key=lambda level: level.first or 0.0)

    async def opened(self) -> None:
        """Wait until the data channel is open; CallFailed if the call ends before."""
        await self._until(lambda: self.can_send)

    async def receive(self) -> str | bytes:
        """The next message of the data channel; CallFailed if the call ends before. The newest 1000 are kept."""
        await self._until(lambda: bool(self._texts))
        return self._texts.popleft()

    async def ended(self) -> str:
        """Wait until the call is over, and say why; CallFailed if it failed or broke."""
        while self._end is None:
            if self._failure is not None:
                raise self._failure
            await self._wait()
        return self._end

    async def hang_up(self, reason: str | None = None) -> None:
        """End it: the peer is told, everything is closed when this returns. Idempotent."""
        try:
            if not self._closed:
                self._closed = True
                if self._end is None and self._failure is None:
                    self._end = "hung up"
                    with contextlib.suppress(SignalingError, TimeoutError):
                        async with asyncio.timeout(_REPORT):
                            await self._say(Bye(reason=reason))
        finally:
            if self._exchange is not None:
                self._ours = self._ours or self._side()
            await self._free()
            self._changed.set()

    def mute(self, kind: Literal["audio", "video"], on: bool = True) -> None:
        """Send silence or black pictures instead of what the source gives, or no longer. The peer need not know."""
        for track in self._tracks:
            if track.kind == kind:
                track.muted = on

    def hold(self, on: bool = True) -> None:
        """Send and take no media until further notice; the peer learns it with an exchange of descriptions."""
        self._connected_leg("hold").set_hold(on)
        self._running.offer()

    def restart(self) -> None:
        """Begin ICE anew; the path in use carries on until there is a new one."""
        self._connected_leg("restart")
        self._running.offer(restart=True)

    def send(self, message: str | bytes) -> None:
        """Send it over the data channel; InvalidState if that is not open."""
        if self.data is None or not self.can_send:
            raise InvalidState("send() is for a call whose data channel is open: wait for opened()")
        self.data.send(message)

    # What can be seen.

    @property
    def phase(self) -> Phase:
        """What the call waits for now."""
        return self._running.negotiation.phase

    @property
    def is_connected(self) -> bool:
        """Whether media may flow, or will again when the path is restored."""
        return self._exchange is not None and self._exchange.is_connected

    @property
    def can_send(self) -> bool:
        """Whether the data channel is open."""
        return self.data is not None and self.data.readyState == "open"

    @property
    def peer(self) -> str | None:
        """The name of the other side, if it has one."""
        return self._attendance.peer

    @property
    def trace(self) -> Trace:
        """The thirteen steps with their times on both sides."""
        assert self._trace is not None, "use it in an async with block"
        return self._trace

    @property
    def levels(self) -> tuple[Level, ...]:
        """What has been heard and seen of the peer, one for each track."""
        return () if self._sink is None else self._sink.levels

    @property
    def stats(self) -> CallStats | None:
        """The statistics of the last second; ``None`` before the first one is over."""
        return self.history[-1] if self.history else None

    @property
    def leg(self) -> Leg | None:
        """The peer connection in use, with what is known of it."""
        return self._running.leg

    @property
    def failure(self) -> CallFailed | None:
        """What ``connected`` and the others raise, once the call has failed."""
        return self._failure

    @property
    def end(self) -> str | None:
        """Why the call is over, if it is and has not failed."""
        return self._end

    @property
    def own_side(self) -> side.SideReport:
        """What this side knows now, or knew when the call failed or was hung up."""
        return self._ours or self._side()

    @property
    def peer_side(self) -> side.SideReport | None:
        """The same of the other side, if it has told."""
        return self._theirs

    # Signaling.

    @property
    def _running(self) -> Exchange:
        assert self._exchange is not None, "use it in an async with block"
        return self._exchange

    async def _read(self) -> None:
        """Take what the channel brings until it ends."""
        reason = "the channel was closed"
        try:
            async for message in self._channel:
                self._take(message)
                self._changed.set()
        except IcekitError as error:
            reason = str(error)
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        """There is no signaling any more."""
        if self._was_connected:
            # Media need none; only changes and restarts do.
            log.warning("the signaling of a connected call has ended: %s", reason)
        else:
            self._fail("CALL-SIGNALING", reason)

    def _take(self, message: Message) -> None:
        match message:
            case Presence():
                self._see(self._attendance.see(message))
            case Fault(code=code, text=text):
                log.warning("the signaling server says: %s (%s)", text, code)
            case _ if not self._attendance.admits(message):
                log.debug("! %s of somebody else", type(message).__name__)
            case Report(report=report):
                self.trace.hear(report)
                theirs = side.SideReport.from_dict(report)
                if theirs is not None:
                    self._theirs = theirs
                    self._background.run(self._tell_side(self._ours or self._side()))
            case _:
                self._running.take(message)

    def _see(self, change: Change) -> None:
        if change is Change.LEFT and not self._was_connected and not self._failing and not self._closed:
            self._running.start_over()
        if change is Change.ARRIVED or (change is Change.LEFT and self.peer is not None):
            self._running.negotiation.peer_arrived(self._now())
            self._running.pump()
            # Of two that see each other one offers; the other one does when it hears nothing.
            self._background.run(self._offer_later(0.0 if self._attendance.offers_first else _COURTESY, self.peer))

    async def _offer_later(self, delay: float, peer: str | None) -> None:
        """Offer, unless that has become needless: to ``peer``, or to whoever comes where nobody says who is there."""
        await asyncio.sleep(delay)
        if self._running.is_idle and self.peer == peer and (peer is not None or self._attendance.is_unknown):
            self._running.offer()

    async def _say(self, message: Message) -> None:
        await self._channel.send(replace(message, to=self.peer))

    # What happens.

    def _hear(self, event: NegotiationEvent) -> None:
        match event:
            case PhaseChanged(phase=Phase.CONNECTED) if not self._was_connected:
                self._was_connected = True
                self.trace.mark(Mark.CONNECTED, self._now())
                self._background.run(self._begin_media())
                self._background.run(self._measure())
            case NegotiationFailed(code=code, reason=reason, phase=phase, findings=found):
                self.findings += found
                self._fail(code, reason, phase)
            case ChangeFailed(code=code, reason=reason, findings=found):
                finding = new_finding(code, CODES[code].meaning, reason)
                if finding not in self.findings and len(self.findings) < _MAX_FINDINGS:
                    log.warning("a change of the call came to nothing: %s (%s)", reason, code)
                    self.findings += (*found, finding)
            case PeerLeft(reason=reason) if self._was_connected and (self._theirs is None or not self._theirs.code):
                self._end = self._end or f"the other side hung up{f': {reason}' if reason else ''}"
            case PeerLeft(reason=reason):
                self._fail("CALL-BYE", reason or "no reason given")
            case _:
                pass
        self._changed.set()

    def _begin_leg(self) -> None:
        """A new connection: nothing of an earlier one is of interest any more."""
        self.data = None
        assert self._sink is not None
        self._sink.renew()

    def _open(self, channel: RTCDataChannel) -> None:
        """A data channel; the first one of a connection is the call's."""
        if self.data is None:
            self.data = channel
            channel.on("open", self._changed.set)
            channel.on("message", self._take_text)
            self._changed.set()

    def _take_text(self, text: str | bytes) -> None:
        self._texts.append(text)
        self._changed.set()

    def _heard_first(self, level: Level) -> None:
        if Mark.FIRST_MEDIA not in self.trace.marks:
            self.trace.mark(Mark.FIRST_MEDIA, self._now())
        self._changed.set()

    async def _begin_media(self) -> None:
        """Record what is there, note what is missing, and tell the peer our half of the trace."""
        assert self._sink is not None
        await self._sink.start()
        leg = self._running.leg
        if leg is not None and leg.silent_kinds:
            kinds = " and ".join(leg.silent_kinds)
            self.findings += (new_finding("CALL-SILENT", CODES["CALL-SILENT"].meaning, f"no {kinds} from the peer"),)
        with contextlib.suppress(TimeoutError, CallFailed):
            async with asyncio.timeout(_MEDIA if self.levels else 0.0):
                await self.first_media()
        if self.peer is not None:
            with contextlib.suppress(SignalingError):
                await self._say(Report(report=self.trace.document))

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(self.config.interval)
            leg = self._running.leg
            if leg is not None:
                report = await leg.connection.getStats()
                levels = tuple(replace(level) for level in self.levels)
                self.history.append(self._meter.measure(report, self._now() - self.trace.began, levels))
                self._look_at_path(leg)
                self._changed.set()

    def _look_at_path(self, leg: Leg) -> None:
        """Tell once that it is narrow; the call goes on, and a later path may be wider."""
        if not any(finding.code == "ICE029" for finding in self.findings):
            self.findings += tuple(narrow_path({"from this side": leg.path_mtu}))

    # The end.

    def _fail(self, code: str, reason: str, phase: Phase | None = None) -> None:
        if not self._failing and self._end is None and not self._closed:
            self._failing = True
            self._ours = replace(self._side(), code=code, reason=reason, phase=str(phase or self.phase))
            self._background.run(self._explain(self._ours))

    async def _explain(self, ours: side.SideReport) -> None:
        """Tell the peer what we saw, hear what it saw, and put both together."""
        with contextlib.suppress(SignalingError, TimeoutError):
            async with asyncio.timeout(_REPORT):
                if self.peer is not None and ours.code != "CALL-SIGNALING":
                    await self._tell_side(ours)
                    while self._theirs is None:
                        await self._wait()
        with contextlib.suppress(SignalingError, TimeoutError):
            async with asyncio.timeout(_REPORT):
                if ours.code != "CALL-BYE":
                    await self._say(Bye(reason=ours.code))
        known = {finding.code for finding in self.findings} & {"ICE029"}
        self.findings += tuple(item for item in side.findings(ours, self._theirs) if item.code not in known)
        self._failure = CallFailed(ours.code or "", ours.reason, self.findings)
        self._changed.set()

    def _side(self) -> side.SideReport:
        """What this side knows now."""
        leg = self._running.leg
        if leg is None:
            return side.SideReport(phase=str(self.phase))
        sent, received, answered, refused = leg.checks()
        mtu = leg.path_mtu
        return side.SideReport(
            phase=str(self.phase),
            local=dict(leg.local),
            remote=dict(leg.remote),
            checks_sent=sent,
            checks_received=received,
            answered=answered,
            refused=refused,
            packet_passed=None if mtu is None else mtu.passed,
            packet_lost=None if mtu is None else mtu.lost,
            servers=tuple(leg.servers),
        )

    async def _tell_side(self, ours: side.SideReport) -> None:
        """What we know, or what we know of our failure; once."""
        if not self._side_told:
            self._side_told = True
            with contextlib.suppress(SignalingError):
                await self._say(Report(report=ours.to_dict()))

    async def _free(self) -> None:
        """Stop and close everything; it is done, too, if whoever waits for it is cancelled."""
        if self._freeing is None:
            self._freeing = asyncio.get_running_loop().create_task(self._stop(), name="icekit-close")
        await asyncio.shield(self._freeing)

    async def _stop(self) -> None:
        await self._background.close()
        if self._exchange is not None:
            await self._exchange.close()
        if self._sink is not None:
            await self._sink.stop()
        for track in self._tracks:
            track.stop()

    # Inside.

    def _connected_leg(self, method: str) -> Leg:
        leg = self._running.leg
        if leg is None or not self._running.is_connected:
            raise InvalidState(f"{method}() is for a call that is connected: wait for connected()")
        return leg

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            if reached():
                return
            if self._end is not None:
                raise CallFailed("CALL-BYE", self._end)
            await self._wait()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
