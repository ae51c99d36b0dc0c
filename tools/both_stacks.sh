#!/usr/bin/env bash
# Each stack makes a workspace and the other opens it: status, lineage, report, generate, serve and
# evaluate must answer alike. tfx-1.16 runs here, tfx-1.21 in the root of tools/newest.sh; as root.
set -euo pipefail
cd "$(dirname "$0")/.."

# One name for the folder in both, because artifacts are recorded with their paths.
MNIST_GAN_SHARED=$(mktemp -d)
export MNIST_GAN_SHARED
trap 'rm -rf "$MNIST_GAN_SHARED"' EXIT

make --silent setup STACK=tfx-1.16
tools/newest.sh setup
python=.venv/bin/python

$python -m tests.e2e.answers "$MNIST_GAN_SHARED/tfx-1.16"
tools/newest.sh -- $python -m tests.e2e.answers "$MNIST_GAN_SHARED/tfx-1.21"

export MNIST_GAN_OTHER_STACK=$MNIST_GAN_SHARED/tfx-1.21
$python -m pytest -q tests/e2e/test_other_stack.py
export MNIST_GAN_OTHER_STACK=$MNIST_GAN_SHARED/tfx-1.16
tools/newest.sh -- $python -m pytest -q tests/e2e/test_other_stack.py
