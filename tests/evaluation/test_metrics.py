"""Metrics, against scikit-learn, SciPy, torch and sums done by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import softmax as scipy_softmax
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from inceptive import metrics

NAMES = ("a", "b", "c", "d", "e")


def drawn(count, classes, seed=0):
    """Random probabilities (count, classes) and labels; every class occurs."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=count - classes)])
    return rng.dirichlet(np.ones(classes), count), rng.permutation(labels)


def answers(count, classes, right, seed=0):
    """Labels, and answers of which about the share `right` is true."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=count - classes)])
    wrong = rng.integers(classes, size=count)
    return labels, np.where(rng.random(count) < right, labels, wrong)


def matrix_of(hits, counts):
    """A confusion matrix whose wrong answers all go to the next class."""
    matrix = np.diag(hits)
    for k, (hit, count) in enumerate(zip(hits, counts, strict=True)):
        matrix[k, (k + 1) % len(hits)] += count - hit
    return matrix


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k_agrees_with_scikit_learn(k, seed):
    probs, labels = drawn(300, 10, seed)
    expected = top_k_accuracy_score(labels, probs, k=k, labels=range(10))
    assert metrics.top_k(probs, labels, k).mean() == pytest.approx(expected)


def test_top_k_of_all_classes_is_always_right():
    probs, labels = drawn(50, 4)
    assert metrics.top_k(probs, labels, 4).all()


@pytest.mark.parametrize(
    ("probs", "label", "k", "right"),
    [
        ([0.5, 0.5, 0.0], 0, 1, True),
        ([0.5, 0.5, 0.0], 1, 1, False),
        ([0.5, 0.5, 0.0], 1, 2, True),
        ([0.2, 0.4, 0.4], 0, 2, False),
        ([0.25, 0.5, 0.25], 0, 2, True),
        ([0.25, 0.5, 0.25], 2, 2, False),
        ([0.25, 0.5, 0.25], 2, 3, True),
    ],
)
def test_of_equal_ones_the_first_is_the_answer(probs, label, k, right):
    assert metrics.top_k(np.array([probs]), np.array([label]), k).tolist() == [right]


@pytest.mark.parametrize("levels", [2, 3, 50])
def test_top_1_is_the_trace_of_the_confusion_matrix_whatever_the_ties(levels):
    rng = np.random.default_rng(levels)
    probs, labels = rng.integers(0, levels, (400, 6)) / levels, rng.integers(0, 6, 400)
    matrix = metrics.confusion(probs.argmax(axis=1), labels, 6)
    assert metrics.top_k(probs, labels, 1).sum() == np.trace(matrix) > 0


def test_an_answer_that_is_not_a_number_is_never_right():
    probs = np.full((2, 3), np.nan)
    assert not metrics.top_k(probs, np.array([0, 2]), 1).any()


@pytest.mark.parametrize("count", [1, 2, 7, 50, 997, 100_000])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.5, 0.95, 1])
def test_wilson_agrees_with_scipy(share, count):
    hits = round(share * count)
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert metrics.wilson(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_is_everything():
    assert metrics.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "count"), [(0, 9), (9, 9), (0, 123_457), (123_457, 123_457)])
def test_wilson_stays_within_0_and_1(hits, count):
    low, high = metrics.wilson(hits, count)
    assert 0 <= low < high <= 1


@pytest.mark.parametrize("right", [0.0, 0.6, 1.0])
def test_confusion_agrees_with_scikit_learn(right):
    labels, predicted = answers(200, 5, right)
    expected = confusion_matrix(labels, predicted, labels=range(5))
    assert (metrics.confusion(predicted, labels, 5) == expected).all()


def test_confusion_keeps_classes_that_do_not_occur():
    matrix = metrics.confusion(np.array([1, 1, 0]), np.array([1, 0, 0]), 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [
        answers(300, 5, 0.7),
        ([0, 0, 1, 1, 2, 3, 4], [0, 1, 1, 0, 2, 3, 4]),
        ([0, 0, 1, 1, 2], [0, 1, 1, 3, 3]),  # 2 never answered, 3 never true, 4 neither
        ([0, 0, 0], [1, 1, 1]),
    ],
)
def test_per_class_agrees_with_scikit_learn(labels, predicted):
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    expected = precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=np.nan
    )
    found = metrics.per_class(metrics.confusion(predicted, labels, 5), NAMES)
    assert [one.label for one in found] == list(NAMES)
    for name, column in zip(("precision", "recall", "f1", "count"), expected, strict=True):
        np.testing.assert_allclose([getattr(one, name) for one in found], column, err_msg=name)


@pytest.mark.parametrize("right", [0.0, 0.4, 0.9, 1.0])
def test_balanced_accuracy_agrees_with_scikit_learn(right):
    labels, predicted = answers(400, 5, right, seed=3)
    value, (low, high) = metrics.balanced_accuracy(metrics.confusion(predicted, labels, 5))
    assert value == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert low <= value <= high


def test_few_images_that_are_all_right_leave_balanced_accuracy_uncertain():
    value, (low, high) = metrics.balanced_accuracy(np.diag([5, 5, 5, 5]))
    assert (value, high) == (1.0, 1.0) and 0.7 < low < 0.97  # top-1: 0.839, by Wilson
    value, (low, high) = metrics.balanced_accuracy(np.array([[2, 0], [2, 0]]))
    assert low < 0.4 and value == 0.5 and high > 0.6


def test_balanced_accuracy_ignores_a_class_that_does_not_occur():
    without = metrics.balanced_accuracy(np.array([[8, 2], [5, 5]]))
    with_one = metrics.balanced_accuracy(np.array([[8, 2, 0], [5, 5, 0], [0, 0, 0]]))
    assert with_one == without
    assert without[0] == pytest.approx((0.8 + 0.5) / 2)


def test_interval_of_balanced_accuracy_shrinks_with_more_images():
    widths = []
    for times in (1, 4, 16, 64):
        matrix = matrix_of(np.array([9, 14, 6]) * times, np.array([10, 20, 12]) * times)
        _, (low, high) = metrics.balanced_accuracy(matrix)
        widths.append(high - low)
    for wide, narrow in pairwise(widths):
        assert narrow == pytest.approx(wide / 2, rel=0.15)  # four times the images


def test_interval_of_balanced_accuracy_is_the_normal_one_for_many_images():
    hits, counts = np.array([800, 2100, 1500]), np.array([1000, 3000, 2000])
    p = hits / counts
    half = 1.96 * np.sqrt((p * (1 - p) / counts).sum()) / 3
    value, (low, high) = metrics.balanced_accuracy(matrix_of(hits, counts))
    assert low == pytest.approx(value - half, abs=0.1 * half)
    assert high == pytest.approx(value + half, abs=0.1 * half)


def test_calibration_error_of_a_small_example():
    # 0.95 twice, both right: gap 2 * 0.05. 0.65 twice, once right: gap |1.3 - 1|. Over 4 images.
    probs = np.array([[0.95, 0.05], [0.05, 0.95], [0.65, 0.35], [0.65, 0.35]])
    error = metrics.calibration_error(probs, np.array([0, 1, 0, 1]), bins=10)
    assert error == pytest.approx((0.1 + 0.3) / 4)


@pytest.mark.parametrize(("label", "error"), [(0, 0.0), (1, 1.0)])
def test_calibration_error_counts_those_who_are_certain(label, error):
    probs = np.array([[1.0, 0.0]] * 3)
    assert metrics.calibration_error(probs, np.full(3, label)) == pytest.approx(error)


@pytest.mark.parametrize("bins", [5, 15, 40])
@pytest.mark.parametrize("classes", [2, 10])
def test_calibration_error_agrees_with_a_plain_loop(classes, bins):
    rng = np.random.default_rng(classes)
    probs = rng.dirichlet(np.ones(classes), 500)
    labels = np.array([rng.choice(classes, p=p) for p in probs])  # so that gaps go both ways
    total = 0.0
    for b in range(bins):
        chosen = [
            (max(p), np.argmax(p) == label)
            for p, label in zip(probs, labels, strict=True)
            if b / bins < max(p) <= (b + 1) / bins
        ]
        if chosen:
            confidence, right = np.mean(chosen, axis=0)
            total += len(chosen) / len(labels) * abs(right - confidence)
    assert metrics.calibration_error(probs, labels, bins) == pytest.approx(total)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 7.5])
@pytest.mark.parametrize("size", [1.0, 50.0, 1e4, 1e30])
def test_softmax_agrees_with_scipy_and_torch(size, temperature):
    logits = np.random.default_rng(0).normal(size=(40, 6)) * size
    found = metrics.softmax(logits, temperature)
    np.testing.assert_allclose(found, scipy_softmax(logits / temperature, axis=1), atol=1e-15)
    expected = torch.softmax(torch.from_numpy(logits) / temperature, 1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-15)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_softmax_of_single_precision_is_computed_in_double():
    logits = np.array([[20.0, 0.0]], dtype=np.float32)
    assert metrics.softmax(logits)[0, 1] == pytest.approx(1 / (1 + np.exp(20.0)), rel=1e-12, abs=0)


def test_negative_log_likelihood_agrees_with_scikit_learn():
    probs, labels = drawn(200, 6)
    expected = log_loss(labels, probs, labels=range(6))
    assert metrics.negative_log_likelihood(probs, labels) == pytest.approx(expected)


def test_negative_log_likelihood_of_the_impossible_is_finite():
    loss = metrics.negative_log_likelihood(np.array([[0.0, 1.0]]), np.array([0]))
    assert 20 < loss < 1000


def test_negative_log_likelihood_is_torch_s_cross_entropy_of_hopeless_answers():
    logits, labels = np.array([[0.0, 247.0, 3.0], [1.0, 0.0, 90.0]]), np.array([0, 1])
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    found = metrics.negative_log_likelihood(metrics.softmax(logits), labels)
    assert found == pytest.approx(expected.item())


def simulated(scale, times, seed=0, count=4000):
    """Logits whose softmax is the truth, then multiplied by `times`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 5)) * scale
    truth = torch.softmax(torch.from_numpy(logits), 1)
    labels = torch.multinomial(truth, 1, generator=torch.Generator().manual_seed(seed))[:, 0]
    return logits * times, labels.numpy()


