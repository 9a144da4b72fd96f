"""From a setting to a call, and from what was seen of it to a sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from icekit.bench.call import CallConfig, CallReport
from icekit.bench.engines import OwnEngine
from icekit.bench.limit import direct_is_possible, limits
from icekit.bench.networks import Network, read_network
from icekit.bench.packets import Watch
from icekit.bench.samples import Path, Phase, Sample, Setting

ICE_ONLY: Final = frozenset({"icekit_ice", "aioice", "libnice"})
"""Engines that are ICE without a call on top."""

_PATHS: Final[dict[str, Path]] = {"direct": "direct", "relay": "relay", "none": "none"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """``take`` gets each sample, ``told`` the engines' versions, ``begins`` each condition.

    ``runs`` of each setting. In the laboratory conditions share the time ``until`` (of ``time.monotonic``): one that
    has had its part gets no more than three runs. ``own``: engines that the caller brings, by name; ``refused`` is told
    at once, and once, why one of those does not start.
    """

    runs: int
    seed: int
    take: Callable[[Sample], None]
    told: Callable[[Mapping[str, str]], None] = lambda _: None
    begins: Callable[[Setting], None] = lambda _: None
    until: float = math.inf
    own: Mapping[str, OwnEngine] = field(default_factory=dict)
    refused: Callable[[str], None] = lambda _: None


def by_condition(settings: Sequence[Setting]) -> list[list[Setting]]:
    """Those whose engines can be compared, together."""
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        found.setdefault(setting.condition, []).append(setting)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Observed:
    """What was told, or why there was no call; and what was seen on the wire."""

    report: CallReport | str
    watch: Watch


def call_config(
    setting: Setting, network: Network, server: str, nobody: str, username: str, credential: str
) -> CallConfig:
    """What both are told. ``server`` answers STUN and TURN on port 3478, TURN over TCP on 443; ``nobody`` never."""
    stun = nobody if setting.dead == "stun" else server
    turn = nobody if setting.dead == "turn" else server
    urls = [f"turn:{turn}:3478?transport=udp"]
    if any(network.blocked):
        urls.append(f"turn:{turn}:443?transport=tcp")
    return CallConfig(
        ice_servers=(
            {"urls": [f"stun:{stun}:3478"]},
            {"urls": urls, "username": username, "credential": credential},
        ),
        trickle=setting.trickle,
        relay_only=setting.relay_only or network.relay_only,
        media=setting.media,
        signaling_delay=setting.signaling,
    )


def sample(setting: Setting, run: int, seed: int, observed: Observed) -> Sample:
    """The phases of a call, each with its limit, or the reason why there is no time."""
    ice_only = setting.engine in ICE_ONLY
    report = observed.report
    phases: dict[Phase, float | None] = dict.fromkeys(Phase)
    failure: str | None
    if isinstance(report, str):
        failure = report[:1000]
    else:
        failure = report.failure
        phases |= _told(report, ice_only=ice_only) | _seen(observed.watch, report.began)
        if setting.gathered:
            phases[Phase.RESOLVE] = None
    reasons = {
        phase: _reason(phase, setting, failed=failure is not None, ice_only=ice_only)
        for phase, moment in phases.items()
        if moment is None
    }
    return Sample(
        setting=setting,
        run=run,
        seed=seed,
        phases={phase: None if moment is None else round(moment, 6) for phase, moment in phases.items()},
        limits=limits(setting, ice_only=ice_only),
        path="none" if isinstance(report, str) else _PATHS.get(report.path, "unknown"),
        direct_possible=direct_is_possible(read_network(setting.network)) and not _relay_only(setting),
        same_pair=None if isinstance(report, str) else report.same_pair,
        failure=failure,
        reasons=reasons,
    )


def _relay_only(setting: Setting) -> bool:
    return setting.relay_only or read_network(setting.network).relay_only


def _told(report: CallReport, *, ice_only: bool) -> dict[Phase, float | None]:
    sides = (report.offerer, report.answerer)

    def first(*kinds: str) -> float | None:
        times = [side.told[kind] for side in sides for kind in kinds if kind in side.told]
        return min(times, default=None)

    return {
        Phase.FIRST_CANDIDATE: first("host", "srflx", "prflx", "relay"),
        Phase.SRFLX: first("srflx"),
        Phase.RELAY: first("relay"),
        Phase.OFFER: report.offerer.described,
        Phase.ANSWER: report.answerer.described,
        Phase.FIRST_VALID: report.connected,
        Phase.SELECTED: report.selected,
        Phase.DTLS: report.secured,
        # What the programs without a call on top open is the ICE connection.
        Phase.OPEN: None if ice_only else report.opened,
        Phase.DATA: report.answerer.heard,
        Phase.MEDIA: report.answerer.sounded,
    }


def _seen(watch: Watch, began: float) -> dict[Phase, float | None]:
    moments = {Phase.RESOLVE: watch.to_server, Phase.FIRST_CHECK: watch.first_check}
    return {phase: None if moment is None else max(0.0, moment - began) for phase, moment in moments.items()}


def _reason(phase: Phase, setting: Setting, *, failed: bool, ice_only: bool) -> str:
    if phase is Phase.MEDIA and not setting.media:
        return "no sound was asked for (--media)"
    if ice_only and phase in (Phase.DTLS, Phase.OPEN):
        return f"{setting.engine} is ICE only"
    if phase is Phase.RESOLVE and setting.gathered:
        return "before the call"
    if failed:
        return "not reached"
    if phase in (Phase.SRFLX, Phase.RELAY):
        return "none was told"
    return f"{setting.engine} does not tell it"
