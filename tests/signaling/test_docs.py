"""``docs/signaling.md``: its tables have every message and scheme."""

from __future__ import annotations

from pathlib import Path

from icekit import signaling
from icekit.signaling.channel import LINGER, PATIENCE
from icekit.signaling.delivery import DeliveryConfig
from icekit.signaling.message import MAX_MESSAGE, MAX_SDP
from icekit.signaling.own_messages import MEMORY
from icekit.signaling.stdio import GATHERING

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "signaling.md").read_text(encoding="utf-8")


def test_every_message_and_scheme_is_in_a_table() -> None:
    for kind in signaling.Message.__args__:
        assert f"| `{kind.__name__}(" in TEXT
    for scheme in signaling._MODULES:
        assert f"`{scheme}:" in TEXT, scheme


def test_the_figures_are_those_of_the_code() -> None:
    config = DeliveryConfig()
    assert (PATIENCE, LINGER, MEMORY, GATHERING) == (120, 2, 60, 5)
    assert (config.unacked, config.unacked_size, config.silence) == (256, 2**23, 30)
    assert (MAX_MESSAGE, MAX_SDP) == (2**21, 2**20)
