"""What a workspace answers, asked with the commands that people use.

    python -m tests.e2e.answers FOLDER     # runs a pipeline in FOLDER/workspace first

The other stack then asks the same workspace and compares: see `test_other_stack.py`.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from common.workspace import Workspace
from pipeline import provenance
from serving.client import GeneratorClient, ServerError
from serving.server.listening import free_ports
from tests.conftest import REPOSITORY

COMMANDS = {
    "status": ["status", "--json"],
    "runs": ["lineage", "runs", "--json"],
    "trace": ["lineage", "trace", "--version", "latest", "--json"],
    "verify": ["lineage", "verify", "--json"],
}
DRAWING = ["generate", "--count", "100", "--seed", "7"]
# The embedded digits: the same in both places without a network.
RUN = ["run", "--preset", "smoke", "--dataset", "digits", "--json"]
MEASURING = ["--dataset", "digits", "--set", "num_fakes=1000", "--set", "cas_fakes=0", "--json"]
PATIENCE = 300  # seconds


def make(folder: pathlib.Path) -> None:
    """Runs a pipeline in `folder`/workspace and keeps what the workspace answers to this stack."""
    call(*RUN, workspace=folder / "workspace")
    ask(folder / "workspace", folder / "answers")


def ask(workspace: pathlib.Path, answers: pathlib.Path) -> dict:
    """Asks everything that can be asked of a finished run.

    Args:
      workspace: where a run has pushed a generator.
      answers: new folder for answers.json, drawn.png, served.png and report.html.

    Returns:
      What is in answers.json: the documents of `COMMANDS` and "evaluation", and "versions", those
      of the libraries that were asked.
    """
    answers.mkdir(parents=True)
    found = {name: json.loads(call(*command, workspace=workspace))
             for name, command in COMMANDS.items()}  # fmt: skip
    call("report", workspace=workspace)
    shutil.copy(Workspace(workspace).report, answers / "report.html")
    call(*DRAWING, "--out", str(answers / "drawn.png"), workspace=workspace)
    with serving(workspace) as url:
        served = str(answers / "served.png")
        call(*DRAWING, "--url", url, "--out", served, workspace=workspace)
    # In a workspace of its own, because statistics of the real images that lie about from the
    # other stack would make the metrics alike.
    generators = str(Workspace(workspace).serving)
    measured = call("evaluate", generators, *MEASURING, workspace=answers / "workspace")
    found["evaluation"] = json.loads(measured)
    found["versions"] = provenance.library_versions()
    (answers / "answers.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def call(*arguments: str, workspace: pathlib.Path) -> str:
    """What `mnist-gan` prints in a process of its own; an error unless it does what it is told."""
    done = subprocess.run(
        _command(workspace, *arguments),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")
    return done.stdout


@contextlib.contextmanager
def serving(workspace: pathlib.Path) -> Iterator[str]:
    """`mnist-gan serve` on free ports, as an address for `--url`."""
    grpc_port, rest_port = free_ports(2)
    flags = [f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    command = _command(workspace, "serve", *flags)
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=_environment(), stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{rest_port}"
            with GeneratorClient(url) as client:
                _wait(client, process)
            yield url
        except BaseException:
            log.seek(0)
            print(log.read(), file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(60)


def _wait(client: GeneratorClient, process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(ServerError):
            if any(version.state == "AVAILABLE" for version in client.versions()):
                return
        assert process.poll() is None, f"the server ended with exit code {process.returncode}"
        assert time.monotonic() < end, "the server does not serve"
        time.sleep(0.2)


def _command(workspace: pathlib.Path, command: str, *arguments: str) -> list[str]:
    program = [sys.executable, "-m", "pipeline", command]
    if command == "lineage":
        program, arguments = [*program, arguments[0]], arguments[1:]
    return [*program, "--workspace", str(workspace), *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]))
