"""Load tests of a real coturn: what it says of allocations and refusals is what we counted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from icekit.cli import app
from tests.interop.coturn import Coturn, CoturnConfig

pytestmark = pytest.mark.interop("turnserver", "turnutils_stunclient")

# A busy machine is no defect of the server.
PATIENT = ["--max-latency", "30000", "--max-loss", "100"]


def load(coturn: Coturn, url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    credentials = ["--username", coturn.username, "--credential", coturn.password]
    result = CliRunner().invoke(app, ["load", url, *credentials, "--yes", "--json", *PATIENT, *arguments])
    assert result.stderr == ""
    return result.exit_code, json.loads(result.stdout)


class Sessions:
    """What coturn's log says since now: a line for each allocation, and for each Refresh with lifetime 0."""

    def __init__(self, coturn: Coturn) -> None:
        self._coturn = coturn
        self._before = len(coturn.log())

    def count(self) -> tuple[int, int]:
        said = self._coturn.log()[self._before :]
        opened = set(re.findall(r"session (\d+): new, realm=", said))
        ended = set(re.findall(r"session (\d+): refreshed, .* lifetime=0\b", said))
        assert ended <= opened
        return len(opened), len(ended)

    async def become(self, opened: int, ended: int) -> None:
        """It writes its log when it has answered."""
        async with asyncio.timeout(20):
            while self.count() != (opened, ended):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_every_allocation_is_opened_and_released(
    coturn: Coturn, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(coturn.ca_file))
    url = coturn.turns_uri() if transport == "tls" else coturn.turn_uri(transport)
    sessions = Sessions(coturn)
    code, document = load(coturn, url, "--allocations", "8", "--rate", "20", "--duration", "0.5")
    asyncio.run(sessions.become(8, 8))
    assert (code, document["verdict"]["code"], document["held"]) == (0, "OK", 8)
    assert (document["opened"], document["released"], document["unconfirmed"]) == (8, 8, 0)
    (step,) = document["steps"]
    assert step["sent"] + step["unsent"] == 80
    assert 0 < step["received"] <= step["sent"]
    assert step["latency"]["p50"] > 0


@pytest.mark.parametrize(("option", "open_ones"), [("user-quota=7", 7), ("total-quota=7", 7)])
def test_a_ramp_until_the_quota(start_coturn: Callable[[CoturnConfig], Coturn], option: str, open_ones: int) -> None:
    coturn = start_coturn(CoturnConfig(options=(option,)))
    sessions = Sessions(coturn)
    arguments = ["--ramp", "--allocations", "3", "--rate", "10", "--duration", "0.2"]
    code, document = load(coturn, coturn.turn_uri(), *arguments)
    asyncio.run(sessions.become(open_ones, open_ones))
    limit = document["limit"]
    assert (code, document["held"], limit["kind"], limit["code"]) == (0, 6, "refused", 486)
    assert limit["allocations"] == document["opened"] == document["released"] == open_ones
    assert f"with {open_ones} allocations open the server refused another one (486" in document["verdict"]["summary"]
    assert [finding["code"] for finding in document["findings"]] == ["TURN-486"]


def test_relay_ports_run_out(start_coturn: Callable[[CoturnConfig], Coturn]) -> None:
    coturn = start_coturn(CoturnConfig(relay_ports=6))
    code, document = load(coturn, coturn.turn_uri(), "--allocations", "20", "--rate", "10", "--duration", "0.2")
    assert (code, document["verdict"]["code"], document["limit"]["code"]) == (1, "REFUSED", 508)
    assert document["opened"] == document["released"] > 0


def test_a_server_that_does_not_relay_to_us(start_coturn: Callable[[CoturnConfig], Coturn]) -> None:
    coturn = start_coturn(CoturnConfig(denied_peers=("127.0.0.1",)))
    sessions = Sessions(coturn)
    code, document = load(coturn, coturn.turn_uri(), "--allocations", "2", "--duration", "0.2")
    assert (code, document["verdict"]["code"], document["limit"]["code"]) == (1, "NO-PATH", 403)
    assert [finding["code"] for finding in document["findings"]] == ["TURN-403"]
    asyncio.run(sessions.become(document["opened"], document["released"]))
    assert document["unconfirmed"] == 0
