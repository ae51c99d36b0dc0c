"""`mnist-gan watch`: its state on workspaces of every kind, and its page in a real browser."""

import json
import subprocess
import sys

import httpx
import ml_metadata as mlmd
import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from PIL import Image

from common.workspace import Workspace
from lineage.store import ERROR_PROPERTY, connect
from pipeline.commands import watch
from pipeline.watch import state
from tests.conftest import REPOSITORY, without_tensorflow
from trainer.hold import Hold

STEPS, BATCH = 400, 128


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """A run whose Trainer is at step 200 of 400."""
    space = Workspace.at(tmp_path / "workspace")
    space.root.mkdir()
    add_node(space, "StatisticsGen", pb.Execution.COMPLETE)
    training = {"steps": STEPS, "batch_size": BATCH, "teaching": True}
    settings = json.dumps({"training": json.dumps(training), "seed": 1})
    add_node(space, "Trainer", pb.Execution.RUNNING, custom_config=settings)
    write_training(space, "one", 200)
    return space


def add_node(space: Workspace, node: str, state: int, **properties: str) -> None:
    """One more node of the run "today"."""
    client = connect(space.metadata, readonly=False)
    execution_type = pb.ExecutionType(name=node, properties={"custom_config": pb.STRING})
    execution = pb.Execution(
        type_id=client.put_execution_type(execution_type), last_known_state=state
    )
    for key, value in properties.items():
        of = execution.properties if key == "custom_config" else execution.custom_properties
        of[key].string_value = value
    [execution_id] = client.put_executions([execution])
    for kind, name in (("pipeline_run", "today"), ("node", f"mnist-gan.{node}")):
        type_id = client.put_context_type(pb.ContextType(name=kind))
        try:
            [context] = client.put_contexts([pb.Context(type_id=type_id, name=name)])
        except mlmd.errors.AlreadyExistsError:
            context = client.get_context_by_type_and_name(kind, name).id
        association = pb.Association(execution_id=execution_id, context_id=context)
        client.put_attributions_and_associations([], [association])


def write_training(space: Workspace, name: str, step: int) -> None:
    """What the Trainer leaves beside its checkpoints by then."""
    folder = space.checkpoints / name
    for kind in ("samples", "opinions"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    records = [
        {"step": i, "d_loss": 1 + 1 / i, "g_loss": 0.7, "images_per_second": 256.0}
        for i in range(50, step + 1, 50)
    ]
    records[-1]["fid_2000_eval"] = float("nan") if step == 50 else 3.5
    relative = {"": 2.0, "_low": 1.5, "_high": 2.5}
    records[-1] |= {f"relative_fid_2000_eval{end}": value for end, value in relative.items()}
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "history.jsonl").write_text(lines)
    for i in range(0, step + 1, 100):
        sheet = np.full([62, 62], i % 256, np.uint8)
        for kind in ("samples", "opinions"):
            Image.fromarray(sheet).save(folder / kind / f"step_{i:07d}.png")
        counts = {"real": [0, 0, 1, 3], "fake": [2, 1, 1, 0]}
        (folder / "opinions" / f"step_{i:07d}.json").write_text(json.dumps(counts))


def described(space: Workspace) -> dict:
    """As a browser gets it: without NaN."""
    document = state.describe(space, state.Nodes(space))
    return json.loads(json.dumps(document, allow_nan=False))


def test_it_tells_step_speed_time_left_samples_and_the_state_of_each_node(workspace):
    found = described(workspace)
    assert found["run"] == "today"
    assert [(one["name"], one["state"]) for one in found["nodes"]] == [
        ("StatisticsGen", "COMPLETE"),
        ("Trainer", "RUNNING"),
    ]
    training = found["training"]
    assert (training["step"], training["steps"]) == (200, STEPS)
    assert training["seconds_left"] == pytest.approx(200 * BATCH / 256)
    assert training["samples"] == training["opinions"] == [0, 100, 200]
    assert (training["teaching"], training["hold"]) == (True, None)
    assert training["history"][-1]["fid_2000_eval"] == 3.5
    assert found["alive"] is False
    with workspace.lock():
        assert described(workspace)["alive"] is True


def test_a_training_that_has_begun_is_the_newest_before_its_first_line(workspace):
    folder = workspace.checkpoints / "later" / "samples"
    folder.mkdir(parents=True)
    (folder / "step_0000000.png").touch()
    assert (
        described(workspace)["training"]["step"],
        described(workspace)["training"]["history"],
    ) == (0, [])


def test_a_workspace_without_a_run_and_records_that_are_damaged_are_no_error(tmp_path, workspace):
    empty = described(Workspace.at(tmp_path / "empty"))
    assert (empty["run"], empty["nodes"], empty["training"]) == (None, [], None)
    write_training(workspace, "two", 50)  # a number that is none
    assert described(workspace)["training"]["history"][0]["fid_2000_eval"] is None
    (workspace.checkpoints / "two" / "history.jsonl").write_text('{"step": 5')
    assert described(workspace)["training"] is None
    workspace.metadata.write_bytes(b"this is no database")
    assert described(workspace)["nodes"] == []


@pytest.fixture
def address(workspace):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "pipeline", "watch", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--workspace", str(workspace.root)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().split()[0]
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


