#!/bin/sh
# Makes .venv with the versions of requirements.lock. Called by the Makefile; safe to call again.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

# A Python 3.10: by name (pyenv's shim reads .python-version), from pyenv's own folder, or by uv.
find_python() {
    for candidate in python3.10 "$(pyenv prefix 3.10 2>/dev/null || true)/bin/python3.10" python3 \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.10*/bin/python3.10; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 10))' \
            2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    command -v uv >/dev/null && uv python find 3.10 2>/dev/null && return
    command -v uv >/dev/null && uv python install 3.10 >&2 && uv python find 3.10
}

# A leftover of a set-up that was killed has no stamp: begin anew.
[ -f .venv/.complete ] || rm -rf .venv
if [ ! -d .venv ]; then
    python=$(find_python) || true
    if [ -z "$python" ]; then
        say "a Python 3.10 with venv was not found: not as python3.10, under pyenv or through uv."
        say "Get it with one of: 'apt install python3.10 python3.10-venv', 'pyenv install 3.10',"
        say "'pip install uv' (uv then fetches it); then call make again."
        exit 1
    fi
    say "making .venv with $("$python" --version)"
    "$python" -m venv .venv 2>/dev/null || "$python" -m venv --without-pip .venv
fi

# uv installs the lock in a fraction of pip's time; it is itself pinned with its hashes.
if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
    say "installing uv"
    if .venv/bin/python -m pip --version >/dev/null 2>&1; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            --require-hashes -r requirements-uv.lock
    else
        uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements-uv.lock
    fi
fi

say "installing the packages of requirements.lock (3 GB; a minute or two, longer on a slow line)"
# Bytecode is compiled here, once: TensorFlow and TFX start twice as fast with it.
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --compile-bytecode \
    --require-hashes -r requirements.lock
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --no-deps \
    --no-build-isolation --editable .
touch .venv/.complete
say "done: .venv/bin/mnist-gan"
