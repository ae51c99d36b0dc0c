"""The gRPC API: PredictionService, ModelService and the standard health service."""

import concurrent.futures
import contextlib
from collections.abc import Iterator

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import flags as flags_module
from serving.server import inference, tensors
from serving.server.core import Call, Core
from serving.server.engine import DEFAULT_SIGNATURE
from serving.server.errors import Code, ServingError, invalid_argument
from serving.server.versions_manager import Servable

# Asked for by TF Serving's names, and by their full ones.
SERVICES = (
    "",
    "PredictionService",
    "ModelService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)
# Longer messages break the limit on HTTP/2 headers; TF Serving cuts at the same length.
_MESSAGE_LIMIT = 1024
_LONGEST_WAIT = 1e6
_STATUS = {status.value[0]: status for status in grpc.StatusCode}


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    def __init__(self, core: Core):
        """Makes the service on a core."""
        self._core = core

    def Predict(self, request, context):
        """Runs a signature on tensors."""
        with _answered(self._core, context, request, "Predict") as timeout:
            with self._core.use(request.model_spec) as handle:
                outputs = self._core.timed(
                    handle,
                    lambda: inference.predict_request(
                        handle.loaded, request, self._core.flags.max_request_bytes, timeout
                    ),
                )
            response = predict_pb2.PredictResponse()
            _fill_spec(response, handle, request.model_spec.signature_name)
            for alias, array in outputs.items():
                try:
                    tensors.to_proto(array, response.outputs[alias])
                except TypeError as error:
                    raise ServingError(Code.UNIMPLEMENTED, str(error)) from None
            return response

    def Classify(self, request, context):
        """Classes and scores of tf.train.Examples."""
        response = classification_pb2.ClassificationResponse()
        return self._on_examples(inference.CLASSIFY, request, context, "Classify", response)

    def Regress(self, request, context):
        """One number for each tf.train.Example."""
        response = regression_pb2.RegressionResponse()
        return self._on_examples(inference.REGRESS, request, context, "Regress", response)

    def _on_examples(self, method: str, request, context, api: str, response):
        with _answered(self._core, context, request, api) as timeout:
            spec = request.model_spec
            handle, result = self._core.on_examples(method, spec, request.input, timeout)
            response.result.CopyFrom(result)
            _fill_spec(response, handle, spec.signature_name)
            return response

    def MultiInference(self, request, context):
        """Several Classify and Regress on the same examples."""
        with _answered(self._core, context, request) as timeout:
            spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
            with self._core.use(spec) as handle:
                response = inference.multi_inference(
                    handle.loaded, request, handle.version, timeout
                )
            count = inference.example_count(request.input)
            self._core.count_examples(handle.name, count)
            return response

    def GetModelMetadata(self, request, context):
        """The signatures of a model."""
        with _answered(self._core, context, request):
            if not request.metadata_field:
                raise invalid_argument(
                    "GetModelMetadataRequest must specify at least one metadata_field"
                )
            for field in request.metadata_field:
                if field != "signature_def":
                    raise invalid_argument(f"Metadata field {field} is not supported")
            used, signatures = self._core.metadata(request.model_spec)
            response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=used)
            response.metadata["signature_def"].Pack(signatures)
            return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, core: Core):
        """Makes the service on a core."""
        self._core = core

    def GetModelStatus(self, request, context):
        """The states of a model's versions."""
        with _answered(self._core, context, request):
            return self._core.status(request.model_spec)

    def HandleReloadConfigRequest(self, request, context):
        """Replaces the model list; answers when its new models are available."""
        with _answered(self._core, context, request) as timeout:
            names = sorted({*request.metric_names})
            before = {name: self._core.metrics.first_value(name) for name in names}
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid_argument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest."
                    " Only ModelConfigList is currently supported"
                )
            manager = self._core.manager
            manager.wait_until_available(manager.apply(request.config), timeout)
            response = model_management_pb2.ReloadConfigResponse()
            response.status.error_code = 0
            for name in names:
                increase = self._core.metrics.first_value(name) - before[name]
                response.metric.add(name=name, int64_value_increase=increase)
            return response


@contextlib.contextmanager
def _answered(core: Core, context, request, api: str = "") -> Iterator[float | None]:
    """Turns errors into the call's status; gives the seconds that the caller still waits.

    `api` is TF Serving's name for the call, "" for those that it does not count.
    """
    has_spec = "model_spec" in request.DESCRIPTOR.fields_by_name
    call = Call(request.model_spec.name if has_spec else "", api)
    try:
        with core.measured(call, "GRPC", counted=bool(api)):
            if has_spec and not request.HasField("model_spec"):
                raise invalid_argument("Missing ModelSpec")
            # Without a deadline it is centuries by gRPC's reckoning, more than a timer takes.
            remaining = context.time_remaining()
            if remaining is None or remaining > _LONGEST_WAIT:
                remaining = None
            elif remaining <= 0:
                raise ServingError(Code.DEADLINE_EXCEEDED, "the deadline has passed already")
            yield remaining
    except ServingError as error:
        message = error.message.encode("utf-8", "replace").decode()
        if len(message) > _MESSAGE_LIMIT:
            message = message[:_MESSAGE_LIMIT] + "...TRUNCATED"
        context.abort(_STATUS[int(error.code)], message)


def _fill_spec(response, handle: Servable, signature_name: str) -> None:
    response.model_spec.name = handle.name
    response.model_spec.signature_name = signature_name or DEFAULT_SIGNATURE
    response.model_spec.version.value = handle.version


class GrpcServer:
    """The listening server with its health service."""

    def __init__(self, core: Core, addresses: list[str], threads: int):
        """Binds the addresses, `host:port` or `unix:path`; `start` lets requests in.

        Raises:
          OSError: an address is in use or can't be bound.
        """
        self._core = core
        self._health = health.HealthServicer()
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
            options=[
                ("grpc.max_receive_message_length", core.flags.max_request_bytes),
                ("grpc.max_send_message_length", -1),
                # Two servers on one port would each get half of the requests.
                ("grpc.so_reuseport", 0),
                *flags_module.grpc_options(core.flags),
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(core), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), self._server)
        if core.flags.enable_grpc_healthcheck_service:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.ports: list[int] = []
        for address in addresses:
            try:
                port = self._server.add_insecure_port(address)
            except RuntimeError:
                port = 0
            if not port:
                raise OSError(f"gRPC can't listen on {address}: it is in use or not allowed")
            self.ports.append(port)

    def start(self) -> None:
        """Lets requests in."""
        self._server.start()
        self._core.manager.on_ready = self._report_health
        self._report_health()

    def stop(self, grace_seconds: float) -> None:
        """Takes no further requests and waits for those that run."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_seconds).wait()

    def _report_health(self) -> None:
        serving = health_pb2.HealthCheckResponse.SERVING
        waiting = health_pb2.HealthCheckResponse.NOT_SERVING
        for service in SERVICES:
            self._health.set(service, serving if self._core.manager.ready() else waiting)
