"""Samples as they are taken: kept, and written to a file at once, so that what was measured stays."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

import icekit
from icekit.bench.samples import Header, Results, Sample, write_header, write_results, write_sample

_CPU = Path("/proc/cpuinfo")
_SECONDS = 5.0


class Recorder:
    """Within ``with``: samples go to ``path`` if there is one; at the end also the versions of all engines."""

    def __init__(self, header: Header, path: Path | None = None) -> None:
        self._header = header
        self._path = path
        self._file: IO[str] | None = None
        self._samples: list[Sample] = []

    def __enter__(self) -> Recorder:
        if self._path is not None:
            self._file = self._path.open("w", encoding="utf-8")
            self._file.write(write_header(self._header))
            self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is None or self._path is None:
            return
        self._file.close()
        # Never a file with a half of it: the old one stays until the new one is whole.
        whole = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        whole.write_text(write_results(self.results), encoding="utf-8")
        whole.replace(self._path)

    @property
    def results(self) -> Results:
        """What has been measured so far."""
        return Results(header=self._header, samples=tuple(self._samples))

    def add(self, sample: Sample) -> None:
        """One more."""
        self._samples.append(sample)
        if self._file is not None:
            self._file.write(write_sample(sample))
            self._file.flush()

    def add_versions(self, versions: Mapping[str, str]) -> None:
        """Engines have told their versions."""
        self._header = replace(self._header, versions={**self._header.versions, **versions})


def make_header(seed: int, command: str) -> Header:
    """Of this machine, now; ``commit``: of the checkout that icekit runs from, else its version."""
    return Header(
        commit=_commit() or icekit.__version__,
        python=platform.python_version(),
        machine=_machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=seed,
        versions={},
        command=command,
    )


def _machine() -> str:
    try:
        lines = _CPU.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return ", ".join([*models[:1], f"{platform.system()} {platform.machine()}"])


def _commit() -> str | None:
    folder = Path(icekit.__file__).parent.parent
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=_SECONDS,
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "icekit")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
