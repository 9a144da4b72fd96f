"""The codes of all that can end a call."""

from __future__ import annotations

from icekit.call_codes import CALLS
from icekit.report import Severity

ENDS = [
    *("CALL-PEER", "CALL-OFFER", "CALL-ANSWER", "CALL-GLARE", "CALL-DESCRIPTION", "CALL-NO-MEDIA", "CALL-CANDIDATES"),
    *("CALL-UFRAG", "CALL-PATH", "CALL-PASSWORD", "CALL-NOMINATION", "CALL-DTLS", "CALL-FINGERPRINT"),
    *("CALL-SILENT", "CALL-LOST", "CALL-SIGNALING", "CALL-BYE"),
]


def test_there_is_a_code_for_all_that_can_end_a_call() -> None:
    assert sorted(row.code for row in CALLS) == sorted(ENDS)


def test_every_row_is_filled() -> None:
    assert all(row.believed and row.meaning and row.fix for row in CALLS)


def test_what_is_less_than_an_error() -> None:
    lesser = {row.code: row.severity for row in CALLS if row.severity is not Severity.ERROR}
    assert lesser == {"CALL-PEER": Severity.WARNING, "CALL-SILENT": Severity.WARNING, "CALL-BYE": Severity.INFO}
