"""What servers told, as candidates and events with their times."""

from __future__ import annotations

from collections import deque

from icekit.gathering_events import CandidateGathered, RelayLost, ServerAnswered, ServerFailed
from icekit.local_candidates import LocalCandidates
from icekit.local_sockets import LocalSocket
from icekit.net import Address, StreamReleased, Transport
from icekit.resolution import ServerEndpoint
from icekit.server_answers import AskingEvent, ServerAnswers
from icekit.server_leg import ServerLeg
from icekit.servers import ServerUri

HOST = "192.0.2.1"
LOCAL, STREAM = Address(HOST, 5000), Address(HOST, 6000)
SERVER = Address("203.0.113.1", 3478)
MAPPED, RELAYED, RELAYED6 = Address("198.51.100.2", 40000), Address("203.0.113.1", 50000), Address("2001:db8::1", 50000)
URL = "turn:turn.example.org"


def leg(*, local: Address | None = LOCAL) -> ServerLeg:
    endpoint = ServerEndpoint(ServerUri.parse(URL), Transport.UDP, SERVER, "turn.example.org")
    base = LocalSocket(0, HOST, iter(()), iter(()), local=LOCAL)
    return ServerLeg(URL, 0, base, deque(), endpoint, ("alice", "secret"), 5.0, 5.0, local=local)


def answers() -> ServerAnswers:
    found = ServerAnswers(LocalCandidates([HOST], 8))
    found.start(10.0)
    return found


def events(found: ServerAnswers) -> list[AskingEvent]:
    return list(iter(found.next_event, None))


def test_a_mapped_address_is_a_candidate_once() -> None:
    found = answers()
    found.reflexive(leg(), MAPPED, 10.25)
    found.reflexive(leg(), MAPPED, 10.5)
    (event,) = events(found)
    assert isinstance(event, CandidateGathered)
    assert (event.base, event.url, event.server, event.seconds) == (LOCAL, URL, SERVER, 0.25)
    assert (event.candidate.type, event.candidate.address, event.candidate.port) == ("srflx", *MAPPED)


def test_an_allocation_gives_a_candidate_for_each_family() -> None:
    found = answers()
    found.relayed(leg(local=STREAM), (RELAYED, RELAYED6), None, 10.5)
    gathered = events(found)
    assert [
        (event.candidate.type, event.candidate.address, event.candidate.related_port, event.base)
        for event in gathered
        if isinstance(event, CandidateGathered)
    ] == [("relay", RELAYED.host, STREAM.port, STREAM), ("relay", RELAYED6.host, STREAM.port, STREAM)]


def test_what_became_of_each_server_is_told_in_order() -> None:
    found = answers()
    found.not_asked("stun:gone.example", "no such name", 10.0)
    found.answered(leg(), MAPPED, (RELAYED,), 10.5)
    found.answered(leg(local=None), None, (), 10.5)
    found.failed(leg(), "no answer", 11.0)
    found.pass_on(StreamReleased(3))
    found.relay_lost(leg(), (RELAYED,), "it is gone", 12.0)
    assert events(found) == [
        ServerFailed("stun:gone.example", None, None, "no such name", 0.0),
        ServerAnswered(URL, SERVER, LOCAL, MAPPED, (RELAYED,), 0.5),
        ServerAnswered(URL, SERVER, LOCAL, None, (), 0.5),
        ServerFailed(URL, SERVER, HOST, "no answer", 1.0),
        StreamReleased(3),
        RelayLost(URL, (RELAYED,), "it is gone", 2.0),
    ]
