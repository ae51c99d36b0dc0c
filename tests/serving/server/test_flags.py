"""The command line takes TF Serving's flags in both forms and refuses what it would ignore."""

import dataclasses

import pytest

from serving.server import flags
from serving.server.main import main

MODEL = ["--model_base_path=/models/m"]


@pytest.mark.parametrize(
    "field",
    [f for f in dataclasses.fields(flags.Flags) if f.name != "version"],
    ids=lambda f: f.name,
)
def test_each_flag_takes_its_value_after_an_equals_sign_and_after_a_space(field):
    texts = {bool: {"true": True, "false": False, "1": True, "0": False}, int: {"7": 7}}
    values = texts.get(field.type, {"a=1": "a=1"})
    others = ["--model_config_file=m"] if field.name == "model_base_path" else MODEL
    if field.name == "batching_parameters_file":
        others = [*others, "--enable_batching"]
    for text, value in values.items():
        with_equals = flags.parse([f"--{field.name}={text}", *others])
        assert getattr(with_equals, field.name) == value
        # What follows is a flag again, in either form.
        assert flags.parse([f"--{field.name}", text, *others]) == with_equals
        assert flags.parse([*others, f"--{field.name}", text]) == with_equals


def test_a_boolean_alone_is_true_and_does_not_swallow_the_next_flag():
    parsed = flags.parse(["--allow_version_labels_for_unavailable_models", *MODEL])
    assert parsed.allow_version_labels_for_unavailable_models
    assert parsed.model_base_path == "/models/m"


def test_the_defaults_are_those_of_tf_serving():
    parsed = flags.parse(MODEL)
    assert (parsed.port, parsed.rest_api_port, parsed.model_name) == (8500, 0, "default")
    assert parsed.rest_api_timeout_in_ms == 30_000
    assert parsed.file_system_poll_wait_seconds == 1
    assert (parsed.max_num_load_retries, parsed.load_retry_interval_micros) == (5, 60_000_000)
    assert parsed.host == "127.0.0.1"


def test_without_a_model_the_default_base_path_is_served_on_both_ports():
    parsed = flags.parse([], "/w/serving/mnist_gan")
    assert parsed.model_name == "mnist_gan"
    assert parsed.model_base_path == "/w/serving/mnist_gan"
    assert (parsed.port, parsed.rest_api_port) == (8500, 8501)
    # A model on the command line makes it TF Serving's command line altogether.
    assert flags.parse(MODEL, "/w/serving/mnist_gan").rest_api_port == 0


@pytest.mark.parametrize("name", sorted(flags.REFUSED))
def test_what_is_not_implemented_is_refused_by_name(name):
    with pytest.raises(flags.FlagError, match=f"--{name} is a flag of TF Serving that this local"):
        flags.parse([f"--{name}=1", *MODEL])
    with pytest.raises(flags.FlagError, match=f"--{name} "):
        flags.parse([f"--{name}", "2", *MODEL])


def test_a_refused_switch_may_be_switched_off():
    assert flags.parse(["--enable_profiler=false", *MODEL]) == flags.parse(MODEL)


# Of main.cc, 2.16.1.
TF_SERVING = (
    *("port", "grpc_socket_path", "rest_api_port", "rest_api_num_threads"),
    *("rest_api_timeout_in_ms", "rest_api_enable_cors_support", "enable_batching"),
    *("allow_version_labels_for_unavailable_models", "batching_parameters_file"),
    *("enable_per_model_batching_parameters", "model_config_file"),
    *("model_config_file_poll_wait_seconds", "model_name", "model_base_path"),
    *("num_load_threads", "num_unload_threads", "max_num_load_retries"),
    *("load_retry_interval_micros", "file_system_poll_wait_seconds", "flush_filesystem_caches"),
    *("tensorflow_session_parallelism", "tensorflow_session_config_file"),
    *("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"),
    *("use_alts_credentials", "ssl_config_file", "platform_config_file"),
    *("per_process_gpu_memory_fraction", "saved_model_tags", "grpc_channel_arguments"),
    *("grpc_max_threads", "enable_model_warmup", "num_request_iterations_for_warmup"),
    *("version", "monitoring_config_file", "remove_unused_fields_from_bundle_metagraph"),
    *("prefer_tflite_model", "num_tflite_pools", "num_tflite_interpreters_per_pool"),
    *("enable_signature_method_name_check", "xla_cpu_compilation_enabled", "enable_profiler"),
    *("thread_pool_factory_config_file", "mixed_precision", "skip_initialize_tpu"),
    "enable_grpc_healthcheck_service",
)


