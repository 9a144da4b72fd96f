from __future__ import annotations

from dataclasses import replace

import pytest

from icekit.bench.call import CallReport, SideReport
from icekit.bench.lines import PairEnd
from icekit.bench.measure import Observed, by_condition, call_config, sample
from icekit.bench.networks import read_network
from icekit.bench.packets import Watch
from icekit.bench.samples import Phase, Setting

SETTING = Setting(engine="icekit", network="port-restricted", rtt=0.05, medium="lab")
HOST = PairEnd(kind="host", address="192.0.2.1", port=5000)
SIDE = SideReport(
    engine="icekit",
    version="1",
    described=0.01,
    told={"host": 0.02, "srflx": 0.07},
    connected=0.1,
    selected=0.11,
    secured=0.2,
    opened=0.3,
    heard=0.35,
    sounded=None,
    local=HOST,
    remote=HOST,
    relays=frozenset(),
)
OTHER = replace(SIDE, described=0.02, told={"srflx": 0.06, "relay": 0.12}, connected=0.12, selected=0.11, heard=0.31)
REPORT = CallReport(offerer=SIDE, answerer=OTHER, began=100.0, failure=None)
NO_SOUND = {Phase.MEDIA: "no sound was asked for (--media)"}
WATCH = Watch(servers=(), to_server=100.005, first_check=100.03)


def test_the_phases_of_a_call() -> None:
    found = sample(SETTING, 2, 7, Observed(REPORT, WATCH))
    assert {phase: found.phases[phase] for phase in Phase} == {
        Phase.RESOLVE: 0.005,
        Phase.FIRST_CANDIDATE: 0.02,
        Phase.SRFLX: 0.06,
        Phase.RELAY: 0.12,
        Phase.OFFER: 0.01,
        Phase.ANSWER: 0.02,
        Phase.FIRST_CHECK: 0.03,
        Phase.FIRST_VALID: 0.12,
        Phase.SELECTED: 0.11,
        Phase.DTLS: 0.2,
        Phase.OPEN: 0.3,
        Phase.DATA: 0.31,
        Phase.MEDIA: None,
    }
    assert (found.run, found.seed, found.path, found.same_pair) == (2, 7, "direct", True)
    assert (found.direct_possible, found.failure, found.reasons) == (True, None, NO_SOUND)
    assert found.limits[Phase.FIRST_VALID] == pytest.approx(0.1)


def test_a_call_with_sound() -> None:
    setting = replace(SETTING, media=True)
    found = sample(setting, 0, 1, Observed(replace(REPORT, answerer=replace(OTHER, sounded=0.25)), WATCH))
    assert (found.phases[Phase.DATA], found.phases[Phase.MEDIA], found.reasons) == (0.31, 0.25, {})
    assert found.limits[Phase.MEDIA] < found.limits[Phase.DATA]
    # What the offering side hears is not what the answering one does.
    deaf = replace(REPORT, offerer=replace(SIDE, sounded=0.2), failure="no sound after 8 s")
    found = sample(setting, 0, 1, Observed(deaf, WATCH))
    assert (found.phases[Phase.MEDIA], found.reasons) == (None, {Phase.MEDIA: "not reached"})


def test_what_is_not_told_has_a_reason() -> None:
    silent = replace(SIDE, told={}, selected=None, secured=None)
    found = sample(SETTING, 0, 1, Observed(replace(REPORT, offerer=silent, answerer=silent), Watch(servers=())))
    assert found.reasons == {
        Phase.RESOLVE: "icekit does not tell it",
        Phase.FIRST_CANDIDATE: "icekit does not tell it",
        Phase.SRFLX: "none was told",
        Phase.RELAY: "none was told",
        Phase.FIRST_CHECK: "icekit does not tell it",
        Phase.SELECTED: "icekit does not tell it",
        Phase.DTLS: "icekit does not tell it",
        **NO_SOUND,
    }


def test_a_call_that_fails() -> None:
    for failed in (replace(REPORT, failure="no echo after 8 s", answerer=replace(OTHER, heard=None)), "it has ended"):
        found = sample(SETTING, 0, 1, Observed(failed, WATCH))
        assert found.failure in ("no echo after 8 s", "it has ended")
        assert found.path == "none"
        assert (found.phases[Phase.DATA], found.reasons[Phase.DATA]) == (None, "not reached")


def test_ice_alone_has_no_dtls() -> None:
    setting = replace(SETTING, engine="aioice", gathered=True, medium="sim")
    alone = replace(SIDE, secured=None)
    found = sample(setting, 0, 1, Observed(replace(REPORT, offerer=alone, answerer=alone), WATCH))
    assert found.phases[Phase.OPEN] is found.phases[Phase.DTLS] is found.phases[Phase.RESOLVE] is None
    assert found.reasons == {
        Phase.RESOLVE: "before the call",
        Phase.RELAY: "none was told",
        Phase.DTLS: "aioice is ICE only",
        Phase.OPEN: "aioice is ICE only",
        **NO_SOUND,
    }
    assert Phase.OPEN not in found.limits


@pytest.mark.parametrize("network", ["relay-only", "symmetric--port-restricted"])
def test_where_direct_is_not_possible(network: str) -> None:
    assert not sample(replace(SETTING, network=network), 0, 1, Observed(REPORT, WATCH)).direct_possible


def test_what_both_sides_are_told() -> None:
    def told(**change: object) -> tuple[list[str], bool, bool, float]:
        setting = replace(SETTING, **change)  # type: ignore[arg-type]
        config = call_config(setting, read_network(setting.network), "192.0.2.1", "192.0.2.9", "alice", "secret")
        urls = [url for server in config.ice_servers for url in server["urls"]]
        return urls, config.trickle, config.relay_only, config.signaling_delay

    stun, turn, tcp = "stun:192.0.2.1:3478", "turn:192.0.2.1:3478?transport=udp", "turn:192.0.2.1:443?transport=tcp"
    assert told() == ([stun, turn], True, False, 0.0)
    assert told(dead="stun", trickle=False)[:2] == ([stun.replace(".1:", ".9:"), turn], False)
    assert told(dead="turn", signaling=0.1)[::3] == ([stun, turn.replace(".1:", ".9:")], 0.1)
    assert told(network="udp-blocked--open")[0] == [stun, turn, tcp]
    assert not call_config(SETTING, read_network("host"), "", "", "", "").media
    assert call_config(replace(SETTING, media=True), read_network("host"), "", "", "", "").media
    assert told(network="relay-only")[2] is told(relay_only=True)[2] is True


def test_engines_of_one_condition_are_together() -> None:
    settings = [replace(SETTING, engine=engine, rtt=rtt) for engine in ("a", "b") for rtt in (0.0, 0.3)]
    assert by_condition(settings) == [settings[::2], settings[1::2]]
