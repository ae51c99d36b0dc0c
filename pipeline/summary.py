"""What a run or an evaluation came to, as lines for a terminal, with ANSI styles.

Needs neither rich nor TensorFlow: a command that only reads uses it.
"""

import pathlib
from collections.abc import Iterator, Sequence

from click import style

from common import terminal
from common.workspace import Workspace
from judge.registry import BY_KEY, HEADLINES
from pipeline import options

MARKS = {
    "COMPLETE": style("✓", "green"),
    "CACHED": style("=", "cyan"),
    "FAILED": style("✗", "red"),
    "NOT_RUN": style("·", dim=True),
    "RUNNING": style("…", "yellow"),
}
MOST_TRIALS = 10
MOST_NAMES = 20  # of files that were left out


def run(document: dict, columns: int | None = None, *, nodes: bool = True) -> Iterator[str]:
    """The document of `lineage.documents.status`.

    Args:
      document: of the run.
      columns: of the terminal; default: those that it has.
      nodes: whether to list the nodes; at the end of a run each has had its line.
    """
    if nodes:
        yield f"run {document['run_id']}"
        rows = [("", "node", "state", "s")]
        for node in document["nodes"]:
            seconds = "" if node["seconds"] is None else f"{node['seconds']:.1f}"
            state = node["state"].lower().replace("_", " ")
            rows.append((MARKS.get(node["state"], "?"), node["id"], state, seconds))
        yield from terminal.table(rows, right={3}, whole={1}, columns=columns)
        for node in document["nodes"]:
            if node["error"]:
                yield ""
                yield style(f"{node['id']}: {node['error']}", "red")
    yield ""
    yield from terminal.facts({"": _facts(document)}, columns)
    if document["search"]:
        yield ""
        yield from _search(document["search"], columns)


def _facts(document: dict) -> Iterator[tuple[str, str]]:
    yield "data set", document["dataset"]
    if document["dataset_note"]:
        yield "", document["dataset_note"]
    yield "preset", str(document["preset"])
    stopped = " (stopped)" if document.get("stopped") else ""
    took = f" in {duration(document['seconds'])}" if document["seconds"] else ""
    yield "state", document["state"] + stopped + took
    metrics = document["metrics"] or {}
    for metric in [BY_KEY[key] for key in HEADLINES if key in metrics]:
        yield metric.title, f"{metrics[metric.key]:{metric.format}}"
    if document["blessed"] is not None:
        word = style("blessed", "green") if document["blessed"] else style("not blessed", "red")
        if document["blessed"] and document["preset"] == "smoke":
            word = "smoke test passed, not for use"
        yield "verdict", word
        if document["blessing_reason"]:
            yield "", document["blessing_reason"]
    if document["infra_blessed"] is not None:
        yield (
            "can be served",
            style("yes", "green") if document["infra_blessed"] else style("no", "red"),
        )
        if not document["infra_blessed"] and document["infra_blessing_reason"]:
            yield "", document["infra_blessing_reason"]
    if document["pushed_version"] is not None:
        note = " (rolled back)" if document["rolled_back"] else ""
        yield "pushed version", f"{document['pushed_version']}{note}"
        yield "pushed to", str(document["pushed_path"])
    elif document["blessed"] and document["infra_blessed"] and document["push_reason"]:
        yield "pushed", document["push_reason"]


def _search(search: dict, columns: int | None) -> Iterator[str]:
    """The best trainings of a search for settings."""
    trials = search["trials"]
    names = list(trials[0]["settings"])
    rows = [
        (
            *(str(trial["settings"][name]) for name in names),
            f"{trial['steps']:,}",
            f"{trial['cpu_seconds']:,.1f}",
            "not finite" if trial["fid"] is None else f"{trial['fid']:,.2f}",
        )
        for trial in trials[:MOST_TRIALS]
    ]
    right = {len(names) + i for i in range(3)}
    yield from terminal.table(
        [(*names, "steps", "CPU s", "FID"), *rows], right=right, columns=columns
    )
    if len(trials) > MOST_TRIALS:
        yield f"and {len(trials) - MOST_TRIALS} trainings more, which the report and --json show"


