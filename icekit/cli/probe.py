"""``icekit probe``: what this network does, what each server does, and what that means for a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from icekit.cli.command import run
from icekit.cli.options import (
    Credential,
    JsonOutput,
    Require,
    ServersFile,
    ServerUrls,
    Username,
    read_requirements,
    read_servers,
    read_value,
)
from icekit.cli.output import HtmlOutput, MarkdownOutput, Redact, print_probe, read_output
from icekit.errors import ConfigError

if TYPE_CHECKING:
    from icekit.aio.prober import Prober, ProberConfig
    from icekit.cli import render
    from icekit.report import ProbeReport
    from icekit.servers import IceServer

LIFETIME_WAIT = 180.0
"""The longest silence of ``--lifetime``, in seconds."""

Local = Annotated[
    bool,
    typer.Option("--local", help="Start STUN and TURN servers on 127.0.0.1 and probe them; nothing leaves this host."),
]
Lifetime = Annotated[
    bool,
    typer.Option("--lifetime", help="Measure, too, how long the NAT remembers a silent socket: takes up to 3 min."),
]
LifetimeWait = Annotated[
    float | None,
    typer.Option(
        "--lifetime-wait", metavar="SECONDS", help="--lifetime, with this as the longest silence (180 otherwise)."
    ),
]
Portmap = Annotated[
    bool,
    typer.Option("--portmap", help="Ask the default gateway for UPnP, NAT-PMP and PCP; nothing is opened on it."),
]
With = Annotated[
    str | None,
    typer.Option(
        "--with",
        metavar="URL",
        help="Probe together with the other end, which runs the same command: ws://HOST:PORT/ROOM, tcp://HOST:PORT …",
    ),
]
Wait = Annotated[
    float | None,
    typer.Option("--wait", metavar="SECONDS", help="--with: give up when nobody comes for so long (60 s)."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="ICEKIT_TOKEN",
        help="--with: what the signaling server asks for; @FILE reads it.",
    ),
]


def probe(
    urls: ServerUrls = None,
    servers_file: ServersFile = None,
    username: Username = None,
    credential: Credential = None,
    local: Local = False,
    lifetime: Lifetime = False,
    lifetime_wait: LifetimeWait = None,
    portmap: Portmap = False,
    require: Require = None,
    with_url: With = None,
    wait: Wait = None,
    token: Token = None,
    json: JsonOutput = False,
    markdown: MarkdownOutput = False,
    html: HtmlOutput = False,
    redact: Redact = None,
) -> None:
    """Diagnose this network: NAT behaviour, every STUN and TURN server, and which calls will connect.

    Exit code 1: no call can be made from here, or what --require names is missing; --with: there is no path between
    the two ends, or the other one does not come (3: nothing answers at URL).
    """
    from icekit.aio.prober import ProberConfig
    from icekit.cli import render
    from icekit.verdict import exit_code

    required = read_requirements(require)
    output = read_output(json=json, markdown=markdown, html=html, redact=redact)
    if lifetime and lifetime_wait is None:
        lifetime_wait = LIFETIME_WAIT
    config = ProberConfig(local=local, lifetime=lifetime_wait, portmap=portmap)
    if local and (urls or servers_file):
        raise ConfigError("--local probes its own servers; leave out the URLs, or leave out --local")
    if local and portmap:
        raise ConfigError("--local sends nothing to the network, --portmap does; leave one of them out")
    servers = () if local else read_servers(urls, servers_file, username, credential)
    if servers and all(_is_on_this_host(url.host) for server in servers for url in server.urls):
        typer.echo("These servers are on this machine: the report says nothing about the network around it.", err=True)
    if with_url is not None:
        from icekit.cli.probe_with import probe_with

        if required:
            raise ConfigError("--require is about this network alone; leave it out, or leave out --with")
        probe_with(with_url, read_value("--token", token), wait, servers, config, output)
        return
    if wait is not None:
        raise ConfigError("--wait is for the other end of --with URL; give both, or leave it out")
    with render.Progress() as progress:
        probers: list[Prober] = []

        def interrupted() -> None:
            progress.stop()
            typer.echo("icekit: interrupted; this is what was known by then", err=True)
            for prober in probers:
                print_probe(prober.report, output, servers)

        report = run(_probe(servers, config, progress.show, probers), interrupted)
    print_probe(report, output, servers)
    raise typer.Exit(exit_code(report, required))


def _is_on_this_host(host: str) -> bool:
    from icekit.net import AddressClass, classify_host

    return host == "localhost" or classify_host(host) is AddressClass.LOOPBACK


async def _probe(
    servers: tuple[IceServer, ...], config: ProberConfig, on_progress: render.Show, probers: list[Prober]
) -> ProbeReport:
    from icekit.aio.local_servers import local_servers
    from icekit.aio.prober import Prober

    if not config.local:
        probers.append(Prober(servers, config=config, on_progress=on_progress))
        return await probers[0].run()
    async with local_servers() as embedded:
        probers.append(Prober(embedded, config=config, on_progress=on_progress))
        return await probers[0].run()
