"""``icekit turn``: one TURN server, stage by stage, with data proven through the relay in both directions."""

from __future__ import annotations

import typer

from icekit.cli.command import run
from icekit.cli.options import Credential, JsonOutput, ServerUrl, Username, read_server, read_value
from icekit.cli.output import MarkdownOutput, Redact, print_turn, read_output
from icekit.errors import ConfigError


def turn(
    url: ServerUrl,
    username: Username = None,
    credential: Credential = None,
    json: JsonOutput = False,
    markdown: MarkdownOutput = False,
    redact: Redact = None,
) -> None:
    """Test one TURN server: resolve, connect, allocate, permission, channel, data both ways, refresh, release.

    Exit code 1: a stage failed.
    """
    from icekit.aio.dns import Resolver
    from icekit.aio.relay_check import RelayCheck
    from icekit.cli import render
    from icekit.report import StageResult, TurnReport
    from icekit.rules_stages import turn_findings
    from icekit.servers import ServerUri

    output = read_output(json=json, markdown=markdown, redact=redact)
    username, credential = read_value("--username", username), read_value("--credential", credential)
    server = read_server(url, username, credential)
    uri = server.urls[0]
    if not uri.is_turn:
        raise ConfigError(f"{uri} is a STUN server; icekit probe {uri} tests it, icekit turn needs turn: or turns:")
    name, password = server.require_credentials()

    def show(report: TurnReport) -> None:
        print_turn(report, turn_findings(report), output, server)

    with render.Progress() as progress:

        def passed(uri: ServerUri, stage: StageResult) -> None:
            progress.show(f"{uri}: {stage.name} {'passed' if stage.ok else 'failed'}")

        check = RelayCheck(uri, name, password, Resolver(), on_stage=passed)

        def interrupted() -> None:
            progress.stop()
            typer.echo("icekit: interrupted; this is what was known by then", err=True)
            show(check.report)

        report = run(check.run(), interrupted)
    show(report)
    raise typer.Exit(0 if report.ok else 1)
