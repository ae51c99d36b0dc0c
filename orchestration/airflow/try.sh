#!/usr/bin/env bash
# Runs the pipeline on digits, smoke length, as a real `airflow dags test`, in a temporary folder or
# in DIR where one is named: orchestration/airflow/try.sh [DIR [OPTIONS OF COMPILE]]. KILL=Trainer kills
# that node once. Ends with the exit code of `airflow dags test`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [ ! -e "$root/.venv/.complete" ]; then
    echo "try: there is no environment in $root: call \`make setup\` first." >&2
    exit 1
fi
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
export PATH="$root/.venv/bin:$PATH"

if [ ! -x "$folder/airflow-env/bin/airflow" ]; then
    # uv does not see what pyenv has besides this folder's version.
    known=("${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python3)
    [ -x "${known[-1]}" ] || known=(3.12)
    uv venv --quiet --python "${PYTHON:-${known[-1]}}" "$folder/airflow-env"
    uv pip install --quiet --python "$folder/airflow-env/bin/python" --require-hashes -r "$here/requirements.lock"
fi
mnist-gan compile --workspace "$folder/workspace" --preset smoke --dataset digits --to ir "$folder/pipeline.json" "${@:2}"

export MNIST_GAN_IR="$folder/pipeline.json" MNIST_GAN_COMMAND="$root/.venv/bin/mnist-gan"
export AIRFLOW_HOME="$folder/airflow-home" AIRFLOW__CORE__DAGS_FOLDER="$here" AIRFLOW__CORE__LOAD_EXAMPLES=False
airflow="$folder/airflow-env/bin/airflow"
"$airflow" db migrate >"$folder/migrate.log" 2>&1 || { tail "$folder/migrate.log"; exit 1; }

if [ -n "${KILL:-}" ]; then
    ( until pid=$(pgrep -f "node $KILL --ir $MNIST_GAN_IR"); do sleep 1; done
      sleep "${KILL_AFTER:-20}"; kill -9 $pid; echo "killed $KILL" ) &
fi
{ code=0; "$airflow" dags test mnist_gan 2>&1 || code=$?; echo "$code" >"$folder/exit-code"; } | tee "$folder/dags-test.log" |
    { grep -oE "[✓✗=] [A-Z][A-Za-z]+ .* s |return code -?[0-9]+|new_state=[a-z_]+|Error: .*" || true; }
for command in status "lineage runs" report; do
    mnist-gan $command --workspace "$folder/workspace"
done
exit "$(cat "$folder/exit-code")"
