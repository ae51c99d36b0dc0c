"""What both APIs share: the models, how one is loaded, and what is counted."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import time
from collections.abc import Iterator

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from common.contract import UUID_FILE
from serving.server import batching, canary, inference
from serving.server.engine import Engine
from serving.server.errors import Code, ServingError
from serving.server.flags import Flags
from serving.server.metrics import Metrics
from serving.server.versions_manager import Servable, VersionsManager

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Call:
    """A call while it is answered; what becomes known on the way is filled in."""

    model: str = ""
    api: str = ""


class Core:
    """The served models, what was counted of them, and the routers of those with a canary."""

    def __init__(self, flags: Flags, *, allow_any_new_label: bool = False):
        """Serves nothing yet; `manager.apply` gives it models.

        Raises:
          OSError, ValueError: the file of batching parameters can't be read or used.
        """
        self.flags = flags
        self.metrics = Metrics()
        self.canaries: dict[str, canary.Router] = {}
        self._scheduler: batching.BatchScheduler | None = None
        if flags.enable_batching:
            file = flags.batching_parameters_file
            parameters = batching.read(file) if file else batching.Parameters()
            self._scheduler = batching.BatchScheduler(parameters)
        self.manager = VersionsManager(
            self._load,
            poll_seconds=flags.file_system_poll_wait_seconds,
            max_load_retries=flags.max_num_load_retries,
            retry_seconds=max(0.0, flags.load_retry_interval_micros / 1e6),
            load_threads=flags.num_load_threads,
            allow_labels_for_unavailable=(
                flags.allow_version_labels_for_unavailable_models or allow_any_new_label
            ),
        )

    def stop(self, grace_seconds: float) -> None:
        """Unloads all models; requests that run have `grace_seconds` to end."""
        self.manager.stop(grace_seconds)
        if self._scheduler is not None:
            self._scheduler.stop()

    def _load(self, name: str, version: int, path: str) -> Engine:
        flags, sessions = self.flags, self.flags.tensorflow_session_parallelism
        engine = Engine(
            path,
            tags=flags.saved_model_tags.split(","),
            intra_op_threads=flags.tensorflow_intra_op_parallelism or sessions,
            inter_op_threads=flags.tensorflow_inter_op_parallelism or sessions,
            max_rows=flags.max_batch_rows,
            scheduler=self._scheduler,
        )
        try:
            if flags.enable_model_warmup:
                self._warm_up(engine, path)
        except BaseException:
            engine.close()
            raise
        with contextlib.suppress(OSError, UnicodeDecodeError):
            labels = name, str(version), pathlib.Path(path, UUID_FILE).read_text().strip()
            self.metrics.mlmd_map.set(labels, 1)
            engine.on_close = lambda: self.metrics.mlmd_map.remove(labels)
        return engine

    def _warm_up(self, engine: Engine, path: str) -> None:
        started, status = time.monotonic(), "OK"
        try:
            iterations = self.flags.num_request_iterations_for_warmup
            count = inference.replay_warmup(engine, path, iterations)
        except ServingError as error:
            status, count = error.code.name, 1
            raise
        finally:
            if count:
                # The folder's name only: each push would add a path of its own.
                base_path = os.path.dirname(path)
                elapsed = (time.monotonic() - started) * 1e6
                self.metrics.model_warmup_latency.add((base_path, status), elapsed)

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """Holds the version that a request names.

        Raises:
          ServingError: there is none.
        """
        version, label = _choice(spec)
        router = self.canaries.get(spec.name) if version is label is None else None
        chosen = router.choose() if router else None
        if chosen is not None:
            with contextlib.suppress(ServingError):  # it is not loaded: the newest answers
                with self.manager.acquire(spec.name, chosen):
                    version = chosen
        with self.manager.acquire(spec.name, version, label) as servable:
            started, failed = time.monotonic(), True
            try:
                yield servable
                failed = False
            finally:
                if router and servable.version == chosen:
                    router.record(chosen, failed, time.monotonic() - started)

    def timed(self, handle: Servable, compute, api: str = "Predict"):
        """Runs `compute()` and records how long it took, under TF Serving's name for that."""
        started = time.monotonic()
        result = compute()
        elapsed = (time.monotonic() - started) * 1e6
        self.metrics.runtime_latency.add((handle.name, api, "TF1"), elapsed)
        return result

    def count_examples(self, name: str, count: int) -> None:
        """Counts the tf.train.Examples of a request."""
        self.metrics.request_example_counts.add((name,), count)
        self.metrics.request_example_count_total.add((name,), count)

    @contextlib.contextmanager
    def measured(self, call: Call, entrypoint: str, counted: bool = True) -> Iterator[None]:
        """Makes every failure a ServingError; counts the call, and its latency if it succeeds.

        A model that is not served is counted under no name, so that strangers can't fill the memory
        with names; a call that TF Serving does not count (`counted` false), not at all.
        """
        started, code = time.monotonic(), Code.OK
        try:
            yield
        except ServingError as error:
            code = error.code
            raise
        except MemoryError:
            code = Code.RESOURCE_EXHAUSTED
            raise ServingError(code, "the request needs more memory than there is") from None
        except Exception as error:
            code = Code.INTERNAL
            log.exception("%s call %r of %r failed", entrypoint, call.api, call.model)
            raise ServingError(code, f"{type(error).__name__}: {error}") from None
        finally:
            if counted:
                name = call.model if call.model in self.manager.names() else ""
                self.metrics.request_count.add((name, code.name))
                if code is Code.OK:
                    elapsed = (time.monotonic() - started) * 1e6
                    self.metrics.request_latency.add((name, call.api, entrypoint), elapsed)

    def on_examples(self, method: str, spec: model_pb2.ModelSpec, examples, timeout: float | None):
        """`inference.on_examples` on the version that `spec` names; returns handle and result."""
        api = "Classify" if method == inference.CLASSIFY else "Regress"
        with self.use(spec) as handle:
            result = self.timed(
                handle,
                lambda: inference.on_examples(handle.loaded, method, spec, examples, timeout),
                api,
            )
            self.count_examples(handle.name, inference.example_count(examples))
            return handle, result

    def metadata(
        self, spec: model_pb2.ModelSpec
    ) -> tuple[model_pb2.ModelSpec, get_model_metadata_pb2.SignatureDefMap]:
        """The version that `spec` names and its signatures."""
        with self.use(spec) as handle:
            used = model_pb2.ModelSpec(name=handle.name)
            used.version.value = handle.version
            signatures = handle.loaded.signatures
            return used, get_model_metadata_pb2.SignatureDefMap(signature_def=signatures)

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of the versions that `spec` names."""
        response = get_model_status_pb2.GetModelStatusResponse()
        for known in self.manager.status(spec.name, *_choice(spec)):
            entry = response.model_version_status.add(version=known.version, state=known.state)
            entry.status.error_code = known.error.code if known.error else 0
            entry.status.error_message = known.error.message if known.error else ""
        return response


def _choice(spec: model_pb2.ModelSpec) -> tuple[int | None, str | None]:
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return version, spec.version_label if choice == "version_label" else None
