#!/usr/bin/env bash
# Runs make's targets in a Debian 13 root, for the newest stack on a machine whose C library is too
# old for it:   tools/newest.sh test ARGS="-m 'not e2e'"
# After -- comes a command instead:   tools/newest.sh -- .venv/bin/mnist-gan status
# Without arguments it only makes the root (0.8 GB; 4 GB more once `make` has set itself up there),
# which is kept in MNIST_GAN_DEBIAN_13, by default below the user's cache folder. The folder that
# MNIST_GAN_SHARED names has the same name inside.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${MNIST_GAN_DEBIAN_13:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mnist-gan/debian-13}
say() { printf 'newest: %s\n' "$*" >&2; }

if [ "$(id -u)" != 0 ]; then
    say "making and entering a Debian 13 root takes the superuser: call this as root."
    exit 1
fi
if [ ! -f "$root/.complete" ]; then
    if ! command -v debootstrap >/dev/null; then
        say "debootstrap is missing: apt-get install debootstrap."
        exit 1
    fi
    say "making a Debian 13 root in $root (a minute or two)"
    rm -rf "$root"
    mkdir -p "$root"
    if ! debootstrap --variant=minbase \
        --include=ca-certificates,g++,git,make,python3,python3-dev,python3-venv \
        trixie "$root" >"$root.log" 2>&1; then
        tail -n 5 "$root.log" >&2
        say "debootstrap failed, see $root.log"
        exit 1
    fi
    touch "$root/.complete"
fi
[ $# -gt 0 ] || exit 0
if [ "$1" = -- ]; then
    shift
else
    set -- make --no-print-directory STACK=tfx-1.21 "$@"
fi

# MNIST's files, where this machine has them.
if [ -z "${MNIST_GAN_DATA_DIR:-}" ] && [ -d data/mnist ]; then
    export MNIST_GAN_DATA_DIR=data/mnist
fi

# The tree as it is, edits included; .venv and workspace of the time before stay.
mkdir -p "$root/project" "$root/data"
find "$root/project" -mindepth 1 -maxdepth 1 ! -name .venv ! -name workspace -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ ! -f "$file" ] || printf '%s\0' "$file"
done | tar --null -T - -cf - | tar -xf - -C "$root/project"

# The network as this machine sees it.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true

# TensorFlow needs /proc. The mounts are of a namespace of their own and end with it.
export root
exec unshare --mount sh -c '
    set -eu
    mount --bind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    if [ -d "${MNIST_GAN_DATA_DIR:-}" ]; then
        mount --bind "$MNIST_GAN_DATA_DIR" "$root/data"
        export MNIST_GAN_DATA_DIR=/data
    fi
    if [ -n "${MNIST_GAN_SHARED:-}" ]; then
        mkdir -p "$root$MNIST_GAN_SHARED"
        mount --bind "$MNIST_GAN_SHARED" "$root$MNIST_GAN_SHARED"
    fi
    export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    exec chroot "$root" sh -c "cd /project && exec \"\$@\"" sh "$@"
' sh "$@"
