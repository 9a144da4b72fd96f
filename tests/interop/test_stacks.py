"""icekit's PeerConnection with other stacks: aiortc, libwebrtc, libdatachannel and Chromium, and its IceConnection with
aioice, each in both roles, with and without trickle, on one machine and behind the NATs of the laboratory with coturn.

Every run of the tests makes a few of the calls and holds them against the record that ``docs/interop.md`` is made of.
``ICEKIT_INTEROP=all`` makes all of them, ``ICEKIT_INTEROP=record`` several times (``ICEKIT_INTEROP_RUNS``) to write
record and page anew (``-k restricted``: those of one network only).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest

from tests.interop.stacks import (
    NETWORKS,
    OTHERS,
    OURS,
    PAGE,
    Case,
    Outcomes,
    all_cases,
    few_cases,
    make_calls,
    read_record,
    recorded,
    seen_same,
    why_not,
    with_tables,
    write_record,
)

MODE = os.environ.get("ICEKIT_INTEROP", "")
RUNS = int(os.environ.get("ICEKIT_INTEROP_RUNS", "2"))
CASES = all_cases() if MODE else few_cases()

# The first test of a network waits for all its calls, on a machine that may be busy.
pytestmark = pytest.mark.timeout(900 if MODE else 300)


@cache
def calls(network: str, cases: tuple[Case, ...]) -> Outcomes | Exception:
    """The calls of a network; made once, also when they break off."""
    runs, warm = (RUNS, True) if MODE == "record" else (1, False)
    try:
        outcomes = make_calls(NETWORKS[network], cases, runs, warm=warm)
    except Exception as error:  # noqa: BLE001
        return error
    if MODE == "record":
        write_record(outcomes)
    return outcomes


def can_run(case: Any) -> bool:
    return isinstance(case, Case) and why_not(case.offerer) is None and why_not(case.answerer) is None


def possible_paths(case: Case) -> set[str]:
    """The caller decides: aioice takes whatever answers first, libdatachannel a relay at times."""
    best = NETWORKS[case.network].path
    return {best} if case.offerer in OURS else {best, "relay"} if NETWORKS[case.network].nats else {best}


def marked(case: Case) -> Any:
    marks = [pytest.mark.interop]
    if NETWORKS[case.network].nats is not None:
        marks += [pytest.mark.netns, pytest.mark.interop("turnserver")]
    if "chromium" in (case.offerer, case.answerer):
        marks.append(pytest.mark.browser)
    return pytest.param(case, id=str(case), marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_call(case: Case, request: pytest.FixtureRequest) -> None:
    for engine in (case.offerer, case.answerer):
        reason = why_not(engine)
        if reason is not None:
            pytest.skip(reason)
    chosen = (item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec"))
    outcomes = calls(case.network, tuple(item for item in chosen if can_run(item) and item.network == case.network))
    if isinstance(outcomes, Exception):
        raise outcomes
    known = recorded(read_record(), case)
    for report in outcomes[case]:
        assert report.failure is None, report
        assert report.path in possible_paths(case), report
        assert None not in (report.connected, report.opened, report.echoed), report
        # Where we decide and both have always ended on one pair, they do so now.
        assert report.same_pair or case.offerer not in OURS or not seen_same(known), report


def test_every_stack_is_met_in_each_role_with_and_without_trickle_half_behind_nats() -> None:
    few = few_cases()
    met = {(case.offerer, case.answerer, case.trickle) for case in few}
    assert met == {
        (*pair, trickle)
        for other, ours in OTHERS.items()
        for pair in ((ours, other), (other, ours))
        for trickle in (True, False)
    }
    assert len(few) == len(met)
    assert sum(NETWORKS[case.network].nats is not None for case in few) * 2 == len(few)
    assert set(few) <= set(all_cases())


def test_the_record_is_whole() -> None:
    record = read_record()
    for case in all_cases():
        runs = recorded(record, case)
        assert runs, case
        if set(OURS) & {case.offerer, case.answerer}:
            assert [run["failure"] for run in runs] == [None] * len(runs), case
            assert {run["path"] for run in runs} <= possible_paths(case), case


def test_the_page_shows_the_record() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, read_record()) == page
