"""What `inceptive serve` does."""

from dataclasses import dataclass
from pathlib import Path

from inceptive.cli.progress import say
from inceptive.errors import InceptiveError
from inceptive.images import printable
from inceptive.serving.limits import MIB, Limits


@dataclass(frozen=True)
class Request:
    models: list[str]
    host: str
    port: int
    engine: str
    early_exit: bool
    accuracy: float | None
    max_mib: float
    max_images: int
    waiting: int
    seconds: float
    token: str


def serve(request: Request) -> None:
    """Answer until stopped. InceptiveError if a model cannot be opened, or the address not had."""
    from inceptive.serving.app import make_app
    from inceptive.serving.listen import listen
    from inceptive.serving.served import Served

    models = [
        Served.open(model, name, request.engine, request.early_exit, request.accuracy, say)
        for model, name in zip(request.models, names(request.models), strict=True)
    ]
    limits = Limits(
        body=int(request.max_mib * MIB),
        images=request.max_images,
        waiting=request.waiting,
        seconds=request.seconds,
        token=request.token,
    )
    listen(make_app(models, limits), request.host, request.port, request.seconds, say)
    say("stopped")


def names(models: list[str]) -> list[str]:
    """What requests call `models`: the last part of each, or as they were typed if two share it."""
    if len(set(models)) < len(models):
        raise InceptiveError("a model is named twice; serve different ones")
    last = [Path(model).name or model for model in models]
    return [printable(one) for one in (last if len(set(last)) == len(last) else models)]
