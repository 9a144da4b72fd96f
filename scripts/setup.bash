# Sourced by the scripts beside it: finds a Python, makes and fills a virtual environment, installs what the tests
# need from the system. Everything here prints on stderr; stdout belongs to the script's result.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)
venv=$root/.venv
# There while .venv is being made or filled. Beside .venv, because what makes one wants to find nothing in its place.
unfinished=$root/.venv-unfinished
# A service may start us without it; unset, bash's ~ asks the system.
[[ -n ${HOME:-} ]] || { unset HOME && export HOME=~; }
# Many containers set this. The tests start hundreds of Python processes, and each would compile all of icekit again.
unset PYTHONDONTWRITEBYTECODE
# shellcheck disable=SC2034
test_packages=(coturn miniupnpd nftables iproute2 conntrack stun-client openssl procps tshark chromium nodejs libnice10 gir1.2-nice-0.1 python3-gi xvfb
    rabbitmq-server mosquitto redis-server nats-server)

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 3
}

# Runs a command in silence; when it fails, what it said and its exit code come out.
quietly() {
    local output status=0
    output=$("$@" 2>&1 </dev/null) || status=$?
    if ((status)); then
        say "failed: $*"
        say "$output"
    fi
    return "$status"
}

# Prints the real interpreter behind a command when it is CPython of the wanted version ("" means 3.11 or newer).
# sys._base_executable looks through a virtual environment, which may be the very one that is about to be replaced.
interpreter() {
    "$1" - "${2:-}" 2>/dev/null <<'PYTHON'
import sys

wanted = sys.argv[1]
found = "%d.%d" % sys.version_info[:2]
if sys.implementation.name != "cpython" or sys.version_info < (3, 11) or wanted not in ("", found):
    sys.exit(1)
print(getattr(sys, "_base_executable", None) or sys.executable)
PYTHON
}

# find_python [3.12]: prints the path of a suitable interpreter.
# shellcheck disable=SC2120
find_python() {
    local version=${1:-} candidate path candidates
    if [[ -n $version ]]; then
        candidates=("python$version" python3 "$HOME/.pyenv/versions/$version".*/bin/python3)
    else
        candidates=(python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3
            "$HOME"/.pyenv/versions/3.1[1-4]*/bin/python3)
    fi
    for candidate in "${candidates[@]}"; do
        if path=$(command -v "$candidate") && interpreter "$path" "$version"; then
            return
        fi
    done
    return 1
}

# choose_python: what PYTHON says, else the first suitable one, else Debian's: an empty machine has none.
choose_python() {
    if [[ -n ${PYTHON:-} ]]; then
        interpreter "$PYTHON" || die "PYTHON=$PYTHON is not CPython 3.11 or newer: set it to one, or unset it."
    else
        find_python || { is_root && command -v apt-get >/dev/null && apt_install python3 && find_python; } ||
            die "icekit needs Python 3.11 or newer and found none: install it (apt install python3)," \
                "or set PYTHON to its path."
    fi
}

python_version() { "$1" -c 'import sys; print(*sys.version.split())' 2>/dev/null; }

is_root() { [[ $(id -u) == 0 ]]; }

# Prints the uv to use: the machine's, or the one that own_uv has put into .venv.
known_uv() { command -v uv || { [[ -x $venv/bin/uv ]] && printf '%s\n' "$venv/bin/uv"; }; }

# own_uv: puts a uv into .venv when the machine has none. It installs what the tests need in a tenth of pip's time; where
# it cannot be had, or cannot reach what pip reaches, pip does the work.
own_uv() {
    known_uv >/dev/null ||
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv >/dev/null 2>&1 </dev/null
}

# install PYTHON PACKAGE…: into the environment of that Python.
install() {
    local uv
    if uv=$(known_uv) && quietly "$uv" pip install --quiet --python "$1" "${@:2}"; then
        return
    fi
    quietly "$1" -m pip install --quiet --disable-pip-version-check "${@:2}"
}

