"""The judge on real artifacts: what it measures, when it blesses, and that it fails closed."""

import json
import pathlib

import apache_beam as beam
import numpy as np
import pytest
from tfx.types import standard_artifacts

from components.evaluator import beam_drawing, executor
from judge import generation, reference
from judge.judge_config import BARS, JudgeConfig, usual_bars
from tests import fixtures_generators as generators
from tests.components import artifacts

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
        "takes_no_wishes": {"conditional": False},
    }
    made: dict[str, pathlib.Path] = {}

    def get(name: str) -> str:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            images, labels = digits[kinds[name].pop("part", "held_out")]
            generators.export(made[name] / "Format-Serving", images, labels, **kinds[name])
        return str(made[name])

    return get


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def judge(examples, cache_dir, tmp_path, monkeypatch):
    """Runs the executor through `Do`; returns the document and the two output artifacts."""
    monkeypatch.setenv(reference.CACHE_VARIABLE, str(cache_dir))
    runs = iter(range(100))

    def run(
        model_uri: str,
        baseline=None,
        baseline_blessing=None,
        force="",
        data=None,
        with_pictures=False,
        **settings,
    ):
        number = next(runs)
        if not with_pictures:  # they take longer than the rest
            monkeypatch.setattr(executor.pictures, "draw", lambda *a, **k: None)
        model = standard_artifacts.Model()
        model.uri, model.id = model_uri, 7
        inputs = {"examples": [data or examples], "model": [model]}
        if baseline is not None:
            artifact = standard_artifacts.Model()
            artifact.uri, artifact.id = baseline, 3
            inputs["baseline_model"] = [artifact]
        if baseline_blessing is not None:
            inputs["baseline_blessing"] = [baseline_blessing]
        evaluation = standard_artifacts.ModelEvaluation()
        evaluation.uri = str(tmp_path / f"evaluation/{number}")
        blessing = standard_artifacts.ModelBlessing()
        blessing.uri = str(tmp_path / f"blessing/{number}")
        config = JudgeConfig(**{"num_fakes": 400, "min_accuracy": 0.8, **settings})
        executor.Executor().Do(
            inputs,
            {"evaluation": [evaluation], "blessing": [blessing]},
            {
                "judge_config": config.model_dump_json(),
                "seed": SEED,
                "preset": "standard",
                "force_bless": force,
                "source_hash": "",
                "extractor_digest": "",
            },
        )
        document = json.loads(pathlib.Path(evaluation.uri, "evaluation.json").read_text())
        return document, evaluation, blessing

    return run


def test_a_generator_of_real_digits_is_blessed_on_tfx_contract(judge, models):
    document, evaluation, blessing = judge(models("good"), with_pictures=True)
    assert document["blessed"] and document["reason"].startswith("Blessed: ")
    assert document["protocol"] == "fid_400_test"
    assert 0.5 < document["metrics"]["fid_ratio"] < 2
    low, high = document["metrics"]["fid_interval"]
    assert low < document["metrics"]["fid"] < high
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_model_id") == 7
    assert blessing.get_string_custom_property("current_model") == models("good")
    assert not blessing.has_custom_property("baseline_model_id")
    assert [p.name for p in pathlib.Path(blessing.uri).iterdir() if "BLESS" in p.name] == [
        "BLESSED"
    ]
    pictures = {path.stem for path in pathlib.Path(evaluation.uri).glob("*.png")}
    assert pictures == {
        "real_above_fake",
        "samples",
        "worst_and_best",
        "nearest_train",
        "nearest_distances",
        "class_shares",
        "class_fid",
        "class_accuracy",
        "precision_recall",
        "density_coverage",
        "fid",
    }
    # The Pusher gets the blessing only.
    assert {"evaluation.json", "samples.png"} <= {
        p.name for p in pathlib.Path(blessing.uri).iterdir()
    }


