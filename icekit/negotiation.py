"""Offer and answer between two peers: perfect negotiation, rollback, candidate buffering, a deadline for every phase.

The core of a call's signaling. Its owner does what the events ask for, in order, and says when it is done; it tells
what the peer sent and what the connection does. ``icekit.transitions`` is the table that it goes by. Of a description
only type, user name fragments, mids and end-of-candidates are looked at (with ``icekit.sdp``), its text is otherwise
opaque, and equal text is the same description.

Nothing that a peer sends raises. Whatever is lost, repeated or crosses, both ends come to an agreement or end with a
code; an offer that gets no answer is sent again.
"""

from __future__ import annotations

from collections import deque

from icekit.errors import DecodeError, InvalidState
from icekit.negotiation_events import (
    AnswerReceived,
    AnswerWanted,
    CandidateReady,
    ChangeFailed,
    DescriptionReady,
    NegotiationEvent,
    NegotiationFailed,
    OfferWanted,
    PeerLeft,
    PhaseChanged,
)
from icekit.phases import Circumstances, Deadlines, Phase, code_of
from icekit.remote_candidates import RemoteCandidate, RemoteCandidates
from icekit.report import Finding
from icekit.sdp import SessionDescription, read_sdp
from icekit.transitions import TRANSITIONS, Action, Input, SignalingState

# An offer is repeated after so many seconds, then at intervals that double up to the second number.
_REPEAT_FIRST, _REPEAT_LAST = 2.0, 10.0
# A path that is silent is restarted after the first number; the side that did not offer last waits longer, so that both
# seldom do it at once. A restart that has brought nothing is repeated after the third.
_SILENCE, _COURTESY, _RESTART_AGAIN = 2.0, 3.0, 10.0
# So many descriptions of the peer are recognised when they come again.
_REMEMBERED = 64
# Descriptions of one peer that may come before it is given up: nobody changes so much in one call.
_MAX_DESCRIPTIONS = 10_000


