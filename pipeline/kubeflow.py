"""The pipeline as a specification for Kubeflow Pipelines 2 and Vertex AI, and what its tasks run.

TFX's own runner compiles it and TFX's own entry point executes a task. Our code reads and writes
folders, so a task sees the bucket of `gs://BUCKET/...` as the folder `/gcs/BUCKET/...`, where
Vertex AI mounts buckets.
"""

import dataclasses
import json
import os
import pathlib
import re
import runpy
import sys
from collections.abc import Callable
from typing import Any

from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner

from common.files import write_atomically
from common.workspace import Workspace, model_name
from datasets import source
from pipeline.configs import Settings
from pipeline.local_runner import View
from pipeline.pipeline import create_pipeline

COMMAND = ("python", "-m", "pipeline.kubeflow")
BUCKETS = "MNIST_GAN_BUCKETS"  # environment variable: where buckets are mounted; default /gcs
_EXECUTOR = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"


def write(
    file: pathlib.Path,
    settings: Settings,
    workspace: Workspace,
    view: View,
    root: str,
    image: str,
    *,
    create: Callable[..., tfx_pipeline.Pipeline] | None = None,
    **options: Any,
) -> None:
    """Prepares the data in `workspace` and writes a PipelineJob of the schema 2.1 to `file`.

    Args:
      root: gs://BUCKET/FOLDER, or a folder that all tasks mount under this path. Everything lies
        there; the prepared records have to be copied into its folder `tfds`.
      image: the container image of all tasks, with this project.
      settings, view, create, options: as `local_runner.compile_pipeline` takes them.

    Raises:
      ValueError: `root` is neither, a setting asks for what was made before, or there is no data.
    """
    if not re.fullmatch(r"(gs:/)?/[\w.-]+(/[\w.-]+)*/?", root):
        raise ValueError(f"--root {root} is neither gs://BUCKET/FOLDER nor a path from / on")
    if settings.training.base_model or settings.training.hyperparameters:
        raise ValueError("Kubeflow looks up no earlier runs: no base_model, no hyperparameters")
    view.phase("data")
    data = source.resolve(settings.data, workspace.tfds)
    settings = settings.for_images(data.image_shape[0])
    root = root.rstrip("/")
    made = (create or create_pipeline)(
        settings=settings,
        data=dataclasses.replace(data, tfds_dir=f"{root}/tfds"),
        metadata_path="",  # Kubeflow has its own
        pipeline_root=f"{root}/pipeline_root",
        serving_base=f"{root}/serving/{model_name(data.dataset)}",
        checkpoint_root=f"{root}/checkpoints",
        tensorboard_root=f"{root}/tensorboard",
        run_id="{{$.pipeline_job_uuid}}",
        **options,
    )
    config = runner.KubeflowV2DagRunnerConfig(
        default_image=image, default_commands=list(COMMAND), use_pipeline_spec_2_1=True
    )
    job = runner.KubeflowV2DagRunner(config).run(made, write_out=False)
    write_atomically(file, json.dumps(job, indent=1) + "\n")
    view.note(f"copy {data.prepared_dir} to {root}/tfds/{data.dataset}/{data.dataset_version}")


def main() -> None:
    """Executes one task, told by the arguments that TFX put into the specification."""
    mounted = os.environ.get(BUCKETS, "/gcs").rstrip("/") + "/"
    sys.argv = [word.replace("gs://", mounted) for word in sys.argv]
    outputs = json.loads(sys.argv[sys.argv.index("--json_serialized_invocation_args") + 1])[
        "outputs"
    ]
    for made in outputs["artifacts"].values():
        for artifact in made["artifacts"]:  # nodes find their folders there, as with other runners
            pathlib.Path(artifact["uri"]).mkdir(parents=True, exist_ok=True)
    try:
        runpy.run_module(_EXECUTOR, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not end.code:  # Kubeflow knows what was made by its address
            file = pathlib.Path(outputs["outputFile"])
            file.write_text(file.read_text().replace(mounted, "gs://"))
        raise


if __name__ == "__main__":
    main()
