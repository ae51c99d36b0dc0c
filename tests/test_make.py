"""`make run` as a newcomer types it, in a clone of its own: with data, without, without network."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv

import pytest

from common.workspace import model_name
from tests import download_host
from tests.conftest import MNIST_FILES, REPOSITORY

pytestmark = pytest.mark.e2e

# So short that what is tested is the way there; no digits come of it.
SHORT = "--preset smoke --set steps=2 --set batch_size=16 --set num_fakes=100"
DATA_IS_THERE = "✓ MnistExampleGen"
SLICE = "--set train_examples=500 --set eval_examples=100 --set test_examples=100"
# Names under which the environment could lend a hand that a newcomer does not have.
OWN_VARIABLES = ("MNIST_GAN_", "XDG_", "PYTHONPATH", "VIRTUAL_ENV", "MAKE", "MFLAGS")
# What .gitignore names, and .git itself.
NOT_CLONED = (
    ".git",
    ".venv",
    "workspace",
    "data",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
)

# A new namespace has its loopback down, unlike a machine without network. SIOCSIFFLAGS, IFF_UP.
LOOPBACK_ALONE = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh22x", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> pathlib.Path:
    """An environment of its own with the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python3.*/site-packages")
    # As a mere path: the editable install of this checkout does not come along.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture
def clone(environment, tmp_path) -> pathlib.Path:
    """The files of this repository in an empty folder, with .venv as `make` leaves it behind."""
    folder = tmp_path / "somewhere" / "mnist-gan"
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(*NOT_CLONED))
    shutil.copytree(environment, folder / ".venv", symlinks=True)
    (packages,) = folder.glob(".venv/lib/python3.*/site-packages")
    (packages / "clone.pth").write_text(f"{folder}\n")
    program = folder / ".venv" / "bin" / "mnist-gan"
    program.write_text(
        f"#!{folder}/.venv/bin/python\nfrom pipeline.cli import main\n\nraise SystemExit(main())\n"
    )
    program.chmod(0o755)
    shutil.copy(REPOSITORY / ".venv" / ".complete", folder / ".venv" / ".complete")
    return folder


def without_network(command: list[str]) -> list[str]:
    """The command in a network namespace in which nothing answers; skips where none can be made."""
    unshare = shutil.which("unshare")
    if (
        unshare is None
        or subprocess.run([unshare, "--net", "true"], capture_output=True).returncode
    ):
        pytest.skip("no network namespace can be made here: it takes root and unshare")
    return [unshare, "--net", sys.executable, "-c", LOOPBACK_ALONE, *command]


def make_run(
    clone: pathlib.Path,
    arguments: str,
    *,
    network: bool = True,
    until: str | None = None,
    **variables: str,
) -> tuple[int, str]:
    """`make run ARGS=...` in the clone, with an empty home folder; its exit code and output.

    Where `until` is given, the run is interrupted as soon as it prints that.
    """
    command = ["make", "--no-print-directory", "run", f"ARGS={arguments}"]
    home = clone.parent / "home"
    home.mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(OWN_VARIABLES)}
    process = subprocess.Popen(
        command if network else without_network(command),
        cwd=clone,
        env={**kept, "HOME": str(home), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    printed = ""
    with process:
        for line in process.stdout:
            printed += line
            if until and until in line:
                os.killpg(process.pid, signal.SIGINT)
    return process.returncode, printed


def status(clone: pathlib.Path) -> dict:
    """What `mnist-gan status --json` says of the clone's workspace."""
    program = clone / ".venv" / "bin" / "mnist-gan"
    done = subprocess.run([program, "status", "--json"], cwd=clone, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_with_nothing_at_hand_and_no_network_digits_are_pushed_and_it_is_said(clone):
    exit_code, printed = make_run(clone, SHORT, network=False)
    assert exit_code == 0, printed
    document = status(clone)
    assert document["dataset"] == "digits"
    version = clone / "workspace" / "serving" / model_name("digits")
    assert (version / str(document["pushed_version"]) / "saved_model.pb").is_file()
    said = " ".join(printed.split())
    assert "MNIST is not at hand" in said and "embedded digits" in said


# What follows the data is the same for all data: the next two runs end when they have them.
def test_the_four_files_in_data_mnist_are_found(clone, mnist_dir):
    (clone / "data" / "mnist").mkdir(parents=True)
    for name in MNIST_FILES:
        shutil.copy(mnist_dir / name, clone / "data" / "mnist")
    _, printed = make_run(
        clone, f"{SHORT} {SLICE}", network=False, until=DATA_IS_THERE, MNIST_GAN_DATA_DIR=""
    )
    assert DATA_IS_THERE in printed, printed
    assert status(clone)["dataset"] == "mnist"


def test_mnist_is_downloaded_through_the_proxy_that_the_environment_names(clone, mnist_dir):
    host = download_host.Host(mnist_dir, download_host.closes_halfway)
    (packages,) = clone.glob(".venv/lib/python3.*/site-packages")
    shutil.copy(download_host.__file__, packages / "download_host.py")
    (packages / "zzz.pth").write_text(
        "import download_host; download_host.replace_host('http://mnist.invalid')\n"
    )
    proxy = {"http_proxy": host.address, "https_proxy": "", "no_proxy": "localhost,127.0.0.1"}
    _, printed = make_run(clone, f"{SHORT} {SLICE} --dataset mnist", until=DATA_IS_THERE, **proxy)
    host.shutdown()
    assert DATA_IS_THERE in printed, printed
    assert status(clone)["dataset"] == "mnist"
    assert all(address.startswith("http://mnist.invalid/") for address in host.asked)
    assert "MB downloaded" in printed and "the download broke off" in printed
    assert not list((clone / "workspace" / "tfds").rglob("*.tmp.*"))