def test_all_that_decided_is_on_the_artifact_too_intervals_by_their_ends(judge, models):
    document, evaluation, _ = judge(models("worse"), baseline=models("good"), max_copies=0.0)

    def number(name: str) -> float:
        return evaluation.get_float_custom_property(name)

    for name, value in document["metrics"].items():
        if name != "fid_interval":
            assert number(name) == pytest.approx(value)
    ends = [number("fid_interval_low"), number("fid_interval_high")]
    assert ends == pytest.approx(document["metrics"]["fid_interval"])
    assert number("baseline_fid") == pytest.approx(document["baseline"]["fid"])
    assert number("baseline_difference_interval_low") > 0
    bars = json.loads(evaluation.get_string_custom_property("bars"))
    assert bars["max_copies"] == 0.0 and bars["max_fid_ratio"] == document["bars"]["max_fid_ratio"]
    missed = [check["name"] for check in document["checks"] if not check["passed"]]
    assert json.loads(evaluation.get_string_custom_property("missed")) == missed
    assert "regression" in missed


def test_bars_are_those_of_the_data_set_unless_the_user_sets_them(judge, models):
    document, _, _ = judge(models("good"), max_copies=0.5)
    usual = usual_bars("standard", "digits")
    assert usual != BARS["standard"]
    assert {name: document["bars"][name] for name in usual} == {
        **usual,
        "min_accuracy": 0.8,
        "max_copies": 0.5,
    }
    assert usual_bars("standard", "mnist") == BARS["standard"]
    assert usual_bars("standard", "kmnist") == usual_bars("standard", "fashion_mnist")


@pytest.mark.e2e
def test_a_classifier_trained_on_fakes_is_a_figure_a_bar_and_a_property(judge, models):
    document, evaluation, blessing = judge(models("good"), cas_fakes=1000, min_cas=1.0)
    cas = document["metrics"]["cas"]
    assert 0.2 < cas < 1
    assert evaluation.get_float_custom_property("cas") == pytest.approx(cas)
    assert document["seconds"]["cas"] > 0
    assert [c["name"] for c in document["checks"] if not c["passed"]] == ["cas"]
    assert "classifier trained on fakes" in blessing.get_string_custom_property("reason")


def test_without_being_asked_for_no_classifier_is_trained(judge, models):
    document, evaluation, _ = judge(models("good"))
    assert "cas" not in document["metrics"] and "cas" not in document["seconds"]
    assert not evaluation.has_custom_property("cas")


@pytest.mark.parametrize(
    ("spoil", "bar", "check"),
    [
        (lambda images, salt: np.rint(images * 0.95), {"max_pixel_kld": 0.2}, "pixel_kld"),
        (
            lambda images, salt: np.where(salt < 0.003, 255, images),
            {"max_sharpness_shift": 0.15},
            "sharpness",
        ),
    ],
)
def test_faults_that_features_hardly_see_are_seen_in_the_pixels(
    judge, digits, tmp_path, spoil, bar, check
):
    images, labels = digits["held_out"]
    spoilt = spoil(images, np.random.default_rng(0).random(images.shape)).astype(np.uint8)
    generators.export(tmp_path / "model" / "Format-Serving", spoilt, labels)
    document, _, _ = judge(str(tmp_path / "model"), **bar)
    assert [c["name"] for c in document["checks"] if not c["passed"]] == [check]


def test_a_generator_that_takes_no_wishes_is_judged_on_what_applies_to_it(judge, models):
    document, _, blessing = judge(models("takes_no_wishes"), cas_fakes=500, min_cas=0.9)
    assert document["blessed"], document["reason"]
    assert not {"accuracy", "cas", "class_coverage"} & set(document["metrics"])
    assert {"fid_ratio", "coverage", "recall"} <= {c["name"] for c in document["checks"]}
    assert pathlib.Path(blessing.uri, "samples.png").is_file()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("noise", "FID over the floor"),
        ("copies", "near copies of train images is 1"),
        ("nan", "not finite"),
        ("never_saw_9", "never saw class 9"),
        ("other_shape", "shape"),
    ],
)
def test_a_bad_generator_is_not_blessed_and_the_reason_says_why(judge, models, name, why):
    document, _, blessing = judge(models(name))
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


