"""The ICE parts of what signaling carries: a whole SDP, or one candidate in a browser's JSON.

``read_sdp`` (RFC 8839, RFC 8859) looks at every line once, keeps what concerns ICE and ignores the rest, so that a
fragment (RFC 8840) or a pasted half of a description is read as well. ``CandidateInit`` is ``RTCIceCandidateInit`` of
the WebRTC specification, in and out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from icekit.candidate import Candidate, is_end_of_candidates
from icekit.errors import CandidateError, DecodeError

MAX_SDP = 2**20
"""Longest description that is read, in characters."""

MAX_CANDIDATES = 1000
"""Most candidate lines in one description."""

MAX_MEDIA = 1000
"""Most media sections in one description."""

MAX_PROBLEMS = 1000
"""Most lines that ``strict=False`` lists as of no use; later ones are left out without a trace."""


@dataclass(frozen=True, slots=True)
class SdpProblem:
    """A line that ``strict=False`` could not use: its number from 1, and why."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class SdpMedia:
    """One media section. ``ufrag``, ``pwd``, ``options`` and ``setup`` are the session's where it has none of its own.

    ``kind`` is the first word of the m-line (``audio``), ``port`` 0 means rejected, or bundled with another section.
    """

    index: int
    kind: str
    port: int | None = None
    mid: str | None = None
    ufrag: str | None = None
    pwd: str | None = field(default=None, repr=False)
    options: tuple[str, ...] = ()
    setup: str | None = None
    rtcp_mux: bool = False
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """The ICE parts of an SDP; ``pacing`` in milliseconds (RFC 8839 §5.5), ``bundle`` the mids of each group."""

    ufrag: str | None = None
    pwd: str | None = field(default=None, repr=False)
    options: tuple[str, ...] = ()
    lite: bool = False
    pacing: int | None = None
    setup: str | None = None
    bundle: tuple[tuple[str, ...], ...] = ()
    end_of_candidates: bool = False
    media: tuple[SdpMedia, ...] = ()
    problems: tuple[SdpProblem, ...] = ()

    @property
    def mids(self) -> tuple[str, ...]:
        """The identifications of the media sections, in order."""
        return tuple(section.mid for section in self.media if section.mid is not None)

    @property
    def candidates(self) -> tuple[tuple[str | None, Candidate], ...]:
        """Every candidate with the mid of its section, in order."""
        return tuple((section.mid, candidate) for section in self.media for candidate in section.candidates)


_is_ice_text = re.compile("[A-Za-z0-9+/]+").fullmatch
_is_token = re.compile("[!#$%&'*+.0-9A-Z^_`a-z{|}~-]+").fullmatch  # RFC 8866 §9: token
_is_pacing = re.compile("[0-9]{1,10}").fullmatch
# Characters of a user name fragment or password: one more than there may be (RFC 8839 §5.4), which shows.
_KEPT = 257
_SETUP = ("active", "passive", "actpass", "holdconn")


@dataclass(slots=True)
class _Section:
    """The session part, or one media section, while it is read."""

    kind: str = ""
    port: int | None = None
    mid: str | None = None
    ufrag: str | None = None
    pwd: str | None = field(default=None, repr=False)
    options: tuple[str, ...] = ()
    setup: str | None = None
    rtcp_mux: bool = False
    candidates: list[Candidate] = field(default_factory=list)
    end_of_candidates: bool = False


