"""The rules of ``tests/conftest.py``, seen from outside: a separate pytest runs a small file under them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent

TESTS = """
import asyncio, os, subprocess, pytest

async def test_clean():
    await asyncio.create_task(asyncio.sleep(0))

@pytest.fixture
async def background():
    task = asyncio.create_task(asyncio.sleep(60))
    yield
    task.cancel()

async def test_task_of_a_fixture(background):
    pass

async def test_task_left():
    asyncio.get_running_loop().kept = asyncio.create_task(asyncio.sleep(60), name="forgotten")

def test_process_left(request):
    request.config.kept = subprocess.Popen(["sleep", "60"])

def test_process_ended(request):
    request.config.kept.kill()
    request.config.kept.wait()

def test_skipped():
    pytest.skip("reason of the skip")

@pytest.mark.interop("no-such-program-anywhere")
def test_program():
    pass

@pytest.mark.xfail
def test_expected_failure():
    assert False
"""


def outcomes(tmp_path: Path, require: str) -> tuple[dict[str, str], str]:
    file = tmp_path / "test_under_the_rules.py"
    file.write_text(TESTS)
    options = ["-c", "pyproject.toml", "-p", "tests.conftest", "-p", "no:cacheprovider", "--color=no", "-vv", "-rA"]
    command = [sys.executable, "-m", "pytest", *options, str(file)]
    environment = os.environ | {"ICEKIT_REQUIRE": require}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    found = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL) \S*::(\w+)", done.stdout, re.MULTILINE)
    # A test that passed and whose end failed stands there twice: the worse line comes last.
    return {name: outcome for outcome, name in found if outcome != "SKIPPED"}, done.stdout


def test_what_is_left_behind_is_an_error(tmp_path: Path) -> None:
    found, output = outcomes(tmp_path, "")
    assert found == {
        "test_clean": "PASSED",
        "test_task_of_a_fixture": "PASSED",
        "test_task_left": "ERROR",
        "test_process_left": "ERROR",
        "test_process_ended": "PASSED",
        "test_expected_failure": "XFAIL",
    }
    assert "the test left tasks behind: forgotten" in output
    assert re.search(r"the test left behind: process \d+: sleep 60", output)
    assert "5 passed, 2 skipped, 1 xfailed, 2 errors" in output


def test_a_skip_can_be_made_a_failure(tmp_path: Path) -> None:
    found, output = outcomes(tmp_path, "all")
    assert found["test_skipped"] == "FAILED"
    assert found["test_program"] == "ERROR"
    assert found["test_expected_failure"] == "XFAIL"
    assert found["test_clean"] == "PASSED"
    assert "ICEKIT_REQUIRE=all makes a skip a failure.\nreason of the skip" in output
    assert "needs the program no-such-program-anywhere" in output
