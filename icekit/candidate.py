"""ICE candidates as text: parse, format, classify (RFC 8839 §5.1, RFC 8445 §5.1, RFC 6544 §4.5).

``Candidate.parse`` tries one anchored expression that knows only well-formed lines; whatever it does not match is read
again field by field, which is slower, and knows which field is wrong, where, and what is allowed there. Both give the
same candidate. What the second one decides where the grammar leaves a choice:

* ``a=candidate:…``, ``candidate:…`` and the bare fields are read; ``str()`` writes ``candidate:…``, the canonical form.
* Numbers may have leading zeros, as the grammar says; they are not written back.
* Any token may be a type (the grammar is open); the four of RFC 8445 become ``CandidateType``, others stay ``str``.
* Keywords and known types are lower case, and an extension value is not empty: an empty one is a doubled space.
* Grammar is not fitness: multicast, ``0.0.0.0`` or port 0 are read; ``address_class`` tells what it is good for.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from icekit.errors import CandidateError
from icekit.net import AddressClass, classify_host

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE = 4096
"""Longest line that is read, in characters; no stack writes a tenth of it."""

MAX_COMPONENT = 256
MAX_PRIORITY = 2**31 - 1
MAX_PORT = 65535


class CandidateType(StrEnum):
    """How a candidate was found (RFC 8445 §5.1.1)."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"


class TcpType(StrEnum):
    """Who opens the connection of a TCP candidate (RFC 6544 §4.5)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    SIMULTANEOUS_OPEN = "so"


class InterfaceKind(StrEnum):
    """The kind of network behind a candidate, as far as the line tells."""

    ETHERNET = "ethernet"
    WIFI = "wifi"
    CELLULAR = "cellular"
    VPN = "vpn"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One candidate line. The constructor trusts its caller; ``parse`` trusts nobody.

    ``address`` is the text as read: an IP literal (zone allowed) or a name. ``extensions`` are the remaining
    name–value pairs in order; ``tcptype`` is written before them, unless they contain it at another place.
    ``forgiven`` has one sentence for each rule that the line broke and ``strict=False`` let pass; it is not part of
    equality. Two candidates are equal when all other fields are, the transport compared without case.
    """

    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    type: CandidateType | str
    related_address: str | None = None
    related_port: int | None = None
    tcptype: TcpType | None = None
    extensions: tuple[tuple[str, str], ...] = ()
    forgiven: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, line: str, *, strict: bool = True) -> Candidate:
        """Read a candidate line; CandidateError names the field, the column and what is allowed. TypeError for no text.

        ``strict=False`` accepts what real stacks write against the rules, and lists it in ``forgiven``: foundations
        of any length or with other characters, upper-case keywords, several spaces, tabs or a line end, priority 0 or
        up to 2^32−1, missing or misplaced ``raddr``, ``rport`` and ``tcptype``, related addresses of host candidates,
        underscores in names, a doubled ``candidate:``, an extension without a value.
        """
        if not isinstance(line, str):
            raise TypeError(f"a candidate line is text (str), not {type(line).__name__}")
        match = _WELL_FORMED(line) if len(line) <= MAX_LINE else None
        if match is None:
            return _read_fields(line, strict)
        foundation, component, transport, priority, address, port, host, other, raddr, rport, tcptype, rest = (
            match.groups()
        )
        component = int(component)
        priority = int(priority)
        port = int(port)
        if rport is not None:
            rport = int(rport)
        if (
            not 0 < component <= MAX_COMPONENT
            or not 0 < priority <= MAX_PRIORITY
            or port > MAX_PORT
            or (rport is not None and rport > MAX_PORT)
            or (tcptype is None and transport.lower() == "tcp")
        ):
            return _read_fields(line, strict)
        words = iter(rest.split())
        draft: Any = _Draft()
        draft.foundation = foundation
        draft.component = component
        draft.transport = transport
        draft.priority = priority
        draft.address = address
        draft.port = port
        draft.type = _TYPES[host or other]
        draft.related_address = raddr
        draft.related_port = rport
        draft.tcptype = tcptype and _TCP_TYPES[tcptype]
        draft.extensions = tuple(zip(words, words, strict=True)) if rest else ()
        draft.forgiven = ()
        draft.__class__ = Candidate
        return cast("Candidate", draft)

    def __str__(self) -> str:
        """The canonical form ``candidate:…``, without ``a=`` and without a line end."""
        line = (
            f"candidate:{self.foundation} {self.component} {self.transport} {self.priority} "
            f"{self.address} {self.port} typ {self.type}"
        )
        if self.related_address is not None:
            line += f" raddr {self.related_address}"
        if self.related_port is not None:
            line += f" rport {self.related_port}"
        if self.tcptype is not None and self.extension("tcptype") is None:
            line += f" tcptype {self.tcptype}"
        for name, value in self.extensions:
            line += f" {name} {value}"
        return line

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Candidate):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        return (
            *(self.foundation, self.component, self.transport.lower(), self.priority, self.address, self.port),
            *(self.type, self.related_address, self.related_port, self.tcptype, self.extensions),
        )

    def extension(self, name: str) -> str | None:
        """The first value of the extension attribute ``name``, such as ``ufrag`` or ``generation``."""
        for key, value in self.extensions:
            if key == name:
                return value
        return None

    @property
    def address_class(self) -> AddressClass:
        """What the address is good for (private, CGNAT, global, an mDNS name …)."""
        return classify_host(self.address)

    @property
    def interface_kind(self) -> InterfaceKind | None:
        """The kind of interface by libwebrtc's ``network-cost``; ``None``: the line does not tell."""
        cost = self.extension("network-cost")
        return None if cost is None else _COSTS.get(cost)


