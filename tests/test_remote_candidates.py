"""Candidates and the generation that they belong to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from icekit.remote_candidates import MAX_CANDIDATES, MAX_PAST, MAX_WAITING, RemoteCandidate, RemoteCandidates

LINE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


def candidate(number: int = 1, ufrag: str | None = None) -> RemoteCandidate:
    return RemoteCandidate(f"candidate:1 1 udp 2130706431 192.0.2.1 {number} typ host", "0", 0, ufrag)


def test_the_generation_stands_beside_the_line_or_in_it() -> None:
    assert RemoteCandidate(LINE).generation is None
    assert RemoteCandidate(LINE, ufrag="abcd").generation == "abcd"
    assert RemoteCandidate(f"{LINE} generation 0 ufrag EsAw network-id 1").generation == "EsAw"
    # Only as the name of an extension.
    assert RemoteCandidate(f"{LINE} generation ufrag EsAw").generation is None
    assert RemoteCandidate("ufrag abcd").generation is None


def test_end_of_candidates_in_every_form() -> None:
    assert all(RemoteCandidate(line).is_end for line in ("", " ", "end-of-candidates", "a=end-of-candidates"))
    assert not RemoteCandidate(LINE).is_end


def test_what_comes_before_the_description_waits_for_it() -> None:
    remote = RemoteCandidates()
    early = [candidate(1, "aaaa"), candidate(2), candidate(3, "bbbb")]
    assert [remote.receive(item) for item in early] == [(), (), ()]
    assert remote.describe(["aaaa"], complete=False) == (early[0], early[1])
    assert remote.received == 2
    # The third one is of a generation to come.
    assert remote.describe(["bbbb"], complete=False) == (early[2],)


def test_what_is_late_is_stale() -> None:
    remote = RemoteCandidates()
    remote.describe(["aaaa"], complete=False)
    remote.describe(["bbbb"], complete=False)
    assert remote.receive(candidate(1, "aaaa")) == ()
    assert (remote.stale, remote.received) == (1, 0)
    assert remote.receive(candidate(1, "bbbb")) == (candidate(1, "bbbb"),)


def test_a_new_description_of_the_same_generation_changes_nothing() -> None:
    remote = RemoteCandidates()
    remote.describe(["aaaa"], complete=False)
    assert remote.receive(candidate(1)) == (candidate(1),)
    assert remote.receive(RemoteCandidate("")) == (RemoteCandidate(""),)
    assert remote.ended
    assert remote.describe(["aaaa"], complete=False) == ()
    assert remote.ended
    assert remote.receive(candidate(1)) == ()
    assert (remote.received, remote.dropped) == (1, 1)
    remote.describe(["bbbb"], complete=False)
    assert not remote.ended
    remote.describe(["cccc"], complete=True)
    assert remote.ended


def test_candidates_of_an_ignored_offer_are_ignored() -> None:
    remote = RemoteCandidates()
    remote.receive(candidate(1, "aaaa"))
    remote.receive(candidate(2))
    remote.receive(candidate(3, "bbbb"))
    remote.ignore(["aaaa"])
    assert remote.receive(candidate(4)) == ()
    assert remote.receive(candidate(5, "aaaa")) == ()
    assert remote.describe(["bbbb"], complete=False) == (candidate(3, "bbbb"),)
    assert remote.receive(candidate(6)) == (candidate(6),)


def test_a_generation_that_was_ignored_and_comes_back_is_believed() -> None:
    remote = RemoteCandidates()
    remote.ignore(["aaaa"])
    remote.describe(["aaaa"], complete=False)
    assert remote.receive(candidate(1, "aaaa")) == (candidate(1, "aaaa"),)


def test_everything_is_bounded() -> None:
    remote = RemoteCandidates()
    for number in range(2 * MAX_WAITING):
        remote.receive(candidate(number))
    given_back = remote.describe(["aaaa"], complete=False)
    assert [item.line.split()[5] for item in given_back] == [
        str(number) for number in range(MAX_WAITING, 2 * MAX_WAITING)
    ]
    for number in range(10_000, 10_000 + 2 * MAX_CANDIDATES):
        remote.receive(candidate(number))
    assert remote.received == MAX_CANDIDATES
    for number in range(2 * MAX_PAST):
        remote.describe([f"u{number:03}"], complete=False)
        remote.ignore([f"v{number:03}"])
    assert len(remote._past) == MAX_PAST


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("describe"), st.sampled_from(["aaaa", "bbbb", "cccc"])),
            st.tuples(st.just("ignore"), st.sampled_from(["aaaa", "bbbb", "cccc"])),
            st.tuples(st.just("receive"), st.sampled_from([None, "aaaa", "bbbb", "cccc"])),
        ),
        max_size=40,
    )
)
def test_only_candidates_of_the_generation_in_force_come_out(steps: list[tuple[str, str | None]]) -> None:
    remote, current = RemoteCandidates(), None
    out: list[RemoteCandidate] = []
    for number, (step, ufrag) in enumerate(steps):
        match step:
            case "describe":
                assert ufrag is not None
                current = ufrag
                given_out = remote.describe([ufrag], complete=False)
            case "ignore":
                assert ufrag is not None
                remote.ignore([ufrag])
                given_out = ()
            case _:
                given_out = remote.receive(candidate(number, ufrag))
        assert all(item.ufrag in (None, current) for item in given_out)
        out += given_out
    assert len(set(out)) == len(out)
