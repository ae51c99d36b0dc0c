"""Kills runs and makes their system calls fail; looks at what the next runs make of it.

    python -m benchmarks.kills [--chains 8] [--faults 12] [--seed 0]

A chain is one workspace and a run in it for each fault: whole smoke runs on the embedded digits, as
small as can be, each of which goes on where the one before it was interrupted. A fault comes in a
node drawn at random (what is before the first and after the last node counts as one each). It is a
`kill -9` at a random moment of it, or one of its writes, fsyncs or renames below the workspace
fails once with EIO, ENOSPC or EDQUOT, by a library that the system's C compiler makes and that is
preloaded (kills alone where there is no compiler). Then the pipeline runs once more, undisturbed,
and has to push the very generator of a run that nobody disturbed, exactly once, with
`lineage verify` content and nothing left by `lineage stale --prune`. Prints every fault and a table
of them; exit code 1 where something was wrong.
"""

import argparse
import collections
import dataclasses
import errno
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from common.workspace import Workspace
from serving import versions

CALLS = ("write", "fsync", "rename")
ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
SOURCE = pathlib.Path(__file__).with_name("failing_calls.c")
SHARED = struct.Struct("8q")  # call, number, errno, happened, and how often each call was made
SMALL = (
    *("dataset=digits", "train_examples=400", "eval_examples=100", "test_examples=200"),
    *("steps=12", "batch_size=16", "checkpoint_interval=3", "sample_interval=6", "num_fakes=200"),
    *("generator_channels=4", "discriminator_channels=4"),
)
TRACEBACK = 70  # exit code of a run that ends with one
ENDED = ("✓", "=", "✗")  # begins the line of a node that has ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--faults", type=int, default=12, help="of a chain")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if "FAILING_CALLS" in os.environ:
        with open(os.environ["FAILING_CALLS"], "r+b") as file:
            shared = mmap.mmap(file.fileno(), SHARED.size)
        folder = pathlib.Path(os.environ["FAILING_CALLS_BELOW"]).parent
        sys.exit(measure(options.chains, options.faults, options.seed, shared, folder))
    with tempfile.TemporaryDirectory(prefix="mnist-gan-kills-") as name:
        folder = pathlib.Path(name)
        (folder / "shared").write_bytes(bytes(SHARED.size))
        names = {
            "FAILING_CALLS": folder / "shared",
            "FAILING_CALLS_BELOW": folder / "chain" / "workspace",
        }
        if compiler := shutil.which("cc"):
            library = folder / "failing_calls.so"
            subprocess.run(
                [compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True
            )
            names["LD_PRELOAD"] = library
        environment = {**os.environ, **{key: str(value) for key, value in names.items()}}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "benchmarks.kills", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=environment).returncode)


@dataclasses.dataclass(frozen=True)
class Stage:
    """What is between the ends of two nodes: seconds, and how often each call was made."""

    seconds: float
    made: tuple[int, ...]


