"""The text that Prometheus reads, read by its own parser."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from icekit.openmetrics import Metric, MetricKind, render

SOME = (
    Metric(name="rooms", kind=MetricKind.GAUGE, help="Rooms now.", samples=(({}, 3),)),
    Metric(
        name="faults",
        kind=MetricKind.COUNTER,
        help='A "quoted" help\nof two lines \\ here',
        samples=(({"code": "slow"}, 1), ({"code": 'a"b\\c\nd'}, 2.5)),
    ),
    Metric(name="empty", kind=MetricKind.COUNTER, help="None yet.", samples=()),
)


def test_a_metric_has_type_help_and_value() -> None:
    assert render(SOME[:1]) == "# TYPE rooms gauge\n# HELP rooms Rooms now.\nrooms 3\n# EOF\n"


def test_prometheus_reads_it() -> None:
    rooms, faults, empty = text_string_to_metric_families(render(SOME))
    assert (rooms.name, rooms.type, [sample.value for sample in rooms.samples]) == ("rooms", "gauge", [3.0])
    assert (faults.type, faults.documentation) == ("counter", SOME[1].help)
    assert [(sample.name, sample.labels, sample.value) for sample in faults.samples] == [
        ("faults_total", {"code": "slow"}, 1.0),
        ("faults_total", {"code": 'a"b\\c\nd'}, 2.5),
    ]
    assert empty.samples == []


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False, allow_infinity=False))
def test_any_label_and_value(text: str, value: float) -> None:
    metric = Metric(name="m", kind=MetricKind.GAUGE, help="h", samples=(({"label": text}, value),))
    (family,) = text_string_to_metric_families(render([metric]))
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"label": text}, value)
