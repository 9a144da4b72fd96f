"""What of a peer's candidates is used, and what is left out."""

from __future__ import annotations

import aioice
import pytest

from icekit.aio.remote_names import RemoteNames
from icekit.aio.usable_candidates import UsableCandidates
from icekit.candidate import Candidate

LINE = "candidate:1 1 udp 2130706431 {} 5000 typ {}"


def parse(address: str, kind: str = "host") -> Candidate:
    return Candidate.parse(LINE.format(address, kind))


def made(*, relay_only: bool = False) -> UsableCandidates:
    return UsableCandidates(RemoteNames(), relay_only=relay_only)


def test_both_types_are_taken() -> None:
    remote = made()
    theirs = aioice.Candidate("1", 1, "udp", 2130706431, "192.0.2.1", 5000, "host")
    assert remote.admit(theirs) == remote.admit(parse("192.0.2.1")) == parse("192.0.2.1")
    assert remote.told == [parse("192.0.2.1")] * 2
    assert not remote.complete
    remote.ended = True
    assert remote.complete


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (parse("192.0.2.1", "future"), "type future is not known"),
        (parse("peer.example.org"), "peer.example.org is a name"),
        (aioice.Candidate("1", 1, "udp", 1, "192.0.2.1", 99999, "host"), "port"),
    ],
)
def test_what_cannot_be_used_is_left_out(
    candidate: Candidate | aioice.Candidate, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    remote = made()
    with caplog.at_level("INFO", "icekit"):
        assert remote.admit(candidate) is None
    assert remote.told == []
    assert reason in caplog.text


def test_there_is_a_bound() -> None:
    remote = made()
    taken = [remote.admit(parse(f"192.0.2.{number}")) for number in range(250)]
    assert [item is not None for item in taken] == [True] * 200 + [False] * 50


def test_a_peer_has_sixteen_names_in_each_generation() -> None:
    """A browser tells the same ones after each restart, and they are as good as before."""
    names = RemoteNames()
    for _ in range(2):
        remote = UsableCandidates(names, relay_only=False)
        taken = [remote.admit(parse(f"{number}.local")) for number in range(18)]
        assert [item is not None for item in taken] == [True] * 16 + [False] * 2


async def test_a_name_keeps_the_end_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"known.local": "192.0.2.7"}

    async def resolve(self: RemoteNames, name: str) -> str | None:
        return answers.get(name)

    monkeypatch.setattr(RemoteNames, "resolve", resolve)
    remote = made()
    known, unknown = remote.admit(parse("known.local")), remote.admit(parse("unknown.local"))
    assert known is not None
    assert unknown is not None
    remote.ended = True
    assert not remote.complete
    assert await remote.resolve(known) == parse("192.0.2.7")
    assert await remote.resolve(unknown) is None
    assert remote.complete


def test_relays_reach_no_name_of_mdns() -> None:
    remote = made(relay_only=True)
    assert remote.admit(parse("known.local")) is None
    remote.ended = True
    assert remote.complete
