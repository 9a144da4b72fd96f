"""The table of codes: complete, and with texts that can be printed."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from icekit.call_codes import CALLS
from icekit.catalogue import CODES, describe, stage_text
from icekit.net import SocketFailure, StreamFailure
from icekit.report import Severity
from icekit.resolution import QueryFailure
from icekit.stage_texts import CAUSES

# The catalogue's own list of stage codes.
STAGE_CODES = [
    *("TURN-RESOLVE", "TURN-CONNECT", "TURN-TLS", "TURN-NO-ANSWER", "TURN-NOT-TURN", "TURN-401", "TURN-403"),
    *("TURN-437", "TURN-438", "TURN-440", "TURN-441", "TURN-442", "TURN-486", "TURN-508", "TURN-300"),
    *("TURN-RELAY-PRIVATE", "TURN-PERMISSION", "TURN-ECHO-OUT", "TURN-ECHO-IN", "TURN-REFRESH", "TURN-REALM-EMPTY"),
    *("TURN-400", "TURN-420", "TURN-443", "TURN-500"),
]


def test_the_table_has_every_stage_code() -> None:
    assert {code for code in CODES if code.startswith("TURN-")} == set(STAGE_CODES)
    assert {code for code, _ in CAUSES} <= set(STAGE_CODES)


def test_the_table_has_every_ice_code() -> None:
    assert [code for code in CODES if code.startswith("ICE")] == [f"ICE{number:03}" for number in range(1, 30)]


def test_the_table_has_the_codes_of_calls() -> None:
    assert [row for row in CODES.values() if row.code.startswith("CALL-")] == list(CALLS)


def test_names_are_unique_and_every_row_is_filled() -> None:
    rows = list(CODES.values())
    assert len({row.name for row in rows}) == len(rows)
    assert [row.code for row in rows if not (row.meaning and row.fix and row.severity is not Severity.OK)] == []
    assert [row.code for row in rows if row.code.startswith("ICE") and not row.believed] == []


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("TURN-RESOLVE", {*QueryFailure, "sinkhole"}),
        ("TURN-CONNECT", {*StreamFailure, *SocketFailure}),
        ("TURN-TLS", set(StreamFailure)),
        ("TURN-401", {"challenge", "expired", "milliseconds", "empty", "wrong"}),
    ],
)
def test_causes_are_those_that_others_report(code: str, known: set[str]) -> None:
    causes = {cause for other, cause in CAUSES if other == code}
    assert causes <= known
    assert causes


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        *(("ICE001", "warning"), ("ICE005", "info"), ("ICE006", "error"), ("ICE018", "error"), ("ICE021", "error")),
        *(("ICE022", "info"), ("ICE023", "error"), ("ICE024", "info"), ("TURN-401", "error"), ("TURN-300", "info")),
        ("TURN-REALM-EMPTY", "warning"),
    ],
)
def test_severities(code: str, severity: str) -> None:
    assert CODES[code].severity == severity


def test_texts_use_only_known_names() -> None:
    texts = [*CAUSES.values(), *(stage_text(code, None) for code in STAGE_CODES)]
    used = {name for text in texts for part in (text.message, text.fix) for _, name, _, _ in Formatter().parse(part)}
    assert used - {None} == {"host", "port", "transport"}


@pytest.mark.parametrize(
    ("code", "known"),
    [
        *(("ICE003", True), (" ice003 ", True), ("turn-echo-in", True), ("TURN-487", True), ("ICE999", False)),
        *(("TURN-299", False), ("TURN-700", False), ("TURN-", False), ("TURN-٤٠٠", False), ("400", False), ("", False)),
    ],
)
def test_describe(code: str, known: bool) -> None:
    assert (describe(code) is not None) is known


def test_a_code_from_a_newer_version_still_has_a_sentence() -> None:
    assert "does not know" in stage_text("TURN-NEW", None).message
    assert stage_text("TURN-487", None).message == "it answers with error 487"


def test_threads_are_named_as_their_address_wants_it() -> None:
    places = [place for row in CODES.values() for place in row.seen]
    assert places
    assert [place for place in places if not re.fullmatch(r"[\w.-]+/[\w.-]+#[0-9]+", place)] == []
