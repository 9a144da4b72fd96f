"""What a description says of ICE beyond candidates and credentials: trickle, pacing, renomination; and its flaws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from icekit.errors import DecodeError, IcekitError, NegotiationError
from icekit.generation import credential_flaw
from icekit.report import Finding
from icekit.rules_descriptions import credential_findings, misfits
from icekit.sdp import read_sdp

OPTIONS = "trickle ice2 renomination"
"""RFC 8838 §3: candidates may come at any time. RFC 8445 §10: nomination is regular. And a better pair may be nominated
later, which counts if both sides say so (draft-thatcher-ice-renomination).
"""


def announce(sdp: str, pacing: float) -> str:
    """``sdp`` with our options beside all credentials, and ``pacing`` in seconds (RFC 8839 §5.6 and §5.5)."""
    lines: list[str] = []
    for line in sdp.splitlines():
        if line.startswith(("a=ice-options:", "a=ice-pacing:")):
            continue
        lines.append(line)
        if line.startswith("t="):
            lines.append(f"a=ice-pacing:{round(pacing * 1000)}")
        elif line.startswith("a=ice-pwd:"):
            lines.append(f"a=ice-options:{OPTIONS}")
    return "".join(f"{line}\r\n" for line in lines)


# What ``Announced`` is read from; candidates are most of a description, and most of the work.
_ANNOUNCING = ("m=", "a=mid:", "a=ice-")


@dataclass(frozen=True, slots=True)
class Announced:
    """What a peer has said. ``pacing`` in seconds, ``ufrags`` by mid; ``flaw``: why its checks cannot be signed."""

    trickle: bool
    renomination: bool
    pacing: float | None
    ufrags: dict[str | None, str | None]
    flaw: str | None = None


def read_announced(sdp: str) -> Announced:
    """Read it from any SDP; what is wrong with it is for others to say."""
    lines = (line for line in sdp.split("\n") if line.startswith(_ANNOUNCING))
    try:
        description = read_sdp("\n".join(lines), strict=False)
    except DecodeError:
        return Announced(False, False, None, {})
    trickle, renomination = (
        bool(description.media) and all(option in section.options for section in description.media)
        for option in ("trickle", "renomination")
    )
    pacing = None if description.pacing is None else description.pacing / 1000
    # Rejected sections have no checks, and missing credentials are found by aiortc.
    told = {(item.ufrag, item.pwd) for item in description.media if item.port != 0 and item.ufrag and item.pwd}
    flaws = (credential_flaw(ufrag or "", pwd or "") for ufrag, pwd in told)
    ufrags = {section.mid: section.ufrag for section in description.media}
    return Announced(trickle, renomination, pacing, ufrags, next((flaw for flaw in flaws if flaw is not None), None))


def read_fingerprints(sdp: str) -> frozenset[str]:
    """The certificates that a description promises (RFC 8122 §5), to be compared: equal ones are one peer."""
    lines = (line.strip() for line in sdp.splitlines())
    return frozenset(line.removeprefix("a=fingerprint:").upper() for line in lines if line.startswith("a=fingerprint:"))


@contextmanager
def judged(offer: str, answer: str | None = None) -> Iterator[None]:
    """NegotiationError for whatever aiortc raises inside, with what is wrong in the description of the peer.

    That is ``answer``, to our ``offer``, or else ``offer`` itself.
    """
    try:
        yield
    except IcekitError:
        raise
    except Exception as error:
        raise NegotiationError(f"{type(error).__name__}: {error}", tuple(flaws(offer, answer))) from error


def flaws(offer: str, answer: str | None) -> Iterator[Finding]:
    """ICE025 to ICE027 of an ``answer`` to our ``offer``, or of the peer's ``offer``; nothing if one is unreadable."""
    try:
        offered = read_sdp(offer, strict=False)
        answered = None if answer is None else read_sdp(answer, strict=False)
    except DecodeError:
        return
    if answered is None:
        yield from credential_findings(offered, "The offer")
    else:
        yield from misfits(offered, answered)
        yield from credential_findings(answered, "The answer")
