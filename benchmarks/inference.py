"""Section inference: batches of 16 for throughput, single images for latency; ours and the peers'."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import engines, peers
from benchmarks.benchmark import Benchmark, Candidate, Peaks, run
from benchmarks.peers import Peer
from benchmarks.setting import Say, Setting
from inceptive.arch import nets
from inceptive.arch.account import account, minimum_size
from inceptive.engines.classifier import Classifier
from inceptive.images import Preprocessing
from inceptive.nn import build

SECTION = "inference"


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    for benchmark in benchmarks(setting):
        yield run(benchmark, setting, peaks, say)


def benchmarks(setting: Setting, exported: bool = True) -> list[Benchmark]:
    """The setting's net at its own size: a batch, then one image; with our exported engines or not."""
    make = nets.NETS[setting.net]
    size = minimum_size(make()) if setting.quick else make().image_size
    return [benchmark(setting, size, batch, exported) for batch in (setting.batch_size, 1)]


def benchmark(setting: Setting, size: int, batch: int, exported: bool) -> Benchmark:
    """The peers' nets and ours; ours from uint8 on, as photographs come, theirs from float32."""
    net, classes = setting.net, setting.num_classes
    candidates = []
    for peer in peers.equivalents(net):
        macs = batch * account(nets.NETS[peer.counts](classes), size).macs
        candidates.append(
            Candidate(
                f"{peer.package} {peer.name}, eager, f32",
                lambda peer=peer: peer_forward(peer, size, batch, classes, setting.device),  # type: ignore[misc]
                macs, batch, "f32",
            )
        )  # fmt: skip
    macs = batch * account(nets.NETS[net](classes), size).macs
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    for kind in ("f32", "bf16"):
        candidates.append(
            Candidate(
                f"inceptive {net}, torch {kind}",
                lambda kind=kind: our_forward(setting, net, size, images, kind, classes),  # type: ignore[misc]
                macs, batch, kind,  # type: ignore[arg-type]
            )
        )  # fmt: skip
    for engine, precision in engines.KINDS if exported else ():
        candidates.append(
            Candidate(
                f"inceptive {net}, {engine} {precision}",
                lambda engine=engine, precision=precision: engines.forward(  # type: ignore[misc]
                    model_folder(setting, net, size, classes), engine, precision, images.numpy()
                ),
                macs, batch, precision,
            )
        )  # fmt: skip
    facts = {"net": net, "image_size": size, "batch_size": batch, "num_classes": classes}
    return Benchmark(SECTION, f"{net}, {size} px, batch {batch}", tuple(candidates), facts)


def peer_forward(
    peer: Peer, size: int, batch: int, classes: int, device: str
) -> Callable[[], object]:
    """The peer's net as its users run it: eager, float32, torch's default layout."""
    model: nn.Module = peer.build(classes).to(device).eval()
    images = torch.randn(batch, 3, size, size).to(device)

    @torch.inference_mode()
    def forward() -> object:
        return model(images)

    return forward


def our_forward(
    setting: Setting, net: str, size: int, images: torch.Tensor, kind: str, classes: int
) -> Callable[[], object]:
    """The logits of a loaded `Classifier`; bf16 under torch's autocast."""
    folder = model_folder(setting, net, size, classes)
    classifier = Classifier.load(folder).to(setting.device)

    def forward() -> object:
        with torch.autocast(setting.device, torch.bfloat16, enabled=kind == "bf16"):
            return classifier.logits(images)

    return forward


def model_folder(setting: Setting, net: str, size: int, classes: int) -> Path:
    """A model folder of `net` with fresh weights for images of `size` pixels, made once in a run."""
    folder = setting.folder / f"{net}-{size}-{classes}"
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        model = build(nets.NETS[net](classes).without_aux())
        labels = tuple(f"class {k}" for k in range(classes))
        Classifier(model.eval(), Preprocessing(size), labels).save(folder)
    return folder