class _SdpReader:
    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.session = _Section()
        self.sections: list[_Section] = []
        self.lite = False
        self.pacing: int | None = None
        self.bundle: list[tuple[str, ...]] = []
        self.problems: list[SdpProblem] = []
        self.number = 0
        self.candidates = 0

    def read(self, line: str) -> None:
        """Take one line, without its end."""
        self.number += 1
        if line.startswith("m="):
            self._read_media(line[2:])
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            self._read_attribute(name, value, line)

    def _problem(self, text: str) -> None:
        if self.strict:
            raise DecodeError(f"SDP, line {self.number}: {text}")
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(SdpProblem(self.number, text))

    def _read_media(self, value: str) -> None:
        if len(self.sections) == MAX_MEDIA:
            raise DecodeError(f"SDP, line {self.number}: more than {MAX_MEDIA} media sections")
        words = value.split()
        kind, port = (words[0], words[1].partition("/")[0]) if len(words) > 1 else (value.strip(), "")
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None
        if number is None or number > 65535:
            number = None
            self._problem(f"m= wants a kind of media and a port from 0 to 65535, found {value[:60]!r}")
        self.sections.append(_Section(kind, number))

    def _read_attribute(self, name: str, value: str, line: str) -> None:
        here = self.sections[-1] if self.sections else self.session
        match name:
            case "candidate":
                self._read_candidate(line)
            case "end-of-candidates":
                here.end_of_candidates = True
            case "ice-ufrag":
                # RFC 8839 §5.4: 4 to 256 ice-chars; the password 22 to 256.
                if not (4 <= len(value) <= 256 and _is_ice_text(value)):
                    self._problem(f"ice-ufrag wants 4 to 256 letters, digits, + or /, found {value[:60]!r}")
                here.ufrag = value[:_KEPT]
            case "ice-pwd":
                if not (22 <= len(value) <= 256 and _is_ice_text(value)):
                    self._problem(f"ice-pwd wants 22 to 256 letters, digits, + or /, found {len(value)} characters")
                here.pwd = value[:_KEPT]
            case "ice-options":
                # RFC 8839 §5.6 separates with spaces; old browsers wrote commas.
                here.options = tuple(value.replace(",", " ").split() if not self.strict else value.split())
            case "ice-lite":
                self.lite = True
            case "ice-pacing":
                if _is_pacing(value):
                    self.pacing = int(value)
                else:
                    self._problem(f"ice-pacing wants milliseconds, found {value[:60]!r}")
            case "setup":
                if value not in _SETUP:
                    self._problem(f"setup wants {', '.join(_SETUP)}, found {value[:60]!r}")
                here.setup = value[:60]
            case "mid" if self.sections:
                if not _is_token(value):
                    self._problem(f"mid wants a token, found {value[:60]!r}")
                here.mid = value
            case "rtcp-mux":
                here.rtcp_mux = True
            case "group":
                semantics, *mids = value.split() or [""]
                if semantics == "BUNDLE":
                    self.bundle.append(tuple(mids))

    def _read_candidate(self, line: str) -> None:
        self.candidates += 1
        if self.candidates > MAX_CANDIDATES:
            raise DecodeError(f"SDP, line {self.number}: more than {MAX_CANDIDATES} candidates")
        # RFC 8839 §5.1: candidate is a media-level attribute.
        if not self.sections:
            self._problem("a candidate before the first m= line belongs to no media section")
            return
        try:
            self.sections[-1].candidates.append(Candidate.parse(line, strict=self.strict))
        except CandidateError as error:
            if self.strict:
                raise DecodeError(f"SDP, line {self.number}: {error}") from error
            self._problem(str(error))

    def finish(self) -> SessionDescription:
        session = self.session
        return SessionDescription(
            ufrag=session.ufrag,
            pwd=session.pwd,
            options=session.options,
            lite=self.lite,
            pacing=self.pacing,
            setup=session.setup,
            bundle=tuple(self.bundle),
            end_of_candidates=session.end_of_candidates,
            media=tuple(self._finish_media(index, section) for index, section in enumerate(self.sections)),
            problems=tuple(self.problems),
        )

    def _finish_media(self, index: int, section: _Section) -> SdpMedia:
        session = self.session
        return SdpMedia(
            index=index,
            kind=section.kind,
            port=section.port,
            mid=section.mid,
            # RFC 8839 §5.4: the session's credentials are a default for the sections.
            ufrag=section.ufrag if section.ufrag is not None else session.ufrag,
            pwd=section.pwd if section.pwd is not None else session.pwd,
            options=section.options or session.options,
            setup=section.setup if section.setup is not None else session.setup,
            rtcp_mux=section.rtcp_mux,
            candidates=tuple(section.candidates),
            end_of_candidates=section.end_of_candidates or session.end_of_candidates,
        )


