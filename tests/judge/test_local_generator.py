"""Drawing digits from an exported generator in process."""

import numpy as np
import pytest

from common.contract import ANY_LABEL, ContractError
from judge import local_generator
from tests import fixtures_generators as generators


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A generator whose images tell their class by brightness, and that never saw class 2."""
    labels = np.repeat(np.arange(4), 5)
    images = np.broadcast_to(
        (labels * 60 + np.arange(20) % 5)[:, None, None, None], (20, 28, 28, 1)
    )
    return generators.export(
        tmp_path_factory.mktemp("model"),
        images.astype(np.uint8),
        labels,
        classes_present=(0, 1, 3),
        class_names=("0", "shirt", "2", "3"),
    )


def test_the_same_seed_and_label_give_the_same_image_in_any_batch(model):
    seeds = list(range(1200))
    labels = [0, 1, 3] * 400
    together = local_generator.draw(model, labels, seeds)
    assert together.shape == (1200, 28, 28, 1) and together.dtype == np.uint8
    for i in (0, 499, 500, 1199):
        np.testing.assert_array_equal(
            local_generator.draw(model, [labels[i]], [seeds[i]])[0], together[i]
        )
    np.testing.assert_array_equal(together[:, 0, 0, 0] // 60, labels)


def test_a_class_that_the_model_never_saw_is_refused_with_those_it_draws(model):
    with pytest.raises(
        local_generator.GeneratorError, match=r"never saw class 2: it draws 0, 1 \(shirt\), 3"
    ):
        local_generator.draw(model, [0, 2], [1, 2])
    with pytest.raises(local_generator.GeneratorError, match="class 11"):
        local_generator.draw(model, [11], [1])


def test_any_label_lets_the_seed_choose(model):
    assert local_generator.draw(model, [ANY_LABEL] * 3, [1, 2, 3]).shape == (3, 28, 28, 1)


def test_a_generator_that_is_unconditional_says_so_and_draws_what_comes(tmp_path):
    images = np.full([4, 28, 28, 1], 200, np.uint8)
    folder = generators.export(tmp_path / "model", images, np.arange(4), conditional=False)
    with pytest.raises(
        local_generator.GeneratorError, match=r"can't be asked for class 3.*label -1"
    ):
        local_generator.draw(folder, [3], [1])
    labels, seeds = local_generator.load(str(folder)).contract.ten_of_each(0)
    assert local_generator.draw(folder, labels, seeds).shape == (40, 28, 28, 1)


def test_labels_and_seeds_must_be_as_many(model):
    with pytest.raises(local_generator.GeneratorError, match="2 labels and 1 seeds"):
        local_generator.draw(model, [0, 1], [1])


def test_a_folder_without_a_contract_is_refused(tmp_path):
    with pytest.raises(ContractError, match="not exported by this project"):
        local_generator.draw(tmp_path, [0], [0])


def test_a_broken_saved_model_is_refused(model, tmp_path):
    local_generator.GeneratorContract.load(model).write(tmp_path)
    with pytest.raises(local_generator.GeneratorError, match=r"holds no saved_model\.pb"):
        local_generator.draw(tmp_path, [0], [0])
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(local_generator.GeneratorError, match="is no SavedModel"):
        local_generator.draw(tmp_path, [0], [0])


def test_ten_of_each_class_present(model):
    labels, seeds = local_generator.GeneratorContract.load(model).ten_of_each(5)
    assert labels == [0] * 10 + [1] * 10 + [3] * 10
    assert seeds == list(range(5, 35))
