"""Feedback on the images from a probe's features: would more help, and which look mislabelled?"""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inceptive.data.source import Samples
from inceptive.data.split import FOLDS, folds_of
from inceptive.io.progress import Progress
from inceptive.training.plan import spread

Fit = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]
"""A probe of features (N, F) and labels (N,): what gives logits (M, K) of features (M, F)."""
SHARES = (0.25, 0.5)
SURE, MOST = 0.95, 24
"""How sure a probe has to be that an image is of another class; images that are named, at most."""


def learning_curve(
    fit: Fit, sides: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]
) -> list[tuple[int, float]]:
    """(number of training images, accuracy of their probe) for the SHARES of each class.

    sides: features (N, F) and labels (N,) to learn from, and features (M, F) and labels (M,) to judge
    by; several of a cross-validation are taken together.
    """
    curve: list[tuple[int, float]] = []
    for share in SHARES:
        counts, hits = [], []
        for features, labels, held, truth in sides:
            classes = (np.flatnonzero(labels == label) for label in np.unique(labels))
            parts = [spread(of, max(1, round(len(of) * share))) for of in classes]
            chosen = torch.from_numpy(np.sort(np.concatenate(parts)))
            linear = fit(features[chosen], labels[chosen])
            counts.append(len(chosen))
            hits.append(linear(held).argmax(1) == truth)
        count = round(float(np.mean(counts)))
        if not curve or count > curve[-1][0]:  # of a few images, shares may be alike
            curve.append((count, float(torch.cat(hits).float().mean())))
    return curve


def suspects(
    fit: Fit, features: Tensor, samples: Samples, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The images that a probe of the others is SURE are of another class, most confident first.

    Each as {"file", "label", "answer", "prob"}. Each fold's probe learns from the other FOLDS - 1.
    """
    labels = torch.from_numpy(samples.labels)
    folds = torch.from_numpy(folds_of(samples))
    probs = torch.zeros(len(labels), len(classes))
    for fold in range(FOLDS):
        rest = folds != fold
        probs[~rest] = fit(features[rest], labels[rest])(features[~rest]).softmax(1)
    prob, answer = probs.max(1)
    contradicted = torch.nonzero((answer != labels) & (prob >= SURE)).flatten()
    order = contradicted[prob[contradicted].argsort(descending=True, stable=True)]
    return [
        {
            "file": samples.name(index),
            "label": classes[int(labels[index])],
            "answer": classes[int(answer[index])],
            "prob": round(float(prob[index]), 4),
        }
        for index in order[:MOST].tolist()
    ]


def say(
    curve: Sequence[tuple[int, float]],
    judged: int,
    recalls: Sequence[float],
    classes: Sequence[str],
    mislabelled: Sequence[dict[str, Any]],
    progress: Progress,
) -> None:
    """Tell the user what the curve, on `judged` images, each class's recall and the mislabelled images
    mean. A gain within its standard error, of two independent proportions, counts as none.
    """
    steps = ", ".join(f"{top1:.1%} with {count}" for count, top1 in curve)
    top1, gain = curve[-1][1], curve[-1][1] - curve[-2][1]
    error = sqrt(2 * top1 * (1 - top1) / judged)
    worst = sorted(range(len(classes)), key=lambda k: recalls[k])[:2]
    least = ", ".join(f"{classes[k]} ({recalls[k]:.0%} of them found)" for k in worst)
    advice = (
        f"twice as many gave {gain:+.1%}: more images would help, of {least} first"
        if gain > error
        else f"that tells nothing: {judged} images to judge by leave {error:.1%} to chance"
        if error > 0.02
        else "more of the same images would help little"
    )
    progress.say(f"images to learn from: {steps}; {advice}")
    if mislabelled:
        first = mislabelled[0]
        progress.say(
            f"images to look at: {len(mislabelled)}, which a probe of the others is sure are of "
            f"another class, first {first['file']} ({first['label']}, looks like {first['answer']}); "
            "report.html shows them"
        )
