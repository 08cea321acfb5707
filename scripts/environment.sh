#!/bin/sh
# Make .venv hold exactly what a lock file says, and Holdfast itself in development mode.
# Usage: PYTHON=python3 environment.sh LOCK_FILE. Does nothing when it was done for the same content.
set -eu

lock=$1
stamp=.venv/$lock.stamp

if [ -z "${PYTHON:-}" ]; then
    found=$(python3 --version 2>&1 || true)
    echo "Holdfast needs Python 3.11 or newer; python3 is: $found" >&2
    echo "Name another one with: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Holdfast needs Python 3.11 or newer; $PYTHON is: $("$PYTHON" --version 2>&1)" >&2
    exit 1
fi

wanted() {  # the folder too: an environment that was moved does not work
    pwd -P
    cat "$lock" pyproject.toml
}

if [ -x .venv/bin/python ] && wanted | cmp -s - "$stamp"; then
    exit 0
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    echo "Making the environment in .venv with $("$PYTHON" --version) ..."
    if ! "$PYTHON" -m venv --clear .venv; then
        echo "Python's venv module is needed (Debian and Ubuntu: apt-get install python3-venv)." >&2
        exit 1
    fi
fi
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }
echo "Installing what $lock says (the first time some 100 MB) ..."
pip install --quiet --require-hashes -r "$lock"
pip install --quiet --no-deps --no-build-isolation -e .
wanted >"$stamp"
