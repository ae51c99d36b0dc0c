"""The Airflow DAG, read with stand-ins for Airflow, which is not installed here."""

import json
import runpy
import shlex
import sys
import types

from common.workspace import Workspace
from pipeline import local_runner
from tests.conftest import REPOSITORY
from tests.pipeline.test_pipeline import make

FOLDER = REPOSITORY / "orchestration" / "airflow"


class Task:
    def __init__(self, task_id, bash_command, **options):
        self.name, self.words, self.upstream = task_id, shlex.split(bash_command), []
        self.options = options

    def set_upstream(self, tasks):
        self.upstream += [task.name for task in tasks]


class DAG:
    def __init__(self, name, **options):
        self.options = options

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


def test_the_dag_has_a_task_for_each_node_with_the_pipeline_s_dependencies(tmp_path, monkeypatch):
    made = make(tmp_path)
    file = tmp_path / "a pipeline.json"
    compiled = local_runner.Compiled(local_runner._Compiler().run(made), {}, "")
    local_runner.write_ir(compiled, Workspace.at(tmp_path), file)
    bash = "airflow.providers.standard.operators.bash"
    monkeypatch.setitem(sys.modules, bash, types.SimpleNamespace(BashOperator=Task))
    monkeypatch.setitem(sys.modules, "airflow.sdk", types.SimpleNamespace(DAG=DAG))
    monkeypatch.setenv("MNIST_GAN_IR", str(file))
    tasks = runpy.run_path(str(FOLDER / "mnist_gan_dag.py"))["tasks"]

    upstream = {c.id: {other.id for other in c.upstream_nodes} for c in made.components}
    assert tasks.keys() == upstream.keys() - {"Baseline"}
    for name, task in tasks.items():
        expected = upstream[name] - {"Baseline"}
        if "Baseline" in upstream[name]:  # which its own process looks up
            expected |= upstream["Baseline"]
        assert set(task.upstream) == expected
        command = ["mnist-gan", "node", name, "--ir", str(file), "--run-id", "$RUN_ID"]
        assert task.words == command
    assert json.loads(file.read_text())["nodes"]["Pusher"] == sorted(tasks["Pusher"].upstream)


def test_airflow_s_environment_has_no_tfx():
    lock = (FOLDER / "requirements.lock").read_text()
    names = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    assert "apache-airflow" in names and not names & {"tfx", "tensorflow", "mnist-gan"}
