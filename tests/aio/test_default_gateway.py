from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.aio.default_gateway import default_gateway, read_routes

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def row(
    gateway: str, *, flags: int = 3, metric: int = 100, destination: str = "00000000", mask: str = "00000000"
) -> str:
    number = int.from_bytes(bytes(map(int, gateway.split("."))), sys.byteorder)
    return f"eth0\t{destination}\t{number:08X}\t{flags:04X}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"


def test_the_lowest_metric_wins() -> None:
    assert read_routes(HEAD + row("192.168.1.1") + row("10.0.0.1", metric=50)) == "10.0.0.1"
    assert read_routes(HEAD + row("192.168.1.1") + row("10.0.0.1")) == "192.168.1.1"


@pytest.mark.skipif(sys.byteorder != "little", reason="the line below is of a little-endian machine")
def test_a_line_of_a_real_table() -> None:
    text = HEAD + "wlp3s0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0  \n"
    assert read_routes(text) == "192.168.1.1"


@pytest.mark.parametrize(
    "line",
    [
        "",
        row("0.0.0.0", flags=1),
        row("192.168.1.1", flags=1),
        row("192.168.1.1", flags=2),
        row("192.168.1.1", destination="0000A8C0", mask="00FFFFFF"),
        row("192.168.1.1", mask="00000080"),
        "eth0\t0\tzz\t3\t0\t0\t1\t0\n",
        "eth0\t0\t1FFFFFFFF\t3\t0\t0\t1\t0\n",
        "eth0\t0\t-1\t3\t0\t0\t1\t0\n",
    ],
)
def test_no_gateway(line: str) -> None:
    assert read_routes(HEAD + line) is None


@given(st.text() | st.builds(HEAD.__add__, st.text("0123456789ABCDEF\t\n -", max_size=200)))
def test_any_text(text: str) -> None:
    found = read_routes(text)
    assert found is None or found.count(".") == 3


def test_the_reason(tmp_path: Path) -> None:
    table = tmp_path / "route"
    assert default_gateway(table, platform="linux") == (None, f"{table}: No such file or directory")
    table.write_text(HEAD)
    assert default_gateway(table, platform="linux") == (None, "there is no IPv4 default route with a gateway")
    table.write_text(HEAD + row("192.168.1.1"))
    assert default_gateway(table, platform="linux") == ("192.168.1.1", "")
    assert default_gateway(table, platform="darwin") == (
        None,
        "the default gateway is looked up on Linux only, this is darwin",
    )
