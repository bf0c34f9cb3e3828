"""What `inceptive early-exit` does once torch is loaded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from inceptive.arch.account import account
from inceptive.cli import tables as output
from inceptive.cli.dataset import as_learned
from inceptive.cli.progress import Display
from inceptive.data.cache import user_cache
from inceptive.data.pictures import in_order
from inceptive.data.source import Samples, places
from inceptive.engines.classifier import Classifier
from inceptive.engines.early_exit import EarlyExit, choose
from inceptive.errors import InceptiveError
from inceptive.io.paths import expand

BATCH = 64


@dataclass(frozen=True)
class Request:
    model: str
    data: str
    max_drop: float
    json: bool


def choose_exits(request: Request) -> None:
    """Choose on validation images, write `config.json`, print what was found there."""
    folder = expand(request.model)
    if not folder.is_dir():
        raise InceptiveError(f"{request.model}: is no model folder; exits are kept in one")
    classifier = Classifier.load(folder)
    told = classifier.info.get("data", {})
    name = request.data or told.get("name", "")
    if not name:
        raise InceptiveError("exits are chosen on labelled images: name a set of them after MODEL")
    display = Display()
    data = as_learned(name, told, display)
    samples, number = data.split("val"), places(data.classes, classifier.labels)
    display.say(f"every head on {len(samples)} validation images of {data.name}")
    logits = every_end(classifier, samples, display)
    display.close()
    cost = account(classifier.model.net, classifier.preprocessing.size)
    chosen = choose(cost, logits, number[samples.labels], request.max_drop)
    classifier.info["early_exit"] = chosen.to_dict()
    classifier.save_config(folder)
    display.say(f"written: {folder}/config.json")
    output.answer(output.as_json(chosen.to_dict()) if request.json else as_text(chosen))


@torch.inference_mode()
def every_end(classifier: Classifier, samples: Samples, display: Display) -> dict[str, np.ndarray]:
    """Logits (N, K) of each head and, last, of the net itself.

    Raises InceptiveError, naming the file, for an image that cannot be decoded.
    """
    model = classifier.model
    ends = [*model.net.heads(), model.net.body.parts[-1][0]]
    found: dict[str, list[np.ndarray]] = {end: [] for end in ends}
    done = 0
    for batch in in_order(samples, classifier.preprocessing, BATCH, user_cache()):
        images = classifier.normalise(torch.from_numpy(batch))
        for end, logits in model.endpoints(images, ends).items():
            found[end].append(logits.float().numpy())
        done += len(batch)
        display.load(done, len(samples))
    return {end: np.concatenate(parts) for end, parts in found.items()}


def as_text(chosen: EarlyExit) -> str:
    """What was chosen, for a person to read."""
    found: dict[str, Any] = chosen.found
    leave = found["leave"]
    rows = [
        (one.head, f"{one.threshold:.3f}", f"{leave.get(one.head, 0):.1%}") for one in chosen.exits
    ]
    rows.append(("the whole net", "", f"{1 - sum(leave.get(e.head, 0) for e in chosen.exits):.1%}"))
    return "\n".join(
        [
            output.columns(("answers", "where at least", "share of images"), rows),
            "",
            f"top-1         {found['top1_full']:.2%} -> {found['top1']:.2%} of {found['count']} "
            f"validation images, on which this was chosen (bound {chosen.max_drop:g} points)",
            f"multiply-adds {found['macs_full'] / 1e6:.1f} M -> {found['macs'] / 1e6:.1f} M an image, "
            f"{found['macs_full'] / found['macs']:.2f} times fewer",
        ]
    )