class _Draft:
    """A candidate that is still being filled in: the same slots without the frozen ``__setattr__``.

    A frozen dataclass is filled with twelve calls of ``object.__setattr__``, which takes longer than reading the line.
    Equal slots allow the finished draft to become a Candidate in place.
    """

    __slots__ = tuple(slot.name for slot in fields(Candidate))


_TYPES = {kind.value: kind for kind in CandidateType}
_TCP_TYPES = {kind.value: kind for kind in TcpType}

# libwebrtc writes 0 for ethernet and loopback, 10 for wifi, 250 to 980 for generations of cellular networks, one more
# for a VPN over each, 50 for unknown and 999 for "do not use": the last two tell nothing.
_COSTS: dict[str, InterfaceKind] = {
    "0": InterfaceKind.ETHERNET,
    "10": InterfaceKind.WIFI,
    **dict.fromkeys(("250", "500", "900", "910", "980"), InterfaceKind.CELLULAR),
    **dict.fromkeys(("1", "11", "251", "501", "901", "911", "981"), InterfaceKind.VPN),
}

_ICE_CHARS = "[A-Za-z0-9+/]"  # RFC 8839 §5.1: ice-char
_TOKEN = "[A-Za-z0-9.!%*_+`'~-]"  # noqa: S105 - RFC 3261 §25.1: token
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}"
_ZONE = "[A-Za-z0-9._~-]+"  # RFC 6874 §2, unreserved
_GROUP = "[0-9A-Fa-f]{1,4}"
# The plain spellings of IPv6: eight groups, or one "::" and at most seven colons. An embedded IPv4 address and the
# rare spellings with eight colons are left to ``ipaddress``.
_IPV6 = rf"(?:(?:{_GROUP}:){{7}}{_GROUP}|(?!(?:[^: ]*:){{8}})(?:{_GROUP}(?::{_GROUP})*)?::(?:{_GROUP}(?::{_GROUP})*)?)"
_MDNS = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\.local"
_ADDRESS = rf"(?:{_IPV4}|{_IPV6}(?:%{_ZONE})?|{_MDNS})"

# No group is possessive: Python before 3.11.5 (Debian 12 has 3.11.2) keeps a part of a round that failed.
_WELL_FORMED = re.compile(
    rf"(?:(?:a=)?candidate:)?({_ICE_CHARS}{{1,32}}) ([0-9]{{1,3}}) ({_TOKEN}+) ([0-9]{{1,10}})"
    rf" ({_ADDRESS}) ([0-9]{{1,5}})"
    rf" typ (?:(host)|(srflx|prflx|relay) raddr ({_ADDRESS}) rport ([0-9]{{1,5}}))"
    r"(?: tcptype (active|passive|so))?"
    rf"((?: (?!(?:raddr|rport|tcptype) ){_TOKEN}+ [!-~]+)*)"
).fullmatch

_is_foundation = re.compile(rf"{_ICE_CHARS}{{1,32}}").fullmatch
_is_token = re.compile(rf"{_TOKEN}+").fullmatch
_is_visible = re.compile("[!-~]+").fullmatch
_is_number = re.compile("[0-9]+").fullmatch
_is_zone = re.compile(_ZONE).fullmatch
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_is_name = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?").fullmatch
_prefix = re.compile(r"(?:a=candidate:|candidate:)?").match
_loose_prefix = re.compile(r"[ \t]*(?:a=)?(?:candidate:)*", re.IGNORECASE).match
_words = re.compile(r"[^ \t]+").finditer


