"""The command line: TF Serving's flag names, so that one command line fits both servers.

What this server does not do is refused by name and never ignored: whoever asks for batching must
not believe that it is on. Needs no TensorFlow.
"""

import dataclasses
import difflib
import os
import pathlib
import re
import typing
from collections.abc import Iterator

from serving.server import text_protos

DEFAULT_REST_PORT = 8501
MAX_INT32, MAX_INT64 = 2**31 - 1, 2**63 - 1


class FlagError(ValueError):
    """The command line can't be used; the message says which flag and why."""


def _flag(default: object, description: str) -> typing.Any:
    return dataclasses.field(default=default, metadata={"help": description})


@dataclasses.dataclass(frozen=True)
class Flags:
    """The flags that are implemented, under TF Serving's names and with its defaults.

    Health checks alone are on by default here. The last group is this server's own.
    """

    port: int = _flag(8500, "TCP port for gRPC; 0 turns it off")
    grpc_socket_path: str = _flag("", "path of a UNIX socket that speaks gRPC too")
    rest_api_port: int = _flag(0, "TCP port for REST; 0 turns it off")
    rest_api_num_threads: int = _flag(0, "REST requests worked on at once; 0 chooses by the CPUs")
    rest_api_timeout_in_ms: int = _flag(30_000, "longest time that one REST request may compute")
    rest_api_enable_cors_support: bool = _flag(False, "allow browsers on other pages to call REST")
    model_name: str = _flag("default", "name of the single model")
    model_base_path: str = _flag("", "folder that holds the single model's numbered versions")
    model_config_file: str = _flag(
        "", "text ModelServerConfig: several models, version policies and labels"
    )
    model_config_file_poll_wait_seconds: int = _flag(
        0, "read model_config_file again every so many seconds; 0 reads it once"
    )
    file_system_poll_wait_seconds: int = _flag(
        1, "look for new versions every so many seconds; 0 looks once"
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "a new label may name a version that is not loaded yet"
    )
    enable_batching: bool = _flag(False, "compute requests together that arrive together")
    batching_parameters_file: str = _flag(
        "", "text BatchingParameters: sizes, waiting time, queue and threads of batches"
    )
    num_load_threads: int = _flag(0, "versions loaded at once; 0 is one after the other")
    max_num_load_retries: int = _flag(5, "how often a failed load is tried again")
    load_retry_interval_micros: int = _flag(60_000_000, "microseconds between those tries")
    saved_model_tags: str = _flag("serve", "comma-separated tags of the graph to load")
    enable_model_warmup: bool = _flag(True, "replay assets.extra/tf_serving_warmup_requests")
    num_request_iterations_for_warmup: int = _flag(0, "replay each of them so often, if above 0")
    tensorflow_session_parallelism: int = _flag(0, "threads of a session; 0 chooses by the CPUs")
    tensorflow_intra_op_parallelism: int = _flag(0, "threads inside one operation")
    tensorflow_inter_op_parallelism: int = _flag(0, "operations run side by side")
    grpc_channel_arguments: str = _flag(
        "", "comma-separated KEY=VALUE arguments of the gRPC server"
    )
    grpc_max_threads: int = _flag(0, "gRPC requests worked on at once; 0 chooses by the CPUs")
    enable_grpc_healthcheck_service: bool = _flag(True, "answer gRPC's standard health checks")
    monitoring_config_file: str = _flag("", "text MonitoringConfig: turns Prometheus metrics on")
    version: bool = _flag(False, "print the versions and leave")

    host: str = _flag("127.0.0.1", "own flag: address to listen on (0.0.0.0 opens it to the net)")
    max_request_bytes: int = _flag(64 * 2**20, "own flag: larger requests are refused")
    max_batch_rows: int = _flag(
        4096, "own flag: requests whose tensors have more rows are refused; 0 for no limit"
    )
    shutdown_grace_seconds: int = _flag(
        30, "own flag: how long running requests may go on after SIGTERM"
    )


