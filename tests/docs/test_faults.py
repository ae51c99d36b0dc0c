"""The table of faults says what the program says."""

import ast
import pathlib
import re

from pipeline.provenance import SOURCES
from tests.conftest import REPOSITORY


def texts(*folders: pathlib.Path) -> str:
    """All string literals below `folders`, those in parts joined as Python joins them."""
    found = []
    for path in sorted(p for folder in folders for p in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.append("".join(parts))
    return "\n".join(found)


def test_what_the_table_of_faults_quotes_is_said_and_tested():
    page = (REPOSITORY / "docs" / "reference" / "faults.md").read_text()
    quoted = re.findall("“(.+?)”", page)
    assert len(quoted) > 20
    said = texts(*(REPOSITORY / package for package in SOURCES))
    tested = texts(REPOSITORY / "tests")
    assert [q for q in quoted if q not in said] == []
    assert [q for q in quoted if q not in tested] == []
