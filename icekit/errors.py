"""Every exception that icekit raises, in one tree.

::

    IcekitError                       exit code 3
    ├── ProtocolError                 a peer, a server or a text broke a grammar or a rule
    │   ├── DecodeError (ValueError)  bytes or text that cannot be read
    │   │   ├── CandidateError        which field, where, what is allowed
    │   │   ├── UriError              which part of a stun: or turn: URI, where
    │   │   └── TokenError            a room token that opens nothing
    │   └── ErrorResponse             a STUN error response (RFC 8489 §14.8)
    ├── InvalidState                  the caller used an object in the wrong order
    ├── ConnectivityError             exit code 1: it ran, there is no path
    │   ├── TransactionTimeout        a request that nobody answered
    │   ├── IceFailed (ConnectionError)  no candidate pair works
    │   └── CallFailed                a call did not come about, or broke; with its findings
    ├── SignalingError                a signaling channel broke
    ├── NegotiationError              offer and answer do not fit; with findings
    ├── ProgramError                  a program that another stack runs in broke its protocol, or ended
    ├── SimulationDeadlock            a simulated program waits for ever
    ├── SimulationRealClock           it would wait for a clock that is not simulated
    ├── SimulationTimeLimit           a simulated program ran past its limit
    └── ConfigError (ValueError)      exit code 2: what the caller asked for cannot be
        ├── MissingCredentials        a TURN server without user name or password
        ├── UnusableCredentials (ConnectionError)  the peer's, with which no check can be made
        └── MissingExtra              an optional dependency is not installed

Attributes hold data, ``__str__`` builds the sentence; a secret is in neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from icekit.report import Finding


class IcekitError(Exception):
    """The root of all errors; ``exit_code`` is what a command ends with."""

    exit_code: ClassVar[int] = 3


class ProtocolError(IcekitError):
    """A peer, a server or a text broke a grammar or a rule."""


class DecodeError(ProtocolError, ValueError):
    """Bytes or text that cannot be read."""


class _FieldError(DecodeError):
    """A text with a wrong field: ``field``, ``column`` (from 1), ``found``, ``allowed``, whole ``text``."""

    what: ClassVar[str] = "text"

    def __init__(self, field: str, column: int, found: str, allowed: str, text: str) -> None:
        super().__init__(field, column, found, allowed, text)
        self.field = field
        self.column = column
        self.found = found
        self.allowed = allowed
        self.text = text

    def __str__(self) -> str:
        found = repr(self.found[:60]) if self.found else "nothing"
        return f"{self.what}, column {self.column}, {self.field}: found {found}, allowed: {self.allowed}"


class CandidateError(_FieldError):
    """A candidate line that does not follow RFC 8839 §5.1."""

    what = "candidate"


class UriError(_FieldError):
    """A server URI that does not follow RFC 7064 or RFC 7065; ``corrected``: what was probably meant, if it shows."""

    what = "server URI"

    def __init__(
        self, field: str, column: int, found: str, allowed: str, text: str, corrected: str | None = None
    ) -> None:
        super().__init__(field, column, found, allowed, text)
        self.args = (field, column, found, allowed, text, corrected)
        self.corrected = corrected

    def __str__(self) -> str:
        sentence = super().__str__()
        return sentence if self.corrected is None else f"{sentence}; write {self.corrected}"


class TokenError(DecodeError):
    """A room token that opens nothing; the token itself is not in the text."""


class ErrorResponse(ProtocolError):
    """A STUN error response: ``code`` (300–699) and the server's ``reason`` phrase (RFC 8489 §14.8)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        # The phrase is the server's: it must not steer a terminal.
        reason = "".join(
            character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in self.reason
        )
        return f"{self.code} {reason}".rstrip()


class InvalidState(IcekitError):
    """The caller used an object in the wrong order; a defect of the calling program."""


class ConnectivityError(IcekitError):
    """It ran, and there is no path."""

    exit_code = 1


