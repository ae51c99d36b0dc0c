"""Gathers what a report shows of one run: files of its artifacts, read into plain values.

Each function answers for one section and raises what its files raise; `pages` turns that into a
sentence in the section's place.
"""

import base64
import functools
import json
import math
import os
import pathlib
import urllib.parse
from collections.abc import Mapping

from common.contract import ASSETS_EXTRA
from common.images import (
    CONVERSIONS_FILE,
    DATA_SAMPLES_FILE,
    IMAGE_SHAPE,
    SPANS_FILE,
    describe_shape,
)
from common.text import parse_json
from common.transform_counts import VALUE_BINS, read_counts
from common.workspace import Workspace
from judge.registry import BY_KEY, HEADLINES
from judge.registry import rows as metric_rows
from lineage import documents, render
from lineage.store import Artifact, Store
from report import charts as draw
from report import drawing
from report.architecture import draw_network
from serving import versions

_MOST_FRAMES = 12
_SPLITS = ("train", "eval", "test")
_IMAGES = {
    "real_above_fake.png": "Real test images above, generated ones below, the same classes.",
    "worst_and_best.png": "The generated images farthest from any real test image (worst) and "
    "nearest to one (best).",
    "nearest_train.png": "The generated images nearest to a training image, each above that "
    "training image: copies would show here.",
    "nearest_distances.png": "How near generated images and real test images come to the training "
    "images.",
}
_LOSSES = {
    "d_loss": "discriminator",
    "g_loss": "generator",
    "d_loss_real": "on real",
    "d_loss_fake": "on generated",
}
# What is measured now and then while training; names go on with how many images, and which split.
_DURING = {"relative_fid_": "relative FID", "fid_": "FID", "accuracy_": "conditional accuracy"}
_ENDS = {"_low": "lower end of its interval", "_high": "upper end"}
_GRADIENTS = {"d_gradient_norm": "discriminator", "g_gradient_norm": "generator"}


class MissingError(LookupError):
    """A run left nothing for a section; the message says what."""


class Subject:
    """One run and the artifacts that it made or took from the cache."""

    def __init__(self, store: Store, row: dict):
        self.store = store
        self.row = row
        run = documents.find_run(store, row["run"])
        self.facts = run.properties
        self.executions = store.executions_of_run(run)
        events = store.events_of_executions([execution.id for execution in self.executions])
        made = store.artifacts({e.artifact for e in events if e.kind == "output"})
        self._made = sorted(made.values(), key=lambda artifact: artifact.id, reverse=True)

    def artifact(self, kind: str, of: str = "") -> Artifact | None:
        """The run's newest artifact of a type; `of`: one that has this property."""
        for artifact in self._made:
            if artifact.type == kind and (not of or of in artifact.properties):
                return artifact
        return None

    def folder(self, kind: str, of: str = "") -> pathlib.Path:
        """Where the files of that artifact lie.

        Raises:
          MissingError: the run made none, or it is gone.
        """
        artifact = self.artifact(kind, of)
        if artifact is None:
            raise MissingError(f"the run made no {kind}")
        path = self.store.path_of(artifact.uri)
        if path is None or not path.is_dir():
            place = _place(self.store, artifact.uri)
            raise MissingError(f"the files of {kind} {artifact.id} are not at {place}")
        return path

    def parameters(self, node: str) -> dict:
        """What a node of the run was told; {} if the run did not come to it."""
        for execution in self.executions:
            if self.store.place_of(execution.id)[0] == node:
                return execution.parameters
        return {}

    @functools.cached_property
    def evaluation(self) -> dict:
        """The judge's document; {} where there is none."""
        try:
            return parse_json((self.folder("ModelEvaluation") / "evaluation.json").read_text())
        except (MissingError, OSError, ValueError):
            return {}

    @property
    def metrics(self) -> dict[str, float]:
        """The judge's metrics."""
        measured = self.evaluation.get("metrics") or self.row["metrics"]
        return {k: v for k, v in measured.items() if isinstance(v, int | float)}


