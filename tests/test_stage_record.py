"""What a TURN test remembers, and its report."""

from __future__ import annotations

import pytest

from icekit.net import Address, Transport
from icekit.report import StageName, StageResult
from icekit.stage_failures import StageFailure
from icekit.stage_record import StageRecord, stages_of

SERVER = Address("192.0.2.1", 3478)
URL = "turn:192.0.2.1"


@pytest.mark.parametrize(
    ("transport", "missing"),
    [
        (Transport.UDP, {"connect", "tls"}),
        (Transport.TCP, {"tls"}),
        (Transport.TLS, set()),
        (Transport.DTLS, {"connect"}),
    ],
)
def test_stages_that_do_not_apply_are_left_out(transport: Transport, missing: set[str]) -> None:
    assert stages_of(transport) == tuple(name for name in StageName if name.value not in missing)


def passed(record: StageRecord, *names: StageName) -> None:
    for name in names:
        assert record.stage is name
        record.succeed(name, 0.1, "", 1.0)


def test_a_whole_test() -> None:
    record = StageRecord(URL, Transport.UDP, (StageResult(StageName.RESOLVE, True, 0.0, ""),))
    passed(record, *stages_of(Transport.UDP)[1:-1])
    record.relayed = Address("192.0.2.1", 50000)
    record.lifetime, record.rtt = 600, 0.05
    record.end(True, 0.1)
    report = record.report(SERVER)
    assert report.ok
    assert [stage.name for stage in report.stages] == list(stages_of(Transport.UDP))
    assert (report.url, report.server_address, report.relayed_address) == (URL, "192.0.2.1:3478", "192.0.2.1:50000")
    assert (report.lifetime, report.rtt, report.code, report.not_tested) == (600, 0.05, None, ())


def test_a_failure_stops_the_list() -> None:
    record = StageRecord(URL, Transport.TCP)
    passed(record, StageName.CONNECT)
    result = record.fail(StageFailure(StageName.CHALLENGE, "TURN-NO-ANSWER", None, "words"), 3.0)
    assert result == StageResult(StageName.CHALLENGE, False, 2.0, "words")
    report = record.report(SERVER)
    assert (report.ok, report.failed_stage, report.code, report.cause) == (False, "challenge", "TURN-NO-ANSWER", None)
    # There is no relay to give back.
    assert report.not_tested == stages_of(Transport.TCP)[3:-1]


def test_an_interrupted_test_has_no_code() -> None:
    report = StageRecord(URL, Transport.UDP).report(SERVER)
    assert (report.ok, report.code, report.failed_stage) == (False, None, None)
    assert report.not_tested == stages_of(Transport.UDP)[1:-1]


@pytest.mark.parametrize("refreshed", [True, False])
def test_a_farewell_that_is_not_confirmed_is_a_failure_of_its_own_only_at_the_end(refreshed: bool) -> None:
    record = StageRecord(URL, Transport.UDP)
    stages = stages_of(Transport.UDP)[1:-1]
    passed(record, *(stages if refreshed else stages[:-1]))
    record.lifetime = 300
    record.end(False, 2.0)
    report = record.report(SERVER)
    assert (report.code, report.cause) == (("TURN-REFRESH", "release") if refreshed else (None, None))
    assert report.stages[-1] == StageResult(
        StageName.RELEASE, False, 2.0, "not confirmed; the server frees it by itself within 300 s"
    )


def test_a_redirect_starts_over_and_keeps_the_warnings() -> None:
    record = StageRecord(URL, Transport.TLS, (StageResult(StageName.RESOLVE, True, 0.0, ""),))
    passed(record, StageName.CONNECT, StageName.TLS, StageName.CHALLENGE)
    record.warn("TURN-300")
    record.warn("TURN-300")
    record.restart(5.0)
    assert (record.stage, record.began, record.has(StageName.CONNECT)) == (StageName.CONNECT, 5.0, False)
    report = record.report(SERVER)
    assert report.warnings == ("TURN-300",)
    assert [stage.name for stage in report.stages] == [StageName.RESOLVE]
