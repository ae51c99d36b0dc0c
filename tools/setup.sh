#!/bin/sh
# Makes .venv with the versions of one lock. Called by the Makefile; safe to call again.
# STACK chooses the lock: tfx-1.16 or tfx-1.21; unset, the newest that this machine can have.
# PYTHON_VERSION chooses among the Pythons of a lock (3.12, say); unset, the newest that is there.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

# A Python of version $1 with venv: by name, from pyenv (its shims need telling), or by uv.
find_python() {
    for candidate in "python$1" python3 "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$1".*/bin/python3
    do
        if "$candidate" -c "import sys, venv, ensurepip
sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    command -v uv >/dev/null || return 1
    uv python find "$1" 2>/dev/null && return
    uv python install --quiet "$1" 2>/dev/null && uv python find "$1"
}

# Sets python to the newest that a stack's lock is for and that is not ruled out, or to nothing.
python_for() {
    python=
    case $1 in
        tfx-1.16) versions=3.10 ;;
        tfx-1.21) versions='3.13 3.12' ;;
    esac
    for version in $versions; do
        [ "${PYTHON_VERSION:-$version}" = "$version" ] || continue
        python=$(find_python "$version") && return
    done
    python=
}

# Ends with a message on a platform that TFX's libraries, ML Metadata first, have no wheels for.
refuse() {
    say "TFX and ML Metadata have no wheels for $1, so that no stack can be installed here."
    say "$2"
    exit 1
}

# Sets platform and offered, the stacks that have wheels for it, the newest first.
look_at_platform() {
    system=$(uname -s) machine=$(uname -m)
    elsewhere="Call make on x86-64 Linux with glibc: a machine, a virtual machine or a container."
    case "$system $machine" in
        'Linux x86_64' | 'Linux amd64') ;;
        'Darwin arm64')
            platform='macOS on Apple silicon' offered=tfx-1.21
            return
            ;;
        Darwin*) refuse "macOS on Intel processors" "$elsewhere" ;;
        MINGW* | MSYS* | CYGWIN* | Windows*)
            refuse Windows "On an x86-64 PC install WSL2 ('wsl --install'), and call make in its Linux."
            ;;
        *) refuse "$system on $machine" "$elsewhere" ;;
    esac
    platform=$(getconf GNU_LIBC_VERSION 2>/dev/null) ||
        refuse "a C library other than glibc, such as Alpine's musl" "$elsewhere"
    minor=$(printf '%s' "$platform" | sed -n 's/^glibc 2\.\([0-9]*\).*/\1/p')
    if [ "${minor:-0}" -ge 39 ]; then
        offered='tfx-1.21 tfx-1.16'
    else
        offered=tfx-1.16
    fi
}

# Sets stack, python and why.
choose() {
    case ${STACK:-} in
        '' | tfx-1.16 | tfx-1.21) ;;
        *)
            say "STACK is '$STACK'; it takes tfx-1.16 or tfx-1.21."
            exit 1
            ;;
    esac
    look_at_platform
    if [ -n "${STACK:-}" ]; then
        case " $offered " in
            *" $STACK "*) ;;
            *)
                say "STACK asks for $STACK, which has no wheels for $platform; $offered has."
                exit 1
                ;;
        esac
        stack=$STACK why="asked for by STACK"
        python_for "$stack"
        return
    fi
    for stack in $offered; do
        python_for "$stack"
        case $offered in
            *" $stack") why="$platform would do for tfx-1.21, but there is no Python 3.12 or 3.13" ;;
            tfx-1.16) why="tfx-1.21 needs glibc 2.39, here is $platform" ;;
            *) why="$platform" ;;
        esac
        [ -z "$python" ] || return 0
    done
    stack=${offered%% *}
    [ "$stack" = tfx-1.16 ] || why=$platform
}

choose
if [ -z "$python" ]; then
    [ -z "${PYTHON_VERSION:-}" ] || why="$why, and PYTHON_VERSION asks for $PYTHON_VERSION"
    say "stack $stack: $why; but no Python for it was found by name, under pyenv or through uv."
    case $stack in
        tfx-1.16) say "Get a Python 3.10 ('apt install python3.10 python3.10-venv' or" \
            "'pyenv install 3.10') and call make again." ;;
        tfx-1.21) say "Get a Python 3.12 or 3.13 with venv ('apt install python3 python3-venv' or" \
            "'pyenv install 3.13') and call make again." ;;
    esac
    exit 1
fi
say "stack $stack with $("$python" --version) ($why)"

# One package of tfx-1.21 comes as source only.
if [ "$stack" = tfx-1.21 ] && ! .venv/bin/python -c 'import farmhash' 2>/dev/null; then
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    if ! command -v c++ >/dev/null || [ ! -f "$headers/Python.h" ]; then
        say "tfx-1.21 compiles one package, which takes a C++ compiler and Python's headers:"
        say "'apt install g++ python3-dev', on macOS 'xcode-select --install'; then call make again."
        exit 1
    fi
fi

# A leftover of a set-up that was killed, or the other stack's: begin again.
[ "$(cat .venv/.complete 2>/dev/null)" = "$stack" ] || rm -rf .venv
if [ ! -d .venv ]; then
    "$python" -m venv .venv
fi

# uv installs the lock in a fraction of pip's time; it is itself pinned with its hashes.
if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r locks/uv.lock
fi

say "installing the packages of locks/$stack.lock (3 GB; a minute or two, longer on a slow line)"
# Bytecode is compiled here, once: TensorFlow and TFX start twice as fast with it. A busy machine or a
# slow line is no reason to give up, as uv does after a minute a file or half a minute of silence.
export UV_COMPILE_BYTECODE_TIMEOUT="${UV_COMPILE_BYTECODE_TIMEOUT:-3600}"
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --compile-bytecode \
    --require-hashes -r "locks/$stack.lock"
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --no-deps \
    --no-build-isolation --editable .
echo "$stack" >.venv/.complete
say "done: .venv/bin/mnist-gan"
