"""Candidate lines: icekit's parse with full validation against aioice's from_sdp without any, in one run.

    python benchmarks/bench_candidate.py

Every round times both on the same distinct lines, one directly after the other, in alternating order; the ratio is the
median over the rounds, so that a machine that slows down half-way slows both.
"""

from __future__ import annotations

import random
import statistics
import time
import uuid
from typing import TYPE_CHECKING

import aioice

from icekit.candidate import Candidate
from icekit.sdp import read_sdp

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = 2000
ROUNDS = 60
BAR = 2.0


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


def seconds(work: Callable[[str], object], lines: list[str]) -> float:
    """How long ``work`` takes for all lines."""
    start = time.perf_counter()
    for text in lines:
        work(text)
    return time.perf_counter() - start


def compare(ours: Callable[[str], object], theirs: Callable[[str], object], ours_in: list, theirs_in: list) -> None:
    """Print the microseconds of both and the median ratio."""
    samples: list[tuple[float, float]] = []
    for number in range(ROUNDS):
        if number % 2:
            left = seconds(ours, ours_in)
            samples.append((left, seconds(theirs, theirs_in)))
        else:
            right = seconds(theirs, theirs_in)
            samples.append((seconds(ours, ours_in), right))
    ratio = statistics.median(left / right for left, right in samples)
    micro = [1e6 * statistics.median(column) / LINES for column in zip(*samples, strict=True)]
    print(f"icekit {micro[0]:.2f} µs, aioice {micro[1]:.2f} µs, ratio {ratio:.2f}", end="")


def main() -> None:
    """Print the three comparisons."""
    source = random.Random(1)
    lines = list({line(source): None for _ in range(2 * LINES)})[:LINES]
    print("parse:  ", end="")
    compare(Candidate.parse, aioice.Candidate.from_sdp, lines, lines)
    print(f" (bar: at most {BAR})")
    print("format: ", end="")
    compare(
        Candidate.__str__,
        aioice.Candidate.to_sdp,
        [Candidate.parse(text) for text in lines],
        [aioice.Candidate.from_sdp(text) for text in lines],
    )
    print(" (aioice drops what it does not know)")
    sdp = session_description(lines)
    read = [seconds(read_sdp, [sdp] * 100) for _ in range(10)]
    print(f"SDP:    {len(sdp.splitlines())} lines with 12 candidates in {1e4 * statistics.median(read):.0f} µs")


def session_description(lines: list[str]) -> str:
    """Sixty lines: one audio section with codecs and twelve candidates."""
    top = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=ice-options:trickle"]
    media = ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=ice-ufrag:abcd"]
    media += ["a=ice-pwd:0123456789012345678901", "a=setup:actpass", "a=rtcp-mux"]
    candidates = [f"a=candidate:{text}" for text in lines[:12]]
    codecs = [f"a=rtpmap:{number} opus/48000/2" for number in range(60 - len(top) - len(media) - len(candidates))]
    return "\r\n".join([*top, *media, *codecs, *candidates, ""])


if __name__ == "__main__":
    main()
