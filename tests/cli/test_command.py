"""How commands end: sentences, exit codes, Ctrl-C, and how soon --help answers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import icekit.cli
from icekit.cli import app
from icekit.cli.command import CommandGroup
from icekit.errors import (
    ConfigError,
    ConnectivityError,
    IceFailed,
    IcekitError,
    MissingCredentials,
    MissingExtra,
    TransactionTimeout,
)

ROOT = Path(__file__).resolve().parents[2]
runner = CliRunner()


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "icekit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)


def failing(action: Callable[[], None]) -> typer.Typer:
    commands = typer.Typer(cls=CommandGroup, rich_markup_mode=None, pretty_exceptions_enable=False)
    commands.callback()(lambda: None)
    commands.command("fail")(action)
    return commands


@pytest.mark.parametrize(
    ("error", "text", "exits"),
    [
        (IcekitError("it broke"), "icekit: it broke\n", 3),
        (ConnectivityError("no path"), "icekit: no path\n", 1),
        (IceFailed("no pair"), "icekit: no pair\n", 1),
        (TransactionTimeout(7, 39.5), "icekit: no answer to 7 transmissions in 39.5 s\n", 1),
        (ConfigError("say what"), "icekit: say what\n", 2),
        (
            MissingCredentials("turn:a.example", ("credential",)),
            (
                "icekit: turn:a.example needs a credential; "
                "give --credential, or add credential to its entry in the server list\n"
            ),
            2,
        ),
        (MissingExtra("metrics", "metrics"), "icekit: metrics needs an extra: pip install 'icekit[metrics]'\n", 2),
        (PermissionError(13, "Permission denied", "/x"), "icekit: Permission denied: /x\n", 3),
        (OSError("odd"), "icekit: odd\n", 3),
        (KeyboardInterrupt(), "", 130),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(error: BaseException, text: str, exits: int) -> None:
    def fail() -> None:
        raise error

    result = runner.invoke(failing(fail), ["fail"])
    assert (result.stdout, result.stderr, result.exit_code) == ("", text, exits)


def test_usage_errors_exit_2() -> None:
    for arguments in (["nothing"], ["explain", "--nothing"], ["credentials", "decode"]):
        result = runner.invoke(app, arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: " in result.stderr


@pytest.mark.parametrize("command", [[], ["gather"], ["lab", "run"]], ids=" ".join)
def test_help_in_short(command: list[str]) -> None:
    short, long = (runner.invoke(app, [*command, option]) for option in ("-h", "--help"))
    assert (short.exit_code, short.stdout) == (0, long.stdout)
    assert "Show this message and exit." in short.stdout


def test_exit_codes_are_in_the_help() -> None:
    text = " ".join(runner.invoke(app, ["--help"]).stdout.split())
    assert text.endswith(
        "Exit codes: 0 good, 1 it ran and the answer is no, 2 usage or configuration, 3 it failed, 130 Ctrl-C."
    )


def test_version() -> None:
    done = program("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"icekit {icekit.__version__}\n", "")


def test_help_is_plain_text_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from icekit.cli import main\n"
        "sys.argv = ['icekit', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'asyncio', 'rich', 'dns', 'ifaddr', 'websockets', 'aiortc', 'aioice'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert {"explain", "credentials"} <= set(re.findall(r"^  ([a-z]+)", done.stdout, re.MULTILINE))


def test_an_unexpected_error_exits_3_with_its_traceback() -> None:
    code = (
        "import sys\nimport icekit.cli as cli\n"
        "cli.app.command('boom')(lambda: 1 / 0)\n"
        "sys.argv = ['icekit', 'boom']\ncli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


def test_ctrl_c_before_a_command_has_begun_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(icekit.cli, "app", interrupted)
    with pytest.raises(SystemExit) as caught:
        icekit.cli.main()
    assert caught.value.code == 130


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m icekit explain ICE003 | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)
    assert "Traceback" not in done.stderr


def test_a_terminal_without_these_letters_still_gets_an_answer() -> None:
    command = [sys.executable, "-m", "icekit", "explain", "turn://turn.example.org"]
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert "> Write turn:turn.example.org" in done.stdout


def test_what_works_differs_from_what_does_not_in_ascii() -> None:
    code = (
        "import sys\nimport icekit.cli as cli\n"
        "cli.app.command('boom')(lambda: print('✓ ✗ – a×b → … 한'))\n"
        "sys.argv = ['icekit', 'boom']\ncli.main()"
    )
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=30, check=False, cwd=ROOT, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"+ x - axb > ... ?\n", b"")


@pytest.mark.parametrize(
    "arguments",
    ["--help", "--version", "explain --help", "explain ICE003", "explain ICE003 --json", "predict --matrix --json"],
)
def test_an_answer_that_cannot_be_written_is_a_failure(arguments: str) -> None:
    # As a full disk does it.
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "icekit", *arguments.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
        )
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.startswith("icekit: ")
    assert done.stderr.endswith("No space left on device\n")


INTERRUPTED = """
import asyncio, os, signal, sys
import typer
from icekit.cli.command import CommandGroup, run

for ignored in sys.argv[2:]:
    signal.signal(getattr(signal, ignored), signal.SIG_IGN)

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, pretty_exceptions_enable=False)
app.callback()(lambda: None)
known = []

async def measure():
    known.append("first")
    try:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        await asyncio.sleep(0.5)
        known.append("all")
    finally:
        await asyncio.sleep(0)
        print("released", file=sys.stderr)

@app.command()
def probe():
    run(measure(), lambda: print(f"known: {known}"))

app(["probe"])
"""


def interrupted(*signals: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *signals], capture_output=True, text=True, timeout=30, check=False, cwd=ROOT
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_releases_prints_what_is_known_and_exits_130(name: str) -> None:
    # A service manager and a terminal that is closed end programs in other ways.
    assert interrupted(name) == (signal.SIGINT + 128, "known: ['first']\n", "released\n")


def test_a_terminal_that_is_closed_ends_nothing_that_nohup_began() -> None:
    assert interrupted("SIGHUP", "SIGHUP") == (0, "", "released\n")


def test_what_a_script_has_begun_in_the_background_can_be_ended() -> None:
    # Shells ignore SIGINT for it.
    assert interrupted("SIGTERM", "SIGINT") == (signal.SIGINT + 128, "known: ['first']\n", "released\n")