def _place(store: Store, uri: str) -> str:
    """Where an artifact lies now: of a workspace's, which may have moved, the path inside it."""
    path = store.path_of(uri)
    if path is None:
        return uri
    if store.home is not None and path.is_relative_to(store.home):
        return str(path.relative_to(store.home))
    return str(path)


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """Bytes as a data: address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image(path: pathlib.Path, caption: str) -> dict:
    """A PNG file for the page, with its size so that nothing jumps while it loads."""
    content = path.read_bytes()
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path} is no PNG file")
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    return {"src": data_uri(content), "width": width, "height": height, "caption": caption}


# ---------------------------------------------------------------------------------------------
# Sections


def verdict(subject: Subject, workspace: Workspace) -> dict:
    """What came out, on one screen."""
    row, found = subject.row, subject.evaluation
    served = versions.latest(workspace.serving)
    samples = None
    for kind in ("ModelEvaluation", "ModelBlessing"):
        try:
            samples = image(subject.folder(kind) / "samples.png", "Generated, ten in a row.")
            break
        except (MissingError, OSError):
            continue
    return {
        "blessed": row["blessed"],
        "reason": row["blessing_reason"],
        "infra_blessed": row["infra_blessed"],
        "infra_reason": row["infra_blessing_reason"],
        "forced": found.get("forced", False),
        "force_reason": found.get("force_reason"),
        "pushed_version": row["pushed_version"],
        "served": served,
        "preset": row["preset"],
        "metrics": _headlines(found),
        "protocol": found.get("protocol"),
        "num_fakes": found.get("num_fakes"),
        "num_reference": found.get("num_reference"),
        "checks": found.get("checks", []),
        "samples": samples,
        "data": _data_line(subject),
        "dataset_note": row["dataset_note"],
    }


def _headlines(found: Mapping) -> list[dict]:
    return [
        {"name": row.metric.title.strip(), "value": row.value, "text": row.text, "note": row.beside}
        for row in metric_rows(found)
        if row.metric.key in HEADLINES or row.metric.key in ("fid", "coverage")
    ]


def _data_line(subject: Subject) -> str:
    artifact = subject.artifact("Examples", "dataset")
    if artifact is None:
        return subject.row["dataset"] or "unknown"
    facts = artifact.properties
    counts = facts.get("split_counts") or {}
    parts = ", ".join(f"{counts[split]:,} {split}" for split in _splits(counts))
    return f"{artifact.summary}{': ' + parts if parts else ''}"


def _splits(by_split: Mapping) -> list[str]:
    """The splits in the order of their use."""
    return sorted(by_split, key=lambda s: (_SPLITS.index(s) if s in _SPLITS else len(_SPLITS), s))


def history(rows: list[dict], subject: Subject) -> dict:
    """All runs, oldest first in the drawings and newest first in the table."""
    charts = []
    thresholds = subject.evaluation.get("thresholds") or {}
    for key, name, factor in (("relative_fid", "relative FID", 1), ("cas", "CAS, %,", 100)):
        drawn = [
            {
                "name": row["run"],
                "value": row["metrics"][key] * factor if key in row["metrics"] else None,
                "interval": _relative_interval(row["metrics"]) if key == "relative_fid" else None,
                "blessed": row["blessed"],
                "pushed": row["pushed_version"] is not None,
            }
            for row in reversed(rows)
        ]
        threshold = thresholds.get(BY_KEY[key].setting)
        charts.append(
            draw.history(
                f"{name} of each run",
                drawn,
                y_label=name.partition(",")[0],
                threshold=None if threshold is None else threshold * factor,
            )
        )
    return {"charts": [chart for chart in charts if chart], "rows": rows}


def _relative_interval(metrics: Mapping[str, float]) -> tuple[float, float] | None:
    """The interval of relative FID, from the properties of a ModelEvaluation."""
    low, high = (metrics.get(f"relative_fid_interval_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def timeline(subject: Subject) -> dict:
    """When each node of the run worked."""
    ended = sorted(
        (e for e in subject.executions if e.seconds is not None), key=lambda e: e.created
    )
    if not ended:
        raise MissingError("no node of the run has ended")
    rows = [
        (
            subject.store.place_of(e.id)[0],
            (e.created - ended[0].created) / 1000,
            e.seconds or 0.0,
            e.state,
        )
        for e in ended
    ]
    return {"chart": draw.timeline("When each node ran", rows), "rows": rows}


def lineage(store: Store) -> dict:
    """How the newest version came to be, drawn."""
    try:
        root = documents.find_version(store, "latest")
    except documents.NotFoundError as error:
        raise MissingError(f"{error}, so there is no lineage to draw") from None
    document = documents.trace(store, [root.id])
    nodes = {}
    for kind, items in (("artifact", document["artifacts"]), ("execution", document["executions"])):
        for item in items:
            name = f"{kind[0]}{item['id']}"
            lines = [item["node"] if kind == "execution" else f"{item['type']} {item['id']}"]
            if kind == "execution":
                lines.append(f"{item['state'].lower()}, {item['seconds'] or 0:.1f} s")
            elif item["summary"]:
                lines.append(item["summary"])
            nodes[name] = {
                "lines": lines,
                "kind": kind if item.get("on_path", True) else "beside",
                "href": f"#node-{name}",
                "title": " · ".join(lines),
                "facts": _node_facts(store, item, kind),
            }
    drawn = drawing.graph(
        f"How version {root.pushed_version} came to be, data at the top, version at the bottom",
        nodes,
        render.graph_edges(document),
    )
    return {
        "version": root.pushed_version,
        "root": f"a{root.id}",
        "chart": drawn,
        "nodes": nodes,
        "origin": document["origin"],
    }


def _node_facts(store: Store, item: dict, kind: str) -> dict[str, str]:
    if kind == "artifact":
        facts = {"files": _place(store, item["uri"]), "made": item["created"], **item["properties"]}
        if pushed := facts.get("pushed_destination"):
            facts["pushed_destination"] = _place(store, pushed)
        if item["reused"]["count"]:
            facts["reused"] = f"{item['reused']['count']}x from the cache"
    else:
        facts = {
            "execution": item["id"],
            "run": item["run"],
            "began": item["started"],
            "seconds": item["seconds"],
            "class": item["type"],
            "error": item["error"],
            **item["parameters"],
        }
    flat = documents.flatten(facts)
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in flat.items()
        if value not in (None, "", "null", [], {}) and not key.startswith("content_")
    }


def data(subject: Subject) -> dict:
    """Real images, classes, pixels, anomalies."""
    artifact = subject.artifact("Examples", "dataset") or subject.artifact("Examples")
    if artifact is None:
        raise MissingError("the run made no Examples")
    facts = artifact.properties
    names = [str(name) for name in facts.get("class_names") or []]
    found = {
        "facts": {
            "data set": artifact.summary,
            **{
                f"{split} split": f"{facts['split_counts'][split]:,} examples, "
                f"{(facts.get('split_slices') or {}).get(split, '')}"
                for split in _splits(facts.get("split_counts") or {})
            },
            "images": describe_shape(tuple(facts.get("image_shape") or IMAGE_SHAPE)),
            "classes": facts.get("num_classes"),
            "fingerprint": facts.get("fingerprint"),
        },
        "checksums": facts.get("checksums") or {},
        "checksums_of": facts.get("checksums_of") or "files",
        "note": subject.row["dataset_note"],
        "near_duplicates": facts.get("near_duplicates"),
        "anomalies": _anomalies(subject),
    }
    first = "Real training images, the first of each class, one class per row."
    for key, part in (
        ("digits", lambda: image(subject.folder("Examples", "dataset") / DATA_SAMPLES_FILE, first)),
        ("conversions", lambda: _conversions(subject.folder("Examples", "dataset"))),
        ("labels", lambda: _label_chart(subject, names)),
        ("drift", lambda: _drift(subject)),
        ("pixels", lambda: _pixel_charts(subject)),
    ):
        try:
            found[key] = part()
        except FileNotFoundError as error:
            found[f"{key}_missing"] = f"{error.filename} is not there"
        except (MissingError, OSError, ValueError, KeyError) as error:
            found[f"{key}_missing"] = str(error)
    return found


def _anomalies(subject: Subject) -> list[str] | None:
    """One sentence per anomaly; None where ExampleValidator did not run."""
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    try:
        files = sorted(subject.folder("ExampleAnomalies").glob("Split-*/SchemaDiff.pb"))
    except MissingError:
        return None
    sentences = []
    for path in files:
        message = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        split = path.parent.name.removeprefix("Split-")
        for feature, info in sorted(message.anomaly_info.items()):
            sentences.append(f"{split}, {feature}: {info.description}")
        if message.HasField("dataset_anomaly_info"):
            sentences.append(f"{split}: {message.dataset_anomaly_info.description}")
    return sentences


def _conversions(folder: pathlib.Path) -> dict | None:
    """What was done to images of a folder; None where nothing was."""
    path = folder / CONVERSIONS_FILE
    caption = "Above images as their files have them, below as they are learnt from."
    return image(path, caption) if path.is_file() else None


def _label_counts(subject: Subject) -> dict[str, dict[str, int]]:
    """Images of each label by split: as DataGate counted them; StatisticsGen where it refused."""
    try:
        path = subject.folder("DataGateReport") / "data_gate.json"
        return parse_json(path.read_text())["label_counts"]
    except (FileNotFoundError, MissingError):
        folder = subject.folder("ExampleStatistics")
    from tensorflow_metadata.proto.v0 import statistics_pb2

    counts = {}
    for path in sorted(folder.glob("Split-*/FeatureStats.pb")):
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
        counts[path.parent.name.removeprefix("Split-")] = {
            bucket.label: int(bucket.sample_count)
            for feature in found.datasets[0].features
            if list(feature.path.step) == ["label"]
            for bucket in feature.string_stats.rank_histogram.buckets
        }
    return counts


def _label_chart(subject: Subject, names: list[str]) -> dict:
    """Shares of the classes in each split."""
    by_split = _label_counts(subject)
    labels = sorted({int(label) for counts in by_split.values() for label in counts})
    order = _splits(by_split)
    shown = [names[i] if i < len(names) else str(i) for i in labels]
    series = {}
    for split in order:
        total = sum(by_split[split].values()) or 1
        series[split] = [100 * by_split[split].get(str(i), 0) / total for i in labels]
    return {
        "chart": draw.bars(
            "Share of each class in each split, in per cent",
            shown,
            series,
            y_label="share, %",
            x_label="class",
        ),
        "columns": order,
        "table": [
            [name, *(by_split[s].get(str(i), 0) for s in order)]
            for name, i in zip(shown, labels, strict=True)
        ],
    }


def _drift(subject: Subject) -> dict | None:
    """How far each span of this data set was from the one before, as measured last."""
    store, rows = subject.store, {}
    for artifact in store.artifacts_of_type("SpanDrift"):
        row = artifact.properties
        if row.get("dataset") != subject.row["dataset"]:
            continue
        readers = [
            e.execution for e in store.events_of_artifacts([artifact.id]) if e.kind == "input"
        ]
        gates = list(store.executions(readers).values())
        asked = gates[-1].parameters if gates else {}
        limits = {}
        for kind in ("image", "label"):
            allowed = float(asked.get(f"max_{kind}_drift", 1))
            limits[f"{kind}_threshold"] = min(1.0, allowed + row[f"{kind}_chance"])
        path = store.path_of(artifact.uri)
        caption = f"Train images of span {row['before']} above, of span {row['span']} below."
        sheet = image(path / SPANS_FILE, caption) if path and path.is_dir() else None
        rows[row["span"]] = row | limits | {"sheet": sheet}
    if not rows:
        return None
    shown = [rows[span] for span in sorted(rows)]
    chart = draw.bars(
        "Drift of each span from the one before, in per cent of its threshold",
        [f"span {row['span']}" for row in shown],
        {
            name: [100 * row[f"{kind}_drift"] / row[f"{kind}_threshold"] for row in shown]
            for name, kind in (("images", "image"), ("class shares", "label"))
        },
        y_label="% of the threshold",
    )
    return {"chart": chart, "rows": shown[::-1]}


def _pixel_charts(subject: Subject) -> dict:
    """Grey levels before Transform and values after it, as Transform counted them."""
    counts = read_counts(subject.folder("TransformGraph"))
    bins: dict[float, float] = dict.fromkeys(range(0, 256, 8), 0)
    for level, count in counts.levels.items():
        bins[level // 8 * 8] += count
    width = 2 / VALUE_BINS
    after = {-1 + number * width: counts.values.get(number, 0) for number in range(VALUE_BINS)}
    return {
        "before": draw.histogram(
            "Pixels by grey level, before Transform", bins, x_label="grey level", y_label="pixels"
        ),
        "after": draw.histogram(
            "Pixels by value, after Transform",
            after,
            x_label="value",
            y_label="pixels",
            colour="third",
        ),
        "mean": counts.pixel_mean,
        "deviation": counts.pixel_standard_deviation,
    }


def networks(subject: Subject) -> list[dict]:
    """Drawings and tables of the networks."""
    tables = parse_json((subject.folder("ModelRun") / "networks.json").read_text())
    return [
        {
            "name": name,
            "parameters": table["parameters"],
            "trainable": table["trainable_parameters"],
            "layers": table["layers"],
            "chart": draw_network(
                f"The {name}: {len(table['layers'])} layers, {table['parameters']:,} parameters",
                table["layers"],
            ),
        }
        for name, table in tables.items()
    ]


def training(subject: Subject) -> dict:
    """Curves, the same latents through time, settings."""
    folder = subject.folder("ModelRun")
    records = read_history(folder)
    told = subject.parameters("Trainer").get("custom_config") or {}
    charts = [_curves(records, _LOSSES, "Losses while training", "loss")]
    for start, name in _DURING.items():
        for key in _keys(records, start):
            names = {key: name, **{f"{key}{end}": words for end, words in _ENDS.items()}}
            charts.append(_curves(records, names, f"{name} while training ({key})", name))
    for names, title, y_label in (
        (
            {"g_reconstruction": "generator"},
            "Squared distance of the fakes to the nearest real image of the batch",
            "reconstruction",
        ),
        (_GRADIENTS, "Norms of the gradients", "norm"),
        ({"images_per_second": "images/s"}, "Speed of training", "images/s"),
    ):
        charts.append(_curves(records, names, title, y_label))
    frames = sorted((folder / "samples").glob("step_*.png"))
    return {
        "charts": [chart for chart in charts if chart],
        "frames": [
            {**image(path, ""), "step": int(path.stem.removeprefix("step_"))}
            for path in _spread(frames, _MOST_FRAMES)
        ],
        # What a search found took the place of some.
        "settings": documents.flatten(told.get("training") or {})
        | (subject.facts.get("hyperparameters") or {}),
        "seed": told.get("seed"),
        "steps": records[-1]["step"] if records else None,
        "last": records[-1] if records else {},
    }


def search(store: Store) -> dict:
    """The newest search for settings: each setting tried as a line, each training as a row."""
    found = documents.search(store, store.artifacts_of_type("TunerResults"))
    if found is None:
        raise MissingError("nothing was searched")
    trials = found["trials"]
    first = {t["number"]: t for t in trials if t["round"] == 0 and t["fid"] is not None}
    numbers = sorted(first, key=lambda number: first[number]["fid"])
    names = list(trials[0]["settings"])
    axes: dict[str, list] = {n: [first[one]["settings"][n] for one in numbers] for n in names}
    axes["CPU s"] = [first[n]["cpu_seconds"] for n in numbers]
    axes["FID"] = [first[n]["fid"] for n in numbers]
    reached = {n: max(t["steps"] for t in trials if t["number"] == n) for n in numbers}
    shades = sorted(set(reached.values()))[-4:]
    colours: dict[str, list[int]] = {
        f"up to {steps:,} steps": [
            row for row, n in enumerate(numbers) if max(reached[n], shades[0]) == steps
        ]
        for steps in shades
    }
    steps = min(trial["steps"] for trial in trials)
    return {
        "model": found["model"],
        "chart": draw.parallel(
            f"Settings, CPU seconds and FID after {steps:,} steps, by how long each was trained",
            axes,
            colours,
        ),
        "steps": steps,
        "names": names,
        "trials": trials,
    }


def read_history(folder: pathlib.Path) -> list[dict[str, float]]:
    """The lines of a ModelRun's history, oldest first."""
    path = folder / "history.jsonl"
    return [parse_json(line) for line in path.read_text().splitlines() if line.strip()]


