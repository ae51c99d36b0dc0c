"""The versions manager alone, on folders and a loader that is told what to do."""

import contextlib
import threading
import time

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import Code, ServingError
from serving.server.versions_manager import State, VersionsManager
from tests.serving.server.conftest import eventually

POLL = 0.02
TF = 'model_platform: "tensorflow" '


class Loader:
    """Loads nothing, notes what was asked for, fails or waits where it was told to."""

    def __init__(self):
        self.events = []
        self.failing = set()
        self.held = {}

    def __call__(self, name, version, path):
        self.events.append(("load", version))
        if version in self.held:
            self.held[version].wait(10)
        if version in self.failing:
            raise ServingError(Code.NOT_FOUND, f"no model in {path}")
        return Loaded(self, version)


class Loaded:
    def __init__(self, loader, version):
        self.loader, self.version = loader, version

    def close(self):
        self.loader.events.append(("close", self.version))


def config(base_path, more="", name="m"):
    text = (
        "model_config_list { config { "
        f'name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {more}'
        " } }"
    )
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


@pytest.fixture
def make_manager():
    with contextlib.ExitStack() as stack:

        def make(loader, **options):
            options = {"poll_seconds": POLL, "retry_seconds": 0.01, **options}
            manager = VersionsManager(loader, **options)
            stack.callback(manager.stop, 5)
            return manager

        yield make


@pytest.fixture
def base_path(tmp_path):
    for version in (1, 2, 3):
        (tmp_path / str(version)).mkdir()
    return tmp_path


def serve(manager, config):
    manager.wait_until_available(manager.apply(config), 5)


def available(manager, name="m"):
    return {s.version for s in manager.status(name) if s.state is State.AVAILABLE}


def answering(manager, **spec):
    with manager.acquire("m", **spec) as servable:
        return servable.version


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("latest { num_versions: 2 }", {2, 3}),
        ("all {}", {1, 2, 3}),
        ("specific { versions: 1 versions: 3 versions: 99 }", {1, 3}),
        ("latest {}", {3}),
        ("", {3}),
    ],
)
def test_the_version_policy_decides(make_manager, base_path, policy, versions):
    loader = Loader()
    manager = make_manager(loader)
    serve(manager, config(base_path, policy and f"model_version_policy {{ {policy} }}"))
    eventually(lambda: available(manager) == versions)
    assert {version for _, version in loader.events} == versions, "and no other was loaded"
    for version in versions:
        assert answering(manager, version=version) == version


def test_only_names_that_are_numbers_are_versions(make_manager, tmp_path):
    for name in (".tmp-9", "9a", "nine", "1.5", "-4", "٣", "99999999999999999999", "00000123"):
        (tmp_path / name).mkdir()
    manager = make_manager(Loader())
    serve(manager, config(tmp_path, "model_version_policy { all {} }"))
    assert available(manager) == {123}


def test_a_pushed_version_is_loaded_before_the_old_one_goes(make_manager, base_path):
    loader = Loader()
    loader.held[4] = threading.Event()
    manager = make_manager(loader)
    serve(manager, config(base_path))
    (base_path / "4").mkdir()
    eventually(lambda: ("load", 4) in loader.events)
    assert answering(manager) == 3
    assert ("close", 3) not in loader.events
    loader.held[4].set()
    eventually(lambda: len(loader.events) == 3)
    assert loader.events == [("load", 3), ("load", 4), ("close", 3)]
    assert available(manager) == {4}


def test_deleting_the_newest_version_rolls_back(make_manager, base_path):
    loader = Loader()
    manager = make_manager(loader)
    serve(manager, config(base_path))
    (base_path / "3").rmdir()
    eventually(lambda: len(loader.events) == 3)
    # There was no moment without a version.
    assert loader.events == [("load", 3), ("load", 2), ("close", 3)]


def test_a_version_that_does_not_load_leaves_the_old_one_serving(make_manager, base_path):
    loader = Loader()
    loader.failing.add(4)
    manager = make_manager(loader, max_load_retries=2)
    serve(manager, config(base_path))
    (base_path / "4").mkdir()
    eventually(lambda: manager.status("m")[0].state is State.END)
    newest = manager.status("m")[0]
    assert newest.version == 4
    assert newest.error.code is Code.NOT_FOUND
    assert loader.events.count(("load", 4)) == 3, "one try and two more"
    assert answering(manager) == 3
    # It is not tried for ever ...
    time.sleep(5 * POLL)
    assert loader.events.count(("load", 4)) == 3
    # ... but a better one under the same number is.
    (base_path / "4").rmdir()
    eventually(lambda: manager.status("m")[0].version == 4 and available(manager) == {3})
    time.sleep(3 * POLL)
    loader.failing.clear()
    (base_path / "4").mkdir()
    eventually(lambda: available(manager) == {4})


