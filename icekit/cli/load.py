"""``icekit load``: how much one's own TURN server carries, and what gives in first."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from icekit.cli.command import run
from icekit.cli.options import Credential, JsonOutput, ServerUrl, Username, read_server, read_value
from icekit.errors import ConfigError

if TYPE_CHECKING:
    from icekit.bench.load_plan import LoadPlan
    from icekit.reachability import Target
    from icekit.relay_user import RelayUser
    from icekit.servers import ServerUri


def load(
    url: ServerUrl,
    username: Username = None,
    credential: Credential = None,
    allocations: Annotated[
        int, typer.Option("--allocations", metavar="N", help="Open so many; with --ramp, so many more in each step.")
    ] = 10,
    rate: Annotated[float, typer.Option("--rate", metavar="PACKETS", help="Per second, for each allocation.")] = 20.0,
    size: Annotated[int, typer.Option("--size", metavar="BYTES", help="Payload of a packet, 30 to 1200.")] = 200,
    duration: Annotated[float, typer.Option("--duration", metavar="SECONDS", help="Of the test, or a step.")] = 10.0,
    ramp: Annotated[
        bool, typer.Option("--ramp", help="Step by step, until the server refuses, or something is too much.")
    ] = False,
    max_allocations: Annotated[
        int, typer.Option("--max-allocations", metavar="N", help="With --ramp: no more than these.")
    ] = 1000,
    max_loss: Annotated[
        float, typer.Option("--max-loss", metavar="PERCENT", help="More packets lost is too much.")
    ] = 1.0,
    max_latency: Annotated[
        float,
        typer.Option("--max-latency", metavar="MS", help="If 1 % of the packets take longer, there and back, too."),
    ] = 250.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it begins.")] = False,
    own: Annotated[
        bool, typer.Option("--i-own-this-server", help="A server on the Internet is mine, and may be loaded.")
    ] = False,
    json: JsonOutput = False,
) -> None:
    """Load your own TURN server: many allocations, packets through each to a peer and back, everything released.

    Exit code 1: the server did not hold what was asked for (with --ramp: not even the first step).
    """
    from icekit.bench.load_plan import LoadPlan
    from icekit.relay_user import RelayUser

    plan = LoadPlan(
        allocations=allocations,
        rate=rate,
        size=size,
        duration=duration,
        ramp=ramp,
        max_allocations=max_allocations,
        max_loss=max_loss / 100,
        max_latency=max_latency / 1000,
    )
    server = read_server(url, read_value("--username", username), read_value("--credential", credential))
    uri: ServerUri = server.urls[0]
    if not uri.is_turn:
        raise ConfigError(f"{uri} is a STUN server, which has no allocations; icekit load needs turn: or turns:")
    name, password = server.require_credentials()
    target, host = _find(uri)
    _confirm(target, plan, yes=yes, own=own)
    raise typer.Exit(0 if _run(RelayUser(target, host, name, password, os.urandom), plan, json=json) else 1)


def _find(uri: ServerUri) -> tuple[Target, str]:
    from icekit.bench.load import find_server

    return run(find_server(uri), lambda: None)


def _confirm(target: Target, plan: LoadPlan, *, yes: bool, own: bool) -> None:
    """ConfigError unless a person says that it may begin, and that a server on the Internet is theirs."""
    from icekit.bench.load_plan import needs_ownership

    if needs_ownership(target.address.host) and not own:
        raise ConfigError(
            f"{target.address} is a public address: a load test of somebody else's server is an attack; "
            "if it is yours, add --i-own-this-server"
        )
    if yes:
        return
    if not has_terminal():
        raise ConfigError("nobody is there to be asked whether the load test may begin; add --yes")
    typer.echo(f"{target.url} ({target.address}): {plan.describe()}.", err=True)
    # typer.confirm writes to stdout, too, where the result goes.
    typer.echo("Others who use this server will notice. Begin? [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("the load test was not begun")


def has_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


def _run(user: RelayUser, plan: LoadPlan, *, json: bool) -> bool:
    from icekit.bench.load import LoadTest
    from icekit.cli import render
    from icekit.cli.load_page import load_page

    with render.Progress() as progress:
        test = LoadTest(user, plan, progress=progress.show)

        def show() -> None:
            progress.stop()
            if json:
                render.print_json(test.report)
            else:
                render.print_page(load_page(test.report))

        def interrupted() -> None:
            progress.stop()
            typer.echo("icekit: interrupted; this is what was known by then", err=True)
            show()

        run(test.run(), interrupted)
        show()
    return test.report.ok
