"""Runs the pipeline in this process, node by node, and keeps what TFX would forget.

On top of TFX's LocalDagRunner: a view hears of every node, the error of a failed node goes into ML
Metadata, what a killed run left RUNNING is closed, and the run's own facts (settings, data,
versions, state) are kept on its context.
"""

import contextlib
import datetime
import json
import logging
import os
import pathlib
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import context_lib
from tfx.proto.orchestration import pipeline_pb2

from common.files import disk_fault
from common.workspace import Workspace, model_name
from datasets import source as data_source
from lineage import digests, documents
from lineage.store import (
    ERROR_PROPERTY,
    RUN_CONTEXT,
    VERSIONS_PROPERTY,
    Execution,
    Store,
    connect,
    open_store,
)
from pipeline import cache, engines, provenance, upkeep, vanished
from pipeline import pipeline as pipeline_lib
from pipeline.configs import Settings
from report import pages
from serving import process, versions
from trainer.checkpoints import TrainingInterrupted
from trainer.training_config import NO_BASE_MODEL, NO_HYPERPARAMETERS, best_settings

_log = logging.getLogger(__name__)


class View(Protocol):
    """What a run tells whoever looks on."""

    def phase(self, text: str) -> None: ...
    def node_started(self, node: str) -> None: ...
    def node_ended(self, node: str, state: str, seconds: float, error: str | None) -> None: ...
    def note(self, text: str) -> None: ...


STOPPED = "stopped; what was finished is kept, and the same command goes on from there"


class NodeFailedError(RuntimeError):
    """A node raised; `str` is its message, the cause is attached.

    Attributes:
      stopped: whether it did nothing wrong: somebody stopped it.
    """

    def __init__(self, message: str, stopped: bool = False):
        super().__init__(message)
        self.stopped = stopped


def run(
    settings: Settings,
    workspace: Workspace,
    view: View,
    *,
    from_node: str | None = None,
    beam_args: Sequence[str] = (),
    force_bless: str = "",
    verify_cache: bool = False,
    replace: str = "",
    begun: float | None = None,
    create: Callable[..., tfx_pipeline.Pipeline] | None = None,
    search: dict | None = None,
) -> dict:
    """Runs the whole pipeline in `workspace`, which the caller has locked.

    Args:
      settings: all that decides the run, apart from code and data.
      workspace: where everything goes.
      view: hears of the progress.
      from_node: executes this node and everything downstream again; what is upstream comes from
        the cache where it is unchanged.
      beam_args: further flags for Apache Beam.
      force_bless: a reason to push a generator that misses a threshold; it is recorded.
      verify_cache: compare the digests of what is taken from the cache, not names and sizes alone.
      replace: a reason to replace a version in service that is better, was judged more strictly or
        on other data; it is recorded.
      begun: `time.monotonic()` of when the user began to wait; default: now.
      create: makes the pipeline in the place of `pipeline.create_pipeline`, of the same arguments.
      search: for settings in the place of a training, as `pipeline.create_pipeline` takes it.

    Returns:
      The document of `lineage.documents.status`; a failed node is told there, not raised.

    Raises:
      ValueError: the data cannot be loaded, `from_node` is no node, what was named as TF Serving's
        program is none, or there is no generator to start from.
    """
    begun = time.monotonic() if begun is None else begun
    upkeep.put_right(workspace)
    view.phase("data")
    if settings.training.base_model:
        if not _blessed_before(workspace):
            raise ValueError(NO_BASE_MODEL)
        cache.abandon_altered_models(connect(workspace.metadata, readonly=False))
    best = _best_settings(workspace, settings) if settings.training.hyperparameters else None
    data = data_source.resolve(settings.data, workspace.tfds)
    # Part of what decides a run: a TF Serving that was installed since then has to be asked.
    model_server = process.find_tf_serving(settings.validation.model_server) or process.LOCAL
    pipeline = (create or pipeline_lib.create_pipeline)(
        settings=settings,
        data=data,
        metadata_path=workspace.metadata,
        pipeline_root=workspace.pipeline_root,
        serving_base=workspace.of_model(model_name(data.dataset)).serving,
        checkpoint_root=workspace.checkpoints,
        tensorboard_root=workspace.tensorboard,
        beam_args=beam_args,
        force_bless=force_bless,
        replace=replace,
        model_server=model_server,
        search=search,
    )
    nodes = [c.id for c in pipeline.components if c.id not in pipeline_lib.LOOKUPS]
    if from_node is not None and from_node not in nodes:
        raise ValueError(f"there is no node {from_node!r}; the nodes are {', '.join(nodes)}")
    run_id = _new_name(workspace)
    facts = {
        "preset": settings.preset,
        "settings": settings.model_dump_json(),
        "dataset": data.dataset,
        "dataset_note": data.note or "",
        "data": json.dumps(data.to_dict()),
        "versions": json.dumps(provenance.library_versions(), sort_keys=True),
        "nodes": json.dumps(nodes),
        **({"hyperparameters": json.dumps(best)} if best else {}),
        "state": "RUNNING",
        "pid": str(os.getpid()),
    }
    connection = metadata.sqlite_metadata_connection_config(str(workspace.metadata))
    runner = ObservedDagRunner(view, connection, run_id, from_node)
    runner.note_facts(facts)
    state, stopped = "FAILED", False
    with _Signals() as signals:
        try:
            with cache.exact(workspace.root, data.tfds_dir, full=verify_cache):
                runner.run(pipeline)
            state = "COMPLETE"
        except NodeFailedError as error:
            stopped = error.stopped
            _log.error("%s", error, exc_info=error.__cause__)
            vanished.check_still_there(workspace, run_id)
        except KeyboardInterrupt:  # between two nodes
            stopped = True
            view.note(STOPPED)
        finally:
            signals.closing = True
            ended = {"state": state, "seconds": round(time.monotonic() - begun, 2)}
            ended |= {"stopped": "yes"} if stopped else {}
            if state == "COMPLETE":
                runner.note_facts(ended)
            else:
                # Where the disk takes nothing more, the next run puts it right.
                with contextlib.suppress(Exception):
                    vanished.check_still_there(workspace, run_id)  # nothing is made where it was
                    runner.note_facts(ended)
                    upkeep.close_interrupted(workspace, "the run was interrupted here")
        signals.closing = False
        if not stopped:
            try:
                view.phase("report")
                pages.build(workspace)
            except Exception:  # the run itself went well
                _log.warning("the report could not be written", exc_info=True)
            except KeyboardInterrupt:
                view.note("the run has ended; `mnist-gan report` writes its report")
                runner.note_facts({"stopped": "yes"})
    store = open_store(workspace.metadata)
    document = documents.status(store, workspace, documents.find_run(store, run_id))
    return document | {"state": state, "stopped": stopped or document["stopped"]}


