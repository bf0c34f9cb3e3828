"""What `inceptive train` does once torch is loaded: choose, check, tell, train."""

import shlex
import signal
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from inceptive.cli.progress import Display, duration
from inceptive.cli.signals import Pause
from inceptive.cli.tables import command_line
from inceptive.data.open import open_data, say_notes
from inceptive.data.source import Data
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.evaluation.evaluate import evaluate, report_data
from inceptive.io import store as storage
from inceptive.report.write import REPORT, write_report
from inceptive.training import checkpoint
from inceptive.training import recipe as recipes
from inceptive.training.distributed import Team, lost
from inceptive.training.lock import LOCK, claimed
from inceptive.training.loop import Paused, train
from inceptive.training.prepare import as_weights_expect, shares
from inceptive.training.recipe import Recipe

FITTING = {
    "fashion-mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "solar": "solar",
    "digits": "digits",
}
"""The recipe for each built-in set; a folder takes `finetune` with weights, else `photos`."""


@dataclass(frozen=True)
class Request:
    data: str
    recipe: str
    net: str
    weights: str
    out: Path | None
    resume: bool
    changes: list[str]
    strict: bool
    tensorboard: bool


def train_from(request: Request) -> None:
    """Train as asked; on the way say what is done and what is wrong with the data."""
    team = Team()
    try:
        train_with(team, request)
    except InceptiveError as error:
        if team.alone:
            raise
        raise InceptiveError(f"{team.share}: {error}") from None
    except RuntimeError as error:
        if team.alone or not (reason := lost(error)):
            raise
        raise InceptiveError(f"{team.share}: another process does not answer ({reason})") from None
    finally:
        team.leave()


def train_with(team: Team, request: Request) -> None:
    """As `train_from`, in one of the processes that train together: the one that leads speaks."""
    display = Display(silent=not team.leads)
    out = request.out or Path("runs") / (called(request.data) or "model")
    # Another try of torchrun, after a process was lost, is the same training; one that found a folder
    # taken at its first try finds it taken at the next.
    again = team.told(lambda: team.begun(str(out)))
    resume = team.told(lambda: request.resume or (again and kept(out)))
    if resume:
        values = team.told(lambda: checkpoint.load(out)["recipe"])
        recipe = recipes.check(values, f"{out}: its recipe")
    else:
        if not again:
            team.told(lambda: refuse_to_overwrite(out))
        recipe = choose(request, display)
    data = open_data(request.data, shares(recipe), request.strict, display.load)
    display.close()
    describe(data, display)
    # Not before the data is read: the folder may lie within, and is made here.
    with claimed(out) if team.leads else nullcontext():
        if not (resume or again):  # who had it until now may have left a model
            team.told(lambda: refuse_to_overwrite(out))
        team.told(lambda: team.begin(str(out)))
        words = shlex.join(["inceptive", "train", request.data, "--out", str(out), "--resume"])
        go_on = f"go on with: {words}" + ("" if team.alone else ", started as before")
        watch = watched(display, out, request) if team.leads else display
        classifier = trained(recipe, data, out, watch, resume, go_on)
        if classifier is not None:
            conclude(classifier, data, out, display)


def trained(
    recipe: Recipe, data: Data, out: Path, display: Display, resume: bool, go_on: str
) -> Classifier | None:
    """What `train` gives; None too if SIGTERM stopped it. Ctrl-C is raised with how to go on."""
    try:
        with Pause() as pause:
            return train(recipe, data, out, display, resume, pause)
    except Paused as where:
        display.close()
        if pause.asked == signal.SIGTERM:  # whoever sends it is going to start us again
            display.say(f"stopped {where}; {go_on}")
            return None
        raise KeyboardInterrupt(f"stopped {where}; {go_on}") from None
    except KeyboardInterrupt:
        display.close()
        raise KeyboardInterrupt(f"stopped{f'; {go_on}' if kept(out) else ''}") from None
    finally:
        display.close()


def conclude(classifier: Classifier, data: Data, out: Path, display: Display) -> None:
    """The report, and a line on how well the model does."""
    report(classifier, data, out, display)
    metrics, training = classifier.info["metrics"], classifier.info["training"]
    low, high = metrics["top1_interval"]
    display.say(
        f"best epoch {training['epoch']}: {metrics['top1']:.2%} of {metrics['count']} validation "
        f"images right (95 % interval {low:.1%} to {high:.1%}), after {duration(training['seconds'])}"
    )
    print(out)


def report(classifier: Classifier, data: Data, out: Path, display: Display) -> None:
    """`report.html` in the model folder, on the validation images.

    The model is written by then: where the page cannot be had, it says why and the training stands.
    """
    try:
        evaluation = evaluate({str(out): classifier}, data, "val", progress=display)
        write_report(out, report_data(evaluation, [classifier], data, command_line()))
        display.say(f"written: {out / REPORT}")
    except InceptiveError as error:
        display.say(f"note: no {REPORT}: {error}")
    finally:
        display.close()


def choose(request: Request, display: Display) -> Recipe:
    """The recipe that was asked for, or one that fits the data, with the changes asked for."""
    name = request.recipe
    if not name:
        name = FITTING.get(request.data.partition(":")[0], "photos")
        if Path(request.data).is_dir():
            name = "photos"
        if request.weights:
            name = "finetune"
        display.say(f"recipe: {name} (another with --recipe; one value with --set)")
    changes = list(request.changes)
    changes += [f"net={request.net}"] if request.net else []
    changes += [f"weights={request.weights!r}"] if request.weights else []
    return as_weights_expect(recipes.read(name, changes))


def kept(out: Path) -> bool:
    """Whether a training left a checkpoint in `out`."""
    return (out / checkpoint.CHECKPOINT).exists()


def refuse_to_overwrite(out: Path) -> None:
    """Raises InceptiveError if anything lies in `out`."""
    if kept(out):
        raise InceptiveError(
            f"{out}: holds a training that did not end; go on with --resume, or give another --out"
        )
    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - {LOCK}):
        raise InceptiveError(f"{out}: is not empty; give another --out")


def called(data: str) -> str:
    """DATA in a word: photos of sets/photos/ and https://host/photos?v=1, solar of solar:grades."""
    if storage.is_uri(data):
        return storage.redact(data).rstrip("/").rpartition("/")[2]
    return Path(data.partition(":")[0]).name


def describe(data: Data, display: Display) -> None:
    """Say what will be trained on, and everything that is wrong with it."""
    counts = ", ".join(f"{len(samples)} {split}" for split, samples in data.splits.items())
    display.say(
        f"{data.name}: {len(data.classes)} classes, images: {counts}"
        + (f"; licence {data.licence}" if data.licence else "")
    )
    per_class = data.counts("train")
    if len(data.classes) <= 20:
        listed = ", ".join(f"{n} {c}" for n, c in zip(per_class, data.classes, strict=True))
        display.say(f"to train on: {listed}")
    least, most = int(per_class.min()), int(per_class.max())
    if most > 1.5 * least:
        display.say(
            f"unbalanced: the largest class has {most / max(least, 1):.1f} times the images of the "
            "smallest; data.balance weighs the loss"
        )
    say_notes(data, display)


def watched(display: Display, out: Path, request: Request) -> Display:
    if not request.tensorboard:
        return display
    from inceptive.cli.tensorboard import TensorBoardDisplay

    return TensorBoardDisplay(out)
