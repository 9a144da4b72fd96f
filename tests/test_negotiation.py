"""Two negotiations against each other, and one against peers that do not do what they should."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from icekit.errors import InvalidState
from icekit.negotiation import Negotiation
from icekit.negotiation_events import (
    AnswerWanted,
    CandidateReady,
    ChangeFailed,
    DescriptionReady,
    NegotiationFailed,
    OfferWanted,
    PeerLeft,
)
from icekit.phases import Deadlines, Phase
from icekit.remote_candidates import RemoteCandidate
from icekit.report import Finding, Severity
from icekit.transitions import SignalingState
from tests.negotiation_world import FAST, End, World, sdp

SEEDS = int(os.environ.get("ICEKIT_SEEDS", "20"))
LINE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


def agreed(world: World) -> bool:
    one, other = world.ends
    return one.agreed is not None and one.agreed == other.agreed


def drain(core: Negotiation) -> list[object]:
    return list(iter(core.next_event, None))


def offered(now: float = 0.0, name: str | None = "m", deadlines: Deadlines = FAST) -> Negotiation:
    """A negotiation that has sent its offer."""
    core = Negotiation(name, deadlines=deadlines)
    core.offer(now)
    core.offer_made(sdp("ours", 1), now)
    drain(core)
    return core


def test_one_offers_the_other_answers() -> None:
    world = World()
    world.ends[0].core.offer(0.0)
    world.settle()
    assert agreed(world)
    assert [end.core.state for end in world.ends] == [SignalingState.STABLE] * 2
    assert [end.core.phase for end in world.ends] == [Phase.PATH] * 2
    assert [[item.line for item in end.added] for end in world.ends] == [[LINE, ""], [LINE, ""]]
    world.connect()
    assert world.ends[0].phases == [
        Phase.ANSWER, Phase.CANDIDATES, Phase.PATH, Phase.NOMINATION, Phase.DTLS, Phase.CONNECTED,
    ]  # fmt: skip
    assert world.ends[0].core.get_timer() is None


@pytest.mark.parametrize(("names", "loser"), [(("a", "b"), 0), (("b", "a"), 1), ((None, "x"), 0), ((None, None), 0)])
def test_glare_has_one_winner(names: tuple[str | None, str | None], loser: int) -> None:
    world = World(names)
    for end in world.ends:
        end.core.offer(0.0)
        end.work(0.0)
        end.work(0.0)
    world.settle()
    assert agreed(world)
    assert [end.connection for end in world.ends] == [int(index == loser) for index in range(2)]


def test_an_offer_that_nobody_heard_is_sent_again_when_the_other_one_calls() -> None:
    world = World()
    world.ends[1].core.offer(0.0)
    while world.ends[1].work(0.0):
        pass
    world.ends[1].wire.clear()
    world.ends[0].core.offer(0.0)
    world.settle()
    assert agreed(world)


def test_an_offer_that_is_not_sent_yet_gives_way() -> None:
    core = Negotiation("z")
    core.offer(0.0)
    core.receive_offer(sdp("them", 1), 0.0, sender="a")
    events = drain(core)
    assert OfferWanted(restart=False) in events
    assert AnswerWanted(sdp("them", 1), rolled_back=True) in events
    # Its owner is not through with ours yet.
    core.offer_made(sdp("ours", 1), 0.0)
    assert drain(core) == []
    core.answer_made(sdp("ours", 2), 0.0)
    assert DescriptionReady("answer", sdp("ours", 2), again=False) in drain(core)


def test_a_lost_answer_is_sent_again() -> None:
    world = World()
    world.ends[0].core.offer(0.0)
    for _ in range(2):
        world.ends[0].work(0.0)
    world.carry(0)
    while world.ends[1].work(0.0):
        pass
    world.ends[1].wire.clear()
    # The offerer has heard nothing: only who has heard somebody repeats.
    world.ends[0].core.peer_arrived(0.0)
    world.later(2.5)
    assert agreed(world)


def test_repeats_become_rare_and_end_with_the_deadline() -> None:
    core = offered()
    core.peer_arrived(0.0)
    times = []
    while (when := core.get_timer()) is not None:
        core.handle_timer(when)
        times += [when for event in drain(core) if isinstance(event, DescriptionReady)]
    assert times == [2, 6, 14, 24]
    assert core.phase is Phase.ENDED


def test_an_empty_room_is_not_shouted_at() -> None:
    core = offered(deadlines=Deadlines())
    assert core.get_timer() is None
    core.peer_arrived(100.0)
    assert core.get_timer() == 102.0


def test_a_newer_offer_waits_for_the_answer_to_the_older_one() -> None:
    core = Negotiation("m")
    core.receive_offer(sdp("them", 1), 0.0)
    core.receive_offer(sdp("them", 2), 0.0)
    core.receive_offer(sdp("them", 3), 0.0)
    core.answer_made(sdp("ours", 1), 0.0)
    wanted = [event.sdp for event in drain(core) if isinstance(event, AnswerWanted)]
    assert wanted == [sdp("them", 1), sdp("them", 3)]


def test_an_exchange_that_is_wanted_in_the_middle_of_another_follows_it() -> None:
    world = World()
    world.ends[0].core.offer(0.0)
    world.ends[0].core.offer(0.0)
    world.settle()
    assert agreed(world)
    assert world.ends[0].count == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("v=0\r\n", "CALL-NO-MEDIA"),
        (sdp("them", 1, port=0), "CALL-NO-MEDIA"),
        (sdp("them", 1, mids=("0", "1")), "CALL-DESCRIPTION"),
        (sdp("them", 1, mids=("1",)), "CALL-DESCRIPTION"),
        ("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n", "CALL-DESCRIPTION"),
        ("m=audio 9\r\n" * 1001, "CALL-DESCRIPTION"),
    ],
)
def test_answers_that_cannot_be_used(answer: str, code: str) -> None:
    core = offered()
    core.receive_answer(answer, 1.0)
    core.handle_timer(40.0)
    failed = [event for event in drain(core) if isinstance(event, NegotiationFailed)]
    assert [event.code for event in failed] == [code]
    assert failed[0].reason


def test_a_bundled_section_with_port_0_is_not_rejected() -> None:
    core = offered()
    core.receive_answer("a=group:BUNDLE 0\r\n" + sdp("them", 1, port=0), 1.0)
    assert core.state is SignalingState.COMPLETING


def test_duplicates_change_nothing() -> None:
    world = World()
    world.ends[0].core.offer(0.0)
    world.settle()
    core = world.ends[0].core
    offer, answer = world.ends[0].agreed or ("", "")
    before = core.state
    for _ in range(3):
        core.receive_answer(answer, 1.0)
        core.receive_offer(offer, 1.0)
    assert core.state is before
    core.offer(1.0)
    core.offer_made(sdp("aaa000", 7), 1.0)
    core.receive_answer(answer, 1.0)
    assert core.state is SignalingState.OFFERED


def test_an_offer_that_lost_is_not_answered_later() -> None:
    core = offered(name="z")
    core.receive_offer(sdp("them", 1), 1.0, sender="a")
    # It does not say whose it is, and comes before the answer: it is of the offer that lost.
    core.receive_candidate(RemoteCandidate(LINE, "0", 0), 1.0)
    core.receive_answer(sdp("next", 2), 1.0)
    core.answer_applied(1.0)
    assert [event for event in drain(core) if isinstance(event, CandidateReady)] == []
    core.receive_offer(sdp("them", 1), 2.0, sender="a")
    assert core.state is SignalingState.STABLE
    core.receive_candidate(RemoteCandidate(LINE, "0", 0, "them"), 2.0)
    assert [event for event in drain(core) if isinstance(event, CandidateReady)] == []


@pytest.mark.parametrize(
    ("facts", "phase", "code", "seconds"),
    [
        ([], Phase.PEER, "CALL-PEER", 60),
        (["peer"], Phase.ANSWER, "CALL-ANSWER", 30),
        (["peer", "worse"], Phase.ANSWER, "CALL-GLARE", 30),
        (["answer"], Phase.CANDIDATES, "CALL-CANDIDATES", 30),
        (["answer", "candidate"], Phase.CANDIDATES, "CALL-PATH", 45),
        (["answer", "candidate", "end"], Phase.PATH, "CALL-PATH", 45),
        (["answer", "candidate", "end", "connected"], Phase.NOMINATION, "CALL-NOMINATION", 10),
        (["answer", "candidate", "end", "connected", "completed"], Phase.DTLS, "CALL-DTLS", 20),
    ],
)
def test_every_phase_has_its_deadline(facts: list[str], phase: Phase, code: str, seconds: float) -> None:
    core = offered(name="z")
    for fact in facts:
        match fact:
            case "peer":
                core.peer_arrived(0.0)
            case "worse":
                core.receive_offer(sdp("them", 9), 0.0, sender="a")
            case "answer":
                core.receive_answer(sdp("them", 1), 0.0)
                core.answer_applied(0.0)
            case "candidate":
                core.receive_candidate(RemoteCandidate(LINE, "0", 0, "them"), 0.0)
            case "end":
                core.receive_candidate(RemoteCandidate("", "0", 0, "them"), 0.0)
            case state:
                core.path_changed(state, 0.0)
    assert core.phase is phase
    drain(core)
    while (when := core.get_timer()) is not None and when <= seconds:
        core.handle_timer(when)
    failed = [event for event in drain(core) if isinstance(event, NegotiationFailed)]
    assert [(event.code, event.phase) for event in failed] == [(code, phase)]
    assert core.phase is Phase.ENDED


def test_stale_candidates_alone_are_a_code_of_their_own() -> None:
    core = offered()
    core.receive_answer(sdp("them", 1), 0.0)
    core.answer_applied(0.0)
    core.offer(0.0)
    core.offer_made(sdp("ours", 2), 0.0)
    core.receive_answer(sdp("next", 2), 0.0)
    core.answer_applied(0.0)
    core.receive_candidate(RemoteCandidate(LINE, "0", 0, "them"), 0.0)
    core.handle_timer(31.0)
    assert [event.code for event in drain(core) if isinstance(event, NegotiationFailed)] == ["CALL-UFRAG"]


def test_a_peer_that_is_there_and_says_nothing() -> None:
    core = Negotiation("m")
    core.peer_arrived(0.0)
    assert core.phase is Phase.OFFER
    core.handle_timer(30.0)
    assert [event.code for event in drain(core) if isinstance(event, NegotiationFailed)] == ["CALL-OFFER"]


def test_failures_of_the_connection() -> None:
    for tell, code in (
        (lambda core: core.path_changed("failed", 1.0), "CALL-PATH"),
        (lambda core: core.security_failed("CALL-FINGERPRINT", "another certificate", 1.0), "CALL-FINGERPRINT"),
        (lambda core: core.failed("no codec in common", 1.0), "CALL-DESCRIPTION"),
    ):
        core = offered()
        core.receive_answer(sdp("them", 1), 0.0)
        tell(core)
        assert [event.code for event in drain(core) if isinstance(event, NegotiationFailed)] == [code]
        assert core.get_timer() is None


def test_what_the_owner_found_is_told_with_the_failure() -> None:
    flaw = Finding("ICE026", Severity.ERROR, "No password.", "Send it.")
    begun, later = offered(), established()
    later.offer(0.0)
    later.offer_made(sdp("ours", 2), 0.0)
    for core in (begun, later):
        core.failed("no", 1.0, (flaw,))
        (told,) = [event for event in drain(core) if isinstance(event, NegotiationFailed | ChangeFailed)]
        assert told.findings == (flaw,)


def established(name: str = "m", *, restarts: bool = True) -> Negotiation:
    core = Negotiation(name, restarts=restarts)
    core.offer(0.0)
    core.offer_made(sdp("ours", 1), 0.0)
    core.receive_answer(sdp("them", 1), 0.0)
    core.answer_applied(0.0)
    core.path_changed("completed", 0.0)
    core.secured(0.0)
    drain(core)
    return core


def test_a_lost_path_is_restarted_until_it_is_restored() -> None:
    core = established()
    core.path_changed("disconnected", 10.0)
    assert core.phase is Phase.RESTORING
    assert core.get_timer() == 12.0
    core.path_changed("connected", 11.0)
    assert (core.phase, core.get_timer()) == (Phase.CONNECTED, None)
    core.path_changed("failed", 20.0)
    core.handle_timer(20.0)
    assert OfferWanted(restart=True) in drain(core)
    core.offer_made(sdp("new1", 2), 20.0)
    core.receive_answer(sdp("new2", 2), 20.5)
    core.answer_applied(20.5)
    core.path_changed("checking", 20.6)
    assert core.phase is Phase.RESTORING
    core.handle_timer(30.0)
    assert OfferWanted(restart=True) in drain(core)
    core.path_changed("connected", 31.0)
    assert core.phase is Phase.CONNECTED


def test_a_path_that_is_not_restored_ends_the_call() -> None:
    core = established()
    core.path_changed("failed", 10.0)
    while core.phase is not Phase.ENDED:
        when = core.get_timer()
        assert when is not None
        core.handle_timer(when)
    assert when == 50.0
    assert drain(core)[-2].code == "CALL-LOST"  # type: ignore[attr-defined]


def test_who_answered_last_lets_the_other_one_restart() -> None:
    core = established()
    core.receive_offer(sdp("them", 2), 1.0)
    core.answer_made(sdp("ours", 2), 1.0)
    core.path_changed("failed", 10.0)
    assert core.get_timer() == 13.0


def test_an_engine_that_cannot_restart() -> None:
    core = established(restarts=False)
    core.path_changed("disconnected", 1.0)
    assert core.phase is Phase.RESTORING
    core.path_changed("failed", 2.0)
    assert [event.code for event in drain(core) if isinstance(event, NegotiationFailed)] == ["CALL-LOST"]


def test_a_change_that_fails_leaves_the_call_as_it_was() -> None:
    for spoil, code in (
        (lambda core: core.receive_answer("v=0\r\n", 1.0), "CALL-NO-MEDIA"),
        (lambda core: core.failed("no", 1.0), "CALL-DESCRIPTION"),
        (lambda core: core.handle_timer(60.0), "CALL-ANSWER"),
    ):
        core = established()
        core.offer(0.0)
        core.offer_made(sdp("ours", 2), 0.0)
        spoil(core)
        assert [event.code for event in drain(core) if isinstance(event, ChangeFailed)] == [code]
        assert (core.state, core.phase) == (SignalingState.STABLE, Phase.CONNECTED)


def test_a_change_that_loses_a_collision_is_offered_again() -> None:
    core = established("a")
    core.offer(1.0)
    core.offer_made(sdp("ours", 2), 1.0)
    drain(core)
    core.receive_offer(sdp("them", 2), 1.0, sender="z")
    core.answer_made(sdp("ours", 3), 1.0)
    events = drain(core)
    assert AnswerWanted(sdp("them", 2), rolled_back=True) in events
    assert OfferWanted(restart=False) in events


def test_bye_and_close() -> None:
    left = offered()
    left.receive_bye("enough", 1.0)
    assert PeerLeft("enough") in drain(left)
    ended = offered()
    ended.close(1.0)
    for core in (left, ended):
        core.close(2.0)
        core.offer(2.0)
        core.offer_made("", 2.0)
        core.answer_made("", 2.0)
        core.answer_applied(2.0)
        core.failed("", 2.0)
        core.peer_arrived(2.0)
        core.receive_offer(sdp("them", 1), 2.0)
        core.receive_answer(sdp("them", 1), 2.0)
        core.receive_candidate(RemoteCandidate(LINE), 2.0)
        core.receive_bye(None, 2.0)
        core.path_changed("failed", 2.0)
        core.secured(2.0)
        core.security_failed("CALL-DTLS", "", 2.0)
        core.handle_timer(1000.0)
        assert core.get_timer() is None
        assert [event for event in drain(core) if "Phase" not in type(event).__name__] == []


def test_answers_that_nobody_asked_for_are_a_defect_of_the_owner() -> None:
    core = Negotiation()
    with pytest.raises(InvalidState, match=r"answer_made\(\) while stable"):
        core.answer_made("", 0.0)
    with pytest.raises(InvalidState, match=r"answer_applied\(\) while stable"):
        core.answer_applied(0.0)


def test_a_flood_of_descriptions_ends_it() -> None:
    core = Negotiation()
    for number in range(10_001):
        core.receive_offer(sdp("them", number), 0.0)
    assert [event.code for event in drain(core) if isinstance(event, NegotiationFailed)] == ["CALL-DESCRIPTION"]


class AnyInterleaving(RuleBasedStateMachine):
    """Both ends call, change, work, lose, repeat and wait in any order; then the network is good for a while."""

    @initialize(names=st.sampled_from([("a", "b"), ("b", "a"), (None, None), ("a", None)]))
    def begin(self, names: tuple[str | None, str | None]) -> None:
        self.world = World(names, Deadlines(peer=500.0, answer=400.0, candidates=400.0, path=400.0))
        self.old: list[tuple[int, object]] = []
        self.lost = 0

    @rule(index=st.integers(0, 1), restart=st.booleans())
    def call(self, index: int, restart: bool) -> None:
        self.world.ends[index].core.offer(self.world.now, restart=restart)

    @rule(index=st.integers(0, 1))
    def arrive(self, index: int) -> None:
        self.world.ends[index].core.peer_arrived(self.world.now)

    @rule(index=st.integers(0, 1))
    def work(self, index: int) -> None:
        self.world.ends[index].work(self.world.now)

    @rule(index=st.integers(0, 1))
    def carry(self, index: int) -> None:
        if self.world.ends[index].wire:
            self.old.append((index, self.world.ends[index].wire[0]))
            self.world.carry(index)

    @rule(index=st.integers(0, 1))
    def lose(self, index: int) -> None:
        if self.world.ends[index].wire:
            self.world.ends[index].wire.pop(0)
            self.lost += 1

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        index, word = data.draw(st.sampled_from(self.old))
        self.world.ends[1 - index].hear(word, self.world.ends[index].name, self.world.now)  # type: ignore[arg-type]

    @rule(index=st.integers(0, 1), text=st.sampled_from(["", "v=0\r\n", "m=audio 9\r\n", "\x00", sdp("evil", 1)]))
    def garbage(self, index: int, text: str) -> None:
        core = self.world.ends[index].core
        if not core._established and core.state is SignalingState.OFFERED:
            # An answer that refuses everything is no garbage: it ends the call, as it should.
            return
        core.receive_answer(text, self.world.now)
        core.receive_offer(text[:10], self.world.now)
        core.receive_candidate(RemoteCandidate(text, ufrag=text[:4]), self.world.now)

    @rule(seconds=st.floats(0.1, 3.0))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds
        for end in self.world.ends:
            end.core.handle_timer(self.world.now)

    @rule()
    def connect(self) -> None:
        if agreed(self.world) and all(end.core.state is SignalingState.STABLE for end in self.world.ends):
            self.world.connect()

    @invariant()
    def nothing_grows(self) -> None:
        for end in getattr(self, "world", World()).ends:
            assert len(end.core._seen) <= 64
            assert len(end.core.candidates._waiting) <= 256

    def teardown(self) -> None:
        world = getattr(self, "world", None)
        if world is None:
            return
        wanted = any(end.count or end.todo for end in world.ends)
        for end in world.ends:
            end.core.peer_arrived(world.now)
        world.later(120.0)
        one, other = world.ends
        if any(end.failures for end in world.ends):
            assert all(code.startswith("CALL-") for end in world.ends for code in end.failures)
            return
        assert [end.core.state for end in world.ends] == [SignalingState.STABLE] * 2
        # A change that was given up for lost answers may have been answered all the same.
        if not any(end.changes_failed for end in world.ends):
            assert agreed(world) or not wanted, (one.agreed, other.agreed)


AnyInterleaving.TestCase.settings = settings(
    max_examples=5 * SEEDS, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyInterleaving = AnyInterleaving.TestCase


def test_an_end_describes_its_connection() -> None:
    assert End("a", "aaa").ufrag == "aaa000"
