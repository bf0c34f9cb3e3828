"""Features, FID, seconds and memory beside pytorch-fid, torch-fidelity and clean-fid: for docs/fid.md.

    python -m tools.fid_cost REAL GENERATED --weights made.pth --rounds 1 --out build/fid_cost.json

REAL and GENERATED are folders of pictures of one size. Without --weights a file of random ones is made,
by pytorch-fid's own net. Each candidate runs in a process of its own, with its defaults, in turns.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np

from inceptive.io.cores import machine

OURS = {
    "inceptive, pytorch": "pytorch", "inceptive, tensorflow": "tensorflow", "inceptive, clean": "clean",
}  # fmt: skip
PEERS = {
    "pytorch-fid": "pytorch", "torch-fidelity": "tensorflow", "clean-fid, clean": "clean",
    "clean-fid, legacy_pytorch": "pytorch",
}  # fmt: skip
"""Whose resizing each has."""


def torchvision():
    """torchvision beside a CPU build of torch, whose compiled operators are missing."""
    import torch

    for name in ("nms", "qnms"):
        boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", boxes)


def peer_net(weights, **options):
    """pytorch-fid's net with local weights: what it and clean-fid would download."""
    import torch
    from pytorch_fid import inception

    state = torch.load(weights, weights_only=True)
    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        return inception.InceptionV3([3], **options).eval()


def make_weights(path):
    """Random weights and running statistics that keep the signal's size, in pytorch-fid's format."""
    import torch
    from pytorch_fid import inception

    random = torch.Generator().manual_seed(0)
    plain = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    for key, tensor in plain.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=random)
        elif key.endswith(("running_var", "bn.weight")):
            tensor.uniform_(0.5, 1.5, generator=random)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.2, generator=random)
    torch.save(plain.state_dict(), path)


def features_of(name, folders, weights):
    """The features of each folder and how long they took; then a function that gives the FID."""
    if name in OURS:
        from inceptive.fidelity.features import extract, open_net
        from inceptive.fidelity.frechet import Statistics, frechet_distance
        from inceptive.fidelity.pictures import open_pictures

        net = open_net(weights, 2048, OURS[name])
        sets = [extract(net, open_pictures(each), lambda *_: None).values for each in folders]
        return sets, lambda: frechet_distance(*map(Statistics.of, sets))
    torchvision()
    if name == "pytorch-fid":
        from pytorch_fid import fid_score

        net = peer_net(weights)
        workers = len(os.sched_getaffinity(0))
        sets = [
            fid_score.get_activations(sorted(each.iterdir()), net, num_workers=min(8, workers))
            for each in folders
        ]

        def distance():
            sides = [(each.mean(axis=0), np.cov(each, rowvar=False)) for each in sets]
            return fid_score.calculate_frechet_distance(*sides[0], *sides[1])

        return sets, distance
    if name == "torch-fidelity":
        from torch_fidelity import metric_fid, utils

        net = utils.create_feature_extractor(
            "inception-v3-compat", ["2048"], cuda=False, verbose=False,
            feature_extractor_weights_path=str(weights),
        )  # fmt: skip
        options = {"input1": str(folders[0]), "input2": str(folders[1]), "cuda": False,
                   "cache": False, "verbose": False}  # fmt: skip
        sets = [
            utils.extract_featuresdict_from_input_id_cached(k, net, **options)["2048"]
            for k in (1, 2)
        ]
        sides = metric_fid.fid_features_to_statistics
        return [each.numpy() for each in sets], lambda: metric_fid.fid_statistics_to_metric(
            *map(sides, sets), False
        )[metric_fid.KEY_METRIC_FID]
    from cleanfid import fid

    mode = name.split(", ")[1]
    half = 127.5 if mode == "legacy_pytorch" else 128  # as its own nets do
    net = peer_net(weights, resize_input=False, normalize_input=False)
    sets = [
        fid.get_folder_features(
            str(each), lambda x: net((x - half) / half)[0][..., 0, 0], num_workers=0, batch_size=8,
            device="cpu", mode=mode, verbose=False,
        )
        for each in folders
    ]  # fmt: skip
    return sets, lambda: fid.fid_from_feats(*sets)


def measure(name, folders, weights, out):
    """Run one candidate here: its seconds, peak memory and FID; its features go to `out`."""
    start = time.perf_counter()
    sets, distance = features_of(name, folders, weights)
    featured = time.perf_counter() - start
    fid = float(distance())
    seconds = time.perf_counter() - start
    np.savez(out, *sets)
    own, children = (resource.getrusage(each).ru_maxrss
                     for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    return {"name": name, "fid": fid, "features_seconds": featured, "seconds": seconds,
            "megabytes": (own + children) / 1024}  # fmt: skip


def table(rows, counts):
    lines = [
        "| | features differ | FID | s, features | s, all | MB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        apart = "" if row["apart"] is None else f"{row['apart']:.1e}"
        lines.append(
            f"| {row['name']} | {apart} | {row['fid']:.5f} | {row['features_seconds']:.0f} | "
            f"{row['seconds']:.0f} | {row['megabytes']:.0f} |"
        )
    return f"{counts[0]} and {counts[1]} pictures; {machine()}\n\n" + "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs=2)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[*PEERS, *OURS])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(measure(options.run, options.folders, options.weights, options.out)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        weights = options.weights or Path(scratch) / "made.pth"
        if not options.weights:
            torchvision()
            make_weights(weights)
        best = {}
        for _ in range(options.rounds):
            for name in options.only:
                out = Path(scratch) / f"{name.replace(', ', '-')}.npz"
                command = [sys.executable, "-W", "ignore", "-m", "tools.fid_cost", *options.folders,
                           "--weights", weights, "--run", name, "--out", out]  # fmt: skip
                done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
                row = json.loads(done.stdout.splitlines()[-1])
                print(row, file=sys.stderr, flush=True)
                if name not in best or row["seconds"] < best[name]["seconds"]:
                    best[name] = row
        for name, row in best.items():
            ours = f"inceptive, {PEERS.get(name)}"
            row["apart"] = None
            if name in PEERS and ours in best:
                with (
                    np.load(Path(scratch) / f"{name.replace(', ', '-')}.npz") as theirs,
                    np.load(Path(scratch) / f"{ours.replace(', ', '-')}.npz") as mine,
                ):
                    row["apart"] = max(
                        float(np.abs(theirs[k] - mine[k]).max() / np.abs(theirs[k]).max())
                        for k in mine.files
                    )
        counts = [len(list(folder.iterdir())) for folder in options.folders]
        print(table(list(best.values()), counts))
        if options.out:
            versions = {name: version(name) for name in ("pytorch-fid", "torch-fidelity", "clean-fid",
                                                         "torch", "openvino", "scipy")}  # fmt: skip
            options.out.parent.mkdir(parents=True, exist_ok=True)
            found = {"machine": machine(), "counts": counts, "rows": best, "versions": versions}
            options.out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
