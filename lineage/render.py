"""The documents of the lineage for people: trees and tables in a terminal, Mermaid, Graphviz.

Every function gives lines with ANSI styles; `click.echo` drops the styles where nobody sees them.
"""

import collections
import json
import re
from collections.abc import Iterator

from click import style

from common import terminal
from lineage import documents

_STATE_COLORS = {
    "COMPLETE": "green",
    "CACHED": "cyan",
    "RUNNING": "yellow",
    "FAILED": "red",
    "CANCELED": "red",
}
_LONGEST_VALUE = 300
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")


def runs(document: dict) -> Iterator[str]:
    """One line per run, and the errors below."""
    rows = [("run", "state", "data", "FID", "relative FID", "blessed", "version", "seconds")]
    for run in document["runs"]:
        blessed = {True: style("yes", "green"), False: style("no", "red"), None: ""}
        seconds = "" if run["seconds"] is None else f"{run['seconds']:.1f}"
        metrics = (_number(run["metrics"].get(name)) for name in ("fid", "relative_fid"))
        named = run["run"], _state(run["state"]), run["dataset"] or ""
        version = str(run["pushed_version"] or "")
        rows.append((*named, *metrics, blessed[run["blessed"]], version, seconds))
    if len(rows) == 1:
        yield "no runs"
        return
    # On a narrow terminal FID goes first: relative FID says it better.
    yield from terminal.table(rows, right={3, 4, 6, 7}, whole={0, 6}, drop=(3, 7, 1, 2))
    for run in document["runs"]:
        if run["error"]:
            yield style(f"{run['run']} failed: {run['error']}", "red")


def trace(document: dict) -> Iterator[str]:
    """The lineage as a tree, and the origin in short."""
    for root in document["roots"]:
        yield from _tree(document, root)
    if document["origin"]:
        yield ""
        yield style("Where it comes from", bold=True)
        yield from _origin(document["origin"])


def _tree(document: dict, root: int) -> Iterator[str]:
    """One artifact above what it comes from, or what came of it.

    What is met a second time is named and not repeated.
    """
    up = document["direction"] == "up"
    artifacts = {artifact["id"]: artifact for artifact in document["artifacts"]}
    executions = {execution["id"]: execution for execution in document["executions"]}
    seen: set[int] = set()

    def branches(artifact: dict) -> Iterator[tuple[str, Iterator]]:
        again = collections.defaultdict(list)  # executions met before, by node
        for i in [artifact["producer"]] if up else artifact["consumers"]:
            if i in seen:
                again[executions[i]["node"]].append(i)
            elif i in executions:
                seen.add(i)
                line = _execution_line(executions[i], artifact if up else None)
                yield line, twigs(executions[i])
        for node, ids in again.items():
            which = f"execution {ids[0]}" if len(ids) == 1 else f"{len(ids)} executions"
            yield style(f"{node} ({which}), see above", dim=True), iter(())
        if omitted := artifact["consumers_omitted"]:
            yield style(f"and {omitted} older executions (--limit 0 shows all)", dim=True), iter(())

    def twigs(execution: dict) -> Iterator[tuple[str, Iterator]]:
        for note in _execution_notes(document, execution, artifacts):
            yield note, iter(())
        channels = execution["inputs" if up else "outputs"].values()
        for i in dict.fromkeys(i for ids in channels for i in ids):
            if i in artifacts and i not in execution["references"]:
                yield _artifact_line(artifacts[i]), branches(artifacts[i])

    columns = terminal.width()
    yield from terminal.fold(_artifact_line(artifacts[root]), columns, following="│ ")
    yield from _grow(branches(artifacts[root]), columns, 4 if columns >= 100 else 2)


def _grow(branches: Iterator[tuple[str, Iterator]], columns: int, step: int) -> Iterator[str]:
    """The lines of a tree that is `columns` wide; each level is `step` to the right."""
    branch = next(branches, None)
    while branch is not None:
        line, twigs = branch
        # What a twig shows depends on what was shown before it: draw it before looking further.
        below = list(_grow(twigs, columns - step, step))
        following = next(branches, None)
        start = ("├" if following else "└") + "─" * (step - 2) + " " * (step > 2)
        rest = ("│" if following else " ").ljust(step)
        first, *others = terminal.fold(line, columns - step)
        yield start.ljust(step) + first
        for text in others:
            yield rest + ("│ " if below else "  ") + text
        for twig in below:
            yield rest + twig
        branch = following


def _artifact_line(artifact: dict) -> str:
    parts = [style(f"{artifact['type']} {artifact['id']}", bold=True), artifact["summary"]]
    if artifact["state"] not in ("LIVE", "UNKNOWN"):
        parts.append(style(artifact["state"].lower(), "red"))
    return "  ".join(part for part in (*parts, style(artifact["uri"], dim=True)) if part)


