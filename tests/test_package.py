"""The wheel and the source: what is in them, and what is not. ``scripts/check`` installs and runs the wheel."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from importlib import import_module
from pathlib import Path

import pytest

import icekit
from tests.requirements import require_module

ROOT = Path(__file__).resolve().parent.parent
DIST_INFO = f"icekit-{icekit.__version__}.dist-info"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(target: str, folder: Path) -> Path:
    require_module("hatchling")
    run("hatchling", "build", "--target", target, "--directory", str(folder))
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name).decode("utf-8") for name in file.namelist()}


def test_it_has_every_file_of_the_package_and_nothing_else(contents: dict[str, str]) -> None:
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "icekit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {
        "icekit/py.typed",
        "icekit/web/static/icekit.js",
        "icekit/web/static/index.html",
        "icekit/report.css",
    } < files
    added = {f"{DIST_INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert set(contents) == files | added


def test_what_the_entry_points_name_is_there(contents: dict[str, str]) -> None:
    points = ConfigParser(delimiters="=")
    points.read_string(contents[f"{DIST_INFO}/entry_points.txt"])
    assert dict(points["console_scripts"]) == {"icekit": "icekit.__main__:main"}
    assert dict(points["pytest11"]) == {"icekit": "icekit.sim.plugin"}
    for section in points.sections():
        for target in points[section].values():
            module, _, name = target.partition(":")
            assert not name or callable(getattr(import_module(module), name))


def test_what_it_says_of_itself(contents: dict[str, str]) -> None:
    metadata = Parser().parsestr(contents[f"{DIST_INFO}/METADATA"])
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        "icekit", icekit.__version__, "BSD-3-Clause",
    )  # fmt: skip
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_accepted(wheel: Path) -> None:
    for program in ("twine", "check_wheel_contents"):
        require_module(program)
    assert "PASSED" in run("twine", "--no-color", "check", "--strict", str(wheel))
    assert run("check_wheel_contents", str(wheel)).endswith(": OK\n")


def test_the_source_is_whole_and_accepted(tmp_path: Path) -> None:
    require_module("twine")
    source = build("sdist", tmp_path)
    with tarfile.open(source) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    # What a packager needs: the package, and what tests it.
    for folder in ("icekit", "tests", "docs", "examples", "benchmarks", "scripts"):
        files = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {name for name in files if "__pycache__" not in name} <= names
    assert [name for name in names if name.startswith(".") and name != ".gitignore"] == []
    assert [name for name in names if "__pycache__" in name] == []
    assert "PASSED" in run("twine", "--no-color", "check", "--strict", str(source))


def test_the_changelog_has_this_version_or_will() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.count("\n## [Unreleased]\n") == 1
    assert f"\n## [{icekit.__version__}] - " in text or text.partition("\n## [Unreleased]\n")[2].strip()
