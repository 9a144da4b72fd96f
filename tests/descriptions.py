"""A modern offer and its answer, to be changed in one place by a test; addresses are those of a home and a server."""

from __future__ import annotations

HOST_LINE = "a=candidate:1 1 udp 2122260223 192.168.1.8 62076 typ host generation 0"
SRFLX_LINE = "a=candidate:2 1 udp 1686052607 8.8.4.4 62076 typ srflx raddr 192.168.1.8 rport 62076 generation 0"
RELAY_LINE = "a=candidate:3 1 udp 41885695 9.9.9.9 18244 typ relay raddr 8.8.4.4 rport 62076 generation 0"
TCP_LINE = "a=candidate:4 1 tcp 1518280447 192.168.1.8 9 typ host tcptype active generation 0"
MDNS_LINE = "a=candidate:5 1 udp 2113937151 2f9e0e7c-6b5e-4d3c-9d8e-0a1b2c3d4e5f.local 54321 typ host"
CANDIDATES = (HOST_LINE, SRFLX_LINE, RELAY_LINE)
FAR_CANDIDATES = (
    "a=candidate:7 1 udp 2130706431 10.9.8.7 40000 typ host",
    "a=candidate:8 1 udp 1694498815 1.1.1.1 40000 typ srflx raddr 10.9.8.7 rport 40000",
)


def section(
    *candidates: str,
    kind: str = "application",
    mid: str = "0",
    ufrag: str = "oHWq",
    pwd: str = "PpdDpT6zFPfyT+8E2Dv8Nzwq",
    setup: str = "actpass",
    port: int = 9,
    ends: bool = True,
    options: str = "trickle",
) -> list[str]:
    lines = [f"m={kind} {port} UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", *candidates]
    lines += [f"a=ice-ufrag:{ufrag}"] * bool(ufrag) + [f"a=ice-pwd:{pwd}"] * bool(pwd)
    lines += [f"a=ice-options:{options}"] * bool(options) + ["a=end-of-candidates"] * ends
    return [*lines, f"a=setup:{setup}", f"a=mid:{mid}"]


def sdp(*sections: list[str], bundle: str = "0", lite: bool = False) -> str:
    head = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", *["a=ice-lite"] * lite]
    head += [f"a=group:BUNDLE {bundle}"] * bool(bundle)
    return "".join(f"{line}\r\n" for line in (*head, *(line for each in sections for line in each)))


def far_section(*candidates: str, **changes: object) -> list[str]:
    values = {"ufrag": "aBcD", "pwd": "QQQQQT6zFPfyT+8E2Dv8Nzwq", "setup": "active"} | changes
    return section(*(candidates or FAR_CANDIDATES), **values)  # type: ignore[arg-type]


OFFER = sdp(section(*CANDIDATES))
ANSWER = sdp(far_section())
