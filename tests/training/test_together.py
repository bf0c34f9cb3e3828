"""Trainings that several processes share, started by torchrun: as one alone, and after one is lost."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.scale

RECIPE = """
net = "googlenet.bn"
image_size = 32
epochs = 2
batch_size = 10
seed = 3
[data]
val = 0.2
test = 0.2
balance = 1.0
[optimizer]
lr = 0.01
clip = 1.0
[augment]
flip = true
area = [0.5, 1.0]
brightness = 0.2
contrast = 0.2
erase = 0.2
[aux]
weight = 0.3
[ema]
decay = 0.9
[speed]
precision = "f32"
"""
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


def in_double():
    """From here on everything is computed in float64, where rounding hides nothing."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double


def pace(job):
    """What each process is told to compute in, where each would find another way the fastest."""
    from inceptive.data.open import open_data
    from inceptive.io.progress import Silent
    from inceptive.training import calibration
    from inceptive.training.distributed import World
    from inceptive.training.plan import paced
    from inceptive.training.prepare import shares
    from inceptive.training.recipe import Recipe

    recipe, world = Recipe.read(job["recipe"], job["changes"]), World()
    calibration.WORTH = 0
    calibration.Steps._step = lambda _, way: (
        1.0 + (way.channels_last is not (world.share.rank == 0))
    )
    data = open_data(job["data"], shares(recipe))
    speed = paced(recipe, data, None, world, time.monotonic(), Silent()).speed
    print(f"speed {calibration.described(speed)}\n", end="")


def one_process(job):
    """What torchrun starts: a training that may lose this process, or be asked to pause."""
    from inceptive.data import loading
    from inceptive.data.open import open_data
    from inceptive.training.loop import Paused, Run
    from inceptive.training.prepare import shares
    from inceptive.training.recipe import Recipe

    rank, first = (
        int(os.environ.get("RANK", 0)),
        os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0",
    )
    if job.get("double"):
        in_double()
    if job.get("streamed"):
        loading.MEMORY_LIMIT = 0
    recipe = Recipe.read(job["recipe"], job.get("changes", []))
    steps = 0

    def pause():
        nonlocal steps
        steps += 1
        if first and [rank, steps] == job.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        return [rank, steps] == job.get("pauses")

    out = Path(job["out"])
    data = open_data(job["data"] + ("/other" if rank == job.get("lost") else ""), shares(recipe))
    resume = job.get("resume", False) or (out / "checkpoint.pt").exists()
    run = Run(recipe, data, out, resume=resume, should_stop=pause)
    if job.get("counts"):  # the messages that carry gradients
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        sent = []

        def counted(state, bucket):
            sent.append(bucket.is_last())
            return allreduce_hook(None, bucket)

        run.learner.objective.register_comm_hook(None, counted)
    try:
        run.run()
    except Paused as where:
        print(f"process {rank} paused {where}")
    if job.get("tells"):
        weights = [value.double().abs().sum() for value in run.learner.model.parameters()]
        rate = run.learner.optimizer.param_groups[0]["lr"]
        print(f"rate {rate!r}, weights {float(sum(weights))!r}\n", end="")
    if job.get("counts") and rank == 0:
        print(f"sent {sum(sent)}")


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    (pace if job.get("paces") else one_process)(job)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def together(processes, expect=0, **job):
    """Run a job in so many processes; what they print."""
    start = (sys.executable,)
    if processes:
        restarts = "2" if "dies" in job else "0"
        start = (*TORCHRUN, "--max-restarts", restarts, "--nproc-per-node", str(processes))
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [*start, __file__, json.dumps(job)], text=True, capture_output=True, timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(
            [tests, str(Path(tests).parent)])},
    )  # fmt: skip
    assert (done.returncode == 0) == (expect == 0), done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("together") / "recipe.toml"
    path.write_text(RECIPE)
    return str(path)


