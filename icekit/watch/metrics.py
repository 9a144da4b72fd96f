"""The state of a fleet as Prometheus metrics; every label value is one that ``icekit probe`` prints, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from icekit.errors import MissingExtra
from icekit.watch.fleet import ServerResult

try:
    from prometheus_client import start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.openmetrics.exposition import generate_latest
    from prometheus_client.registry import Collector, CollectorRegistry
except ImportError:
    raise MissingExtra("icekit watch", "metrics") from None

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["FleetMetrics", "start_http_server"]


class FleetMetrics(Collector):
    """Remembers the last result of each server; ``collect`` may be called from another thread."""

    def __init__(self) -> None:
        self._last: dict[str, ServerResult] = {}
        self._checks: Counter[tuple[str, str, str]] = Counter()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def add(self, result: ServerResult) -> None:
        """Take a result."""
        name = result.server.name
        self._last[name] = result
        self._checks[name, str(result.server.uri), result.code] += 1

    def openmetrics(self) -> str:
        """The metrics as OpenMetrics text."""
        text: bytes = generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text.decode()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        results = list(self._last.values())
        yield _gauge("icekit_up", "1 if every stage of the last check passed", results, lambda item: float(item.ok))
        yield _verdicts(results)
        yield from _stages(results)
        yield _gauge("icekit_check_duration_seconds", "Time of the last check", results, lambda item: item.seconds)
        yield _gauge("icekit_last_check_timestamp_seconds", "When the last check ended", results, lambda item: item.at)
        yield _gauge("icekit_rtt_seconds", "Round trip to the server; of a relay through it and back", results, _rtt)
        yield _gauge(
            "icekit_certificate_expiry_timestamp_seconds",
            "Until when the certificate is valid",
            results,
            lambda item: item.certificate_expires,
        )
        yield _gauge(
            "icekit_credential_expiry_timestamp_seconds",
            "Until when a time-limited user name of the fleet file is valid",
            results,
            lambda item: item.credentials_expire,
        )
        checks = CounterMetricFamily("icekit_checks", "Checks by their code", labels=[*_LABELS, "code"])
        for (name, url, code), count in list(self._checks.items()):
            checks.add_metric([name, url, code], count)
        yield checks


_LABELS = ("name", "url")


def _labels(result: ServerResult) -> tuple[str, str]:
    return result.server.name, str(result.server.uri)


def _rtt(result: ServerResult) -> float | None:
    if result.turn is not None:
        return result.turn.rtt
    return None if result.stun is None else result.stun.rtt


def _gauge(
    name: str, text: str, results: Sequence[ServerResult], value_of: Callable[[ServerResult], float | None]
) -> GaugeMetricFamily:
    """One value per server; none where it was not measured."""
    family = GaugeMetricFamily(name, text, labels=_LABELS)
    for item in results:
        if (value := value_of(item)) is not None:
            family.add_metric(_labels(item), value)
    return family


def _verdicts(results: Sequence[ServerResult]) -> GaugeMetricFamily:
    text = "Code and cause of the last check, as icekit turn prints them"
    family = GaugeMetricFamily("icekit_verdict", text, labels=[*_LABELS, "code", "cause"])
    for item in results:
        family.add_metric([*_labels(item), item.code, item.cause], 1.0)
    return family


def _stages(results: Sequence[ServerResult]) -> Iterator[Metric]:
    passed = GaugeMetricFamily(
        "icekit_stage_passed", "1 if the stage passed, 0 if the check ended there", labels=[*_LABELS, "stage"]
    )
    seconds = GaugeMetricFamily("icekit_stage_seconds", "How long the stage took", labels=[*_LABELS, "stage"])
    for item in results:
        for stage in () if item.turn is None else item.turn.stages:
            passed.add_metric([*_labels(item), stage.name], float(stage.ok))
            seconds.add_metric([*_labels(item), stage.name], stage.seconds)
    yield passed
    yield seconds
