"""What is measured: every combination of what was asked for, and the full comparison."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from icekit.bench import simulated
from icekit.bench.engines import ENGINES
from icekit.bench.limit import direct_is_possible
from icekit.bench.measure import ICE_ONLY
from icekit.bench.networks import NETWORKS, read_network
from icekit.bench.samples import Dead, Medium, Setting
from icekit.errors import ConfigError

RTTS: Final = (0.0, 0.05, 0.3)

# Seconds: of a call, and for each second of a round trip; of the programs of a laboratory until they are ready.
_SIMULATED, _REAL, _ROUND_TRIPS, _BUILT = 0.1, 0.7, 10.0, 15.0
# Round trips with 25 ms one way, and none.
_COMPARED = (0.0, 0.05)
_LOSSES = (0.05, 0.2)
# One relay or two, it takes as long; and where an engine never connects, every try costs all the time it has.
_ONLY_SIMULATED, _SLOW = ("symmetric--symmetric",), ("udp-blocked--open",)
# Where a fifth is lost a call of theirs takes five to fifteen seconds, with sound as without.
_SLOW_ENGINES = ("aiortc", "libdatachannel")


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Settings that are measured ``runs`` times each.

    ``seconds``: a condition that has had its part of them gets no more than three runs.
    """

    settings: tuple[Setting, ...]
    runs: int
    seconds: float | None = None


def combine(
    *,
    medium: Medium,
    engines: Sequence[str] = (),
    networks: Sequence[str] = (),
    rtts: Sequence[float] = (0.05,),
    trickle: Sequence[bool] = (True,),
    relay_only: bool = False,
    dead: Sequence[Dead | None] = (None,),
    losses: Sequence[float] = (0.0,),
    signaling: Sequence[float] = (0.0,),
    gathered: bool = False,
    media: bool = False,
    own: Collection[str] = (),
) -> tuple[Setting, ...]:
    """All combinations, those of one condition together. No engines: those that can; no networks: all with a name.

    ``own``: names of engines that the caller brings.

    ConfigError for what there is not, and for an engine that was named and cannot do it.
    """
    places = [read_network(name) for name in networks] or list(NETWORKS.values())
    check_engines(name for name in engines if name not in own)
    found: list[Setting] = []
    for place, rtt, tells, gone, loss, delay in itertools.product(places, rtts, trickle, dead, losses, signaling):
        condition = Setting(
            engine="",
            network=place.name,
            rtt=rtt,
            medium=medium,
            trickle=tells,
            relay_only=relay_only or place.relay_only,
            dead=gone,
            loss=loss,
            signaling=delay,
            gathered=gathered,
            media=media,
        )
        names = engines or default_engines(medium, whole=media)
        all_engines = [replace(condition, engine=engine) for engine in names]
        if medium == "sim" and not engines and not media:
            all_engines = [setting for setting in all_engines if simulated.reason_against(setting) is None]
        found += all_engines
    if medium == "sim":
        for setting in found:
            simulated.check(setting)
    return tuple(found)


def check_engines(names: Iterable[str]) -> None:
    """ConfigError names what there is."""
    for name in names:
        if name not in ENGINES:
            raise ConfigError(f"there is no engine {name[:60]!r}; there are {', '.join(ENGINES)}, and NAME=COMMAND")


def default_engines(medium: Medium, *, whole: bool = False) -> tuple[str, ...]:
    """All that this machine has; ``whole``: that make whole calls."""
    names = simulated.ENGINES if medium == "sim" else [name for name in ENGINES if why_not(name) is None]
    return tuple(name for name in names if not whole or name not in ICE_ONLY)


def why_not(engine: str) -> str | None:
    """Why an engine cannot run here, in a sentence; ``None``: it can."""
    try:
        ENGINES[engine].command()
    except ConfigError as error:
        return str(error)
    return None


def comparison(*, runs: int, laboratory: bool, seconds: float) -> tuple[Share, ...]:
    """Everything: all engines on all networks, every condition once; ``seconds``: for the laboratory."""
    return (*_simulated(), *([_laboratory(runs, seconds)] if laboratory else ()))


def _simulated() -> Iterator[Share]:
    # Elsewhere nothing works without a relay.
    direct = [name for name, place in NETWORKS.items() if direct_is_possible(place) and not place.relay_only]
    changed = (
        *combine(medium="sim", rtts=RTTS, trickle=(True, False)),
        *combine(medium="sim", dead=("stun", "interface")),
        *combine(medium="sim", networks=direct, dead=("turn",)),
        *combine(medium="sim", signaling=(0.05,)),
        *combine(medium="sim", gathered=True),
    )
    # Without loss every run is the same: what is drawn anew, such as ports, changes no time.
    yield Share(settings=changed, runs=1)
    yield Share(settings=combine(medium="sim", losses=_LOSSES), runs=20)


def _laboratory(runs: int, seconds: float) -> Share:
    """What the simulator cannot tell: all engines on real sockets, and whole calls of them under loss."""
    calls = default_engines("lab", whole=True)
    quick = [engine for engine in calls if engine not in _SLOW_ENGINES]
    behind = "port-restricted"
    others = [name for name in NETWORKS if name not in (behind, *_ONLY_SIMULATED, *_SLOW)]
    return Share(
        settings=(
            *combine(medium="lab", networks=[*others, behind], rtts=_COMPARED),
            *combine(medium="lab", networks=[behind], trickle=[False]),
            *combine(medium="lab", networks=[behind], rtts=[RTTS[-1]]),
            *combine(medium="lab", networks=[behind], engines=calls, losses=_LOSSES[:1]),
            *combine(medium="lab", networks=[behind], engines=calls, dead=["stun"]),
            *combine(medium="lab", networks=[behind], engines=calls, losses=(0.0, *_LOSSES[:1]), media=True),
            *combine(medium="lab", networks=[behind], engines=quick, losses=_LOSSES[1:], media=True),
            *combine(medium="lab", networks=[behind], engines=calls, losses=_LOSSES[1:]),
            *combine(medium="lab", networks=_SLOW),
            *combine(medium="lab", networks=[behind], engines=calls, dead=["interface"]),
        ),
        runs=runs,
        seconds=seconds,
    )


def seconds_of(shares: Iterable[Share]) -> dict[str, float]:
    """About how long each condition takes, in their order."""
    found: dict[str, float] = {}
    for share in shares:
        taken: dict[str, float] = {}
        built: set[tuple[str, bool]] = set()
        for setting in share.settings:
            real = setting.medium == "lab"
            laboratory = (setting.network, setting.dead == "interface")
            start = _BUILT if real and laboratory not in built else 0.0
            built.add(laboratory)
            call = _REAL + _ROUND_TRIPS * setting.rtt if real else _SIMULATED
            taken[setting.condition] = taken.get(setting.condition, 0.0) + start + call * share.runs
        whole = sum(taken.values())
        part = 1.0 if share.seconds is None or not whole else min(1.0, share.seconds / whole)
        found |= {condition: seconds * part for condition, seconds in taken.items()}
    return found


def estimate(shares: Iterable[Share]) -> float:
    """Seconds that it may take."""
    return sum(seconds_of(shares).values())