def test_a_model_that_cannot_be_read_is_a_verdict_and_not_a_crash(judge, tmp_path):
    (tmp_path / "broken" / "Format-Serving").mkdir(parents=True)
    document, _, blessing = judge(str(tmp_path / "broken"))
    assert not document["blessed"]
    assert "generator.json" in document["reason"]
    assert blessing.get_int_custom_property("blessed") == 0


def test_force_overrules_a_missed_bar_and_is_recorded_everywhere(judge, models):
    document, _, blessing = judge(models("noise"), force="demo on Friday")
    assert document["blessed"] and document["forced"]
    assert "demo on Friday" in document["reason"] and "FID over the floor" in document["reason"]
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("forced") == 1
    assert blessing.get_string_custom_property("force_reason") == "demo on Friday"


def test_force_leaves_no_mark_on_a_generator_that_passes(judge, models):
    document, _, _ = judge(models("good"), force="just in case")
    assert document["blessed"] and not document["forced"]


def test_force_cannot_push_a_generator_that_does_not_work(judge, models):
    document, _, blessing = judge(models("nan"), force="demo on Friday")
    assert not document["blessed"]
    assert blessing.get_int_custom_property("blessed") == 0


def test_a_generator_credibly_worse_than_the_blessed_one_is_not_blessed(judge, models):
    loose = {"strictness": "smoke", "min_accuracy": 0.0, "max_regression": 0.05}
    document, _, blessing = judge(models("worse"), baseline=models("good"), **loose)
    assert not document["blessed"]
    assert [c["name"] for c in document["checks"] if not c["passed"]] == ["regression"]
    assert "credibly worse than the blessed generator" in document["reason"]
    assert document["baseline"]["difference_interval"][0] > 0
    assert blessing.get_int_custom_property("baseline_model_id") == 3


def test_a_generator_credibly_better_than_the_blessed_one_is_blessed(judge, models):
    document, _, _ = judge(models("good"), baseline=models("worse"))
    assert document["blessed"]
    assert "credibly better than the blessed generator" in document["reason"]


def test_the_same_generator_again_is_level_with_itself(judge, models):
    document, _, _ = judge(models("good"), baseline=models("good"))
    assert document["blessed"]
    assert document["baseline"]["difference"] == 0.0
    assert document["baseline"]["difference_interval"] == [0.0, 0.0]


def test_a_baseline_that_cannot_be_read_is_ignored_and_the_reason_says_so(judge, models, tmp_path):
    document, _, _ = judge(models("good"), baseline=str(tmp_path / "gone"))
    assert document["blessed"]
    assert "was not compared with" in document["reason"]
    assert "difference" not in document["baseline"]


def test_a_baseline_judged_otherwise_is_ignored_and_the_reason_says_so(judge, models, examples):
    _, _, blessing = judge(models("good"))
    document, _, _ = judge(models("good"), models("worse"), blessing)
    assert "ignored" not in document["baseline"]
    blessing.set_string_custom_property("fingerprint", "other")
    document, evaluation, _ = judge(models("good"), models("worse"), blessing)
    assert document["blessed"]
    assert "other data" in document["baseline"]["ignored"] and "other data" in document["reason"]
    assert "other data" in evaluation.get_string_custom_property("baseline_ignored")
    real = load_reference(examples, 400, None)
    blessing.set_string_custom_property("fingerprint", real.data.fingerprint)
    assert executor._incomparable(blessing, real) == {}
    blessing.set_int_custom_property("num_fakes", 100)
    assert "another number" in executor._incomparable(blessing, real)["ignored"]
    blessing.set_string_custom_property("extractor_digest", "0")
    assert "another feature extractor" in executor._incomparable(blessing, real)["ignored"]


