"""Runs the pipeline or a node of it in this process, and keeps what TFX would forget.

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
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils, tfx_runner
from tfx.orchestration.portable.mlmd import context_lib
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

from common.files import disk_fault, write_atomically
from common.text import parse_json
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
from pipeline import cache, engines, ir, provenance, upkeep, vanished
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


class Compiled(NamedTuple):
    """A pipeline that can be run.

    Attributes:
      pipeline: TFX's intermediate representation.
      facts: what a run of it notes about itself.
      tfds_dir: folder of the prepared records, "" if there is none.
    """

    pipeline: pipeline_pb2.Pipeline
    facts: dict[str, str]
    tfds_dir: str


class _Compiler(tfx_runner.IrBasedRunner):
    """Returns what others would run."""

    def run_with_ir(self, pipeline, run_options=None, **options):
        return pipeline


def compile_pipeline(
    settings: Settings,
    workspace: Workspace,
    view: View,
    *,
    from_node: str | None = None,
    beam_args: Sequence[str] = (),
    force_bless: str = "",
    replace: str = "",
    create: Callable[..., tfx_pipeline.Pipeline] | None = None,
    search: dict | None = None,
) -> Compiled:
    """Puts the workspace right, prepares the data and compiles the pipeline.

    Args:
      settings: all that decides the run, apart from code and data.
      workspace: where everything goes; the caller has locked it.
      view: hears of the progress.
      from_node: executes this node and everything downstream again; what is upstream comes from
        the cache where it is unchanged.
      beam_args: further flags for Apache Beam.
      force_bless: a reason to push a generator that misses a threshold; it is recorded.
      replace: a reason to replace a version in service that is better, was judged more strictly or
        on other data; it is recorded.
      create: makes the pipeline in the place of `pipeline.create_pipeline`, of the same arguments.
      search: for settings in the place of a training, as `pipeline.create_pipeline` takes it.

    Raises:
      ValueError: the data cannot be loaded, `from_node` is no node, what was named as TF Serving's
        program is none, or there is no generator to start from.
    """
    upkeep.put_right(workspace)
    view.phase("data")
    if settings.training.base_model:
        if not _blessed_before(workspace):
            raise ValueError(NO_BASE_MODEL)
        cache.abandon_altered_models(connect(workspace.metadata, readonly=False))
    best = _best_settings(workspace, settings) if settings.training.hyperparameters else None
    data = data_source.resolve(settings.data, workspace.tfds)
    settings = settings.for_images(data.image_shape[0])
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
    facts = {
        "preset": settings.preset,
        "settings": settings.model_dump_json(),
        "dataset": data.dataset,
        "dataset_note": data.note or "",
        "data": json.dumps(data.to_dict()),
        "versions": json.dumps(provenance.library_versions(), sort_keys=True),
        "nodes": json.dumps(nodes),
        **({"hyperparameters": json.dumps(best)} if best else {}),
    }
    compiled = _Compiler().run(pipeline)
    for node in _downstream(compiled, from_node):
        node.execution_options.caching_options.enable_cache = False
    return Compiled(compiled, facts, data.tfds_dir)


def write_ir(compiled: Compiled, workspace: Workspace, path: pathlib.Path) -> None:
    """Writes what `run_node` takes; `pipeline.ir` describes it."""
    nodes = [node.pipeline_node for node in compiled.pipeline.nodes]
    lookups = {n.node_info.id: n.upstream_nodes for n in nodes if _is_lookup(n)}
    needs = {}
    for node in nodes:
        if not _is_lookup(node):
            through = [upstream for n in node.upstream_nodes for upstream in lookups.get(n, ())]
            needs[node.node_info.id] = sorted({*node.upstream_nodes, *through} - lookups.keys())
    document = {
        "schema": ir.SCHEMA,
        "workspace": str(workspace.root),
        "folder": os.getcwd(),
        "tfds_dir": compiled.tfds_dir,
        "code": ir.code(),
        "nodes": needs,
        "facts": compiled.facts,
        "pipeline": json_format.MessageToDict(compiled.pipeline),
    }
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def run(
    settings: Settings,
    workspace: Workspace,
    view: View,
    *,
    verify_cache: bool = False,
    begun: float | None = None,
    **options,
) -> dict:
    """Runs the whole pipeline in `workspace`, which the caller has locked.

    Args:
      settings, workspace, view, options: as `compile_pipeline` takes them.
      verify_cache: compare the digests of what is taken from the cache, not names and sizes alone.
      begun: `time.monotonic()` of when the user began to wait; default: now.

    Returns:
      The document of `lineage.documents.status`; a failed node is told there, not raised.

    Raises:
      ValueError: as `compile_pipeline`.
    """
    begun = time.monotonic() if begun is None else begun
    compiled = compile_pipeline(settings, workspace, view, **options)
    connection = metadata.sqlite_metadata_connection_config(str(workspace.metadata))
    runner = ObservedDagRunner(view, connection, _new_name(workspace))
    runner.note_facts(compiled.facts | {"state": "RUNNING", "pid": str(os.getpid())})
    return _carry_out(runner, compiled, workspace, view, begun, verify_cache)


def run_node(
    node: str,
    document: dict,
    workspace: Workspace,
    run_id: str,
    view: View,
    beam_args: Sequence[str] = (),
) -> dict:
    """Runs one node of the run `run_id`; the caller shares the workspace with others of that run.

    Args:
      node: passed `ir.check`. What failed or was killed before is done again.
      document: of `ir.read`.
      beam_args: flags for Apache Beam, after those of the document.

    Returns:
      As `run`; `state` is what this node came to: FAILED, WAITING where others are still to be
      run, or COMPLETE where it was the last and the report is written.
    """
    try:
        pipeline = json_format.ParseDict(document["pipeline"], pipeline_pb2.Pipeline())
    except json_format.ParseError as error:
        raise ir.IrError(f"the compiled pipeline can't be read: {error}") from None
    connection = metadata.sqlite_metadata_connection_config(str(workspace.metadata))
    runner = ObservedDagRunner(view, connection, run_id, node, beam_args)
    facts = document["facts"] | {"ir": ir.digest(document)}
    store = open_store(workspace.metadata) if workspace.metadata.exists() else None
    noted = store and store.run_named(run_id)
    if not noted:
        runner.note_facts(facts | {"state": "WAITING"})
    since = max(0, time.time() - noted.created / 1000) if noted else 0
    compiled = Compiled(pipeline, facts, document["tfds_dir"])
    return _carry_out(runner, compiled, workspace, view, time.monotonic() - since)


def _carry_out(
    runner: "ObservedDagRunner",
    compiled: Compiled,
    workspace: Workspace,
    view: View,
    begun: float,
    verify_cache: bool = False,
) -> dict:
    """Lets `runner` run, notes how it ended and writes the report."""
    state, stopped = "FAILED", False
    with _Signals() as signals:
        try:
            with cache.exact(workspace.root, compiled.tfds_dir, full=verify_cache):
                runner.run_with_ir(compiled.pipeline)
            done = ir.states(open_store(workspace.metadata), runner.run_id)
            left = [n for n in json.loads(compiled.facts["nodes"]) if done.get(n) not in ir.DONE]
            state = "WAITING" if left else "COMPLETE"
        except NodeFailedError as error:
            stopped = error.stopped
            _log.error("%s", error, exc_info=error.__cause__)
            vanished.check_still_there(workspace, runner.run_id)
        except KeyboardInterrupt:  # between two nodes
            stopped = True
            view.note(STOPPED)
        finally:
            signals.closing = True
            ended = {"state": state, "seconds": round(time.monotonic() - begun, 2)}
            ended |= {"stopped": "yes"} if stopped else {}
            if state == "COMPLETE":
                runner.note_facts(ended)
            elif state == "FAILED":
                # Where the disk takes nothing more, the next run puts it right.
                with contextlib.suppress(Exception):
                    vanished.check_still_there(workspace, runner.run_id)  # nothing is made there
                    why, own = "the run was interrupted here", runner.own_execution()
                    if runner.only is None:
                        runner.note_facts(ended)
                        upkeep.close_interrupted(workspace, why)
                    elif own is not None:  # others may be at work, and it may be tried again
                        upkeep.close_interrupted(workspace, why, own.id)
        signals.closing = False
        if not stopped and state != "WAITING":
            try:
                view.phase("report")
                pages.build(workspace)
            except Exception:  # the run itself went well
                _log.warning("the report could not be written", exc_info=True)
            except KeyboardInterrupt:
                view.note("the run has ended; `mnist-gan report` writes its report")
                runner.note_facts({"stopped": "yes"})
    store = open_store(workspace.metadata)
    document = documents.status(store, workspace, documents.find_run(store, runner.run_id))
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
        only: str | None = None,
        beam_args: Sequence[str] = (),
    ):
        """`only` is the one node to run, with what it looks up; None is all."""
        super().__init__()
        self._view = view
        self._connection = connection
        self.run_id = run_id
        self.only = only
        self._beam_args = beam_args

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options=None) -> None:
        """Runs the compiled `pipeline`, or one node of it, in topological order.

        Raises:
          NodeFailedError: a node failed; what is downstream was not run.
        """
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {"pipeline-run-id": self.run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        nodes = [node.pipeline_node for node in pipeline.nodes]
        if self.only is not None:
            (own,) = [node for node in nodes if node.node_info.id == self.only]
            known = ir.states(open_store(self._connection.sqlite.filename_uri), self.run_id)
            used = set(own.upstream_nodes) - {name for name in known if known[name] in ir.DONE}
            nodes = [n for n in nodes if _is_lookup(n) and n.node_info.id in used] + [own]
            self._reopen()
        for node in nodes:
            self._run_node(node, pipeline, deployment)

    def _run_node(self, node, pipeline, deployment) -> None:
        name = node.node_info.id
        shown = not _is_lookup(node)
        if name == "Pusher" and self._push_is_gone():
            node.execution_options.caching_options.enable_cache = False
        spec = runner_utils.extract_executor_spec(deployment, name)
        if isinstance(spec, executable_spec_pb2.BeamExecutableSpec):
            for flag in self._beam_args:
                spec.beam_pipeline_args_placeholders.add().value.string_value = flag
        node_launcher = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=metadata.Metadata(self._connection),
            pipeline_info=pipeline.pipeline_info,
            pipeline_runtime_spec=pipeline.runtime_spec,
            executor_spec=spec,
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
            message = vanished.lost_metadata(store, self.run_id) or message
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
            context = context_lib.register_context_if_not_exists(handle, RUN_CONTEXT, self.run_id)
            for key, value in facts.items():
                slot = context.custom_properties[key]
                if isinstance(value, float):
                    slot.double_value = value
                else:
                    slot.string_value = value
            handle.store.put_contexts([context])

    def own_execution(self) -> Execution | None:
        """Of the one node to run; None if there is none yet, or all are to be run."""
        return self._execution(self.only) if self.only is not None else None

    def _reopen(self) -> None:
        """Clears what an earlier attempt at the node left; TFX goes on with the same execution."""
        execution = self.own_execution()
        if execution is None or execution.state in ir.DONE:
            return
        root = pathlib.Path(self._connection.sqlite.filename_uri).parent / "pipeline_root"
        for folder in root.glob(f"{self.only}/*/{execution.id}"):
            shutil.rmtree(folder)
        execution.record.last_known_state = metadata_store_pb2.Execution.RUNNING
        self._note(execution, ERROR_PROPERTY, "")

    def _execution(self, node: str) -> Execution | None:
        with metadata.Metadata(self._connection) as handle:
            return Store(handle.store).execution_of(self.run_id, node)

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
        values = parse_json(file.read_text())
    except (OSError, ValueError):
        raise ValueError(
            f"the hyperparameters in {path} cannot be read: `mnist-gan tune` makes them again"
        ) from None
    return best_settings(values, settings.training.model)


def _is_lookup(node: pipeline_pb2.PipelineNode) -> bool:
    return node.node_info.id in pipeline_lib.LOOKUPS


def _downstream(
    pipeline: pipeline_pb2.Pipeline, first: str | None
) -> list[pipeline_pb2.PipelineNode]:
    """`first` and the nodes that depend on it; none for None."""
    found, names = [], {first}
    for node in [n.pipeline_node for n in pipeline.nodes]:  # topological order
        if node.node_info.id == first or names & set(node.upstream_nodes):
            found.append(node)
            names.add(node.node_info.id)
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
