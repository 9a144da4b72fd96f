"""Linux network namespaces: make, wire, run programs in, remove.

Every name is ``icekit-<pid>-<number>-<role>``: what a crashed process left is found, and ``remove_all`` takes it away.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from icekit.errors import ConfigError

PREFIX = "icekit-"

_NAMES = Path("/run/netns")
# `ip netns exec NAME` mounts the files of /etc/netns/NAME over those of /etc (ip-netns(8)).
_FILES = Path("/etc/netns")
_OWNER = re.compile(rf"{PREFIX}(\d+)-\d+-\w+")
_PACKAGES = {"ip": "iproute2", "nft": "nftables"}
_SYSTEM_FOLDERS = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/bin", "/bin"))
_CONTROL_TIMEOUT = 20.0
_WAIT_SECONDS = 2.0
_numbers = itertools.count(1)


class Namespace:
    """A network namespace with its loopback interface up; a context manager that removes it.

    ``files`` are put over those of ``/etc`` for the programs that run inside (``{"hosts": "…"}``). ConfigError tells
    in one sentence why it cannot be made.
    """

    def __init__(self, role: str, files: Mapping[str, str] | None = None) -> None:
        self.name = f"{PREFIX}{os.getpid()}-{next(_numbers)}-{role}"
        self._files = dict(files or {})
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Namespace:
        check_privileges()
        try:
            ip(f"netns add {self.name}", f"-n {self.name} link set lo up")
            for name, text in self._files.items():
                path = _FILES / self.name / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def command(self, argv: Sequence[str]) -> list[str]:
        """What to execute so that ``argv`` runs inside; the process is the program itself, not a child of a wrapper."""
        return [_program("ip"), "netns", "exec", self.name, *argv]

    def run(
        self, argv: Sequence[str], *, timeout: float = 30.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; text is captured. ``subprocess.TimeoutExpired`` after ``timeout`` seconds."""
        command = self.command(argv)
        return subprocess.run(command, timeout=timeout, env=env, capture_output=True, text=True, check=False)  # noqa: S603

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program inside; whatever still runs is killed when the namespace is removed."""
        process = subprocess.Popen(  # noqa: S603
            self.command(argv), stdin=stdin, stdout=stdout, stderr=stderr, env=env, text=True
        )
        self._started.append(process)
        return process

    def ip(self, *lines: str) -> None:
        """Run the arguments of ``ip``, one command a line, inside."""
        ip(*(f"-n {self.name} {line}" for line in lines))

    def nft(self, ruleset: str) -> None:
        """Load an nftables ruleset inside."""
        _control([*self.command([_program("nft")]), "-f", "-"], ruleset)

    def sysctl(self, name: str, value: str) -> None:
        """Set a kernel parameter of this namespace (``net.ipv4.ip_forward``)."""
        _control(self.command(["tee", f"/proc/sys/{name.replace('.', '/')}"]), value)

    def connect(self, interface: str, other: Namespace, other_interface: str) -> None:
        """Lay a cable (a veth pair) to another namespace and switch both ends on."""
        ip(
            f"link add {interface} netns {self.name} type veth peer name {other_interface} netns {other.name}",
            f"-n {self.name} link set {interface} up",
            f"-n {other.name} link set {other_interface} up",
        )

    def remove(self) -> None:
        """Kill what runs inside and remove it; harmless when it is not there."""
        for process in self._started:
            # One that is still on its way in would find the door closed, or come in behind our back.
            process.kill()
        _remove(self.name)
        # Killed is not gone: until somebody waits for it, a child stays as a zombie.
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_WAIT_SECONDS)
        self._started.clear()


def check_privileges() -> None:
    """ConfigError where namespaces cannot be made: not Linux, not root, no ``ip`` or ``nft``."""
    if sys.platform != "linux":
        raise ConfigError(f"network namespaces need Linux, this is {sys.platform}")
    if os.geteuid() != 0:
        # sudo has a PATH of its own, without that of a virtual environment.
        raise ConfigError('making network namespaces needs root: run it with sudo "$(command -v icekit)" …')
    missing = [name for name in _PACKAGES if _found(name) is None]
    if missing:
        names, packages = " and ".join(missing), " ".join(_PACKAGES[name] for name in missing)
        raise ConfigError(f"missing: {names}; install with: apt-get install {packages}")


def remove_all() -> list[str]:
    """Remove the namespaces of this process and of processes that no longer live; their names.

    Those of another living process stay: another lab may be at work.
    """
    check_privileges()
    removed = []
    for path in sorted({*_NAMES.glob(f"{PREFIX}*"), *_FILES.glob(f"{PREFIX}*")}, key=lambda path: path.name):
        owner = _OWNER.fullmatch(path.name)
        if owner is None or (int(owner[1]) != os.getpid() and Path(f"/proc/{owner[1]}").exists()):
            continue
        if path.name not in removed:
            _remove(path.name)
            removed.append(path.name)
    return removed


def ip(*lines: str) -> None:
    """Run the arguments of ``ip``, one command a line; ConfigError with its message if one fails."""
    for line in lines:
        _control([_program("ip"), *line.split()])


def _remove(name: str) -> None:
    if (_NAMES / name).exists():
        _kill_inside(name)
        # Deleting fails only if somebody else was faster.
        with contextlib.suppress(ConfigError):
            ip(f"netns del {name}")
    # The folder above stays, even if it is empty: another lab may be about to write there.
    shutil.rmtree(_FILES / name, ignore_errors=True)


def _kill_inside(name: str) -> None:
    # A process would keep the namespace and its interfaces alive after its name is gone.
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        running = [pid for pid in map(int, _control([_program("ip"), "netns", "pids", name]).split()) if _is_alive(pid)]
        if not running:
            return
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _is_alive(pid: int) -> bool:
    # A dead child that its parent has not waited for is listed too; it holds nothing.
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def _found(name: str) -> str | None:
    # Debian keeps these two out of the PATH of an ordinary user and of some services.
    return shutil.which(name) or shutil.which(name, path=_SYSTEM_FOLDERS)


def _program(name: str) -> str:
    found = _found(name)
    if found is None:
        raise ConfigError(f"the program {name} is missing: apt-get install {_PACKAGES[name]}")
    return found


def _control(command: Sequence[str], text: str | None = None) -> str:
    # A process group of its own: Ctrl-C must not stop the clean-up in the middle.
    done = subprocess.run(  # noqa: S603
        command, input=text, timeout=_CONTROL_TIMEOUT, capture_output=True, text=True, check=False, process_group=0
    )
    if done.returncode != 0:
        message = " ".join((done.stderr or done.stdout).split()) or f"it ended with {done.returncode}"
        raise ConfigError(f"{' '.join(command)}: {message}")
    return done.stdout