def test_every_flag_of_tf_serving_is_there_or_refused():
    known = {field.name for field in dataclasses.fields(flags.Flags)} | set(flags.REFUSED)
    assert set(TF_SERVING) <= known
    assert not {field.name for field in dataclasses.fields(flags.Flags)} & set(flags.REFUSED)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to serve"),
        (["--prot=1", *MODEL], "Did you mean --port"),
        (["--port=many", *MODEL], "--port takes a whole number, not 'many'"),
        (["--port=70000", *MODEL], "from 0 to 65535"),
        (["--port"], "--port needs a value"),
        (["port=8500", *MODEL], "'port=8500' is no flag"),
        (["--port=8500", "--rest_api_port=8500", *MODEL], "can't share one"),
        (["--port=0", *MODEL], "all off"),
        (["--enable_model_warmup=perhaps", *MODEL], "true or false"),
        (["--grpc_channel_arguments=a,b=1", *MODEL], "KEY=VALUE"),
        (["--batching_parameters_file=b", *MODEL], "needs --enable_batching"),
        (["--max_batch_rows=-1", *MODEL], "0 or more"),
        (["--max_request_bytes=0", *MODEL], "--max_request_bytes"),
        ([f"--grpc_max_threads={'9' * 5000}", *MODEL], "no number as large"),
        (["--rest_api_timeout_in_ms=2147483648", *MODEL], "no number as large"),
        (["--port=٣", *MODEL], "a whole number"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments, words, capsys):
    with pytest.raises(flags.FlagError) as caught:
        flags.parse(arguments)
    assert words in str(caught.value)
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_channel_arguments_become_integers_where_they_are():
    parsed = flags.parse(["--grpc_channel_arguments=grpc.max_connection_age_ms=2000,a=b", *MODEL])
    assert flags.grpc_options(parsed) == [("grpc.max_connection_age_ms", 2000), ("a", "b")]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('prometheus_config { enable: true, path: "/m" }', "/m"),
        ("prometheus_config: {\n  enable: true  # yes\n}\n", "/monitoring/prometheus/metrics"),
        ("prometheus_config { enable: false }", None),
        ("", None),
    ],
)
def test_a_monitoring_configuration_turns_the_metrics_on(tmp_path, text, path):
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    assert flags.prometheus_path(flags.parse([f"--monitoring_config_file={file}", *MODEL])) == path


@pytest.mark.parametrize("path", ["metrics", "/a b", "/{x}", "/v1/models/m"])
def test_metrics_on_a_path_that_is_none_or_that_models_have_are_refused(tmp_path, path):
    file = tmp_path / "monitoring.config"
    file.write_text(f'prometheus_config {{ enable: true, path: "{path}" }}')
    with pytest.raises(flags.FlagError, match="no path for metrics"):
        flags.prometheus_path(flags.parse([f"--monitoring_config_file={file}", *MODEL]))


@pytest.mark.parametrize("text", ["nonsense", "prometheus_config { enabled: true }", "a { }"])
def test_a_monitoring_configuration_that_says_something_else_is_refused(tmp_path, text):
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    with pytest.raises(flags.FlagError, match="Invalid protobuf file"):
        flags.prometheus_path(flags.parse([f"--monitoring_config_file={file}", *MODEL]))


def test_help_names_every_flag(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "not TF Serving" in text
    for name in [*(field.name for field in dataclasses.fields(flags.Flags)), *flags.REFUSED]:
        assert f"--{name} " in text
