#!/bin/sh
# TF Serving itself on the pushed versions, gRPC on 8500 and REST on 8501: its program where it is at
# hand (TENSORFLOW_MODEL_SERVER, else PATH), else its Docker image. The model is MNIST_GAN_MODEL, else
# the one that was pushed to last. Further arguments are flags of tensorflow_model_server.
set -eu
say() { printf 'serve-tf: %s\n' "$*" >&2; }

serving=$(cd "$(dirname "$0")" && pwd)
workspace=${MNIST_GAN_WORKSPACE:-$serving/../workspace}
model=
newest=-1
for version in "$workspace"/serving/${MNIST_GAN_MODEL:-*}/[0-9]*; do
    [ -f "$version/saved_model.pb" ] || continue
    number=${version##*/}
    case $number in *[!0-9]*) continue ;; esac
    if [ "$number" -gt "$newest" ]; then
        newest=$number
        base=${version%/*}
        model=${base##*/}
    fi
done
if [ -z "$model" ]; then
    say "nothing was pushed in $workspace yet${MNIST_GAN_MODEL:+ to $MNIST_GAN_MODEL}: try \`mnist-gan run\`"
    exit 2
fi
workspace=$(cd "$workspace" && pwd)
base=$workspace/serving/$model

program=${TENSORFLOW_MODEL_SERVER:-$(command -v tensorflow_model_server || true)}
if [ -n "$program" ]; then
    if ! command -v "$program" >/dev/null; then
        say "TENSORFLOW_MODEL_SERVER names $program, which is no program"
        exit 2
    fi
    set -- --monitoring_config_file="$serving/config/monitoring.config" "$@"
    if [ -f "$base/models.config" ]; then
        # `mnist-gan versions label` writes the base path of the Docker image.
        models=$(mktemp)
        sed "s|\"/models/$model\"|\"$base\"|" "$base/models.config" >"$models"
        set -- --model_config_file="$models" --allow_version_labels_for_unavailable_models=true "$@"
    else
        set -- --model_name="$model" --model_base_path="$base" "$@"
    fi
    exec "$program" --port=8500 --rest_api_port=8501 "$@"
fi

if command -v docker >/dev/null; then
    if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
        if [ $# -gt 0 ]; then
            say "with Docker the flags are those of serving/compose.yaml; these are not: $*"
            exit 2
        fi
        if [ "$model" != mnist_gan ]; then
            say "serving/compose.yaml serves mnist_gan, not $model; serving/README.md has the docker command for one model"
            exit 2
        fi
        export MNIST_GAN_WORKSPACE="$workspace"
        if [ -f "$base/models.config" ]; then
            export MNIST_GAN_MODELS_CONFIG="$base/models.config"
        fi
        exec docker compose -f "$serving/compose.yaml" up
    fi
    why="; docker is, but its daemon does not answer or it lacks compose (docker info says more)"
fi

say "tensorflow_model_server is not on PATH and not named by TENSORFLOW_MODEL_SERVER${why:-; neither is docker}."
say "How to get TF Serving as a Docker image or an apt package: docs/how-to/serve.md."
say "\`mnist-gan serve\` serves the same versions by the same API and needs none of it."
exit 1
