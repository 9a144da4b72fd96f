"""The lines that a program and its driver tell each other (``docs/programs.md``): values to JSON and back.

Descriptions and candidates have the shapes of icekit's signaling. Needs the standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from icekit.errors import DecodeError

PROTOCOL: Final = 1
"""The version that ``ready`` tells."""

MAX_LINE: Final = 256 * 1024
"""Bytes of a line; a description with candidates of every interface has some 20,000."""

_MAX_TEXT = 4096
_DESCRIPTIONS = ("offer", "answer")
_KINDS = ("host", "srflx", "prflx", "relay")
_ROLES = ("offer", "answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Begin a connection. ``ice_servers`` as in a browser's configuration; ``trickle``: do not wait for candidates.

    ``media``: the offering side sends sound, beside the data channel and on the same transport.
    """

    role: str
    ice_servers: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    trickle: bool = True
    relay_only: bool = False
    media: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """Send a text over the data channel (the offering side), which the other side sends back."""

    text: str


@dataclass(frozen=True, slots=True)
class AskPair:
    """Tell which pair carries the data now."""


@dataclass(frozen=True, slots=True)
class End:
    """End the connection; another one may be started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """The first event. ``clock`` is ``"monotonic"`` if times are CLOCK_MONOTONIC's, which all processes share.

    ``media``: it can send sound and tells when sound comes.
    """

    engine: str
    version: str
    clock: str
    time: float
    media: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """``kind`` is ``"offer"`` or ``"answer"``; ``time`` in seconds, ``None`` when the driver hands it on."""

    kind: str
    sdp: str
    time: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrickledCandidate:
    """``candidate`` as in an SDP, without ``a=``; empty for the end of candidates (RFC 8838 §13)."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None
    username_fragment: str | None = None
    time: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StateChanged:
    """``of`` is ``"ice"`` (the W3C's iceConnectionState), ``"connection"``, ``"gathering"`` or ``"dtls"``."""

    of: str
    state: str
    time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """This side sends on another pair from now on."""

    time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """The data channel is open on this side."""

    time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Echoed:
    """A text has come: on the offering side back again, on the answering side for the first time."""

    text: str
    time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sounded:
    """The first RTP packet of the other side has come out of SRTP (the answering side)."""

    time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PairEnd:
    """One end of a pair as its own side sees it. ``address`` may be hidden (libwebrtc: peer-reflexive ones)."""

    kind: str
    address: str | None = None
    port: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairTold:
    """The pair in use, or ``None`` for both."""

    local: PairEnd | None
    remote: PairEnd | None
    time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The connection is closed."""

    time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Something went wrong, in the program's words."""

    message: str
    time: float


Request = Start | Send | AskPair | End | Description | TrickledCandidate
Event = (
    Ready
    | Description
    | TrickledCandidate
    | StateChanged
    | Selected
    | Opened
    | Echoed
    | Sounded
    | PairTold
    | Ended
    | Failed
)


def encode(item: Request | Event) -> bytes:
    """One line with its newline."""
    return json.dumps(_to_json(item), separators=(",", ":")).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """What a driver says; DecodeError names the field."""
    fields = _object(line)
    match kind := _text(fields, "type"):
        case "start":
            role = _one_of(fields, "role", _ROLES)
            servers = fields.get("iceServers", [])
            if not isinstance(servers, list) or not all(isinstance(item, dict) for item in servers):
                raise DecodeError("iceServers: a list of objects is wanted")
            trickle, relay_only, media = (_flag(fields, name, default) for name, default in _FLAGS)
            return Start(role=role, ice_servers=tuple(servers), trickle=trickle, relay_only=relay_only, media=media)
        case "send":
            return Send(text=_text(fields, "text"))
        case "pair":
            return AskPair()
        case "end":
            return End()
    item = _signaled(kind, fields)
    if item is None:
        raise DecodeError(f"type: {kind[:60]!r} is no request")
    return item


def decode_event(line: bytes) -> Event | None:
    """What a program says, ``None`` for a kind of event that is not known; DecodeError names the field."""
    fields = _object(line)
    kind, time = _text(fields, "type"), _time(fields)
    match kind:
        case "ready":
            if fields.get("protocol") != PROTOCOL:
                raise DecodeError(f"protocol: {PROTOCOL} is wanted, not {str(fields.get('protocol'))[:60]}")
            engine, version, clock = (_text(fields, name) for name in ("engine", "version", "clock"))
            media = _flag(fields, "media", default=False)
            return Ready(engine=engine, version=version, clock=clock, time=time, media=media)
        case "state":
            return StateChanged(of=_text(fields, "of"), state=_text(fields, "state"), time=time)
        case "selected":
            return Selected(time=time)
        case "open":
            return Opened(time=time)
        case "echo":
            return Echoed(text=_text(fields, "text"), time=time)
        case "media":
            return Sounded(time=time)
        case "pair":
            return PairTold(local=_end(fields, "local"), remote=_end(fields, "remote"), time=time)
        case "ended":
            return Ended(time=time)
        case "error":
            return Failed(message=_text(fields, "message"), time=time)
    return _signaled(kind, fields)


