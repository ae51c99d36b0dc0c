"""The pipeline as an Airflow 3 DAG: a task for each node, a process in the pipeline's environment.

Airflow needs neither TFX nor mnist-gan in its environment. It reads from its own environment:

    MNIST_GAN_IR       the file that `mnist-gan compile --to ir FILE` wrote
    MNIST_GAN_COMMAND  the program: .venv/bin/mnist-gan in a clone, with its whole path
"""

import datetime
import json
import os
import pathlib
import shlex

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

FILE = os.environ["MNIST_GAN_IR"]
COMMAND = os.environ.get("MNIST_GAN_COMMAND", "mnist-gan")
NODES = json.loads(pathlib.Path(FILE).read_text())["nodes"]  # each with those that it needs

with DAG(
    "mnist_gan",
    schedule=None,
    catchup=False,
    max_active_runs=1,  # a workspace takes one run at a time
    default_args={"retries": 2, "retry_delay": datetime.timedelta(seconds=5)},
):
    tasks = {
        # The run's name may be given by whoever starts it: it reaches the shell as a variable.
        node: BashOperator(
            task_id=node,
            bash_command=f'{shlex.join([COMMAND, "node", node, "--ir", FILE])} --run-id "$RUN_ID"',
            env={"RUN_ID": "{{ run_id }}"},
            append_env=True,
        )
        for node in NODES
    }
    for node, needed in NODES.items():
        tasks[node].set_upstream([tasks[name] for name in needed])
