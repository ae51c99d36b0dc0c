"""Puts the sections together and writes the page: `build` for a workspace, `compare` for two runs.

What can't be read of a section is said in its place; the others are written all the same.
"""

import datetime
import json
import logging
import pathlib
from collections.abc import Callable

import jinja2

from common.files import write_atomically
from common.workspace import Workspace, model_name
from lineage import documents, graph
from lineage.store import Run, Store, open_store
from report import gather

COMPARISON_FILE = "compare.html"

_log = logging.getLogger(__name__)
_MOST_RUNS = 200  # in the history; `mnist-gan lineage runs` lists all


def build(workspace: Workspace) -> pathlib.Path:
    """Writes the report on everything in `workspace`.

    Returns:
      The page, `workspace.report`.

    Raises:
      FileNotFoundError: there was no run.
      OSError: the page can't be written.
    """
    store = open_store(workspace.metadata)
    rows = documents.runs(store, alive=workspace.is_locked(), limit=_MOST_RUNS)["runs"]
    if not rows:
        raise FileNotFoundError(f"there was no run in {workspace.root} yet")
    # The newest run that was judged; the newest of all where none was.
    subject = gather.Subject(store, next((row for row in rows if row["metrics"]), rows[0]))
    # What is served under the name of this run's model, rather than what was pushed last.
    if (name := model_name(subject.row["dataset"] or "")) in workspace.models():
        workspace = workspace.of_model(name)
    page = _template("report.html").render(
        newest=rows[0],
        run=subject.row,
        facts=subject.facts,
        verdict=_section(gather.verdict, subject, workspace),
        history=_section(gather.history, rows, subject),
        timeline=_section(gather.timeline, subject),
        lineage=_section(gather.lineage, store),
        data=_section(gather.data, subject),
        networks=_section(gather.networks, subject),
        training=_section(gather.training, subject),
        search=_section(gather.search, store),
        judge=_section(gather.judge, subject),
        serving=_section(gather.serving, workspace),
    )
    write_atomically(workspace.report, page)
    return workspace.report


def compare(workspace: Workspace, a: str, b: str) -> pathlib.Path:
    """Writes a page with two runs side by side.

    Args:
      workspace: where both ran.
      a, b: names of runs, the start of one, "latest", or versions as `version:N`.

    Returns:
      The page, `compare.html` beside `workspace.report`.

    Raises:
      FileNotFoundError: there was no run.
      NotFoundError: one of the runs is not there.
      OSError: the page can't be written.
    """
    store = open_store(workspace.metadata)
    alive = workspace.is_locked()
    subjects = [
        gather.Subject(store, documents.run_row(store, _run(store, name), alive)) for name in (a, b)
    ]
    sides = [
        {
            "name": name,
            "run": subject.row,
            "verdict": _section(gather.verdict, subject, workspace),
        }
        for name, subject in zip("AB", subjects, strict=True)
    ]
    comparison = _section(gather.comparison, store, *subjects)
    page = _template("compare.html").render(sides=sides, comparison=comparison)
    path = workspace.report.with_name(COMPARISON_FILE)
    write_atomically(path, page)
    return path


def _run(store: Store, name: str) -> Run:
    """The run of this name, or the one that pushed a version."""
    kind, _, number = name.partition(":")
    if kind != "version":
        return documents.find_run(store, name.removeprefix("run:"))
    pushed = documents.find_version(store, number)
    maker = graph.trace(store, [pushed.id], depth=1).producers[pushed.id]
    return documents.find_run(store, store.place_of(maker)[1] or "")


def _section(make: Callable[..., object], *arguments: object) -> dict:
    """What a section shows, or why there is nothing to show: one part never spoils the others."""
    try:
        return {"content": make(*arguments), "missing": None}
    except gather.MissingError as error:
        return {"content": None, "missing": str(error)}
    except Exception as error:
        _log.warning("a section of the report could not be made", exc_info=True)
        return {"content": None, "missing": f"{type(error).__name__}: {error}"}


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number, share=_share, when=_when, duration=_duration, brief=_brief
    )
    return environment.get_template(name)


# ---------------------------------------------------------------------------------------------
# Filters


def _number(value: object) -> str:
    """Four significant digits, thousands apart."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _share(value: float) -> str:
    return f"{100 * value:.4g} %"


def _when(value: str) -> str:
    """A time of ML Metadata in words, in this machine's zone."""
    then = datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone()
    return then.strftime("%Y-%m-%d %H:%M")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _brief(value: object) -> str:
    """A fact of any kind, in one line."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_brief(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_brief(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)
