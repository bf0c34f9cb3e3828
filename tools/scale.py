"""Writes the part "On paper" of docs/scale.md: what 64 nodes or 10^9 images a day would need.

    python -m tools.scale [--out docs/scale.md]

What one image costs is measured here; what hardware gives that is not here is assumed, each number in
one table with its source. A small discrete simulation then sends batches of images through store, link,
cores and GPUs, and tells which of them is busy. The rest of the document is left as it is.
"""

import argparse
import heapq
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.engines import exported
from benchmarks.pictures import photographs
from benchmarks.setting import Setting
from inceptive.arch import nets
from inceptive.arch.account import account
from inceptive.cli.tables import markdown
from inceptive.data.loading import RandomCrop
from inceptive.engines.classifier import Classifier
from inceptive.engines.open import open_engine
from inceptive.engines.prediction import Prediction
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io.atomic import write_text
from inceptive.nn import Norm, build
from inceptive.scale.answers import as_parquet
from tools.bars import Bar, bars

ROOT = Path(__file__).parents[1]
HEADING = "## On paper"
DAY = 24 * 3600
BILLION = 10**9
IMAGENET = 1_281_167
BATCH = 256
"""Images that go through the simulation as one."""


@dataclass(frozen=True)
class Unit:
    """What one image costs, measured here on one core: seconds, bytes, multiply-adds."""

    decode_seconds: float
    jpeg_bytes: float
    infer_seconds: float
    macs: float
    row_bytes: float
    crop_seconds: float
    """A training image: decoded, a part of it cut out and resized."""
    parameters: int
    norms: int


@dataclass(frozen=True)
class Hardware:
    """What is assumed of nodes and store; rates are of one node but for the store's."""

    nodes: int = 1
    gpus: int = 8
    gpu_macs_per_second: float = 0.25 * 989e12 / 2
    cores: int = 112
    decode_speedup: float = 1.0
    link_bytes_per_second: float = 100e9 / 8
    store_requests_per_second: float = 5500.0
    store_bytes_per_second: float = 100e9
    latency_seconds: float = 0.1
    connections: int = 896
    images_per_request: int = 1
    gradient_bytes_per_second: float = 400e9 / 8
    message_seconds: float = 10e-6


ASSUMED = (
    ("GPUs in a node", "8 H100", "NVIDIA's DGX H100"),
    ("multiply-adds of a GPU", "124 T/s", "a quarter of the data sheet's 989 TFLOP/s in dense bf16; "
     "no GPU was measured"),
    ("cores in a node", "112", "DGX H100: two processors of 56; each taken to be as fast as one here"),
    ("link of a node to the store", "100 Gbit/s", "one port of the 400 Gbit/s that it has"),
    ("requests to the store", "5,500/s", "what Amazon S3 documents for GETs of one prefix"),
    ("bytes from the store, all nodes", "100 GB/s", "assumed; it is a matter of contract"),
    ("time to the first byte", "0.1 s", "the lower end of what Amazon S3 documents"),
    ("requests at once", "896 a node", "14 workers of 8 cores, 64 each, as `score` has them"),
    ("gradients between GPUs", "400 Gbit/s each", "DGX H100: a port for each GPU"),
    ("a small message among n GPUs", "10 µs times log2 n", "assumed, of a tree"),
)  # fmt: skip


def measured() -> Unit:
    """GoogLeNet at 224 pixels, photographs of 500 x 375, one thread; medians of seven."""
    with tempfile.TemporaryDirectory(prefix="inceptive-scale-") as name:
        folder = Path(name)
        files, _ = photographs(Setting(folder), (500, 375), 64)
        net = nets.NETS["googlenet.bn"](num_classes=1000)
        shown = Preprocessing(size=224)
        model = folder / "model"
        Classifier(build(net).eval(), shown, tuple(map(str, range(1000)))).save(model)
        content = [file.read_bytes() for file in files]
        squares = np.stack([shown.load(one) for one in content[:32]])
        exported(model, "openvino", "bf16", squares)
        engine = open_engine(model, "openvino:bf16", threads=1)
        crop = RandomCrop(shown, (0.08, 1.0), (3 / 4, 4 / 3))
        rows = [Prediction(f"{'x' * 40}{k}", ((f"{k}", 0.5 + k / 9e4),) * 5) for k in range(1000)]
        return Unit(
            decode_seconds=core_seconds(lambda: [shown.load(one) for one in content])
            / len(content),
            jpeg_bytes=sum(map(len, content)) / len(content),
            infer_seconds=core_seconds(lambda: engine.probs(squares)) / len(squares),
            macs=account(net.without_aux(), 224).macs,
            row_bytes=len(as_parquet(rows, 5)) / len(rows),
            crop_seconds=core_seconds(lambda: [crop(crop.spec(one), (0,)) for one in content])
            / len(content),
            parameters=sum(one.numel() for one in build(net).parameters()),
            norms=sum(isinstance(module, Norm) for module in build(net).modules()),
        )


