"""The map of images by their features in `report.html`."""

import re

import numpy as np
import pytest
from conftest import command

import inceptive
from inceptive.evaluation import feature_map as maps
from inceptive.evaluation.feature_map import feature_map, principal_components


def test_principal_components_are_the_eigenvectors_of_the_covariance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 7)) * [9, 5, 1, 1, 1, 1, 1] + 3
    found, share = principal_components(features)
    values, vectors = np.linalg.eigh(np.cov(features.T))
    wanted = (features - features.mean(0)) @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-9)
    assert share == pytest.approx(values[-2:].sum() / values.sum())
    same, share = principal_components(np.ones((4, 3)))
    assert np.abs(same).max() < 1e-9 and share == 1
    assert principal_components(np.arange(5.0)[:, None])[0].shape == (5, 2)


def test_the_page_has_a_dot_for_each_image_and_a_layout_for_each_way(trained, stripes, tmp_path):
    done = command("evaluate", trained[0], stripes, "--split", "test", "--out", tmp_path / "few")
    assert done.returncode == 0
    page = (tmp_path / "few/report.html").read_text()
    assert page.count('class="dot') == 12 and "t-SNE" not in page
    done = command("evaluate", trained[0], stripes, "--split", "train", "--out", tmp_path / "many")
    page = (tmp_path / "many/report.html").read_text()
    assert page.count('class="dot') == 36
    places = re.findall(r"--x0:([0-9.]+)%;--y0:([0-9.]+)%;--x1:([0-9.]+)%;--y1:([0-9.]+)%", page)
    assert len(set(places)) > 6
    assert all(2 <= float(place) <= 98 for row in places for place in row)
    assert ">t-SNE</label>" in page and "of the variance)</label>" in page


def test_images_are_few_where_time_or_number_is_short(trained, stripes, monkeypatch):
    clf = inceptive.Classifier.load(trained[0])
    samples = inceptive.open_data(stripes, progress=None).split("train")
    monkeypatch.setattr(maps, "BATCH", 5)
    monkeypatch.setattr(maps, "IMAGES", 15)
    found = feature_map(clf, samples)
    assert len(found.indices) == len(set(found.indices.tolist())) == 15
    monkeypatch.setattr(maps, "SECONDS", 0)
    assert len(feature_map(clf, samples).indices) == 5
    assert feature_map(clf, samples.take(np.arange(2))) is None
