"""Pages of the documentation that MkDocs makes from the code and from documents elsewhere.

`mkdocs.yml` names this file as a hook. Each build makes the pages again, so they say what the code
says. Imports neither TensorFlow nor TFX.
"""

import pathlib
import re

import click
from mkdocs.structure.files import File, Files

from judge.registry import METRICS
from pipeline import configs
from pipeline.cli import main
from trainer.training_config import MODELS

ROOT = pathlib.Path(__file__).resolve().parent.parent


def on_files(files: Files, config) -> Files:
    """MkDocs' event: adds the generated pages to those in docs/."""
    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    """MkDocs' event: a link to the document that a page is made from becomes one to the page."""
    return re.sub(r"\(((?:\.\./)*)\.\./benchmarks/README\.md", r"(\1figures.md", markdown)


def pages() -> dict[str, str]:
    """Path below docs/ to Markdown, for every generated page."""
    return {
        "reference/command-line.md": command_line(),
        "reference/settings.md": settings(),
        "reference/metrics.md": metrics(),
        "figures.md": _document("benchmarks/README.md"),
        "changelog.md": _document("CHANGELOG.md"),
        "contributing.md": _document("CONTRIBUTING.md"),
    }


def command_line() -> str:
    """Every command with what its `--help` says."""
    from serving.server import flags

    parts = [
        "# Command line",
        "`mnist-gan` (`python -m pipeline` is the same) is in `.venv/bin` after `make setup`.",
        "Exit codes: 0 done; 1 the pipeline, the judge or a check said no; 2 wrong usage or bad "
        "input. With `--json` one JSON document goes to stdout and everything else to stderr.",
    ]
    for path, command, context in _commands(main, click.Context(main, info_name="mnist-gan")):
        if path == "mnist-gan serve":  # its flags are TF Serving's, which click does not parse
            text = f"{command.help}\n\n{flags.usage()}"
        else:
            text = command.get_help(context)
        text = text.replace("\b\n", "").strip()
        parts += [f"## {path}", f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def _commands(command: click.Command, context: click.Context):
    context.terminal_width = context.max_content_width = 96
    yield context.command_path, command, context
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(child, click.Context(child, info_name=name, parent=context))


def settings() -> str:
    """Every setting: what it takes, its value in each preset, what it is for."""
    parts = [
        "# Settings",
        "`mnist-gan run --set NAME=VALUE` changes a setting; values are JSON, or plain text. "
        "`mnist-gan run --settings` lists those of a run with their values. A preset is a set of "
        "values; where one value stands for all three presets, it is given once.",
    ]
    by_preset = {preset: _rows(preset, "cdcgan") for preset in configs.PRESETS}
    titles = {
        "": "Seed",
        "data": "Data",
        "training": "Training (model `cdcgan`)",
        "judge": "Judge",
        "validation": "GeneratorValidator",
    }
    for section, title in titles.items():
        rows = [row for row in by_preset["standard"].values() if row["section"] == section]
        parts += [f"## {title}", _table(rows, by_preset)]
    for model in MODELS:
        if model == "cdcgan":
            continue
        mine = {preset: _rows(preset, model) for preset in configs.PRESETS}
        rows = [
            row
            for name, row in mine["standard"].items()
            if row["section"] == "training"
            and any(mine[p][name] != by_preset[p].get(name) for p in configs.PRESETS)
        ]
        parts += [
            f"## Training: what differs with `model={model}`",
            "A setting that a model does not use is refused.",
            _table(rows, mine),
        ]
    return "\n\n".join(parts) + "\n"


def _rows(preset: str, model: str) -> dict[str, dict[str, str]]:
    # A blank folder is none: the page must not depend on the machine that makes it.
    found = configs.describe(configs.load(preset, {"model": model, "data_dir": ""}))
    return {row["name"]: row for row in found}


def _table(rows: list[dict], by_preset: dict[str, dict]) -> str:
    lines = ["| setting | takes | default | meaning |", "| --- | --- | --- | --- |"]
    for row in rows:
        values = {preset: by_preset[preset][row["name"]]["value"] for preset in configs.PRESETS}
        if len(set(values.values())) == 1:
            default = f"`{row['value']}`" if row["value"] else "empty"
        else:
            default = "<br>".join(f"{preset} `{value}`" for preset, value in values.items())
        cells = [f"`{row['name']}`", row["takes"], default, row["description"]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def metrics() -> str:
    """Every metric of the judge with its thresholds."""
    lines = [
        "# Metrics",
        "",
        'A threshold is the most, or the least, that is accepted; "x real" means: of the value '
        "over that of real images. Each is a setting, `max_KEY` or `min_KEY` "
        "(`--set max_relative_fid=3`). `smoke` has none. `digits` are scikit-learn's, 1,797 of "
        "them, by thresholds that were set by judgement. All other data is judged by MNIST's, "
        "widened by what its own held-out images score beside MNIST's (the last column): see What "
        "the judge measures. Of unconditional generators and of data without classes, metrics of "
        "classes are left out.",
        "",
        "| metric | what | standard | quality | digits | held-out MNIST |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for metric in METRICS:
        thresholds = [
            "" if value is None else f"{value:g}" + (" x real" if metric.relative else "")
            for value in (*metric.thresholds, metric.held_out)
        ]
        thresholds = thresholds if metric.thresholds else [""] * 4
        what = f"{metric.title.strip()}. {metric.about}"
        lines.append(f"| `{metric.key}` | {what} | {' | '.join(thresholds)} |")
    return "\n".join(lines) + "\n"


def _document(path: str) -> str:
    """A document of the repository as a page in the root of docs/, its links made to fit.

    Links into docs/ stay links; those to other files of the repository become plain names.
    """
    folder = pathlib.PurePosixPath(path).parent

    def relink(match: re.Match) -> str:
        text, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        parts: list[str] = []
        for part in (folder / target).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        if parts[:1] == ["docs"]:
            return f"[{text}]({'/'.join(parts[1:])})"
        return f"{text} (`{'/'.join(parts)}`)" if text != "/".join(parts) else f"`{text}`"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", relink, (ROOT / path).read_text())
