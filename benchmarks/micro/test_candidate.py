"""Candidate lines and descriptions: read with full validation, beside aioice and aiortc, which validate nothing."""

from __future__ import annotations

import random
import uuid

import aioice
import aiortc.sdp

from benchmarks.micro.conftest import Beside
from icekit.candidate import Candidate
from icekit.sdp import read_sdp

LINES = 1000


def ipv4(source: random.Random) -> str:
    """An address as hosts and NATs have it."""
    return (
        f"{source.choice((10, 172, 192, 203))}.{source.randrange(256)}.{source.randrange(256)}.{source.randrange(256)}"
    )


def ipv6(source: random.Random) -> str:
    """A global address without ``::``, as interfaces have it."""
    return "2001:db8:" + ":".join(f"{source.randrange(1, 65536):x}" for _ in range(6))


def line(source: random.Random) -> str:
    """What browsers and libraries send, in about the proportions of a dual-stack call."""
    foundation = str(source.randrange(2**32))
    port = source.randrange(1024, 65536)
    mdns = f"{uuid.UUID(int=source.getrandbits(128))}.local"
    chrome = f"generation 0 ufrag {source.randrange(2**20):04x} network-id {source.randrange(1, 5)} network-cost 10"
    return source.choice(
        (
            f"{foundation} 1 udp 2122260223 {ipv4(source)} {port} typ host {chrome}",
            f"{foundation} 1 udp 2122197247 {ipv6(source)} {port} typ host {chrome}",
            f"{foundation} 1 udp 2113937151 {mdns} {port} typ host {chrome}",
            f"{foundation} 1 tcp 1518280447 {ipv4(source)} 9 typ host tcptype active {chrome}",
            f"{foundation} 1 udp 1686052607 {ipv4(source)} {port} typ srflx raddr {ipv4(source)} rport {port} {chrome}",
            f"{foundation} 1 udp 41885439 {ipv4(source)} {port} typ relay raddr {ipv4(source)} rport {port} {chrome}",
            f"{source.randrange(9)} 1 UDP 2122252543 {ipv4(source)} {port} typ host",
            f"{source.randrange(9)} 1 UDP 1686052863 {ipv4(source)} {port} typ srflx raddr {ipv4(source)} rport {port}",
            f"{source.getrandbits(128):032x} 1 udp 2130706431 {ipv4(source)} {port} typ host",
        )
    )


def session_description(lines: list[str]) -> str:
    """Sixty lines: one audio section with codecs and twelve candidates."""
    top = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=ice-options:trickle"]
    media = ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=ice-ufrag:abcd"]
    media += ["a=ice-pwd:0123456789012345678901", "a=setup:actpass", "a=rtcp-mux"]
    candidates = [f"a=candidate:{text}" for text in lines[:12]]
    codecs = [f"a=rtpmap:{number} opus/48000/2" for number in range(60 - len(top) - len(media) - len(candidates))]
    return "\r\n".join([*top, *media, *codecs, *candidates, ""])


_source = random.Random(1)
TEXTS = list({line(_source): None for _ in range(2 * LINES)})[:LINES]


def test_parse_a_candidate(beside: Beside) -> None:
    def ours() -> None:
        for text in TEXTS:
            Candidate.parse(text)

    def theirs() -> None:
        for text in TEXTS:
            aioice.Candidate.from_sdp(text)

    beside(ours, theirs, units=LINES, rival="aioice", unit="line", bar=2.0)


def test_format_a_candidate(beside: Beside) -> None:
    """aioice leaves out the attributes that it does not know."""
    mine = [Candidate.parse(text) for text in TEXTS]
    stock = [aioice.Candidate.from_sdp(text) for text in TEXTS]

    def ours() -> None:
        for candidate in mine:
            str(candidate)

    def theirs() -> None:
        for candidate in stock:
            candidate.to_sdp()

    beside(ours, theirs, units=LINES, rival="aioice", unit="line")


def test_read_a_description(beside: Beside) -> None:
    """Sixty lines with twelve candidates; aiortc reads the media, too, and icekit what ICE needs."""
    sdp = session_description([text for text in TEXTS if ".local" not in text])

    def ours() -> None:
        for _ in range(10):
            read_sdp(sdp)

    def theirs() -> None:
        for _ in range(10):
            aiortc.sdp.SessionDescription.parse(sdp)

    beside(ours, theirs, units=10, rival="aiortc", unit="SDP")
