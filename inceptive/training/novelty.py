"""The novelty criterion that training fits on its validation images."""

import numpy as np

from inceptive.data.cache import Cache
from inceptive.data.pictures import in_order
from inceptive.data.source import Samples
from inceptive.engines.classifier import Classifier
from inceptive.engines.novelty import Novelty
from inceptive.training.plan import spread

MOST = 1000
"""Validation images that are enough to tell."""
BATCH = 64


def find_novelty(classifier: Classifier, val: Samples, cache: Cache | None) -> Novelty | None:
    """Fit the criterion for images like none of the classes on `val`; None if these are too few."""
    some = val.take(spread(np.arange(len(val)), MOST))
    batches = in_order(some, classifier.preprocessing, BATCH, cache)
    features, logits = zip(*map(classifier.features_and_logits, batches), strict=True)
    return Novelty.fit(np.concatenate(features), np.concatenate(logits))