def core_seconds(call: Callable[[], object]) -> float:
    """Seconds of a core for a call: the median of seven after one that does not count."""
    call()
    taken = []
    for _ in range(7):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return median(taken)


class Server:
    """`count` alike, first come, first served."""

    def __init__(self, count: int):
        self.free = [0.0] * count

    def serve(self, now: float, seconds: float) -> float:
        """When what comes `now` and takes so long is done. To be called in the order of time."""
        done = max(now, heapq.heappop(self.free)) + seconds
        heapq.heappush(self.free, done)
        return done


def simulated(unit: Unit, given: Hardware, seconds: float = 20.0) -> tuple[float, dict[str, float]]:
    """Images a second once running, and how busy each of store, link, cores and GPUs is (0-1).

    Batches go through requests, store, waiting (connections), link, cores and GPUs in turn; a node has
    a fixed number under way and takes the next when one is done: that is the backpressure.
    The work of a batch varies by a tenth, drawn with a fixed seed.
    """
    rng = np.random.default_rng(0)
    names = ("requests", "store", "waiting", "link", "cores", "GPUs")
    shared = {"requests": Server(1), "store": Server(1)}
    own = [
        {
            "waiting": Server(1),
            "link": Server(1),
            "cores": Server(given.cores),
            "GPUs": Server(given.gpus),
        }
        for _ in range(given.nodes)
    ]
    size = BATCH * unit.jpeg_bytes
    each = {
        "requests": BATCH / given.images_per_request / given.store_requests_per_second,
        "store": size / given.store_bytes_per_second,
        "waiting": BATCH / given.images_per_request * given.latency_seconds / given.connections,
        "link": size / given.link_bytes_per_second,
        "cores": BATCH * unit.decode_seconds / given.decode_speedup,
        "GPUs": BATCH * unit.macs / given.gpu_macs_per_second,
    }
    under_way = given.cores + 16 * given.gpus + 256
    events = [(0.0, k, k % given.nodes, 0) for k in range(given.nodes * under_way)]
    heapq.heapify(events)
    number, done, half = len(events), 0, seconds / 2
    while events:
        now, k, node, stage = heapq.heappop(events)
        if now > seconds:
            break
        if stage == len(names):
            done += now > half
            number, stage = number + 1, 0
        name = names[stage]
        work = each[name] * rng.uniform(0.9, 1.1)
        after = (shared if name in shared else own[node])[name].serve(now, work)
        if name == "waiting":  # for the first byte, whoever else waits
            after += given.latency_seconds * min(1.0, BATCH / given.images_per_request)
        heapq.heappush(events, (after, k, node, stage + 1))
    images = done * BATCH / half
    use = {name: min(1.0, images / BATCH * each[name] / total(name, given)) for name in names}
    return images, use


def total(name: str, given: Hardware) -> int:
    """How many servers of a kind all nodes have together."""
    of_node = {"waiting": 1, "link": 1, "cores": given.cores, "GPUs": given.gpus}
    return of_node[name] * given.nodes if name in of_node else 1


