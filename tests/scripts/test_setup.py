"""scripts/setup.bash with a stand-in for uv that writes down its calls and installs nothing."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Makes an environment that runs this Python; the step that the test names waits at a pipe.
UV = """#!/bin/sh
echo "$1 $2" >>"$CALLS"
case "$1" in
venv)
    for folder; do :; done
    mkdir -p "$folder/bin"
    printf '#!/bin/sh\\nexec "%s" "$@"\\n' "$REAL_PYTHON" >"$folder/bin/python"
    chmod +x "$folder/bin/python"
    ;;
pip)
    echo "installer says $FAIL"
    ;;
esac
if [ "$1" = "$WAIT_IN" ]; then echo started >"$PIPE"; read -r never <"$PIPE"; fi
[ "$1" = venv ] || [ -z "$FAIL" ]
"""


class Project:
    """A copy of the set-up in a folder of its own, with a space in its path."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a project"
        self.calls_file = folder / "calls"
        self.programs = folder / "programs"
        (self.root / "scripts").mkdir(parents=True)
        self.programs.mkdir()
        shutil.copy(ROOT / "scripts" / "setup.bash", self.root / "scripts")
        (self.root / "pyproject.toml").write_text("[project]\n")
        self.program("uv", UV)
        self.environment = os.environ | {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "REAL_PYTHON": sys.executable,
            "CALLS": str(self.calls_file),
            "FAIL": "",
            "WAIT_IN": "",
        }

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def sourcing(self, script: str) -> list[str]:
        script = f'set -euo pipefail; source "$0"; {script}'
        return ["bash", "-c", script, str(self.root / "scripts" / "setup.bash")]

    def command(self, group: str = "") -> list[str]:
        return self.sourcing(f"setup {group}; echo ready")

    def setup(self, group: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.command(group), self.environment | environment)

    def run(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            timeout=30,
        )

    def calls(self) -> list[str]:
        """The calls of uv since the last time."""
        if not self.calls_file.exists():
            return []
        calls = self.calls_file.read_text().splitlines()
        self.calls_file.unlink()
        return calls


MAKE, INSTALL = "venv --quiet", "pip install"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_second_run_installs_nothing_and_says_nothing(project: Project) -> None:
    first = project.setup()
    assert (first.returncode, first.stdout) == (0, "ready\n"), first.stderr
    assert project.calls() == [MAKE, INSTALL]
    second = project.setup()
    assert (second.returncode, second.stdout, second.stderr) == (0, "ready\n", "")
    assert project.calls() == []


