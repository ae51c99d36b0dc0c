"""The judge on real artifacts: what it measures, when it blesses, and that it fails closed."""

import json
import pathlib
import re

import apache_beam as beam
import numpy as np
import pytest
from PIL import Image
from tfx.types import standard_artifacts

from common import mapped
from components import artifact_types, beam_drawing, dataset_properties, evaluator
from judge import generation, reference
from judge.judge_config import JudgeConfig
from judge.registry import usual_thresholds
from metrics import two_sample
from tests import fixtures_generators as generators
from tests.components import artifacts, data_nodes

SEED = 5


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's digits: to train on, to test with, and held out for good generators."""
    images, labels = artifacts.real_digits()
    order = np.random.default_rng(0).permutation(len(images))  # writers come one after the other
    parts = {"train": order[:700], "test": order[700:1200], "held_out": order[1200:]}
    return {name: (images[rows], labels[rows]) for name, rows in parts.items()}


@pytest.fixture(scope="module")
def examples(digits, tmp_path_factory):
    splits = {name: digits[name] for name in ("train", "test")}
    return artifacts.examples(tmp_path_factory.mktemp("examples"), splits)


@pytest.fixture(scope="module")
def models(digits, tmp_path_factory):
    """Folders of Model artifacts, made when asked for."""
    kinds = {
        "good": {},
        "copies": {"part": "train"},
        "worse": {"change": generators.slightly_noisy},
        "noise": {"change": generators.noise},
        "nan": {"change": generators.not_a_number},
        "never_saw_9": {"classes_present": tuple(range(9))},
        "other_shape": {"image_shape": (32, 32, 1)},
        "is_unconditional": {"conditional": False},
    }
    made: dict[str, pathlib.Path] = {}

    def get(name: str) -> str:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            if name == "unreadable":
                return str(made[name])
            images, labels = digits[kinds[name].pop("part", "held_out")]
            generators.export(made[name] / "Format-Serving", images, labels, **kinds[name])
        return str(made[name])

    return get


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def quick_two_sample(request, monkeypatch):
    """Where it decides nothing, the two-sample classifier takes a few steps only."""
    if "refused" not in request.node.name:
        monkeypatch.setattr(two_sample, "FEWEST_STEPS", 20)


@pytest.fixture
def judge(examples, cache_dir, tmp_path, monkeypatch):
    """Runs the executor through `Do`; returns the document and the two output artifacts."""
    monkeypatch.setattr(evaluator, "cache_dir", lambda uri: str(cache_dir))
    runs = iter(range(100))

    def run(
        model_uri: str,
        baseline=None,
        force="",
        replace="",
        data=None,
        with_images=False,
        **settings,
    ):
        number = next(runs)
        if not with_images:  # they take longer than the rest
            monkeypatch.setattr(evaluator.sheets, "draw", lambda *a, **k: None)
        model = standard_artifacts.Model()
        model.uri, model.id = model_uri, 7
        before = None
        if baseline is not None:
            before = artifact_types.InService()
            before.set_string_custom_property("served_path", f"{baseline}/Format-Serving")
        evaluation = standard_artifacts.ModelEvaluation()
        evaluation.uri = str(tmp_path / f"evaluation/{number}")
        blessing = standard_artifacts.ModelBlessing()
        blessing.uri = str(tmp_path / f"blessing/{number}")
        # A replay draws the same real image more than once.
        usual = {"num_fakes": 400, "min_accuracy": 0.8, "max_repeats": 1.0}
        config = JudgeConfig(**{**usual, **settings})
        evaluator.Evaluator.test_call(
            examples=data or examples,
            model=model,
            in_service=before,
            evaluation=evaluation,
            blessing=blessing,
            judge_config=config.model_dump_json(),
            seed=SEED,
            preset="standard",
            force_bless=force,
            replace=replace,
            beam_pipeline=beam.Pipeline(),
        )
        document = json.loads(pathlib.Path(evaluation.uri, "evaluation.json").read_text())
        return document, evaluation, blessing

    return run


