# Sourced by check and release, after setup.bash: packages as people get them, in environments that hold nothing else.

# find_uv FOLDER: prints a uv; only uv can resolve to the oldest versions. Installed into FOLDER where there is none.
find_uv() {
    local python
    if command -v uv; then
        return
    fi
    if ! "$1/bin/uv" --version >/dev/null 2>&1; then
        python=$(choose_python) || exit
        make_venv "$python" "$1"
        quietly "$1/bin/python" -m pip install --quiet --disable-pip-version-check uv ||
            die "uv could not be installed; the reason is above."
    fi
    printf '%s\n' "$1/bin/uv"
}

# fresh_python UV VERSION FOLDER: an empty environment. uv brings a Python of its own when this machine has none.
fresh_python() {
    local python
    python=$(find_python "$2") || python=$2
    rm -rf "$3"
    "$1" venv --quiet --python "$python" "$3"
}

# try_installed FOLDER: what the environment holds runs, far from the checkout. Every module must load, save those whose
# extra is not there.
try_installed() (
    set -e
    programs=$1/bin
    cd "$(mktemp -d)"
    unset PYTHONPATH
    export PYTHONWARNINGS=error
    "$programs/icekit" --version
    "$programs/icekit" --help >/dev/null
    "$programs/icekit" explain 'candidate:1 1 udp 2130706431 192.0.2.1 49203 typ host' >/dev/null
    "$programs/icekit" explain ICE019 >/dev/null
    "$programs/icekit" sim port-restrictedxsymmetric --set turn=udp >/dev/null
    "$programs/icekit" predict open symmetric >/dev/null
    "$programs/icekit" credentials make --secret correct-horse >/dev/null
    "$programs/icekit" probe --local --html >report.html
    "$programs/python" - <<'PYTHON'
import pkgutil
import warnings
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import icekit
from icekit.errors import MissingExtra

assert "site-packages" in icekit.__file__, icekit.__file__
with warnings.catch_warnings():
    warnings.simplefilter("default")  # of what we import, on a newer Python
    for module in pkgutil.walk_packages(icekit.__path__, "icekit."):
        if module.name.startswith(("icekit.bench.programs.", "icekit.__main__", "icekit.sim.plugin")):
            continue
        try:
            import_module(module.name)
        except MissingExtra:
            pass
for name in ("py.typed", "web/static/index.html", "web/static/icekit.js"):
    assert (files("icekit") / name).is_file(), name
assert "<style>" in Path("report.html").read_text(encoding="utf-8")
PYTHON
)