def test_the_page_follows_a_training_through_reload_kill_and_resume(browser, workspace, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    complaints = []
    context = browser.new_context(viewport={"width": 390, "height": 800})
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    with workspace.lock():
        tab.goto(address)
        status = tab.locator("#status")
        tab.get_by_text("Training: step 200 of 400, 256 images/s, about 2 min left.").wait_for()
        assert tab.locator("#nodes tr").all_inner_texts()[1].startswith("Trainer\trunning")
        captions = tab.locator("#charts figcaption").all_inner_texts()
        assert captions[:3] == [
            "━ relative_fid_2000_eval 2.00 (95 % interval 1.50 to 2.50)",
            "━ fid_2000_eval 3.50",
            "━ discriminator 1.00, ╌ generator 0.700",
        ]
        thinks = tab.locator("#histograms figcaption")
        assert thinks.inner_text() == (
            "━ real images, 100 % of which it takes for real, ╌ fakes, 25 %"
        )
        assert tab.locator("#samples").get_attribute("alt").endswith("at step 200")
        tab.locator("#at").focus()
        tab.keyboard.press("Home")
        assert tab.locator("#samples").get_attribute("src") == "watch/samples/0.png"
        assert not tab.locator("#newest").is_checked()
        write_training(workspace, "one", 300)
        tab.get_by_text("step 300 of 400").wait_for()
        assert tab.locator("#at-step").inner_text() == "0"  # what one looks at stays
        tab.reload()
        tab.get_by_text("Training: step 300 of 400").wait_for()
        assert tab.locator("#at-step").inner_text() == "300"
        assert tab.locator("#slopes").get_attribute("src") == "watch/opinions/300.png"
        hold = Hold(workspace.checkpoints / "one")
        tab.get_by_role("button", name="Pause the training").click()
        tab.get_by_text("Paused at step 300 of 400.").wait_for()
        assert hold.step == 0
        tab.get_by_label("How many steps").select_option("10")
        tab.get_by_role("button", name="Make").click()
        tab.get_by_text("It pauses as soon as it has made step 310.").wait_for()
        assert hold.step == 310
        tab.get_by_role("button", name="Let the training go on").click()
        tab.get_by_text("Training: step 300 of 400, 256 images/s").wait_for()
        assert hold.step is None
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = axe.Axe().run(tab).response["violations"]
            assert [(one["id"], one["nodes"][0]["target"]) for one in found] == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.get_by_text("The training stopped at step 300 of 400; mnist-gan run goes on").wait_for()
    assert tab.locator("#nodes tr").all_inner_texts()[1].startswith("Trainer\tinterrupted")
    add_node(workspace, "Evaluator", pb.Execution.FAILED, **{ERROR_PROPERTY: "no <b>disk</b>"})
    tab.get_by_text("failed: no <b>disk</b>").wait_for()
    assert "Evaluator failed" in status.inner_text()
    assert complaints == []
    context.close()


def test_it_serves_its_own_files_and_the_samples_alone(address):
    with httpx.Client(base_url=address, trust_env=False) as http:
        assert http.get("watch/samples/100.png").headers["content-type"] == "image/png"
        policy = http.get("").headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        for other in (
            "watch/samples/7.png",
            "watch/samples/x.png",
            "watch/samples/100.json",
            "watch/checkpoints/100.png",
            "watch/..%2fstate.py",
            "watch/",
        ):
            assert http.get(other).status_code == 404, other


def test_orders_come_from_the_page_alone_and_go_to_trainings_for_a_class(workspace, address):
    json_type = {"Content-Type": "application/json"}
    hold = Hold(workspace.checkpoints / "one")
    with httpx.Client(base_url=address, trust_env=False) as http:
        assert http.post("watch/hold?step=7").status_code == 415  # as a form of another site sends
        for step in ("-1", "x", "1" * 10, "%C2%B2"):
            assert http.post(f"watch/hold?step={step}", headers=json_type).status_code == 400
        assert hold.step is None
        assert http.post("watch/hold?step=7", headers=json_type).status_code == 200
        assert hold.step == 7
        assert http.post("watch/hold", headers=json_type).status_code == 200
        assert hold.step is None
        settings = json.dumps({"training": json.dumps({"steps": STEPS}), "seed": 1})
        add_node(workspace, "Trainer", pb.Execution.RUNNING, custom_config=settings)
        refused = http.post("watch/hold?step=7", headers=json_type)
        assert refused.status_code == 409 and "teaching=true" in refused.json()["error"]


def test_a_page_beside_a_run_ends_with_it_and_takes_another_port_where_its_own_is_taken(workspace):
    with watch.beside(workspace) as one:
        assert httpx.get(one, trust_env=False).status_code == 200
        with watch.beside(workspace) as other:
            assert one != other
            assert httpx.get(other, trust_env=False).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(one, trust_env=False)


def test_it_refuses_what_it_can_not_watch_and_imports_no_tensorflow(tmp_path):
    found = without_tensorflow("watch", "--workspace", str(tmp_path / "none"))
    assert found.returncode == 2
    assert "there is no workspace at" in found.stderr and "mnist-gan run" in found.stderr
