"""What is served is replaced only by what was judged as strictly, or on demand."""

import pytest

from common.workspace import Workspace
from serving import versions
from tests.e2e.conftest import run

pytestmark = pytest.mark.e2e


def test_a_smoke_run_does_not_replace_what_was_judged_more_strictly(tmp_path):
    workspace = tmp_path / "workspace"
    first = run(workspace, "--set", "strictness=standard", "--force-bless", "to have one")
    assert first.exit_code == 0, first.document
    number = first.document["pushed_version"]

    refused = run(workspace, "--set", "seed=1")
    assert refused.exit_code == 1
    assert refused.document["state"] == "COMPLETE" and refused.document["blessed"] is False
    assert refused.document["pushed_version"] is None
    reason = refused.document["push_reason"]
    assert f"judged less strictly than version {number} in service" in reason
    assert "--replace" in reason
    base = Workspace.at(workspace).serving
    assert [version.number for version in versions.list_versions(base)] == [number]
