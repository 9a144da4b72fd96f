"""The numbers of the RFCs, and what the docstrings promise of their order."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from icekit.ice_config import IceConfig


def test_the_defaults_are_those_of_the_rfcs() -> None:
    config = IceConfig()
    # RFC 7675 §5.1, RFC 8863 §4, RFC 8445 §6.1.2.5.
    assert (config.consent_interval, config.consent_timeout) == (5.0, 30.0)
    assert config.patience == 39.5
    assert config.max_pairs == 100
    # RFC 8445 §14.2: no agent of ours is faster than this.
    assert config.ta >= 0.005
    assert config.quiet < config.disconnected_after < config.consent_timeout


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        IceConfig().ta = 0.0  # type: ignore[misc]
