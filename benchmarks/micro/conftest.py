"""What the micro-benchmarks share: the fixture ``beside``, and the table of ratios after the run.

    python -m pytest benchmarks/micro --benchmark-only

pytest-benchmark measures one thing after the other, so its own comparisons are those of two different moments. Here
each round of ours follows one of the rival, both in CPU time of this process, and the ratio is the median of the
rounds' ratios: what else the machine does, and how fast it runs at the moment, then meets both. ``best`` is the ratio
of the two best rounds; where the two differ much, the machine was busy. A missed bar makes the run fail.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Comparison:
    """Microseconds of CPU for one unit of ours and of the rival; ``ratio`` is ours / rival, the smaller the better."""

    name: str
    rival: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    best: float
    bar: float | None

    @property
    def holds(self) -> bool:
        """Whether the ratio is within the bar."""
        return self.bar is None or self.ratio <= self.bar


_compared: list[Comparison] = []

Beside = Callable[..., Comparison]


@pytest.fixture
def beside(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Beside:
    """``beside(ours, theirs, units=…, rival=…, unit=…, bar=…)``: both functions do ``units`` pieces of work."""

    def run(
        ours: Callable[[], object],
        theirs: Callable[[], object],
        *,
        units: int,
        rival: str,
        unit: str,
        bar: float | None = None,
        rounds: int = ROUNDS,
    ) -> Comparison:
        other: list[float] = []

        def round_of_theirs() -> None:
            began = process_time()
            theirs()
            other.append(process_time() - began)

        benchmark.pedantic(ours, setup=round_of_theirs, rounds=rounds, warmup_rounds=1)
        assert benchmark.stats is not None
        mine = benchmark.stats.stats.data
        # The first is the rival's side of the warm-up.
        other = other[-len(mine) :]
        ratio = statistics.median(left / right for left, right in zip(mine, other, strict=True))
        ours_us, theirs_us = (1e6 * statistics.median(column) / units for column in (mine, other))
        name = request.node.name.removeprefix("test_").replace("_", " ")
        found = Comparison(name, rival, unit, ours_us, theirs_us, ratio, min(mine) / min(other), bar)
        benchmark.extra_info.update(rival=rival, unit=unit, ours_us=ours_us, rival_us=theirs_us, ratio=ratio, bar=bar)
        _compared.append(found)
        return found

    # pytest-benchmark takes its timer from a marker or the command line; CPU time is the only one that fits here.
    benchmark._timer = process_time  # noqa: SLF001
    return run


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not all(item.holds for item in _compared):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _compared:
        return
    line = terminalreporter.write_line
    terminalreporter.section("ratios: ours / rival, CPU time, medians of interleaved rounds")
    width = max(len(item.name) for item in _compared)
    line(f"{'':{width}}  {'rival':18} {'unit':10} {'ours µs':>9} {'rival µs':>9} {'ratio':>6} {'best':>6}  bar")
    for item in _compared:
        bar = "" if item.bar is None else f"{item.bar:.2f} {'holds' if item.holds else 'MISSED'}"
        figures = f"{item.ours:9.2f} {item.theirs:9.2f} {item.ratio:6.2f} {item.best:6.2f}"
        line(f"{item.name:{width}}  {item.rival:18} {item.unit:10} {figures}  {bar}")
