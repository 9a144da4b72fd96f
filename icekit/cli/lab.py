"""``icekit lab``: any program behind any NAT, in network namespaces of this machine. Linux and root."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from icekit.cli.completion import lab_nats
from icekit.cli.options import JsonOutput
from icekit.errors import ConfigError

if TYPE_CHECKING:
    from icekit.lab.namespaces import Namespace
    from icekit.lab.tun_lab import TunLab

app = typer.Typer(
    help="Run any program behind any NAT, on this machine (Linux, root).",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_READY = "Ready."
_TERMINATION_PATIENCE = 5.0

NatName = Annotated[
    str,
    typer.Option(
        "--nat",
        metavar="NAT",
        help="Which one, see icekit lab list; several with +, from the inside out.",
        autocompletion=lab_nats,
    ),
]
Delay = Annotated[str, typer.Option("--delay", metavar="TIME", help="Of every packet, each way: 25ms, 0.1s.")]
Jitter = Annotated[str, typer.Option("--jitter", metavar="TIME", help="At most this much more, by chance: 5ms.")]
Loss = Annotated[str, typer.Option("--loss", metavar="SHARE", help="Of the packets, each way: 5%, 0.05.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="NUMBER", help="Of everything that happens by chance (default: another each time)."),
]
WithCoturn = Annotated[bool, typer.Option("--coturn", help="The server is coturn and not icekit's own.")]
WithIpv6 = Annotated[bool, typer.Option("--ipv6", help="IPv6 as well: public addresses; the NATs only filter.")]


@app.command("run", short_help="Run a program behind a NAT.", context_settings={"allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="The program and its arguments.")],
    nat: NatName,
    delay: Delay = "0ms",
    jitter: Jitter = "0ms",
    loss: Loss = "0%",
    seed: Seed = None,
    coturn: WithCoturn = False,
    ipv6: WithIpv6 = False,
) -> None:
    """Run a program behind a NAT: icekit lab run --nat symmetric --delay 25ms -- icekit probe.

    A STUN and TURN server is on the other side; the program finds its URLs in ICEKIT_URLS and the user in
    ICEKIT_USERNAME and ICEKIT_CREDENTIAL. The exit code is the program's own.
    """
    lab = _lab([nat], delay, jitter, loss, seed, ipv6)
    search = _search_path()
    if shutil.which(command[0], path=search) is None:
        raise ConfigError(f"there is no program {command[0]}; write its path, or install it")
    with _built(lab, coturn) as servers:
        code = _run_inside(lab.clients[0].namespace, command, os.environ | servers | {"PATH": search})
    raise typer.Exit(code)


@app.command("up", short_help="Build a laboratory, and keep it until Ctrl-C.")
def up(
    nats: Annotated[
        list[str],
        typer.Argument(metavar="NAT…", help="One for every client; see icekit lab list.", autocompletion=lab_nats),
    ],
    delay: Delay = "0ms",
    jitter: Jitter = "0ms",
    loss: Loss = "0%",
    seed: Seed = None,
    coturn: WithCoturn = False,
    ipv6: WithIpv6 = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is up; icekit lab down ends it.")] = False,
    json: JsonOutput = False,
) -> None:
    """Build clients behind these NATs, one Internet and a server, and keep them until Ctrl-C or icekit lab down."""
    from icekit.lab.presence import present

    lab = _lab(nats, delay, jitter, loss, seed, ipv6)
    if detach:
        _detach(json)
        return
    stop = threading.Event()
    with _built(lab, coturn) as servers, present():
        # From now on this is how it ends, and no failure.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: stop.set())
        typer.echo(_ready_json(lab, servers) if json else _ready_text(lab, servers))
        sys.stdout.flush()
        stop.wait()


@app.command("down")
def down(
    processes: Annotated[
        list[int] | None, typer.Argument(metavar="PROCESS", help="Only the ones of these processes.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also remove what crashed laboratories left behind.")
    ] = False,
    json: JsonOutput = False,
) -> None:
    """End every laboratory that icekit lab up keeps. One that still runs a command is left alone."""
    from icekit.lab.namespaces import check_privileges, remove_all
    from icekit.lab.presence import stop_running

    check_privileges()
    stopped = stop_running(processes or ())
    removed = remove_all() if everything else []
    if json:
        import json as json_module

        typer.echo(json_module.dumps({"schema": "icekit/lab-down/1", "stopped": stopped, "removed": removed}))
        return
    for pid in stopped:
        typer.echo(f"ended     the laboratory of process {pid}")
    for name in removed:
        typer.echo(f"removed   {name}")
    if not stopped and not removed:
        typer.echo("Nothing to do.", err=True)


@app.command("list")
def list_nats(json: JsonOutput = False) -> None:
    """The NATs there are."""
    from icekit.lab.kernel_nat import KernelNat
    from icekit.lab.tun_lab import KERNEL
    from icekit.nat_presets import PRESETS

    known = {name: item.gloss for name, item in PRESETS.items()}
    known |= {f"{KERNEL}{nat}": _KERNEL_GLOSS.format(nat.value) for nat in KernelNat}
    if json:
        import json as json_module

        typer.echo(json_module.dumps({"schema": "icekit/lab-list/1", "nats": known}))
        return
    width = max(map(len, known))
    for name, gloss in known.items():
        typer.echo(f"{name:{width}}  {gloss}")


_KERNEL_GLOSS = "the NAT of the Linux kernel: {}"


def _lab(nats: Sequence[str], delay: str, jitter: str, loss: str, seed: int | None, ipv6: bool) -> TunLab:
    from icekit.lab.namespaces import check_privileges
    from icekit.lab.tun_lab import TunLab
    from icekit.sim.link import Link

    link = Link(
        delay=read_seconds("--delay", delay), jitter=read_seconds("--jitter", jitter), loss=read_share("--loss", loss)
    )
    lab = TunLab(nats, link=link, seed=seed, ipv6=ipv6)
    check_privileges()
    return lab


def read_seconds(option: str, text: str) -> float:
    """``25ms``, ``0.1s`` or ``0``; ConfigError for other numbers without a unit, so that nobody waits 25 seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|)", text)
    if found is not None and not found[2] and float(found[1]):
        raise ConfigError(f"{option}: {text!r} has no unit; write {found[1]}ms or {found[1]}s")
    if found is None:
        raise ConfigError(f"{option}: {text!r} is no time; write 25ms or 0.1s")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def read_share(option: str, text: str) -> float:
    """``5%`` or ``0.05``; ConfigError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text)
    share = -1.0 if found is None else float(found[1]) / (100 if found[2] else 1)
    if not 0 <= share <= 1:
        raise ConfigError(f"{option}: {text!r} is no share of the packets; write 5% or 0.05")
    return share


@contextmanager
def _built(lab: TunLab, coturn: bool) -> Iterator[dict[str, str]]:
    """The laboratory with its servers; gives the environment that tells a program about them."""
    from icekit.lab.servers import USERNAME, running_servers, urls

    password = secrets.token_urlsafe(12)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with ExitStack() as stack:
        stack.enter_context(lab)
        stack.enter_context(running_servers(lab.server, lab.server_addresses, password, coturn=coturn))
        # Runs first: nothing may disturb the removal.
        stack.callback(_ignore_signals)
        yield {
            "ICEKIT_URLS": " ".join(urls(lab.server_addresses[0])),
            "ICEKIT_USERNAME": USERNAME,
            "ICEKIT_CREDENTIAL": password,
        }


def _end(number: int, _frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _search_path() -> str:
    # sudo and a virtual environment that is not active hide the icekit that is running.
    return os.pathsep.join((os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)))  # noqa: PTH120


def _run_inside(namespace: Namespace, command: Sequence[str], environment: dict[str, str]) -> int:
    process = namespace.popen(command, env=environment)
    try:
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                # Ctrl-C reaches the program, too, and it decides what that means.
                continue
            return 128 - code if code < 0 else code
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_TERMINATION_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _detach(json: bool) -> None:
    """Run this command again, without --detach and in a session of its own, until it is ready."""
    command = [sys.executable, "-m", "icekit", *(word for word in sys.argv[1:] if word != "--detach")]
    # Not our own stderr: who reads that to its end would wait for the end of the laboratory.
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            typer.echo(line, nl=False)
            if json or line.startswith(_READY):
                return
        code = process.wait()
        errors.seek(0)
        typer.echo(errors.read(), nl=False, err=True)
    raise typer.Exit(code)


def _ready_json(lab: TunLab, servers: dict[str, str]) -> str:
    import json

    return json.dumps(
        {
            "schema": "icekit/lab/1",
            "process": os.getpid(),
            "clients": [
                {
                    "nat": client.nat,
                    "namespace": client.namespace.name,
                    "address": client.address,
                    "external": client.external,
                }
                for client in lab.clients
            ],
            "server": {"namespace": lab.server.name, "addresses": list(lab.server_addresses)},
            "urls": servers["ICEKIT_URLS"].split(),
            "username": servers["ICEKIT_USERNAME"],
            "credential": servers["ICEKIT_CREDENTIAL"],
        }
    )


def _ready_text(lab: TunLab, servers: dict[str, str]) -> str:
    width = max(len(client.nat) for client in lab.clients)
    lines = [
        f"{client.nat:{width}}  {client.address:15}  ip netns exec {client.namespace.name} bash"
        for client in lab.clients
    ]
    lines.append(f"{'server':{width}}  {lab.server_addresses[0]:15}  ip netns exec {lab.server.name} bash")
    lines += [f"export {name}={value!r}" for name, value in servers.items()]
    return "\n".join([*lines, f"{_READY} Ctrl-C ends it, or icekit lab down {os.getpid()} in another terminal."])