_TFLITE = "it runs no TensorFlow Lite models"
_PLATFORM = "it serves TensorFlow SavedModels on the CPU with TensorFlow's own settings"
# A boolean may still be given its "off" value, because off is what this server does.
REFUSED = {
    "enable_per_model_batching_parameters": "all models share one set of batching parameters",
    "enable_profiler": "it has no profiler",
    "prefer_tflite_model": _TFLITE,
    "use_tflite_model": _TFLITE,
    "num_tflite_pools": _TFLITE,
    "num_tflite_interpreters_per_pool": _TFLITE,
    "ssl_config_file": "it speaks plain text only; put a proxy in front of it",
    "use_alts_credentials": "it speaks plain text only",
    "platform_config_file": _PLATFORM,
    "tensorflow_session_config_file": _PLATFORM,
    "per_process_gpu_memory_fraction": _PLATFORM,
    "thread_pool_factory_config_file": _PLATFORM,
    "xla_cpu_compilation_enabled": _PLATFORM,
    "num_unload_threads": "each version is unloaded by itself, without waiting for others",
    "flush_filesystem_caches": "it leaves the file system's caches alone",
    "remove_unused_fields_from_bundle_metagraph": "it keeps signatures only",
    "enable_signature_method_name_check": "method names are not checked (TF Serving's default)",
    "mixed_precision": _PLATFORM,
    "skip_initialize_tpu": "it runs on the CPU and knows no TPU",
}
_TRUE, _FALSE = ("true", "1"), ("false", "0")


def parse(argv: list[str], default_base_path: str | os.PathLike | None = None) -> Flags:
    """Reads a command line in the forms `--flag=value`, `--flag value` and `--flag` (booleans).

    `default_base_path` is served under its folder's name, with REST on port 8501, where the command
    line names neither `--model_base_path` nor `--model_config_file`.

    Raises:
      FlagError: an unknown or refused flag, or a value that does not fit.
    """
    fields = {field.name: field for field in dataclasses.fields(Flags)}
    values: dict[str, typing.Any] = {}
    for name, text in _pairs(argv, {n for n, field in fields.items() if field.type is bool}):
        if name in REFUSED:
            if text not in _FALSE:
                raise FlagError(
                    f"--{name} is a flag of TF Serving that this local server does not have: "
                    f"{REFUSED[name]}. Leave the flag out, or use TF Serving itself "
                    "(see docs/how-to/serve.md)."
                )
            continue
        if name not in fields:
            near = difflib.get_close_matches(name, [*fields, *REFUSED], n=1)
            hint = f" Did you mean --{near[0]}?" if near else " --help lists the flags."
            raise FlagError(f"there is no flag --{name}.{hint}")
        values[name] = _convert(name, text, fields[name].type)
    if default_base_path is not None and not {"model_base_path", "model_config_file"} & {*values}:
        values["model_base_path"] = str(default_base_path)
        values.setdefault("model_name", pathlib.Path(default_base_path).name)
        values.setdefault("rest_api_port", DEFAULT_REST_PORT)
    flags = Flags(**values)
    if not flags.version:
        _check(flags)
    return flags


def grpc_options(flags: Flags) -> list[tuple[str, int | str]]:
    """`--grpc_channel_arguments` as gRPC wants them: integers where they are integers."""
    options = []
    for argument in filter(None, flags.grpc_channel_arguments.split(",")):
        key, _, value = argument.partition("=")
        options.append((key, int(value) if re.fullmatch(r"-?[0-9]{1,9}", value) else value))
    return options


def prometheus_path(flags: Flags) -> str | None:
    """Where `--monitoring_config_file` puts the metrics, or None where it does not turn them on.

    Raises:
      FlagError: the file can't be read or says something else.
    """
    if not flags.monitoring_config_file:
        return None
    try:
        config = text_protos.read(flags.monitoring_config_file, text_protos.MonitoringConfig)
    except (OSError, ValueError) as error:
        raise FlagError(f"--monitoring_config_file can't be read: {error}") from None
    prometheus = config.prometheus_config
    path = prometheus.path or "/monitoring/prometheus/metrics"
    if not re.fullmatch(r"/[^\s?#{}]*", path) or path.lower().startswith("/v1/"):
        raise FlagError(f"--monitoring_config_file: {path!r} is no path for metrics, such as /m")
    return path if prometheus.enable else None


