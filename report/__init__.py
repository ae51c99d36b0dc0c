"""The report: one HTML page of what the pipeline found, made from ML Metadata and artifacts.

    import report

    report.build(workspace)              # -> workspace/report/index.html
    report.build_after_run(workspace)    # the same, but never raises
    report.compare(workspace, "latest", "2026-11-21")

Reads only; needs neither TensorFlow nor TFX.
"""

import logging
import pathlib

from common.workspace import Workspace

_log = logging.getLogger(__name__)


def build(workspace: Workspace) -> pathlib.Path:
    """Writes the report on everything in `workspace`.

    What can't be read of a section is said in its place; the others are written all the same.

    Returns:
      The page, `workspace.report`.

    Raises:
      FileNotFoundError: there was no run.
      OSError: the page can't be written.
    """
    from report import pages

    return pages.write_report(workspace)


def build_after_run(workspace: Workspace) -> pathlib.Path | None:
    """`build` for the end of a run: whatever goes wrong is logged, for the run itself went well."""
    try:
        return build(workspace)
    except Exception:
        _log.warning("the report could not be written", exc_info=True)
        return None


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
    from report import pages

    return pages.write_comparison(workspace, a, b)