_FLAGS = (("trickle", True), ("relayOnly", False), ("media", False))


def _to_json(item: Request | Event) -> dict[str, Any]:
    match item:
        case Start():
            fields: dict[str, Any] = {"type": "start", "role": item.role, "iceServers": list(item.ice_servers)}
            fields |= {"trickle": item.trickle, "relayOnly": item.relay_only}
            return fields | ({"media": True} if item.media else {})
        case Send():
            return {"type": "send", "text": item.text}
        case AskPair():
            return {"type": "pair"}
        case End():
            return {"type": "end"}
        case Description():
            return _timed({"type": item.kind, "sdp": item.sdp}, item.time)
        case TrickledCandidate():
            fields = {"type": "candidate", "candidate": item.candidate, "sdpMid": item.sdp_mid}
            fields |= {"sdpMLineIndex": item.sdp_mline_index, "usernameFragment": item.username_fragment}
            return _timed({name: value for name, value in fields.items() if value is not None}, item.time)
        case Ready():
            fields = {"type": "ready", "protocol": PROTOCOL, "engine": item.engine, "version": item.version}
            fields |= {"clock": item.clock} | ({"media": True} if item.media else {})
            return _timed(fields, item.time)
        case StateChanged():
            return _timed({"type": "state", "of": item.of, "state": item.state}, item.time)
        case Selected():
            return _timed({"type": "selected"}, item.time)
        case Opened():
            return _timed({"type": "open"}, item.time)
        case Echoed():
            return _timed({"type": "echo", "text": item.text}, item.time)
        case Sounded():
            return _timed({"type": "media"}, item.time)
        case PairTold():
            return _timed(
                {"type": "pair", "local": _end_to_json(item.local), "remote": _end_to_json(item.remote)}, item.time
            )
        case Ended():
            return _timed({"type": "ended"}, item.time)
        case Failed():
            return _timed({"type": "error", "message": item.message[:_MAX_TEXT]}, item.time)


def _timed(fields: dict[str, Any], time: float | None) -> dict[str, Any]:
    return fields if time is None else fields | {"time": round(time, 6)}


def _end_to_json(end: PairEnd | None) -> dict[str, Any] | None:
    return None if end is None else {"type": end.kind, "address": end.address, "port": end.port}


def _signaled(kind: str, fields: dict[str, Any]) -> Description | TrickledCandidate | None:
    time = _time(fields) if "time" in fields else None
    if kind in _DESCRIPTIONS:
        return Description(kind=kind, sdp=_text(fields, "sdp", MAX_LINE), time=time)
    if kind == "candidate":
        index = fields.get("sdpMLineIndex")
        if index is not None and (type(index) is not int or not 0 <= index <= 0xFFFF):
            raise DecodeError("sdpMLineIndex: a number from 0 to 65535 is wanted")
        return TrickledCandidate(
            candidate=_text(fields, "candidate"),
            sdp_mid=_optional_text(fields, "sdpMid"),
            sdp_mline_index=index,
            username_fragment=_optional_text(fields, "usernameFragment"),
            time=time,
        )
    return None


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise DecodeError(f"a line of {len(line)} bytes; {MAX_LINE} are allowed")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise DecodeError("a JSON object is wanted")
    return fields


def _text(fields: dict[str, Any], name: str, limit: int = _MAX_TEXT) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise DecodeError(f"{name}: a text is wanted")
    if len(value) > limit:
        raise DecodeError(f"{name}: a text of {len(value)} characters; {limit} are allowed")
    return value


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _one_of(fields: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = _text(fields, name)
    if value not in allowed:
        raise DecodeError(f"{name}: one of {', '.join(allowed)} is wanted, not {value[:60]!r}")
    return value


def _flag(fields: dict[str, Any], name: str, default: bool) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise DecodeError(f"{name}: true or false is wanted")
    return value


def _time(fields: dict[str, Any]) -> float:
    value = fields.get("time")
    # A whole number of JSON may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15 or math.isnan(value):
        raise DecodeError("time: seconds are wanted")
    return float(value)


def _end(fields: dict[str, Any], name: str) -> PairEnd | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise DecodeError(f"{name}: an object or null is wanted")
    port = value.get("port")
    if port is not None and (type(port) is not int or not 0 <= port <= 0xFFFF):
        raise DecodeError(f"{name}.port: a number from 0 to 65535 is wanted")
    kind = _one_of(value, "type", _KINDS)
    return PairEnd(kind=kind, address=_optional_text(value, "address"), port=port)
