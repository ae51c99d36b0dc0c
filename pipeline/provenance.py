"""What produced a result: the source that ran and the versions it ran on.

TFX's cache key covers a component's class name and its parameters, not its code. Each node
therefore gets, as a parameter, the hash of the source that it runs: the module it enters through
and every module of this project that is imported from there, directly or not. An edit re-executes
the nodes whose code it changed and what is downstream of them, and nothing else; comments,
docstrings and layout are no code. The versions of the libraries that a node uses are part of its
key too, and are recorded on its execution.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import pathlib
import platform

SOURCES = (
    *("common", "components", "datasets", "judge", "lineage"),
    *("metrics", "pipeline", "report", "serving", "trainer"),
)

# What each node computes with, apart from the two that all nodes use.
_EVERYWHERE = ("tfx", "ml-metadata")
_NODE_LIBRARIES = {
    "MnistExampleGen": ("tensorflow-datasets", "apache-beam", "tensorflow", "numpy"),
    "StatisticsGen": ("tensorflow-data-validation", "apache-beam", "numpy"),
    "SchemaGen": ("tensorflow-data-validation",),
    "ExampleSchema": ("tensorflow-data-validation",),
    "ExampleValidator": ("tensorflow-data-validation",),
    "SpanDrift": ("tensorflow-data-validation", "numpy", "scipy"),
    "DataGate": ("tensorflow-data-validation",),
    "Transform": ("tensorflow-transform", "apache-beam", "tensorflow"),
    "FeatureExtractor": ("tensorflow", "keras", "numpy"),
    "Trainer": ("tensorflow", "keras", "tensorflow-transform", "numpy"),
    "Tuner": ("keras-tuner", "tensorflow", "keras", "tensorflow-transform", "numpy"),
    "GeneratorValidator": (
        "tensorflow",
        "numpy",
        "grpcio",
        "httpx",
        "orjson",
        "starlette",
        "uvicorn",
    ),
    "Evaluator": ("tensorflow", "keras", "apache-beam", "numpy", "scipy"),
    "Pusher": (),
}
_LIBRARIES = tuple(sorted({*_EVERYWHERE}.union(*_NODE_LIBRARIES.values())))


def source_hash(*modules: str, without: tuple[str, ...] = ()) -> str:
    """Digest of the source that `modules` run: of its syntax trees without docstrings.

    Args:
      modules: dotted names, for instance "trainer.run_fn". Data files (weights) are not source:
        name their digest in a parameter of its own.
      without: modules that decide nothing of the result, such as those that draw it.

    Returns:
      The first 16 hexadecimal digits of a SHA-256 over names and trees.

    Raises:
      ValueError: a name is not a module of this project.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_closure(modules).items()):
        if name not in without:
            digest.update(f"{name}\0{_parsed(path.read_bytes())[1]}\0".encode())
    return digest.hexdigest()[:16]


@functools.cache
def _parsed(source: bytes) -> tuple[list[str], str]:
    """The names that a file imports, and its syntax tree.

    Without docstrings, comments, layout and line numbers.
    """
    tree = ast.parse(source)
    names: list[str] = []
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return names, ast.dump(tree)


def _closure(modules: tuple[str, ...]) -> dict[str, pathlib.Path]:
    found: dict[str, pathlib.Path] = {}
    waiting = list(modules)
    for name in modules:
        if _path(name) is None:
            raise ValueError(f"{name} is not a module of this project")
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if path is None or name in found:
            continue
        found[name] = path
        # A package's __init__ runs before its modules.
        waiting += [name.rpartition(".")[0], *_parsed(path.read_bytes())[0]]
    return found


def _path(module: str) -> pathlib.Path | None:
    if module.partition(".")[0] not in SOURCES:
        return None
    root = pathlib.Path(__file__).resolve().parent.parent
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def library_versions(node: str | None = None) -> dict[str, str]:
    """The installed version of Python and of each package that can change a result.

    Args:
      node: of what this node uses; of all for None and for a node of another pipeline.
    """
    versions = {"python": platform.python_version()}
    used = (*_EVERYWHERE, *_NODE_LIBRARIES[node]) if node in _NODE_LIBRARIES else _LIBRARIES
    for package in used:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
