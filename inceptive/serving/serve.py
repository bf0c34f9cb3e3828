"""Serving models over HTTP until stopped: what `inceptive serve` calls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from inceptive.arguments import Allowed, PositiveInt, checked
from inceptive.errors import InceptiveError, printable
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent
from inceptive.serving.limits import MIB, Limits

Port = Annotated[int, Allowed("a whole number from 0 to 65535", lambda n: 0 <= n <= 65535)]
Positive = Annotated[float, Allowed("a number above 0", lambda x: x > 0)]


@checked
def serve(
    models: str | Path | Sequence[str | Path],
    host: str = "127.0.0.1",
    port: Port = 8000,
    *,
    engine: str = "auto",
    early_exit: bool = False,
    accuracy: float | None = None,
    max_mib: Positive = 64,
    max_images: PositiveInt = 64,
    waiting: PositiveInt = 256,
    seconds: Positive = 30,
    token: str = "",
    progress: Progress | None = ON_STANDARD_ERROR,
) -> None:
    """Serve each of `models` over HTTP until SIGINT or SIGTERM.

    models, engine and early_exit are as in `open_engine`. accuracy: the required accuracy of its sure
    answers. A request may have at most `max_mib` MiB and `max_images` images and is answered within
    `seconds`; while more than `waiting` images wait, others are refused with status 429. token: the
    required `Authorization: Bearer` token. Raises InceptiveError if a model cannot be opened, or the
    address is in use.

    >>> inceptive.serve("runs/mine", port=8000)  # doctest: +SKIP
    """
    from inceptive.serving.app import make_app
    from inceptive.serving.listen import listen
    from inceptive.serving.model import ServedModel

    progress = progress or Silent()
    paths = [str(model) for model in ([models] if isinstance(models, str | Path) else models)]
    if not paths:
        raise InceptiveError("serve needs a model: name at least one")
    served = [
        ServedModel.open(path, name, engine, early_exit, accuracy, progress.say)
        for path, name in zip(paths, model_names(paths), strict=True)
    ]
    limits = Limits(int(max_mib * MIB), max_images, waiting, seconds, token)
    listen(make_app(served, limits), host, port, seconds, progress.say)
    progress.say("stopped")


def model_names(models: Sequence[str]) -> list[str]:
    """Names of `models` in requests: the last part of each, or as typed if two share it."""
    if len(set(models)) < len(models):
        raise InceptiveError("a model is named twice; serve different ones")
    last = [Path(model).name or model for model in models]
    return [printable(name) for name in (last if len(set(last)) == len(last) else models)]
