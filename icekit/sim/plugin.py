"""The pytest plugin: ``simulated_internet``, a seeded Internet for tests of peer-to-peer programs.

::

    def test_two_of_us_meet(simulated_internet):
        net = simulated_internet
        alice, bob = net.host("alice", nat="port-restricted"), net.host("bob", nat="symmetric")
        net.run(meet(alice, bob))

    @pytest.mark.simulated_internet(link=Link(delay=0.02, loss=0.05))
    @pytest.mark.parametrize("simulated_internet", range(20), indirect=True)   # twenty seeds
    def test_they_meet_with_loss(simulated_internet): …

A test that fails shows the seed and the last packets.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from icekit.sim.internet import Internet

_LAST_PACKETS = 40

_INTERNET = pytest.StashKey[Internet]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "simulated_internet(**keywords): how the fixture of that name makes its icekit.sim.Internet"
    )


@pytest.fixture
def simulated_internet(request: pytest.FixtureRequest) -> Internet:
    """A new ``icekit.sim.Internet`` for this test, with a timeline.

    The seed is 0, that of the marker, or what the test is parametrized with (``indirect=True``).
    """
    keywords: dict[str, Any] = {"timeline": True}
    marker = request.node.get_closest_marker("simulated_internet")
    if marker is not None:
        keywords |= marker.kwargs
    if hasattr(request, "param"):
        keywords["seed"] = request.param
    internet = request.node.stash[_INTERNET] = Internet(**keywords)
    return internet


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what it takes to repeat it."""
    report = yield
    internet = item.stash.get(_INTERNET, None)
    if internet is not None and report.when == "call" and report.failed:
        records = () if internet.timeline is None else internet.timeline.records[-_LAST_PACKETS:]
        lines = [f"seed {internet.seed}, {internet.now:.6f} s of virtual time", *map(str, records)]
        report.sections.append(("Simulated Internet", "\n".join(lines)))
    return report
