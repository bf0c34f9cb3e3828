"""Choosing when the heads of a trained model answer early, on its validation images."""

from pathlib import Path

import numpy as np
import torch

from inceptive.arch.account import account
from inceptive.arguments import NonNegativeFloat, checked
from inceptive.data.cache import user_cache
from inceptive.data.open import open_data_for
from inceptive.data.pictures import in_order
from inceptive.data.source import Data, Samples, class_indices
from inceptive.engines.classifier import Classifier
from inceptive.engines.early_exit import EarlyExit, choose
from inceptive.engines.header import CONFIG
from inceptive.errors import InceptiveError
from inceptive.evaluation.open import judged
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent
from inceptive.nn.net import evaluating

BATCH = 64


@checked
def choose_early_exit(
    model: str | Path | Classifier,
    data: str | Path | Data | None = None,
    max_drop: NonNegativeFloat = 0.2,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> EarlyExit:
    """Choose when each head of `model` answers for the whole net: see `engines.early_exit.choose`.

    model is a model folder, whose config.json then holds the choice, or a `Classifier`, whose `info`
    does. The choice is made on the validation images of `data` (None: those used in training), where
    top-1 may drop by at most `max_drop` points. Raises InceptiveError if the model has no heads, or
    the images are unavailable.
    """
    progress = progress or Silent()
    folder = None
    if not isinstance(model, Classifier):
        folder = expand(model)
        if not folder.is_dir():
            raise InceptiveError(f"{model}: is no model folder, where the choice could be written")
        model = Classifier.load(folder)
    data = data or model.data.get("name", "")
    if not data:
        raise InceptiveError(
            "exits are chosen on labelled images: name a set of them after the model"
        )
    data = open_data_for(data, model.data, progress=progress)
    data, _ = judged({str(folder or model.model.net.name): model}, data, "val", progress)
    samples, index = data.split("val"), class_indices(data.classes, model.labels)
    progress.say(f"every head on {len(samples)} validation images of {data.name}")
    logits = head_logits(model, samples, progress)
    net = account(model.model.net, model.preprocessing.size)
    chosen = choose(net, logits, index[samples.labels], max_drop)
    model.info["early_exit"] = chosen.to_dict()
    if folder:
        model.save_config(folder)
        progress.say(f"written: {folder / CONFIG}")
    return chosen


@torch.inference_mode()
def head_logits(
    classifier: Classifier, samples: Samples, progress: Progress
) -> dict[str, np.ndarray]:
    """Logits (N, K) of each head and, last, of the net itself.

    Raises InceptiveError, naming the file, for an image that cannot be decoded.
    """
    model = classifier.model
    ends = [*model.net.heads(), model.net.last]
    batches: dict[str, list[np.ndarray]] = {end: [] for end in ends}
    done = 0
    for batch in in_order(samples, classifier.preprocessing, BATCH, user_cache()):
        images = classifier.normalise(batch)
        with evaluating(model):
            outputs = model.endpoints(images, ends)
        for end, logits in outputs.items():
            batches[end].append(logits.float().cpu().numpy())
        done += len(batch)
        progress.advance("evaluating", done, len(samples))
    return {end: np.concatenate(parts) for end, parts in batches.items()}