def training_step(unit: Unit, given: Hardware, batch: int, synced: bool) -> dict[str, float]:
    """Seconds of a step of `batch` images a GPU, and of what it is made of.

    Store and cores make later batches while GPUs work; gradients go while the backward pass, two
    thirds of the work, goes on; the messages of batch normalisation, one a layer and direction, are
    waited for.
    """
    count = given.nodes * given.gpus
    cores = batch * given.gpus * unit.crop_seconds / given.decode_speedup / given.cores
    gpus = batch * 3 * unit.macs / given.gpu_macs_per_second
    gradients = 2 * 4 * unit.parameters * (count - 1) / count / given.gradient_bytes_per_second
    messages = synced * 2 * unit.norms * given.message_seconds * math.log2(count)
    waited = max(0.0, gradients - gpus * 2 / 3)
    store = batch * count * unit.jpeg_bytes / given.store_bytes_per_second
    parts = {
        "store": store,
        "cores": cores,
        "GPUs": gpus,
        "gradients": gradients,
        "messages": messages,
    }
    return {"step": max(store, cores, gpus + waited + messages)} | parts


def training_cases() -> Iterator[tuple[str, Hardware, int, bool]]:
    one = Hardware()
    yield "one node, 128 images a GPU", one, 128, True
    yield "the same, decoding 16 times as fast", replace(one, decode_speedup=16.0), 128, True
    yield "64 nodes, 32 a GPU", replace(one, nodes=64), 32, True
    fast = replace(one, nodes=64, decode_speedup=16.0)
    yield "the same, decoding 16 times as fast", fast, 32, True
    yield "the same, each GPU normalising by its own part", fast, 32, False


def cases() -> Iterator[tuple[str, Hardware]]:
    one = Hardware()
    shards = replace(one, images_per_request=1000)
    yield "one node, an object an image", one
    yield "one node, tars of 1,000", shards
    yield "64 nodes, an object an image", replace(one, nodes=64)
    yield "64 nodes, tars of 1,000", replace(shards, nodes=64)
    yield (
        "64 nodes, tars, 1 TB/s from the store",
        replace(shards, nodes=64, store_bytes_per_second=1e12),
    )
    yield "one node, tars, decoding 16 times as fast", replace(shards, decode_speedup=16.0)
    yield (
        "one node, the same, 400 Gbit/s",
        replace(shards, decode_speedup=16.0, link_bytes_per_second=400e9 / 8),
    )


def written(unit: Unit) -> tuple[str, str]:
    """The part of the document, and its picture as SVG."""
    needed = BILLION / DAY
    rows, found = [], {}
    for name, given in cases():
        images, busy = simulated(unit, given)
        found[name] = images
        busiest = max(busy, key=lambda each: busy[each])
        shares = [f"{share:.0%}" for share in busy.values()]
        rows.append((name, f"{images:,.0f}", f"{BILLION / images / 3600:,.1f}", busiest, *shares))
    header = (
        "",
        "images/s",
        "hours for 10⁹",
        "full",
        "requests",
        "store",
        "waiting",
        "link",
        "cores",
        "GPUs",
    )
    one = Hardware(images_per_request=1000)
    rate, use = simulated(unit, one)
    gpus, fill = use["GPUs"], one.store_bytes_per_second / (rate * unit.jpeg_bytes)
    measured_rows = [
        ("decoding and resizing a JPEG of 500 x 375", f"{unit.decode_seconds * 1e3:.2f} ms of a core"),
        ("its bytes", f"{unit.jpeg_bytes / 1e3:.0f} kB"),
        ("GoogLeNet at 224 pixels", f"{unit.macs / 1e9:.2f} GMAC"),
        ("the same on one core here, OpenVINO bf16", f"{unit.infer_seconds * 1e3:.2f} ms, "
         f"{unit.macs / unit.infer_seconds / 1e9:.0f} GMAC/s"),
        ("a row of answers, five best, as Parquet", f"{unit.row_bytes:.0f} bytes"),
        ("decoding one to train on, with a random crop", f"{unit.crop_seconds * 1e3:.2f} ms of a core"),
        ("parameters, layers of batch normalisation", f"{unit.parameters:,}, {unit.norms}"),
    ]  # fmt: skip
    told = "; ".join(f"{row[0]}: {row[1]} ({row[3]})" for row in rows)
    chart = [Bar(row[0], found[row[0]], f"{row[1]} ({row[3]})") for row in rows]
    picture = bars("Images a second on paper, and what fills up", told, chart, logarithmic=True)
    text = f"""{HEADING}

![{told}](scale.svg)

Written by `make scale` (tools/scale.py): measured here is what one image costs one core, assumed is the
hardware that is not here, and a discrete simulation of batches on their way through store, link, cores
and GPUs tells what fills up first. None of it has been run on such machines.

{markdown(("measured", ""), measured_rows)}

{markdown(("assumed", "", "why"), ASSUMED, left=3)}

{markdown(header, rows)}

**10⁹ images a day** are {needed:,.0f} images/s, {needed * unit.jpeg_bytes / 1e9:.1f} GB/s of JPEG, and
{BILLION * unit.row_bytes / 1e9:,.0f} GB of answers a day. Cores like these, without any GPU: \
{needed * (unit.decode_seconds + unit.infer_seconds):,.0f}, of which
{needed * unit.decode_seconds:,.0f} decode. Nodes as assumed: \
{needed / found["one node, tars of 1,000"]:.1f}, and their GPUs work {gpus:.0%} of the time.

What fills up, in this order, and what we would change:

1. **Requests.** An object an image stops at the store's \
{one.store_requests_per_second:,.0f} requests/s however many nodes there
   are; 10⁹ images a day are {needed / one.store_requests_per_second:.1f} times that. \
In tars of 1,000, each a part and read in one go, they
   are {needed / 1000:.0f} requests/s. `score` takes both; use tars.
2. **Cores.** With tars, decoding fills a node: its cores feed its GPUs to {gpus:.0%}. \
What helps is decoding
   by the GPU, or keeping pictures at the size that the net sees; more GPUs do not.
3. **The store's bytes**, from {fill:.0f} nodes on. Smaller pictures help here too.
4. **The link** of a node, once decoding is 16 times as fast.

{training(unit)}

Not in the model: Ray's driver (a tar is one task, so a billion images a day are \
{needed / 1000:.0f} tasks/s), memory
bandwidth, copies to the GPU, that small batches keep a GPU less busy, that the 1x1s of
a module share a message, machines that fail.
"""
    return text, picture


