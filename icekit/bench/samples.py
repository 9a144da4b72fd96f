"""What a benchmark has measured: one ``Sample`` a call, in a file of JSON lines with a ``Header`` before them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Literal, TypeVar, cast

from icekit.errors import DecodeError

SCHEMA: Final = "icekit/bench/2"
MAX_LINE: Final = 65_536
"""Characters of a line."""

T = TypeVar("T")

Medium = Literal["sim", "lab"]
Dead = Literal["stun", "turn", "interface"]
Path = Literal["direct", "relay", "none", "unknown"]

MEDIUMS: Final[tuple[Medium, ...]] = ("sim", "lab")
DEAD: Final[tuple[Dead, ...]] = ("stun", "turn", "interface")
PATHS: Final[tuple[Path, ...]] = ("direct", "relay", "none", "unknown")

_MAX_TEXT = 4096
# What it called media was the first data.
_BEFORE = "icekit/bench/1"
_MAX_ENGINES = 256


class Phase(StrEnum):
    """The steps of a setup, in their order; each is a time since the offering side was told to start.

    ``RESOLVE``          the first packet to a server leaves: its name is known
    ``FIRST_CANDIDATE``  the first local candidate of either side is told to the other one; ``SRFLX``, ``RELAY``: the
                         first of this kind
    ``OFFER``            the offer is told, ``ANSWER``: the answer is told
    ``FIRST_CHECK``      the first connectivity check of either side leaves, also through a relay
    ``FIRST_VALID``      both sides have a pair over which data may flow (RFC 8445 §12.1)
    ``SELECTED``         both sides send on the pair that they stay with
    ``DTLS``             the handshake is done on both sides, ``OPEN``: the data channel is open on both sides
    ``DATA``             the first data of the offering side has come to the other one, over the data channel
    ``MEDIA``            the first sound of the offering side has come to the other one: an RTP packet, out of SRTP and
                         not yet in a jitter buffer
    """

    RESOLVE = "resolve"
    FIRST_CANDIDATE = "first_candidate"
    SRFLX = "srflx"
    RELAY = "relay"
    OFFER = "offer"
    ANSWER = "answer"
    FIRST_CHECK = "first_check"
    FIRST_VALID = "first_valid"
    SELECTED = "selected"
    DTLS = "dtls"
    OPEN = "open"
    DATA = "data"
    MEDIA = "media"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Who called where, under which conditions.

    ``network``     a name of ``icekit.bench.networks``
    ``rtt``         seconds to the peer and back, and as many to a server and back
    ``medium``      ``sim``: virtual time, exact; ``lab``: real sockets between network namespaces
    ``trickle``     candidates are told as they come, by engines that can
    ``dead``        the STUN or TURN server never answers, or both hosts have an address from which nothing is reached
    ``loss``        probability that a packet is lost on its way, each way
    ``signaling``   seconds that a message is on its way
    ``gathered``    both sides had gathered before the call
    ``media``       the offering side sends sound from the beginning, beside the data channel
    """

    engine: str
    network: str
    rtt: float
    medium: Medium
    trickle: bool = True
    relay_only: bool = False
    dead: Dead | None = None
    loss: float = 0.0
    signaling: float = 0.0
    gathered: bool = False
    media: bool = False

    @property
    def label(self) -> str:
        """For people, without the engine: ``port-restricted, RTT 50 ms, dead STUN server, simulator``."""
        words = [self.network, f"RTT {1000 * self.rtt:g} ms"]
        if not self.trickle:
            words.append("full gathering")
        if self.relay_only:
            words.append("relay only")
        if self.dead is not None:
            words.append({"stun": "dead STUN server", "turn": "dead TURN server"}.get(self.dead, "dead interface"))
        if self.loss:
            words.append(f"{100 * self.loss:g} % loss")
        if self.signaling:
            words.append(f"signaling {1000 * self.signaling:g} ms")
        if self.gathered:
            words.append("gathered before")
        if self.media:
            words.append("with sound")
        return ", ".join([*words, {"sim": "simulator", "lab": "laboratory"}[self.medium]])

    @property
    def condition(self) -> str:
        """Everything but the engine, as one text: equal for settings whose engines can be compared."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self) if item.name != "engine")
        return " ".join(f"{name}={value}" for name, value in values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One call. Times in seconds since the offering side was told to start.

    ``phases``           ``None``: not measured; ``reasons`` says why
    ``limits``           what nothing could be faster than, for the phases that have one
    ``direct_possible``  whether these NATs let packets through without a relay
    ``same_pair``        whether both sides ended on one pair; ``None``: one side did not tell
    ``failure``          ``None`` when data flowed, and sound where it was asked for
    """

    setting: Setting
    run: int
    seed: int
    phases: Mapping[Phase, float | None]
    limits: Mapping[Phase, float]
    path: Path
    direct_possible: bool
    same_pair: bool | None
    failure: str | None
    reasons: Mapping[Phase, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Where and with what the samples were taken; ``versions`` by engine, ``date`` in ISO 8601."""

    commit: str
    python: str
    machine: str
    cores: int
    date: str
    seed: int
    versions: Mapping[str, str]
    command: str
    schema: str = SCHEMA


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """A file."""

    header: Header
    samples: tuple[Sample, ...]


def write_header(header: Header) -> str:
    """The first line of a file, with its newline."""
    return _line({item.name: getattr(header, item.name) for item in fields(header)} | {"schema": header.schema})


def write_sample(sample: Sample) -> str:
    """One of the others."""
    setting = {item.name: getattr(sample.setting, item.name) for item in fields(sample.setting)}
    values = {item.name: getattr(sample, item.name) for item in fields(sample)}
    return _line(values | {"setting": setting})


def write_results(results: Results) -> str:
    """A whole file."""
    return write_header(results.header) + "".join(map(write_sample, results.samples))


def read_results(text: str) -> Results:
    """Read a file; DecodeError names line and field. Empty lines and fields that are not known are passed over."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise DecodeError("line 1: a header is wanted, there is nothing")
    header = _numbered(lines[0], _header)
    return Results(header=header, samples=tuple(_numbered(line, _sample) for line in lines[1:]))


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), default=dict) + "\n"


