"""inceptive train: from labelled images to a model folder."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from inceptive.cli.net_argument import StrictOption
from inceptive.cli.progress import Display
from inceptive.cli.tables import answer, command_line

NAME = "train"


def run(
    data: Annotated[
        str,
        Argument(
            metavar="DATA",
            help="a folder of class folders or tar shards, a shard URL, or digits, "
            "fashion-mnist, cifar10[:ARCHIVE], solar[:grades|:cells]",
        ),
    ],
    recipe: Annotated[
        str, Option(help="a shipped recipe or a .toml file [default: one that fits the data]")
    ] = "",
    net: Annotated[str, Option(help="the net to train, instead of the recipe's")] = "",
    weights: Annotated[
        str,
        Option(
            metavar="FOLDER|NAME|published|none",
            help="start from a model folder's or published weights (see `inceptive nets`), the "
            "default for photographs; none: from scratch",
        ),
    ] = "",
    minutes: Annotated[
        float | None,
        Option(help="time limit; image size and epochs are planned to fit [default: the recipe's]"),
    ] = None,
    epochs: Annotated[int | None, Option(help="maximum passes over the training images")] = None,
    out: Annotated[Path | None, Option(help="the output folder [default: runs/DATA]")] = None,
    resume: Annotated[
        bool, Option("--resume", help="continue the training in --out, with the options given here")
    ] = False,
    changes: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="KEY=VALUE",
            help="change one value of the recipe: --set optimizer.lr=0.1",
        ),
    ] = None,
    strict: StrictOption = False,
    tensorboard: Annotated[
        bool, Option("--tensorboard", help="also write TensorBoard events")
    ] = False,
) -> None:
    """Train a classifier on DATA and write it as a model folder."""
    import shlex
    import signal

    from inceptive.cli.signals import StopRequest
    from inceptive.training.callbacks import TensorBoard
    from inceptive.training.distributed import launched
    from inceptive.training.train import Paused, default_out, has_checkpoint, train

    out = out or default_out(data)
    rank, world = launched()
    words = shlex.join(["inceptive", "train", data, "--out", str(out), "--resume"])
    go_on = f"; go on with: {words}" + (", started as before" if world > 1 else "")
    display = Display(silent=rank > 0)
    callbacks = [TensorBoard(out / "tensorboard")] if tensorboard and not rank else []
    try:
        with StopRequest() as stop:
            train(
                data, out, recipe or None, net or None, weights or None, minutes, epochs,
                changes or (), resume, strict=strict, progress=display, callbacks=callbacks,
                should_stop=stop, command=command_line(),
            )  # fmt: skip
    except Paused as where:
        display.close()
        if stop.received == signal.SIGTERM:  # whoever sends it is going to start us again
            display.say(f"stopped {where}{go_on}")
            return
        raise KeyboardInterrupt(f"stopped {where}{go_on}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped{go_on if has_checkpoint(out) else ''}") from None
    finally:
        display.close()
    if not rank:
        answer(str(out))
