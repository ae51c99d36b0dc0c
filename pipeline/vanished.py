"""Notices what libraries do not: that something a run needs was removed while it went on.

They make a folder again that is missing, and then half of what a node wrote is lost without a word,
or they fail of something else later on.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator

from tfx.orchestration.portable import beam_executor_operator, data_types, python_executor_operator
from tfx.proto import pusher_pb2
from tfx.proto.orchestration import executable_spec_pb2, execution_result_pb2
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from common.workspace import Workspace, WorkspaceError
from lineage.store import open_store

_OLD = ("base_model",)  # inputs of earlier runs, which may have been pruned


class VanishedError(RuntimeError):
    """A folder of a node was removed while the node ran; the message says which."""


def check_still_there(workspace: Workspace, run_id: str) -> None:
    """Raises WorkspaceError where what a run has locked, or its metadata, is not there any more."""
    if not workspace.is_locked():
        raise WorkspaceError(
            f"the workspace {workspace.root} was removed or renamed while the run went on: put it "
            "back and run again, or begin a new one"
        )
    if lost := lost_metadata(workspace.metadata, run_id):
        raise WorkspaceError(lost)


def lost_metadata(path: pathlib.Path, run_id: str) -> str | None:
    """What to tell where the metadata at `path` does not know the run; else None."""
    with contextlib.suppress(FileNotFoundError):
        try:
            if open_store(path).run_named(run_id) is not None:
                return None
        except FileNotFoundError:
            raise
        except Exception:  # it is there, and the disk or another program is at fault
            return None
    return (
        f"the metadata {path} was removed or replaced while the run went on: put it back and run "
        "again; without it the next run begins anew and sets aside what is there"
    )


@contextlib.contextmanager
def watched(folders: Iterable[str], node: str) -> Iterator[None]:
    """Holds `folders` open while the block runs; those that do not exist are left out.

    Raises:
      VanishedError: at the end, or in the place of the block's error, where one of them is no more
        what it was when the block began.
    """
    with contextlib.ExitStack() as stack:
        held = {}
        for folder in folders:
            if os.path.isdir(folder):
                held[folder] = os.open(folder, os.O_RDONLY)  # its number is not given away now
                stack.callback(os.close, held[folder])
        try:
            yield
        finally:
            for folder, handle in held.items():
                if not (
                    os.path.isdir(folder) and os.path.samestat(os.stat(folder), os.fstat(handle))
                ):
                    raise _gone(folder, node)


def _gone(folder: str, node: str) -> VanishedError:
    return VanishedError(
        f"the folder {folder} was removed or renamed while {node} ran: put it back or leave it, "
        "and run again; what is missing is made again"
    )


def folders_of(execution_info: data_types.ExecutionInfo) -> list[str]:
    """Those that a node reads and writes: of its artifacts, and where the Pusher pushes to."""
    used = (*execution_info.input_dict.values(), *execution_info.output_dict.values())
    folders = [artifact.uri for artifacts in used for artifact in artifacts]
    if pushed := execution_info.exec_properties.get(specs.PUSH_DESTINATION_KEY):
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(pushed, destination)
        folders.append(destination.filesystem.base_directory)
    return folders


class _Watched:
    """Runs an executor while the folders that it reads and writes are watched."""

    def run_executor(
        self, execution_info: data_types.ExecutionInfo, **options
    ) -> execution_result_pb2.ExecutorOutput:
        node = execution_info.pipeline_node.node_info.id
        for key, artifacts in execution_info.input_dict.items():
            for artifact in artifacts if key not in _OLD else ():
                if "://" not in artifact.uri and not os.path.exists(artifact.uri):
                    raise _gone(artifact.uri, node)
        with watched(folders_of(execution_info), node):
            return super().run_executor(execution_info, **options)  # type: ignore[misc]


class _WatchedPython(_Watched, python_executor_operator.PythonExecutorOperator):
    pass


class _WatchedBeam(_Watched, beam_executor_operator.BeamExecutorOperator):
    pass


# For TFX's launcher, in the place of its own.
OPERATORS = {
    executable_spec_pb2.PythonClassExecutableSpec: _WatchedPython,
    executable_spec_pb2.BeamExecutableSpec: _WatchedBeam,
}
