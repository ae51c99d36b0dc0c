import numpy as np
import pytest

from metrics import relative

COUNTS = np.array([120, 80])


def population(random, count: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Features of two classes that lie apart, and their labels."""
    labels = np.repeat([0, 1], [count * 3 // 5, count - count * 3 // 5])
    features = random.normal(size=(count, 6)) * [1, 1, 0.5, 0.5, 0.2, 0.2]
    return features + shift + labels[:, None] * 2.0, labels


def judged(seed: int, shift: float = 0.0) -> relative.RelativeFid:
    random = np.random.default_rng(seed)
    train, labels = population(random, 1000)
    folds = relative.real_folds(train, labels, 200, COUNTS)
    return relative.relative_fid(*population(random, 200, shift), folds)


def test_folds_are_disjoint_equal_and_have_the_classes_that_are_asked_for():
    labels = np.repeat([0, 1], [600, 400])
    folds = relative.fold_rows(labels, COUNTS, seed=1)
    rows = np.concatenate(folds)
    assert len(folds) == 5 and len(set(rows)) == len(rows) == 1000
    for fold in folds:
        np.testing.assert_array_equal(np.bincount(labels[fold]), COUNTS)


def test_a_class_with_too_few_rows_is_cut_in_halves():
    labels = np.repeat([0, 1], [600, 30])
    folds = relative.fold_rows(labels, COUNTS, seed=1)
    assert [np.bincount(labels[fold]).tolist() for fold in folds] == [[120, 15]] * 2


def test_more_real_images_score_about_one_and_a_shift_scores_more():
    found = [judged(seed).value for seed in range(20)]
    assert np.mean(found) == pytest.approx(1, abs=0.1)
    assert judged(0, shift=0.2).value > 2


def test_numerator_and_denominator_are_at_the_same_number_of_images():
    random = np.random.default_rng(0)
    train, labels = population(random, 400)
    folds = relative.real_folds(train, labels, 400, np.array([240, 160]))
    assert folds.size == 100 and folds.parts == 4
    found = relative.relative_fid(*population(random, 400), folds)
    assert 0.5 < found.value < 2
    assert found.fid_real == pytest.approx(folds.pairs.mean())


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_the_intervals_hold_the_mean_about_19_times_in_20_and_are_no_wider_than_that(shift):
    draws = []
    for seed in range(120):
        random = np.random.default_rng(seed)
        train, labels = population(random, 1000)
        folds = relative.real_folds(train, labels, 200, COUNTS)
        (fakes, asked), (others, _) = population(random, 200, shift), population(random, 200, 0.1)
        alone = relative.relative_fid(fakes, asked, folds)
        pair = relative.paired_difference(fakes, others, asked, folds)
        draws.append([(alone.value, alone.low, alone.high), pair])
    value, low, high = np.moveaxis(np.array(draws), -1, 0)
    held = np.mean((low <= value.mean(axis=0)) & (value.mean(axis=0) <= high), axis=0)
    assert (held >= 0.88).all()
    deviations = (high - low).mean(axis=0) / 2 / value.std(axis=0)
    assert (deviations > 1.6).all() and (deviations < 2.4).all()


def test_a_paired_difference_is_narrower_than_one_of_strangers_and_zero_with_itself():
    random = np.random.default_rng(3)
    train, labels = population(random, 1000)
    folds = relative.real_folds(train, labels, 200, COUNTS)
    one, asked = population(random, 200)
    same = relative.paired_difference(one, one, asked, folds)
    assert same == (0.0, 0.0, 0.0)
    worse = one + random.normal(size=one.shape) * 0.05 + 0.1
    paired = relative.paired_difference(worse, one, asked, folds)
    other = relative.paired_difference(population(random, 200, 0.1)[0], one, asked, folds)
    assert 0 < paired[1] < paired[0] < paired[2]
    assert paired[2] - paired[1] < other[2] - other[1]


def test_folds_come_back_from_their_arrays():
    random = np.random.default_rng(3)
    folds = relative.real_folds(*population(random, 1000), 200, COUNTS)
    again = relative.Folds.of_arrays(folds.arrays())
    fakes = population(random, 200)
    found, expected = (
        list(vars(relative.relative_fid(*fakes, each)).values()) for each in (again, folds)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_too_few_fakes_are_refused():
    random = np.random.default_rng(3)
    folds = relative.real_folds(*population(random, 1000), 200, COUNTS)
    with pytest.raises(ValueError, match="at least 200 rows"):
        relative.relative_fid(*population(random, 100), folds)