def read_sdp(text: str, *, strict: bool = True) -> SessionDescription:
    """Read the ICE parts of ``text``; lines end in CRLF or LF.

    A broken ICE line is a DecodeError with its line number; its cause is the CandidateError where there is one. With
    ``strict=False`` candidates are read as ``Candidate.parse(…, strict=False)`` does, and lines that are of no use are
    listed in ``problems``. More than ``MAX_SDP`` characters, ``MAX_MEDIA`` sections or ``MAX_CANDIDATES`` candidates
    are an error in both cases.
    """
    if len(text) > MAX_SDP:
        raise DecodeError(f"SDP of {len(text)} characters, at most {MAX_SDP} are read")
    reader = _SdpReader(strict)
    for line in text.split("\n"):
        reader.read(line.removesuffix("\r"))
    return reader.finish()


@dataclass(frozen=True, slots=True)
class CandidateInit:
    """``RTCIceCandidateInit``: a candidate, or ``None`` for end-of-candidates, and the section that it belongs to."""

    candidate: Candidate | None
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None
    username_fragment: str | None = None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any] | None, *, strict: bool = True) -> CandidateInit:
        """Read ``{"candidate", "sdpMid", "sdpMLineIndex", "usernameFragment"}``; ``None`` is end-of-candidates.

        Other keys are ignored: browsers also write the parts of the candidate. DecodeError names the key.
        """
        if value is None:
            return cls(None)
        if not isinstance(value, Mapping):
            raise DecodeError(f"candidate JSON: found {type(value).__name__}, allowed: an object or null")
        if "candidate" not in value:
            raise DecodeError("candidate JSON: the key candidate is missing")
        line = _optional(value, "candidate", str)
        index = _optional(value, "sdpMLineIndex", int)
        if index is not None and not 0 <= index <= 65535:
            raise DecodeError(f"candidate JSON, sdpMLineIndex: found {index}, allowed: 0 to 65535 or null")
        return cls(
            None if line is None or is_end_of_candidates(line) else Candidate.parse(line, strict=strict),
            _optional(value, "sdpMid", str),
            index,
            _optional(value, "usernameFragment", str),
        )

    @classmethod
    def from_json(cls, text: str, *, strict: bool = True) -> CandidateInit:
        """Read the JSON text of such an object, or ``null``."""
        if len(text) > MAX_SDP:
            raise DecodeError(f"candidate JSON of {len(text)} characters, at most {MAX_SDP} are read")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"candidate JSON: {error}") from None
        return cls.from_dict(value, strict=strict)

    def to_dict(self) -> dict[str, str | int | None]:
        """What ``RTCIceCandidate.toJSON()`` gives; the candidate of end-of-candidates is ``""``."""
        return {
            "candidate": "" if self.candidate is None else str(self.candidate),
            "sdpMid": self.sdp_mid,
            "sdpMLineIndex": self.sdp_mline_index,
            "usernameFragment": self.username_fragment,
        }

    def to_json(self) -> str:
        """The same as compact JSON text."""
        return json.dumps(self.to_dict(), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class GatheringError:
    """``RTCPeerConnectionIceErrorEvent``: ``code`` is STUN's error number, or 701 where the server was not reached."""

    url: str
    code: int
    text: str = ""
    address: str | None = None
    port: int | None = None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> GatheringError:
        """Read ``{"url", "errorCode", "errorText", "address", "port"}``; DecodeError names the key."""
        code = _optional(value, "errorCode", int)
        if code is None:
            raise DecodeError("candidate error JSON: the key errorCode is missing")
        return cls(
            _optional(value, "url", str) or "",
            code,
            _optional(value, "errorText", str) or "",
            _optional(value, "address", str),
            _optional(value, "port", int),
        )


def _optional(value: Mapping[str, Any], key: str, kind: type) -> Any:
    found = value.get(key)
    if found is not None and (not isinstance(found, kind) or isinstance(found, bool)):
        wanted = "a string" if kind is str else "a number"
        raise DecodeError(f"candidate JSON, {key}: found {type(found).__name__}, allowed: {wanted} or null")
    return found