def test_the_result_is_the_same_bit_for_bit_whatever_the_sharding(digits, models, tmp_path):
    task = generation.Task(
        models={"model": models("good") + "/Format-Serving"},
        extractor=None,
        labels=np.arange(1500) % 10,
        first_seed=generation.first_seed(SEED),
        image_shape=(28, 28, 1),
        num_classes=10,
    )
    found = []
    for shards in (1, 2, 7, None):
        path = str(tmp_path / f"{shards}.pickle")
        beam_drawing.run(beam.Pipeline(runner="DirectRunner"), task, path, shards)
        found.append(beam_drawing.read(path)["model"])
    for other in found[1:]:
        np.testing.assert_array_equal(other.total.moments.cov, found[0].total.moments.cov)
        np.testing.assert_array_equal(other.total.moments.mean, found[0].total.moments.mean)
        np.testing.assert_array_equal(other.sample.images, found[0].sample.images)
        np.testing.assert_array_equal(other.sample.seeds, found[0].sample.seeds)
    np.testing.assert_array_equal(
        found[0].sample.seeds, task.first_seed + np.arange(len(task.labels))
    )
    assert found[0].total.drawn == 1500


def test_tallies_merge_the_same_in_any_order_and_grouping():
    combine = beam_drawing._MergeInOrder()
    random = np.random.default_rng(0)
    leaves = [
        generation.Tally(
            drawn=5,
            not_finite=0,
            moments=generation.frechet.FeatureStats.of(random.normal(size=(5, 3)) * 10**i),
            confusion=np.ones((2, 2), int),
        )
        for i in range(13)
    ]
    expected = None
    for _ in range(5):
        order = random.permutation(13)
        accumulators = [combine.create_accumulator() for _ in range(3)]
        for place, i in enumerate(order):
            accumulators[place % 3] = combine.add_input(accumulators[place % 3], (i, leaves[i]))
        merged = combine.extract_output(combine.merge_accumulators(accumulators))
        if expected is None:
            expected = merged
        np.testing.assert_array_equal(merged.moments.cov, expected.moments.cov)
        assert merged.drawn == 65


def load_reference(examples, num_fakes: int, cache_dir: str | None) -> reference.Reference:
    return reference.load(
        executor._dataset(examples),
        lambda split: executor.read_split(examples, split),
        *generation.extractors(None),
        num_fakes,
        cache_dir,
    )


def test_the_reference_is_computed_once_and_a_broken_cache_is_made_anew(
    examples, tmp_path, monkeypatch
):
    first = load_reference(examples, 300, str(tmp_path))
    monkeypatch.setattr(executor, "read_split", None)  # would fail if it were read again
    again = load_reference(examples, 300, str(tmp_path))
    assert again.floor == first.floor
    np.testing.assert_array_equal(again.features, first.features)
    monkeypatch.undo()
    (cached,) = tmp_path.glob("reference-*.npz")
    cached.write_bytes(cached.read_bytes()[:1000])
    assert load_reference(examples, 300, str(tmp_path)).floor == first.floor


def test_fakes_have_the_classes_of_the_reference():
    counts = np.array([980, 1135, 1032, 0, 7])
    np.testing.assert_array_equal(reference.apportion(counts, counts.sum()), counts)
    fewer = reference.apportion(counts, 100)
    assert fewer.sum() == 100 and fewer[3] == 0
    labels = generation.ordered_labels(counts, 1)
    np.testing.assert_array_equal(np.bincount(labels, minlength=5), counts)


def test_the_floor_uses_each_train_image_at_most_once():
    labels = np.repeat([0, 1, 2], [50, 3, 50])
    chosen = reference.stratified_sample(labels, np.array([20, 20, 20]), seed=0)
    assert len(chosen) == len(set(chosen)) == 60


def test_examples_without_a_test_split_are_refused_by_name(judge, digits, models, tmp_path):
    data = artifacts.examples(tmp_path / "no_test", {"train": digits["train"]}, "other")
    with pytest.raises(ValueError, match="'test'"):
        judge(models("good"), data=data)
