"""The JSON contract: names, order, null, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.errors import DecodeError
from icekit.report import (
    Behavior,
    DnsReport,
    Finding,
    Interface,
    NatReport,
    NatReports,
    NatTest,
    Outlook,
    PathKind,
    PortmapReport,
    ProbeReport,
    ServerReport,
    Severity,
    StageName,
    StageResult,
    TurnReport,
    Verdict,
    VerdictCode,
    from_dict,
    to_dict,
    turn_document,
)

VERDICT = Verdict(VerdictCode.OK, Severity.OK, "one plain sentence")
MINIMAL: dict[str, Any] = {
    "schema": "icekit/probe/1",
    "duration": 0.5,
    "verdict": {"code": "OK", "severity": "ok", "summary": "fine"},
}

# The fields of the contract, in its order; more may be added, none renamed.
CONTRACT: list[tuple[type, str]] = [
    (
        ProbeReport,
        "schema duration verdict findings interfaces nat servers dns portmap turn candidates outlook",
    ),
    (Verdict, "code severity summary"),
    (Finding, "code severity message fix evidence"),
    (Interface, "name address class kind"),
    (NatReports, "ipv4 ipv6"),
    (
        NatReport,
        (
            "mapping filtering hairpinning port_assignment address_pooling behind_nat udp parity alg cgnat nats "
            "binding_lifetime mapped_addresses reason tests"
        ),
    ),
    (NatTest, "name sent answered seconds"),
    (
        ServerReport,
        "url address transport reachable rtt mapped_address behavior_discovery error",
    ),
    (DnsReport, "name type answers seconds error"),
    (
        TurnReport,
        "url ok failed_stage code cause lifetime relayed_address rtt stages",
    ),
    (StageResult, "name ok seconds detail"),
    (Outlook, "peer path"),
]

SAMPLES: dict[type, Any] = {
    ProbeReport: ProbeReport(0.1, VERDICT),
    Verdict: VERDICT,
    Finding: Finding("ICE001", Severity.WARNING, "message", "fix"),
    Interface: Interface("eth0", "192.168.1.2", "private", "ethernet"),
    NatReports: NatReports(),
    NatReport: NatReport(),
    NatTest: NatTest("filtering-address", 4, 0, 0.42),
    ServerReport: ServerReport("stun:192.0.2.1", None, "udp", None),
    DnsReport: DnsReport("turn.example.org", "A"),
    TurnReport: TurnReport("turn:192.0.2.1", True),
    StageResult: StageResult(StageName.RESOLVE, True, 0.001),
    Outlook: Outlook("open", PathKind.DIRECT),
}


@pytest.mark.parametrize(("kind", "names"), CONTRACT, ids=lambda value: getattr(value, "__name__", ""))
def test_field_names_and_their_order(kind: type, names: str) -> None:
    written = list(to_dict(SAMPLES[kind]))
    assert [name for name in written if name in names.split()] == names.split()


def test_what_is_not_measured_is_null_and_present() -> None:
    written = to_dict(NatReport(reason={"binding_lifetime": "not asked for (--lifetime)"}))
    assert written["mapping"] is None
    assert written["binding_lifetime"] is None
    assert written["reason"] == {"binding_lifetime": "not asked for (--lifetime)"}
    assert to_dict(NatReports(ipv4=NatReport()))["ipv6"] is None
    assert to_dict(ProbeReport(0.1, VERDICT))["portmap"] is None


def test_values_are_plain_json() -> None:
    report = ProbeReport(
        0.41,
        VERDICT,
        nat=NatReports(ipv4=NatReport(mapping=Behavior.ENDPOINT_INDEPENDENT, tests=(NatTest("a", 4, 0, 0.42),))),
        interfaces=(Interface("eth0", "192.168.1.2", "private", "ethernet"),),
        outlook=(Outlook("open", PathKind.DIRECT),),
    )
    written = to_dict(report)
    assert written["schema"] == "icekit/probe/1"
    assert written["verdict"] == {"code": "OK", "severity": "ok", "summary": "one plain sentence"}
    assert written["interfaces"] == [
        {"name": "eth0", "address": "192.168.1.2", "class": "private", "kind": "ethernet"},
    ]
    assert type(written["nat"]["ipv4"]["mapping"]) is str
    assert written["outlook"] == [{"peer": "open", "path": "direct", "why": ""}]
    assert json.loads(json.dumps(written)) == written


def test_turn_document_is_one_element_of_turn_with_schema_and_findings() -> None:
    turn = TurnReport("turn:192.0.2.1", False, StageName.ALLOCATE, "TURN-401", "wrong")
    finding = Finding("TURN-401", Severity.ERROR, "refused", "ask", ("allocate: 401",))
    document = turn_document(turn, [finding])
    assert list(document)[:2] == ["schema", "url"]
    assert list(document)[-1] == "findings"
    assert document["schema"] == "icekit/turn/1"
    assert {key: document[key] for key in to_dict(turn)} == to_dict(turn)
    assert document["findings"] == [
        {"code": "TURN-401", "severity": "error", "message": "refused", "fix": "ask", "evidence": ["allocate: 401"]},
    ]


def test_unknown_fields_are_ignored() -> None:
    data = {**MINIMAL, "new": 1, "nat": {"ipv4": {"udp": True, "colour": "red"}, "ipv6": None}}
    report = from_dict(ProbeReport, data)
    assert report.nat == NatReports(ipv4=NatReport(udp=True))
    assert report.duration == 0.5


def test_a_whole_number_is_a_number() -> None:
    duration = from_dict(ProbeReport, {**MINIMAL, "duration": 2}).duration
    assert (duration, type(duration)) == (2.0, float)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema": "icekit/probe/2"}, "report.schema: found 'icekit/probe/2', expected 'icekit/probe/1'"),
        ({"schema": None}, "report.schema: found null, expected 'icekit/probe/1'"),
        ({"duration": "1"}, "report.duration: found '1', expected a number"),
        ({"duration": True}, "report.duration: found True, expected a number"),
        ({"duration": None}, "report.duration: found null, expected a number"),
        ({"duration": math.nan}, "report.duration: found nan, expected a number"),
        (
            {"duration": 10**400},
            f"report.duration: found 1{56 * '0'}…, expected a number",
        ),
        ({"verdict": []}, "report.verdict: expected an object, found []"),
        ({"verdict": {"code": "OK", "severity": "ok"}}, "report.verdict.summary: is missing"),
        ({"turn": {}}, "report.turn: found {}, expected a list"),
        ({"turn": [{"url": "turn:a", "ok": 1}]}, "report.turn[0].ok: found 1, expected true or false"),
        (
            {"turn": [{"url": "turn:a", "ok": True, "lifetime": 1.5}]},
            "report.turn[0].lifetime: found 1.5, expected a whole number",
        ),
        (
            {"turn": [{"url": "turn:a", "ok": True, "lifetime": False}]},
            "report.turn[0].lifetime: found False, expected a whole number",
        ),
        ({"candidates": ["a", 5]}, "report.candidates[1]: found 5, expected a string"),
        ({"candidates": ["a", None]}, "report.candidates[1]: found null, expected a string"),
        ({"nat": {"ipv4": {"reason": []}}}, "report.nat.ipv4.reason: found [], expected an object"),
        ({"nat": {"ipv4": {"reason": {"alg": 1}}}}, "report.nat.ipv4.reason.alg: found 1, expected a string"),
        (
            {"outlook": [{"peer": "open", "path": "pigeon"}]},
            "report.outlook[0].path: 'pigeon' is none of direct, relay, none, maybe",
        ),
        ({"outlook": [{"peer": "open", "path": []}]}, "report.outlook[0].path: found [], expected one of its values"),
    ],
)
def test_wrong_values_are_named_with_their_path(change: dict[str, Any], text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        from_dict(ProbeReport, {**MINIMAL, **change})
    assert str(caught.value) == text


def test_anything_but_an_object_is_refused() -> None:
    with pytest.raises(DecodeError, match="report: expected an object, found 'x'"):
        from_dict(ProbeReport, "x")


texts = st.text(max_size=8)
seconds = st.floats(0, 1e6)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def lists(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=2).map(tuple)


reasons = st.dictionaries(texts, texts, max_size=2)
nats = st.builds(
    NatReport,
    mapping=optional(st.sampled_from(Behavior)),
    hairpinning=optional(st.booleans()),
    nats=optional(st.integers(0, 3)),
    binding_lifetime=optional(seconds),
    mapped_addresses=lists(texts),
    reason=reasons,
    tests=lists(st.builds(NatTest, texts, st.integers(0), st.integers(0), seconds, texts)),
)
turns = st.builds(
    TurnReport,
    texts,
    st.booleans(),
    failed_stage=optional(st.sampled_from(StageName)),
    lifetime=optional(st.integers(0)),
    rtt=optional(seconds),
    stages=lists(st.builds(StageResult, st.sampled_from(StageName), st.booleans(), seconds, texts)),
    not_tested=lists(st.sampled_from(StageName)),
)
reports = st.builds(
    ProbeReport,
    seconds,
    st.builds(Verdict, st.sampled_from(VerdictCode), st.sampled_from(Severity), texts),
    findings=lists(st.builds(Finding, texts, st.sampled_from(Severity), texts, texts, lists(texts))),
    interfaces=lists(st.builds(Interface, texts, texts, texts, optional(texts))),
    nat=st.builds(NatReports, optional(nats), optional(nats)),
    servers=lists(st.builds(ServerReport, texts, optional(texts), texts, optional(st.booleans()), optional(seconds))),
    dns=lists(st.builds(DnsReport, texts, texts, lists(texts), optional(seconds), optional(texts))),
    portmap=optional(st.builds(PortmapReport, optional(texts), optional(st.booleans()), reason=reasons)),
    turn=lists(turns),
    candidates=lists(texts),
    outlook=lists(st.builds(Outlook, texts, st.sampled_from(PathKind), texts)),
)


@settings(max_examples=60, deadline=None)
@given(reports)
def test_round_trip_through_json(report: ProbeReport) -> None:
    assert from_dict(ProbeReport, json.loads(json.dumps(to_dict(report)))) == report


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(reports.map(to_dict), st.data())
def test_hostile_json_reads_or_raises_decode_error(document: dict[str, Any], data: st.DataObject) -> None:
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(json_values)
    try:
        report = from_dict(ProbeReport, document)
    except DecodeError:
        return
    assert from_dict(ProbeReport, to_dict(report)) == report