def test_a_retry_ends_at_once_when_a_newer_version_comes(make_manager, base_path):
    loader = Loader()
    loader.failing.add(4)
    manager = make_manager(loader, retry_seconds=600)
    serve(manager, config(base_path))
    (base_path / "4").mkdir()
    eventually(lambda: ("load", 4) in loader.events)
    (base_path / "5").mkdir()
    eventually(lambda: available(manager) == {5})


def test_a_running_request_keeps_its_version_alive(make_manager, base_path):
    loader = Loader()
    manager = make_manager(loader)
    serve(manager, config(base_path))
    with manager.acquire("m") as servable:
        (base_path / "4").mkdir()
        eventually(lambda: available(manager) == {4})
        states = {s.version: s.state for s in manager.status("m")}
        assert states[3] is State.UNLOADING
        assert answering(manager) == 4
        time.sleep(3 * POLL)
        assert ("close", 3) not in loader.events
        assert servable.loaded is not None
    eventually(lambda: ("close", 3) in loader.events)
    eventually(lambda: {s.version: s.state for s in manager.status("m")}[3] is State.END)


def test_a_version_that_comes_back_while_it_leaves_is_loaded_again(make_manager, base_path):
    loader = Loader()
    manager = make_manager(loader)
    serve(manager, config(base_path))
    with manager.acquire("m"):
        (base_path / "4").mkdir()
        eventually(lambda: available(manager) == {4})
        (base_path / "4").rmdir()
        time.sleep(3 * POLL)
    eventually(lambda: available(manager) == {3})


def test_a_base_path_that_is_gone_for_a_moment_changes_nothing(make_manager, base_path):
    manager = make_manager(Loader())
    serve(manager, config(base_path))
    away = base_path.with_name("away")
    base_path.rename(away)
    time.sleep(5 * POLL)
    assert answering(manager) == 3
    away.rename(base_path)
    time.sleep(3 * POLL)
    assert answering(manager) == 3


def test_a_base_path_that_can_be_none_hurts_no_other_model(make_manager, base_path):
    manager = make_manager(Loader())
    both = config(base_path)
    both.MergeFrom(config("/nowhere\\000", name="odd"))
    manager.apply(both)
    manager.wait_until_available({"m"}, 5)
    (base_path / "4").mkdir()
    eventually(lambda: available(manager) == {4})


def test_a_base_path_without_versions_unloads_all(make_manager, base_path):
    manager = make_manager(Loader())
    serve(manager, config(base_path))
    for version in (1, 2, 3):
        (base_path / str(version)).rmdir()
    eventually(lambda: not available(manager))
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(m\)"):
        answering(manager)


def test_the_first_version_is_waited_for(make_manager, tmp_path):
    manager = make_manager(Loader())
    new = manager.apply(config(tmp_path / "later"))
    with pytest.raises(ServingError, match="in time") as caught:
        manager.wait_until_available(new, 5 * POLL)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    (tmp_path / "later" / "1").mkdir(parents=True)
    manager.wait_until_available(new, 5)
    assert answering(manager) == 1


def test_a_first_version_that_does_not_load_ends_the_waiting(make_manager, base_path):
    loader = Loader()
    loader.failing.add(3)
    manager = make_manager(loader, max_load_retries=0)
    with pytest.raises(ServingError, match="Some models did not become available: version 3 of m"):
        serve(manager, config(base_path))


