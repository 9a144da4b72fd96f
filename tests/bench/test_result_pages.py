"""Results as people see them: exact text, at most as wide as the terminal, and the sentence that counts first."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from icekit.bench.compare import compare
from icekit.bench.result_pages import EXPLAINED, HEADS, WORDS, comparison_page, milliseconds, more, results_page
from icekit.bench.samples import Phase, Results
from icekit.cli.render import print_page
from icekit.page import Page, Tone
from tests.bench.made import HEADER, LATE, SETTING, results, sample, some_results, timed

BLOCK_AT_80 = """\
port-restricted, RTT 50 ms, simulator
  until selected  failed  relayed  two pairs  over  p50  p90  p99  lost at
  limit                                             175
  icekit            0/20     0/20       0/20  +1.1  176  176  176  valid +1.1
  wrtc              2/20     2/20       2/20  +116  291  301  304  valid +116
  aioice            0/20     0/20       0/20  +517  692  757  809  valid +517
  wrtc failed 2 ×: no pair works

  p50 of each phase  cand.  srflx  offer  answer  check  valid  selected
  limit                        50                          150       175
  icekit                 0     50    1.0      50    100    151       176
  wrtc                   0    165    116     165    215    266       291
  aioice                 0     50    1.0      50    617    667       692
"""
SLOWER_AT_80 = """\
Worse: icekit, port-restricted, RTT 50 ms, simulator
  p50       old  new  difference  95 % interval  runs
  answer     50  164        +114    +106 … +119  20, 20, one by one
  check     100  214        +114    +106 … +119  20, 20, one by one
  valid     151  264        +113    +105 … +118  20, 20, one by one
  selected  176  289        +113    +105 … +118  20, 20, one by one
