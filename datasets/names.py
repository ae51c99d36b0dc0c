"""Which data sets TFDS has, read from its files: to import it takes ten seconds."""

import difflib
import functools
import importlib.util
import os
import pathlib
import re
from collections.abc import Collection

from datasets.data_config import FOLDER_PREFIX

_CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)
_NO_DATA_SETS = ("core", "proto", "scripts", "testing")


def misspelt(name: str) -> str:
    """What is wrong with the name of a data set that does not exist; "" where it may exist.

    Args:
      name: as `--dataset` takes it: "auto", "mnist", "emnist/letters", "mnist:3.0.1".
    """
    base = re.split("[/:]", name)[0]
    if name.startswith(FOLDER_PREFIX) or base in ("auto", "mnist", "digits") or not name:
        return ""
    if base in _on_disk():
        return ""
    return unknown(name, _on_disk())


def unknown(name: str, known: Collection[str]) -> str:
    """The message about a name that is none of `known`, with those that are nearest to it."""
    if os.path.isdir(os.path.expanduser(name)):
        return f"{name} is a folder: say --dataset {FOLDER_PREFIX}{name} for its images"
    base = re.split("[/:]", name)[0]
    near = [repr(name) for name in difflib.get_close_matches(base, sorted(known), n=3)]
    hint = (
        f"did you mean {' or '.join(near)}?" if near else "try 'mnist', 'fashion_mnist', 'digits'"
    )
    return f"there is no data set called {base!r} in TFDS: {hint}"


@functools.cache
def _on_disk() -> frozenset[str]:
    """Names of all classes in TFDS's and our own builders: every data set, and a few things more.

    TFDS names a data set after its class, in snake case, or after its folder.
    """
    spec = importlib.util.find_spec("tensorflow_datasets")
    folders = [pathlib.Path(__file__).parent]
    folders += map(pathlib.Path, (spec and spec.submodule_search_locations) or ())
    found = {path.name for folder in folders for path in folder.glob("datasets/*/")}
    for folder in folders:
        for path in folder.rglob("*.py"):
            if path.relative_to(folder).parts[0] not in _NO_DATA_SETS and "_test" not in path.stem:
                found.update(map(_snake, _CLASS.findall(path.read_text("utf-8", "replace"))))
    return frozenset(found)


def _snake(name: str) -> str:
    """As TFDS does it: FashionMNIST is fashion_mnist."""
    name = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", name).lower()