def _new_name(workspace: Workspace) -> str:
    """The time in UTC: names rise when clocks are changed for the summer."""
    store = open_store(workspace.metadata) if workspace.metadata.exists() else None
    now = datetime.datetime.now(datetime.timezone.utc)
    while True:
        name = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if store is None or store.run_named(name) is None:
            return name
        now += datetime.timedelta(microseconds=1)  # the clock stands still


class ObservedDagRunner(local_dag_runner.LocalDagRunner):
    """LocalDagRunner that tells a view what it does and notes errors in ML Metadata."""

    def __init__(
        self,
        view: View,
        connection: metadata_store_pb2.ConnectionConfig,
        run_id: str,
        from_node: str | None = None,
    ):
        super().__init__()
        self._view = view
        self._connection = connection
        self._run_id = run_id
        self._from_node = from_node

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options=None) -> None:
        """Runs the compiled `pipeline`, one node after the other, in topological order.

        Raises:
          NodeFailedError: a node failed; what is downstream was not run.
        """
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {"pipeline-run-id": self._run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        rerun = _downstream(pipeline, self._from_node)
        for node in pipeline.nodes:
            self._run_node(node.pipeline_node, pipeline, deployment, rerun)

    def _run_node(self, node, pipeline, deployment, rerun: set[str]) -> None:
        name = node.node_info.id
        shown = name not in pipeline_lib.LOOKUPS
        if name in rerun or (name == "Pusher" and self._push_is_gone()):
            node.execution_options.caching_options.enable_cache = False
        node_launcher = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=metadata.Metadata(self._connection),
            pipeline_info=pipeline.pipeline_info,
            pipeline_runtime_spec=pipeline.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, name),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            custom_executor_operators=vanished.OPERATORS,
        )
        if shown:
            self._view.node_started(name)
        begun = time.monotonic()
        try:
            node_launcher.launch()
            execution = self._execution(name)
            self._note_content(execution, name)
        except (Exception, KeyboardInterrupt) as error:
            stopped = _is_interrupt(error)
            ours = _is_ours(error) or not stopped
            store = pathlib.Path(self._connection.sqlite.filename_uri)
            message = explain(error, store.parent) if ours else STOPPED
            message = vanished.lost_metadata(store, self._run_id) or message
            with contextlib.suppress(Exception):  # at least it is told
                self._note_error(name, message)
            self._view.node_ended(name, "FAILED", time.monotonic() - begun, message)
            raise NodeFailedError(f"{name}: {message}", stopped) from error
        if shown:
            state = "NOT_RUN" if execution is None else execution.state
            self._view.node_ended(name, state, time.monotonic() - begun, None)
        if execution is None or execution.state == "FAILED":
            # TFX publishes a failure of input resolution and goes on; what follows has no input.
            self._note_error(name, "its inputs could not be resolved")
            raise NodeFailedError(f"{name}: its inputs could not be resolved (see the log)")

    def _note_content(self, execution: Execution | None, node: str) -> None:
        """Records what a node made, and with which libraries."""
        if execution is not None and execution.state == "COMPLETE":
            versions_used = provenance.library_versions(node)
            self._note(execution, VERSIONS_PROPERTY, json.dumps(versions_used))
        # Cached too: a run may have been killed before it came to noting them.
        if execution is not None and execution.state in ("COMPLETE", "CACHED"):
            with metadata.Metadata(self._connection) as handle:
                digests.note_digests(handle.store, execution.id)

    def note_facts(self, facts: dict) -> None:
        """Writes `facts` as custom properties of the run's context; makes it where it is new."""
        with metadata.Metadata(self._connection) as handle:
            context = context_lib.register_context_if_not_exists(handle, RUN_CONTEXT, self._run_id)
            for key, value in facts.items():
                slot = context.custom_properties[key]
                if isinstance(value, float):
                    slot.double_value = value
                else:
                    slot.string_value = value
            handle.store.put_contexts([context])

    def _execution(self, node: str) -> Execution | None:
        with metadata.Metadata(self._connection) as handle:
            return Store(handle.store).execution_of(self._run_id, node)

    def _push_is_gone(self) -> bool:
        """Whether somebody deleted or emptied the newest version of a model.

        TFX's cache looks at its own artifacts only.
        """
        with metadata.Metadata(self._connection) as handle:
            pushes = Store(handle.store).artifacts_of_type("PushedModel")
        newest: dict[pathlib.Path, pathlib.Path] = {}  # version by model
        for push in pushes:
            if push.pushed_version is not None:
                path = pathlib.Path(push.properties["pushed_destination"])
                newest[path.parent] = path
        # What was rolled back was meant to go.
        return any(
            not (path / "saved_model.pb").is_file() and not versions.rolled_back_path(path).is_dir()
            for path in newest.values()
        )

    def _note_error(self, node: str, message: str) -> None:
        execution = self._execution(node)
        if execution is not None:
            self._note(execution, ERROR_PROPERTY, message)

    def _note(self, execution: Execution, key: str, text: str) -> None:
        execution.record.custom_properties[key].string_value = text
        with metadata.Metadata(self._connection) as handle:
            handle.store.put_executions([execution.record])


