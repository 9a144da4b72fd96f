"""Figures in the OpenMetrics text format 1.0 (what Prometheus reads)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class MetricKind(StrEnum):
    """``counter`` only grows (until a restart); ``gauge`` goes up and down."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One family of figures, by labels. ``_total`` is added to the name of a counter."""

    name: str
    kind: MetricKind
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def render(metrics: Iterable[Metric]) -> str:
    """The whole text, with the end marker."""
    lines: list[str] = []
    for metric in metrics:
        lines += (f"# TYPE {metric.name} {metric.kind}", f"# HELP {metric.name} {_escape(metric.help)}")
        name = f"{metric.name}_total" if metric.kind is MetricKind.COUNTER else metric.name
        for labels, value in metric.samples:
            pairs = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
            lines.append(f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}")
    return "\n".join([*lines, "# EOF", ""])


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
