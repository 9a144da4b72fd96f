"""The structure that the design document promises, so that it cannot drift."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

import icekit
from icekit.cli import COMMANDS, app

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "icekit"
MODULES = sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))

# Files without a test file of their own, each with its reason.
WITHOUT_TEST = {
    **{
        f"icekit/bench/programs/{name}.py": "it needs its stack; tests/interop/test_stacks.py runs it in real calls"
        for name in ("aioice", "aiortc", "chromium", "icekit", "icekit_ice", "libdatachannel", "libnice", "wrtc")
    },
    "icekit/signaling/transport.py": "protocols; the contract suite runs over everything that has them",
}

FORBIDDEN_NAMES = {"utils", "util", "common", "types", "base", "manager", "core", "helpers"}

LINES = 500
LONGER = {"icekit/ice.py": 900}

HOST_CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


def pure_modules() -> list[str]:
    return sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem not in {"__init__", "__main__"})


def test_every_module_has_its_test_file() -> None:
    missing = []
    for module in MODULES:
        # An __init__ gives names of its neighbours; their tests are its tests.
        if module.name == "__init__.py" or str(module) in WITHOUT_TEST:
            continue
        mirror = Path("tests", *module.parts[1:-1], f"test_{module.name}")
        # What makes network namespaces is tested where root is asked for.
        netns = Path("tests", "netns", mirror.name)
        if not (ROOT / mirror).is_file() and not (module.parts[1] == "lab" and (ROOT / netns).is_file()):
            missing.append(f"{module} has no {mirror}")
    assert missing == []


def test_the_map_names_no_file_that_is_gone() -> None:
    # That it names every module: test_modules_page.py.
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`([\w/.…]+)`", text.partition("## Where is …")[2].partition("## Cores")[0])
    gone = [place for place in places if "/" in place or "." in place if not any(PACKAGE.glob(place.replace("…", "*")))]
    assert len(places) > 40
    assert gone == []


def test_every_exception_is_still_needed() -> None:
    assert [name for name in WITHOUT_TEST if not (ROOT / name).is_file()] == []
    assert [name for name in WITHOUT_TEST if (ROOT / "tests" / f"test_{Path(name).name}").exists()] == []


def test_no_file_is_too_long() -> None:
    lengths = {str(module): len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGER.get(name, LINES)} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    parts = [(str(module), set(module.with_suffix("").parts)) for module in MODULES]
    assert [name for name, words in parts if words & FORBIDDEN_NAMES] == []


def test_every_pure_module_is_under_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (pure,) = [contract for contract in contracts if contract["name"] == "a file directly in icekit/ is pure"]
    assert sorted(pure["source_modules"]) == [f"icekit.{name}" for name in pure_modules()]
    assert {"asyncio", "socket", "ssl", "threading", "time", "random", "secrets", "os"} <= set(
        pure["forbidden_modules"]
    )


def test_tests_are_no_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_package_declares_its_types() -> None:
    assert (PACKAGE / "py.typed").is_file()


def run_fresh(code: str, *arguments: str, bytecode: Path | None = None) -> str:
    """The last line that a new interpreter prints on stdout. It has this one's paths but none of the modules that
    site-packages load at start. With a folder for bytecode, sources are compiled only the first time.
    """
    prologue = f"import sys; sys.path[:] = {json.dumps([str(ROOT), *sys.path])}\n"
    environment = dict(os.environ)
    if bytecode is not None:
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
    command = [sys.executable, "-S", "-c", prologue + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_importing_icekit_loads_nothing_else() -> None:
    code = "before = set(sys.modules); import icekit, json; print(json.dumps(sorted(set(sys.modules) - before)))"
    loaded = {name.partition(".")[0] for name in json.loads(run_fresh(code))}
    # What it takes in milliseconds is for benchmarks/bench_start.py to say.
    assert loaded - {"json", "re", "enum", "importlib", "typing"} <= {"icekit", *sys.stdlib_module_names}
    assert {"asyncio", "socket", "ssl", "dataclasses", "ipaddress"} & loaded == set()


def test_the_public_names_of_icekit_load_no_event_loop() -> None:
    code = "import icekit, json; [getattr(icekit, name) for name in icekit.__all__]; print(json.dumps([*sys.modules]))"
    loaded = set(json.loads(run_fresh(code)))
    assert {"icekit.candidate", "icekit.servers"} <= loaded
    assert {"asyncio", "socket", "ssl", "aioice", "aiortc", "rich", "typer", "websockets"} & loaded == set()


def test_a_name_that_icekit_does_not_have() -> None:
    with pytest.raises(AttributeError, match="module 'icekit' has no attribute 'Candidat'"):
        icekit.Candidat  # noqa: B018
    assert {"Candidate", "IceServer"} <= set(dir(icekit))


def loaded_by(*arguments: str) -> set[str]:
    """The modules that ``icekit`` with these arguments has loaded when it ends."""
    code = """