def _execution_line(execution: dict, made: dict | None) -> str:
    parts = [
        f"{style(execution['node'], 'magenta')} (execution {execution['id']})",
        _state(execution["state"], execution["state"].lower()),
        execution["started"],
    ]
    if execution["seconds"] is not None:
        parts.append(f"{execution['seconds']:.1f} s")
    if made and made["reused"]["count"]:
        reuse = f"reused {made['reused']['count']}x from the cache"
        if last := made["reused"]["newest"][0]["run"]:
            reuse += f", last in {last}"
        parts.append(style(reuse, "cyan"))
    return "  ".join(parts)


def _execution_notes(document: dict, execution: dict, artifacts: dict[int, dict]) -> Iterator[str]:
    if execution["error"]:
        yield style(execution["error"], "red")
    for i in execution["references"]:
        yield style(f"compared with {_named(artifacts[i], ' ({})')}", dim=True)
    if document["direction"] == "up":
        made = [artifacts[i] for ids in execution["outputs"].values() for i in ids]
        beside = [_named(artifact, " ({})") for artifact in made if not artifact["on_path"]]
        if beside:
            yield style("made besides: " + ", ".join(beside), dim=True)


def _named(artifact: dict, summary: str) -> str:
    """Type and id of an artifact, and its summary where it has one, as `summary` frames it."""
    more = summary.format(artifact["summary"]) if artifact["summary"] else ""
    return f"{artifact['type']} {artifact['id']}{more}"


def _origin(origin: dict) -> Iterator[str]:
    return _sections(
        {
            "data": {**origin["data"], "note": origin["dataset_note"]},
            "settings": {
                "preset": origin["preset"],
                "seed": origin["seed"],
                # TFX's own components write down their private switches too.
                **{k: v for k, v in origin["config"].items() if "._" not in k},
            },
            "source": origin["source"],
            "versions": origin["versions"],
            "metrics": origin["metrics"],
            "verdict": origin["verdict"],
            "run": {run["run"]: f"started {run['started']}" for run in origin["runs"]},
        }
    )


def show(document: dict) -> Iterator[str]:
    """Every field of what was asked for."""
    for match in document["matches"]:
        title = match.get("node") or match.get("type") or match["run"]
        yield style(f"{match['kind']} {match.get('id', '')} {title}", bold=True)
        fields = {k: v for k, v in match.items() if k not in ("kind", "executions")}
        plain = {k: v for k, v in fields.items() if not isinstance(v, dict)}
        nested = {k: documents.flatten(v) for k, v in fields.items() if isinstance(v, dict)}
        yield from _sections({"": plain, **nested}, longest=2000)
        for execution in match.get("executions", ()):
            yield _execution_line(execution, None)
            if execution["error"]:
                yield "  " + style(execution["error"], "red")
        yield ""


def diff(document: dict) -> Iterator[str]:
    """What differs, by section, and how much does not."""
    yield f"A  {document['a']}"
    yield f"B  {document['b']}"
    yield ""
    rows = [("", "", "A", "B")]
    for section, content in document["sections"].items():
        title = style(section, bold=True)
        for row in content["different"]:
            a, b = (_DIGEST.sub(r"\1…", _short(row[side], 80)) for side in "ab")
            rows.append((title, row["name"], a, b))
            title = ""
        if not content["different"]:
            rows.append((title, style(f"all {content['same']} the same", dim=True), "", ""))
    yield from terminal.table(rows)


def verify(document: dict) -> Iterator[str]:
    """Each file that is not what it was, and what was compared."""
    for problem in document["problems"]:
        yield (
            f"{style(problem['problem'], 'red')}  {problem['kind']} {problem['id']} "
            f"({problem['type']})  {style(problem['path'], dim=True)}"
        )
    count = len(document["problems"])
    verdict = style(f"{count} {'problem' if count == 1 else 'problems'}", "red")
    yield (
        f"{document['files']} files of {document['artifacts']} artifacts and "
        f"{document['versions']} served versions compared: "
        + (style("all as recorded", "green") if document["ok"] else verdict)
    )
    for key, words in (
        ("unrecorded", "have no recorded digest: only their presence was checked"),
        ("elsewhere", "lie outside of the workspace or of this machine and were not checked"),
        ("abandoned", "found altered by a run, which made them again"),
    ):
        if document[key]:
            names = ", ".join(f"{what['type']} {what['id']}" for what in document[key][:6])
            more = ", ..." if len(document[key]) > 6 else ""
            yield style(f"{len(document[key])} {words}", "yellow") + f" ({names}{more})"


