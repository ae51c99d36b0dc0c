"""A whole run while the time of day is set back and forth: see `shifted_clock.c`."""

import json
import pathlib
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from common.workspace import Workspace
from pipeline import cli
from serving import versions
from tests.e2e.conftest import arguments, wait_for_training
from tests.e2e.ready import Ready

pytestmark = pytest.mark.e2e

SOURCE = pathlib.Path(__file__).with_name("shifted_clock.c")
SIXTEEN_YEARS = 500_000_000


class Shifted(Ready):
    """Runs whose clock is so many seconds off."""

    def __init__(self, library: pathlib.Path, file: pathlib.Path) -> None:
        super().__init__(LD_PRELOAD=str(library), SHIFTED_CLOCK=str(file))
        self._file = file
        file.write_bytes(bytes(8))

    def shift(self, seconds: int) -> None:
        with open(self._file, "r+b") as file:
            file.write(struct.pack("q", seconds))


@pytest.fixture
def shifted(tmp_path) -> Iterator[Shifted]:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    library = tmp_path / "shifted_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    found = Shifted(library, tmp_path / "shift")
    yield found
    found.close()


def test_versions_rise_and_runs_stay_in_order_when_the_clock_goes_back_and_past_2038(
    first, workspace, shifted
):
    again = arguments(workspace, "--set", "seed=1", "--replace", "a test of the clock")
    shifted.shift(-86_400)
    begun = shifted.start(again)
    wait_for_training(workspace)
    shifted.shift(-7200)
    while begun.stderr.exists() and "GeneratorValidator" not in begun.stderr.read_text():
        time.sleep(0.1)
    shifted.shift(SIXTEEN_YEARS)
    second = json.loads(begun.wait().stdout)
    shifted.shift(-3600)
    third = json.loads(shifted.start(again).wait().stdout)

    assert second["run_id"] < first.document["run_id"], "named by a clock that was set back"
    assert 0 <= second["seconds"] < 3600
    assert all(node["seconds"] >= 0 for node in second["nodes"])
    space = Workspace.at(workspace)
    [old, new] = versions.list_versions(space.of_model("digits_gan").serving)
    assert old.number < 2**31 < new.number == second["pushed_version"] == third["pushed_version"]
    assert {node["state"] for node in third["nodes"]} <= {"CACHED", "COMPLETE"}

    def ask(*command: str) -> dict:
        done = CliRunner().invoke(cli.main, [*command, "--workspace", str(workspace), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    runs = [run["run"] for run in ask("lineage", "runs")["runs"]]
    assert runs == [third["run_id"], second["run_id"], first.document["run_id"]]
    assert ask("status")["run_id"] == third["run_id"]
    assert ask("lineage", "verify")["ok"] is True
