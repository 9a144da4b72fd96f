"""In which form a report is printed, and what of it: ``--json``, ``--markdown``, ``--html``, ``--redact``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from icekit.errors import ConfigError

if TYPE_CHECKING:
    from icekit.redaction import Redactor
    from icekit.report import Finding, ProbeReport, TurnReport
    from icekit.servers import IceServer

MarkdownOutput = Annotated[
    bool, typer.Option("--markdown", help="Print the report as Markdown, for a ticket; redacted.")
]
HtmlOutput = Annotated[
    bool, typer.Option("--html", help="Print the report as one HTML file with drawings; redacted.")
]  # fmt: skip
Redact = Annotated[
    bool | None,
    typer.Option(
        "--redact/--no-redact",
        help="Tokens such as private4-A in the place of addresses and names. On in what is made for a ticket.",
    ),
]


class Form(StrEnum):
    """What the reader of the output is."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Output:
    """How to print; ``redact`` hides what identifies somebody."""

    form: Form
    redact: bool


def read_output(
    *, json: bool = False, markdown: bool = False, html: bool = False, redact: bool | None = None
) -> Output:
    """What the options of a command ask for; ConfigError if they ask for two forms."""
    wanted = [form for form, asked in ((Form.JSON, json), (Form.MARKDOWN, markdown), (Form.HTML, html)) if asked]
    if len(wanted) > 1:
        raise ConfigError(f"--{wanted[0]} and --{wanted[1]} are two forms of one report; give one of them")
    form = wanted[0] if wanted else Form.TEXT
    # What is made to be passed on shows nobody's addresses unless that is asked for.
    return Output(form, form in (Form.MARKDOWN, Form.HTML) if redact is None else redact)


def redactor_of(servers: Iterable[IceServer]) -> Redactor:
    """One that knows the names and passwords of these servers."""
    from icekit.redaction import Redactor

    listed = list(servers)
    return Redactor(
        secrets=[server.credential for server in listed if server.credential],
        users=[server.username for server in listed if server.username],
    )


def print_probe(report: ProbeReport, output: Output, servers: Iterable[IceServer]) -> None:
    """The report of ``icekit probe``; ``servers`` are those that were asked."""
    from icekit.cli import render
    from icekit.cli.probe_page import probe_page
    from icekit.report import ProbeReport, from_dict, to_dict

    if output.redact:
        report = from_dict(ProbeReport, redactor_of(servers).document(to_dict(report)))
    match output.form:
        case Form.JSON:
            render.print_json(report)
        case Form.TEXT:
            render.print_page(probe_page(report))
        case Form.MARKDOWN:
            from icekit.cli.markdown import markdown

            sys.stdout.write(markdown(probe_page(report)))
        case Form.HTML:
            from icekit.cli.probe_html import html

            sys.stdout.write(html(probe_page(report), report))


def print_turn(report: TurnReport, findings: Sequence[Finding], output: Output, server: IceServer) -> None:
    """The report of ``icekit turn``, which has no drawing of its own."""
    from icekit.cli import render
    from icekit.cli.probe_page import turn_page
    from icekit.report import Finding, TurnReport, from_dict, to_dict, turn_document

    if output.redact:
        redactor = redactor_of([server])
        report = from_dict(TurnReport, redactor.document(to_dict(report)))
        findings = [from_dict(Finding, redactor.document(to_dict(finding))) for finding in findings]
    if output.form is Form.JSON:
        render.print_json(turn_document(report, findings))
    elif output.form is Form.MARKDOWN:
        from icekit.cli.markdown import markdown

        sys.stdout.write(markdown(turn_page(report, findings)))
    else:
        render.print_page(turn_page(report, findings))
