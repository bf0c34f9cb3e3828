"""The model that whole commands classify photographs with: ours, and the same weights for the peers."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import safetensors.torch
import torch
from torch import nn

from benchmarks import peers
from benchmarks.benchmark import Precision
from benchmarks.engines import KINDS, at_hand, exported
from benchmarks.peers import Job
from benchmarks.pictures import photographs
from benchmarks.process import Process, inceptive
from benchmarks.setting import Setting
from inceptive.arch import nets
from inceptive.arch.account import minimum_size
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io.atomic import write_bytes
from inceptive.io.paths import expand
from inceptive.nn import Norm, build
from inceptive.weights.names import SOURCES, key_table

NET = "inception_v3.torchvision"
"""What timm and torchvision both have."""
PROTOTYPES, CALIBRATION = 64, 16
"""Photographs that are a class each, and those that give statistics and ranges."""


class Classified:
    """A model folder, and the commands of ours and of the peers that classify with its weights."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.name = setting.model or str(made(setting))
        classifier = Classifier.load(self.name)
        self.model, self.preprocessing = classifier.model, classifier.preprocessing
        self.labels = classifier.labels
        self.squares = squares(setting, self.preprocessing, CALIBRATION)
        self.net = classifier.model.net.name
        whence = "given weights" if setting.model else "made weights"
        self.told = f"{self.net}, {self.preprocessing.size} px, {whence}"

    def engines(self) -> list[str]:
        """Engines of ours: torch, and the exports of a given model, or those of a made one."""
        if self.setting.model:
            folder = expand(self.name)
            return ["torch", *(at_hand(folder) if folder.is_dir() else ())]
        return ["torch", *(f"{engine}:{precision}" for engine, precision in KINDS)]

    def ours(self, image: Path, out: Path, engine: str) -> Process:
        """`inceptive predict` on one photograph or a folder of them, to a CSV."""
        folder = self.folder_for(engine)
        words = ["predict", folder, image, "--engine", engine, "--top", 1, "--format", "csv",
                 "--out", out]  # fmt: skip
        return Process(inceptive(*words), self.setting.threads)

    def folder_for(self, engine: str) -> str:
        """The model, with an export for `engine`. Raises InceptiveError if it cannot be exported."""
        kind, _, precision = engine.partition(":")
        if precision and not self.setting.model:
            exported(Path(self.name), kind, cast(Precision, precision), self.squares)
        return self.name

    def theirs(
        self, package: str, what: str, image: Path, out: Path, fast: bool = False
    ) -> Process:
        """The peer's command `what` on the same. Raises InceptiveError where it has not this net."""
        job = Job(
            self.net.partition(".")[0], package, str(self._weights(package)),
            self.model.net.num_classes, self.preprocessing.size, self.preprocessing.resize,
            self.preprocessing.interpolation, self.preprocessing.mean, self.preprocessing.std,
            (str(image),), str(out), fast,
        )  # fmt: skip
        words = [sys.executable, "-m", "benchmarks.peers", what, json.dumps(asdict(job))]
        return Process(words, self.setting.threads)

    def _weights(self, package: str) -> Path:
        """Our weights under the peer's names, in a file."""
        fitting = [one for one in peers.equivalents(self.net) if one.package == package]
        if not fitting or self.preprocessing.channels != 3 or self.preprocessing.squash:
            raise InceptiveError(f"{package} has no net that fits {self.told}")
        path = self.setting.folder / f"{package}.safetensors"
        if not path.exists():
            heads = tuple(f"{head}." for head in self.model.net.heads())
            ours = {
                key: value
                for key, value in self.model.state_dict().items()
                if not heads or not key.startswith(heads)
            }
            table = key_table(SOURCES[fitting[0].source], ours)
            named = {name: ours[key].contiguous() for key, name in table.items() if name}
            write_bytes(path, safetensors.torch.save(named, {"format": "pt"}))
        return path


def made(setting: Setting) -> Path:
    """A model folder of NET that tells photographs apart without training, made once in a run.

    Random layers whose batch normalisation has the statistics of the photographs; the last one
    answers class k for what is nearest to photograph k. So an answer stands for something, as that of
    a trained net does: plain random weights would call all alike, or flip at the least difference.
    """
    folder = setting.folder / "classifier"
    if (folder / "config.json").exists():
        return folder
    make = nets.NETS[NET]
    size = minimum_size(make()) if setting.quick else make().image_size
    resized = round(size / 0.875)
    resized -= (
        resized - size
    ) % 2  # an odd border is cut one pixel further left by us than by peers
    torch.manual_seed(0)
    model = build(make(setting.num_classes).without_aux()).eval()
    shown = Preprocessing(size, crop=size / resized, interpolation="bicubic")
    labels = tuple(f"class {k}" for k in range(setting.num_classes))
    classifier = Classifier(model, shown, labels)
    images = squares(setting, shown, min(PROTOTYPES, setting.num_classes))
    batch = classifier.normalise(torch.from_numpy(images))
    for module in model.modules():
        if isinstance(module, Norm):
            module.train()
            module.momentum = None  # the mean of all batches, not a moving one
    last = model.get_submodule(model.net.body.parts[-1][0])
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        model(batch[:CALIBRATION])
        model.eval()
        features = torch.cat([model.features(one) for one in torch.split(batch, CALIBRATION)])
        mean = features.mean(0)
        nearest = nn.functional.normalize(features - mean)
        last.weight.zero_()
        last.weight[: len(nearest)] = nearest
        last.bias.copy_(-last.weight @ mean)
    classifier.save(folder)
    return folder


def squares(setting: Setting, shown: Preprocessing, count: int) -> np.ndarray:
    """The first `count` photographs, made small, as the net sees them: (N, C, S, S) of uint8."""
    files, _ = photographs(setting, (640, 480), count)
    return np.stack([shown.load(file) for file in files[:count]])