# Packages must not start a service (coturn's would take port 3478), neither now nor at the next boot.
apt_install() {
    local policy=/usr/sbin/policy-rc.d status=0 unit
    local get=(env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300)
    say "installing with apt (the first time takes some minutes): $*"
    (
        if [[ ! -e $policy ]]; then
            # Set before the file exists, so that an interrupt in between cannot leave it behind.
            trap 'rm -f "$policy"' EXIT
            trap 'exit 130' INT TERM
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        # Package lists may be missing or old; only then is the archive asked for new ones.
        "${get[@]}" install --no-install-recommends "$@" >/dev/null 2>&1 </dev/null || {
            quietly "${get[@]}" update && quietly "${get[@]}" install --no-install-recommends "$@"
        }
    ) || status=$?
    if [[ -d /run/systemd/system ]]; then
        for unit in "$@"; do
            case $unit in
                coturn | miniupnpd) quietly systemctl disable coturn || true ;;
                rabbitmq-server | mosquitto | redis-server | nats-server) quietly systemctl disable "$unit" || true ;;
            esac
        done
    fi
    return "$status"
}

# system_packages NAME…: installs the missing ones when this is Debian and we are root. A failure is not ours to judge:
# the tests that need the package say so.
system_packages() {
    local name missing=()
    command -v dpkg-query >/dev/null || return 0
    for name in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
    done
    if ((${#missing[@]} == 0)); then
        return 0
    elif is_root; then
        apt_install "${missing[@]}" || say "could not install ${missing[*]}; the tests that need them will not run"
    else
        say "not installed: ${missing[*]}; the tests that need them will not run (install them as root)"
    fi
}

# Debian splits ensurepip from Python, so `python -m venv` may fail there. Without root, pip's own wheel can still be
# taken out of its Debian package.
make_venv() {
    local python=$1 folder=$2 scratch version wheel uv
    rm -rf "$folder"
    if uv=$(known_uv) && quietly "$uv" venv --quiet --seed --python "$python" "$folder"; then
        return
    fi
    if "$python" -m venv "$folder" >/dev/null 2>&1; then
        return
    fi
    rm -rf "$folder"
    version=$(python_version "$python" | cut -d. -f1,2)
    if is_root && command -v apt-get >/dev/null && [[ $python == /usr/bin/* ]] &&
        apt_install "python$version-venv" && quietly "$python" -m venv "$folder"; then
        return
    fi
    rm -rf "$folder"
    if "$python" -m virtualenv --quiet "$folder" >/dev/null 2>&1; then
        return
    fi
    rm -rf "$folder"
    if "$python" -m venv --without-pip "$folder" >/dev/null 2>&1; then
        if "$python" -m pip --python "$folder/bin/python" install --quiet pip >/dev/null 2>&1; then
            return
        fi
        scratch=$(mktemp -d)
        if (cd "$scratch" && apt-get download python3-pip-whl && dpkg -x ./*.deb .) >/dev/null 2>&1; then
            for wheel in "$scratch"/usr/share/python-wheels/pip-*.whl; do
                if "$folder/bin/python" "$wheel/pip" install --quiet --no-index --ignore-installed "$wheel" \
                    >/dev/null 2>&1; then
                    rm -rf "$scratch"
                    return
                fi
            done
        fi
        rm -rf "$scratch"
    fi
    rm -rf "$folder"
    die "$python cannot make a virtual environment: install its venv module (apt install python$version-venv) or uv," \
        "then run this again."
}

# install_project FOLDER [GROUP]: the project, editable, with its dependencies and those of a dependency group.
install_project() (
    python=$1/bin/python
    group=${2:+--group=$2}
    cd "$root" || return
    [[ -z $group ]] || own_uv || true
    if uv=$(known_uv) && quietly "$uv" pip install --quiet --python "$python" --editable . ${group:+"$group"}; then
        return
    fi
    # Dependency groups need pip 25.1; Debian's is older.
    if [[ -n $group ]]; then
        quietly "$python" -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" || return
    fi
    quietly "$python" -m pip install --quiet --disable-pip-version-check --editable . ${group:+"$group"}
)

# What an environment was made from, in three lines: place, Python, sources. When none changed, nothing is installed
# and no network is touched.
fingerprint() {
    printf '%s\n' "$root" "$(python_version "$venv/bin/python")" \
        "$(cat "$root/pyproject.toml" "$root/scripts/setup.bash" | cksum)"
}

finished() { [[ -x $venv/bin/python && ! -e $unfinished ]]; }

# runs PYTHON: .venv runs the same version.
runs() { [[ $(python_version "$venv/bin/python") == "$(python_version "$1")" ]]; }

# fresh [GROUP]: .venv holds the project and that group as they are now. The group dev includes everything.
fresh() {
    local now
    finished || return 1
    [[ -z ${PYTHON:-} ]] || runs "$PYTHON" || return 1
    now=$(fingerprint)
    [[ $(cat "$venv/.made-from-dev" 2>/dev/null) == "$now" ]] ||
        [[ -z ${1:-} && $(cat "$venv/.made-from" 2>/dev/null) == "$now" ]]
}

# extendable PYTHON: an earlier .venv was finished, was made in this place, runs that Python and can install.
extendable() {
    local stamp
    finished && runs "$1" || return 1
    command -v uv >/dev/null || "$venv/bin/python" -c 'import pip' 2>/dev/null || return 1
    for stamp in "$venv"/.made-from*; do
        [[ ! -e $stamp || $(head -n 1 "$stamp") == "$root" ]] || return 1
    done
}

# setup [GROUP]: makes .venv ready. Two at once take turns. What an interrupted one left is thrown away.
setup() {
    local group=${1:-} python made= takes="a minute"
    if fresh "$group"; then
        return
    fi
    trap 'exit 130' INT TERM
    if command -v flock >/dev/null; then
        exec 9<"$root/scripts/setup.bash"
        flock 9 || true
    fi
    if ! fresh "$group"; then
        python=$(choose_python) || exit
        [[ -z $group ]] || takes="some minutes"
        say "setting up $venv with $python (the first time takes $takes)"
        extendable "$python" || made=yes
        mkdir -p "$unfinished"
        [[ -z $made ]] || make_venv "$python" "$venv"
        if ! install_project "$venv" "$group"; then
            # An older environment still holds what it held: an installer that fails leaves it as it was.
            [[ -n $made ]] || rmdir "$unfinished"
            die "the set-up of $venv did not finish; the reason is above. Repair it and run this again."
        fi
        fingerprint >"$venv/.made-from${group:+-$group}"
        rmdir "$unfinished"
    fi
    exec 9<&-
    trap - INT TERM
}

# setup_libdatachannel: .venv-libdatachannel, for a stack that needs Python 3.12 where ours may be older. What went
# wrong is not ours to judge: the tests that need it say so. Nothing is installed when nothing has changed.
setup_libdatachannel() (
    folder=$root/.venv-libdatachannel
    package=libdatachannel-py==2026.1.0
    for version in 3.13 3.12 3.14; do
        if python=$(find_python "$version"); then
            now="$root $package $(python_version "$python")"
            if [[ -x $folder/bin/python && $(cat "$folder/.made-from" 2>/dev/null) == "$now" ]]; then
                return
            fi
            say "setting up $folder with $python"
            if (make_venv "$python" "$folder") && install "$folder/bin/python" "$package"; then
                printf '%s\n' "$now" >"$folder/.made-from"
                return
            fi
            break
        fi
    done
    rm -rf "$folder"
    say "no libdatachannel: it needs Python 3.12 or newer, and a wheel for this machine; its tests will not run"
)