def told(folder):
    """The weights, and the rows of history but for what the clock says."""
    from safetensors.numpy import load_file

    lines = (folder / "history.csv").read_text().splitlines()
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
    return load_file(folder / "model.safetensors"), [
        {k: float(v) for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for row in rows
    ]


def far(one, other):
    """The largest difference of any weight, as a share of that tensor's largest."""
    return max(
        float(np.abs(one[key] - other[key]).max() / max(np.abs(one[key]).max(), 1e-9))
        for key in one
    )


@pytest.mark.parametrize(
    ("processes", "changes", "streamed"),
    [
        (2, [], False),
        (2, ["speed.checkpointing=true", "epochs=1"], False),
        # 12 validation images are not 5 equal shares
        pytest.param(5, ["speed.accumulate=2"], True, marks=pytest.mark.slow),
        pytest.param(
            2,
            ["net=xception", "image_size=72", "batch_size=6", "epochs=1"],
            False,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_many_processes_train_as_one_does(
    recipe, stripes, tmp_path, processes, changes, streamed, record_property
):
    job = {"recipe": recipe, "data": str(stripes), "changes": changes, "streamed": streamed,
           "double": True}  # fmt: skip
    together(0, **job, out=str(tmp_path / "one"))
    together(processes, **job, out=str(tmp_path / "many"))
    one, many = told(tmp_path / "one"), told(tmp_path / "many")
    assert one[1] == many[1]  # losses and accuracies, as they are rounded
    assert far(one[0], many[0]) < 1e-9
    record_property(
        "reliability",
        json.dumps(
            {"table": "scaling", "what": f"{processes} processes against 1: the loss curve",
             "ratio": "equal", "note": f"weights differ by {far(one[0], many[0]):.0e} in float64"}
        ),
    )  # fmt: skip


def test_what_one_process_finds_fastest_all_take(recipe, stripes, tmp_path, monkeypatch):
    """Each would find another the fastest; with different ones the weights would drift apart."""
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path))
    job = {"recipe": recipe, "data": str(stripes), "changes": ["stop.minutes=5"], "paces": True}
    assert re.findall("speed .*", together(2, **job)) == ["speed f32 channels-last"] * 2


def test_without_the_statistics_of_the_whole_batch_it_is_another_training(
    recipe, stripes, tmp_path
):
    job = {"recipe": recipe, "data": str(stripes), "double": True}
    job["changes"] = ["speed.sync_batch_norm=false", "epochs=1"]
    together(0, **job, out=str(tmp_path / "one"))
    together(2, **job, out=str(tmp_path / "two"))
    assert far(told(tmp_path / "one")[0], told(tmp_path / "two")[0]) > 1e-4


def test_gradients_are_sent_once_for_all_that_is_gathered(recipe, stripes, tmp_path):
    job = {"recipe": recipe, "data": str(stripes), "counts": True}
    # 36 images: six batches of six
    once = together(2, **job, changes=["batch_size=6", "epochs=1"], out=str(tmp_path / "a"))
    third = together(
        2, **job, changes=["batch_size=6", "epochs=1", "speed.accumulate=3"],
        out=str(tmp_path / "b"),
    )  # fmt: skip
    assert "sent 6\n" in once and "sent 2\n" in third


@pytest.mark.parametrize("kind", ["sgd", "muon"])
def test_where_the_clock_decides_it_is_one_clock_for_all(recipe, stripes, tmp_path, kind):
    changes = ["epochs=1000", "stop.minutes=0.1", f"optimizer.kind={kind}", "image_size=64"]
    changes += ["schedule.smallest=0.5", "schedule.grown=0.9"]
    job = {"recipe": recipe, "data": str(stripes), "tells": True, "changes": changes}
    said = together(2, **job, out=str(tmp_path / "m"))
    rates = re.findall(r"rate \S+, weights \d\S+", said)
    assert len(rates) == 2 and rates[0] == rates[1] and "as stop.minutes says" in said


@pytest.mark.parametrize(
    "dies",
    [
        [1, 5],
        pytest.param([0, 2], marks=pytest.mark.slow),
        pytest.param([0, 5], marks=pytest.mark.slow),
    ],
)
def test_a_process_that_is_killed_is_missed_for_a_moment_only(
    recipe, stripes, tmp_path, dies, record_property
):
    job = {"recipe": recipe, "data": str(stripes)}
    together(2, **job, out=str(tmp_path / "whole"))
    said = together(2, **job, out=str(tmp_path / "cut"), dies=dies)
    assert "exitcode: -9" in said  # torchrun tells of it, and starts both again
    whole, cut = told(tmp_path / "whole"), told(tmp_path / "cut")
    assert whole[1] == cut[1] and far(whole[0], cut[0]) == 0
    assert not (tmp_path / "cut" / "checkpoint.pt").exists()
    record_property(
        "reliability",
        json.dumps({"table": "faults", "what": "one of two processes of a training killed",
                    "tried": 1, "survived": 1, "lost": "nothing"}),
    )  # fmt: skip


@pytest.mark.slow
def test_a_pause_that_one_process_is_asked_for_is_everyones(recipe, stripes, tmp_path):
    job = {"recipe": recipe, "data": str(stripes), "double": True}
    together(2, **job, out=str(tmp_path / "whole"))
    said = together(2, **job, out=str(tmp_path / "cut"), pauses=[1, 2])
    for rank in (0, 1):
        assert f"process {rank} paused after step 2 of 3 of epoch 1" in said
    together(3, **job | {"changes": []}, out=str(tmp_path / "cut"), expect=1)  # 10 are not 3 parts
    together(5, **job, out=str(tmp_path / "cut"))  # but five parts, and it goes on
    whole, cut = told(tmp_path / "whole"), told(tmp_path / "cut")
    assert whole[1] == cut[1] and far(whole[0], cut[0]) < 1e-9


def test_what_cannot_be_shared_is_refused_in_words(recipe, stripes, tmp_path):
    from conftest import write_stripes

    job = {"recipe": recipe, "out": str(tmp_path / "m")}
    said = together(3, **job, data=str(stripes), expect=1)
    assert "a batch of 10 images cannot be divided evenly among 3 processes" in said
    write_stripes(tmp_path / "data")
    write_stripes(tmp_path / "data" / "across" / "more", 10)
    (tmp_path / "data" / "other").symlink_to(stripes)
    said = together(2, **job, data=str(tmp_path / "data"), lost=1, expect=1)
    assert "process 1 has other data than process 0" in said


def test_the_command_is_paused_by_torchrun_and_goes_on(recipe, stripes, tmp_path):
    words = ["-m", "inceptive", "train", str(stripes), "--recipe", recipe, "--out"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}

    def started(out, *more):
        return subprocess.Popen(
            [*TORCHRUN, "--nproc-per-node", "2", *words, str(out), *more],
            text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
        )  # fmt: skip

    whole = started(tmp_path / "whole", "--set", "epochs=5")
    said = whole.communicate(timeout=240)
    assert whole.returncode == 0, said
    assert said[0].strip() == str(tmp_path / "whole")  # one process speaks
    assert said[1].count("epoch 1/5") == 1 and "Warning" not in said[1], said
    cut = started(tmp_path / "cut", "--set", "epochs=5")
    for line in cut.stderr:
        if "epoch 1/5" in line:
            break
    cut.send_signal(signal.SIGTERM)
    said = cut.communicate(timeout=60)[1]
    assert "stopped after" in said and "--resume, started as before" in said, said
    assert (tmp_path / "cut" / "checkpoint.pt").exists()
    rest = started(tmp_path / "cut", "--resume", "--set", "epochs=5")
    said = rest.communicate(timeout=240)
    assert rest.returncode == 0 and "going on after epoch" in said[1], said
    a, b = told(tmp_path / "whole"), told(tmp_path / "cut")
    assert a[1] == b[1] and far(a[0], b[0]) == 0
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    assert config["training"]["processes"] == 2


def test_who_loses_another_process_says_so_in_a_line(recipe, stripes, tmp_path):
    words = ["-m", "inceptive", "train", str(stripes), "--recipe", recipe, "--set", "epochs=500"]
    with subprocess.Popen(
        [*TORCHRUN, "--nproc-per-node", "2", *words, "--out", str(tmp_path / "m")],
        text=True, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as torchrun:  # fmt: skip
        try:
            said = read_until(torchrun.stderr, "epoch 1/500")
            children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text()
            os.kill(int(children.split()[1]), signal.SIGKILL)  # the one that does not write
            said += torchrun.communicate(timeout=120)[1]
        finally:
            torchrun.kill()
    assert "inceptive train: process 0 of 2: another process does not answer (" in said, said
    assert "[rank" not in said  # which is how torch begins each line of a traceback


def test_a_folder_that_is_taken_stays_so_at_every_try_of_torchrun(
    recipe, stripes, tmp_path, record_property
):
    taken = tmp_path / "model"
    taken.mkdir()
    (taken / "model.safetensors").write_bytes(b"somebody's")
    words = ["-m", "inceptive", "train", str(stripes), "--recipe", recipe, "--out", str(taken)]
    done = subprocess.run(
        [*TORCHRUN, "--nproc-per-node", "2", "--max-restarts", "1", *words],
        text=True, capture_output=True, timeout=240, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 1 and "is not empty; give another folder (out)" in done.stderr
    assert "epoch 1" not in done.stderr
    assert [(one.name, one.read_bytes()) for one in taken.iterdir()] == [
        ("model.safetensors", b"somebody's")
    ]
    record_property(
        "reliability",
        json.dumps({"table": "faults", "what": "torchrun tries again to train into another's folder",
                    "tried": 1, "survived": 1, "lost": "nothing"}),
    )  # fmt: skip


def ip(*words):
    subprocess.run(["ip", *" ".join(words).split()], check=True, capture_output=True, timeout=20)


@pytest.fixture
def hosts():
    """Two hosts, which are network namespaces, with a cable between them: 10.77.0.1 and 10.77.0.2."""
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("network namespaces need root and iproute2")
    names = a, b = [f"inceptive-{os.getpid()}-{one}" for one in "ab"]
    try:
        for name in names:
            ip("netns add", name)
        ip(f"link add cable netns {a} type veth peer name cable netns {b}")
        for number, name in enumerate(names, 1):
            ip(f"-n {name} address add 10.77.0.{number}/24 dev cable")
            ip(f"-n {name} link set lo up")
            ip(f"-n {name} link set cable up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    else:
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=20)


STATIC = "--node-rank {} --master-addr 10.77.0.1 --master-port 29511"
ELASTIC = (
    "--rdzv-backend c10d --rdzv-endpoint 10.77.0.1:29511 --local-addr {} --rdzv-conf is_host={}"
)


@contextlib.contextmanager
def on_hosts(hosts, meet, recipe, data, outs):
    """torchrun of one training on each host."""
    started = []
    for number, (host, out) in enumerate(zip(hosts, outs, strict=True)):
        where = STATIC.format(number)
        if meet is ELASTIC:
            where = ELASTIC.format(f"10.77.0.{number + 1}", 1 - number)
        started.append(subprocess.Popen(
            ["ip", "netns", "exec", host, *TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1",
             *where.split(), "--max-restarts", "2", "-m", "inceptive", "train", str(data),
             "--recipe", recipe, "--set", "epochs=5", "--out", str(out)],
            text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "cable"},
        ))  # fmt: skip
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=30)


@pytest.mark.slow
def test_a_link_that_is_cut_and_comes_back_costs_time_only(
    hosts, recipe, stripes, tmp_path, record_property
):
    together(2, recipe=recipe, data=str(stripes), changes=["epochs=5"], out=str(tmp_path / "whole"))
    outs = [tmp_path / "one", tmp_path / "two"]
    with on_hosts(hosts, STATIC, recipe, stripes, outs) as (first, second):
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(first.stderr))
        seen = read_until(first.stderr, "epoch 1/5")
        ip(f"-n {hosts[1]} link set cable down")
        reader.start()
        time.sleep(3)  # what was on its way has come
        so_far = len(lines)
        time.sleep(6)
        assert len(lines) == so_far and first.poll() is None and second.poll() is None
        ip(f"-n {hosts[1]} link set cable up")
        assert second.wait(timeout=200) == 0 and first.wait(timeout=30) == 0
        reader.join()
    said = "".join([seen, *lines])
    assert [f"epoch {n}/5" in said for n in range(1, 6)] == [True] * 5, said
    whole, cut = told(tmp_path / "whole"), told(outs[0])
    assert whole[1] == cut[1] and far(whole[0], cut[0]) == 0
    assert not outs[1].exists()  # one process writes, on its own disk
    record_property(
        "reliability",
        json.dumps({"table": "faults", "what": "the link between two hosts cut for nine seconds",
                    "tried": 1, "survived": 1, "lost": "nothing"}),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("meet", [STATIC, ELASTIC], ids=["static", "elastic"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_on_one_of_two_hosts_is_started_again_on_both(
    hosts, recipe, stripes, tmp_path, meet, victim, record_property
):
    together(2, recipe=recipe, data=str(stripes), changes=["epochs=5"], out=str(tmp_path / "whole"))
    outs = [tmp_path / "one", tmp_path / "two"]
    with on_hosts(hosts, meet, recipe, stripes, outs) as started:
        said = read_until(started[0].stderr, "epoch 2/5")
        torchrun = started[victim].pid
        [worker] = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        said += started[0].stderr.read()
        assert [one.wait(timeout=200) for one in started] == [0, 0], said
    assert "going on after" in said
    whole, cut = told(tmp_path / "whole"), told(outs[0])
    assert whole[1] == cut[1] and far(whole[0], cut[0]) == 0
    assert not outs[1].exists()
    record_property(
        "reliability",
        json.dumps({"table": "faults", "what": "a process on one of two hosts killed",
                    "tried": 1, "survived": 1, "lost": "nothing"}),
    )  # fmt: skip


def read_until(stream, text):
    seen = ""
    for line in stream:
        seen += line
        if text in line:
            return seen
    raise AssertionError(seen)
