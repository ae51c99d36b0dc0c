"""The judgement itself: metrics, checks and verdict of one generator, as one document.

`SCHEMA_VERSION` and the fields of the document are described in `judge/README.md`.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from judge import measure, replacement, verdict
from judge.generation import Fakes
from judge.held_out import HeldOut
from judge.judge_config import JudgeConfig
from judge.reference import Extractors, Reference

SCHEMA_VERSION = 2


def judge(
    reference: Reference,
    fakes: Fakes,
    config: JudgeConfig,
    extractors: Extractors,
    scores: HeldOut | None,
    *,
    conditional: bool = True,
    baseline: Fakes | None = None,
    baseline_facts: dict | None = None,
    cas: float | None = None,
    gate: Sequence[verdict.Check] = (),
    force: str = "",
    replace: str = "",
) -> tuple[dict, measure.Measured | None]:
    """Measures and decides.

    Args:
      reference: the real images.
      fakes: of the generator under judgement.
      config: thresholds; those that are None are the usual ones of the data set.
      extractors: the extractors; those of the reference.
      scores: what held-out real images of the data score, which the usual thresholds are made of;
        None for MNIST, and where there are none.
      conditional: whether the generator obeys the label.
      baseline: fakes of the version in service, from the same seeds and labels.
      baseline_facts: what is known of it (`version`, `digest`); None when nothing is in service.
      cas: accuracy on real images of a classifier trained on fakes; None where it was not asked
        for.
      gate: checks about the version in service (`replacement.checks`).
      force: reason to bless in spite of failed checks.
      replace: reason to replace the version in service in spite of the checks about it.

    Returns:
      The parts of `evaluation.json` that the measuring decides: `protocol`, `num_fakes`,
      `num_reference`, `extractor`, `extractors`, `data`, `metrics`, `classes`, `baseline`,
      `held_out`, `thresholds`, `checks`, `blessed`, `forced`, `force_reason`, `replaced`,
      `replace_reason`, `reason`. Every number in it is finite or None. And what was measured, None
      where nothing could be.
    """
    config = config.for_data(reference.data.dataset)
    thresholds = (config.widened(scores.values) if scores else config).thresholds
    checks = [
        verdict.enough_reference(len(reference.labels)),
        verdict.works(fakes.problems, fakes.drawn, fakes.not_finite, reference.num_fakes),
    ]
    found: dict = {}
    measured = None
    options: dict[str, Any] = {"conditional": conditional, "confidence": config.confidence}
    baseline_facts = dict(baseline_facts) if baseline_facts else None
    if all(check.passed for check in checks):
        measured = measure.Measured(fakes, reference, extractors, cas=cas, **options)
        found = measured.all()
        checks += verdict.thresholds(thresholds, found)
        if baseline is not None:
            usable = verdict.works(
                baseline.problems, baseline.drawn, baseline.not_finite, reference.num_fakes
            )
            if usable.passed:
                other = measure.Measured(baseline, reference, extractors, **options)
                comparison = measure.compare(measured, other)
                baseline_facts = (baseline_facts or {}) | comparison
                checks.append(verdict.against_baseline(config.max_regression, comparison))
            else:
                checks.append(
                    replacement.comparable(usable.sentence, (baseline_facts or {}).get("version"))
                )
    checks += gate
    decision = verdict.decide(checks, found, _notes(baseline_facts, scores), force, replace)
    document = _finite_only(
        {
            "schema_version": SCHEMA_VERSION,
            "protocol": measure.protocol(reference.num_fakes),
            "num_fakes": reference.num_fakes,
            "num_reference": len(reference.labels),
            "extractor": {
                "name": reference.extractor_name,
                "digest": reference.extractor_digest,
                "dim": int(reference.features[reference.first].shape[1]),
            },
            "extractors": {
                name: {
                    "digest": digest,
                    "fid_real": reference.folds[name].fid,
                    "fid_real_spread": reference.folds[name].spread,
                    "fid": measured.relative[name].fid if measured else None,
                }
                for name, digest in reference.extractors.items()
            },
            "data": {**reference.data.to_dict(), "split": "test"},
            "metrics": found,
            "classes": measured.class_rows if measured else [],
            "baseline": baseline_facts,
            "settings": config.model_dump(),
            "held_out": dataclasses.asdict(scores) if scores else None,
            "thresholds": thresholds,
            "checks": [dataclasses.asdict(check) for check in checks],
            **dataclasses.asdict(decision),
            "force_reason": force or None,
            "replace_reason": replace or None,
        }
    )
    return document, measured


def _notes(baseline_facts: dict | None, scores: HeldOut | None) -> list[str]:
    notes = [] if scores is None else [scores.sentence]
    return [*notes, *["Nothing is in service to compare with."] * (baseline_facts is None)]


def _finite_only(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: they become None."""
    if isinstance(value, dict):
        return {key: _finite_only(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_only(item) for item in value]
    if isinstance(value, float):  # NumPy's float64 is one
        return float(value) if math.isfinite(value) else None
    return value
