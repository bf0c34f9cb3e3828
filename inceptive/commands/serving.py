"""What `inceptive serve` does."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from inceptive.commands.display import say
from inceptive.early_exit import Staged, Whole
from inceptive.export.engines import data_of, is_exported, name_of, open_engine, whole_of
from inceptive.images import printable
from inceptive.prediction import Engine
from inceptive.serve.limits import MIB, Limits


@dataclass(frozen=True)
class Request:
    model: str
    host: str
    port: int
    engine: str
    early_exit: bool
    max_mib: float
    max_images: int
    waiting: int
    seconds: float
    token: str


def serve(request: Request) -> None:
    """Answer until stopped. InceptiveError if the model cannot be opened, or the address not had."""
    from inceptive.serve.app import Served, make_app
    from inceptive.serve.listen import listen

    engine = open_engine(request.model, request.engine, say, request.early_exit)
    explain = explainer(request.model)
    name = Path(request.model).name or request.model
    served = Served(name, engine, about(name, engine, explain is not None), explain)
    limits = Limits(
        body=int(request.max_mib * MIB),
        images=request.max_images,
        waiting=request.waiting,
        seconds=request.seconds,
        token=request.token,
    )
    shown = np.zeros((1, engine.preprocessing.channels, *[engine.preprocessing.size] * 2), np.uint8)
    engine.probs(shown)  # the first time prepares
    listen(make_app(served, limits), request.host, request.port, request.seconds, say)
    say("stopped")


def about(name: str, engine: Engine, explains: bool) -> dict[str, Any]:
    """What `/v1/model` tells."""
    return {
        "name": printable(name),
        "net": cast(Whole, whole_of(engine)).account().net.name,
        "engine": name_of(engine),
        "data": data_of(engine),
        "early_exit": isinstance(engine, Staged),
        "labels": list(engine.labels),
        "preprocessing": engine.preprocessing.to_dict(),
        "temperature": engine.temperature,
        "explains": explains,
    }


def explainer(model: str) -> Callable[[], Callable[[np.ndarray, int], bytes]] | None:
    """What opens the torch model for explanations when one is first asked for; None without one."""
    if is_exported(model):
        return None
    if not all(map(find_spec, ("captum", "matplotlib"))):
        return None

    @cache
    def opened() -> Callable[[np.ndarray, int], bytes]:
        from inceptive.classifier import Classifier
        from inceptive.explain import attribution, figures

        classifier = Classifier.load(model)
        layer = attribution.last_maps(classifier)

        def heat(square: np.ndarray, label: int) -> bytes:
            found = attribution.gradcam(classifier, square, layer, label)
            title = f"what speaks for {classifier.labels[label]}"
            return figures.overlay(square, found, title, "speaks for the class", signed=False)

        return heat

    return opened
