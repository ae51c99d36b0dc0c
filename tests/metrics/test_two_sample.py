import numpy as np
import pytest

from metrics import two_sample


def test_scores_that_say_nothing_are_chance_and_perfect_ones_are_1():
    random = np.random.default_rng(0)
    fake, real = random.random((2, 4000))
    found = two_sample.from_scores(fake, real)
    assert found.accuracy_low < 0.5 < found.accuracy_high
    assert found.auc_low < 0.5 < found.auc_high
    perfect = two_sample.from_scores(0.6 + 0.4 * fake, 0.4 * real)
    assert perfect.accuracy == perfect.auc == perfect.sure == 1
    assert found.sure < 0.02


def test_ties_count_half():
    assert two_sample.from_scores([0.5, 0.5, 0.9], [0.5, 0.5, 0.5]).auc == pytest.approx(2 / 3)


def test_the_intervals_hold_the_truth_about_19_times_in_20():
    random = np.random.default_rng(1)
    draws = [
        two_sample.from_scores(
            np.clip(random.normal(0.55, 0.2, 500), 0, 1),
            np.clip(random.normal(0.45, 0.2, 500), 0, 1),
        )
        for _ in range(300)
    ]
    for name in ("accuracy", "auc"):
        truth = np.mean([getattr(d, name) for d in draws])
        held = [getattr(d, f"{name}_low") <= truth <= getattr(d, f"{name}_high") for d in draws]
        assert 0.91 <= np.mean(held) <= 0.98


def test_a_classifier_tells_fogged_digits_from_real_ones_and_not_real_from_real(digits):
    images = digits[0][np.random.default_rng(0).permutation(len(digits[0]))]
    fogged = np.maximum(images[:800], 40)
    assert two_sample.two_sample(fogged, images[800:1600]).accuracy > 0.9
    fair = two_sample.two_sample(images[:800], images[800:1600])
    assert fair.accuracy < 0.6
    assert two_sample.two_sample(images[:800], images[800:1600]) == fair
    assert two_sample.two_sample(fogged[:100], images[800:900]).accuracy > 0.9
    # In black and white the fog is gone.
    np.testing.assert_array_equal(*map(two_sample.binarised, (fogged, images[:800])))


def test_too_few_images_are_refused(digits):
    with pytest.raises(ValueError, match="at least 100 images on each side, got 50"):
        two_sample.two_sample(digits[0][:50], digits[0][50:400])
