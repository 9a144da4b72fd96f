"""Markdown: whose median is best, who fails, and in what icekit is ahead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icekit.bench.markdown import condition, markdown, measured, medians, standing
from icekit.bench.samples import Phase, Sample
from icekit.bench.summary import Ratio, blocks, summarise
from tests.bench.made import HEADER, SETTING, results, sample, timed

LAB = replace(SETTING, medium="lab")


def of(engine: str, *seconds: float | None, network: str = "port-restricted") -> list[Sample]:
    return timed(seconds, setting=replace(LAB, engine=engine, network=network))


def table(*samples: Sample) -> list[str]:
    return medians(HEADER, blocks(summarise(samples)), [Phase.SELECTED]).splitlines()


def test_a_cell_has_the_median_and_the_best_is_bold() -> None:
    found = table(*of("icekit", 0.2, 0.3, 0.4), *of("wrtc", 0.5, None, None), *of("aioice", None, None, None))
    assert found == [
        "| condition | limit | icekit | aioice 0.13 | wrtc (libwebrtc) 0.1 |",
        "|---|---|---|---|---|",
        "| both port-restricted, 50 ms | 175 | **300** | fails | 500 (2 of 3 failed) |",
        "",
        "Medians in ms of 3 calls each: pair selected on both sides.",
    ]


def test_who_looks_the_same_is_as_good_and_alone_nobody_is_best() -> None:
    found = table(*of("icekit", 0.2004), *of("wrtc", 0.2001), *of("icekit", 0.2, network="host"))
    assert "| **200** | **200** |" in found[2]
    assert found[3] == "| no NAT, 50 ms | 175 | 200 |  |"
    assert found[-1].startswith("Medians in ms of one call each")


def test_calls_with_sound_have_a_table_of_their_own() -> None:
    times = {Phase.FIRST_VALID: 0.1, Phase.DTLS: 0.2, Phase.DATA: 0.3, Phase.MEDIA: 0.25}
    some = [sample(replace(LAB, media=media), phases=times, limits={}) for media in (False, True)]
    silent, sound = markdown(results(some)).partition("### All conditions: laboratory, whole calls with sound\n")[::2]
    assert "| both port-restricted, 50 ms | – / – | 100 / 300 |" in silent
    assert "| both port-restricted, 50 ms, with sound | – / – / – | 100 / 300 / 250 |" in sound
    assert "each: valid pair on both sides / first data / first media." in sound


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (replace(LAB, network="relay-only", relay_only=True), "relays only, 50 ms"),
        (
            replace(LAB, network="cgnat--symmetric", dead="stun", loss=0.05),
            "cgnat--symmetric, 50 ms, dead STUN server, 5 % loss",
        ),
        (
            replace(LAB, network="udp-blocked--open", rtt=0.0, trickle=False),
            "one side's UDP blocked, 0 ms, full gathering",
        ),
        (replace(LAB, relay_only=True), "both port-restricted, 50 ms, relay only"),
    ],
)
def test_conditions_in_words(setting: object, words: str) -> None:
    assert condition(setting.label) == words  # type: ignore[attr-defined]


def ratio(value: float | None, other: str = "wrtc", label: str = LAB.label) -> Ratio:
    return Ratio(label=label, kind="", phase=Phase.OPEN, ours=0.1, other=other, theirs=0.1, ratio=value)


def test_where_icekit_stands() -> None:
    host = replace(LAB, network="host").label
    assert standing(
        [ratio(1.5), ratio(2.5), ratio(None), ratio(0.99), ratio(0.7, label=host), ratio(0.8, label=host)]
    ) == (
        "icekit is ahead of the best other engine in 3 of 6 comparisons (that one's time divided by icekit's: "
        "0.70 to 2.50, median 0.99). It is behind wrtc, no NAT, 50 ms: 0.70 to 0.80."
    )
    assert standing([ratio(1.0)]).endswith("It is nowhere behind by 2 %.")
    assert standing([]) == "There is no other engine to compare with."


def test_what_was_measured() -> None:
    said = measured(results([*of("icekit", 0.2, None), *of("wrtc", None), *of("wrtc", 0.1, network="host")]))
    assert said == (
        "`icekit bench --runs 20`, commit 1234567, 2026-11-22, Example CPU, 2 cores, Python 3.11.2: 4 calls of 2 "
        "engines in 2 conditions, 2 failed, 1 of them icekit's (icekit 0.5, aioice 0.13.0, wrtc 0.1.3)."
    )
    assert "1 calls of" not in said
    assert ": none failed" not in said


def test_a_table_for_each_medium_and_sort_of_call() -> None:
    text = markdown(results([*of("icekit", 0.2), *of("aioice", 0.4), *timed([0.3])]))
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "### All conditions: laboratory, ICE alone",
        "### All conditions: simulator, ICE alone",
    ]
    assert "2 of 2" not in text
    assert "in 1 of 1 comparisons" in text
    assert markdown(results([])).startswith("`icekit bench --runs 20`")
