"""The maps of an endpoint: channels that one image activates, and images that activate a channel."""

from dataclasses import dataclass

import numpy as np

from inceptive.data.cache import Cache
from inceptive.data.pictures import in_order
from inceptive.data.source import Samples
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError

BATCH = 32


@dataclass(frozen=True)
class Channel:
    """One channel for one image: its mean, its maximum, and the position of that (row, column)."""

    channel: int
    mean: float
    most: float
    at: tuple[int, int]


def maps_of(classifier: Classifier, squares: np.ndarray, layer: str) -> np.ndarray:
    """Compute the maps of `layer` (N, C, H, W) for preprocessed images (N, C, S, S) of uint8.

    Raises InceptiveError if there is no such endpoint, or its output is not a map.
    """
    maps = classifier.computing(layer)(squares)
    if maps.ndim != 4:
        raise InceptiveError(f"{layer} gives numbers, no maps; name a part before the classifier")
    return maps


def top_channels(maps: np.ndarray, count: int) -> list[Channel]:
    """The `count` channels of maps (C, H, W) with the largest mean, largest first."""
    means = maps.mean(axis=(1, 2))
    channels = []
    for k in np.argsort(-means, kind="stable")[:count]:
        row, column = np.unravel_index(int(maps[k].argmax()), maps[k].shape)
        most = float(maps[k, row, column])
        channels.append(Channel(int(k), float(means[k]), most, (int(row), int(column))))
    return channels


def top_activating(
    classifier: Classifier,
    samples: Samples,
    layer: str,
    channels: list[int],
    count: int,
    cache: Cache | None = None,
) -> dict[int, list[tuple[int, float]]]:
    """For each of `channels`, the images with the largest map mean: (index, mean), largest first."""
    means: list[np.ndarray] = []
    for batch in in_order(samples, classifier.preprocessing, BATCH, cache):
        means.append(maps_of(classifier, batch, layer)[:, channels].mean(axis=(2, 3)))
    means_by_image = np.concatenate(means)
    return {
        channel: [
            (int(i), float(means_by_image[i, k]))
            for i in np.argsort(-means_by_image[:, k], kind="stable")[:count]
        ]
        for k, channel in enumerate(channels)
    }
