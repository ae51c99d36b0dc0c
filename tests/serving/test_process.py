"""A server in a process of its own: found, started on free ports, and gone with who started it."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from serving import process
from tests.conftest import REPOSITORY
from tests.serving.stand_ins import LIAR, program


@pytest.fixture
def nothing_at_hand(monkeypatch, tmp_path):
    monkeypatch.delenv(process.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def test_tf_serving_is_looked_for_in_the_setting_the_variable_and_along_the_path(
    nothing_at_hand, monkeypatch
):
    assert process.find_tf_serving() == ""
    on_path = program(nothing_at_hand / "bin", "")
    assert process.find_tf_serving() == on_path
    (nothing_at_hand / "other").mkdir()
    other = program(nothing_at_hand / "other", "")
    monkeypatch.setenv(process.VARIABLE, other)
    assert process.find_tf_serving() == other
    assert process.find_tf_serving(on_path) == on_path
    assert process.find_tf_serving("local") == ""


def test_what_is_named_and_is_no_program_is_an_error(nothing_at_hand, monkeypatch):
    program(nothing_at_hand / "bin", "")
    monkeypatch.setenv(process.VARIABLE, str(nothing_at_hand))
    with pytest.raises(process.ProgramError, match="TENSORFLOW_MODEL_SERVER names"):
        process.find_tf_serving()
    with pytest.raises(process.ProgramError, match="model_server names '/nowhere'"):
        process.find_tf_serving("/nowhere")


def test_a_port_that_was_taken_meanwhile_is_left_for_others(tmp_path):
    seen = tmp_path / "ports"
    body = f"""
import sys
ports = [a for a in sys.argv if "port=" in a]
with open({str(seen)!r}, "a") as file: print(*ports, file=file)
if len(open({str(seen)!r}).readlines()) < 2:
    sys.exit("address already in use")
"""
    server_program = program(tmp_path, body + LIAR.format(do_more="pass"))
    with process.running(tmp_path, program=server_program) as server:
        assert server.ended() is None
        assert is_alive(server.pid)
    first, second = seen.read_text().splitlines()
    assert first != second and str(server.rest_port) in second
    wait_until_gone(server.pid)


def test_a_port_that_is_always_taken_is_given_up_with_the_servers_words(tmp_path):
    server_program = program(tmp_path, 'import sys\nsys.exit("address already in use")')
    with pytest.raises(process.StartError, match="exit code 1: address already in use"):
        with process.running(tmp_path, program=server_program):
            pass


def test_a_program_that_can_not_be_run_is_told(tmp_path):
    broken = tmp_path / "server"
    broken.write_text("#!/nowhere/python\n")
    broken.chmod(0o755)
    with pytest.raises(process.StartError, match="can't be run: No such file"):
        with process.running(tmp_path, program=str(broken)):
            pass


def test_a_run_that_is_killed_leaves_no_server_behind(tmp_path):
    server = program(tmp_path, "import time\ntime.sleep(1000)")
    code = f"""
        from serving import process
        with process._started({str(tmp_path)!r}, "m", {server!r}, ()) as server:
            print(server.pid, flush=True)
            import time; time.sleep(1000)
    """
    starter = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(starter.stdout.readline())
    assert is_alive(pid)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    wait_until_gone(pid)


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < end, "the server outlived who started it"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # What nobody has waited for yet is still listed.
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
