from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from icekit.bench import engines
from icekit.bench.engines import ENGINES, Engine, OwnEngine, engine_of, read_own_engine
from icekit.errors import ConfigError

PROGRAMS = Path(engines.__file__).parent / "programs"


def test_every_engine_has_its_program() -> None:
    names = {path.stem for path in PROGRAMS.glob("*.py")} - {"__init__", "stdio"}
    assert set(ENGINES) == names
    assert all(name == engine.name for name, engine in ENGINES.items())


def test_the_command_runs_in_this_python() -> None:
    assert ENGINES["icekit"].command()[0] == sys.executable


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.delenv("ICEKIT_ABSENT_PYTHON", raising=False)
    return Engine(name="absent", module="no_such_stack", package="no-such-stack", variable="ICEKIT_ABSENT_PYTHON")


def test_a_package_that_is_missing(absent: Engine) -> None:
    with pytest.raises(ConfigError, match="pip install no-such-stack"):
        Engine(name="absent", module="no_such_stack", package="no-such-stack").command()
    with pytest.raises(ConfigError, match="ICEKIT_ABSENT_PYTHON"):
        absent.command()


@pytest.mark.parametrize("python", [sys.executable, "/nowhere/python"])
def test_a_python_that_has_not_got_it(absent: Engine, python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICEKIT_ABSENT_PYTHON", python)
    with pytest.raises(ConfigError, match=f"{python} cannot import no_such_stack: .*(No module|No such file)"):
        absent.command()


def test_a_python_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o700)
    monkeypatch.setenv("ICEKIT_ABSENT_PYTHON", str(python))
    engine = Engine(name="absent", module="no_such_stack", package="x", variable="ICEKIT_ABSENT_PYTHON")
    assert engine.command()[0] == str(python)


def test_a_program_that_is_missing() -> None:
    engine = Engine(name="absent", module="json", package="x", program="no-such-program", debian="a-package")
    with pytest.raises(ConfigError, match="the program no-such-program: apt-get install a-package"):
        engine.command()


def test_a_library_that_is_missing() -> None:
    engine = Engine(name="absent", module="json", package="x", library="no-such-library", debian="a-package")
    with pytest.raises(ConfigError, match="the library libno-such-library: apt-get install a-package"):
        engine.command()


def test_an_engine_of_ones_own() -> None:
    own = read_own_engine(f"mine={sys.executable} -c 'a b' --x=y")
    assert own == OwnEngine("mine", (sys.executable, "-c", "a b", "--x=y"))
    assert own.command() == [sys.executable, "-c", "a b", "--x=y"]
    assert engine_of("mine", {"mine": own}) is own
    assert engine_of("icekit", {"mine": own}) is ENGINES["icekit"]
    with pytest.raises(ConfigError, match=r"no engine 'yours'; there are icekit, .*, mine"):
        engine_of("yours", {"mine": own})
    with pytest.raises(ConfigError, match="mine needs the program /nowhere, which is not there"):
        OwnEngine("mine", ("/nowhere",)).command()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Mine=x", "small letters, digits, - and _; found 'Mine'"),
        ("=x", "small letters"),
        ("icekit=x", "an engine icekit already"),
        ("mine=", "no command: write mine='COMMAND'"),
        ("mine='' x", "no command: write mine='COMMAND'"),
        ("mine='x", "cannot be read: No closing quotation"),
    ],
)
def test_what_is_no_engine_of_ones_own(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_own_engine(text)


def test_what_programs_share_needs_nothing_but_the_standard_library() -> None:
    """So that they run in a Python that has their stack and nothing else."""
    code = "from icekit.bench.programs import stdio; import icekit.servers, icekit.net, icekit.sdp"
    command = [sys.executable, "-S", "-P", "-c", f"import sys; sys.path.append({str(PROGRAMS.parents[2])!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
