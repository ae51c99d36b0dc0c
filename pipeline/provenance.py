"""What produced a result: the source that ran and the versions it ran on.

TFX's cache key covers a component's class name and its parameters, not its code. Each node
therefore gets, as a parameter, the hash of the source that it runs: the module it enters through
and every module of this project that is imported from there, directly or not. An edit re-executes
the nodes whose code it changed and what lies behind them, and nothing else.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import pathlib
import platform

ROOMS = (
    *("common", "components", "datasets", "judge", "lineage"),
    *("metrics", "pipeline", "report", "serving", "trainer"),
)

PACKAGES = (
    "tfx",
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "tensorflow-transform",
    "tensorflow-data-validation",
    "apache-beam",
    "ml-metadata",
    "numpy",
)


def source_hash(*modules: str) -> str:
    """Digest of the source files that `modules` run.

    Args:
      modules: dotted names, for instance "trainer.run_fn". Data files (weights) are not source:
        name their digest in a parameter of its own.

    Returns:
      The first 16 hexadecimal digits of a SHA-256 over names and contents.

    Raises:
      ValueError: a name is not a module of this project.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_closure(modules).items()):
        digest.update(f"{name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


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
        waiting += [name.rpartition(".")[0], *_imports(path)]
    return found


def _imports(path: pathlib.Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _path(module: str) -> pathlib.Path | None:
    if module.partition(".")[0] not in ROOMS:
        return None
    root = pathlib.Path(__file__).resolve().parent.parent
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def library_versions() -> dict[str, str]:
    """The installed version of Python and of each package that can change a result."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
