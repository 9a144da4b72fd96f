"""The support engineer's test: what people pasted in public threads, and what the thread found in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from icekit.catalogue_page import THREADS
from icekit.explain import explain

FOLDER = Path(__file__).with_name("threads")


def pasted(place: str) -> Path:
    name, _, number = place.partition("#")
    return FOLDER / f"{name.partition('/')[2].removeprefix('www.').removesuffix('.com')}-{number}.txt"


@pytest.mark.parametrize(("place", "code"), [(place, code) for place, _, _, code in THREADS])
def test_the_cause_is_the_first_or_second_finding(place: str, code: str) -> None:
    explanation = explain(pasted(place).read_text("utf-8"), unix_time=1_800_000_000.0)
    assert explanation.understood
    assert code in [finding.code for finding in explanation.findings[:2]]


def test_there_are_ten_and_no_other() -> None:
    assert len(THREADS) >= 10
    assert {pasted(place) for place, *_ in THREADS} == set(FOLDER.iterdir())
