"""The Fréchet distance beside closed forms, and beside SciPy's square root."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from inceptive.errors import InceptiveError
from inceptive.fidelity.frechet import Statistics, frechet_distance, infinite_distance


def test_of_two_normal_distributions_on_a_line():
    """(2 - 5)² + (3 - 1)²: means 2 and 5, standard deviations 3 and 1."""
    first = Statistics(np.array([2.0]), np.array([[9.0]]))
    second = Statistics(np.array([5.0]), np.array([[1.0]]))
    assert frechet_distance(first, second) == pytest.approx(13, rel=1e-12)


def test_of_independent_coordinates_it_is_the_sum_over_them():
    first = Statistics(np.array([0.0, 1, 2]), np.diag([1.0, 4, 9]))
    second = Statistics(np.array([1.0, 1, 0]), np.diag([4.0, 4, 0]))
    assert frechet_distance(first, second) == pytest.approx(1 + 4 + 1 + 9, rel=1e-12)


def test_a_turn_of_both_changes_nothing():
    random = np.random.default_rng(1)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    first, second = np.diag([1.0, 4, 9]), np.diag([4.0, 4, 1])
    turned = [Statistics(np.zeros(3), turn @ each @ turn.T) for each in (first, second)]
    assert frechet_distance(*turned) == pytest.approx(1 + 0 + 4, rel=1e-12)


def made(count, seed, features=12):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(features, features))
    return (random.normal(size=(count, features)) @ mixing + seed).astype(np.float32)


def test_it_is_that_of_scipys_square_root():
    sides = [Statistics.of(made(100, seed)) for seed in (1, 2)]
    root = sqrtm(sides[0].covariance @ sides[1].covariance).real
    difference = sides[0].mean - sides[1].mean
    expected = difference @ difference + sum(np.trace(s.covariance) for s in sides)
    expected -= 2 * np.trace(root)
    assert frechet_distance(*sides) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(*sides[::-1]) == pytest.approx(expected, rel=1e-10)


def test_statistics_are_numpys_in_double_precision():
    features = made(3000, 3)
    statistics = Statistics.of(features)
    assert statistics.count == 3000
    np.testing.assert_allclose(statistics.mean, features.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        statistics.covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-10
    )


def test_fewer_pictures_than_features_are_exact_too():
    """The root of a singular product: each side on a plane of its own, and so by hand."""
    points = np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0]])
    others = np.array([[0.0, 3, 0, 0], [0, -3, 0, 0]])
    sides = Statistics.of(points), Statistics.of(others)
    assert frechet_distance(*sides) == pytest.approx(2 + 18, rel=1e-12)  # variances 2 and 18
    few = Statistics.of(made(5, 4))
    assert abs(frechet_distance(few, few)) < 1e-10 * np.trace(few.covariance)


def test_what_is_no_covariance_is_refused():
    good, bad = np.eye(2), np.diag([1.0, -0.1])
    for sides in ((good, bad), (bad, good)):
        first, second = (Statistics(np.zeros(2), each) for each in sides)
        with pytest.raises(InceptiveError, match=r"eigenvalue -0\.1"):
            frechet_distance(first, second)


def test_extrapolated_it_loses_what_few_pictures_add():
    """Both sides follow one distribution, whose distance to itself is 0."""
    random = np.random.default_rng(5)
    real = Statistics(np.zeros(32), np.eye(32))
    generated = random.normal(size=(2000, 32)).astype(np.float32)
    calls = []
    plain = frechet_distance(real, Statistics.of(generated))
    infinite = infinite_distance(real, generated, 0, lambda *done: calls.append(done))
    assert plain > 0.1 and abs(infinite) < plain / 5
    assert (
        infinite == infinite_distance(real, generated, 0) != infinite_distance(real, generated, 1)
    )
    assert calls[-1] == (15, 15)