def _keys(records: list[dict], start: str) -> list[str]:
    keys = {key for record in records for key in record if key.startswith(start)}
    return sorted(key for key in keys if not key.endswith(tuple(_ENDS)))


def _curves(records: list[dict], names: Mapping[str, str], title: str, y_label: str):
    series = {
        label: [(r["step"], _value(r[key])) for r in records if key in r]
        for key, label in names.items()
        if any(key in record for record in records)
    }
    return draw.lines(title, series, x_label="step", y_label=y_label, log_y=True)


def _value(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _spread(items: list, count: int) -> list:
    """At most `count` of them, evenly, with the first and the last."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def judge(subject: Subject) -> dict:
    """What the judge saw."""
    found = subject.evaluation
    if not found:
        raise MissingError("the model of this run was not judged")
    folder = subject.folder("ModelEvaluation")
    images = []
    for name, caption in _IMAGES.items():
        if (folder / name).is_file():
            images.append(image(folder / name, caption))
    return {
        "images": images,
        "charts": class_charts(found) + _variety_chart(found),
        "metrics": found.get("metrics") or {},
        "baseline": found.get("baseline"),
        "extractor": found.get("extractor") or {},
        "protocol": found.get("protocol"),
        "seconds": found.get("seconds") or {},
        "classes": found.get("classes") or [],
    }


def class_charts(found: Mapping) -> list:
    """Bars by class: shares, accuracy."""
    classes = found.get("classes") or []
    if not classes:
        return []
    names = [str(item["name"]) for item in classes]

    def column(key: str, factor: float = 1.0) -> list[float | None]:
        values = [item.get(key) for item in classes]
        return [None if v is None or not math.isfinite(v) else v * factor for v in values]

    charts = [
        draw.bars(
            "Share of each class, in per cent",
            names,
            {"real": column("reference_share", 100), "generated": column("share", 100)},
            y_label="share, %",
            x_label="class that the classifier sees",
        ),
    ]
    accuracy = column("accuracy", 100)
    if any(value is not None for value in accuracy):  # else it is unconditional
        charts.insert(
            1,
            draw.bars(
                "Conditional accuracy by class, in per cent",
                names,
                {"real": column("reference_accuracy", 100), "generated": accuracy},
                y_label="conditional accuracy, %",
                x_label="class",
            ),
        )
    return charts


def _variety_chart(found: Mapping) -> list:
    """Precision, recall, density and coverage beside those of real images."""
    metrics = found.get("metrics") or {}
    names = [
        n for n in ("precision", "recall", "density", "coverage") if _is_number(metrics.get(n))
    ]
    if not names:
        return []
    real = [metrics.get(f"real_{name}") for name in names]
    series = {"real train": [value if _is_number(value) else None for value in real]}
    return [
        draw.bars(
            "Fidelity and variety, generated and real images",
            names,
            {**series, "generated": [metrics[name] for name in names]},
            y_label="value",
        )
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def serving(workspace: Workspace) -> dict:
    """The commands that use the newest version, filled in."""
    found = versions.list_versions(workspace.serving)
    if not found:
        raise MissingError("no version was pushed yet, so there is nothing to serve")
    newest = found[-1]
    model = newest.metadata.get("model", {})
    return {
        "version": newest.number,
        "card": _link(newest.path / ASSETS_EXTRA / "model_card.md", workspace.report.parent),
        "base": str(workspace.serving),
        "name": workspace.serving.name,
        "workspace": str(workspace.root),
        "others": [version.number for version in found[:-1]],
        # An unconditional generator takes no class, only -1.
        "labels": (model.get("conditional", True) and model.get("classes_present")) or [-1],
        "metrics": newest.metadata.get("metrics", {}),
    }


def _link(path: pathlib.Path, folder: pathlib.Path) -> str | None:
    """Address of a file for a page in `folder`; None where the file is not there."""
    if not os.path.isfile(path):  # or nobody may look
        return None
    return urllib.parse.quote(pathlib.PurePath(os.path.relpath(path, folder)).as_posix())


# ---------------------------------------------------------------------------------------------
# Two runs


def comparison(store: Store, a: Subject, b: Subject) -> dict:
    """Two runs side by side."""
    sides = {"A": a, "B": b}
    rows = []
    for key in dict.fromkeys([*a.metrics, *b.metrics]):
        pair = [side.metrics.get(key) for side in sides.values()]
        first, second = pair
        better = None
        direction = BY_KEY[key].direction if key in BY_KEY else 0
        spans = [side.evaluation.get("metrics", {}).get(f"{key}_interval") for side in (a, b)]
        if direction and first is not None and second is not None and not _overlap(pair, spans):
            better = "A" if (first - second) * direction > 0 else "B"
        rows.append({"name": key, "values": pair, "better": better})
    histories = {}
    for name, side in sides.items():
        try:
            histories[name] = read_history(side.folder("ModelRun"))
        except (MissingError, OSError, ValueError):
            histories[name] = []
    charts = []
    for key, title in (
        ("d_loss", "Discriminator loss"),
        ("g_loss", "Generator loss"),
        *((key, "FID while training") for key in _keys([*histories["A"], *histories["B"]], "fid_")),
    ):
        series = {
            name: [(r["step"], _value(r[key])) for r in records if key in r]
            for name, records in histories.items()
        }
        charts.append(
            draw.lines(f"{title} of both runs", series, x_label="step", y_label=title, log_y=True)
        )
    charts += _class_comparison(a.evaluation, b.evaluation)
    return {
        "metrics": rows,
        "charts": [chart for chart in charts if chart],
        "diff": documents.diff(store, f"run:{a.row['run']}", f"run:{b.row['run']}")["sections"],
    }


def _overlap(pair: list, intervals: list) -> bool:
    """Whether two values can't be told apart: their intervals meet, or they are equal."""
    (low, high), (other_low, other_high) = (
        (value, value) if interval is None else interval
        for value, interval in zip(pair, intervals, strict=True)
    )
    return low <= other_high and other_low <= high


def _class_comparison(a: Mapping, b: Mapping) -> list:
    classes = [{str(c["name"]): c for c in found.get("classes") or []} for found in (a, b)]
    names = list(dict.fromkeys([*classes[0], *classes[1]]))
    series = {}
    for side, found in zip("AB", classes, strict=True):
        values = [found.get(name, {}).get("accuracy") for name in names]
        series[side] = [None if v is None else 100 * v for v in values]
    if all(v is None for values in series.values() for v in values):
        return []
    label = "conditional accuracy, %"
    return [draw.bars(f"{label}, by class", names, series, y_label=label, x_label="class")]
