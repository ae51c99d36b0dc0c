"""What is handed to TF Serving: nothing here can run it, so its form is checked."""

import pathlib
import re

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import client
from serving.server import batching, flags
from tests.conftest import REPOSITORY
from trainer import export

SERVING = REPOSITORY / "serving"


def test_the_model_list_has_both_labels_on_versions_that_are_kept_loaded():
    text = (SERVING / "config" / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.base_path == "/models/mnist_gan"
    assert set(model.version_labels) == {"stable", "canary"}
    assert model.model_version_policy.latest.num_versions == 2


def test_the_monitoring_file_turns_the_metrics_on():
    file = SERVING / "config" / "monitoring.config"
    parsed = flags.parse([f"--monitoring_config_file={file}", "--model_base_path=/m"])
    assert flags.prometheus_path(parsed) == "/monitoring/prometheus/metrics"


def test_the_numbers_of_batches_belong_together():
    parameters = batching.read(SERVING / "config" / "batching.config")
    assert parameters.enable_large_batch_splitting
    assert parameters.max_batch_size >= client._ROWS, "a client's largest request is taken"
    assert parameters.max_execution_batch_size == max(export.WARMUP_BATCH_SIZES)
    most = -(-parameters.max_batch_size // parameters.max_execution_batch_size)
    assert parameters.max_enqueued_batches >= 2 * most, "and does not fill the queue alone"


def test_the_compose_file_uses_flags_that_exist_and_files_that_are_there():
    service = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]["tf-serving"]
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", service["image"])
    known = set(flags.Flags.__dataclass_fields__) | set(flags.REFUSED)
    for argument in service["command"]:
        assert argument.partition("=")[0].removeprefix("--") in known, argument
    for volume in service["volumes"]:
        source = volume.rsplit(":", 2)[0]
        default = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", source)
        if default.startswith("./"):
            assert pathlib.Path(SERVING, default).is_file(), default
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
