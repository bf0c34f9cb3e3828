"""KID, the Inception Score and PRDC beside their formulas, written out in plain loops."""

import math

import numpy as np
import pytest

from inceptive.fidelity.kernel import kernel_distance
from inceptive.fidelity.prdc import prdc
from inceptive.fidelity.score import inception_score


def features(count, seed, width=6):
    return np.random.default_rng(seed).normal(0.1 * seed, 1, (count, width)).astype(np.float32)


def plain_kid(x, y):
    def kernel(a, b):
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n = len(x)
    pairs = [(i, j) for i in range(n) for j in range(n)]
    within = sum(kernel(z[i], z[j]) for z in (x, y) for i, j in pairs if i != j) / (n * (n - 1))
    return within - 2 * sum(kernel(x[i], y[j]) for i, j in pairs) / n**2


def test_kid_of_all_pictures_is_the_formula():
    real, generated = features(9, 1), features(9, 2)
    kid = kernel_distance(real, generated, 3, 9, 0)
    assert kid.mean == pytest.approx(plain_kid(generated, real), rel=1e-10)
    assert kid.std < 1e-12


def test_kid_of_subsets_is_that_of_the_subsets_the_seed_draws():
    real, generated = features(20, 1), features(15, 2)
    random = np.random.RandomState(7)
    values = []
    for _ in range(4):
        x = generated[random.choice(15, 6, replace=False)]
        values.append(plain_kid(x, real[random.choice(20, 6, replace=False)]))
    kid = kernel_distance(real, generated, 4, 6, 7)
    assert kid.mean == pytest.approx(np.mean(values), rel=1e-10)
    assert kid.std == pytest.approx(np.std(values), rel=1e-8)


def plain_score(logits):
    probs = [[math.exp(z) / sum(map(math.exp, row)) for z in row] for row in logits.tolist()]
    mean = [sum(column) / len(probs) for column in zip(*probs, strict=True)]
    divergences = [
        sum(p * math.log(p / q) for p, q in zip(row, mean, strict=True)) for row in probs
    ]
    return math.exp(sum(divergences) / len(probs))


def test_the_inception_score_is_the_formula():
    logits = features(10, 3, 4)
    score = inception_score(logits, 1, 0)
    assert (score.mean, score.std) == (pytest.approx(plain_score(logits), rel=1e-10), 0)


def test_the_inception_score_of_splits_is_that_of_the_shuffled_parts():
    logits = features(11, 3, 4)
    shuffled = logits[np.random.RandomState(2020).permutation(11)]
    parts = [plain_score(part) for part in (shuffled[:3], shuffled[3:7], shuffled[7:])]
    score = inception_score(logits, 3, 2020)
    assert score.mean == pytest.approx(np.mean(parts), rel=1e-10)
    assert score.std == pytest.approx(np.std(parts), rel=1e-8)


def test_sure_and_different_answers_score_as_many_as_there_are():
    assert inception_score(1000 * np.eye(4), 1, 0).mean == pytest.approx(4)
    assert inception_score(np.ones((5, 4)), 1, 0).mean == pytest.approx(1)


def plain_prdc(real, generated, k):
    def radius(points, i):
        return sorted(math.dist(points[i], q) for j, q in enumerate(points) if j != i)[k - 1]

    inside = [[math.dist(p, g) < radius(real, i) for i, p in enumerate(real)] for g in generated]
    recalled = [any(math.dist(p, g) < radius(generated, j) for j, g in enumerate(generated))
                for p in real]  # fmt: skip
    covered = [any(row[i] for row in inside) for i in range(len(real))]
    return (
        sum(map(any, inside)) / len(generated),
        sum(recalled) / len(real),
        sum(map(sum, inside)) / (k * len(generated)),
        sum(covered) / len(real),
    )


@pytest.mark.parametrize("neighbours", [1, 3])
def test_prdc_is_the_formula(neighbours, monkeypatch):
    monkeypatch.setattr("inceptive.fidelity.prdc.ROWS", 7)  # several parts
    real, generated = features(30, 1, 2), features(23, 5, 2)
    assert prdc(real, generated, neighbours) == pytest.approx(
        plain_prdc(real, generated, neighbours), rel=1e-12
    )


def test_a_radius_ends_at_the_neighbour():
    two = np.array([[0.0], [1.0]])
    others = np.array([[-0.999], [-1.001], [1.999], [2.001]])
    assert prdc(others, two, 1).recall == prdc(two, others, 1).precision == 0.5


def test_prdc_of_pictures_far_away_is_nothing():
    assert prdc(features(9, 1), features(9, 1) + 100, 2) == (0, 0, 0, 0)
