"""From the command line to a running server and back. TensorFlow is imported last."""

import concurrent.futures
import contextlib
import ctypes
import gc
import logging
import os
import pathlib
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from importlib import metadata

from serving.server.flags import FlagError, Flags, parse, usage
from serving.server.listening import listen

NOTICE = (
    "This is mnist-gan's local server, not TF Serving: it speaks TF Serving's API on one machine "
    "with nothing else installed; for GPUs or production traffic use TF Serving itself "
    "(see docs/how-to/serve.md)."
)
FAILED, USAGE = 1, 2
_M_ARENA_MAX = -8  # of glibc's malloc.h

log = logging.getLogger("serving.server")


def main(
    argv: list[str],
    default_base_path: pathlib.Path | None = None,
    check_default: Callable[[pathlib.Path], None] = lambda base_path: None,
) -> int:
    """Serves until SIGTERM or SIGINT.

    Args:
      argv: the arguments, without the program's name, in TF Serving's flag names.
      default_base_path: what is served where the arguments name no model: under its folder's
        name, with REST on 8501, labels from the `models.config` in it.
      check_default: called with it before it is served; may raise.

    Returns:
      The exit code where nothing was served (FAILED for a port that is taken). A server that ran
      ends the process itself: with 0 after a signal, with FAILED where it could not start.
    """
    if {"-h", "--help", "--helpfull"} & {*argv}:
        print(f"{NOTICE}\n\n{usage()}")
        return 0
    if default_base_path is not None:
        default_base_path = default_base_path.absolute()
    try:
        flags = parse(argv, default_base_path)
    except FlagError as error:
        return _complain(str(error), USAGE)
    if flags.version:
        print(f"mnist-gan local server: {_version('mnist-gan')} (not TF Serving)")
        print(f"TensorFlow Library: {_version('tensorflow')}")
        return 0
    by_default = bool(default_base_path) and flags.model_base_path == str(default_base_path)
    if by_default:
        check_default(pathlib.Path(flags.model_base_path))
    _set_up_logging()
    stop, listener = threading.Event(), None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(FAILED) if stop.is_set() else stop.set())
    try:
        # Before the seconds that TensorFlow takes: a port that is taken is told at once.
        listener = _claim_ports(flags)
    except OSError as error:
        return _complain(str(error), FAILED)
    log.info("%s", NOTICE)
    _limit_heaps()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Google's about Python 3.10, and protobuf's about messages that strangers send.
    warnings.simplefilter("ignore")
    from serving.server.model_server import ModelServer

    # TensorFlow's million objects live as long as the process. A full garbage collection need not
    # walk them: it would hold up a request for a third of a second each time.
    gc.collect()
    gc.freeze()
    try:
        server = ModelServer(flags, rest_listener=listener, watch_labels=by_default)
    except (OSError, ValueError) as error:  # a file of parameters
        return _complain(f"Failed to start server. Error: {error}", FAILED)
    code = _serve(server, flags, stop)
    # Everything is closed. Idle threads of TensorFlow and gRPC may still be inside C++, where the
    # interpreter's own way out now and then aborts the process.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve(server, flags: Flags, stop: threading.Event) -> int:
    # Loading may wait for ever (for a first version), so it is another thread that does it.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        starting = pool.submit(server.start)
        while not starting.done() and not stop.wait(0.05):
            pass
        if not stop.is_set() and starting.exception() is None:
            _announce(server, flags)
            stop.wait()
        log.info("stopping")
        server.stop()
        error = starting.exception()
    if error is not None and not stop.is_set():
        if not isinstance(error, (OSError, ValueError)) and not hasattr(error, "code"):
            raise error
        return _complain(f"Failed to start server. Error: {error}", FAILED)
    log.info("stopped")
    return 0


def _announce(server, flags: Flags) -> None:
    addresses = []
    if server.grpc_port:
        addresses.append(f"gRPC on {flags.host}:{server.grpc_port}")
    if flags.grpc_socket_path:
        addresses.append(f"gRPC on unix:{flags.grpc_socket_path}")
    for name in server.core.manager.names() if server.rest_port else ():
        addresses.append(f"REST on http://{flags.host}:{server.rest_port}/v1/models/{name}")
    if server.rest_port:
        addresses.append(f"a playground on http://{flags.host}:{server.rest_port}/")
    log.info("serving: %s; Ctrl-C stops", ", ".join(addresses))


def _claim_ports(flags: Flags) -> socket.socket | None:
    if flags.port:
        # gRPC binds by itself later; this is to know now.
        listen(flags.host, flags.port, "--port").close()
    if flags.rest_api_port:
        return listen(flags.host, flags.rest_api_port, "--rest_api_port")
    return None


def _limit_heaps() -> None:
    """Keeps memory steady while versions come and go.

    glibc gives threads heaps of their own, up to eight a core, and a version that one thread
    loads and another unloads leaves holes in each: 200 MiB after 50 versions, where two heaps
    stay at 80.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _set_up_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s"))
    logging.getLogger("serving").addHandler(handler)
    logging.getLogger("serving").setLevel(logging.INFO)
    # One line for each malformed request that a stranger sends is one too many.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _complain(message: str, code: int) -> int:
    print(f"mnist-gan serve: {message}", file=sys.stderr)
    return code


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
