"""The whole server as one object: models, gRPC, REST, configuration files."""

import logging
import os
import pathlib
import socket
import threading

from serving.server import canary, model_config, page
from serving.server import flags as flags_module
from serving.server.core import Core
from serving.server.errors import ServingError
from serving.server.flags import Flags
from serving.server.grpc_service import GrpcServer
from serving.server.listening import listen
from serving.server.rest import RestServer, make_app

log = logging.getLogger(__name__)

# Threads of a server that batches: one for each request that waits for its batch.
_WAITING = 64


class ModelServer:
    """A server from its flags, to be started and stopped.

    Attributes:
      core: the models.
      grpc_port, rest_port: where they listen once started, None for what is off.
    """

    def __init__(
        self,
        flags: Flags,
        *,
        rest_listener: socket.socket | None = None,
        watch_labels: bool = False,
    ):
        """Serves nothing yet.

        Args:
          flags: from `flags.parse`.
          rest_listener: a bound socket for REST; made from the flags where there is none.
          watch_labels: follow `models.config` and `canary.json` in the single model's base path.
        """
        self.flags = flags
        self.core = Core(flags, allow_any_new_label=watch_labels)
        if watch_labels:
            self.core.canaries[flags.model_name] = canary.Router(flags.model_base_path)
        self.grpc_port: int | None = None
        self.rest_port: int | None = None
        self._rest_listener = rest_listener
        self._watch_labels = watch_labels
        self._grpc: GrpcServer | None = None
        self._rest: RestServer | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Loads the models, then opens the ports.

        Waits without end for a first version where there is none.

        Raises:
          ServingError: the configuration is not valid or a model does not load.
          OSError: a port is taken.
          FlagError: the monitoring configuration can't be read.
        """
        flags, cpus, batches = self.flags, os.cpu_count() or 1, self.flags.enable_batching
        prometheus = flags_module.prometheus_path(flags)
        host = f"[{flags.host}]" if ":" in flags.host else flags.host
        addresses = [f"{host}:{flags.port}"] if flags.port else []
        if flags.grpc_socket_path:
            addresses.append(f"unix:{flags.grpc_socket_path}")
        if addresses:
            threads = flags.grpc_max_threads or max(_WAITING if batches else 16, 4 * cpus)
            self._grpc = GrpcServer(self.core, addresses, threads)
            self.grpc_port = self._grpc.ports[0] if flags.port else None
        if flags.rest_api_port and self._rest_listener is None:
            self._rest_listener = listen(flags.host, flags.rest_api_port, "--rest_api_port")
        seen = self._read_config()
        self.core.manager.wait_until_available(self.core.manager.apply(seen))
        if self._stopping.is_set():
            return
        if self._grpc is not None:
            self._grpc.start()
        if self._rest_listener is not None:
            app = make_app(
                self.core,
                threads=flags.rest_api_num_threads or max(_WAITING * batches, 4 * cpus),
                prometheus_path=prometheus,
                extra_routes=page.routes(self.core.manager),
            )
            self.rest_port = self._rest_listener.getsockname()[1]
            self._rest = RestServer(app, self._rest_listener, flags.shutdown_grace_seconds)
            self._rest.start()
        seconds = flags.model_config_file_poll_wait_seconds if flags.model_config_file else 0
        if self._watch_labels:
            seconds = flags.file_system_poll_wait_seconds
        if seconds:
            self._watcher = threading.Thread(
                target=self._watch_config, args=(seconds, seen), name="config", daemon=True
            )
            self._watcher.start()

    def stop(self) -> None:
        """Takes no further requests, waits for those that run, unloads the models."""
        self._stopping.set()
        grace = self.flags.shutdown_grace_seconds
        if self._rest is not None:
            self._rest.stop()
        elif self._rest_listener is not None:
            self._rest_listener.close()
        if self._grpc is not None:
            self._grpc.stop(grace)
        self.core.stop(grace)

    def _read_config(self):
        flags = self.flags
        if flags.model_config_file:
            return model_config.read(flags.model_config_file)
        labels = pathlib.Path(flags.model_base_path, model_config.FILE_NAME)
        if self._watch_labels and labels.is_file():
            config = model_config.read(labels)
            for model in config.model_config_list.config:
                model.base_path = flags.model_base_path
            return config
        return model_config.single_model(flags.model_name, flags.model_base_path)

    def _watch_config(self, seconds: float, applied) -> None:
        complaint = ""
        while not self._stopping.wait(seconds):
            try:
                config = self._read_config()
                if config != applied:
                    self.core.manager.apply(config)
                    applied, complaint = config, ""
                    log.info("the model configuration was changed")
            except ServingError as error:
                # Tried again at the next look: a version that a label names may still load.
                if str(error) != complaint:
                    log.error("the model configuration was not taken over: %s", error)
                complaint = str(error)
