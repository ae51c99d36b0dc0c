"""Runs of `mnist-gan` in forks of a process that has imported everything once.

Half of a short run's time is the import of TensorFlow, TFX and Beam. Each run is a process of its
own all the same, with its own arguments, exit code, stdout and stderr.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from tests.conftest import REPOSITORY


class Ready:
    """The process that forks; started at the first call."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def call(self, arguments: list[str], timeout: float = 1800) -> subprocess.CompletedProcess:
        """Runs `mnist-gan ARGUMENTS` to its end, from the repository's folder."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.ready"],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        with tempfile.TemporaryDirectory() as folder:
            files = [str(pathlib.Path(folder, name)) for name in ("stdout", "stderr")]
            job = {"arguments": arguments, "files": files, "timeout": timeout}
            print(json.dumps(job), file=self._process.stdin, flush=True)
            exit_code = int(self._process.stdout.readline())
            stdout, stderr = (pathlib.Path(file).read_text() for file in files)
        return subprocess.CompletedProcess(arguments, exit_code, stdout, stderr)

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
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
            continue
        answers.close()
        import signal

        signal.alarm(int(job["timeout"]))
        for descriptor, file in zip((1, 2), job["files"], strict=True):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["mnist-gan", *job["arguments"]]
        sys.exit(cli.main())


if __name__ == "__main__":
    _serve()
