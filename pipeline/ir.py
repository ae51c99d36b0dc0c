"""The file of `mnist-gan compile`: a pipeline whose nodes run one by one, each in its own process.

One JSON document:

    schema     "mnist-gan.ir/1"
    workspace, folder   of the run; where it was compiled, which relative paths start from
    tfds_dir   folder of the prepared records, "" if there is none
    code       digest of the source and the library versions that it is for
    nodes      {node: the nodes that it needs}, in an order in which they can be run
    facts      what a run notes about itself
    pipeline   TFX's own intermediate representation, a `tfx.orchestration.Pipeline`, as JSON

Needs neither TensorFlow nor TFX.
"""

import hashlib
import json
import pathlib
import re

from common.files import combined_digest, file_digest
from common.text import parse_json
from lineage.store import Store
from pipeline import provenance

SCHEMA = "mnist-gan.ir/1"
DONE = ("COMPLETE", "CACHED")
_KEYS = {"schema", "workspace", "folder", "tfds_dir", "code", "nodes", "facts", "pipeline"}


class IrError(ValueError):
    """A node can't be run from a file; the message says what to do."""


def read(path: pathlib.Path) -> dict:
    """The document in the file `path`.

    Raises:
      IrError: there is none, or it is for other code or a workspace that is gone.
    """
    again = f"write it with `mnist-gan compile --to ir {path}`"
    try:
        document = parse_json(path.read_text())
    except FileNotFoundError:
        raise IrError(f"there is no file {path}: {again}") from None
    except ValueError:
        document = None
    if not _is_whole(document):
        raise IrError(f"{path} is no compiled pipeline of this version of mnist-gan: {again}")
    if document["code"] != code():
        raise IrError(f"{path} was compiled by other code or libraries than run here: {again}")
    if not pathlib.Path(document["workspace"]).is_dir():
        raise IrError(f"the workspace {document['workspace']} of {path} is not there: {again}")
    return document


def _is_whole(document: object) -> bool:
    """Whether all is there and of its type; what a node does is not looked at."""
    if not isinstance(document, dict) or document.keys() != _KEYS or document["schema"] != SCHEMA:
        return False
    nodes, facts = document["nodes"], document["facts"]
    texts = (document["workspace"], document["folder"], document["tfds_dir"], document["code"])
    try:
        return (
            all(isinstance(text, str) and "\0" not in text for text in (*texts, *facts.values()))
            and all(re.fullmatch(r"\w[\w.-]*", name, re.ASCII) for name in nodes)
            and all(isinstance(n, list) and all(x in nodes for x in n) for n in nodes.values())
            and sorted(parse_json(facts["nodes"])) == sorted(nodes)
            and isinstance(document["pipeline"], dict)
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def digest(document: dict) -> str:
    """Tells pipelines apart."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def code() -> str:
    """Digest of all source and library versions that a node may run."""
    root = pathlib.Path(__file__).resolve().parent.parent
    files = {
        str(path.relative_to(root)): file_digest(path)
        for package in provenance.SOURCES
        for path in (root / package).rglob("*.py")
    }
    return digest({"source": combined_digest(files), "versions": provenance.library_versions()})


def states(store: Store | None, run_id: str) -> dict[str, str]:
    """The state of each node that the run came to, lookups included."""
    run = store.run_named(run_id) if store else None
    found = store.executions_of_run(run, lookups=True) if store and run else []
    return {store.place_of(execution.id)[0]: execution.state for execution in found if store}


def check(document: dict, store: Store | None, node: str, run_id: str) -> None:
    """Raises IrError where `node` can't be run now.

    Args:
      document: of `read`.
      store: the workspace's; None where there is none yet.
      node, run_id: passed `check_names`.
    """
    run = store.run_named(run_id) if store else None
    if run and run.properties.get("ir") != digest(document):
        raise IrError(
            f"run {run_id} of this workspace is of another pipeline: take another --run-id"
        )
    known = states(store, run_id)
    if missing := [needed for needed in document["nodes"][node] if known.get(needed) not in DONE]:
        raise IrError(f"{node} needs {' and '.join(missing)} of run {run_id}: run that first")


def check_names(document: dict, node: str, run_id: str) -> None:
    """Raises IrError where the pipeline has no such node, or no run can be called `run_id`."""
    if node not in document["nodes"]:
        raise IrError(f"there is no node {node!r}; the nodes are {', '.join(document['nodes'])}")
    if not re.fullmatch(r"\w[\w.~:+-]{0,199}", run_id, re.ASCII):
        raise IrError(f"a run can't be called {run_id!r}: take letters, digits and _ . ~ : + -")