def some_hopeless(margin):
    """Right by 5 in 99 of 100 answers, wrong by `margin` in the others."""
    logits = np.zeros((1000, 3))
    logits[:, 0] = np.random.default_rng(0).normal(5, 1, 1000)
    logits[::100] = [0, margin, 0]
    return logits, np.zeros(1000, dtype=np.int64)


@pytest.mark.parametrize("times", [0.25, 1.0, 3.0, 12.0])
def test_fit_temperature_recovers_a_known_temperature(times):
    assert metrics.fit_temperature(*simulated(2.0, times)) == pytest.approx(times, rel=0.06)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [simulated(1.0, 0.3), simulated(2.0, 3.0), simulated(5.0, 8.0, seed=1), simulated(3.0, 18.0)],
    ids=["cool", "warm", "sure", "hot"],
)
def test_fit_temperature_agrees_with_scipy(logits, labels):
    z, y = torch.from_numpy(logits), torch.from_numpy(labels)
    best = minimize_scalar(
        lambda t: torch.nn.functional.cross_entropy(z / np.exp(t), y).item(),
        bounds=(-3, 3),
        method="bounded",
        options={"xatol": 1e-6},
    )
    assert metrics.fit_temperature(logits, labels) == pytest.approx(np.exp(best.x), rel=1e-2)