class TransactionTimeout(ConnectivityError):
    """A request that nobody answered: ``sent`` transmissions in ``seconds``."""

    def __init__(self, sent: int, seconds: float) -> None:
        super().__init__(sent, seconds)
        self.sent = sent
        self.seconds = seconds

    def __str__(self) -> str:
        plural = "" if self.sent == 1 else "s"
        return f"no answer to {self.sent} transmission{plural} in {self.seconds:.1f} s"


class IceFailed(ConnectivityError, ConnectionError):
    """No candidate pair works (RFC 8445 §8.1.2), or none works any more (RFC 7675); a ConnectionError, too.

    ``findings`` say what became of the checks; there are none where nothing was checked yet.
    """

    def __init__(self, reason: str, findings: tuple[Finding, ...] = ()) -> None:
        # A ConnectionError with two arguments would take the first one for a number.
        super().__init__(reason)
        self.findings = findings


class CallFailed(ConnectivityError):
    """A call did not come about, or broke: its ``code``, and the ``findings`` of both sides (``icekit.report``)."""

    def __init__(self, code: str, reason: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(code, reason, findings)
        self.code = code
        self.reason = reason
        self.findings = findings

    def __str__(self) -> str:
        sentence = self.findings[0].message if self.findings else self.reason
        return f"{sentence} ({self.code}: {self.reason})"


class SignalingError(IcekitError):
    """A signaling channel broke."""


class NegotiationError(IcekitError):
    """A description that cannot be used, or an answer that does not fit its offer; ``findings`` say what is wrong.

    It ends a ``Call`` that is not connected, which then raises ``CallFailed`` with the same findings.
    """

    def __init__(self, reason: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(reason, findings)
        self.reason = reason
        self.findings = findings

    def __str__(self) -> str:
        return f"{self.findings[0].message} ({self.reason})" if self.findings else self.reason


class ProgramError(IcekitError):
    """A program that runs another stack broke its protocol or ended; ``output`` is the end of its stderr."""

    def __init__(self, program: str, reason: str, output: str = "") -> None:
        super().__init__(program, reason, output)
        self.program = program
        self.reason = reason
        self.output = output

    def __str__(self) -> str:
        said = f"; it said: {self.output}" if self.output else ""
        return f"the program {self.program}: {self.reason}{said}"


class _SimulationStopped(IcekitError):
    """At ``seconds`` of virtual time; ``tasks``: one line for each unfinished task, with what it waits for."""

    what: ClassVar[str] = "stopped"

    def __init__(self, seconds: float, tasks: tuple[str, ...]) -> None:
        super().__init__(seconds, tasks)
        self.seconds = seconds
        self.tasks = tasks

    def __str__(self) -> str:
        return "\n  ".join((f"{self.what} at {self.seconds:.6f} s of virtual time:", *self.tasks))


class SimulationDeadlock(_SimulationStopped):
    """A simulated program waits for ever: nothing is ready and nothing is scheduled."""

    what = "deadlock"


class SimulationTimeLimit(_SimulationStopped):
    """A simulated program was still running at the limit."""

    what = "not finished"


class SimulationRealClock(_SimulationStopped):
    """A simulated program would wait for OpenSSL's DTLS timer, which reads the real clock and not the virtual one."""

    what = "a DTLS record was lost or late, and OpenSSL repeats it by the real clock (use Link(lossless=is_dtls)),"


class ConfigError(IcekitError, ValueError):
    """What the caller asked for cannot be: the text says what, where and how to put it right."""

    exit_code = 2


class UnusableCredentials(ConnectionError, ConfigError):
    """A user name fragment or password of the peer with which no check can be made (RFC 8839 §5.4).

    A ConnectionError, too: whoever connects expects one where there will be no connection.
    """


class MissingCredentials(ConfigError):
    """A TURN server without user name or password; ``missing`` has ``"username"``, ``"credential"`` or both."""

    def __init__(self, url: str, missing: tuple[str, ...]) -> None:
        super().__init__(url, missing)
        self.url = url
        self.missing = missing

    def __str__(self) -> str:
        return f"{self.url} needs a {' and '.join(self.missing)}; give {' and '.join(self.missing)} beside its URL"


class MissingExtra(ConfigError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(feature, extra)
        self.feature = feature
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.feature} needs an extra: pip install 'icekit[{self.extra}]'"
