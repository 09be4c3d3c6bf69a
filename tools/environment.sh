# Sourced by tools/test and tools/demo. Makes the project's own Python environment in .venv, once:
#     use_environment dev     # kerasortho, editable, with the extra "dev"; its programs come first in PATH
# The packages are installed again only when setup.cfg or pyproject.toml has changed, so later runs need no network.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"

use_environment() {
    local extra=$1 stamp
    unset PYTHONHOME PYTHONPATH
    if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
        make_environment
    fi
    stamp=$("$venv/bin/python" -c 'import hashlib, sys
print(sys.prefix, hashlib.sha256(b"".join(open(f, "rb").read() for f in sys.argv[1:])).hexdigest())' \
        "$root/setup.cfg" "$root/pyproject.toml")
    if ! is_installed "$extra" "$stamp"; then
        echo "Installing kerasortho[$extra] and TensorFlow into .venv (2 GB; some minutes the first time) ..."
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[$extra]"
        echo "$stamp" > "$venv/installed-$extra"
    fi
    PATH="$venv/bin:$PATH"
}

make_environment() {
    local python
    python=$(find_python)
    echo "Making .venv with $("$python" --version) ..."
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        echo "error: $venv exists and is not a Python environment. Move it away and try again." >&2
        return 1
    fi
    "$python" -m venv --clear "$venv"
}

# The development packages include those of every other extra used here.
is_installed() {
    local file
    for file in "$venv/installed-$1" "$venv/installed-dev"; do
        if [ -f "$file" ] && [ "$(cat "$file")" = "$2" ]; then return 0; fi
    done
    return 1
}

# Prints the first of these that starts (a pyenv shim may not), is of a supported version and can make environments.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.12 python3.11 python3.13 python3.10 python3 python; do
        if "$candidate" -c 'import sys, venv, ensurepip
sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "error: no Python 3.10, 3.11, 3.12 or 3.13 with the module venv in PATH." \
        "Install one (Debian, Ubuntu: sudo apt install python3 python3-venv; any system: https://www.python.org)," \
        "or name one: PYTHON=/path/to/python3.12 $0" >&2
    return 1
}