def following(document: dict, workspace: Workspace, asked: Sequence[str] = ()) -> Iterator[str]:
    """Where to go from here: the report, and commands for what was pushed.

    After a search, a run with the same settings: `asked` are those of its command line.
    """
    steps = [("report", str(workspace.report))] if workspace.report.is_file() else []
    if document["pushed_version"] is not None:
        serve = options.command(workspace, "serve")
        steps += [
            ("draw", options.command(workspace, "generate", "--out", "digits.png")),
            ("serve", f"{serve}   # and a playground on http://127.0.0.1:8501/"),
        ]
    if document["search"]:
        words = [*asked, "--set", "hyperparameters=latest"]
        steps.append(("train", options.command(workspace, "run", *words)))
    if steps:
        yield ""
        yield "Next"
    for name, step in steps:  # whole lines, which can be copied
        yield f"  {name:<8} {step}"


def digits(sheet: pathlib.Path, columns: int) -> Iterator[str]:
    """One image of each class in shades of grey, two pixels a character; a terminal of 256 colours.

    Args:
      sheet: the judge's samples, ten images of a class in a row.
      columns: of the terminal.
    """
    from PIL import Image

    from judge import plots

    small = 14  # pixels, of which a character shows two
    drawn = [one.resize((small, small), Image.Resampling.BOX) for one in plots.first_column(sheet)]
    many = max(1, min(len(drawn), (columns + 1) // (small + 1), 10))
    many = -(-len(drawn) // -(-len(drawn) // many))  # rows of the same length
    for start in range(0, len(drawn), many):
        yield ""
        for y in range(0, small, 2):
            yield " ".join(
                "".join(
                    f"\x1b[38;5;{_grey(one, x, y)};48;5;{_grey(one, x, y + 1)}m▀"
                    for x in range(small)
                )
                + "\x1b[0m"
                for one in drawn[start : start + many]
            )


def _grey(image, x: int, y: int) -> int:
    """The nearest of the 24 greys of a terminal's 256 colours."""
    return 232 + round(image.getpixel((x, y)) * 23 / 255)


def evaluation(
    document: dict,
    rows: list[tuple[str, str, str]],
    out: str | None = None,
    columns: int | None = None,
) -> Iterator[str]:
    """What `mnist-gan evaluate` found.

    Args:
      document: of `evaluate`.
      rows: metric, value and what it is to be read by.
      out: folder of the images, if any were drawn.
      columns: of the terminal; default: those that it has.
    """
    target, data, extractor = document["target"], document["data"], document["extractor"]
    count, given = target["count"], target["given"]
    of_all = "" if count == given else f" of {given:,} (there are no more train images)"
    yield (
        f"{target['path']}: {count:,} images{of_all} against the {document['num_reference']:,} of "
        f"the test split of {data['dataset']} {data['dataset_version']}"
    )
    yield f"features: {extractor['name']}, sha256 {extractor['digest'][:12]}"
    if held_out := document.get("held_out"):
        count = held_out["count"]
        yield f"thresholds: MNIST's, widened by what {count:,} held-out real images score"
    yield ""
    yield from terminal.table([("metric", "value", ""), *rows], right={1}, columns=columns)
    for sentence in target.get("assumed", ()):
        yield f"assumed: {sentence}"
    unreadable = target["unreadable"]
    if unreadable:
        yield ""
        yield style(f"left out, {len(unreadable):,} of {given + len(unreadable):,}:", "red")
        for name, why in list(unreadable.items())[:MOST_NAMES]:
            yield style(f"  {name}: {why}", "red")
        if len(unreadable) > MOST_NAMES:
            yield style(f"  and {len(unreadable) - MOST_NAMES:,} more; --json names all", "red")
    if out:
        yield ""
        yield f"images and evaluation.json: {out}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