class Run:
    """A run of the pipeline that can be disturbed."""

    def __init__(self, folder: pathlib.Path, shared: mmap.mmap):
        shared[:] = bytes(len(shared))
        self._shared, self._said = shared, folder / "out.err"
        self._said.write_text("")
        self._process = start(run_arguments(folder / "workspace"), folder / "out")
        self.code: int | None = None
        self.happened = False  # whether what was to disturb it came to pass

    def reach(self, stage: int | None = None) -> bool:
        """Waits until it is there; False where it ended before. None waits for its end."""
        while stage is None or len(self.nodes()) < stage:
            if not self._alive():
                return False
            time.sleep(0.01)
        return True

    def nodes(self) -> list[str]:
        """Those that have ended."""
        lines = self.said().splitlines()
        return [line.split()[1] for line in lines if line.startswith(ENDED)]

    def said(self) -> str:
        return self._said.read_text()

    def made(self) -> tuple[int, ...]:
        """How often each call was made."""
        return SHARED.unpack(self._shared[:])[4 : 4 + len(CALLS)]

    def kill(self, seconds: float) -> bool:
        """Kills it after so many seconds; False where it ended before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self._alive():
                return False
            time.sleep(0.01)
        os.kill(self._process, signal.SIGKILL)
        self.reach()
        return self.code == -signal.SIGKILL

    def fail(self, call: int, number: int, error: int, until: int) -> bool:
        """Makes a call of those to come fail; False where it never came.

        A run that goes on all the same is killed when it reaches stage `until`.
        """
        number += self.made()[call]
        self._shared[:24] = struct.pack("3q", call, number, error)
        if self.reach(until):
            self.kill(0)
        return bool(SHARED.unpack(self._shared[:])[3])

    def _alive(self) -> bool:
        if self.code is None:
            process, status = os.waitpid(self._process, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if process else None
        return self.code is None


def undisturbed(folder: pathlib.Path, shared: mmap.mmap) -> list[Stage]:
    """Runs the pipeline in `folder`/workspace and says what its stages took."""
    run, stages = Run(folder, shared), []
    before, made = time.monotonic(), run.made()
    while True:
        there = run.reach(len(stages) + 1)
        now = run.made()
        calls = tuple(b - a for a, b in zip(made, now, strict=True))
        stages.append(Stage(time.monotonic() - before, calls))
        before, made = time.monotonic(), now
        if not there:
            if run.code:
                sys.exit(run.said())
            return stages


def measure(chains: int, faults: int, seed: int, shared: mmap.mmap, folder: pathlib.Path) -> int:
    """The undisturbed run and all chains, in forks of this process; the exit code."""
    from pipeline import console, local_runner, pipeline  # noqa: F401 - what a run imports

    del os.environ["FAILING_CALLS"]  # the servers that a run starts do not fail
    preloaded = os.environ.pop("LD_PRELOAD", "")
    choice = random.Random(seed)
    folder.mkdir()
    stages = undisturbed(folder, shared)
    [version] = versions.list_versions(Workspace.at(folder / "workspace").serving)
    expected = versions.model_digest(version.path)
    for number, stage in enumerate(stages):
        calls = ", ".join(f"{c:,} times {name}" for c, name in zip(stage.made, CALLS, strict=True))
        print(f"stage {number}: {stage.seconds:.1f} s, {calls}", flush=True)

    table: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    well = 0
    for number in range(1, chains + 1):
        shutil.rmtree(folder)
        folder.mkdir()
        for place in sorted(choice.choices(range(len(stages)), k=faults)):
            kind, moment, run = disturb(folder, shared, stages, place, choice, bool(preloaded))
            bad = TRACEBACK in (run.code, status(folder)) or "Traceback" in run.said()
            last = "" if run.code in (0, -signal.SIGKILL) else " ".join(run.said().split())[-400:]
            print(
                f"{number:>3} stage {place:>2} {kind:<15} {moment:>6} exit {run.code:>3} {last}",
                flush=True,
            )
            if run.happened:
                through = kind != "kill -9" and run.code in (0, -signal.SIGKILL)
                table[kind].update(faults=1, through=int(through), bad=int(bad))
            if run.code == 0:  # there is nothing left to disturb
                break
        found = faults_after(folder, expected)
        well += not found
        print(f"{number:>3} then: {', '.join(found) or 'as if nothing had been'}", flush=True)
    print("\n| fault | happened | the run went on all the same | traceback |")
    print("| --- | ---: | ---: | ---: |")
    for kind, counts in sorted(table.items()):
        print(f"| {kind} | {counts['faults']} | {counts['through']} | {counts['bad']} |")
    print(f"\n{well} of {chains} chains ended as if nothing had been")
    return int(well < chains or any(counts["bad"] for counts in table.values()))


def disturb(
    folder: pathlib.Path,
    shared: mmap.mmap,
    stages: Sequence[Stage],
    place: int,
    choice: random.Random,
    preloaded: bool,
) -> tuple[str, float, Run]:
    """Starts a run and does something to it in the stage `place`.

    Returns:
      What was done, when (seconds, or the number of the call), and the run, which has ended.
    """
    stage = stages[place]
    calls = [call for call, made in enumerate(stage.made) if made]
    run = Run(folder, shared)
    run.reach(place)
    if preloaded and calls and choice.random() < 0.5:
        call, error = choice.choice(calls), choice.choice(ERRORS)
        number = choice.randint(1, stage.made[call])
        run.happened = run.fail(call, number, error, until=place + 2)
        shared[:] = bytes(len(shared))  # from here on nothing fails
        return f"{CALLS[call]}: {errno.errorcode[error]}", number, run
    seconds = round(choice.uniform(0, stage.seconds), 2)
    run.happened = run.kill(seconds)
    return "kill -9", seconds, run


def status(folder: pathlib.Path) -> int:
    """The exit code of `mnist-gan status`."""
    return wait(start(["status", *where(folder)], folder / "answer"))


def faults_after(folder: pathlib.Path, expected: str) -> list[str]:
    """What is wrong after one more run in `folder`/workspace.

    Args:
      folder: of the chain.
      expected: the digest of the generator of an undisturbed run.
    """
    root = folder / "workspace"
    document = answer(run_arguments(root), folder)
    found = [] if document.get("state") == "COMPLETE" else ["the next run failed"]
    pushed = versions.list_versions(Workspace.at(root).serving)
    if len(pushed) != 1:
        found.append(f"{len(pushed)} versions")
    if any(versions.model_digest(version.path) != expected for version in pushed):
        found.append("another generator")
    verified = answer(["lineage", "verify", *where(folder)], folder)
    if not verified.get("ok"):
        found.append(f"verify: {verified.get('problems')}")
    answer(["lineage", "stale", "--prune", "--yes", *where(folder)], folder)
    stale = answer(["lineage", "stale", *where(folder)], folder)
    left = {key: stale.get(key) for key in ("running", "missing", "unreferenced", "folders")}
    if not stale or any(left.values()):
        found.append(f"stale: {left}")
    # Nothing else is left that no command knows.
    hidden = [p.relative_to(root).as_posix() for p in root.rglob(".tmp-*")]
    return found + [f"left: {name}" for name in hidden]


def run_arguments(workspace: pathlib.Path) -> list[str]:
    """Of a run that is whole and as small as can be."""
    found = ["run", "--preset", "smoke", "--json", "--workspace", str(workspace)]
    return found + [word for setting in SMALL for word in ("--set", setting)]


def where(folder: pathlib.Path) -> list[str]:
    """Options of a command that reads the workspace of a chain."""
    return ["--workspace", str(folder / "workspace"), "--json"]


def start(arguments: Sequence[str], output: pathlib.Path) -> int:
    """Starts `mnist-gan ARGUMENTS` in a fork, which has imported everything; its process id.

    Args:
      arguments: of the command.
      output: stdout is written to this file, stderr to one called ".err" beside it.
    """
    if child := os.fork():
        return child
    for descriptor, path in ((1, output), (2, output.with_suffix(".err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    from pipeline import cli

    sys.argv = ["mnist-gan", *arguments]
    try:
        cli.main()
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(TRACEBACK)  # click ends by SystemExit


def wait(process: int) -> int:
    """The exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def answer(arguments: Sequence[str], folder: pathlib.Path) -> dict:
    """What a command prints as JSON; {} where it prints something else."""
    output = folder / "answer"
    wait(start(arguments, output))
    try:
        return json.loads(output.read_text())
    except ValueError:
        print(output.with_suffix(".err").read_text()[-2000:], flush=True)
        return {}


if __name__ == "__main__":
    main()
