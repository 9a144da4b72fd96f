"""``icekit watch``: a fleet of STUN and TURN servers, checked for ever or once."""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icekit.cli.command import run
from icekit.cli.options import JsonOutput
from icekit.errors import ConfigError

if TYPE_CHECKING:
    from icekit.watch.fleet import ServerResult
    from icekit.watch.fleet_file import FleetConfig

FleetFile = Annotated[Path, typer.Argument(metavar="FILE", help="The fleet: a TOML file, see above.")]
Once = Annotated[
    bool, typer.Option("--once", help="Check every server once; one line and the exit code of a Nagios plugin.")
]
OpenMetrics = Annotated[bool, typer.Option("--openmetrics", help="With --once: print the metrics instead of the line.")]
Listen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where Prometheus finds the metrics, at /metrics.")
]
Warn = Annotated[
    float,
    typer.Option("--warn-days", metavar="DAYS", help="Warn when a certificate or user name ends within so many days."),
]

_DAY = 86_400


class Nagios(IntEnum):
    """Exit codes of a monitoring plugin."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def watch(
    file: FleetFile,
    once: Once = False,
    json: JsonOutput = False,
    openmetrics: OpenMetrics = False,
    listen: Listen = "127.0.0.1:9470",
    warn_days: Warn = 14.0,
) -> None:
    """Check every server of a fleet at intervals: Prometheus metrics, or --once for Nagios and cron.

    FILE has a table [[server]] for each, with url and, for TURN, username and credential (or credential_file,
    credential_env), or the shared secret: secret, secret_file or secret_env. Above them may stand interval = 60 and
    timeout = 30, in seconds.

    Exit codes of --once are those of a Nagios plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    """
    from icekit.watch.fleet_file import read_fleet

    if openmetrics and (json or not once):
        raise ConfigError("--openmetrics prints one set of metrics: it needs --once, and excludes --json")
    try:
        fleet = read_fleet(file)
    except ConfigError as error:
        if not once or json or openmetrics:
            raise
        # A monitoring system reads stdout, and takes an exit code of 2 for a server that is down.
        typer.echo(f"ICEKIT {Nagios.UNKNOWN.name} - {error}")
        raise typer.Exit(Nagios.UNKNOWN) from None
    if once:
        results = run(_check_once(fleet), lambda: None)
        raise typer.Exit(_print_once(results, warn_days * _DAY, json=json, openmetrics=openmetrics))
    run(_serve(fleet, listen, _print_line if json else _say), lambda: None)


async def _check_once(config: FleetConfig) -> list[ServerResult]:
    from icekit.watch.fleet import Fleet

    results = [result async for result in Fleet(config).results(once=True)]
    order = [server.name for server in config.servers]
    return sorted(results, key=lambda result: order.index(result.server.name))


def _print_once(results: Sequence[ServerResult], warn: float, *, json: bool, openmetrics: bool) -> Nagios:
    state = max(nagios(result, warn) for result in results)
    if openmetrics:
        from icekit.watch.metrics import FleetMetrics

        metrics = FleetMetrics()
        for result in results:
            metrics.add(result)
        sys.stdout.write(metrics.openmetrics())
    elif json:
        document = {"schema": "icekit/watch/1", "state": state.name, "results": [as_json(item) for item in results]}
        sys.stdout.write(json_module.dumps(document, indent=2) + "\n")
    else:
        typer.echo(status_line(results, warn))
    return state


def nagios(result: ServerResult, warn: float) -> Nagios:
    """The state of one server; ``warn``: seconds before the end of a certificate or user name."""
    if not result.ok:
        return Nagios.CRITICAL
    return Nagios.WARNING if _ending(result, warn) else Nagios.OK


def _ending(result: ServerResult, warn: float) -> str:
    for what, when in (("certificate", result.certificate_expires), ("user name", result.credentials_expire)):
        if when is not None and when - result.at < warn:
            return f"its {what} ends in {(when - result.at) / _DAY:.0f} days"
    return ""


def status_line(results: Sequence[ServerResult], warn: float) -> str:
    """The line of a Nagios plugin: the state, what is wrong, and seconds per server behind the bar."""
    state = max(nagios(result, warn) for result in results)
    good = sum(result.ok for result in results)
    bad = [
        f"{result.server.name} {result.code}{f' ({result.cause})' if result.cause else ''}"
        if not result.ok
        else f"{result.server.name} {_ending(result, warn)}"
        for result in results
        if nagios(result, warn) is not Nagios.OK
    ]
    performance = " ".join(f"'{result.server.name.replace(chr(39), '')}'={result.seconds:.3f}s" for result in results)
    return f"ICEKIT {state.name} - {'; '.join([f'{good} of {len(results)} servers work', *bad])} | {performance}"


def as_json(result: ServerResult) -> dict[str, Any]:
    """One result without anything secret."""
    from icekit.report import to_dict

    return {
        "name": result.server.name,
        "url": str(result.server.uri),
        "at": result.at,
        "seconds": result.seconds,
        "code": result.code,
        "cause": result.cause,
        "turn": to_dict(result.turn),
        "stun": to_dict(result.stun),
        "certificate_expires": result.certificate_expires,
        "credentials_expire": result.credentials_expire,
    }


def _print_line(result: ServerResult) -> None:
    sys.stdout.write(json_module.dumps(as_json(result)) + "\n")
    sys.stdout.flush()


def _say(result: ServerResult) -> None:
    """Only what changed is worth a line; the metrics have the rest."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.at))
    cause = f" ({result.cause})" if result.cause else ""
    typer.echo(f"{when}  {result.server.name}  {result.code}{cause}  {result.seconds:.3f} s")


async def _serve(config: FleetConfig, listen: str, show: Callable[[ServerResult], None]) -> None:
    from icekit.net import Address
    from icekit.watch.fleet import Fleet
    from icekit.watch.metrics import FleetMetrics, start_http_server

    try:
        address = Address.parse(listen)
    except ConfigError:
        raise ConfigError(f"--listen: {listen!r} is no HOST:PORT; write an address such as 127.0.0.1:9470") from None
    metrics = FleetMetrics()
    try:
        server, thread = start_http_server(address.port, address.host, registry=metrics.registry)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"--listen {address}: {reason}; choose another address or port") from None
    typer.echo(f"metrics at http://{Address(address.host, server.server_port)}/metrics", err=True)
    codes: dict[str, str] = {}
    try:
        async for result in Fleet(config).results():
            metrics.add(result)
            if show is _print_line or codes.get(result.server.name) != result.code:
                show(result)
            codes[result.server.name] = result.code
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
