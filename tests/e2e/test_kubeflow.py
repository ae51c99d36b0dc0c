"""What is compiled for Kubeflow runs, task by task as its container's command says, and pushes."""

import graphlib
import json
import pathlib
import types

import pytest
from click.testing import CliRunner

from common.workspace import Workspace
from datasets import source
from pipeline import cli, configs, kubeflow
from serving import versions
from tests.e2e.conftest import arguments, pushed, start_command, start_module

pytestmark = pytest.mark.e2e

ROOT = "gs://bucket/mnist"


def execute(job: dict, buckets: pathlib.Path) -> dict[str, dict]:
    """Does what Kubeflow does with a PipelineJob, its buckets mounted in a folder.

    Returns:
      By task and output key the list of artifacts that it gave, as Kubeflow keeps them.
    """
    spec, root = job["pipelineSpec"], job["runtimeConfig"]["gcsOutputDirectory"]
    tasks, given = spec["root"]["dag"]["tasks"], {}
    needs = {name: task.get("dependentTasks", ()) for name, task in tasks.items()}
    for name in graphlib.TopologicalSorter(needs).static_order():
        component = spec["components"][tasks[name]["componentRef"]["name"]]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        folder, asked = f"{root}/42/job/{name}_1", tasks[name].get("inputs", {})
        made = {
            key: {
                "artifacts": [
                    {"name": f"{name}-{key}", "uri": f"{folder}/{key}", "type": one["artifactType"]}
                ]
            }
            for key, one in component["outputDefinitions"]["artifacts"].items()
        }
        read = {
            key: given[one["taskOutputArtifact"]["producerTask"]][
                one["taskOutputArtifact"]["outputArtifactKey"]
            ]
            for key, one in asked.get("artifacts", {}).items()
        }
        values = {k: one["runtimeValue"]["constant"] for k, one in asked["parameters"].items()}
        told = json.dumps(
            {
                "inputs": {"parameterValues": values, "artifacts": read},
                "outputs": {"artifacts": made, "outputFile": f"{folder}/executor_output.json"},
            }
        ).replace("{{$.pipeline_job_uuid}}", "job")
        python, option, module = container["command"]
        assert (python, option) == ("python", "-m")
        words = [word.replace("{{$}}", told) for word in container["args"]]
        done = start_module(module, *words, MNIST_GAN_BUCKETS=str(buckets)).wait()
        assert done.returncode == 0, f"{name}: {done.stderr[-5000:]}"
        output = buckets / folder.removeprefix("gs://") / "executor_output.json"
        for key, one in json.loads(output.read_text())["artifacts"].items():
            made[key]["artifacts"][0] |= one["artifacts"][0]
        given[name] = made
    return given


def test_a_compiled_specification_pushes_the_generator_of_a_plain_run(first, workspace, tmp_path):
    options = [word for word in arguments(workspace)[1:] if word != "--json"]
    file = tmp_path / "job.json"
    to = ("--to", "kubeflow", "--root", ROOT, "--image", "registry/mnist-gan:1")
    done = start_command("compile", *options, *to, str(file)).wait()
    assert done.returncode == 0, done.stderr
    assert f"copy {workspace}/tfds/digits/1.0.0 to {ROOT}/tfds/digits/1.0.0" in done.stderr
    job = json.loads(file.read_text())
    assert str(workspace) not in file.read_text()
    (tmp_path / "bucket" / "mnist").mkdir(parents=True)
    (tmp_path / "bucket" / "mnist" / "tfds").symlink_to(workspace / "tfds")

    given = execute(job, tmp_path)

    [push] = given["Pusher"]["pushed_model"]["artifacts"]
    served = pathlib.Path(push["metadata"]["pushed_destination"].replace("gs://", f"{tmp_path}/"))
    assert served.parent == tmp_path / "bucket" / "mnist" / "serving" / "digits_gan"
    [plain] = pushed(workspace)
    assert versions.model_digest(served) == versions.model_digest(plain.path)
    [evaluation] = given["Evaluator"]["evaluation"]["artifacts"]
    expected = first.document["metrics"]["fid"]
    assert evaluation["metadata"]["fid"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "kubeflow"), "--root and --image belong to --to kubeflow"),
        (("--to", "ir", "--root", ROOT), "--root and --image belong to --to kubeflow"),
    ],
)
def test_what_belongs_to_another_orchestrator_is_refused(tmp_path, options, said):
    refused = CliRunner().invoke(cli.main, ["compile", *options, str(tmp_path / "file")])
    assert refused.exit_code == 2 and said in refused.stderr


def test_large_images_are_trained_on_for_as_many_steps_as_in_a_run(tmp_path, monkeypatch):
    data = source.DataSource(image_shape=(64, 64, 3), requested="folder:emoji", tfds_dir="")
    monkeypatch.setattr(source, "resolve", lambda *_: data)
    steps = []

    def create(*, settings, **_):
        steps.append(settings.training.steps)
        raise InterruptedError

    view = types.SimpleNamespace(phase=lambda _: None)
    given = (tmp_path / "job.json", configs.load(), Workspace.at(tmp_path), view)
    with pytest.raises(InterruptedError):
        kubeflow.write(*given, "/mnt", "image:1", create=create)
    assert steps == [1750]
