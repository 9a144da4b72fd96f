"""``docs/findings.md``: the table of findings as a page. ``scripts/findings`` writes it, a test compares it."""

from __future__ import annotations

from collections.abc import Iterator

from icekit.catalogue import CODES
from icekit.report import Code
from icekit.stage_texts import CAUSES

_INTRODUCTION = """\
# Findings

<!-- Written by scripts/findings from the table in icekit/catalogue.py: change that, and run it. -->

A finding is a code, a severity, a sentence about what was seen, what to do, and the observations that prove it. The
same codes come out of every command, the library and the JSON; a code never changes its meaning.
`icekit explain CODE` prints its part of this page.

[한국어](ko/findings.md)

**error**: the call will fail, or the server is of no use. **warning**: probably not what was wanted. **info**:
harmless, not worth chasing. *Believed* is the mistake that brings people to the code; *seen in* are public threads
where they met it.
"""

_PARTS = (
    ("ICE", "Configuration, candidates and the network"),
    ("TURN", "Stages of a TURN server"),
    ("CALL", "Phases of a call"),
)

# On a page the names in a text stand for any server.
_NAMES = {"host": "HOST", "port": "PORT", "transport": "UDP or TCP"}


# Reports of real people, the text that they pasted (tests/threads has it), and what the thread found in the end. A test
# pastes each and wants the code as the first or second finding.
THREADS = (
    ("coturn/coturn#459", "a log of coturn", "lt-cred-mech beside use-auth-secret: it is refused", "TURN-401"),
    ("coturn/coturn#1021", "a log of coturn", "the peers are private: coturn does not relay to them", "TURN-403"),
    ("coturn/coturn#501", "a part of an SDP", "only a private address is told: external-ip is missing", "ICE009"),
    ("AlexxIT/go2rtc#68", "candidate lines", "only the address inside Docker is told", "ICE009"),
    ("node-webrtc/node-webrtc#591", "candidate lines", "only the address inside Docker is told", "ICE009"),
    ("whitphx/streamlit-webrtc#277", "a line of aioice", "the browser hides its address in a .local name", "ICE009"),
    ("daydreamlive/scope#4", "a line of aioice", "the container sends from Docker's own network", "ICE009"),
    ("wireapp/wire-server#317", "a log of coturn", "the server does not know the users of the application", "TURN-401"),
    ("aiortc/aiortc#428", "candidates of Firefox", "without a camera a browser tells .local names only", "ICE009"),
    ("html5rocks/www.html5rocks.com#1467", "an iceServers list", "credentials of a tutorial, ended in 2013", "ICE016"),
)  # fmt: skip


def findings_page() -> str:
    """The page, in Markdown."""
    return "\n".join([_INTRODUCTION, *_contents(), *_parts(), *_threads()])


def _threads() -> Iterator[str]:
    yield "## Reports of real people\n"
    yield "Pasted into `icekit explain`, each names what its thread found in the end.\n"
    yield "| thread | pasted | found in the end | finding |"
    yield "|---|---|---|---|"
    for place, pasted, cause, code in THREADS:
        link = f"https://github.com/{place.replace('#', '/issues/')}"
        yield f"| [{place}]({link}) | {pasted} | {cause} | [{code}](#{anchor(CODES[code])}) |"
    yield ""


def _contents() -> Iterator[str]:
    yield "| code | name | severity |"
    yield "|---|---|---|"
    for prefix, _ in _PARTS:
        yield from (f"| [{row.code}](#{anchor(row)}) | {row.name} | {row.severity} |" for row in _rows(prefix))
    yield ""


def _parts() -> Iterator[str]:
    for prefix, title in _PARTS:
        yield f"## {title}\n"
        for row in _rows(prefix):
            yield from _row(row)


def _rows(prefix: str) -> list[Code]:
    return [row for row in CODES.values() if row.code.startswith(prefix)]


def anchor(row: Code) -> str:
    """Where the page speaks of a code: the heading ``### CODE name``, as Markdown readers make it an address."""
    heading = f"{row.code} {row.name}".lower()
    return "".join(character for character in heading if character.isalnum() or character in " -").replace(" ", "-")


def _row(row: Code) -> Iterator[str]:
    yield f"### {row.code} {row.name}\n"
    yield f"Severity: {row.severity}.\n"
    if row.believed:
        yield f"- *Believed*: {row.believed}"
    yield f"- *True*: {_text(row.meaning)}"
    yield f"- *Fix*: {_text(row.fix)}"
    for (code, cause), text in CAUSES.items():
        if code == row.code:
            message, fix = _text(text.message), _text(text.fix)
            yield f"- *{cause}*: {message}. {fix}"
    if row.seen:
        links = (f"[{place}](https://github.com/{place.replace('#', '/issues/')})" for place in row.seen)
        yield f"- *Seen in*: {', '.join(links)}"
    yield ""


def _text(template: str) -> str:
    # A bracket would begin a link.
    return template.format_map(_NAMES).replace("[", "\\[")
