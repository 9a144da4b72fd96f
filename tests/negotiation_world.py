"""Two negotiations, their owners and the wire between them, without any connection: time and fate are arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from icekit.negotiation import Negotiation
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
from icekit.phases import Deadlines, Phase
from icekit.remote_candidates import RemoteCandidate

FAST = Deadlines(peer=60.0, answer=30.0)


def sdp(ufrag: str, number: int, *, mids: tuple[str, ...] = ("0",), port: int = 9, end: bool = False) -> str:
    """A description as far as a negotiation looks at one; ``number`` makes its text unlike any other."""
    lines = ["v=0", f"o=- 1 {number} IN IP4 0.0.0.0", "s=-", "t=0 0"]
    for mid in mids:
        lines += [f"m=audio {port} UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}", f"a=ice-ufrag:{ufrag}"]
        lines += ["a=ice-pwd:0123456789012345678901"] + ["a=end-of-candidates"] * end
    return "".join(f"{line}\r\n" for line in lines)


Word = tuple[str, str] | tuple[str, RemoteCandidate]


@dataclass
class End:
    """One side: the negotiation and its owner, who has one connection after the other."""

    name: str | None
    label: str
    deadlines: Deadlines = FAST
    core: Negotiation = field(init=False)
    todo: list[NegotiationEvent] = field(default_factory=list)
    wire: list[Word] = field(default_factory=list)
    connection: int = 0
    count: int = 0
    agreed: tuple[str, str] | None = None
    offer: str | None = None
    added: list[RemoteCandidate] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    changes_failed: int = 0
    phases: list[Phase] = field(default_factory=list)
    left: bool = False

    def __post_init__(self) -> None:
        self.core = Negotiation(self.name, deadlines=self.deadlines)

    def hear(self, word: Word, sender: str | None, now: float) -> None:
        match word:
            case ("offer", str(text)):
                self.core.receive_offer(text, now, sender=sender)
            case ("answer", str(text)):
                self.core.receive_answer(text, now)
            case ("bye", str(text)):
                self.core.receive_bye(text, now)
            case (_, RemoteCandidate() as candidate):
                self.core.receive_candidate(candidate, now)

    def collect(self) -> None:
        while (event := self.core.next_event()) is not None:
            match event:
                case PhaseChanged(phase):
                    self.phases.append(phase)
                case NegotiationFailed(code=code):
                    self.failures.append(code)
                case ChangeFailed():
                    self.changes_failed += 1
                case PeerLeft():
                    self.left = True
                case _:
                    self.todo.append(event)

    def work(self, now: float) -> bool:
        """Do the next thing that was asked for."""
        self.collect()
        if not self.todo:
            return False
        match self.todo.pop(0):
            case OfferWanted():
                self.offer = self._describe()
                self.core.offer_made(self.offer, now)
            case AnswerWanted(sdp=offer, rolled_back=rolled_back):
                if rolled_back and not self.core._established:
                    self.connection += 1
                answer = self._describe()
                self.agreed = (offer, answer)
                self.core.answer_made(answer, now)
            case AnswerReceived(sdp=answer):
                assert self.offer is not None
                self.agreed = (self.offer, answer)
                self.core.answer_applied(now)
            case DescriptionReady(type=kind, sdp=text):
                self.wire.append((kind, text))
                for candidate in self._candidates():
                    self.wire.append(("candidate", candidate))
            case CandidateReady(candidate):
                self.added.append(candidate)
        self.collect()
        return True

    @property
    def ufrag(self) -> str:
        return f"{self.label}{self.connection:03}"

    def _describe(self) -> str:
        self.count += 1
        return sdp(self.ufrag, self.count)

    def _candidates(self) -> Iterator[RemoteCandidate]:
        line = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
        yield RemoteCandidate(line, "0", 0, self.ufrag)
        yield RemoteCandidate("", "0", 0, self.ufrag)


class World:
    """Both ends; ``carry`` and ``settle`` deliver without loss."""

    def __init__(self, names: tuple[str | None, str | None] = ("a", "b"), deadlines: Deadlines = FAST) -> None:
        # Labels are the first letters of the fragments, which decide where there are no names.
        self.ends = End(names[0], "aaa", deadlines), End(names[1], "bbb", deadlines)
        self.now = 0.0

    def carry(self, index: int, place: int = 0, *, keep: bool = False) -> None:
        """Deliver a word of this end to the other one; ``keep`` makes a duplicate possible."""
        source, target = self.ends[index], self.ends[1 - index]
        word = source.wire[place] if keep else source.wire.pop(place)
        target.hear(word, source.name, self.now)
        target.collect()

    def settle(self) -> None:
        """Everything is done and delivered that can be done now."""
        while True:
            worked = [end.work(self.now) for end in self.ends]
            for index, end in enumerate(self.ends):
                if end.wire:
                    self.carry(index)
                    worked.append(True)
            if not any(worked):
                return

    def later(self, seconds: float) -> None:
        """Let time pass, each timer at its time, everything delivered."""
        end = self.now + seconds
        while True:
            self.settle()
            due = [when for item in self.ends if (when := item.core.get_timer()) is not None]
            if not due or min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            for item in self.ends:
                item.core.handle_timer(self.now)
                when = item.core.get_timer()
                assert when is None or when > self.now

    def connect(self) -> None:
        """The connections of both ends do what connections do."""
        for state in ("checking", "connected", "completed"):
            for end in self.ends:
                end.core.path_changed(state, self.now)
        for end in self.ends:
            end.core.secured(self.now)
            end.collect()
