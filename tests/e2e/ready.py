"""Runs of `mnist-gan` in forks of a process that has imported everything once.

Half of a short run's time is the import of TensorFlow, TFX and Beam. Each run is a process of its
own all the same, with its own arguments, exit code, stdout and stderr.
"""

import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time

from common.files import write_atomically
from tests.conftest import REPOSITORY

LONGEST = 1800  # seconds of a run


class Started:
    """A run that goes on.

    Attributes:
      pid: its process id.
      stderr: the file that it writes to.
    """

    def __init__(self, pid: int, folder: tempfile.TemporaryDirectory) -> None:
        self.pid = pid
        self.stderr = pathlib.Path(folder.name, "stderr")
        self._folder = folder

    def wait(self) -> subprocess.CompletedProcess:
        """Waits for its end; exit code (negative for a signal), stdout and stderr."""
        ended = self.stderr.with_name("exit_code")
        deadline = time.monotonic() + LONGEST
        while not ended.exists():
            assert time.monotonic() < deadline, "it did not end"
            time.sleep(0.02)
        exit_code = int(ended.read_text())
        stdout = self.stderr.with_name("stdout").read_text()
        stderr = self.stderr.read_text() if self.stderr.exists() else ""  # on a terminal
        done = subprocess.CompletedProcess("run", exit_code, stdout, stderr)
        self._folder.cleanup()
        return done


class Ready:
    """The process that forks; started at the first call."""

    def __init__(self, **environment: str) -> None:
        self._process: subprocess.Popen | None = None
        self._environment = environment

    def start(
        self,
        arguments: list[str],
        terminal: str | None = None,
        module: str = "",
        **added: str,
    ) -> Started:
        """Starts `mnist-gan ARGUMENTS` in the repository's folder, its stderr on `terminal`.

        Where one is named `python -m MODULE ARGUMENTS`; `added` is in its environment.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.ready"],
                cwd=REPOSITORY,
                env={
                    **os.environ,
                    **self._environment,
                    "PYTHONPATH": str(REPOSITORY),
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        folder = tempfile.TemporaryDirectory()
        files = [str(pathlib.Path(folder.name, name)) for name in ("stdout", "stderr")]
        if terminal is not None:
            files[1] = terminal
        job = {"arguments": arguments, "module": module, "environment": added}
        job |= {"folder": folder.name, "files": files}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return Started(int(self._process.stdout.readline()), folder)

    def close(self) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from pipeline import cli, console, local_runner, pipeline  # noqa: F401 - what a run imports

    for line in sys.stdin:
        job = json.loads(line)
        if waiting := os.fork():
            os.waitpid(waiting, 0)
            continue
        if os.fork():  # left to init, so that other runs may begin
            os._exit(0)
        if child := os.fork():
            print(child, file=answers, flush=True)
            _, status = os.waitpid(child, 0)
            write_atomically(
                pathlib.Path(job["folder"], "exit_code"), str(os.waitstatus_to_exitcode(status))
            )
            os._exit(0)
        answers.close()
        import signal

        signal.alarm(LONGEST)
        # As a terminal has them: the background of a shell ignores them.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        for descriptor, file in zip((1, 2), job["files"], strict=True):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["mnist-gan", *job["arguments"]]
        os.environ.update(job["environment"])
        if job["module"]:
            runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
            sys.exit()
        sys.exit(cli.main())


if __name__ == "__main__":
    _serve()