def _numbered(item: tuple[int, str], read: Callable[[_Fields], T]) -> T:
    number, line = item
    try:
        return read(_Fields.parse(line))
    except DecodeError as error:
        raise DecodeError(f"line {number}: {error}") from None


def _header(line: _Fields) -> Header:
    schema = line.text("schema")
    if schema == _BEFORE:
        raise DecodeError(f"schema: {_BEFORE!r} is an older icekit's, {SCHEMA!r} is wanted: measure again")
    if schema != SCHEMA:
        raise DecodeError(f"schema: {SCHEMA!r} is wanted, not {schema[:60]!r}")
    versions = line.object("versions")
    return Header(
        commit=line.text("commit"),
        python=line.text("python"),
        machine=line.text("machine"),
        cores=line.whole("cores"),
        date=line.text("date"),
        seed=line.whole("seed"),
        versions={name: versions.text(name) for name in versions.names(_MAX_ENGINES)},
        command=line.text("command"),
    )


def _sample(line: _Fields) -> Sample:
    setting, phases, limits = line.object("setting"), line.object("phases"), line.object("limits")
    reasons = line.object("reasons") if line.has("reasons") else _Fields({}, "reasons.")
    return Sample(
        setting=Setting(
            engine=setting.text("engine"),
            network=setting.text("network"),
            rtt=setting.seconds("rtt"),
            medium=cast(Medium, setting.one_of("medium", MEDIUMS)),
            trickle=setting.flag("trickle"),
            relay_only=setting.flag("relay_only"),
            dead=None if setting.is_null("dead") else cast(Dead, setting.one_of("dead", DEAD)),
            loss=setting.share("loss"),
            signaling=setting.seconds("signaling"),
            gathered=setting.flag("gathered"),
            media=setting.flag("media"),
        ),
        run=line.whole("run"),
        seed=line.whole("seed"),
        phases={phase: None if phases.is_null(phase) else phases.seconds(phase) for phase in phases.phases()},
        limits={phase: limits.seconds(phase) for phase in limits.phases()},
        path=cast(Path, line.one_of("path", PATHS)),
        direct_possible=line.flag("direct_possible"),
        same_pair=None if line.is_null("same_pair") else line.flag("same_pair"),
        failure=None if line.is_null("failure") else line.text("failure"),
        reasons={phase: reasons.text(phase) for phase in reasons.phases()},
    )


class _Fields:
    """A JSON object; what is read of it is checked, and DecodeError names the field."""

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self._values = values
        self._where = where

    @classmethod
    def parse(cls, line: str) -> _Fields:
        if len(line) > MAX_LINE:
            raise DecodeError(f"a line of {len(line)} characters; {MAX_LINE} are allowed")
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"no JSON: {error}") from None
        if not isinstance(values, dict):
            raise DecodeError("a JSON object is wanted")
        return cls(values)

    def _wrong(self, name: str, wanted: str) -> DecodeError:
        # A name comes from the file, too.
        return DecodeError(f"{self._where}{ascii(str(name))[1:-1][:60]}: {wanted}")

    def _get(self, name: str, wanted: str) -> Any:
        if name not in self._values:
            raise self._wrong(name, f"{wanted} is wanted, there is nothing")
        return self._values[name]

    def has(self, name: str) -> bool:
        return name in self._values

    def is_null(self, name: str) -> bool:
        return self._get(name, "a value or null") is None

    def names(self, most: int) -> tuple[str, ...]:
        if len(self._values) > most or any(len(name) > _MAX_TEXT for name in self._values):
            raise DecodeError(f"{self._where.rstrip('.')}: at most {most} names of {_MAX_TEXT} characters are allowed")
        return tuple(self._values)

    def phases(self) -> list[Phase]:
        # What a newer icekit may have added is passed over.
        return [phase for phase in Phase if phase in self._values]

    def object(self, name: str) -> _Fields:
        value = self._get(name, "an object")
        if not isinstance(value, dict):
            raise self._wrong(name, "an object is wanted")
        return _Fields(value, f"{self._where}{name}.")

    def text(self, name: str) -> str:
        value = self._get(name, "a text")
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise self._wrong(name, f"a text of at most {_MAX_TEXT} characters is wanted")
        return value

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in allowed:
            raise self._wrong(name, f"one of {', '.join(allowed)} is wanted, not {value[:60]!r}")
        return value

    def flag(self, name: str) -> bool:
        value = self._get(name, "true or false")
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false is wanted")
        return value

    def whole(self, name: str) -> int:
        value = self._get(name, "a whole number")
        if type(value) is not int or not 0 <= value < 2**63:
            raise self._wrong(name, "a whole number from 0 is wanted")
        return value

    def seconds(self, name: str) -> float:
        return self._number(name, "seconds from 0 to 1000000", 1e6)

    def share(self, name: str) -> float:
        return self._number(name, "a share from 0 to 1", 1.0)

    def _number(self, name: str, wanted: str, most: float) -> float:
        value = self._get(name, wanted)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise self._wrong(name, f"{wanted} is wanted")
        return float(value)
