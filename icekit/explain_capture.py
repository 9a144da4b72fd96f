"""What ``icekit explain`` says of a packet capture: every conversation, how far it came, and which stopped where."""

from __future__ import annotations

from icekit.conversations import Conversation, Side, outcome, read_conversations
from icekit.errors import DecodeError
from icekit.explanation import Explanation, Fact, Kind, Table
from icekit.pcap import read_capture
from icekit.report import Severity

_MAX_ROWS = 200


def explain_capture(data: bytes) -> Explanation:
    """``data`` is a whole pcap or pcapng file."""
    try:
        reading = read_capture(data)
    except DecodeError as error:
        return Explanation(Kind.UNKNOWN, "No known pattern.", problem=str(error))
    found = read_conversations(reading.packets)
    facts = [Fact("packets", str(len(reading.packets)), "UDP and TCP")]
    if reading.skipped:
        facts.append(Fact("skipped", str(reading.skipped), "other protocols, fragments, or cut short"))
    if reading.cut:
        facts.append(Fact("too long", "the rest was not read"))
    if not found:
        return Explanation(
            Kind.CAPTURE,
            "A capture without STUN, TURN, DTLS or media.",
            tuple(facts),
            problem="capture on the host that runs ICE, without a filter, or with: udp or tcp port 3478",
        )
    begin = min(item.first for item in found)
    order = sorted(found, key=lambda item: item.first)
    rows = tuple(_row(item, begin) for item in order[:_MAX_ROWS])
    return Explanation(
        Kind.CAPTURE,
        f"A capture of {len(found)} conversation{'s' if len(found) > 1 else ''}: {_sentence(order)}.",
        tuple(facts),
        tables=(Table("Conversations", ("ms", "between", "checks", "outcome"), rows),),
    )


def _sentence(conversations: list[Conversation]) -> str:
    """The best that was reached between two peers, or what a server did if there were none."""
    peers = [item for item in conversations if item.ice] or conversations
    best = max(peers, key=lambda item: (outcome(item).severity is Severity.OK, _progress(item)))
    return outcome(best).text


def _progress(item: Conversation) -> int:
    """How far it came, so that among failures the one that came farthest speaks."""
    one, other = (item.side(end) for end in (item.one, item.other))
    dtls = one.client_hellos + other.client_hellos
    return 1000 * min(dtls, 1) + 100 * item.nominated + min(one.answered + other.answered, 99)


def _row(item: Conversation, begin: float) -> tuple[str, ...]:
    through = f" through {item.relay}" if item.relay is not None else ""
    transport = "" if item.transport == "udp" else f" ({item.transport})"
    return (
        f"{(item.first - begin) * 1000:.0f}",
        f"{item.one} – {item.other}{through}{transport}",
        f"{_counts(item.side(item.one))} / {_counts(item.side(item.other))}",
        outcome(item).text,
    )


def _counts(side: Side) -> str:
    return f"{side.answered} of {side.checks}" if side.checks else "0"
