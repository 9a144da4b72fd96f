"""What peers say to each other while they set up a call, and its JSON.

The wire format is the one of the call that icekit follows::

    {"type": "offer", "offer": {"type": "offer", "sdp": "v=0…"}}
    {"type": "answer", "answer": {"type": "answer", "sdp": "v=0…"}}
    {"type": "candidate", "candidate": {"candidate": "candidate:…", "sdpMid": "0", "sdpMLineIndex": 0}}
    {"type": "bye"}

with an optional envelope of four keys: ``from``, ``to``, ``seq`` and ``id``. ``decode`` also reads the JSON of aiortc's
``contrib.signaling`` and the bare objects of a browser (``RTCSessionDescription``, ``RTCIceCandidate``, ``null``).
``encode`` writes any of the three (``Shape``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias

from icekit.errors import DecodeError, SignalingError

MAX_MESSAGE = 2**21
"""Longest message that is read or written, in characters (or bytes of UTF-8)."""

MAX_SDP = 2**20
"""Longest SDP in a message, in characters."""

MAX_NAME = 256
"""Longest name, id, mid, ufrag and code, in characters."""

MAX_CANDIDATE = 4096
"""Longest candidate line, in characters."""

MAX_TEXT = 4096
"""Longest reason of a ``Bye`` and text of a ``Fault``, in characters."""

MAX_PEERS = 4096
"""Most names in one list of a ``Presence``."""

MAX_SEQ = 2**53 - 1
"""Largest ``seq``: the largest integer that JavaScript keeps exact."""


class Shape(StrEnum):
    """How a message is written: as the followed call does, as aiortc's ``contrib.signaling``, or as a bare object."""

    DOCUMENT = "document"
    AIORTC = "aiortc"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    """``sender`` (JSON ``from``) and ``to`` are names in the room; ``seq`` counts from 1 in the stream ``id``."""

    sender: str | None = None
    to: str | None = None
    seq: int | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(_Envelope):
    """An SDP offer; the SDP is opaque text and not shown, it holds the ICE password."""

    sdp: str

    def __repr__(self) -> str:
        return _sdp_repr(self, self.sdp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(_Envelope):
    """An SDP answer; the SDP is opaque text and not shown, it holds the ICE password."""

    sdp: str

    def __repr__(self) -> str:
        return _sdp_repr(self, self.sdp)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrickledCandidate(_Envelope):
    """One candidate as it appears (RFC 8838); ``candidate == ""`` is end-of-candidates."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None
    username_fragment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye(_Envelope):
    """The sender hangs up."""

    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack(_Envelope):
    """Every message of the stream ``of`` up to ``acked`` is done with.

    From the reader of a stream it means received; from its writer, that nothing up to there will be repeated. Without
    ``of`` it says "I am here", and asks for what was sent before.
    """

    acked: int
    of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(_Envelope):
    """Who came, who went, and who is there now, by name."""

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(_Envelope):
    """The probe report of one side, as JSON data; not shown, it may hold the ICE password."""

    report: dict[str, Any]

    def __repr__(self) -> str:
        return (
            f"Report(report=<{len(self.report)} fields>, sender={self.sender!r}, to={self.to!r}, "
            f"seq={self.seq!r}, id={self.id!r})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(_Envelope):
    """A server refused something: a stable ``code`` and a ``text`` for people. JSON type ``error``."""

    code: str
    text: str


Message: TypeAlias = Offer | Answer | TrickledCandidate | Bye | Ack | Presence | Report | Fault


def _sdp_repr(message: Offer | Answer, sdp: str) -> str:
    return (
        f"{type(message).__name__}(sdp=<{len(sdp)} characters>, sender={message.sender!r}, to={message.to!r}, "
        f"seq={message.seq!r}, id={message.id!r})"
    )


def without_envelope(message: Message) -> Message:
    """The same content without sender, addressee, number and stream."""
    return replace(message, sender=None, to=None, seq=None, id=None)


def decode(text: str | bytes, *, limit: int = MAX_MESSAGE) -> Message:
    """Read one message of at most ``limit`` characters or bytes, in any shape; DecodeError names the field."""
    if len(text) > limit:
        raise DecodeError(f"message of {len(text)} characters, at most {limit} are read")
    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DecodeError(f"message: not JSON ({reason})") from None
    if value is None:
        return TrickledCandidate(candidate="")
    if not isinstance(value, dict):
        raise DecodeError(f"message: found {_kind(value)}, allowed: an object")
    fields = _Fields(value, "")
    kind = fields.text("type", 64, optional=True)
    if kind is None:
        if "candidate" in value:
            return _candidate(fields, {})
        raise DecodeError("type: missing")
    reader = _READERS.get(kind)
    if reader is None:
        raise DecodeError(f"type: found {kind[:40]!r}, allowed: {', '.join(_READERS)}")
    return reader(fields)


def encode(message: Message, shape: Shape = Shape.DOCUMENT) -> str:
    """One line of JSON. SignalingError if it would be too long, or if the shape has no such message.

    aiortc's JSON has no end-of-candidates; both foreign shapes have no envelope.
    """
    match shape:
        case Shape.DOCUMENT:
            value = _document(message)
        case Shape.AIORTC:
            value = _aiortc(message)
        case Shape.BROWSER:
            value = _browser(message)
    try:
        # Escapes keep it one line for every reader, whatever that takes for an end of line.
        line = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SignalingError(f"{type(message).__name__} cannot be written as JSON: {error}") from None
    if len(line) > MAX_MESSAGE:
        raise SignalingError(f"{type(message).__name__} of {len(line)} characters, at most {MAX_MESSAGE} can be sent")
    return line


def _document(message: Message) -> dict[str, Any]:
    value: dict[str, Any]
    match message:
        case Offer(sdp=sdp):
            value = {"type": "offer", "offer": {"type": "offer", "sdp": sdp}}
        case Answer(sdp=sdp):
            value = {"type": "answer", "answer": {"type": "answer", "sdp": sdp}}
        case TrickledCandidate():
            value = {"type": "candidate", "candidate": _candidate_init(message)}
        case Bye(reason=reason):
            value = {"type": "bye"} if reason is None else {"type": "bye", "reason": reason}
        case Ack(acked=acked, of=of):
            # An ack has no number of its own: the key is the number that it acknowledges.
            value = {"type": "ack", "seq": acked} if of is None else {"type": "ack", "seq": acked, "of": of}
        case Presence(joined=joined, left=left, peers=peers):
            value = {"type": "presence", "joined": list(joined), "left": list(left), "peers": list(peers)}
        case Report(report=report):
            value = {"type": "report", "report": report}
        case Fault(code=code, text=text):
            value = {"type": "error", "code": code, "text": text}
    envelope = {"from": message.sender, "to": message.to, "seq": message.seq, "id": message.id}
    return value | {
        key: found
        for key, found in envelope.items()
        if found is not None and not (key == "seq" and isinstance(message, Ack))
    }


def _candidate_init(message: TrickledCandidate) -> dict[str, Any]:
    value = {
        "candidate": message.candidate,
        "sdpMid": message.sdp_mid,
        "sdpMLineIndex": message.sdp_mline_index,
    }
    if message.username_fragment is not None:
        value["usernameFragment"] = message.username_fragment
    return value


def _aiortc(message: Message) -> dict[str, Any]:
    match message:
        case Offer(sdp=sdp):
            return {"sdp": sdp, "type": "offer"}
        case Answer(sdp=sdp):
            return {"sdp": sdp, "type": "answer"}
        case TrickledCandidate(candidate=line) if line:
            return {
                "candidate": line,
                "id": message.sdp_mid,
                "label": message.sdp_mline_index,
                "type": "candidate",
            }
        case Bye():
            return {"type": "bye"}
        case TrickledCandidate():
            raise SignalingError("aiortc's JSON has no end-of-candidates")
    raise SignalingError(f"aiortc's JSON has no {type(message).__name__}")


def _browser(message: Message) -> dict[str, Any]:
    match message:
        case Offer(sdp=sdp):
            return {"type": "offer", "sdp": sdp}
        case Answer(sdp=sdp):
            return {"type": "answer", "sdp": sdp}
        case TrickledCandidate():
            return _candidate_init(message)
    raise SignalingError(f"a browser has no object for {type(message).__name__}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key appears twice")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"


class _Fields:
    """The keys of one JSON object; ``path`` goes before the name of a field in errors."""

    def __init__(self, value: Mapping[str, Any], path: str) -> None:
        self.value = value
        self.path = path

    def refuse(self, key: str, found: str, allowed: str) -> DecodeError:
        return DecodeError(f"{self.path}{key}: found {found}, allowed: {allowed}")

    def text(self, key: str, limit: int, *, optional: bool = False, lines: bool = False) -> Any:
        """A string, or None where it may be missing or null; without ``lines`` it holds no control characters."""
        found = self.value.get(key)
        if found is None and optional:
            return None
        if not isinstance(found, str):
            raise self.refuse(key, "nothing" if key not in self.value else _kind(found), "a string")
        return self.checked(key, found, limit, lines)

    def checked(self, key: str, found: str, limit: int, lines: bool = False) -> str:
        if len(found) > limit:
            raise self.refuse(key, f"{len(found)} characters", f"at most {limit}")
        if not found.isascii() and any("\ud800" <= character <= "\udfff" for character in found):
            raise self.refuse(key, "half of a surrogate pair", "Unicode text")
        # A line break in a candidate or a name would become a line of an SDP or of a log.
        if not lines and not found.isprintable():
            raise self.refuse(key, "a control character", "printable text")
        return found

    def number(self, key: str, limit: int, *, least: int = 0, optional: bool = True) -> Any:
        found = self.value.get(key)
        if found is None and optional:
            return None
        if not isinstance(found, int) or isinstance(found, bool):
            raise self.refuse(key, "nothing" if key not in self.value else _kind(found), "a whole number")
        if not least <= found <= limit:
            raise self.refuse(key, "a number out of range", f"{least} to {limit}")
        return found

    def object(self, key: str) -> _Fields:
        found = self.value.get(key)
        if not isinstance(found, dict):
            raise self.refuse(key, "nothing" if key not in self.value else _kind(found), "an object")
        return _Fields(found, f"{self.path}{key}.")

    def names(self, key: str) -> tuple[str, ...]:
        found = self.value.get(key)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise self.refuse(key, _kind(found), "an array of strings")
        if len(found) > MAX_PEERS:
            raise self.refuse(key, f"{len(found)} names", f"at most {MAX_PEERS}")
        return tuple(self.checked(key, name, MAX_NAME) for name in found)

    def envelope(self, *, seq: bool = True) -> dict[str, Any]:
        return {
            "sender": self.text("from", MAX_NAME, optional=True),
            "to": self.text("to", MAX_NAME, optional=True),
            "seq": self.number("seq", MAX_SEQ, least=1) if seq else None,
            "id": self.text("id", MAX_NAME, optional=True),
        }


def _description(kind: type[Offer] | type[Answer], name: str) -> Callable[[_Fields], Message]:
    def read(fields: _Fields) -> Message:
        # aiortc and the browser put the SDP beside the type.
        inner = fields.object(name) if name in fields.value or "sdp" not in fields.value else fields
        if inner.text("type", 64) != name:
            raise inner.refuse("type", repr(inner.value["type"][:40]), name)
        return kind(sdp=inner.text("sdp", MAX_SDP, lines=True), **fields.envelope())

    return read


def _candidate(fields: _Fields, envelope: Mapping[str, Any]) -> TrickledCandidate:
    line = fields.text("candidate", MAX_CANDIDATE, optional=True)
    return TrickledCandidate(
        candidate="" if line is None else line,
        sdp_mid=fields.text("sdpMid", MAX_NAME, optional=True),
        sdp_mline_index=fields.number("sdpMLineIndex", 65535),
        username_fragment=fields.text("usernameFragment", MAX_NAME, optional=True),
        **envelope,
    )


def _typed_candidate(fields: _Fields) -> Message:
    match fields.value.get("candidate", ...):
        case dict():
            return _candidate(fields.object("candidate"), fields.envelope())
        case str(line) if line and "label" in fields.value:
            # aiortc: the mid is called id, the index label.
            return TrickledCandidate(
                candidate=fields.text("candidate", MAX_CANDIDATE),
                sdp_mid=fields.text("id", MAX_NAME, optional=True),
                sdp_mline_index=fields.number("label", 65535),
            )
        case str() | None:
            return _candidate(fields, fields.envelope())
        case found:
            raise fields.refuse("candidate", "nothing" if found is ... else _kind(found), "an object, a string or null")


def _bye(fields: _Fields) -> Message:
    return Bye(reason=fields.text("reason", MAX_TEXT, optional=True, lines=True), **fields.envelope())


def _ack(fields: _Fields) -> Message:
    return Ack(
        acked=fields.number("seq", MAX_SEQ, optional=False),
        of=fields.text("of", MAX_NAME, optional=True),
        **fields.envelope(seq=False),
    )


def _presence(fields: _Fields) -> Message:
    return Presence(
        joined=fields.names("joined"), left=fields.names("left"), peers=fields.names("peers"), **fields.envelope()
    )


def _report(fields: _Fields) -> Message:
    return Report(report=dict(fields.object("report").value), **fields.envelope())


def _fault(fields: _Fields) -> Message:
    return Fault(
        code=fields.text("code", MAX_NAME), text=fields.text("text", MAX_TEXT, lines=True), **fields.envelope()
    )


_READERS: Mapping[str, Callable[[_Fields], Message]] = {
    "offer": _description(Offer, "offer"),
    "answer": _description(Answer, "answer"),
    "candidate": _typed_candidate,
    "bye": _bye,
    "ack": _ack,
    "presence": _presence,
    "report": _report,
    "error": _fault,
}