"""


def shown(page: Page, width: int = 80, *, colour: bool = False) -> str:
    output = io.StringIO()
    system = "truecolor" if colour else None
    print_page(page, Console(file=output, width=width, force_terminal=colour, color_system=system, markup=False))
    return output.getvalue()


def many_engines() -> Results:
    """As much as there can be: every phase, eight engines, slow ones among them."""
    phases = {phase: 10.0 + index for index, phase in enumerate(Phase)}
    names = ("icekit", "icekit_ice", "aiortc", "aioice", "wrtc", "libdatachannel", "libnice", "chromium")
    settings = [replace(SETTING, engine=name, medium="lab") for name in names]
    some = {"phases": phases, "limits": phases, "path": "relay"}
    return results([sample(setting, run, **some) for setting in settings for run in range(2)])


def test_a_condition_at_80_columns() -> None:
    assert BLOCK_AT_80 in shown(results_page(some_results(), width=80))


def test_colours_add_nothing_to_the_words() -> None:
    page = results_page(some_results())
    coloured = shown(page, 120, colour=True)
    assert "\x1b[31m+517" in coloured
    assert "\x1b" not in shown(page, 120)


@pytest.mark.parametrize("percentiles", [False, True])
@pytest.mark.parametrize("width", [80, 100, 120])
def test_nothing_is_wider_than_the_terminal_and_no_figure_is_broken(width: int, percentiles: bool) -> None:
    text = shown(results_page(many_engines(), width=width, percentiles=percentiles), width)
    assert max(map(len, text.splitlines())) <= width
    lines = [line.split() for line in text.splitlines() if line.startswith("  libdatachannel")]
    figures = [word for line in lines[1:] for word in line[1 + percentiles :]]
    assert figures == [str(10_000 + 1000 * index) for index in range(len(Phase))]


def test_three_percentiles_of_every_phase() -> None:
    text = shown(results_page(some_results(), width=80, percentiles=True))
    assert "\n  aioice p50      0     50    1.0      50    617    667       692\n  p90 " in text


def test_engines_that_measure_no_limit_have_no_row_of_it() -> None:
    text = shown(results_page(results([sample(limits={})]), width=80))
    assert "\n  icekit             0/1     –  175  175  175\n\n" in text
    assert "\n  limit " not in text


@pytest.mark.parametrize(
    ("found", "code", "tone", "words"),
    [
        (results([]), "NOTHING", Tone.WARNING, "No run is in the file."),
        (results([sample()]), "MEASURED", Tone.NOTE, "1 engine, 1 condition, 1 run, 0 failed."),
        (some_results(), "FIRST", Tone.GOOD, "No other engine is faster by a millisecond in 2 comparisons;"),
        (
            some_results(engines=dict(LATE, icekit=(0.4, Phase.OFFER))),
            "BEHIND",
            Tone.WARNING,
            "icekit is behind another engine in 2 of 2 comparisons, most so wrtc at 0.4",
        ),
        (
            results(timed([None, 0.2])),
            "FAILURES",
            Tone.BAD,
            "icekit failed in 1 run, port-restricted, RTT 50 ms, simulator;",
        ),
        (
            results([*timed([None, None, 0.2]), *timed([None], setting=replace(SETTING, rtt=0.3))]),
            "FAILURES",
            Tone.BAD,
            "icekit failed in 3 runs, 2 of them in port-restricted, RTT 50 ms, simulator;",
        ),
    ],
    ids=["nothing", "alone", "first", "behind", "a failure", "failures"],
)
def test_the_sentence_at_the_top(found: Results, code: str, tone: Tone, words: str) -> None:
    page = results_page(found)
    assert (page.code.text, page.code.tone) == (code, tone)
    assert page.summary.startswith(words)


def test_the_commonest_reasons_of_failures_are_told() -> None:
    runs = [sample(run=run, failure=f"reason {min(run, 4)} {'x' * 200}") for run in range(9)]
    text = shown(results_page(results(runs)), 300)
    assert "icekit failed 5 ×: reason 4 xxx" in text
    assert text.count("icekit failed 1 ×: reason ") == 2
    assert "x" * 160 not in text


def test_the_sentence_is_repeated_where_it_has_scrolled_away() -> None:
    settings = [replace(SETTING, rtt=rtt / 10) for rtt in range(4)]
    page = results_page(some_results(settings=settings, runs=1))
    assert page.footer == f"{page.code.text}: {page.summary}"
    assert results_page(some_results()).footer == ""


def test_ratios_name_the_best_other_engine() -> None:
    text = shown(results_page(some_results()), 100)
    assert "\n  port-restricted, RTT 50 ms, simulator  1.76 wrtc  1.65 wrtc\n" in text
    narrow = shown(results_page(some_results(), width=60), 60)
    assert "port-restricted, RTT 50 ms, simulator: valid 1.76 wrtc; selected 1.65 wrtc" in " ".join(narrow.split())
    zero = results([sample(phases={Phase.SELECTED: 0.0}), *timed([0.02], setting=replace(SETTING, engine="aioice"))])
    assert "0 ms, aioice 20\n" in shown(results_page(zero), 100)


def test_where_it_was_measured_and_how_to_read_it() -> None:
    text = shown(results_page(some_results()), 400)
    for words in ("Example CPU, 2 cores", HEADER.commit, HEADER.command, "aioice 0.13.0", *EXPLAINED):
        assert words in text


def test_what_got_slower_comes_first() -> None:
    changed = {"icekit": (0.1, Phase.ANSWER), "aioice": (0.02, Phase.FIRST_VALID), "wrtc": LATE["wrtc"]}
    page = comparison_page(compare(some_results(), some_results(seed=2, engines=changed)))
    text = shown(page)
    assert (page.code.text, page.code.tone) == ("SLOWER", Tone.BAD)
    assert text.startswith("SLOWER  Of 24 figures: 4 slower, 3 faster, 11 the same, 6 unclear.\n\nWorse: icekit, ")
    assert SLOWER_AT_80 in text
    assert text.index("Worse:") < text.index("Better: aioice") < text.index("Unclear: more runs would tell")


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ([0.2] * 20, [0.2] * 20, "NO CHANGE", "Of 1 figure: 1 the same."),
        ([0.2] * 20, [0.1] * 20, "FASTER", "Of 1 figure: 1 faster."),
        ([0.2] * 20, [None] * 20, "SLOWER", "Of 1 figure: 1 failing more often."),
        ([None] * 20, [None] * 19 + [0.2], "NO CHANGE", "Of 1 figure: 1 unclear."),
        ([0.2, 0.3], [0.2, 0.4], "NOT COMPARABLE", "Of 1 figure: 1 not comparable."),
    ],
    ids=["same", "faster", "fails", "fails-less", "few"],
)
def test_the_verdict_on_two_files(old: list[float | None], new: list[float | None], code: str, words: str) -> None:
    page = comparison_page(compare(results(timed(old)), results(timed(new))))
    assert (page.code.text, page.summary) == (code, words)


def test_a_refusal_says_why() -> None:
    lab = replace(SETTING, medium="lab")
    old = results(timed([0.2] * 9, setting=lab))
    other = results(timed([0.2] * 9, setting=lab), replace(HEADER, machine="Another CPU"))
    text = shown(comparison_page(compare(old, other)), 120)
    why = "measured on different machines: Example CPU (2 cores), Another CPU (2 cores)"
    assert f"1 figure not comparable because {why}" in text
    few = shown(comparison_page(compare(results(timed([0.2, 0.3])), results(timed([0.2, 0.4])))), 120)
    assert "1 figure not comparable because too few runs: 2 and 2, 8 each are wanted" in few


def test_failures_and_settings_of_one_file() -> None:
    slow = replace(SETTING, rtt=0.3)
    old = [*timed([0.2] * 20), *timed([0.4], setting=slow)]
    text = shown(comparison_page(compare(results(old), results(timed([0.2] * 5 + [None] * 15)))), 120)
    assert "\n  failed: 0 of 20, now 15 of 20\n" in text
    assert "\n  old: port-restricted, RTT 300 ms, simulator: icekit\n" in text


def test_files_with_nothing_in_common() -> None:
    page = comparison_page(compare(results([]), results([sample()])))
    assert (page.code.text, page.summary) == ("NOT COMPARABLE", "The files have no setting in common.")


def test_every_phase_has_its_words() -> None:
    assert list(HEADS) == list(WORDS) == list(Phase)


@pytest.mark.parametrize(
    ("seconds", "text", "change"),
    [
        (None, "–", None),
        (0.0, "0", "0"),
        (0.00001, "0", "0"),
        (0.0012, "1.2", "+1.2"),
        (0.15, "150", "+150"),
        (-0.00001, "0", "0"),
        (-0.0012, "-1.2", "-1.2"),
        (10.032, "10032", "+10032"),
    ],
)
def test_times(seconds: float | None, text: str, change: str | None) -> None:
    assert milliseconds(seconds) == text
    assert seconds is None or more(seconds) == change