def test_a_changed_pyproject_installs_into_the_same_environment(project: Project) -> None:
    project.setup()
    project.calls()
    (project.root / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    assert project.setup().returncode == 0
    assert project.calls() == [INSTALL]


def test_the_group_is_added_once_and_serves_the_run_without_it(project: Project) -> None:
    project.setup()
    project.calls()
    assert project.setup("dev").returncode == 0
    assert project.calls() == [INSTALL]
    for group in ("", "dev"):
        assert project.setup(group).returncode == 0
    assert project.calls() == []


def test_a_moved_checkout_makes_its_environment_anew(project: Project) -> None:
    project.setup()
    project.calls()
    project.root = project.root.rename(project.root.with_name("moved"))
    assert project.setup().returncode == 0
    assert project.calls() == [MAKE, INSTALL]


def test_a_python_that_is_gone_makes_the_environment_anew(project: Project) -> None:
    project.setup()
    project.calls()
    (project.root / ".venv" / "bin" / "python").write_text("#!/nowhere\n")
    assert project.setup().returncode == 0
    assert project.calls() == [MAKE, INSTALL]


@pytest.mark.parametrize(("step", "calls"), [("venv", [MAKE]), ("pip", [MAKE, INSTALL])])
def test_an_interrupted_setup_starts_again(project: Project, tmp_path: Path, step: str, calls: list[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    running = subprocess.Popen(
        project.command(),
        env=project.environment | {"WAIT_IN": step, "PIPE": str(pipe)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert pipe.read_text() == "started\n"
    os.killpg(running.pid, signal.SIGINT)
    stdout, _ = running.communicate(timeout=30)
    assert (running.returncode, stdout) == (130, b"")
    assert project.calls() == calls
    assert project.setup().returncode == 0
    assert project.calls() == [MAKE, INSTALL]


def test_two_at_once_make_one_environment(project: Project, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    first = subprocess.Popen(
        project.command(), env=project.environment | {"WAIT_IN": "pip", "PIPE": str(pipe)}, stderr=subprocess.DEVNULL
    )
    assert pipe.read_text() == "started\n"
    second = subprocess.Popen(project.command(), env=project.environment, stderr=subprocess.DEVNULL)
    pipe.write_text("go on\n")
    assert (first.wait(30), second.wait(30)) == (0, 0)
    assert project.calls() == [MAKE, INSTALL]


def test_a_failed_installation_shows_why(project: Project) -> None:
    # pip, the second choice, must fail here as well: the stand-in's environment is this Python's own.
    failed = project.setup(FAIL="no space left", PIP_NO_INDEX="1", PIP_FIND_LINKS="", REAL_PYTHON="/bin/false")
    assert failed.returncode == 3
    assert failed.stdout == ""
    assert "installer says no space left" in failed.stderr
    assert failed.stderr.endswith("Repair it and run this again.\n")


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python"])
def test_an_unsuitable_python_is_one_sentence(project: Project, python: str) -> None:
    failed = project.setup(PYTHON=python)
    sentence = f"PYTHON={python} is not CPython 3.11 or newer: set it to one, or unset it.\n"
    assert (failed.returncode, failed.stdout, failed.stderr) == (3, "", sentence)
    assert project.calls() == []


def test_an_old_python3_is_passed_over(project: Project) -> None:
    project.program("python3", "#!/bin/sh\nexit 1\n")
    project.program("python3.13", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    done = project.setup(PYTHON="")
    assert done.returncode == 0, done.stderr
    assert str(project.programs) not in done.stderr
    assert project.calls() == [MAKE, INSTALL]


@pytest.mark.parametrize("installs", [True, False])
def test_an_empty_machine_gets_the_python_of_its_system(project: Project, installs: bool) -> None:
    project.program("apt-get", "#!/bin/sh\nexit 1\n")
    none_yet = (
        "is_root() { true; }; find_python() { [[ -e $CALLS ]] && echo /found/python3; }; "
        f'apt_install() {{ {str(installs).lower()} && echo "$@" >>"$CALLS"; }}; choose_python'
    )
    done = project.run(project.sourcing(none_yet), project.environment | {"PYTHON": ""})
    if installs:
        assert (done.returncode, done.stdout, done.stderr) == (0, "/found/python3\n", "")
        assert project.calls() == ["python3"]
    else:
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("icekit needs Python 3.11 or newer and found none: install it")


@pytest.fixture
def newer_python(project: Project) -> str:
    """A Python 3.13, whatever this machine has."""
    path = project.programs / "python3.13"
    # It says that it is one; everything else is left to the real one.
    project.program(
        "python3.13",
        f'#!/bin/sh\nif [ "$1" = - ]; then cat >/dev/null; echo "{path}"; '
        'elif [ "$1" = -c ]; then echo 3.13.0; else exec "$REAL_PYTHON" "$@"; fi\n',
    )
    return str(path)


def setup_libdatachannel(project: Project, **environment: str) -> subprocess.CompletedProcess[str]:
    command = project.sourcing("setup_libdatachannel; echo ready")
    return project.run(command, project.environment | {"HOME": str(project.programs)} | environment)


def test_the_stack_with_a_python_of_its_own_is_installed_once(project: Project, newer_python: str) -> None:
    first = setup_libdatachannel(project)
    assert (first.returncode, first.stdout) == (0, "ready\n"), first.stderr
    assert project.calls() == [MAKE, INSTALL]
    assert newer_python in first.stderr
    second = setup_libdatachannel(project)
    assert (second.returncode, second.stdout, second.stderr) == (0, "ready\n", "")
    assert project.calls() == []


def test_a_stack_that_cannot_be_installed_is_left_to_its_tests(project: Project, newer_python: str) -> None:
    done = setup_libdatachannel(project, FAIL="no wheel", PIP_NO_INDEX="1", REAL_PYTHON="/bin/false")
    assert (done.returncode, done.stdout) == (0, "ready\n")
    assert "no libdatachannel: " in done.stderr
    assert not (project.root / ".venv-libdatachannel").exists()


def test_without_a_newer_python_there_is_no_such_stack(project: Project) -> None:
    for name in ("python3", "python3.12", "python3.13", "python3.14"):
        project.program(name, "#!/bin/sh\nexit 1\n")
    done = setup_libdatachannel(project)
    assert (done.returncode, done.stdout) == (0, "ready\n")
    assert "no libdatachannel: it needs Python 3.12 or newer" in done.stderr
    assert project.calls() == []


@pytest.mark.parametrize("home", [None, ""])
def test_a_home_that_nobody_has_told_is_the_systems(project: Project, home: str | None) -> None:
    environment = {name: value for name, value in project.environment.items() if name != "HOME"}
    environment |= {} if home is None else {"HOME": home}
    done = project.run(project.sourcing('find_python >/dev/null; printf %s "$HOME"'), environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, pwd.getpwuid(os.getuid()).pw_dir, "")


def test_without_uv_one_is_put_into_the_environment_and_does_the_work(project: Project, tmp_path: Path) -> None:
    uv = project.programs / "uv"
    uv.unlink()
    # An environment whose pip brings uv: the same stand-in.
    made = project.root / ".venv" / "bin"
    brings = f'printf %s "$UV" >"{made}/uv"; chmod +x "{made}/uv"'
    project.program(
        "python3.12",
        "#!/bin/sh\n"
        'if [ "$2" = venv ]; then\n'
        f'    mkdir -p "{made}"\n'
        f'    cp "$0" "{made}/python"\n'
        'elif [ "$2" = pip ]; then\n'
        '    echo "pip $3" >>"$CALLS"\n'
        f"    {brings}\n"
        'else exec "$REAL_PYTHON" "$@"; fi\n',
    )
    # No uv of the machine may be found: only what the set-up itself calls is on the path.
    for name in ("bash", "sh", "cat", "cksum", "cp", "chmod", "mkdir", "rm", "rmdir", "dirname", "id", "head", "cut"):
        (project.programs / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    command = project.sourcing('choose_python() { printf %s "$FAKE"; }; setup dev; echo ready')
    environment = project.environment | {
        "PATH": str(project.programs),
        "PYTHON": "",
        "UV": UV,
        "FAKE": str(project.programs / "python3.12"),
    }
    done = project.run(command, environment)
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    assert project.calls() == ["pip install", INSTALL]
