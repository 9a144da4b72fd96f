"""The owner of a negotiation: does what it asks for with one peer connection after the other, and keeps its time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from aiortc import RTCDataChannel
from aiortc.mediastreams import MediaStreamTrack

from icekit.call.config import CallConfig
from icekit.call.description import flaws
from icekit.call.leg import Leg
from icekit.call.trace import Mark, Trace
from icekit.errors import NegotiationError, SignalingError
from icekit.negotiation import Negotiation
from icekit.negotiation_events import (
    AnswerReceived,
    AnswerWanted,
    CandidateReady,
    DescriptionReady,
    NegotiationEvent,
    NegotiationFailed,
    OfferWanted,
    PhaseChanged,
)
from icekit.phases import Phase
from icekit.remote_candidates import RemoteCandidate
from icekit.servers import IceServer
from icekit.signaling.message import Answer, Bye, Message, Offer, TrickledCandidate

log = logging.getLogger(__name__)

_MAX_ARRIVED = 16
# Seconds for the farewell of a peer whose connection is closed: it says why, and a broker may be slower than media.
_FAREWELL = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whom an exchange works for. ``say`` sends a message, ``tell`` gets what is not the exchange's own business,
    ``lost`` the reason why nothing can be sent any more. ``begins`` is called with each new connection, ``track`` and
    ``channel`` with what the peer, or we, have opened in it.
    """

    say: Callable[[Message], Awaitable[None]]
    tell: Callable[[NegotiationEvent], None]
    lost: Callable[[str], None]
    begins: Callable[[], None]
    track: Callable[[MediaStreamTrack], None]
    channel: Callable[[RTCDataChannel], None]


