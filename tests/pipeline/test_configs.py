"""Settings: every field is reached by name, and what is refused says what would do."""

import pathlib

import pytest

from common.images import IMAGE_SIZES
from datasets import data_config
from pipeline import configs


def test_presets_differ_in_length_and_thresholds():
    smoke, standard, quality = (configs.load(preset) for preset in configs.PRESETS)
    assert smoke.training.steps < standard.training.steps < quality.training.steps
    found = [s.judge.for_data("mnist").max_relative_fid for s in (smoke, standard, quality)]
    assert found[0] is None and found[1] > found[2]


@pytest.mark.parametrize("lesson", configs.LESSONS)
def test_a_gan_that_fails_for_a_class_is_as_short_as_smoke_and_judged_as_standard(lesson):
    settings, smoke = configs.load(lesson), configs.load("smoke")
    assert settings.preset == lesson
    assert settings.training.steps == smoke.training.steps
    assert settings.training != smoke.training
    assert settings.judge.for_data("mnist").max_relative_fid is not None
    assert configs.load(lesson, {"r1_weight": "0.3"}).training.r1_weight == 0.3


def test_every_setting_that_is_listed_can_be_set():
    for row in configs.describe(configs.load("smoke")):
        if row["name"] not in ("data_dir",):
            configs.load("smoke", {row["name"]: row["value"]})


def test_every_setting_has_a_description():
    assert all(row["description"] for row in configs.describe(configs.load("standard")))


def test_names_are_unique_over_the_packages():
    names = [row["name"] for row in configs.describe(configs.load("standard"))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("value", ["-1", "many", "2.5", "null"])
def test_a_wrong_value_names_the_setting_and_what_it_takes(value):
    with pytest.raises(configs.SettingsError, match="setting 'steps' takes int"):
        configs.load("smoke", {"steps": value})


def test_a_word_near_to_one_that_is_taken_is_named():
    with pytest.raises(configs.SettingsError, match=r"takes cdcgan or.*did you mean 'dcgan'"):
        configs.load("smoke", {"model": "dcgn"})


def test_each_model_lists_its_own_settings_and_refuses_those_of_others():
    for model in ("cdcgan", "dcgan", "blocks5", "gaussian_mlp"):
        settings = configs.load("standard", {"model": model})
        values = {row["name"]: row["value"] for row in configs.describe(settings)}
        assert values["model"] == model
        assert ("normalization" in values) == (model == "blocks5")
        for name, value in values.items():
            if name != "data_dir":
                configs.load("standard", {"model": model, name: value})
    with pytest.raises(configs.SettingsError, match="'r1_weight' is not used by model 'dcgan'"):
        configs.load("smoke", {"model": "dcgan", "r1_weight": "1"})


def test_an_assignment_without_equals_is_refused():
    with pytest.raises(configs.SettingsError, match=r"KEY=VALUE.*'steps'"):
        configs.parse_assignments(["steps"])


def test_the_data_folder_comes_from_the_environment_and_the_command_line_wins(monkeypatch):
    monkeypatch.setenv(data_config.DATA_DIR_VARIABLE, "/from/environment")
    assert str(configs.load("smoke").data.data_dir) == "/from/environment"
    assert str(configs.load("smoke", {"data_dir": "/given"}).data.data_dir) == "/given"


@pytest.fixture
def data_mnist(tmp_path, monkeypatch):
    """An empty data/mnist below the current folder, where files are found without a name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_config, "MNIST_FOLDER", pathlib.Path("data", "mnist"))
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("blank", ["", " "])
def test_an_empty_data_folder_is_none(blank, monkeypatch, data_mnist):
    assert configs.load("smoke", {"data_dir": blank}).data.data_dir is None
    monkeypatch.setenv(data_config.DATA_DIR_VARIABLE, blank)
    assert configs.load("smoke").data.data_dir is None


def test_the_files_in_data_mnist_are_found_for_mnist_alone(monkeypatch, data_mnist):
    (data_mnist / "train-images-idx3-ubyte.gz").write_bytes(b"")
    for dataset in ("auto", "mnist", "mnist:3.0.1"):
        assert configs.load("smoke", {"dataset": dataset}).data.data_dir == data_config.MNIST_FOLDER
    assert configs.load("smoke", {"dataset": "fashion_mnist"}).data.data_dir is None
    monkeypatch.setenv(data_config.DATA_DIR_VARIABLE, "/from/environment")
    assert str(configs.load("smoke").data.data_dir) == "/from/environment"


def test_a_preset_has_fewer_steps_for_larger_images_unless_the_user_says_how_many():
    own, given = configs.load("standard"), configs.load("standard", {"steps": "5000"})
    steps = [own.for_images(size).training.steps for size in IMAGE_SIZES]
    assert steps[0] == own.training.steps and steps == sorted(steps, reverse=True)
    assert {given.for_images(size).training.steps for size in IMAGE_SIZES} == {5000}
