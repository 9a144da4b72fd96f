"""Real servers for the tests of this folder.

``coturn``          a good server for the whole session: 127.0.0.1 and 127.0.0.2, UDP, TCP, TLS, DTLS, RFC 5780
``start_coturn``    ``start_coturn(CoturnConfig(…))``: one more with a configuration of its own, for one test
``firewalled``      a server whose relay ports are closed for what peers send (root)
``private_relay``   a server on 203.0.113.10 that relays on 10.0.0.5, in a network namespace (root): run the client
                    there with ``private_relay.command([…])``
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from icekit.lab.namespaces import Namespace
from tests.interop.coturn import STANDARD_PORTS, Coturn, CoturnConfig, add_logs, relay_firewall
from tests.requirements import require_netns, require_program, require_root, require_two_loopback_addresses


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    add_logs(report)
    return report


@pytest.fixture(scope="session")
def coturn() -> Iterator[Coturn]:
    require_two_loopback_addresses()
    with Coturn() as server:
        yield server


@pytest.fixture
def start_coturn() -> Iterator[Callable[[CoturnConfig], Coturn]]:
    require_two_loopback_addresses()
    with ExitStack() as stack:
        yield lambda config: stack.enter_context(Coturn(config))


@pytest.fixture
def firewalled(start_coturn: Callable[[CoturnConfig], Coturn]) -> Iterator[Coturn]:
    require_root()
    require_program("nft")
    server = start_coturn(CoturnConfig())
    with relay_firewall(server):
        yield server


@pytest.fixture
def private_relay() -> Iterator[Coturn]:
    require_netns()
    config = CoturnConfig(hosts=("203.0.113.10", "203.0.113.11"), relay_host="10.0.0.5", ports=STANDARD_PORTS)
    with Namespace("relay") as namespace:
        namespace.ip(*(f"addr add {host}/32 dev lo" for host in (*config.hosts, "10.0.0.5")))
        with Coturn(config, command=namespace.command) as server:
            yield server