class Exchange:
    """Begins with ``start``; after ``close`` nothing is left of it."""

    def __init__(
        self,
        name: str,
        config: CallConfig,
        ice_servers: Sequence[IceServer],
        tracks: Sequence[MediaStreamTrack],
        trace: Trace,
        owner: Owner,
    ) -> None:
        self._name = name
        self._config = config
        self._servers = ice_servers
        self._tracks = tracks
        self._trace = trace
        self._owner = owner
        self.leg: Leg | None = None
        self.negotiation = self._make_negotiation()
        self._work: asyncio.Queue[NegotiationEvent | RemoteCandidate] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._farewell: asyncio.TimerHandle | None = None
        self._arrived: dict[str, float] = {}
        # The last ones, to say what is wrong with them.
        self._sent_offer: str | None = None
        self._heard_answer: str | None = None
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """Whether media may flow, or might until the path is restored."""
        return self.negotiation.phase in (Phase.CONNECTED, Phase.RESTORING)

    @property
    def is_idle(self) -> bool:
        """Whether neither side has begun."""
        return self.leg is None and self._work.empty()

    def start(self) -> None:
        """Begin to work."""
        self._worker = asyncio.get_running_loop().create_task(self._do_all())
        self.pump()

    def start_over(self) -> None:
        """The peer is gone before the call was connected: the next one begins from the beginning."""
        self.negotiation.close(self._now())
        self._drop_leg()
        while not self._work.empty():
            self._work.get_nowait()
        self._arrived.clear()
        self.negotiation = self._make_negotiation()
        self.pump()

    def offer(self, *, restart: bool = False) -> None:
        """Begin an exchange of descriptions."""
        self.negotiation.offer(self._now(), restart=restart)
        self.pump()

    def take(self, message: Message) -> None:
        """A message of the peer."""
        now, core = self._now(), self.negotiation
        match message:
            case Offer(sdp=sdp):
                self._arrive(sdp)
                core.receive_offer(sdp, now, sender=message.sender)
            case Answer(sdp=sdp):
                self._arrive(sdp)
                self._heard_answer = sdp
                core.receive_answer(sdp, now)
            case TrickledCandidate(candidate=line):
                ufrag = message.username_fragment
                core.receive_candidate(RemoteCandidate(line, message.sdp_mid, message.sdp_mline_index, ufrag), now)
            case Bye(reason=reason):
                core.receive_bye(reason, now)
            case _:
                pass
        self.pump()

    def pump(self) -> None:
        """After every change: take the events, arm the one timer."""
        while (event := self.negotiation.next_event()) is not None:
            match event:
                case OfferWanted() | AnswerWanted() | AnswerReceived() | DescriptionReady() | CandidateReady():
                    self._work.put_nowait(event)
                case NegotiationFailed(code="CALL-DESCRIPTION", findings=()) if self._sent_offer and self._heard_answer:
                    found = tuple(flaws(self._sent_offer, self._heard_answer))
                    self._owner.tell(replace(event, findings=found))
                case PhaseChanged(phase=phase):
                    log.debug("= %s", phase)
                    self._owner.tell(event)
                case _:
                    self._owner.tell(event)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self.negotiation.get_timer()
        if when is not None and not self._closed:
            self._timer = asyncio.get_running_loop().call_at(when, self._ring)

    async def close(self) -> None:
        """End it, and wait until all connections are closed. Idempotent."""
        self._closed = True
        self.negotiation.close(self._now())
        self.pump()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._drop_leg()
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    # Inside.

    def _make_negotiation(self) -> Negotiation:
        deadlines, restarts = self._config.deadlines, self._config.engine == "icekit"
        return Negotiation(self._name, deadlines=deadlines, restarts=restarts, now=self._now())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _ring(self) -> None:
        self._timer = None
        self.negotiation.handle_timer(self._now())
        self.pump()

    def _arrive(self, sdp: str) -> None:
        if len(self._arrived) < _MAX_ARRIVED:
            self._arrived.setdefault(sdp, self._now())

    async def _do_all(self) -> None:
        """Do what the negotiation asks for, one thing after the other."""
        while True:
            event = await self._work.get()
            core = self.negotiation
            try:
                await self._do(core, event)
            except SignalingError as error:
                self._owner.lost(str(error))
            except NegotiationError as error:
                log.debug("! %s could not be done", type(event).__name__, exc_info=True)
                core.failed(error.reason, self._now(), error.findings)
            except Exception as error:
                log.debug("! %s could not be done", type(event).__name__, exc_info=True)
                if not isinstance(event, CandidateReady | RemoteCandidate):
                    core.failed(f"{type(error).__name__}: {error}", self._now())
            self.pump()

    async def _do(self, core: Negotiation, event: NegotiationEvent | RemoteCandidate) -> None:
        match event:
            case OfferWanted(restart=restart):
                leg = self.leg or self._make_leg(offers=True)
                # Before media flow a new connection is the way back, later that the offer is not in force.
                sdp = await leg.make_offer(restart=restart, defer=self.is_connected, created=self._mark_created)
                self._mark(Mark.LOCAL_SET)
                leg.count_local(sdp)
                self._mark_candidates(Mark.GATHERED, leg.in_description)
                core.offer_made(sdp, self._now())
            case AnswerWanted(sdp=sdp, rolled_back=rolled_back):
                await self._answer(core, sdp, rolled_back)
            case AnswerReceived(sdp=sdp) if self.leg is not None:
                self._mark(Mark.RECEIVED, self._arrived.get(sdp))
                await self.leg.take_answer(sdp)
                self._mark(Mark.REMOTE_SET)
                leg = self.leg
                self._mark_candidates(Mark.CANDIDATE_ADDED, leg.count_remote(sdp))
                core.answer_applied(self._now())
            case DescriptionReady(type=kind, sdp=sdp, again=again) if self.leg is not None:
                await self._owner.say(Offer(sdp=sdp) if kind == "offer" else Answer(sdp=sdp))
                if kind == "offer":
                    self._sent_offer, self._heard_answer = sdp, None
                if not again:
                    self._mark(Mark.SENT)
                    self._mark_candidates(Mark.CANDIDATE_SENT, self.leg.in_description)
                self.leg.is_described = True
                for candidate in tuple(self.leg.told):
                    await self._send_candidate(candidate)
            case CandidateReady(candidate=candidate) if self.leg is not None:
                await self.leg.add_candidate(candidate)
                self._mark_candidates(Mark.CANDIDATE_ADDED, 0 if candidate.is_end else 1)
            case RemoteCandidate():
                await self._send_candidate(event)
            case _:
                pass

    async def _answer(self, core: Negotiation, offer: str, rolled_back: bool) -> None:
        leg = self.leg
        if leg is not None and ((rolled_back and not self.is_connected) or leg.is_another_peer(offer)):
            self._drop_leg()
            leg = None
        leg = leg or self._make_leg(offers=False)
        self._mark(Mark.RECEIVED, self._arrived.get(offer))
        await leg.take_offer(offer)
        self._mark(Mark.REMOTE_SET)
        self._mark_candidates(Mark.CANDIDATE_ADDED, leg.count_remote(offer))
        sdp = await leg.make_answer(self._mark_created)
        self._mark(Mark.LOCAL_SET)
        leg.count_local(sdp)
        self._mark_candidates(Mark.GATHERED, leg.in_description)
        core.answer_made(sdp, self._now())
        if leg.has_more_to_offer:
            core.offer(self._now())

    async def _send_candidate(self, candidate: RemoteCandidate) -> None:
        message = TrickledCandidate(
            candidate=candidate.line,
            sdp_mid=candidate.mid,
            sdp_mline_index=candidate.index,
            username_fragment=candidate.ufrag,
        )
        await self._owner.say(message)
        self._mark_candidates(Mark.CANDIDATE_SENT, 0 if candidate.is_end else 1)

    # Connections.

    def _make_leg(self, *, offers: bool) -> Leg:
        if not self.is_connected:
            self._trace.start_over(offers=offers)
        connection = self._config.connection(self._servers)

        def current() -> bool:
            return self.leg is leg and not self._closed

        def candidate(found: RemoteCandidate) -> None:
            if current():
                self._mark_candidates(Mark.GATHERED, 0 if found.is_end else 1)
                if leg.is_described:
                    self._work.put_nowait(found)

        def changed() -> None:
            if current():
                self._look(leg)

        leg = Leg(connection, self._tracks, offers=offers, candidate=candidate, changed=changed)
        self.leg = leg
        self._owner.begins()
        leg.open(self._config, self._owner.track, self._owner.channel)
        return leg

    def _drop_leg(self) -> None:
        """Close the connection, behind the back of what comes next."""
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
        if self.leg is not None:
            task = asyncio.get_running_loop().create_task(self.leg.close())
            self.leg = None
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _look(self, leg: Leg) -> None:
        """A state of the connection has changed."""
        core, connection, now = self.negotiation, leg.connection, self._now()
        failure = leg.dtls_failure
        if failure is not None:
            core.security_failed(*failure, now)
        elif connection.connectionState == "closed":
            if self._farewell is None:
                self._farewell = asyncio.get_running_loop().call_later(_FAREWELL, self._miss_farewell, leg)
        else:
            core.path_changed(connection.iceConnectionState, now)
            if connection.iceConnectionState in ("connected", "completed") and not self._is_marked(Mark.PATH):
                self._trace.mark(Mark.PATH, now)
            if connection.connectionState == "connected":
                core.secured(now)
        self.pump()

    def _miss_farewell(self, leg: Leg) -> None:
        """The peer has closed its connection without a word over the signaling channel."""
        self._farewell = None
        if self.leg is leg and not self._closed:
            self.negotiation.receive_bye("it closed the connection", self._now())
            self.pump()

    # The trace.

    def _is_marked(self, mark: Mark) -> bool:
        return mark in self._trace.marks

    def _mark_created(self) -> None:
        self._mark(Mark.DESCRIPTION_CREATED)

    def _mark(self, mark: Mark, when: float | None = None) -> None:
        """A step of the first exchange; later ones are no steps of setting the call up."""
        if not self.is_connected and not self._is_marked(mark):
            self._trace.mark(mark, self._now() if when is None else when)

    def _mark_candidates(self, mark: Mark, count: int) -> None:
        for _ in range(count):
            self._trace.mark(mark, self._now())
