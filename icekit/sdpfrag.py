"""SDP fragments (RFC 8840 §9): ICE credentials and candidates apart from their description, as WHIP sends them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from icekit.candidate import Candidate
from icekit.errors import CandidateError, DecodeError
from icekit.remote_candidates import RemoteCandidate
from icekit.sdp import MAX_CANDIDATES, SdpMedia, read_sdp

CONTENT_TYPE = "application/trickle-ice-sdpfrag"
"""Media type of a fragment (RFC 8840 §9.1)."""

_is_token = re.compile("[!#$%&'*+.0-9A-Z^_`a-z{|}~-]{1,64}").fullmatch  # RFC 8866 §9: token
_is_ice_text = re.compile("[A-Za-z0-9+/]+").fullmatch  # RFC 8839 §5.4: ice-char


@dataclass(frozen=True, slots=True)
class Fragment:
    """Credentials of one generation, and candidates of it with the mid that they belong to.

    ``kind`` is the kind of media (``audio``) of the first section, which a fragment has to repeat. ``ended``: there
    will be no more candidates.
    """

    ufrag: str
    pwd: str = field(repr=False)
    mid: str = "0"
    kind: str = "audio"
    candidates: tuple[tuple[str, Candidate], ...] = ()
    ended: bool = False

    def __str__(self) -> str:
        # RFC 8840 §4.4: m-lines are pseudo m-lines, a mid in each says which section is meant.
        lines = [f"a=ice-ufrag:{self.ufrag}", f"a=ice-pwd:{self.pwd}"]
        for mid in dict.fromkeys([self.mid, *(mid for mid, _ in self.candidates)]):
            lines += [f"m={self.kind} 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}"]
            lines += [f"a={candidate}" for owner, candidate in self.candidates if owner == mid]
            lines += ["a=end-of-candidates"] * self.ended
        return "".join(f"{line}\r\n" for line in lines)


def read_fragment(text: str) -> Fragment:
    """Read a fragment, or the same parts of a whole description. Candidates that cannot be are left out.

    DecodeError: it is too long, or has no credentials.
    """
    found = read_sdp(text, strict=False)
    first = found.media[0] if found.media else None
    ufrag, pwd = (found.ufrag, found.pwd) if first is None else (first.ufrag, first.pwd)
    # RFC 8840 §4.4: a fragment has the credentials of its generation, so that nobody adds it to another one.
    if ufrag is None or pwd is None or not _fits(ufrag, 4) or not _fits(pwd, 22):
        raise DecodeError("SDP fragment: a=ice-ufrag of 4 or a=ice-pwd of 22 characters or more is missing")
    candidates = [(_mid(section), item) for section in found.media for item in section.candidates]
    return Fragment(
        ufrag=ufrag,
        pwd=pwd,
        mid="0" if first is None else _mid(first),
        kind="audio" if first is None or not _is_token(first.kind) else first.kind,
        candidates=tuple(candidates),
        ended=found.end_of_candidates or any(section.end_of_candidates for section in found.media),
    )


def collect(description: Fragment, trickled: Iterable[RemoteCandidate]) -> Fragment:
    """What of ``trickled`` belongs to the generation of ``description``; its own candidates are not repeated.

    A line that is no candidate is left out.
    """
    candidates: list[tuple[str, Candidate]] = []
    ended = False
    for item in trickled:
        if item.generation not in (None, description.ufrag):
            continue
        if item.is_end:
            ended = True
        elif len(candidates) < MAX_CANDIDATES:
            with contextlib.suppress(CandidateError):
                candidates.append((item.mid or description.mid, Candidate.parse(item.line, strict=False)))
    return Fragment(description.ufrag, description.pwd, description.mid, description.kind, tuple(candidates), ended)


def apply_fragment(sdp: str, fragment: Fragment) -> str:
    """``sdp`` with the credentials of ``fragment``, and with its candidates instead of those that are there.

    This is what both sides know after a restart over WHIP (RFC 9725 §4.3.3), where only fragments are exchanged.
    """
    lines: list[str] = []
    for line in sdp.splitlines():
        if line.startswith("a=ice-ufrag:"):
            lines.append(f"a=ice-ufrag:{fragment.ufrag}")
        elif line.startswith("a=ice-pwd:"):
            lines.append(f"a=ice-pwd:{fragment.pwd}")
        elif not line.startswith(("a=candidate:", "a=end-of-candidates")):
            lines.append(line)
    return add_candidates("".join(f"{line}\r\n" for line in lines), fragment)


def add_candidates(sdp: str, fragment: Fragment) -> str:
    """``sdp`` with the candidates of ``fragment`` at the end of their sections."""
    sections: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    for section in sections[1:]:
        mid = next((line[6:] for line in section if line.startswith("a=mid:")), fragment.mid)
        section += [f"a={candidate}" for owner, candidate in fragment.candidates if owner == mid]
        section += ["a=end-of-candidates"] * (fragment.ended and "a=end-of-candidates" not in section)
    return "".join(f"{line}\r\n" for section in sections for line in section)


def _mid(section: SdpMedia) -> str:
    # Without one that can be, its place is the best guess.
    return section.mid if section.mid is not None and _is_token(section.mid) else str(section.index)


def _fits(text: str, least: int) -> bool:
    return least <= len(text) <= 256 and _is_ice_text(text) is not None
