from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def started(command: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


# As `python -m icekit`, and as the installed command.
STARTS = (["-m", "icekit", "--version"], ["-c", "import icekit.__main__ as program; program.main()"])


@pytest.mark.parametrize("command", STARTS)
def test_an_interrupt_before_a_command_begins_has_no_traceback(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = started(command, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_command_is_interrupted_as_python_is(tmp_path: Path) -> None:
    code = (
        "import signal\nimport icekit.cli as cli\nimport icekit.__main__ as program\n"
        "cli.main = lambda: print(signal.getsignal(signal.SIGINT))\n{}\nprogram.main()"
    )
    ignoring = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert "default_int_handler" in started(["-c", code.format("")], tmp_path).stdout
    assert started(["-c", code.format(ignoring)], tmp_path).stdout == "1\n"


def test_garbage_is_collected_while_a_command_runs(tmp_path: Path) -> None:
    code = (
        "import gc\nimport icekit.cli as cli\nimport icekit.__main__ as program\n"
        "cli.main = lambda: print(gc.isenabled())\nprogram.main()"
    )
    done = started(["-c", code], tmp_path)
    assert (done.stdout, done.stderr) == ("True\n", "")
