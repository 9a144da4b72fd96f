"""The texts of failed stages; ``test_catalogue`` and ``test_findings`` read them as people do."""

from __future__ import annotations

import string

import pytest

from icekit.stage_texts import CAUSES, STAGES, StageText

NAMES = {"host", "port", "transport", "server"}
TEXTS = [StageText(meaning, fix) for _, _, _, meaning, fix in STAGES] + list(CAUSES.values())


@pytest.mark.parametrize("text", TEXTS)
def test_only_known_names_are_filled_in(text: StageText) -> None:
    used = {name for part in (text.message, text.fix) for _, name, _, _ in string.Formatter().parse(part) if name}
    assert used <= NAMES


def test_every_cause_belongs_to_a_stage_and_says_more_than_it() -> None:
    plain = {code: meaning for code, _, _, meaning, _ in STAGES}
    assert [code for code, _ in CAUSES if code not in plain] == []
    assert [key for key, text in CAUSES.items() if text.message == plain[key[0]]] == []