def test_a_generator_of_real_digits_is_blessed_on_tfx_contract(judge, models):
    document, evaluation, blessing = judge(
        models("good"), with_images=True, max_copies=0.5, force="just in case"
    )
    assert document["blessed"], document["reason"]
    assert not document["forced"]  # there was nothing to force
    usual = usual_thresholds("standard", "digits")
    given = {"min_accuracy": 0.8, "max_copies": 0.5, "max_repeats": 1.0}
    assert document["thresholds"] == usual | given
    assert document["reason"].startswith("Blessed: ")
    assert document["protocol"] == "fid_400_train"
    assert set(document["extractors"]) == {"classifier", "pooled", "autoencoder", "random"}
    worst = max(document["metrics"][f"relative_fid_{name}"] for name in document["extractors"])
    assert document["metrics"]["relative_fid"] == worst < 3
    low, high = document["metrics"]["relative_fid_interval"]
    assert low < worst < high
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_model_id") == 7
    assert blessing.get_string_custom_property("current_model") == models("good")
    assert not blessing.has_custom_property("baseline_model")
    assert "cas" not in document["metrics"] and "cas" not in document["seconds"]
    assert [p.name for p in pathlib.Path(blessing.uri).iterdir() if "BLESS" in p.name] == [
        "BLESSED"
    ]
    images = {path.stem for path in pathlib.Path(evaluation.uri).glob("*.png")}
    assert images == {
        "real_above_fake",
        "samples",
        "worst_and_best",
        "nearest_train",
        "nearest_distances",
        "real",
    }
    sheet = np.asarray(Image.open(pathlib.Path(evaluation.uri, "real.png")))
    assert sheet.shape == (302, 302)  # ten of each of the ten classes
    # The Pusher gets the blessing only.
    assert {"evaluation.json", "samples.png", "real.png"} <= {
        p.name for p in pathlib.Path(blessing.uri).iterdir()
    }


def test_all_that_decided_is_on_the_artifact_too_and_on_the_reference_page(judge, models):
    document, evaluation, _ = judge(models("worse"), baseline=models("good"), max_copies=0.0)

    def number(name: str) -> float:
        return evaluation.get_float_custom_property(name)

    for name, value in document["metrics"].items():
        if not name.endswith("_interval"):
            assert number(name) == pytest.approx(value)
    ends = [number("relative_fid_interval_low"), number("relative_fid_interval_high")]
    assert ends == pytest.approx(document["metrics"]["relative_fid_interval"])
    assert number("baseline_fid") == pytest.approx(document["baseline"]["fid"])
    assert number("baseline_difference_interval_low") > 0
    thresholds = json.loads(evaluation.get_string_custom_property("thresholds"))
    assert thresholds == document["thresholds"] and thresholds["max_copies"] == 0.0
    missed = [check["name"] for check in document["checks"] if not check["passed"]]
    assert json.loads(evaluation.get_string_custom_property("missed")) == missed
    assert "regression" in missed

    # The reference page names every field.
    page = pathlib.Path(evaluator.__file__).parents[1] / "docs" / "reference" / "evaluation.md"
    table = re.findall(r"^\| (`[^|]*) \| (.*) \|$", page.read_text(), re.MULTILINE)
    described = {
        field: re.findall(r"`([a-z_]+)`", about)
        for fields, about in table
        for field in re.findall(r"`(\w+)`", fields)
    }
    gate = {"same_data", "as_strict", "comparable", "regression"}  # the page's other table
    assert set(described) - gate == set(document)
    parts = {name: document[name] for name in ("extractor", "data", "model")}
    parts["extractors"] = document["extractors"]["pooled"]
    parts |= {name: document[name][0] for name in ("classes", "checks")}
    for name, found in parts.items():
        assert set(described[name]) == set(found), name
    assert set(document["baseline"]) <= set(described["baseline"])


@pytest.mark.e2e
def test_a_classifier_trained_on_fakes_is_a_metric_a_threshold_and_a_property(judge, models):
    document, evaluation, blessing = judge(models("good"), cas_fakes=1000, min_cas=1.0)
    cas = document["metrics"]["cas"]
    assert 0.2 < cas < 1
    assert evaluation.get_float_custom_property("cas") == pytest.approx(cas)
    assert document["seconds"]["cas"] > 0
    assert [c["name"] for c in document["checks"] if not c["passed"]] == ["cas"]
    assert "classification accuracy score" in blessing.get_string_custom_property("reason")


def _corner(images, random):
    images[:, 1:4, 1:4] = 128
    return images


def _blanks(images, random):
    images[random.random(len(images)) < 0.1] = 0
    return images


def _fog(images, random):
    return np.where(images == 0, random.integers(0, 6, images.shape), images)