class _Reader:
    """The words of a line with their columns (from 1), and what to do about a broken rule."""

    def __init__(self, line: str, strict: bool) -> None:
        self._line = line
        self.strict = strict
        self.forgiven: list[str] = []
        self._words = list(self._split() if strict else self._split_loosely())
        self._next = 0
        self.column = 1

    def _split(self) -> Iterator[tuple[int, str]]:
        """Exactly one space between two words: two in a row give an empty word, which no field takes."""
        start = len(_prefix(self._line)[0])  # type: ignore[index]  # the expression matches everywhere
        for word in self._line[start:].split(" "):
            yield start + 1, word
            start += len(word) + 1

    def _split_loosely(self) -> Iterator[tuple[int, str]]:
        line = self._line.rstrip(" \t\r\n")
        if line != self._line:
            self._forgive("line", "white space at the end")
        prefix = _loose_prefix(line)[0]  # type: ignore[index]
        if prefix not in ("", "candidate:", "a=candidate:"):
            self._forgive("line", f"the beginning {prefix!r}")
        words = [(match.start() + 1, match[0]) for match in _words(line, len(prefix))]
        # Some stacks leave the foundation out: then all that follows is one place further left.
        if len(words) > 5 and words[5][1].lower() == "typ":
            words.insert(0, (len(prefix) + 1, ""))
        if [word for _, word in words] != line[len(prefix) :].split(" "):
            self._forgive("line", "more than one space, or a tab, between two fields")
        return iter(words)

    def _forgive(self, field: str, what: str) -> None:
        self.forgiven.append(f"{field}: {what}")

    def has_more(self) -> bool:
        """Whether words are left."""
        return self._next < len(self._words)

    def take(self) -> str:
        """The next word, empty at the end; ``column`` is where it stands."""
        if not self.has_more():
            self.column = len(self._line) + 1
            return ""
        self.column, word = self._words[self._next]
        self._next += 1
        return word

    def error(self, field: str, found: str, allowed: str) -> CandidateError:
        """A rule that nobody may break."""
        if not found and self.column <= len(self._line):
            found = self._line[self.column - 1]
        return CandidateError(field, self.column, found, allowed, self._line[:MAX_LINE])

    def broken(self, field: str, found: str, allowed: str) -> None:
        """A rule that only ``strict`` insists on."""
        if self.strict:
            raise self.error(field, found, allowed)
        self._forgive(field, f"found {found[:60]!r}, allowed: {allowed}" if found else f"missing, wanted: {allowed}")


def _read_fields(line: str, strict: bool) -> Candidate:
    """The whole grammar, one field after the other; the fast expression accepts a part of what this accepts."""
    if len(line) > MAX_LINE:
        raise CandidateError("line", MAX_LINE + 1, line[MAX_LINE], f"at most {MAX_LINE} characters", line[:MAX_LINE])
    reader = _Reader(line, strict)
    foundation = reader.take()
    if not _is_foundation(foundation):
        allowed = "1 to 32 letters, digits, + or /"
        if foundation and not _is_visible(foundation):
            raise reader.error("foundation", foundation, allowed)
        reader.broken("foundation", foundation, allowed)
    component = _read_number(reader, "component", 1, MAX_COMPONENT, digits=3)
    transport = reader.take()
    if not _is_token(transport):
        raise reader.error("transport", transport, "a token such as udp or tcp")
    priority = _read_priority(reader)
    address = _read_address(reader, "address")
    port = _read_number(reader, "port", 0, MAX_PORT)
    keyword = reader.take()
    if keyword.lower() != "typ":
        raise reader.error("typ", keyword, "the word typ")
    if keyword != "typ":
        reader.broken("typ", keyword, "the word typ in lower case")
    kind = _read_type(reader)
    attributes = _read_attributes(reader)
    reader.column = len(line) + 1
    # RFC 8839 §5.1: reflexive and relayed candidates carry the related address and port; RFC 6544 §4.5: TCP
    # candidates carry tcptype.
    if kind in (CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE, CandidateType.RELAYED):
        if attributes.related_address is None:
            reader.broken("raddr", "", f"raddr with an address, which type {kind} has")
        if attributes.related_port is None:
            reader.broken("rport", "", f"rport with a port, which type {kind} has")
    elif kind == CandidateType.HOST and attributes.related_column:
        reader.column = attributes.related_column
        word = "rport" if attributes.related_address is None else "raddr"
        reader.broken(word, word, "no related address or port for type host")
    if transport.lower() == "tcp" and attributes.tcptype is None:
        reader.broken("tcptype", "", "tcptype active, passive or so, which TCP candidates have")
    return Candidate(
        *(foundation, component, transport, priority, address, port, kind),
        *(attributes.related_address, attributes.related_port, attributes.tcptype),
        tuple(attributes.extensions),
        tuple(reader.forgiven),
    )


def _read_number(reader: _Reader, field: str, low: int, high: int, digits: int = MAX_LINE) -> int:
    word = reader.take()
    if _is_number(word) and len(word) <= digits:
        significant = word.lstrip("0") or "0"
        if len(significant) <= 10 and low <= int(significant) <= high:
            return int(significant)
    raise reader.error(field, word, f"a number from {low} to {high}")


