import math

import numpy as np
import pytest

from metrics.labels import class_accuracy, class_balance, confusion, label_histogram


def test_a_histogram_counts_classes_that_do_not_occur_too():
    assert label_histogram(np.array([2, 2, 0]), 5).tolist() == [1, 0, 2, 0, 0]
    assert label_histogram(np.zeros(0, int), 3).tolist() == [0, 0, 0]


def test_equal_shares_have_no_divergence_whatever_the_counts():
    balance = class_balance([10, 30], [1, 3])
    assert balance.kl == 0
    assert balance.smallest_ratio == pytest.approx(1)


def test_divergence_is_that_of_the_fakes_from_the_reference_in_nats():
    balance = class_balance([1, 3], [2, 2])
    assert balance.kl == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert balance.shares == (0.25, 0.75) and balance.reference_shares == (0.5, 0.5)


def test_a_dropped_class_has_share_and_ratio_zero_and_a_finite_divergence():
    balance = class_balance([0, 5, 5], [1, 1, 1])
    assert balance.smallest_ratio == 0
    assert balance.kl == pytest.approx(math.log(1.5))


def test_a_rare_class_is_not_taken_for_a_dropped_one():
    balance = class_balance([2, 98], [1, 99])
    assert balance.smallest_ratio == pytest.approx(98 / 99)


def test_classes_that_the_reference_lacks_do_not_count():
    balance = class_balance([4, 4, 2], [1, 1, 0])
    assert balance.kl == pytest.approx(0)
    nothing_known = class_balance([0, 0, 7], [1, 1, 0])
    assert nothing_known.kl == math.inf


@pytest.mark.parametrize(
    ("histogram", "reference", "message"),
    [
        ([1, 2], [1, 2, 3], "must have the same shape"),
        ([0, 0], [1, 2], "histogram must hold counts, one of them above zero"),
        ([1, 2], [0, 0], "reference must hold counts"),
        ([1, -2], [1, 2], "histogram must hold counts"),
        ([1, np.nan], [1, 2], "histogram holds 1 values that are NaN"),
    ],
)
def test_histograms_that_do_not_fit_are_refused(histogram, reference, message):
    with pytest.raises(ValueError, match=message):
        class_balance(histogram, reference)


def test_accuracy_on_the_asked_class_leaves_out_classes_nobody_asked_for():
    counts = confusion(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 1]), 4)
    assert counts[0].tolist() == [2, 1, 0, 0] and counts.sum() == 4
    assert class_accuracy(counts) == {0: pytest.approx(2 / 3), 2: 0.0}


def test_labels_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2, got 0\.\.3"):
        label_histogram(np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="labels must be integers"):
        label_histogram(np.array([0.0, 1.0]), 3)
    with pytest.raises(ValueError, match=r"asked must lie in 0\.\.2, got -1\.\.1"):
        confusion(np.array([-1, 1]), np.array([0, 1]), 3)
    with pytest.raises(ValueError, match=r"predicted must be integers of shape \[2\]"):
        confusion(np.array([0, 1]), np.array([0]), 3)
