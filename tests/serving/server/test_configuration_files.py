"""What is handed to TF Serving: nothing here can run it, so its form is checked."""

import json
import pathlib
import re

import kubernetes_validate
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import client
from serving.server import batching, flags
from serving.server.metrics import Metrics
from tests.conftest import REPOSITORY
from trainer import export

SERVING = REPOSITORY / "serving"


def test_the_model_list_keeps_two_versions_and_labels_none():
    text = (SERVING / "config" / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.base_path == "/models/mnist_gan"
    assert model.model_version_policy.latest.num_versions == 2
    # Versions are numbered by the clock: no number in a shipped file would exist anywhere.
    assert not model.version_labels


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


def check_flags(arguments):
    known = set(flags.Flags.__dataclass_fields__) | set(flags.REFUSED)
    for argument in arguments:
        assert argument.partition("=")[0].removeprefix("--") in known, argument
    # The local server takes them too, but for the paths of the image.
    flags.parse([a for a in arguments if "/config/" not in a] + ["--model_base_path=/m"])


def test_the_compose_file_uses_flags_that_exist_and_files_that_are_there():
    services = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]
    assert set(services) == {"tf-serving", "prometheus", "grafana"}
    check_flags(services["tf-serving"]["command"])
    for service in services.values():
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+", service["image"]), "pinned"
        for volume in service["volumes"]:
            source = volume.rsplit(":", 2)[0]
            default = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", source)
            if default.startswith("./"):
                assert pathlib.Path(SERVING, default).exists(), default
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


# Monitoring.

METRIC = re.compile(r":tensorflow:serving:[a-z_]+")


def metric_names() -> set[str]:
    """The series of TF Serving's names that the local server exports too."""
    names = set()
    for metric in vars(Metrics()).values():
        name = metric.name.replace("/", ":")
        names |= (
            {name} if not metric._bounds else {f"{name}_{s}" for s in ("bucket", "count", "sum")}
        )
    return names


def expressions() -> list[str]:
    rules = yaml.safe_load((SERVING / "monitoring" / "alerts.yaml").read_text())
    dashboard = json.loads((SERVING / "monitoring" / "dashboards" / "mnist-gan.json").read_text())
    return [
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
    ]


def test_dashboard_and_alerts_ask_for_metrics_that_exist():
    asked = {name for text in expressions() for name in METRIC.findall(text)}
    assert len(asked) >= 4
    assert asked <= metric_names()


def test_prometheus_scrapes_the_service_of_the_compose_file():
    config = yaml.safe_load((SERVING / "monitoring" / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["tf-serving:8501"]}]
    assert f'job="{job["job_name"]}"' in " ".join(expressions())


# Kubernetes.

KUBERNETES = SERVING / "kubernetes"
SINCE = "1.29"


def resources() -> dict[str, dict]:
    """The documents that the kustomization lists, by kind."""
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = [name for name in kustomization["resources"] if name.endswith(".yaml")]
    assert {path.name for path in KUBERNETES.glob("*.yaml")} == {*files, "kustomization.yaml"}
    found = [yaml.safe_load((KUBERNETES / name).read_text()) for name in files]
    return {document["kind"]: document for document in found}


def test_kubernetes_resources_have_the_form_of_kubernetes_own_schemas():
    checked = 0
    for kind, document in resources().items():
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            assert kind in ("ServiceMonitor", "PrometheusRule"), "of the Prometheus operator"
            continue
        kubernetes_validate.validate(document, SINCE, strict=True)
        checked += 1
    assert checked == 5
    broken = resources()["Deployment"]
    broken["spec"]["template"]["spec"]["containers"][0]["prots"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, SINCE, strict=True)


def test_kubernetes_resources_fit_together():
    found = resources()
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    check_flags(container["args"])
    compose = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]["tf-serving"]
    assert container["image"] == compose["image"]
    assert set(compose["command"]) - set(container["args"]) <= {"--rest_api_timeout_in_ms=30000"}
    labels = pod["metadata"]["labels"].items()
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["ServiceMonitor"]["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels for selector in selectors)
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in found["Service"]["spec"]["ports"]} == ports
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == found["PersistentVolumeClaim"]["metadata"]["name"]
    generated = yaml.safe_load((SERVING / "config" / "kustomization.yaml").read_text())
    (config_map,) = generated["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == config_map["name"]
    assert all((SERVING / "config" / name).is_file() for name in config_map["files"])
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "mnist-gan")


def test_the_pods_run_with_the_least_that_they_need():
    pod = resources()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


def test_both_files_of_alerts_are_the_same():
    rules = yaml.safe_load((SERVING / "monitoring" / "alerts.yaml").read_text())
    assert resources()["PrometheusRule"]["spec"] == rules


def test_the_proxy_shares_between_the_two_labels():
    config = yaml.safe_load((SERVING / "config" / "envoy.yaml").read_text())
    (listener,) = config["static_resources"]["listeners"]
    (filters,) = listener["filter_chains"]
    manager = filters["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    rewritten = [route["route"].get("prefix_rewrite", "") for route in routes]
    assert [path.partition("/labels/")[2] for path in rewritten] == [
        "canary:predict",
        "stable:predict",
        "",
    ]
    clusters = {cluster["name"] for cluster in config["static_resources"]["clusters"]}
    assert {route["route"]["cluster"] for route in routes} == clusters


def test_istio_has_the_routes_of_the_proxy():
    config = yaml.safe_load((SERVING / "config" / "envoy.yaml").read_text())
    (filters,) = config["static_resources"]["listeners"][0]["filter_chains"]
    route_config = filters["filters"][0]["typed_config"]["route_config"]
    canary, stable, _ = route_config["virtual_hosts"][0]["routes"]
    istio = yaml.safe_load((SERVING / "config" / "istio.yaml").read_text())
    patches = [patch["patch"] for patch in istio["spec"]["configPatches"]]
    assert {patch["operation"] for patch in patches} == {"INSERT_FIRST"}
    # The last one that is inserted comes first.
    for patch, wanted in zip(reversed(patches), (canary, stable), strict=True):
        assert patch["value"]["match"] == wanted["match"]
        assert patch["value"]["route"]["prefix_rewrite"] == wanted["route"]["prefix_rewrite"]
    selector = istio["spec"]["workloadSelector"]["labels"]
    assert (
        selector.items()
        <= resources()["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    )
