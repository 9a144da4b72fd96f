"""docs/watch.md: its file can be read, and its metrics and alerts name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from icekit.watch.fleet_file import read_fleet
from icekit.watch.metrics import FleetMetrics
from tests.watch.test_metrics import ANSWER, BAD, GOOD

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "watch.md").read_text("utf-8")


def test_the_example_is_a_fleet(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "fleet.toml").write_text(example)
    (tmp_path / "password.txt").write_text("correct horse\n")
    fleet = read_fleet(tmp_path / "fleet.toml", {"TURN_SECRET": "shared"})
    assert [server.name for server in fleet.servers] == [
        "frankfurt",
        "turn:203.0.113.10?transport=udp",
        "stun:stun.example.org",
    ]


def test_every_metric_is_described_and_every_alert_is_about_one() -> None:
    metrics = FleetMetrics()
    for result in (BAD, ANSWER, GOOD):
        metrics.add(result)
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in metrics.collect()}
    assert set(re.findall(r"\bicekit_[a-z_]+", PAGE)) == names
    alerts = (DOCS / "icekit-alerts.yml").read_text("utf-8")
    assert set(re.findall(r"\bicekit_[a-z_]+", alerts)) <= names