LONGEST = ("cores", "GPUs", "messages", "messages", "store")
"""What the words below the table of `training` say of its rows."""


def training(unit: Unit) -> str:
    """What the part says of training."""
    rows = []
    for name, given, batch, synced in training_cases():
        seconds = training_step(unit, given, batch, synced)
        images = batch * given.gpus * given.nodes / seconds["step"]
        longest = max(list(seconds)[1:], key=lambda part: seconds[part])
        parts = [f"{value * 1e3:.1f}" for value in seconds.values()]
        minutes = f"{90 * IMAGENET / images / 60:.1f}"
        rows.append((name, f"{images:,.0f}", minutes, longest, *parts))
    if tuple(row[3] for row in rows) != LONGEST:
        raise InceptiveError(
            "tools/scale.py: other parts of a step are the longest than its text says"
        )
    header = ("", "images/s", "minutes for 90 epochs", "longest", "step, ms", "store", "cores",
              "GPUs", "gradients", "messages")  # fmt: skip
    return f"""\
**Training** on ImageNet's {IMAGENET:,} images, counted and not simulated: a step takes as long as the
slowest of the store, of the cores, which make later batches, and of the GPUs with what they wait for.

{markdown(header, rows)}

GoogLeNet is small for such GPUs. On one node the cores that make batches are too slow first; decoding
by the GPU helps, or pictures stored at the size that is trained on. On 64 nodes it is the messages of
batch normalisation over all GPUs: 32 images are enough for statistics of a GPU's own, and we would set
`speed.sync_batch_norm=false`. Then it is the store: what 64 nodes train on has to lie on their disks.
Gradients, {4 * unit.parameters / 1e6:.0f} MB, are never the longest: no better network is needed."""


def placed(document: str, part: str) -> str:
    """The document with its part under HEADING replaced, or added at the end."""
    before, _, after = document.partition(HEADING)
    rest = after.partition("\n## ")
    return before.rstrip() + "\n\n" + part.rstrip() + "\n" + (f"\n## {rest[2]}" if rest[1] else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs/scale.md")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    part, picture = written(measured())
    write_text(args.out, placed(args.out.read_text(encoding="utf-8"), part))
    write_text(args.out.with_suffix(".svg"), picture)


if __name__ == "__main__":
    main()