def usage() -> str:
    """The text of --help."""
    lines = ["flags, under TF Serving's names (--flag=value or --flag value):", ""]
    for field in dataclasses.fields(Flags):
        default = "" if field.default in ("", False) else f" [{field.default}]"
        lines.append(f"  --{field.name:<45} {field.metadata['help']}{default}")
    lines += ["", "refused, because this server does not do it:", ""]
    lines += [f"  --{name:<45} {reason}" for name, reason in REFUSED.items()]
    return "\n".join(lines)


def _pairs(argv: list[str], booleans: set[str]) -> Iterator[tuple[str, str]]:
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument == "--":
            raise FlagError(f"'{argument}' is no flag: flags are --name=value or --name value")
        name, equals, text = argument[2:].partition("=")
        if not equals:
            follows = rest[0] if rest and not rest[0].startswith("--") else None
            if name in booleans and (follows is None or follows.lower() not in _TRUE + _FALSE):
                text = "true"
            elif follows is not None:
                text = rest.pop(0)
            elif name not in REFUSED and name in Flags.__dataclass_fields__:
                raise FlagError(f"--{name} needs a value")
        yield name, text.lower() if name in booleans or name in REFUSED else text


def _convert(name: str, text: str, kind: object) -> object:
    if kind is bool:
        if text not in _TRUE + _FALSE:
            raise FlagError(f"--{name} takes true or false, not '{text}'")
        return text in _TRUE
    if kind is int:
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise FlagError(f"--{name} takes a whole number, not '{text[:40]}'")
        if len(text) > 18 or abs(int(text)) > (MAX_INT64 if "micros" in name else MAX_INT32):
            raise FlagError(f"--{name} takes no number as large as {text[:40]}")
        return int(text)
    return text


def _check(flags: Flags) -> None:
    if not flags.model_base_path and not flags.model_config_file:
        raise FlagError("nothing to serve: give --model_base_path or --model_config_file")
    for name in ("port", "rest_api_port"):
        if not 0 <= (port := getattr(flags, name)) <= 65535:
            raise FlagError(f"--{name} takes a port from 0 to 65535, not {port}")
    if flags.port and flags.port == flags.rest_api_port:
        raise FlagError("--rest_api_port must differ from --port: gRPC and REST can't share one")
    if not (flags.port or flags.rest_api_port or flags.grpc_socket_path):
        raise FlagError("--port, --rest_api_port and --grpc_socket_path are all off")
    if not 1 <= flags.max_request_bytes <= MAX_INT32:
        raise FlagError(f"--max_request_bytes takes 1 to {MAX_INT32}")
    for name, value in vars(flags).items():
        if type(value) is int and value < 0 and name != "load_retry_interval_micros":
            raise FlagError(f"--{name} takes 0 or more, not {value}")
    if flags.batching_parameters_file and not flags.enable_batching:
        raise FlagError("--batching_parameters_file needs --enable_batching")
    if (
        flags.tensorflow_session_parallelism
        and flags.tensorflow_intra_op_parallelism
        and flags.tensorflow_inter_op_parallelism
    ):
        raise FlagError(
            "give either --tensorflow_session_parallelism, or --tensorflow_intra_op_parallelism "
            "and --tensorflow_inter_op_parallelism"
        )
    for argument in filter(None, flags.grpc_channel_arguments.split(",")):
        if not re.fullmatch(r"[^=]+=.+", argument):
            raise FlagError(
                f"--grpc_channel_arguments takes KEY=VALUE,KEY=VALUE; '{argument}' is not that"
            )