def test_labels_name_loaded_versions_only(make_manager, base_path):
    manager = make_manager(Loader())
    policy = "model_version_policy { all {} }"
    label = 'version_labels { key: "stable" value: 2 }'
    with pytest.raises(ServingError, match="not currently available for inference") as caught:
        manager.apply(config(base_path, policy + label))
    assert caught.value.code is Code.FAILED_PRECONDITION
    serve(manager, config(base_path, policy))
    eventually(lambda: available(manager) == {1, 2, 3})
    manager.apply(config(base_path, policy + label))
    assert answering(manager, label="stable") == 2
    assert manager.labels("m") == {"stable": 2}
    with pytest.raises(ServingError, match="Unrecognized servable version label: beta") as caught:
        answering(manager, label="beta")
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_new_label_may_be_ahead_of_its_version_when_allowed_but_never_moves_ahead(
    make_manager, base_path
):
    manager = make_manager(Loader(), allow_labels_for_unavailable=True)
    serve(manager, config(base_path, 'version_labels { key: "stable" value: 3 }'))
    assert answering(manager, label="stable") == 3
    with pytest.raises(ServingError, match="not currently available"):
        manager.apply(config(base_path, 'version_labels { key: "stable" value: 2 }'))
    assert answering(manager, label="stable") == 3


def test_a_model_that_leaves_the_list_is_unloaded_and_may_return(make_manager, base_path):
    loader = Loader()
    manager = make_manager(loader)
    serve(manager, config(base_path))
    serve(manager, config(base_path, name="other"))
    eventually(lambda: not available(manager))
    assert available(manager, "other") == {3}
    assert manager.names() == ["other"]
    serve(manager, config(base_path))
    assert answering(manager) == 3


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([], "Cannot transition to requested config"),
        ([TF + 'name: "a" base_path: "b"'], "to have an absolute path or URI"),
        ([TF + 'name: "a" base_path: "/b" model_type: TENSORFLOW'], "Illegal setting both"),
        ([TF + 'name: "a" base_path: "gs://b/c"'], "gs://b/c is not on this machine"),
        (['name: "a" base_path: "/b"'], "Illegal setting neither"),
        (['name: "a" base_path: "/b" model_platform: "caffe"'], "unsupported platform caffe"),
        ([TF + 'name: "a"'], "base_path"),
        ([TF + 'base_path: "/a"'], "needs a name"),
        ([TF + 'name: "a" base_path: "/b"'] * 2, "list model a multiple times"),
    ],
)
def test_a_list_that_is_not_valid_changes_nothing(make_manager, base_path, models, words):
    manager = make_manager(Loader())
    serve(manager, config(base_path))
    bad = model_server_config_pb2.ModelServerConfig()
    for text in models:
        text_format.Parse(text, bad.model_config_list.config.add())
    with pytest.raises(ServingError, match=words):
        manager.apply(bad)
    time.sleep(3 * POLL)
    assert answering(manager) == 3


def test_an_empty_configuration_waits_for_models(make_manager, base_path):
    manager = make_manager(Loader())
    serve(manager, model_server_config_pb2.ModelServerConfig())
    assert manager.names() == []
    serve(manager, config(f"file://{base_path}"))
    assert answering(manager) == 3


def test_the_newest_version_gets_the_only_load_slot_first(make_manager, base_path):
    for version in (4, 5, 6, 7, 8):
        (base_path / str(version)).mkdir()
    loader = Loader()
    manager = make_manager(loader)
    serve(manager, config(base_path, "model_version_policy { all {} }"))
    eventually(lambda: len(loader.events) == 8)
    assert [version for _, version in loader.events] == [8, 7, 6, 5, 4, 3, 2, 1]


def test_stopping_waits_for_running_requests_and_unloads(base_path):
    loader = Loader()
    manager = VersionsManager(loader, poll_seconds=POLL)
    serve(manager, config(base_path))
    entered, leave = threading.Event(), threading.Event()

    def request():
        with manager.acquire("m"):
            entered.set()
            leave.wait(5)
            loader.events.append(("answered", 3))

    thread = threading.Thread(target=request)
    thread.start()
    assert entered.wait(5)
    threading.Timer(0.1, leave.set).start()
    manager.stop(5)
    thread.join()
    assert loader.events == [("load", 3), ("answered", 3), ("close", 3)]
    assert not manager.ready()


def test_a_thousand_pushes_leave_no_pile_of_old_versions(make_manager, tmp_path):
    manager = make_manager(Loader(), poll_seconds=0.001)
    (tmp_path / "1").mkdir()
    serve(manager, config(tmp_path))
    for version in range(2, 200):
        (tmp_path / str(version)).mkdir()
        (tmp_path / str(version - 1)).rmdir()
        eventually(lambda version=version: available(manager) == {version})
    eventually(lambda: len(manager.status("m")) <= 102)
