"""The peers: torchvision and timm, each as its own users run it.

    python -m benchmarks.peers WHAT JSON

runs one of them as a command of its own, for the sections that measure processes.
"""

import csv
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inceptive.engines.peers import package as package  # read here by the sections
from inceptive.errors import InceptiveError


@dataclass(frozen=True)
class Peer:
    """A net as `package` has it. counts is the net of ours with exactly its layers.

    heads says whether it can have the auxiliary heads; source is the key table of its weights.
    """

    package: str
    name: str
    counts: str
    source: str
    heads: bool = False

    def build(self, num_classes: int, heads: bool = False) -> Any:
        """The peer's own module, a torch.nn.Module with fresh weights, in training mode.

        Raises InceptiveError if the package does not import here.
        """
        if self.package == "timm":
            timm = package("timm")
            return timm.create_model(self.name, num_classes=num_classes).train()
        make = getattr(package("torchvision.models"), self.name)
        # Truncated normal draws take seconds and change no figure here.
        return make(num_classes=num_classes, aux_logits=heads, init_weights=False).train()


EQUIVALENTS = {
    "googlenet": (Peer("torchvision", "GoogLeNet", "googlenet.torchvision", "torchvision_v1", True),),
    "inception_v3": (
        Peer("torchvision", "Inception3", "inception_v3.torchvision", "torchvision_v3", True),
        Peer("timm", "inception_v3", "inception_v3.torchvision", "torchvision_v3"),
    ),
    "inception_v4": (Peer("timm", "inception_v4", "inception_v4", "timm_v4"),),
    "inception_resnet_v2": (
        Peer("timm", "inception_resnet_v2", "inception_resnet_v2", "timm_resnet_v2"),
    ),
    "xception": (Peer("timm", "legacy_xception", "xception", "timm_xception"),),
}  # fmt: skip
"""The family of a net of ours -> that net as each peer has it."""


def equivalents(net: str) -> tuple[Peer, ...]:
    """The peers that have the net called `net`, or a variant of it."""
    return EQUIVALENTS.get(net.partition(".")[0], ())


# Whole commands: each is what its own users would run, from a fresh start to the answer.


@dataclass(frozen=True)
class Job:
    """Photographs to classify: as the peer's command is told it, in one word of JSON.

    weights: safetensors under the peer's own names. resize is the shorter side from which the square
    is cut. fast: channels-last and bfloat16, as the peer's options offer; else its defaults.
    """

    net: str  # its family: a key of EQUIVALENTS
    package: str
    weights: str
    num_classes: int
    size: int
    resize: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: tuple[str, ...]  # one folder, or one file
    out: str
    fast: bool = False
    workers: int = 2

    @property
    def peer(self) -> Peer:
        return next(one for one in EQUIVALENTS[self.net] if one.package == self.package)


def folder_with_timm(job: Job) -> None:
    """A folder of images to a CSV of the best class of each, as timm's script inference.py does it.

    timm's wheel leaves the script out. This is its way with its defaults, by its own functions: its
    dataset, its loader with two workers and batches of 256, its transforms, softmax, top 1.
    """
    data, models = package("timm.data"), package("timm.models")
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = models.create_model(
        job.peer.name, num_classes=job.num_classes, checkpoint_path=job.weights
    )
    model = model.to(device).eval()
    mixed: Callable[[], Any] = nullcontext
    if job.fast:
        model = model.to(memory_format=torch.channels_last)

        def mixed() -> Any:
            return torch.autocast(device, torch.bfloat16)

    dataset = data.create_dataset(name="", root=job.images[0], split="validation")
    loader = data.create_loader(
        dataset, batch_size=256, use_prefetcher=True, num_workers=job.workers,
        device=torch.device(device), **_data_config(job),
    )  # fmt: skip
    probs, classes = [], []
    with torch.inference_mode():
        for images, _ in loader:
            with mixed():
                logits = model(images)
            best, index = logits.softmax(-1).topk(1)
            probs += best.flatten().float().tolist()
            classes += index.flatten().tolist()
    names = loader.dataset.filenames(basename=True)
    _write(job, zip(names, classes, probs, strict=True))


def photograph(job: Job) -> None:
    """One photograph to its best class: model, transform and softmax as the peer's manual shows."""
    if job.package == "timm":
        data, models = package("timm.data"), package("timm.models")
        model = models.create_model(
            job.peer.name, num_classes=job.num_classes, checkpoint_path=job.weights
        )
        transform = data.create_transform(**_data_config(job), is_training=False)
    else:
        from safetensors.torch import load_file

        model = job.peer.build(job.num_classes)
        model.load_state_dict(load_file(job.weights))
        transform = _torchvision_transform(job)
    import torch
    from PIL import Image

    model.eval()
    with Image.open(job.images[0]) as file:
        image = transform(file.convert("RGB"))[None]
    with torch.inference_mode():
        best, index = model(image).softmax(-1).topk(1)
    _write(job, [(Path(job.images[0]).name, int(index), float(best))])


def transform_of(job: Job) -> Callable[[str], Any]:
    """From a file's path to the peer's tensor (3, S, S), as its dataset would load it.

    Raises InceptiveError if the package does not import here.
    """
    if job.package == "timm":
        transform = package("timm.data").create_transform(**_data_config(job), is_training=False)
    else:
        transform = _torchvision_transform(job)
    from PIL import Image

    def load(path: str) -> Any:
        with Image.open(path) as file:
            return transform(file.convert("RGB"))

    return load


def timm_optimizer(model: Any, lr: float) -> Any:
    """SGD with momentum 0.9 as timm's train.py makes it by default."""
    return package("timm.optim").create_optimizer_v2(model, opt="sgd", lr=lr, momentum=0.9)


def _data_config(job: Job) -> dict[str, Any]:
    # timm resizes to the whole part of size / crop_pct: half a pixel makes that `resize`.
    return {
        "input_size": (3, job.size, job.size), "interpolation": job.interpolation,
        "mean": job.mean, "std": job.std, "crop_pct": job.size / (job.resize + 0.5),
    }  # fmt: skip


def _torchvision_transform(job: Job) -> Any:
    made = package("torchvision.transforms")
    return made.Compose(
        [
            made.Resize(job.resize, made.InterpolationMode(job.interpolation)),
            made.CenterCrop(job.size),
            made.ToTensor(),
            made.Normalize(job.mean, job.std),
        ]
    )


def _write(job: Job, rows: Any) -> None:
    with open(job.out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "index", "prob"))
        writer.writerows(rows)


def main(what: str, told: str = "") -> None:
    """Run `what`: import:PACKAGE alone, or `folder` or `photograph` with a Job as JSON."""
    if what.startswith("import:"):
        package(what.partition(":")[2])
        return
    values: dict[str, Any] = json.loads(told)
    values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    job = Job(**values)
    {"folder": folder_with_timm, "photograph": photograph}[what](job)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InceptiveError as error:
        sys.exit(str(error))