@pytest.mark.parametrize(
    ("part", "spoil", "failed"),
    [
        ("train", _corner, {"copies", "outliers_place", "two_sample"}),
        ("held_out", _corner, {"outliers_place", "two_sample"}),
        ("held_out", _blanks, {"broken"}),
        ("held_out", _fog, {"tell_near_black", "two_sample"}),
    ],
)
def test_faults_that_one_extractor_hardly_sees_are_refused(
    judge, digits, tmp_path, part, spoil, failed
):
    images, labels = digits[part]
    spoilt = spoil(images.copy(), np.random.default_rng(0)).astype(np.uint8)
    generators.export(tmp_path / "model" / "Format-Serving", spoilt, labels)
    document, _, _ = judge(str(tmp_path / "model"))
    missed = {check["name"] for check in document["checks"] if not check["passed"]}
    assert failed <= missed and not document["blessed"]


def test_a_generator_that_is_unconditional_is_judged_on_what_applies_to_it(judge, models):
    document, _, blessing = judge(models("is_unconditional"), cas_fakes=500, min_cas=0.9)
    assert document["blessed"], document["reason"]
    assert not {"accuracy", "cas", "class_coverage"} & set(document["metrics"])
    assert {"relative_fid", "coverage", "recall"} <= {c["name"] for c in document["checks"]}
    assert pathlib.Path(blessing.uri, "samples.png").is_file()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("noise", "relative FID"),
        ("copies", "near copies of train images, pixels is 100.00%"),
        ("nan", "not finite"),
        ("never_saw_9", "never saw class 9"),
        ("other_shape", "shape"),
        ("unreadable", "generator.json"),
    ],
)
def test_a_bad_generator_is_not_blessed_and_the_reason_says_why(judge, models, name, why):
    # Force helps what is merely bad, and not what does not work.
    force = "demo on Friday" if name == "nan" else ""
    document, _, blessing = judge(models(name), force=force)
    assert not document["blessed"]
    assert document["reason"].startswith("Not blessed: ") and why in document["reason"]
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_string_custom_property("reason") == document["reason"]
    assert (pathlib.Path(blessing.uri) / "NOT_BLESSED").is_file()
    assert not (pathlib.Path(blessing.uri) / "BLESSED").exists()


def test_one_class_that_collapsed_is_seen_without_any_baseline(judge, digits, tmp_path):
    images, labels = digits["held_out"]
    one_three = images.copy()
    one_three[labels == 3] = images[labels == 3][0]
    generators.export(tmp_path / "model" / "Format-Serving", one_three, labels)
    document, _, _ = judge(str(tmp_path / "model"))
    missed = [check["name"] for check in document["checks"] if not check["passed"]]
    assert "class_coverage" in missed and not document["blessed"]


def test_force_overrules_a_missed_threshold_and_is_recorded_everywhere(judge, models):
    document, _, blessing = judge(models("noise"), force="demo on Friday")
    assert document["blessed"] and document["forced"]
    assert "demo on Friday" in document["reason"] and "relative FID" in document["reason"]
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("forced") == 1
    assert blessing.get_string_custom_property("force_reason") == "demo on Friday"


def test_a_generator_credibly_better_than_the_blessed_one_is_blessed(judge, models):
    document, _, _ = judge(models("good"), baseline=models("worse"))
    assert document["blessed"]
    assert "credibly better than the version in service" in document["reason"]


def test_a_baseline_that_cannot_be_read_is_not_replaced_unless_that_is_asked_for(
    judge, models, tmp_path
):
    document, _, blessing = judge(models("good"), baseline=str(tmp_path / "gone"))
    assert not document["blessed"]
    assert [c["name"] for c in document["checks"] if not c["passed"]] == ["comparable"]
    assert "could not be judged for comparison" in document["reason"]
    assert "--replace" in document["reason"]
    document, _, blessing = judge(
        models("good"), baseline=str(tmp_path / "gone"), replace="it is broken"
    )
    assert document["blessed"] and document["replaced"] and not document["forced"]
    assert blessing.get_string_custom_property("replace_reason") == "it is broken"


def test_what_is_credibly_worse_than_the_version_in_service_replaces_it_if_asked_not_by_force(
    judge, models
):
    loose = {"strictness": "smoke", "min_accuracy": 0.0, "max_regression": 0.05}
    document, _, blessing = judge(models("worse"), baseline=models("good"), force="demo", **loose)
    assert not document["blessed"]
    assert [c["name"] for c in document["checks"] if not c["passed"]] == ["regression"]
    assert "credibly worse than the version in service" in document["reason"]
    assert document["baseline"]["difference_interval"][0] > 0
    assert models("good") in blessing.get_string_custom_property("baseline_model")
    document, _, _ = judge(models("worse"), baseline=models("good"), replace="demo", **loose)
    assert document["blessed"] and document["replaced"]
    assert "as a replacement (“demo”), although credibly worse" in document["reason"]


