"""Many clients while versions come and go: nothing fails and nothing is wrong.

The long run, with the server's memory, is `python -m benchmarks.serving`.
"""

from benchmarks import serving as load
from tests.serving.server import saved_models


def test_no_request_fails_while_versions_are_pushed_rolled_back_and_removed(
    start, digits, base_path
):
    running = start(base_path, "--enable_batching")
    result = load.run_load(
        f"grpc://127.0.0.1:{running.grpc_port}",
        running.url,
        base_path,
        [digits / "1", digits / "2"],
        latent_dim=saved_models.LATENT,
        requests=300,
        clients=4,
        pause=0.3,
        least_changes=4,
    )
    assert not result.failed, result.failed[:3]
    assert not result.wrong, result.wrong[:3]
    assert result.changes >= 4, "the versions are to change under the load"
    assert min(result.answered.values()) > 0, "each model is to have answered"
