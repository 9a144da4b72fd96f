from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from icekit.bench.samples import (
    DEAD,
    MEDIUMS,
    PATHS,
    SCHEMA,
    Header,
    Phase,
    Results,
    Sample,
    Setting,
    read_results,
    write_header,
    write_results,
    write_sample,
)
from icekit.errors import DecodeError

SETTING = Setting(engine="icekit", network="port-restricted", rtt=0.05, medium="sim")
SAMPLE = Sample(
    setting=SETTING,
    run=0,
    seed=1,
    phases={Phase.OFFER: 0.001, Phase.DTLS: None},
    limits={Phase.OFFER: 0.0},
    path="direct",
    direct_possible=True,
    same_pair=True,
    failure=None,
    reasons={Phase.DTLS: "ICE only"},
)
HEADER = Header(
    commit="96bd15b",
    python="3.11.7",
    machine="x86_64",
    cores=2,
    date="2026-11-22T14:00:00+00:00",
    seed=1,
    versions={"icekit": "0.1"},
    command="icekit bench",
)

texts = st.text(max_size=40)
seconds = st.floats(0, 1e6)
wholes = st.integers(0, 2**63 - 1)
phases = st.sampled_from(list(Phase))
settings = st.builds(
    Setting,
    engine=texts,
    network=texts,
    rtt=seconds,
    medium=st.sampled_from(MEDIUMS),
    trickle=st.booleans(),
    relay_only=st.booleans(),
    dead=st.none() | st.sampled_from(DEAD),
    loss=st.floats(0, 1),
    signaling=seconds,
    gathered=st.booleans(),
    media=st.booleans(),
)
samples = st.builds(
    Sample,
    setting=settings,
    run=wholes,
    seed=wholes,
    phases=st.dictionaries(phases, st.none() | seconds),
    limits=st.dictionaries(phases, seconds),
    path=st.sampled_from(PATHS),
    direct_possible=st.booleans(),
    same_pair=st.none() | st.booleans(),
    failure=st.none() | texts,
    reasons=st.dictionaries(phases, texts),
)
headers = st.builds(
    Header,
    commit=texts,
    python=texts,
    machine=texts,
    cores=wholes,
    date=texts,
    seed=wholes,
    versions=st.dictionaries(texts, texts, max_size=5),
    command=texts,
    schema=st.just(SCHEMA),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def _complaint(text: str, otherwise: str = "line ") -> str:
    """What is said against a text, or ``otherwise``."""
    try:
        read_results(text)
    except DecodeError as error:
        return str(error)
    return otherwise


@examples(max_examples=40)
@given(headers, st.lists(samples, max_size=3))
def test_what_is_written_is_read(header: Header, found: list[Sample]) -> None:
    results = Results(header=header, samples=tuple(found))
    text = write_results(results)
    assert text.count("\n") == 1 + len(found)
    assert text.isascii()
    assert read_results(text) == results


@examples(max_examples=60)
@given(st.text() | st.lists(json_values).map(lambda values: "\n".join(map(json.dumps, values))))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert _complaint(text).startswith("line ")


def _with(line: str, path: tuple[str, ...], value: Any) -> str:
    fields = json.loads(line)
    place = fields
    for name in path[:-1]:
        place = place[name]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(fields)


@given(json_values | st.just(...), st.data())
def test_a_wrong_field_is_named_with_its_line(value: Any, data: st.DataObject) -> None:
    paths = [(name,) for name in json.loads(write_sample(SAMPLE))]
    paths += [("setting", name) for name in json.loads(write_sample(SAMPLE))["setting"]] + [("phases", "offer")]
    path = data.draw(st.sampled_from(paths))
    text = write_header(HEADER) + write_sample(SAMPLE) + "\n" + _with(write_sample(SAMPLE), path, value)
    assert _complaint(text, "line 4: " + ".".join(path)).startswith("line 4: " + ".".join(path))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("run",), 1.5, "line 2: run: a whole number from 0 is wanted"),
        (("run",), ..., "line 2: run: a whole number is wanted, there is nothing"),
        (("path",), "both", "line 2: path: one of direct, relay, none, unknown is wanted, not 'both'"),
        (("setting", "loss"), 20, "line 2: setting.loss: a share from 0 to 1 is wanted"),
        (("setting", "dead"), "dns", "line 2: setting.dead: one of stun, turn, interface is wanted, not 'dns'"),
        (("phases", "offer"), True, "line 2: phases.offer: seconds from 0 to 1000000 is wanted"),
        (("limits", "offer"), None, "line 2: limits.offer: seconds from 0 to 1000000 is wanted"),
        (("setting",), [], "line 2: setting: an object is wanted"),
    ],
)
def test_what_is_said(path: tuple[str, ...], value: Any, said: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_results(write_header(HEADER) + _with(write_sample(SAMPLE), path, value))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: a header is wanted, there is nothing"),
        ("[]", "line 1: a JSON object is wanted"),
        ("{", "line 1: no JSON: "),
        ('{"schema": "icekit/probe/1"}', "line 1: schema: 'icekit/bench/2' is wanted, not 'icekit/probe/1'"),
        ('{"schema": "icekit/bench/1"}', "line 1: schema: 'icekit/bench/1' is an older icekit's, 'icekit/bench/2' is"),
        (f'{{"schema": "{"x" * 70_000}"}}', "line 1: a line of 70014 characters; 65536 are allowed"),
        (_with(write_header(HEADER), ("versions",), {"a\nb": 1}), "line 1: versions.a\\nb: a text"),
        (_with(write_header(HEADER), ("versions",), {str(n): "" for n in range(300)}), "line 1: versions: at most 256"),
    ],
)
def test_what_is_no_file(text: str, said: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_results(text)
    assert str(caught.value).startswith(said)


def test_a_newer_file_is_read() -> None:
    text = write_header(HEADER) + _with(_with(write_sample(SAMPLE), ("phases", "lunch"), 1.0), ("weather",), "rain")
    assert read_results(text) == Results(header=HEADER, samples=(SAMPLE,))


def test_engines_of_one_condition_compare() -> None:
    other = replace(SETTING, engine="aioice")
    assert SETTING.condition == other.condition
    changed = [
        replace(SETTING, **{name: value})
        for name, value in {
            "network": "host",
            "rtt": 0.0,
            "medium": "lab",
            "trickle": False,
            "relay_only": True,
            "dead": "stun",
            "loss": 0.05,
            "signaling": 0.1,
            "gathered": True,
            "media": True,
        }.items()
    ]
    assert (
        len({setting.condition for setting in [SETTING, *changed]}) == len({item.label for item in changed}) + 1 == 11
    )
    assert SETTING.label == "port-restricted, RTT 50 ms, simulator"
    full = replace(SETTING, trickle=False, relay_only=True, dead="stun", loss=0.2, signaling=0.05)
    full = replace(full, gathered=True, media=True)
    assert full.label == (
        "port-restricted, RTT 50 ms, full gathering, relay only, dead STUN server, 20 % loss, signaling 50 ms, "
        "gathered before, with sound, simulator"
    )