class Negotiation:
    """One side. ``name``: what the peer knows us as, if it does. ``restarts``: whether the connection can restart ICE.

    When offers collide, the side with the greater name wins; where one has no name, that of the greater user name
    fragment. Both sides come to the same end. The loser rolls back, the winner sends its offer again.
    """

    def __init__(
        self, name: str | None = None, *, deadlines: Deadlines | None = None, restarts: bool = True, now: float = 0.0
    ) -> None:
        self._name = name
        self._deadlines = deadlines or Deadlines()
        self._restarts = restarts
        self.state = SignalingState.STABLE
        self.phase = Phase.PEER
        self._since = now
        self._events: deque[NegotiationEvent] = deque()
        self.candidates = RemoteCandidates()
        # Descriptions: ours that waits for an answer, our last answer and the offer that it is for, the one held back.
        self._offer: str | None = None
        self._answer: str | None = None
        self._answered: str | None = None
        self._in_hand: str | None = None
        self._held: str | None = None
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        # Offers of the peer that lost against ours.
        self._beaten: deque[str] = deque(maxlen=_REMEMBERED)
        self._received = 0
        self._wanted: bool | None = None
        self._repeat_at: float | None = None
        self._repeat_interval = _REPEAT_FIRST
        self._give_up_at: float | None = None
        self._restart_at: float | None = None
        self._heard = False
        self._agreed = False
        self._offered_last = False
        self._path = "new"
        self._established = False
        self._collisions = 0
        self._refused: str | None = None

    # What the owner wants.

    def offer(self, now: float, *, restart: bool = False) -> None:
        """Begin an exchange, or another one when this one is done; nothing after the end."""
        self._input(Input.WANTED, now, restart=restart)

    def close(self, now: float) -> None:
        """End it. Idempotent."""
        if self.state is not SignalingState.ENDED:
            self._end(now)

    # What the owner has done.

    def offer_made(self, sdp: str, now: float) -> None:
        """What ``OfferWanted`` asked for. An offer that has lost meanwhile is not sent."""
        self._offer = sdp if self.state is SignalingState.OFFERING else self._offer
        self._input(Input.OFFER_MADE, now)

    def answer_made(self, sdp: str, now: float) -> None:
        """What ``AnswerWanted`` asked for; InvalidState if nothing did."""
        self._expect(SignalingState.ANSWERING, "answer_made")
        if self.state is SignalingState.ANSWERING:
            self._answer, self._answered = sdp, self._in_hand
            self._input(Input.ANSWER_MADE, now)

    def answer_applied(self, now: float) -> None:
        """What ``AnswerReceived`` asked for; InvalidState if nothing did."""
        self._expect(SignalingState.COMPLETING, "answer_applied")
        self._input(Input.APPLIED, now)

    def failed(self, reason: str, now: float, findings: tuple[Finding, ...] = ()) -> None:
        """What the last event asked for could not be done. It ends a call that is not connected yet."""
        if self.state is not SignalingState.ENDED:
            self._refuse("CALL-DESCRIPTION", reason, now, findings)

    # What came from the peer.

    def peer_arrived(self, now: float) -> None:
        """Somebody is there, whatever they will say."""
        if not self._heard and self.state is not SignalingState.ENDED:
            self._heard = True
            if self.state is SignalingState.OFFERED:
                self._repeat_at = now + _REPEAT_FIRST
            self._look(now)

    def receive_offer(self, sdp: str, now: float, *, sender: str | None = None) -> None:
        """An offer of the peer, whose name is ``sender``."""
        description = self._read(sdp, now)
        if description is None:
            return
        if not description.media:
            self._refused = "an offer has no media sections"
            return
        if sdp == self._answered:
            self._input(Input.REPEATED_OFFER, now)
        elif self.state is SignalingState.OFFERED and sdp not in self._seen:
            self._collisions += 1
            if self._ours_wins(description, sender):
                self._beaten.append(sdp)
                self.candidates.ignore(_ufrags(description))
                self._input(Input.WORSE_OFFER, now)
            else:
                self._seen.append(sdp)
                self._input(Input.BETTER_OFFER, now, sdp=sdp)
        elif sdp not in self._seen and sdp not in self._beaten:
            self._seen.append(sdp)
            self._input(Input.OFFER, now, sdp=sdp)

    def receive_answer(self, sdp: str, now: float) -> None:
        """An answer of the peer."""
        description = self._read(sdp, now)
        if description is None or self.state is not SignalingState.OFFERED or sdp in self._seen:
            return
        self._seen.append(sdp)
        assert self._offer is not None
        if not description.media or all(_is_rejected(description, index) for index in range(len(description.media))):
            reason = f"the answer has {len(description.media)} media sections, and none of them is accepted"
            self._refuse("CALL-NO-MEDIA", reason, now)
        elif not _fits(read_sdp(self._offer, strict=False), description):
            # RFC 3264 §6: for each section of the offer there is one in the answer. It may belong to an older offer.
            self._refused = "an answer does not have the sections of our offer"
        else:
            self._input(Input.ANSWER, now, sdp=sdp)

    def receive_candidate(self, candidate: RemoteCandidate, now: float) -> None:
        """A candidate of the peer, or the end of them, at any time."""
        if self.state is not SignalingState.ENDED:
            self.peer_arrived(now)
            self._events.extend(CandidateReady(item) for item in self.candidates.receive(candidate))
            self._look(now)

    def receive_bye(self, reason: str | None, now: float) -> None:
        """The peer hangs up."""
        if self.state is not SignalingState.ENDED:
            self._events.append(PeerLeft(reason))
            self._end(now)

    # What the connection does.

    def path_changed(self, state: str, now: float) -> None:
        """The ``iceConnectionState`` of the connection. A new connection begins with ``new``."""
        if self.state is SignalingState.ENDED or state == "closed":
            return
        self._path = state
        if state == "failed" and not self._established:
            self._fail("CALL-PATH", "every pair of candidates has failed", now)
            return
        if self._established:
            self._watch_path(now)
        self._look(now)

    def secured(self, now: float) -> None:
        """DTLS is connected: media may flow."""
        if self.state is not SignalingState.ENDED and not self._established:
            self._established = True
            self._look(now)

    def security_failed(self, code: str, reason: str, now: float) -> None:
        """DTLS has failed, with its code (``CALL-DTLS``, ``CALL-FINGERPRINT``)."""
        if self.state is not SignalingState.ENDED:
            self._fail(code, reason, now)

    # The clock.

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is wanted, absolute."""
        due = (self._deadline(), self._repeat_at, self._give_up_at, self._restart_at)
        return min((item for item in due if item is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Repeat, restart or give up what is due."""
        if self._repeat_at is not None and now >= self._repeat_at:
            self._repeat_interval = min(2 * self._repeat_interval, _REPEAT_LAST)
            self._repeat_at = now + self._repeat_interval
            self._do(Action.OFFER_AGAIN, now)
        if self._restart_at is not None and now >= self._restart_at:
            self._restart_at = now + _RESTART_AGAIN
            self.offer(now, restart=True)
        if self._give_up_at is not None and now >= self._give_up_at:
            self._give_up_at = None
            self._events.append(ChangeFailed("CALL-ANSWER", f"no answer in {self._deadlines.answer:.0f} s"))
            self._input(Input.GIVEN_UP, now)
        deadline = self._deadline()
        if deadline is not None and now >= deadline:
            what = self._circumstances()
            reason = what.refused if what.refused and self.phase in (Phase.OFFER, Phase.ANSWER) else ""
            self._fail(code_of(self.phase, what), reason or f"{self.phase} for {now - self._since:.0f} s, in vain", now)

    def next_event(self) -> NegotiationEvent | None:
        """The next thing to do, in order."""
        return self._events.popleft() if self._events else None

    # Inside.

    def _expect(self, state: SignalingState, method: str) -> None:
        if self.state not in (state, SignalingState.ENDED):
            raise InvalidState(f"{method}() while {self.state}: nothing has asked for it")

    def _read(self, sdp: str, now: float) -> SessionDescription | None:
        if self.state is SignalingState.ENDED:
            return None
        self.peer_arrived(now)
        self._received += 1
        if self._received > _MAX_DESCRIPTIONS:
            self._fail("CALL-DESCRIPTION", f"the peer has sent more than {_MAX_DESCRIPTIONS} descriptions", now)
            return None
        try:
            description = read_sdp(sdp, strict=False)
        except DecodeError as error:
            self._refused = str(error)
            return None
        if description.media and not _ufrags(description):
            self._refused = "a description has no ice-ufrag"
            return None
        return description

    def _refuse(self, code: str, reason: str, now: float, findings: tuple[Finding, ...] = ()) -> None:
        """Give up a change of a call that is connected, or else the call."""
        if self._established:
            self._events.append(ChangeFailed(code, reason, findings))
            self._input(Input.GIVEN_UP, now)
        else:
            self._fail(code, reason, now, findings)

    def _ours_wins(self, theirs: SessionDescription, sender: str | None) -> bool:
        if self._name and sender and self._name != sender:
            return self._name > sender
        assert self._offer is not None
        ours = read_sdp(self._offer, strict=False)
        return sorted(_ufrags(ours)) > sorted(_ufrags(theirs))

    def _input(self, kind: Input, now: float, *, sdp: str | None = None, restart: bool = False) -> None:
        found = TRANSITIONS.get((self.state, kind))
        if found is None:
            return
        self.state, action = found
        self._do(action, now, sdp=sdp, restart=restart)
        self._look(now)

    def _do(self, action: Action, now: float, *, sdp: str | None = None, restart: bool = False) -> None:
        match action:
            case Action.MAKE_OFFER:
                self._events.append(OfferWanted(restart))
            case Action.MAKE_ANSWER | Action.ROLL_BACK:
                assert sdp is not None
                rolled_back = action is Action.ROLL_BACK
                if rolled_back and self._established:
                    # Only the change that was offered is lost with it; a restart is in the peer's hand now.
                    self._wanted = False
                self._take_offer(sdp, rolled_back=rolled_back)
            case Action.APPLY_ANSWER:
                assert sdp is not None
                self._stop_repeating()
                self._events.append(AnswerReceived(sdp))
                self._describe(sdp)
            case Action.SEND_OFFER:
                assert self._offer is not None
                # A channel may give back what we say.
                self._seen.append(self._offer)
                self._events.append(DescriptionReady("offer", self._offer, again=False))
                self._repeat_interval = _REPEAT_FIRST
                # An empty room is told once: who comes later is sent it by the channel, or calls.
                self._repeat_at = now + _REPEAT_FIRST if self._heard else None
                self._give_up_at = now + self._deadlines.answer if self._established else None
            case Action.OFFER_AGAIN:
                assert self._offer is not None
                self._events.append(DescriptionReady("offer", self._offer, again=True))
            case Action.SEND_ANSWER:
                assert self._answer is not None
                self._seen.append(self._answer)
                self._events.append(DescriptionReady("answer", self._answer, again=False))
                self._agreed, self._offered_last = True, False
                self._go_on(now)
            case Action.ANSWER_AGAIN if self._answer is not None:
                self._events.append(DescriptionReady("answer", self._answer, again=True))
            case Action.FINISH:
                self._agreed, self._offered_last = True, True
                self._go_on(now)
            case Action.ABANDON:
                self._beaten.clear()
                self._go_on(now)
            case Action.REMEMBER:
                self._wanted = bool(self._wanted) or restart
            case Action.HOLD:
                self._held = sdp
            case _:
                pass

    def _take_offer(self, sdp: str, *, rolled_back: bool) -> None:
        self._stop_repeating()
        self._offer = None
        self._in_hand = sdp
        if not self._established:
            self._path = "new"
        self._events.append(AnswerWanted(sdp, rolled_back))
        self._describe(sdp)

    def _describe(self, sdp: str) -> None:
        description = read_sdp(sdp, strict=False)
        complete = bool(description.media) and all(section.end_of_candidates for section in description.media)
        known = len(description.candidates)
        waiting = self.candidates.describe(_ufrags(description), complete=complete, known=known)
        self._events.extend(CandidateReady(item) for item in waiting)

    def _go_on(self, now: float) -> None:
        """An exchange is done: take what waited for that."""
        self._stop_repeating()
        self._offer = self._in_hand = None
        held, self._held = self._held, None
        wanted, self._wanted = self._wanted, None
        if held is not None:
            self._input(Input.OFFER, now, sdp=held)
        if wanted is not None:
            self._input(Input.WANTED, now, restart=wanted)

    def _stop_repeating(self) -> None:
        self._repeat_at = self._give_up_at = None

    def _watch_path(self, now: float) -> None:
        """Restart ICE where the path is silent or gone (RFC 8445 §2.4), one side before the other."""
        if self._path in ("connected", "completed"):
            self._restart_at = None
        elif self._path in ("failed", "disconnected") and self._restart_at is None:
            if not self._restarts:
                if self._path == "failed":
                    self._fail("CALL-LOST", "the path is gone, and this engine cannot restart ICE", now)
                return
            delay = 0.0 if self._path == "failed" else _SILENCE
            self._restart_at = now + delay + (0.0 if self._offered_last else _COURTESY)

    def _current_phase(self) -> Phase:
        if self.state is SignalingState.ENDED:
            return Phase.ENDED
        if self._established:
            lost = self._path in ("failed", "disconnected") or self._restart_at is not None
            return Phase.RESTORING if lost else Phase.CONNECTED
        if not self._agreed:
            # While the first exchange is under way, an answer is ours or theirs to make.
            waiting = Phase.OFFER if self.state is SignalingState.STABLE else Phase.ANSWER
            return waiting if self._heard else Phase.PEER
        match self._path:
            case "completed":
                return Phase.DTLS
            case "connected":
                return Phase.NOMINATION
            case _:
                return Phase.PATH if self.candidates.ended else Phase.CANDIDATES

    def _look(self, now: float) -> None:
        """Tell a change of phase; each begins with the whole of its time."""
        phase = self._current_phase()
        if phase is not self.phase:
            self.phase, self._since = phase, now
            self._events.append(PhaseChanged(phase))

    def _circumstances(self) -> Circumstances:
        return Circumstances(
            collisions=self._collisions,
            refused=self._refused,
            candidates=self.candidates.received,
            stale=self.candidates.foreign,
        )

    def _deadline(self) -> float | None:
        seconds = self._deadlines.of(self.phase, candidates=self.candidates.received)
        return None if seconds is None else self._since + seconds

    def _fail(self, code: str, reason: str, now: float, findings: tuple[Finding, ...] = ()) -> None:
        self._events.append(NegotiationFailed(code, self.phase, reason, findings))
        self._end(now)

    def _end(self, now: float) -> None:
        self.state = SignalingState.ENDED
        self._stop_repeating()
        self._restart_at = self._held = self._wanted = None
        self._look(now)


def _ufrags(description: SessionDescription) -> frozenset[str]:
    return frozenset(section.ufrag for section in description.media if section.ufrag)


def _is_rejected(description: SessionDescription, index: int) -> bool:
    """RFC 3264 §6: port 0 refuses a section, unless it is bundled with another one (RFC 9143 §7.3)."""
    section = description.media[index]
    return section.port == 0 and not any(section.mid in group for group in description.bundle)


def _fits(offer: SessionDescription, answer: SessionDescription) -> bool:
    if len(offer.media) != len(answer.media):
        return False
    pairs = zip(offer.media, answer.media, strict=True)
    return all(None in (ours.mid, theirs.mid) or ours.mid == theirs.mid for ours, theirs in pairs)
