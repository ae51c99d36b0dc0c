"""Many clients while versions come and go: nothing fails and nothing is wrong."""

import pytest

from benchmarks import serving as load
from serving import process
from tests.serving.server import saved_models
from tests.serving.server.conftest import push


def check(result: load.LoadResult) -> None:
    assert not result.failed, result.failed[:3]
    assert not result.wrong, result.wrong[:3]
    assert result.changes >= 6, "the versions are to change under the load"
    assert min(result.answered.values()) > 0, "each model is to have answered"


def test_no_request_fails_while_versions_are_pushed_rolled_back_and_removed(
    start, digits, base_path
):
    running = start(base_path)
    result = load.run_load(
        f"grpc://127.0.0.1:{running.grpc_port}",
        running.url,
        base_path,
        [digits / "1", digits / "2"],
        latent_dim=saved_models.LATENT,
        requests=600,
        clients=8,
        pause=0.3,
    )
    check(result)


@pytest.mark.e2e
def test_a_load_in_another_process_keeps_its_memory(digits, tmp_path):
    base_path = tmp_path / "models"
    base_path.mkdir()
    push(digits, base_path, 1)
    models = [digits / "1", digits / "2"]
    memory = []
    with process.running(base_path, model=load.MODEL) as server:
        for part in range(3):
            result = load.run_load(
                server.grpc_url,
                server.rest_url,
                base_path,
                models,
                latent_dim=saved_models.LATENT,
                requests=1000,
                clients=16,
                pause=0.5,
                first_version=1 + 1000 * part,
            )
            check(result)
            memory.append(load.memory_mib(server))
    # What the first part allocates is kept for the next ones.
    assert memory[2] - memory[1] < 100, memory
