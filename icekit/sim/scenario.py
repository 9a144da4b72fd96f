"""A call between two peers, described in a few lines: ``Scenario.from_toml`` reads it, ``icekit.sim.runner`` runs it.

::

    engine = "aioice"
    a = "port-restricted"
    b = "symmetric"
    turn = "udp"
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, ClassVar

from icekit.errors import ConfigError
from icekit.nat_presets import PRESETS
from icekit.report import PathKind

_MOST_MS, _MOST_INTERFACES, _MOST_SEED = 60_000, 16, 2**63 - 1


class Engine(StrEnum):
    """Which ICE both peers run: icekit's with trickle, or aioice as aiortc drives it, without."""

    ICEKIT = "icekit"
    AIOICE = "aioice"


class StunServer(StrEnum):
    """The STUN server that both peers know; ``dead`` never answers."""

    ALIVE = "alive"
    DEAD = "dead"
    NONE = "none"


class TurnServer(StrEnum):
    """The TURN server that both peers know: over UDP (port 3478), over TCP (port 443), one that never answers."""

    NONE = "none"
    UDP = "udp"
    TCP = "tcp"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Two peers, what lies between them, and when they begin. Times in milliseconds; ConfigError names a wrong key.

    ``a``, ``b``        the NAT preset of each; A offers and is controlling
    ``direct_rtt_ms``   round trip between the peers, ``server_rtt_ms`` to the servers, ``signaling_rtt_ms`` of the
                        signaling, which loses nothing
    ``jitter_ms``       at most this much more, each way; ``loss``: probability, each way
    ``skew_ms``         what A tells reaches B this much later; negative: what B tells reaches A later
    ``dead_interfaces`` addresses of each peer from which nothing can be reached (a bridge for containers, a dead VPN)
    ``seed``            equal seeds give equal runs
    """

    engine: Engine = Engine.ICEKIT
    a: str = "open"
    b: str = "open"
    stun: StunServer = StunServer.ALIVE
    turn: TurnServer = TurnServer.NONE
    direct_rtt_ms: float = 40.0
    server_rtt_ms: float = 30.0
    signaling_rtt_ms: float = 60.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    skew_ms: float = 0.0
    dead_interfaces: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("engine", Engine), ("stun", StunServer), ("turn", TurnServer)):
            object.__setattr__(self, name, _one_of(name, getattr(self, name), kind))
        for name in ("a", "b"):
            value = getattr(self, name)
            fits = isinstance(value, str) and value in PRESETS
            _check(name, value, f"a NAT preset: {', '.join(PRESETS)}", fits)
        for name in ("direct_rtt_ms", "server_rtt_ms", "signaling_rtt_ms", "jitter_ms"):
            self._check_number(name, 0, _MOST_MS)
        self._check_number("skew_ms", -_MOST_MS, _MOST_MS)
        self._check_number("loss", 0, 1)
        self._check_number("dead_interfaces", 0, _MOST_INTERFACES, whole=True)
        self._check_number("seed", 0, _MOST_SEED, whole=True)

    def _check_number(self, name: str, least: float, most: float, *, whole: bool = False) -> None:
        value = getattr(self, name)
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        what = "a whole number" if whole else "a number"
        _check(name, value, f"{what} from {least} to {most}", fits and math.isfinite(value) and least <= value <= most)

    @classmethod
    def from_toml(cls, text: str) -> Scenario:
        """Read the text of a scenario file; what it does not mention is as in ``Scenario()``."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"scenario: this is not TOML: {error}") from None
        return cls().changed(table)

    def changed(self, values: Mapping[str, Any]) -> Scenario:
        """The same with other values; ConfigError for a key that there is not."""
        names = [item.name for item in fields(self)]
        for name in values:
            if name not in names:
                raise ConfigError(f"scenario: there is no key {name!r}; allowed: {', '.join(names)}")
        return replace(self, **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerOutcome:
    """What became of one peer. Milliseconds since A began; ``None``: that never happened.

    ``local``, ``remote``  kinds of the candidates of the pair that it uses, as it names them
    ``relayed``            whether that pair goes through the TURN server
    ``gathered_ms``        the last candidate was known, or given up; ``connected_ms``: data may flow;
                           ``settled_ms``: the pair is nominated
    ``failure``            why it did not connect
    """

    local: str | None = None
    remote: str | None = None
    relayed: bool | None = None
    gathered_ms: float | None = None
    connected_ms: float | None = None
    settled_ms: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a call.

    ``path``      ``direct``, ``relay`` (where data goes through a relay in either direction) or ``none``
    ``split``     one peer sends through a relay and the other one does not
    ``timeline``  the fate of every packet, a line each; ``None`` unless asked for
    """

    scenario: Scenario
    path: PathKind
    split: bool
    a: PeerOutcome
    b: PeerOutcome
    timeline: tuple[str, ...] | None = None

    _schema: ClassVar = "icekit/sim/1"


def _one_of(name: str, value: Any, kind: type[StrEnum]) -> StrEnum:
    words = [item.value for item in kind]
    _check(name, value, ", ".join(words), isinstance(value, str) and value in words)
    return kind(value)


def _check(name: str, value: Any, allowed: str, fits: bool) -> None:
    if not fits:
        raise ConfigError(f"scenario: {name} is {str(value)[:60]!r}; allowed: {allowed}")
