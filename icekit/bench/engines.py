"""The engines that icekit ships programs for, and where on this machine they can run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import icekit
from icekit.errors import ConfigError

# Of icekit, and not of everything that lies beside it: this comes last, so a package of the program's own Python wins.
_STARTER = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module(sys.argv[1], run_name='__main__')"
_ROOT = Path(icekit.__file__).parent.parent
_PROBE_SECONDS = 20.0
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}").fullmatch


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """``module`` is what its Python must be able to import; ``program`` and ``library`` are what must be installed
    besides, ``debian`` the package that has it.

    ``variable`` names an environment variable with a Python of its own.
    """

    name: str
    module: str
    package: str
    program: str | None = None
    library: str | None = None
    debian: str | None = None
    variable: str | None = None

    def command(self) -> list[str]:
        """What to execute; ConfigError tells in one sentence what is missing."""
        python = self.python()
        if self.program is not None and shutil.which(self.program) is None:
            raise ConfigError(f"{self.name} needs the program {self.program}: apt-get install {self.debian}")
        if self.library is not None and find_library(self.library) is None:
            raise ConfigError(f"{self.name} needs the library lib{self.library}: apt-get install {self.debian}")
        return [python, "-P", "-c", _STARTER, str(_ROOT), f"icekit.bench.programs.{self.name}"]

    def python(self) -> str:
        """A Python that has the stack: this one, or the one that ``variable`` names."""
        if importlib.util.find_spec(self.module) is not None:
            return sys.executable
        if self.variable is None:
            raise ConfigError(f"{self.name} needs a Python package: pip install {self.package}")
        python = os.environ.get(self.variable)
        if python is None:
            raise ConfigError(
                f"{self.name} needs the Python package {self.package}, here or in a Python of 3.12 or newer that "
                f"{self.variable} names"
            )
        reason = _cannot_import(python, self.module)
        if reason is not None:
            raise ConfigError(f"{self.variable}={python} cannot import {self.module}: {reason}")
        return python


@dataclass(frozen=True, slots=True)
class OwnEngine:
    """A program of the caller's, which speaks the protocol of ``docs/programs.md``."""

    name: str
    words: tuple[str, ...]

    def command(self) -> list[str]:
        """What to execute; ConfigError if there is no such program."""
        program = shutil.which(self.words[0])
        if program is None:
            raise ConfigError(f"{self.name} needs the program {self.words[0]}, which is not there; write its path")
        return [program, *self.words[1:]]


def read_own_engine(text: str) -> OwnEngine:
    """``NAME=COMMAND``, words as in a shell; ConfigError says what is wrong with it."""
    name, _, command = text.partition("=")
    if not _NAME(name):
        raise ConfigError(f"the name of an engine has small letters, digits, - and _; found {name[:60]!r}")
    if name in ENGINES:
        raise ConfigError(f"there is an engine {name} already; give yours another name")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ConfigError(f"the command of the engine {name} cannot be read: {error}") from None
    if not words or not words[0]:
        raise ConfigError(f"the engine {name} has no command: write {name}='COMMAND'")
    return OwnEngine(name, words)


@cache
def _cannot_import(python: str, module: str) -> str | None:
    try:
        command = [python, "-P", "-c", f"import {module}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


_ENGINES = (
    Engine(name="icekit", module="aiortc", package="aiortc"),
    Engine(name="aiortc", module="aiortc", package="aiortc"),
    Engine(name="icekit_ice", module="aioice", package="aioice"),
    Engine(name="aioice", module="aioice", package="aioice"),
    Engine(name="wrtc", module="webrtc", package="wrtc"),
    Engine(
        name="libdatachannel",
        module="libdatachannel",
        package="libdatachannel-py",
        variable="ICEKIT_LIBDATACHANNEL_PYTHON",
    ),
    Engine(name="libnice", module="ctypes", package="libnice", library="nice", debian="libnice10"),
    Engine(name="chromium", module="playwright", package="playwright", program="chromium", debian="chromium"),
)

ENGINES: Final[Mapping[str, Engine]] = MappingProxyType({engine.name: engine for engine in _ENGINES})
"""By name."""


def engine_of(name: str, own: Mapping[str, OwnEngine]) -> Engine | OwnEngine:
    """The engine of that name, of icekit or of the caller; ConfigError if there is none."""
    found = own.get(name) or ENGINES.get(name)
    if found is None:
        raise ConfigError(f"there is no engine {name[:60]!r}; there are {', '.join((*ENGINES, *own))}")
    return found