@pytest.mark.parametrize("margin", [12.0, 200.0])
def test_few_answers_that_are_sure_and_wrong_do_not_decide_the_temperature(margin):
    assert metrics.fit_temperature(*some_hopeless(margin)) == 1.0


def test_fit_temperature_ends_when_every_answer_is_right():
    logits = np.eye(4) * 1000
    temperature = metrics.fit_temperature(logits, np.arange(4))
    assert np.exp(-3) <= temperature <= np.exp(3)


@pytest.mark.parametrize("count", [20, 150])
def test_where_every_answer_is_right_none_is_made_certain(count):
    """Likelihood alone went to its bound, e^-3: what was 89 % sure became 99.99999999999."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count)
    logits = rng.normal(0, 0.5, (count, 3)) + 3 * np.eye(3)[labels]
    assert (logits.argmax(axis=1) == labels).all()
    probs = metrics.softmax(logits, metrics.fit_temperature(logits, labels))
    assert probs.max(axis=1).mean() == pytest.approx(1 - 1 / (count + 1), abs=0.04)
    assert probs.min(axis=1).max() > 1e-4 and probs.max() < 1 - 1e-5


def test_a_fitted_temperature_changes_no_answer():
    logits, labels = simulated(2.0, 3.0)
    scaled = metrics.softmax(logits, metrics.fit_temperature(logits, labels))
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_a_fitted_temperature_lowers_the_loss_and_the_calibration_error():
    logits, labels = simulated(2.0, 3.0)
    plain = metrics.softmax(logits)
    scaled = metrics.softmax(logits, metrics.fit_temperature(logits, labels))
    for measure in (metrics.negative_log_likelihood, metrics.calibration_error):
        assert measure(scaled, labels) < measure(plain, labels)


def test_an_accuracy_of_zero_is_one():
    known = metrics.Threshold(target=0.9, count=20, threshold=0.8, share=0.5, accuracy=0.95)
    assert metrics.choose_threshold("mine", (known,), 0.0) == (0.8, 0.95, 20)


def test_a_threshold_is_half_or_more_and_its_accuracy_that_of_answers_above_it():
    """Raised to a half, it had the accuracy and the count of the answers above the one before."""
    probs, labels = np.full((100, 10), 0.6 / 9), np.zeros(100, dtype=np.int64)
    probs[:, 0] = 0.4
    probs[60:] = 0.3 / 9
    probs[60:95, 0] = probs[95:, 1] = 0.7
    assert [each.target for each in metrics.thresholds(probs, labels)] == []
    probs[95:] = probs[60]
    assert {(each.threshold, each.count) for each in metrics.thresholds(probs, labels)} == {
        (0.7, 40)
    }
    old = metrics.Threshold(target=0.95, count=100, threshold=0.4, share=1.0, accuracy=0.95)
    assert metrics.choose_threshold("mine", (old,), None) == (0.5, None, 0)
