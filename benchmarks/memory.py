"""Section memory: the most that a process holds which does only one candidate's work; and of each
recipe, with and without activation checkpointing.

    python -m benchmarks.memory SECTION CANDIDATE SETTING

is that process: it prepares the candidate of the section's first benchmark and makes two calls.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks import inference, training
from benchmarks.benchmark import Benchmark, Candidate, Peaks, run, torch_imported
from benchmarks.process import Process
from benchmarks.setting import Say, Setting, settle
from inceptive.training.recipe import Recipe, shipped

SECTION = "memory"
RECIPES = "recipes"


def recipes(setting: Setting) -> list[Benchmark]:
    """Two steps of each shipped recipe's net and batch, all its layers learning, from images at hand."""
    names = ("digits",) if setting.quick else tuple(shipped())
    candidates = tuple(
        Candidate(
            f"{name}: {recipe.net}, {recipe.image_size} px, batch {recipe.batch_size}{told}",
            lambda recipe=recipe: _recipe_step(recipe),  # type: ignore[misc]
        )
        for name in names
        for told, checkpointing in (("", False), (", checkpointing", True))
        for recipe in [_without_weights(name, checkpointing)]
    )
    return [Benchmark(SECTION, "training steps of each recipe", candidates)]


def _without_weights(name: str, checkpointing: bool) -> Recipe:
    recipe = Recipe.read(name)
    start = {"weights": "", "finetune.probe": False, "finetune.freeze": "", "finetune.views": 0}
    if recipe.finetune.probe:
        start |= {"net": "inception_v3.keras", "epochs": 1}  # of the weights it starts from
    return recipe.changed(start | {"speed.checkpointing": checkpointing})


def _recipe_step(recipe: Recipe) -> Callable[[], object]:
    learner = training.learner_for(recipe, 10)
    side, count = learner.preprocessing.size, recipe.batch_size
    images = torch.zeros((count, learner.preprocessing.channels, side, side), dtype=torch.uint8)
    labels, draws = torch.arange(count) % 10, torch.Generator()
    return lambda: learner.step(images, labels.to(learner.device), draws)


MEASURED: dict[str, Callable[[Setting], list[Benchmark]]] = {
    training.SECTION: training.benchmarks,
    RECIPES: recipes,
    # An exported engine needs no torch, which this process has loaded: see the peaks of `startup`.
    inference.SECTION: lambda setting: inference.benchmarks(setting, exported=False),
}


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    """The first benchmark of train and of inference again, each candidate in a process of its own.

    peak_ratio is the candidate's peak as a share of the baseline's: below 1 is less. The seconds are
    those of the whole process, start included, and say little.
    """
    for section, benchmarks in MEASURED.items():
        first = benchmarks(setting)[0]
        alone = tuple(
            Candidate(one.name, lambda one=one, section=section: _process(section, one, setting))  # type: ignore[misc]
            for one in first.candidates
        )
        title = f"{section}: {first.title}"
        benchmark = Benchmark(SECTION, title, (*alone, torch_imported(setting)), first.facts)
        result = run(benchmark, setting, {}, say, rounds=0)
        for row in result["rows"]:
            row["peak_ratio"] = row["peak_bytes"] / result["rows"][0]["peak_bytes"]
        yield result


def _process(section: str, candidate: Candidate, setting: Setting) -> Process:
    words = ["-m", "benchmarks.memory", section, candidate.name, setting.to_json()]
    return Process([sys.executable, *words], setting.threads)


def main(section: str, name: str, told: str) -> None:
    setting = Setting.from_json(told)
    candidates = MEASURED[section](setting)[0].candidates
    call = next(one for one in candidates if one.name == name).build()
    for _ in range(2):
        call()
        settle(setting.device)


if __name__ == "__main__":
    from inceptive.errors import InceptiveError

    try:
        main(*sys.argv[1:])
    except InceptiveError as error:
        sys.exit(str(error))
