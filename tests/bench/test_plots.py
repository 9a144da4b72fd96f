"""Drawings: everything of the data is in them, the same data give the same file, and they are well formed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from icekit.bench.canvas import Line, svg
from icekit.bench.plots import _ticks, drawings, write_plots
from icekit.bench.samples import Phase, Results
from tests.bench.made import LATE, SETTING, results, sample, some_results, timed

ALIEN = replace(SETTING, network="of another tool")
NETWORKS = ("host", "port-restricted", "symmetric--port-restricted", "relay-only")


@pytest.fixture(scope="module")
def drawn() -> Mapping[str, str]:
    """The SVGs of four networks, by name; the slowest engine needs far more than all others, one only fails."""
    settings = [replace(SETTING, network=network) for network in NETWORKS]
    engines = dict(aioice=(10.0, Phase.FIRST_CHECK), **{name: late for name, late in LATE.items() if name != "aioice"})
    made = some_results(settings=settings, engines=engines, runs=10)
    failed = [replace(one, phases={}, failure="no pair works") for one in made.samples[:10]]
    gone = [replace(one, setting=replace(one.setting, engine="gone <&>")) for one in failed]
    return {drawing.name: svg(drawing) for drawing in drawings(results([*made.samples, *gone]))}


def texts(drawing: str) -> list[str]:
    root = ElementTree.fromstring(drawing)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_an_overview_two_drawings_for_each_condition_and_a_map_of_nats(drawn: Mapping[str, str]) -> None:
    labels = [f"{name.replace('--', '-')}-rtt-50-ms-simulator" for name in NETWORKS]
    expected = [f"{kind}-{label}" for label in labels for kind in ("phases", "distribution")]
    assert list(drawn) == ["all-conditions-simulator-ice-alone", *expected, "nats-rtt-50-ms-simulator"]


def test_few_runs_have_no_distribution() -> None:
    names = [drawing.name for drawing in drawings(some_results(runs=4))]
    assert names == ["phases-port-restricted-rtt-50-ms-simulator"]


def test_calls_with_sound_are_at_a_glance_of_their_own() -> None:
    phases = {Phase.SELECTED: 0.1, Phase.DTLS: 0.2, Phase.DATA: 0.3}
    sound = phases | {Phase.MEDIA: 0.25}
    places = [replace(SETTING, medium="lab", loss=loss) for loss in (0.0, 0.05)]
    some = [sample(place, phases=phases, limits=phases) for place in places]
    some += [sample(replace(place, media=True), phases=sound, limits=sound) for place in places]
    found = [drawing for drawing in drawings(results(some)) if drawing.name.startswith("all")]
    name = "all-conditions-laboratory-whole-calls"
    assert [drawing.name for drawing in found] == [name, f"{name}-with-sound"]
    titles = [texts(svg(drawing))[0] for drawing in found]
    assert [title.rpartition(" until ")[2] for title in titles] == ["first data", "first media"]


def test_all_conditions_at_a_glance(drawn: Mapping[str, str]) -> None:
    drawing = drawn["all-conditions-simulator-ice-alone"]
    shown = texts(drawing)
    assert [text for text in shown if text.endswith("RTT 50 ms")] == [f"{network}, RTT 50 ms" for network in NETWORKS]
    # A mark for each engine that gets there in its legend and on each line; who does not is named at its end.
    assert {engine: len(marks(drawing, style)) for engine, style in (("icekit", 0), ("aioice", 1), ("wrtc", 3))} == {
        "icekit": 5,
        "aioice": 5,
        "wrtc": 5,
    }
    assert [text for text in shown if "fail" in text] == ["gone <&> fails; wrtc: 1/10 fail", *["wrtc: 1/10 fail"] * 3]
    some = [sample(setting, run, failure="no" if run else None) for setting in (SETTING, ALIEN) for run in range(3)]
    overview = next(drawings(results(some)))
    assert texts(svg(overview)).count("icekit: 2/3 fail") == 2
    # The slower the further to the right.
    places = [float(re.findall(r'd="M([\d.]+)', marks(drawing, style)[1])[0]) for style in (0, 3, 1)]
    assert places == sorted(places)


def marks(drawing: str, style: int) -> list[str]:
    return re.findall(rf'<path class="engine{style}" [^>]*>', drawing)


def test_phases_name_engines_and_times(drawn: Mapping[str, str]) -> None:
    shown = texts(drawn["phases-host-rtt-50-ms-simulator"])
    assert "host, RTT 50 ms, simulator: p50 of each phase" in shown
    assert {"icekit", "aioice", "wrtc", "gone <&>"} <= set(shown)
    assert {"valid pair on both sides", "pair selected on both sides"} <= set(shown)
    assert "176 (+1.1)" in shown
    assert shown.count("not reached") == 7
    # Cut off, with its figure.
    assert any(re.fullmatch(r"▸ 1\d{4} \(\+1\d{4}\)", text) for text in shown)


def test_distributions_have_the_limit_and_every_engine(drawn: Mapping[str, str]) -> None:
    shown = texts(drawn["distribution-host-rtt-50-ms-simulator"])
    assert [text for text in shown if text in ("limit", "icekit", "wrtc", "aioice", "gone <&>")] == [
        *("limit", "icekit", "wrtc", "aioice", "gone <&>")
    ]
    assert "ms since the start, logarithmic" in shown


def test_a_curve_rises_to_the_share_of_runs_that_are_done() -> None:
    some = [*timed([0.2, 0.4, 0.3, None, None]), *timed([0.1] * 5, setting=replace(SETTING, engine="aioice"))]
    drawing = next(item for item in drawings(results(some)) if item.name.startswith("distribution"))
    (curve,) = [
        item for item in drawing.shapes if isinstance(item, Line) and item.colour == "engine0" and item.points[2:]
    ]
    bottom, top = curve.points[0][1], curve.points[-1][1]
    (whole,) = [
        item for item in drawing.shapes if isinstance(item, Line) and item.colour == "engine1" and item.points[2:]
    ]
    # Three of five, level to the end of the field.
    assert (bottom - top) / (bottom - whole.points[-1][1]) == pytest.approx(0.6)
    assert curve.points[-1][0] > curve.points[-2][0]
    assert len(curve.points) == 1 + 2 * 3 + 1


@pytest.mark.parametrize(
    ("end", "most", "expected"), [(10, 5, [0, 2, 4, 6, 8, 10]), (11, 5, [0, 5, 10]), (0.9, 6, [0, 0.2, 0.4, 0.6, 0.8])]
)
def test_round_figures(end: float, most: int, expected: list[float]) -> None:
    assert _ticks(end, most) == pytest.approx(expected)


def test_the_map_has_only_networks_that_are_two_nats(drawn: Mapping[str, str]) -> None:
    shown = texts(drawn["nats-rtt-50-ms-simulator"])
    assert shown.count("176") == 3
    assert shown.count("1 fail, 1 relayed") == 3
    assert "fails" in shown
    assert {"open", "port-restricted", "symmetric"} <= set(shown)


def test_each_drawing_is_two_files(tmp_path: Path) -> None:
    (setting,) = {one.setting for one in timed([0.1])}
    written = write_plots(results(timed([0.1, 0.2], setting=setting)), tmp_path / "new" / "folder")
    assert [path.suffix for path in written] == [".svg", ".png"]
    assert all(path.parent == tmp_path / "new" / "folder" for path in written)
    assert written[1].read_bytes().startswith(b"\x89PNG")
    assert written[0].read_text("utf-8").startswith("<svg ")


@pytest.mark.parametrize(
    "found",
    [results([]), results(timed([None], setting=ALIEN)), results([sample(phases={Phase.SELECTED: 0.0}, limits={})])],
    ids=["nothing", "only-failures", "no-time"],
)
def test_there_may_be_nothing_to_draw(found: Results) -> None:
    for drawing in drawings(found):
        ElementTree.fromstring(svg(drawing))
