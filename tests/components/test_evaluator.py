"""The judge on real artifacts: what it measures, when it blesses, and that it fails closed."""

import json
import pathlib

import apache_beam as beam
import numpy as np
import pytest
from tfx.types import standard_artifacts

from components.evaluator import executor, generation, reference
from components.evaluator.config import JudgeConfig
from tests import fixtures_generators as generators
from tests.components import artifacts

SEED = 5


@pytest.fixture(scope="module")
def digits():
    """Train and test parts of scikit-learn's digits."""
    images, labels = artifacts.real_digits()
    return {"train": (images[:1200], labels[:1200]), "test": (images[1200:], labels[1200:])}


@pytest.fixture(scope="module")
def examples(digits, tmp_path_factory):
    return artifacts.examples(tmp_path_factory.mktemp("examples"), digits)


@pytest.fixture(scope="module")
def models(digits, tmp_path_factory):
    """Folders of Model artifacts, made when asked for."""
    images, labels = digits["train"]
    images_of = {
        "replay": {},
        "worse": {"change": generators.slightly_noisy},
        "noise": {"change": generators.noise},
        "nan": {"change": generators.not_a_number},
        "never_saw_9": {"classes_present": tuple(range(9))},
        "other_shape": {"image_shape": (32, 32, 1)},
    }
    made: dict[str, pathlib.Path] = {}

    def get(name: str) -> str:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            generators.export(made[name] / "Format-Serving", images, labels, **images_of[name])
        return str(made[name])

    return get


@pytest.fixture
def judge(examples, tmp_path, monkeypatch):
    """Runs the executor through `Do`; returns the document and the two output artifacts."""
    monkeypatch.setenv(reference.CACHE_VARIABLE, str(tmp_path / "cache"))
    runs = iter(range(100))

    def run(model_uri: str, baseline=None, baseline_blessing=None, force="", data=None, **settings):
        number = next(runs)
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
        config = JudgeConfig(**{"num_fakes": 600, "max_fid_ratio": 5.0, **settings})
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
    document, evaluation, blessing = judge(models("replay"))
    assert document["blessed"] and document["reason"].startswith("Blessed: ")
    assert document["protocol"] == "fid_600_test"
    assert document["metrics"]["fid_ratio"] < 2
    low, high = document["metrics"]["fid_interval"]
    assert low < document["metrics"]["fid"] < high
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_model_id") == 7
    assert blessing.get_string_custom_property("current_model") == models("replay")
    assert not blessing.has_custom_property("baseline_model_id")
    assert [p.name for p in pathlib.Path(blessing.uri).iterdir() if "BLESS" in p.name] == [
        "BLESSED"
    ]
    assert (pathlib.Path(evaluation.uri) / "real_above_fake.png").is_file()
    # The Pusher gets the blessing only.
    assert {"evaluation.json", "samples.png"} <= {
        p.name for p in pathlib.Path(blessing.uri).iterdir()
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("noise", "FID over the floor"),
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
    document, _, _ = judge(models("replay"), force="just in case")
    assert document["blessed"] and not document["forced"]


def test_force_cannot_push_a_generator_that_does_not_work(judge, models):
    document, _, blessing = judge(models("nan"), force="demo on Friday")
    assert not document["blessed"]
    assert blessing.get_int_custom_property("blessed") == 0


def test_a_generator_credibly_worse_than_the_blessed_one_is_not_blessed(judge, models):
    loose = {"max_fid_ratio": 1e6, "min_accuracy": 0.0, "min_class_share": 0.0}
    document, _, blessing = judge(models("worse"), baseline=models("replay"), **loose)
    assert not document["blessed"]
    assert "credibly worse than the blessed generator" in document["reason"]
    assert document["baseline"]["difference_interval"][0] > 0
    assert blessing.get_int_custom_property("baseline_model_id") == 3


def test_a_generator_credibly_better_than_the_blessed_one_is_blessed(judge, models):
    document, _, _ = judge(models("replay"), baseline=models("worse"))
    assert document["blessed"]
    assert "credibly better than the blessed generator" in document["reason"]


def test_the_same_generator_again_is_level_with_itself(judge, models):
    document, _, _ = judge(models("replay"), baseline=models("replay"))
    assert document["blessed"]
    assert document["baseline"]["difference"] == 0.0
    assert document["baseline"]["difference_interval"] == [0.0, 0.0]


def test_a_baseline_that_cannot_be_read_is_ignored_and_the_reason_says_so(judge, models, tmp_path):
    document, _, _ = judge(models("replay"), baseline=str(tmp_path / "gone"))
    assert document["blessed"]
    assert "was not compared with" in document["reason"]
    assert "difference" not in document["baseline"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda b: b.set_string_custom_property("fingerprint", "other"), "other data"),
        (lambda b: b.set_string_custom_property("extractor_digest", "0"), "another feature"),
        (lambda b: b.set_int_custom_property("num_fakes", 100), "another number"),
    ],
)
def test_a_baseline_judged_otherwise_is_ignored_and_the_reason_says_so(judge, models, change, why):
    _, _, blessing = judge(models("worse"), max_fid_ratio=1e6)
    document, _, _ = judge(models("replay"), baseline=models("worse"), baseline_blessing=blessing)
    assert "ignored" not in document["baseline"]
    change(blessing)
    document, _, _ = judge(models("replay"), baseline=models("worse"), baseline_blessing=blessing)
    assert why in document["baseline"]["ignored"] and why in document["reason"]


def test_the_result_is_the_same_bit_for_bit_whatever_the_sharding(digits, models, tmp_path):
    task = generation.Task(
        models={"model": models("replay") + "/Format-Serving"},
        extractor=None,
        labels=np.arange(1500) % 10,
        first_seed=generation.first_seed(SEED),
        image_shape=(28, 28, 1),
        num_classes=10,
    )
    found = []
    for shards in (1, 2, 7, None):
        path = str(tmp_path / f"{shards}.pickle")
        generation.run(beam.Pipeline(runner="DirectRunner"), task, path, shards)
        found.append(generation.read(path)["model"])
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
    combine = generation._MergeInOrder()
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


def test_the_reference_is_computed_once_and_a_broken_cache_is_made_anew(
    examples, tmp_path, monkeypatch
):
    eyes = generation.extractors(None)
    first = reference.load(examples, *eyes, 600, str(tmp_path))
    monkeypatch.setattr(reference, "read_split", None)  # would fail if it were read again
    again = reference.load(examples, *eyes, 600, str(tmp_path))
    assert again.floor == first.floor
    np.testing.assert_array_equal(again.features, first.features)
    monkeypatch.undo()
    (cached,) = tmp_path.glob("reference-*.npz")
    cached.write_bytes(cached.read_bytes()[:1000])
    assert reference.load(examples, *eyes, 600, str(tmp_path)).floor == first.floor


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
        judge(models("replay"), data=data)
