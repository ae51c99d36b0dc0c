"""The model card and the metadata that travel with a pushed generator.

Plain functions on dictionaries; needs neither TensorFlow nor TFX.
"""

import json
import math
from collections.abc import Iterable, Sequence

from common.contract import GeneratorContract
from judge.registry import BY_KEY

SCHEMA_VERSION = 1
SMOKE_LINE = (
    "> **Not a model to use:** the preset `smoke` trains for seconds, to exercise the pipeline. "
    "It has no thresholds."
)


def metadata(
    contract: GeneratorContract, evaluation: dict, model: dict, data: dict, mlmd: dict
) -> dict:
    """The content of `assets.extra/metadata.json`.

    Args:
      contract: of the pushed generator.
      evaluation: the judge's `evaluation.json`, {} when the model was not judged.
      model: facts about the Model artifact (`uri`, `name`).
      data: facts about the Examples that it was judged on.
      mlmd: ids in ML Metadata that lead back to how the model came to be.
    """
    training = dict(contract.training)
    learned_from = training.pop("data", {})
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {
            **model,
            "architecture": contract.model,
            "conditional": contract.conditional,
            "latent_dim": contract.latent_dim,
            "latent_distribution": contract.latent_distribution,
            "image_shape": list(contract.image_shape),
            "value_range": list(contract.value_range),
            "num_classes": contract.num_classes,
            "class_names": list(contract.class_names),
            "classes_present": list(contract.classes_present),
        },
        "preset": evaluation.get("preset") or training.pop("preset", None),
        "data": {**learned_from, **data},
        "config": training.pop("config", {}),
        "seed": training.pop("seed", None),
        "source_hash": training.pop("source_hash", None),
        "libraries": training.pop("versions", {}),
        "training": training,
        "metrics": {
            "protocol": evaluation.get("protocol"),
            "extractor": evaluation.get("extractor"),
            **evaluation.get("metrics", {}),
        },
        "blessing": {
            key: evaluation.get(key)
            for key in (
                *("blessed", "forced", "force_reason", "replaced", "replace_reason", "reason"),
                *("thresholds", "checks", "baseline", "num_reference"),
            )
        }
        | {"settings": evaluation.get("settings") or evaluation.get("bars")},
        "mlmd": mlmd,
    }


def header(record: dict) -> str:
    """The card's YAML, which Hugging Face reads at the top of a README.md.

    The licence is the project's where the data leaves the choice; for other data it is the user's.
    """
    dataset, protocol = record["data"].get("dataset"), record["metrics"]["protocol"]
    name, set_name = json.dumps(f"Generator {record['version']}"), json.dumps(dataset or "unknown")
    lines = [
        "---",
        f"license: {'apache-2.0' if dataset in ('mnist', 'digits') else 'unknown'}",
        "library_name: tensorflow",
        "pipeline_tag: unconditional-image-generation",
        "tags: [gan, image-generation, tensorflow, savedmodel, tf-serving, tfx]",
        *["datasets: [ylecun/mnist]"] * (dataset == "mnist"),
    ]
    metrics = []
    for key, value in record["metrics"].items():
        if key in BY_KEY and isinstance(value, int | float) and math.isfinite(value):
            title = json.dumps(f"{BY_KEY[key].title.strip()} ({protocol})")
            metrics.append(f"    - {{type: {key}, name: {title}, value: {value:.9f}}}")
    if metrics:
        lines += [
            "model-index:",
            f"- name: {name}",
            "  results:",
            "  - task: {type: unconditional-image-generation}",
            f"    dataset: {{type: {set_name}, name: {set_name}, split: test}}",
            "    metrics:",
            *metrics,
        ]
    return "\n".join([*lines, "---"])


def model_card(record: dict) -> str:
    """The card, Markdown, from what `metadata` (as pushed, with its version) returned."""
    model, data, metrics = record["model"], record["data"], record["metrics"]
    blessing, mlmd, conditional = record["blessing"], record["mlmd"], model["conditional"]
    name = data.get("dataset") or "its training data"
    parts = [SMOKE_LINE] if record["preset"] == "smoke" else []
    if blessing["forced"]:
        parts.append(
            f"> **Blessed by force** (“{blessing['force_reason']}”), "
            "against the judge's verdict; see below."
        )
    if blessing["replaced"]:
        parts.append(
            f"> **Replaced version {(blessing['baseline'] or {}).get('version')} on demand** "
            f"(“{blessing['replace_reason']}”), against the judge's verdict; see below."
        )
    parts += [
        f"# Generator {record['version']}",
        f"Draws {'x'.join(map(str, model['image_shape'][:2]))} images like those of {name}"
        + (", one class at a time." if conditional else ", of whatever class comes."),
        f"![{'ten of each class' if conditional else 'samples'}](samples.png)",
        "## Verdict",
        blessing["reason"] or "This model was not judged.",
    ]
    if blessing["checks"]:
        rows = [
            (c["name"], c["value"], c.get("threshold", c.get("bar")),
             "passed" if c["passed"] else "**missed**")
            for c in blessing["checks"]
        ]  # fmt: skip
        parts.append(_table([("check", "value", "threshold", ""), *rows]))
    measured = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
    if measured:
        parts.append("## Metrics")
        if metrics["protocol"]:
            extractor = metrics["extractor"] or {}
            parts.append(
                f"Protocol `{metrics['protocol']}` on the features of `{extractor.get('name')}` "
                f"({str(extractor.get('digest'))[:12]}). Such numbers compare only with others of "
                "the same protocol and extractor, never with published Inception FIDs."
            )
        parts.append(_table([("metric", "value"), *measured.items()]))
    origin = {
        "data set": data.get("dataset"),
        "data set version": data.get("dataset_version"),
        "data fingerprint": data.get("fingerprint"),
        "architecture": model["architecture"],
        "preset": record["preset"],
        "seed": record["seed"],
        "source": record["source_hash"],
        "model digest": model.get("digest"),
        "pipeline run": mlmd.get("pipeline_run_id"),
        "Model artifact": mlmd.get("model_id"),
        "ModelBlessing artifact": mlmd.get("model_blessing_id"),
    }
    parts += [
        "## Where it comes from",
        _table([("", ""), *(row for row in origin.items() if row[1] is not None)]),
        "`metadata.json` beside this card has all of it: settings, library versions, digests.",
        "## Use and limits",
        "- `generate` (seed, label) gives floats in [-1, 1], `generate_png` the same as PNG, "
        "`serving_default` (latent, label) takes the latent vector itself. The same seed and label "
        "give the same image everywhere.\n"
        f"- Classes: {', '.join(model['class_names'][c] for c in model['classes_present'])}. "
        + (
            "Label -1 lets the seed choose."
            if conditional
            else "They come as they like: it takes no label but -1."
        )
        + "\n- It imitates its training data, with that data's gaps and habits; a drawn image is "
        "no evidence of anything.",
    ]
    return header(record) + "\n" + "\n\n".join(parts) + "\n"


def _table(rows: Iterable[Sequence[object]]) -> str:
    """Rows as a Markdown table; the first is its head."""
    lines = []
    for row in rows:
        cells = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row]
        lines.append("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))
    return "\n".join([lines[0], "|" + " --- |" * len(cells), *lines[1:]])