def test_fakes_are_the_same_in_the_order_of_their_seeds_on_any_number_of_workers(
    digits, models, tmp_path
):
    counts = np.bincount(digits["test"][1], minlength=10)
    task = generation.Task(
        models={"model": str(pathlib.Path(models("good"), "Format-Serving"))},
        labels=generation.ordered_labels(reference.apportion(counts, 700), 1),
        first_seed=1000,
        image_shape=(28, 28, 1),
    )
    path = str(tmp_path / "fakes")
    drawn = []
    for workers in (1, 2, 7):
        found = beam_drawing.run(data_nodes.local_beam(workers), task, path)["model"]
        np.testing.assert_array_equal(found.seeds, 1000 + np.arange(700))
        np.testing.assert_array_equal(found.asked, task.labels)
        assert found.drawn == len(found.images) == 700 and not pathlib.Path(path).exists()
        drawn.append(found.images)
    np.testing.assert_array_equal(drawn[1], drawn[0])
    np.testing.assert_array_equal(drawn[2], drawn[0])


def load_reference(examples, num_fakes: int, cache_dir: str | None) -> reference.Reference:
    return reference.load(
        dataset_properties.read(examples),
        lambda split: evaluator.read_split(examples, split),
        reference.load_extractors(),
        num_fakes,
        cache_dir,
    )


def test_the_reference_is_computed_once_and_a_broken_cache_is_made_anew(
    examples, tmp_path, monkeypatch
):
    first = load_reference(examples, 300, str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "read_split", None)  # would fail if it were read again
        again = load_reference(examples, 300, str(tmp_path))
        # Images and features are kept once, whatever the number of fakes.
        load_reference(examples, 200, str(tmp_path))
    assert again.scores == first.scores
    np.testing.assert_array_equal(again.features["pooled"], first.features["pooled"])
    assert again.folds["classifier"].fid == first.folds["classifier"].fid
    assert sorted(path.name.split("-", 2)[2] for path in tmp_path.iterdir()) == [
        "real.npz",
        "scores-200.npz",
        "scores-300.npz",
    ]
    for cached in tmp_path.glob("*.npz"):
        cached.write_bytes(cached.read_bytes()[:1000])
    # This time nothing fits in memory.
    monkeypatch.setattr(mapped, "IN_MEMORY", 1000)
    for _ in ("made", "read"):
        again = load_reference(examples, 300, str(tmp_path))
        assert isinstance(again.train_images, np.memmap)
        assert again.scores == first.scores


@pytest.mark.parametrize(
    ("outputs", "kept"),
    [
        ("/w/pipeline_root/Evaluator/evaluation/7", "/w/cache"),
        ("/elsewhere/Judge/evaluation/7", "/elsewhere/Judge/.reference"),
        ("gs://bucket/Evaluator/evaluation/7", None),
    ],
)
def test_the_reference_is_kept_in_the_workspace_where_there_is_one(outputs, kept):
    assert evaluator.cache_dir(outputs) == kept


def test_an_edit_of_the_metrics_makes_the_reference_anew(examples, tmp_path, monkeypatch):
    load_reference(examples, 300, str(tmp_path))
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(reference, "_source", lambda: "edited")
    load_reference(examples, 300, str(tmp_path))
    assert len(set(tmp_path.iterdir()) - before) == len(before)


def test_fakes_have_the_classes_of_the_reference():
    counts = np.array([980, 1135, 1032, 0, 7])
    np.testing.assert_array_equal(reference.apportion(counts, counts.sum()), counts)
    fewer = reference.apportion(counts, 100)
    assert fewer.sum() == 100 and fewer[3] == 0
    labels = generation.ordered_labels(counts, 1)
    np.testing.assert_array_equal(np.bincount(labels, minlength=5), counts)


def test_a_sample_has_each_train_image_at_most_once():
    labels = np.repeat([0, 1, 2], [50, 3, 50])
    chosen = reference.stratified_sample(labels, np.array([20, 20, 20]), seed=0)
    assert len(chosen) == len(set(chosen)) == 60


def test_examples_without_a_test_split_are_refused_by_name(judge, digits, models, tmp_path):
    data = artifacts.examples(tmp_path / "no_test", {"train": digits["train"]}, "other")
    with pytest.raises(ValueError, match="'test'"):
        judge(models("good"), data=data)
