"""Where images lie beside each other by their features, in two dimensions."""

import time
import warnings
from importlib.util import find_spec

import numpy as np

from inceptive.data.cache import Cache
from inceptive.data.pictures import in_order
from inceptive.data.source import Samples
from inceptive.engines.embedding import Embedder
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.report.page import FeatureMap

IMAGES, SECONDS, BATCH = 300, 10.0, 20
"""Images on a map, and seconds spent on their features, at most; images that are computed at once."""
LEAST, LEAST_T_SNE = 3, 30
"""Images on a map at least; and where t-SNE, which looks at some thirty neighbours, says anything."""


def feature_map(engine: Engine, samples: Samples, cache: Cache | None = None) -> FeatureMap | None:
    """Lay out images of `samples`, drawn evenly, by what the last layer of `engine` reads of them.

    None for a net that is not ours, for images that can no longer be read and for fewer than LEAST.
    """
    if engine.net is None:
        return None
    order = np.random.default_rng(0).permutation(len(samples))[:IMAGES]
    rows: list[np.ndarray] = []
    end = time.monotonic() + SECONDS
    try:
        embedder = Embedder(engine)
        for squares in in_order(samples.take(order), engine.preprocessing, BATCH, cache):
            rows.append(embedder(squares))
            if time.monotonic() > end:
                break
    except InceptiveError:
        return None
    features = np.concatenate(rows) if rows else np.empty((0, 1))
    if len(features) < LEAST:
        return None
    positions, share = principal_components(features)
    layouts = {f"principal components ({share:.0%} of the variance)": positions}
    if len(features) >= LEAST_T_SNE and find_spec("sklearn"):
        layouts = {"t-SNE": t_sne(features)} | layouts
    return FeatureMap(order[: len(features)], embedder.layer, layouts)


def principal_components(features: np.ndarray) -> tuple[np.ndarray, float]:
    """The first two principal components of `features` (N, F): (N, 2), and their share of variance."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    scores = left[:, :2] * scale[:2]
    if scores.shape[1] < 2:
        scores = np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))
    total = float((scale**2).sum())
    return scores, float((scale[:2] ** 2).sum()) / total if total else 1.0


def t_sne(features: np.ndarray) -> np.ndarray:
    """t-SNE of `features` (N, F) by scikit-learn, from their principal components: (N, 2)."""
    from sklearn.manifold import TSNE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features that are all alike
        tsne = TSNE(perplexity=min(30, len(features) / 4), init="pca", random_state=0)
        return np.asarray(tsne.fit_transform(features.astype(np.float32)))
