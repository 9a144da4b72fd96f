"""The metrics, read by the parser of somebody else."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from icekit.report import ServerReport, StageName, StageResult, TurnReport
from icekit.servers import ServerUri
from icekit.watch.fleet import ServerResult
from icekit.watch.fleet_file import WatchedServer
from icekit.watch.metrics import FleetMetrics

SERVER = WatchedServer(
    uri=ServerUri.parse("turn:turn.example.org"), name="frankfurt", username="u", credential="hidden"
)
STUN = WatchedServer(uri=ServerUri.parse("stun:stun.example.org"), name="stun")
STAGES = (StageResult(StageName.RESOLVE, True, 0.01), StageResult(StageName.ALLOCATE, False, 0.02, "401"))
BAD = ServerResult(
    SERVER,
    1000.0,
    0.5,
    "TURN-401",
    "expired",
    turn=TurnReport("turn:turn.example.org", False, StageName.ALLOCATE, "TURN-401", "expired", stages=STAGES),
    certificate_expires=2000.0,
    credentials_expire=999.0,
)
GOOD = ServerResult(SERVER, 1060.0, 0.1, "OK", "", turn=TurnReport("turn:turn.example.org", True, rtt=0.04))
ANSWER = ServerResult(
    STUN, 1000.0, 0.02, "OK", "", stun=ServerReport("stun:stun.example.org", "192.0.2.1:3478", "udp", True, rtt=0.02)
)


def values(metrics: FleetMetrics) -> dict[tuple[str, ...], float]:
    """Name and label values of every sample to its value."""
    text = metrics.openmetrics()
    assert "hidden" not in text
    assert text.endswith("# EOF\n")
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {
        (sample.name, *(sample.labels[key] for key in ("name", "code", "cause", "stage") if key in sample.labels)): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


def test_nothing_yet() -> None:
    assert values(FleetMetrics()) == {}


def test_a_failed_and_a_good_server() -> None:
    metrics = FleetMetrics()
    metrics.add(BAD)
    metrics.add(ANSWER)
    found = values(metrics)
    assert found == {
        ("icekit_up", "frankfurt"): 0.0,
        ("icekit_up", "stun"): 1.0,
        ("icekit_verdict", "frankfurt", "TURN-401", "expired"): 1.0,
        ("icekit_verdict", "stun", "OK", ""): 1.0,
        ("icekit_stage_passed", "frankfurt", "resolve"): 1.0,
        ("icekit_stage_passed", "frankfurt", "allocate"): 0.0,
        ("icekit_stage_seconds", "frankfurt", "resolve"): 0.01,
        ("icekit_stage_seconds", "frankfurt", "allocate"): 0.02,
        ("icekit_check_duration_seconds", "frankfurt"): 0.5,
        ("icekit_check_duration_seconds", "stun"): 0.02,
        ("icekit_last_check_timestamp_seconds", "frankfurt"): 1000.0,
        ("icekit_last_check_timestamp_seconds", "stun"): 1000.0,
        ("icekit_rtt_seconds", "stun"): 0.02,
        ("icekit_certificate_expiry_timestamp_seconds", "frankfurt"): 2000.0,
        ("icekit_credential_expiry_timestamp_seconds", "frankfurt"): 999.0,
        ("icekit_checks_total", "frankfurt", "TURN-401"): 1.0,
        ("icekit_checks_total", "stun", "OK"): 1.0,
    }


def test_only_the_last_verdict_is_shown_and_checks_are_counted() -> None:
    metrics = FleetMetrics()
    for result in (BAD, BAD, GOOD):
        metrics.add(result)
    found = values(metrics)
    assert found["icekit_verdict", "frankfurt", "OK", ""] == 1.0
    assert ("icekit_verdict", "frankfurt", "TURN-401", "expired") not in found
    assert found["icekit_checks_total", "frankfurt", "TURN-401"] == 2.0
    assert found["icekit_checks_total", "frankfurt", "OK"] == 1.0
    assert found["icekit_rtt_seconds", "frankfurt"] == 0.04
