"""A model server in a process of its own: TF Serving where it is at hand, else the local server.

    with process.running("workspace/serving/mnist_gan") as server:
        GeneratorClient(server.rest_url).images(range(10), 7)

It listens on free ports of loopback and never outlives whoever started it. Needs no TensorFlow
(the local server, in its own process, does).
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from serving.client import DEFAULT_MODEL, GeneratorClient, ServerError
from serving.server.listening import free_ports

VARIABLE = "TENSORFLOW_MODEL_SERVER"
PROGRAM = "tensorflow_model_server"
LOCAL = "local"

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_GUARD = pathlib.Path(__file__).with_name("guard.py")
_TRIES = 3  # a port that was free a moment ago may be taken by now
_LAST_LINES = 3
_LONGEST_WORDS = 600


class StartError(RuntimeError):
    """The server did not come to serve; the message has its last words, `log` all that it wrote."""

    def __init__(self, message: str, log: str):
        super().__init__(message)
        self.log = log


class ProgramError(ValueError):
    """What was named as TF Serving's program is none."""


def find_tf_serving(named: str = "") -> str:
    """The program of TF Serving on this machine; "" where the local server is to be used.

    `named` is its path; "local" asks for none; "" looks at the environment variable
    TENSORFLOW_MODEL_SERVER and then along PATH.

    Raises:
      ProgramError: the path or the variable names no program.
    """
    if named == LOCAL:
        return ""
    for source, program in (("model_server", named), (VARIABLE, os.environ.get(VARIABLE, ""))):
        if program:
            path = shutil.which(program)
            if path is None:
                raise ProgramError(
                    f"{source} names {program!r}, which is no program: give the path of "
                    f"{PROGRAM}, or {LOCAL!r} for the local server"
                )
            return os.path.abspath(path)
    return os.path.abspath(path) if (path := shutil.which(PROGRAM)) else ""


class Server:
    """A server's process (`pid` is the server's own) and the addresses of its two APIs."""

    def __init__(
        self, guard: subprocess.Popen, ports: Sequence[int], model: str, log: pathlib.Path
    ):
        assert guard.stdout
        self._guard = guard
        self._log = log
        first_line = guard.stdout.readline().strip()
        self.pid = int(first_line) if first_line else 0  # 0: it could not be run at all
        self.grpc_port, self.rest_port = ports
        self.grpc_url = f"grpc://127.0.0.1:{self.grpc_port}"
        self.rest_url = f"http://127.0.0.1:{self.rest_port}"
        self.model = model

    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def ended(self, patience: float = 0.0) -> str | None:
        """How it ended, with its last words; None while it still runs after `patience` seconds."""
        try:
            code = self._guard.wait(patience)
        except subprocess.TimeoutExpired:
            return None
        how = f"with exit code {code}"
        if code > 128:
            with contextlib.suppress(ValueError):
                how = f"by {signal.Signals(code - 128).name}"
        lines = [line.strip() for line in self.log().splitlines() if line.strip()]
        words = " / ".join(lines[-_LAST_LINES:])[-_LONGEST_WORDS:]
        return f"the server ended {how}" + (f": {words}" if words else "")

    def wait(self, seconds: float) -> None:
        """Waits until a version is available.

        Raises:
          StartError: the server ended, could not load the version, or took longer.
        """
        end = time.monotonic() + seconds
        with GeneratorClient(self.rest_url, model=self.model, retries=0, timeout=5) as client:
            while time.monotonic() < end:
                if ended := self.ended():
                    raise StartError(ended, self.log())
                with contextlib.suppress(ServerError):
                    found = client.versions()
                    if any(version.state == "AVAILABLE" for version in found):
                        return
                    if failed := [v for v in found if v.state == "END" and v.error]:
                        message = f"the server could not load it: {failed[0].error}"
                        raise StartError(message, self.log())
                time.sleep(0.05)
        raise StartError(f"the server was not ready after {seconds:g} s", self.log())


@contextlib.contextmanager
def running(
    base_path: str | os.PathLike,
    *,
    model: str = DEFAULT_MODEL,
    program: str = "",
    arguments: Sequence[str] = (),
    seconds: float = 120.0,
) -> Iterator[Server]:
    """Serves the versions in a folder under the name `model` for the length of a `with` block.

    Args:
      base_path: folder of numbered versions.
      program: TF Serving's, as `find_tf_serving` gives it; "" is the local server, run by this
        Python.
      arguments: more flags, in TF Serving's names.
      seconds: how long it may take to load a version.

    Raises:
      StartError: no version came to be available.
    """
    for attempt in range(_TRIES):
        with _started(base_path, model, program, arguments) as server:
            try:
                server.wait(seconds)
            except StartError:
                if "in use" not in server.log() or attempt == _TRIES - 1:
                    raise
                continue
            yield server
            return


@contextlib.contextmanager
def _started(
    base_path: str | os.PathLike, model: str, program: str, arguments: Sequence[str]
) -> Iterator[Server]:
    ports = free_ports(2)
    command = [program] if program else [sys.executable, "-m", "serving.server"]
    command += [f"--port={ports[0]}", f"--rest_api_port={ports[1]}", f"--model_name={model}"]
    command += [f"--model_base_path={os.path.abspath(base_path)}", *arguments]
    # The very sources that run here, whatever else is installed.
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory(prefix="mnist-gan-server-") as folder:
        log = pathlib.Path(folder, "log")
        with log.open("wb") as sink:
            guard = subprocess.Popen(
                [sys.executable, "-I", str(_GUARD), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env=environment,
                start_new_session=True,
            )
        try:
            yield Server(guard, ports, model, log)
        finally:
            # The group, not the guard alone; and with force, for there is nothing to save.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guard.pid, signal.SIGKILL)
            guard.communicate()
