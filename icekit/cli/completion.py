"""What a shell offers after the tab key: codes, NATs, keys of a scenario, engines. An empty list means files."""

from __future__ import annotations

# Each loads what it needs by itself: commands that run never call these.


def codes(incomplete: str) -> list[str]:
    """Codes of findings. Nothing for nothing, because most people explain a file."""
    from icekit.catalogue import CODES

    return [code for code in CODES if incomplete and code.startswith(incomplete.upper())]


def presets(incomplete: str) -> list[str]:
    """Names of simulated NATs."""
    from icekit.nat_presets import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def preset_pairs(incomplete: str) -> list[str]:
    """Two names with an x between them; nothing for nothing, because a scenario may be a file."""
    from icekit.nat_presets import PRESETS

    pairs = (f"{a}x{b}" for a in PRESETS for b in PRESETS)
    return [pair for pair in pairs if incomplete and pair.startswith(incomplete)]


def lab_nats(incomplete: str) -> list[str]:
    """Names of the laboratory's NATs, the last one of a chain that is written with ``+``."""
    from icekit.lab.kernel_nat import KernelNat
    from icekit.lab.tun_lab import KERNEL
    from icekit.nat_presets import PRESETS

    chain, plus, last = incomplete.rpartition("+")
    names = (*PRESETS, *(f"{KERNEL}{nat}" for nat in KernelNat))
    return [f"{chain}{plus}{name}" for name in names if name.startswith(last)]


def scenario_settings(incomplete: str) -> list[str]:
    """Keys of a scenario, with their values where these are words."""
    from dataclasses import fields

    from icekit.sim.scenario import Engine, Scenario, StunServer, TurnServer

    words = {"engine": Engine, "stun": StunServer, "turn": TurnServer}
    known = [f"{item.name}={word}" for item in fields(Scenario) for word in words.get(item.name, ("",))]
    return [text for text in known if text.startswith(incomplete)]


def engines(incomplete: str) -> list[str]:
    """Engines of a call."""
    return [name for name in ("icekit", "aioice") if name.startswith(incomplete)]


def requirements(incomplete: str) -> list[str]:
    """What ``--require`` can ask for."""
    from icekit.verdict import Requirement

    return [item.value for item in Requirement if item.value.startswith(incomplete)]


def bench_engines(incomplete: str) -> list[str]:
    """Engines of a benchmark."""
    from icekit.bench.engines import ENGINES

    return [name for name in ENGINES if name.startswith(incomplete)]


def bench_networks(incomplete: str) -> list[str]:
    """Networks of a benchmark; after dashes the NAT of the other side."""
    from icekit.bench.networks import BETWEEN, NETWORKS
    from icekit.nat_presets import PRESETS

    first, dashes, last = incomplete.partition(BETWEEN)
    names = {**NETWORKS, **PRESETS}
    if dashes:
        return [f"{first}{dashes}{name}" for name in PRESETS if name.startswith(last)]
    return [name for name in names if name.startswith(incomplete)]
