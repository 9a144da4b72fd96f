"""The engines that icekit ships programs for, and where on this machine they can run."""

from __future__ import annotations

import importlib.util
import os
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