import json, runpy
try:
    runpy.run_module("icekit", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
print()
print(json.dumps(sorted(sys.modules)))
"""
    return set(json.loads(run_fresh(code, *arguments)))


@pytest.mark.parametrize("arguments", [["--help"], ["explain", HOST_CANDIDATE]], ids=["help", "explain"])
def test_offline_commands_load_no_media_stack(arguments: list[str]) -> None:
    loaded = loaded_by(*arguments)
    assert "icekit.cli" in loaded
    assert {"PIL", "aioice", "aiortc", "av", "websockets"} & loaded == set()


COMMAND_MODULES = {f"icekit.cli.{name}" for name in COMMANDS}


def test_a_command_loads_no_other_command() -> None:
    for name in ("explain", "probe", "lab"):
        assert loaded_by(name, "--help") & COMMAND_MODULES == {f"icekit.cli.{name}"}
    assert loaded_by("--help") >= COMMAND_MODULES


def test_a_candidate_is_explained_without_what_other_texts_need() -> None:
    loaded = loaded_by("explain", HOST_CANDIDATE)
    for_others = {"sdp", "pcap", "servers", "probe_observations", "outlook", "findings", "loglines", "redaction"}
    for_others |= {"verdict", "log_patterns"}
    assert {f"icekit.{name}" for name in for_others} & loaded == set()
    assert {"asyncio", "socket", "rich.status"} & loaded == set()
    assert loaded & COMMAND_MODULES == {"icekit.cli.explain"}


def lists_of_commands() -> list[str]:
    return ["", *(name for name in COMMANDS if hasattr(import_module(f"icekit.cli.{name}"), "app"))]


@pytest.mark.parametrize("name", lists_of_commands())
def test_no_line_of_a_list_of_commands_is_cut_off(name: str) -> None:
    printed = CliRunner().invoke(app, [*filter(None, [name]), "--help"], env={"COLUMNS": "80"}).stdout
    listed = printed.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert listed
    assert [line for line in listed if line.endswith("...") or not line.startswith("  ") or line[2] == " "] == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_expression_has_a_possessive_group(path: Path) -> None:
    """Python before 3.11.5 matches too much with one (python/cpython#106052), and Debian 12 has 3.11.2."""
    assert re.findall(r"\)[?*+]\+", (ROOT / path).read_text(encoding="utf-8")) == []


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs git, and a checkout of it")
    # Continuous integration may run as another user than the owner of the checkout.
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_no_file_names_a_place_on_the_machine_it_was_written_on() -> None:
    place = re.compile(rb"(?<![\w.])/wo" + rb"rk/")
    assert [str(path) for path in tracked_files() if place.search(path.read_bytes())] == []


def test_every_script_is_an_executable_bash_script() -> None:
    scripts = [*(path for path in (ROOT / "scripts").iterdir() if path.suffix != ".bash"), ROOT / ".ci" / "run"]
    assert {path.name for path in scripts} >= {"probe", "test", "check", "soak", "run"}
    for path in scripts:
        assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n"), path
        assert path.stat().st_mode & 0o111 == 0o111, path
        assert "set -euo pipefail" in path.read_text(encoding="utf-8"), path