def _blessed_before(workspace: Workspace) -> bool:
    """Whether any generator was ever blessed here."""
    if not workspace.metadata.exists():
        return False
    blessings = open_store(workspace.metadata).artifacts_of_type("ModelBlessing")
    return any(blessing.properties.get("blessed") == 1 for blessing in blessings)


def _best_settings(workspace: Workspace, settings: Settings) -> dict:
    """What the latest search found, by the setting's name.

    Raises:
      ValueError: there is none, or it is of another model.
    """
    store = open_store(workspace.metadata) if workspace.metadata.exists() else None
    found = store.artifacts_of_type("HyperParameters") if store else []
    live = [one for one in found if one.record.state == metadata_store_pb2.Artifact.LIVE]
    if store is None or not live:
        raise ValueError(NO_HYPERPARAMETERS)
    path = store.path_of(live[-1].uri)  # as the Resolver takes it
    try:
        [file] = path.iterdir() if path else []
        values = json.loads(file.read_text())
    except (OSError, ValueError):
        raise ValueError(
            f"the hyperparameters in {path} cannot be read: `mnist-gan tune` makes them again"
        ) from None
    return best_settings(values, settings.training.model)


def _downstream(pipeline: pipeline_pb2.Pipeline, first: str | None) -> set[str]:
    """`first` and the nodes that depend on it."""
    if first is None:
        return set()
    found = {first}
    for node in pipeline.nodes:  # topological order
        if found & set(node.pipeline_node.upstream_nodes):
            found.add(node.pipeline_node.node_info.id)
    return found


def explain(error: BaseException, root: pathlib.Path) -> str:
    """One paragraph for people: Beam and TFX wrap what an executor raised in their own words.

    Args:
      error: what was raised.
      root: the workspace's folder.
    """
    for found in _chain(error):  # TFX fails to remove what is gone, and would say that instead
        if isinstance(found, vanished.VanishedError):
            return str(found)
    places = [root, root / "pipeline_root"]
    with contextlib.suppress(OSError):  # there is none that can be written
        places.append(pathlib.Path(tempfile.gettempdir()))
    while not _is_ours(error):
        if fault := disk_fault(str(error), *places) or engines.explain(str(error)):
            return fault
        if error.__cause__ is None:
            break
        error = error.__cause__
    text = str(error).strip() or type(error).__name__
    # Beam appends where in its own graph it happened.
    return text.partition(" [while running ")[0]


def _is_ours(error: BaseException) -> bool:
    """Whether this project raised it, in its own words."""
    return type(error).__module__.partition(".")[0] in provenance.SOURCES


class _Signals:
    """Lets SIGTERM and a closed terminal end a run as Ctrl-C does, and its closing be finished."""

    def __init__(self):
        self.closing = False
        self._before = {}

    def __enter__(self) -> "_Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                    self._before[number] = signal.signal(number, self._raise)
        return self

    def __exit__(self, *exc) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _raise(self, number, frame) -> None:
        if not self.closing:
            raise KeyboardInterrupt


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether somebody stopped the run: Beam wraps a KeyboardInterrupt in errors of its own."""
    return any(
        isinstance(found, KeyboardInterrupt | TrainingInterrupted)
        or "KeyboardInterrupt" in str(found)
        for found in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