def _read_priority(reader: _Reader) -> int:
    if reader.strict:
        return _read_number(reader, "priority", 1, MAX_PRIORITY, digits=10)
    # A STUN PRIORITY attribute has 32 bits, so larger numbers cannot be used even by those who forgive.
    priority = _read_number(reader, "priority", 0, 2**32 - 1, digits=10)
    if not 0 < priority <= MAX_PRIORITY:
        reader.broken("priority", str(priority), f"a number from 1 to {MAX_PRIORITY}")
    return priority


def _read_address(reader: _Reader, field: str) -> str:
    word = reader.take()
    allowed = "an IPv4 or IPv6 address or a host name"
    if ":" in word:
        literal, percent, zone = word.partition("%")
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            raise reader.error(field, word, "an IPv6 address, because of the colon") from None
        if percent and not _is_zone(zone):
            raise reader.error(field, word, "a zone of letters, digits or . _ ~ - after %")
    elif _is_number(word.rstrip(".").rpartition(".")[2]):
        # No top-level domain is a number, so this is an IPv4 address, or nothing.
        try:
            ipaddress.IPv4Address(word)
        except ValueError:
            allowed = "four numbers from 0 to 255, without leading zeros, because it ends in a number"
            raise reader.error(field, word, allowed) from None
    elif len(word.rstrip(".")) > 253:
        raise reader.error(field, word, "a host name of at most 253 characters")
    elif not _is_name(word):
        if not _is_name(word.replace("_", "a")):
            raise reader.error(field, word, allowed)
        reader.broken(field, word, "a host name of letters, digits and hyphens")
    return word


def _read_type(reader: _Reader) -> CandidateType | str:
    word = reader.take()
    allowed = "host, srflx, prflx, relay, or the token of an extension"
    if not _is_token(word):
        raise reader.error("type", word, allowed)
    if word.lower() not in _TYPES:
        return word
    if word not in _TYPES:
        reader.broken("type", word, f"{word.lower()} in lower case")
    return _TYPES[word.lower()]


_ATTRIBUTES = ("raddr", "rport", "tcptype")
_NAME_ALLOWED = "a name of letters, digits and . ! % * _ + ` ' ~ -"


class _Attributes:
    """What follows the type, while it is read."""

    def __init__(self) -> None:
        self.related_address: str | None = None
        self.related_port: int | None = None
        self.related_column = 0
        self.tcptype: TcpType | None = None
        self.extensions: list[tuple[str, str]] = []


def _read_attributes(reader: _Reader) -> _Attributes:
    attributes = _Attributes()
    seen: list[str] = []
    while reader.has_more():
        word = reader.take()
        column = reader.column
        if not _is_token(word):
            if not _is_visible(word):
                raise reader.error("extension", word, _NAME_ALLOWED)
            reader.broken("extension", word, _NAME_ALLOWED)
        known = word.lower() in _ATTRIBUTES
        name = word.lower() if known else word
        field = name if known else "extension"
        if name != word:
            reader.broken(field, word, f"{name} in lower case")
        if not reader.has_more():
            reader.take()
            reader.broken(field, "", f"a value after {word[:60]}")
            break
        if known and name in seen:
            reader.broken(field, word, f"{name} once")
            reader.take()
            continue
        match name:
            case "raddr" | "rport":
                # RFC 8839 §5.1: raddr, then rport, then extensions.
                if seen and not (name == "rport" and seen == ["raddr"]):
                    reader.broken(field, word, "raddr, then rport, directly after the type")
                attributes.related_column = attributes.related_column or column
                if name == "raddr":
                    attributes.related_address = _read_address(reader, "raddr")
                else:
                    attributes.related_port = _read_number(reader, "rport", 0, MAX_PORT)
            case "tcptype":
                attributes.tcptype = _read_tcptype(reader)
                if attributes.extensions:
                    attributes.extensions.append(("tcptype", attributes.tcptype.value))
            case _:
                value = reader.take()
                if not _is_visible(value):
                    raise reader.error("extension", value, f"visible ASCII characters after {name[:60]} and one space")
                attributes.extensions.append((name, value))
        seen.append(name)
    return attributes


def _read_tcptype(reader: _Reader) -> TcpType:
    word = reader.take()
    if word.lower() not in _TCP_TYPES:
        raise reader.error("tcptype", word, "active, passive or so")
    if word not in _TCP_TYPES:
        reader.broken("tcptype", word, f"{word.lower()} in lower case")
    return _TCP_TYPES[word.lower()]


def is_end_of_candidates(text: str | None) -> bool:
    """Whether this is the end of candidates: ``""``, ``None``, ``a=end-of-candidates`` (RFC 8840 §8)."""
    return text is None or text.rstrip("\r\n") in ("", "end-of-candidates", "a=end-of-candidates")
