"""The judgement itself: figures, checks and verdict of one generator, as one document.

`SCHEMA_VERSION` and the fields of the document are described in `judge/README.md`.
"""

import dataclasses
import math

from judge import measure, verdict
from judge.generation import Fakes
from judge.judge_config import JudgeConfig
from judge.reference import Reference

SCHEMA_VERSION = 1


def judge(
    reference: Reference,
    fakes: Fakes,
    config: JudgeConfig,
    *,
    conditional: bool = True,
    baseline: Fakes | None = None,
    baseline_facts: dict | None = None,
    cas: float | None = None,
    force: str = "",
) -> tuple[dict, measure.Neighbours | None]:
    """Measures and decides.

    Args:
      reference: the real images.
      fakes: of the generator under judgement.
      config: bars; those that are None are the usual ones of the data set.
      conditional: whether the generator obeys the label.
      baseline: fakes of the latest blessed generator, from the same seeds and labels.
      baseline_facts: what is known of the baseline (`uri`, `id`), and under `ignored` why it can't
        be compared with; None when there is none.
      cas: accuracy on real images of a classifier trained on fakes; None where it was not asked
        for.
      force: reason to bless in spite of missed bars.

    Returns:
      The parts of `evaluation.json` that the measuring decides: `protocol`, `num_fakes`,
      `num_reference`, `extractor`, `data`, `metrics`, `classes`, `baseline`, `bars`, `checks`,
      `blessed`, `forced`, `force_reason`, `reason`. Every number in it is finite or None. And
      the nearest train images of the fakes, None where nothing could be measured.
    """
    config = config.for_data(reference.data.dataset)
    total = fakes.total
    checks = [
        verdict.enough_reference(len(reference.labels)),
        verdict.works(total.problems, total.drawn, total.not_finite, reference.num_fakes),
    ]
    figures: dict = {}
    rows: list[dict] = []
    neighbours = None
    baseline_facts = dict(baseline_facts) if baseline_facts else None
    if all(check.passed for check in checks):
        figures = measure.fid_figures(fakes, reference, config.confidence)
        figures |= measure.variety_figures(fakes, reference, conditional)
        class_figures, rows = measure.class_figures(fakes, reference, conditional)
        memory_figures, neighbours = measure.memory_figures(fakes, reference)
        figures |= class_figures | memory_figures
        figures |= measure.pixel_figures(fakes, reference, conditional)
        if cas is not None:
            figures["cas"] = cas
        checks += verdict.bars(config, figures)
        if baseline is not None and "ignored" not in baseline_facts:
            found = baseline.total
            usable = verdict.works(
                found.problems, found.drawn, found.not_finite, reference.num_fakes
            )
            if usable.passed:
                comparison = measure.compare(fakes, baseline, reference, config.confidence)
                baseline_facts |= comparison
                checks.append(verdict.against_baseline(config, comparison))
            else:
                baseline_facts["ignored"] = usable.sentence
    decision = verdict.decide(checks, figures, _notes(baseline_facts), force)
    document = _finite_only(
        {
            "schema_version": SCHEMA_VERSION,
            "protocol": measure.protocol(reference.num_fakes),
            "num_fakes": reference.num_fakes,
            "num_reference": len(reference.labels),
            "extractor": {
                "name": reference.extractor_name,
                "digest": reference.extractor_digest,
                "dim": int(reference.features.shape[1]),
            },
            "data": {**dataclasses.asdict(reference.data), "split": "test"},
            "metrics": figures,
            "classes": rows,
            "baseline": baseline_facts,
            "bars": config.model_dump(),
            "checks": [dataclasses.asdict(check) for check in checks],
            **dataclasses.asdict(decision),
            "force_reason": force or None,
        }
    )
    return document, neighbours


def _notes(baseline_facts: dict | None) -> list[str]:
    if baseline_facts is None:
        return ["There is no earlier blessed generator to compare with."]
    if "ignored" in baseline_facts:
        return [
            f"The earlier blessed generator was not compared with: {baseline_facts['ignored']}."
        ]
    return []


def _finite_only(value):
    """JSON knows neither NaN nor infinity: they become None."""
    if isinstance(value, dict):
        return {key: _finite_only(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_only(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