def stale(document: dict) -> Iterator[str]:
    """What is stale, kind by kind."""
    for execution in document["running"]:
        claim = "does not run any more" if document["certain"] else "claims to run"
        yield (
            f"{style(execution['node'], 'yellow')} (execution {execution['id']}) {claim}; "
            f"began {execution['started']} in run {execution['run']}"
        )
    for artifact in document["missing"]:
        yield f"{style('files gone', 'red')}  {_artifact_line(artifact)}"
    for artifact in document["unreferenced"]:
        yield f"{size(artifact['bytes']):>10}  unused  {_artifact_line(artifact)}"
    for folder in document["folders"]:
        yield f"{size(folder['bytes']):>10}  made by a run that ended early  {folder['path']}"
    count = len(document["unreferenced"]) + len(document["folders"])
    yield (
        f"{count} unused ({size(document['bytes'])}), {len(document['missing'])} without files, "
        f"{len(document['running'])} claiming to run"
    )


# Graphs


def mermaid(document: dict) -> Iterator[str]:
    """A trace as a Mermaid flowchart: artifacts round, executions square."""
    yield "flowchart TD"
    for kind, item in _graph_nodes(document):
        text = _graph_label(kind, item, "<br/>").replace('"', "#quot;")
        left, right = ("([", "])") if kind == "artifact" else ("[", "]")
        yield f'    {kind[0]}{item["id"]}{left}"{text}"{right}:::{kind}'
    for start, end, key, reference in graph_edges(document):
        arrow = "-.->" if reference else "-->"
        yield f"    {start} {arrow}|{key}| {end}" if key else f"    {start} {arrow} {end}"
    yield "    classDef artifact fill:#e8f1fb,stroke:#3b6ea5,color:#12263a"
    yield "    classDef execution fill:#f6efe2,stroke:#a5803b,color:#3a2d12"


def dot(document: dict) -> Iterator[str]:
    """A trace in Graphviz' language."""
    yield "digraph lineage {"
    yield '  node [fontname="Helvetica", style="filled"];'
    yield '  edge [fontname="Helvetica", fontsize=10];'
    for kind, item in _graph_nodes(document):
        shape, color = ("ellipse", "#e8f1fb") if kind == "artifact" else ("box", "#f6efe2")
        label = _quoted(_graph_label(kind, item, "\n"))
        yield f'  {kind[0]}{item["id"]} [label={label}, shape={shape}, fillcolor="{color}"];'
    for start, end, key, reference in graph_edges(document):
        dashed = ", style=dashed" if reference else ""
        yield f"  {start} -> {end} [label={_quoted(key)}{dashed}];"
    yield "}"


def graph_edges(document: dict) -> list[tuple[str, str, str, bool]]:
    """The arrows of a trace: from, to ("a1" an artifact, "e1" an execution), key, reference."""
    known = {artifact["id"] for artifact in document["artifacts"]}
    edges = []
    for execution in document["executions"]:
        name = f"e{execution['id']}"
        for key, ids in execution["inputs"].items():
            for i in known.intersection(ids):
                edges.append((f"a{i}", name, key, i in execution["references"]))
        for key, ids in execution["outputs"].items():
            edges += [(name, f"a{i}", key, False) for i in known.intersection(ids)]
    return edges


def _graph_nodes(document: dict) -> Iterator[tuple[str, dict]]:
    yield from (("artifact", artifact) for artifact in document["artifacts"])
    yield from (("execution", execution) for execution in document["executions"])


def _graph_label(kind: str, item: dict, newline: str) -> str:
    if kind == "artifact":
        return _named(item, newline + "{}")
    seconds = "" if item["seconds"] is None else f" {item['seconds']:.1f} s"
    return f"{item['node']}{newline}{item['state'].lower()}{seconds}"


def _quoted(text: str) -> str:
    # Of JSON's escapes Graphviz knows these alone.
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# Layout


def size(count: int) -> str:
    """A number of bytes for people: 1.23 MB."""
    power = min(len(str(count)) - 1, 9) // 3
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def _state(state: str, text: str | None = None) -> str:
    return style(text or state, _STATE_COLORS.get(state))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _short(value: object, longest: int = _LONGEST_VALUE) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _sections(sections: dict[str, dict], longest: int = _LONGEST_VALUE) -> Iterator[str]:
    """Named groups of facts; empty ones are left out."""
    return terminal.facts(
        {
            style(title, bold=True): [
                (key, _short(value, longest))
                for key, value in group.items()
                if value not in (None, "", [], {})
            ]
            for title, group in sections.items()
        }
    )
