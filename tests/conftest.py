"""What holds for every test: its requirements, skips that can be made failures, and nothing left behind."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.requirements import REQUIRE_VARIABLE, check_markers, skips_are_failures


def pytest_configure() -> None:
    # No test judges a clock: a busy machine may take its time over an example. The rest is hypothesis' own profile,
    # which is another one where CI is set.
    settings.register_profile("icekit", deadline=None)
    settings.load_profile("icekit")
    # Whoever runs the tests in the background may have switched Ctrl-C off, for them and for all that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What a command prints must not depend on the terminal of whoever runs the tests.
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        os.environ.pop(name, None)
        # readline, which pytest imports, sets COLUMNS behind the back of os.environ; child processes see it.
        os.unsetenv(name)
    # What scripts/setup.bash makes for the stack that wants a newer Python.
    python = Path(__file__).parent.parent / ".venv-libdatachannel" / "bin" / "python"
    if python.exists():
        os.environ.setdefault("ICEKIT_LIBDATACHANNEL_PYTHON", str(python))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    check_markers(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as a skip as well; that one is an answer.
    if not (skips_are_failures() and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{REQUIRE_VARIABLE}=all makes a skip a failure.\n{reason.removeprefix('Skipped: ')}"


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
        # Last in the list: it starts after the test's own fixtures and ends before them, whose tasks may live on.
        item.fixturenames.append("no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """An asynchronous test ends with no more tasks than its fixtures have."""
    before = asyncio.all_tasks()
    yield
    # A task that was cancelled, or whose last await is done, needs a few turns of the loop to end.
    for _ in range(10):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0)
    names = sorted(f"{task.get_name()}: {task.get_coro()!r}" for task in left)
    pytest.fail("the test left tasks behind: " + "; ".join(names))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """A test ends with no more child processes and network namespaces than it began with."""
    processes, namespaces = child_processes(), own_namespaces()
    yield
    left = [f"process {pid}: {command}" for pid, command in child_processes().items() if pid not in processes]
    left += [f"network namespace {name}" for name in sorted(own_namespaces() - namespaces)]
    if left:
        pytest.fail("the test left behind: " + "; ".join(left))


def child_processes() -> dict[int, str]:
    """The direct children of this process that are alive or not waited for, with their command lines (Linux)."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, AttributeError):
        return {}
    children: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The second field is the command in brackets and may hold spaces; the parent is the second after it.
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                arguments = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                children[int(folder.name)] = arguments or stat.split("(", 1)[1].rpartition(")")[0]
        except OSError:
            continue
    return children


def own_namespaces() -> set[str]:
    """The network namespaces that this process made; other test runs may go on at the same time."""
    try:
        return {path.name for path in Path("/run/netns").glob(f"icekit-{os.getpid()}-*")}
    except OSError:
        return set()
