"""Tar shards: written so that webdataset reads them, read whoever wrote them, streamed in any share."""

import contextlib
import csv
import gc
import gzip
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tarfile
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from conftest import command, rewrite_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_resume import RECIPE, in_a_process, told

from inceptive.data import loading, streaming
from inceptive.data.loading import RandomCrop, Rank
from inceptive.data.open import open_data
from inceptive.data.shards import scan, writing
from inceptive.data.shards.index import Shard, read_table, table_name
from inceptive.data.shards.member import TarImages, at_path
from inceptive.data.shards.reading import split_of
from inceptive.data.shards.writing import Cut, write_shards
from inceptive.data.source import ArrayImages, Data, Samples, SplitFractions
from inceptive.data.streaming import StreamBatches
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing, decode
from inceptive.io.paths import cache_folder
from inceptive.training.prepare import loaders_for, preprocessing_for, shares
from inceptive.training.recipe import Recipe


def record(property, table, what, tried, survived, lost="nothing", note=""):
    row = {"table": table, "what": what, "tried": tried, "survived": survived}
    property("reliability", json.dumps(row | {"lost": lost, "note": note}))


@pytest.fixture(scope="module")
def shards(tmp_path_factory, stripes):
    """The stripes as shards of seven images."""
    out = tmp_path_factory.mktemp("shards") / "stripes"
    done = command("shards", stripes, "--out", out, "--count", 7)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    return out


@pytest.fixture
def mine(shards, tmp_path):
    """A copy of `shards` to be damaged."""
    return Path(shutil.copytree(shards, tmp_path / "mine"))


def as_read_by_webdataset(folder, split):
    """(key, pixels, label) of each image, in order."""
    files = sorted(map(str, folder.glob(f"{split}-*.tar")))
    with closing_late():
        read = webdataset.WebDataset(files, shardshuffle=False, empty_check=False)
        found = list(read.decode("pil").to_tuple("__key__", "jpg;png", "cls"))
        return [(key, np.asarray(image.convert("L")), label) for key, image, label in found]


@contextlib.contextmanager
def closing_late():
    """webdataset leaves it to the garbage collector to close what it read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


# -- written -------------------------------------------------------------------------------------


def test_webdataset_reads_what_train_would_divide(shards, stripes):
    data = open_data(str(stripes))
    index = json.loads((shards / "index.json").read_text())
    assert index["classes"] == ["across", "down"] and index["channels"] == 1
    for split, samples in data.splits.items():
        read = list(as_read_by_webdataset(shards, split))
        assert len({key for key, _, _ in read}) == len(samples) == len(read)
        numbers = [int(key[:8]) for key, _, _ in read]  # the image's place in the split
        for number, (_, pixels, label) in zip(numbers, read, strict=True):
            assert label == samples.labels[number]
            assert np.array_equal(pixels, np.asarray(decode(samples.source(number), 1)))
        assert (numbers == sorted(numbers)) == (split != "train")
        listed = index["splits"][split]
        assert [one["images"] for one in listed[:-1]] == [7] * (len(listed) - 1)
        for one in listed:
            content = (shards / one["file"]).read_bytes()
            assert one["bytes"] == len(content)
            assert one["sha256"] == hashlib.sha256(content).hexdigest()
        assert np.array_equal(np.sum([one["counts"] for one in listed], 0), data.counts(split))


def test_members_are_the_files_as_they_were(shards, stripes):
    originals = {path.read_bytes() for path in stripes.rglob("*.png")}
    found = []
    for path in shards.glob("*.tar"):
        with tarfile.open(path) as archive:
            names = archive.getnames()
            found += [archive.extractfile(name).read() for name in names if name.endswith(".png")]
            assert all(name.endswith((".png", ".cls")) for name in names)
    assert len(found) == 60 and set(found) == originals


def test_arrays_become_png_and_sizes_are_kept_to(tmp_path):
    assert command("shards", "digits", "--out", tmp_path / "d", "--size", 0.5).returncode == 0
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "d").glob("*.tar")}
    assert len(sizes) >= 7 and max(sizes.values()) < 0.6 * 2**20
    data, back = open_data("digits"), open_data(str(tmp_path / "d"))
    assert back.channels == data.channels and back.licence == data.licence
    for split in ("val", "test"):
        samples = back.split(split)
        assert np.array_equal(samples.labels, data.split(split).labels)
        pixels = [np.asarray(decode(samples.source(k), 1)) for k in range(len(samples))]
        assert np.array_equal(pixels, data.split(split).images.pixels)
    assert len(back.split("all")) == 1797


def test_the_same_call_gives_the_same_bytes_and_another_seed_another_order(
    shards, stripes, tmp_path
):
    def bytes_of(folder):
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    for name, seed in (("again", 0), ("other", 1)):
        options = ("--count", 7, "--seed", seed)
        assert command("shards", stripes, "--out", tmp_path / name, *options).returncode == 0
    assert bytes_of(tmp_path / "again") == bytes_of(shards)
    other = bytes_of(tmp_path / "other")
    assert other["train-000000.tar"] != (shards / "train-000000.tar").read_bytes()
    assert other["val-000000.tar"] == (shards / "val-000000.tar").read_bytes()


def test_shards_can_be_cut_anew_and_one_split_written(shards, tmp_path):
    out = tmp_path / "val"
    done = command("shards", shards, "--out", out, "--split", "val", "--count", 2)
    assert done.returncode == 0
    assert {path.name[:4] for path in out.iterdir()} == {"val-", "inde"}
    read = zip(as_read_by_webdataset(shards, "val"), as_read_by_webdataset(out, "val"), strict=True)
    for before, after in read:
        assert before[0] == after[0] and np.array_equal(before[1], after[1])
    done = command("shards", out, "--out", tmp_path / "x", "--split", "test")
    assert done.returncode == 1 and "has no test split; it has: val" in done.stderr


def test_what_lies_in_the_folder_is_never_overwritten(shards, stripes, tmp_path):
    done = command("shards", stripes, "--out", shards)
    assert done.returncode == 1 and "holds a finished set; give another folder (out)" in done.stderr
    (tmp_path / "train-000000.tar").write_bytes(b"mine")
    done = command("shards", stripes, "--out", tmp_path)
    assert done.returncode == 1 and "is not empty; give another folder (out)" in done.stderr
    assert (tmp_path / "train-000000.tar").read_bytes() == b"mine"


def test_an_unreadable_image_is_left_out_and_named(stripes, tmp_path):
    photos = Path(shutil.copytree(stripes, tmp_path / "photos"))
    (photos / "down" / "bad.png").write_bytes(b"no image")
    done = command("shards", photos, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert f"left out: {photos}/down/bad.png: is not an image" in done.stderr
    assert sum(len(s) for s in open_data(str(tmp_path / "out")).splits.values()) == 60
    assert command("shards", photos, "--out", tmp_path / "no", "--strict").returncode == 1
    assert not (tmp_path / "no").exists()


def one_writing(source, out, call):
    """In a process of its own: write shards and die by SIGKILL in that call of those that write."""
    calls = 0

    def counted(work):
        def wrapped(*args, **more):
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return work(*args, **more)

        return wrapped

    data = open_data(str(source))
    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    write_shards(data, out, cut=Cut(7, 0))


@pytest.mark.faults
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    shards, stripes, tmp_path, record_property
):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["inceptive.data.open", "webdataset", "test_shards"])
    whole = {path.name: path.read_bytes() for path in shards.iterdir()}
    out, count = tmp_path / "out", sum(name.endswith(".tar") for name in whole)

    def status_of(call):
        process = context.Process(target=one_writing, args=(stripes, out, call))
        process.start()
        process.join(120)
        found = {path.name: path.read_bytes() for path in out.glob("[!.]*")}
        found.pop("unfinished.json", None)
        assert found.items() <= whole.items()  # each is whole, or not there
        assert "index.json" not in found or found == whole
        return process.exitcode

    statuses = [status_of(call) for call in (1, 2, 3, 4, 7, 9, 14, 17, 25)]
    for last in (1, 2, 3):  # in the writing of index.json: fsync, rename, fsync of the folder
        begun = json.loads((out / "unfinished.json").read_text())["shards"]
        statuses.append(status_of(3 + 9 * (count - len(begun)) + last))
    assert statuses == [-signal.SIGKILL] * 12
    flip(out)  # what is no longer as it was written is written again
    (out / "val-000000.tar").unlink()
    assert status_of(1000) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    record(record_property, "faults", "writing tar shards, killed and run again", 12, 12)


def test_other_images_do_not_go_on_in_the_same_folder(shards, stripes, tmp_path):
    data = open_data(str(stripes))
    out = tmp_path / "out"
    out.mkdir()
    plan = {"plan": "of something else", "shards": {}}
    (out / "unfinished.json").write_text(json.dumps(plan))
    with pytest.raises(InceptiveError, match="holds the beginning of other shards"):
        write_shards(data, out)
    (out / "unfinished.json").write_text("{")
    with pytest.raises(InceptiveError, match=r"unfinished.json: cannot be read"):
        write_shards(data, out)


# -- streamed ------------------------------------------------------------------------------------


def numbered(folder, count, per_shard):
    """Training samples in shards: every image tells its own number, its label is the number's parity."""
    images = np.empty((count, 6, 6), np.uint8)
    images[:] = np.arange(count)[:, None, None]
    whole = {"train": Samples(ArrayImages(images, "numbers"), np.arange(count) % 2)}
    write_shards(Data("numbers", ("even", "odd"), whole, 1), folder, cut=Cut(per_shard, 0))
    return open_data(str(folder)).split("train")


WHOLE = {}


def batches(samples, size, share=Rank(), workers=0, seed=0, crop=WHOLE):
    preprocessing = Preprocessing(size=6, channels=1, mean=(0.5,), std=(0.5,))
    crop = RandomCrop(preprocessing, **crop)
    return StreamBatches(samples, crop, size, seed, workers, share)


def numbers_of(epoch):
    """The numbers in each batch, (steps, batch), whose labels are checked."""
    steps = []
    for images, labels in epoch:
        numbers = images[:, 0, 0, 0].long()
        assert (images == numbers[:, None, None, None]).all() and (labels == numbers % 2).all()
        steps.append(numbers.tolist())
    return steps


@pytest.mark.scale
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    count=st.integers(2, 60),
    per_shard=st.integers(1, 25),
    size=st.integers(1, 20),
    world=st.integers(1, 6),
    buffer=st.integers(1, 4000),
    data=st.data(),
)
def test_over_all_processes_every_image_comes_once(
    tmp_path_factory, count, per_shard, size, world, buffer, data
):
    samples = numbered(tmp_path_factory.mktemp("n"), count, per_shard)
    epoch, workers = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 3))
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(streaming, "BUFFER", buffer)
        size = min(size, count // world * world)
        if not size or size % world:
            with pytest.raises(InceptiveError, match="cannot be divided evenly among"):
                batches(samples, size or 1, Rank(0, world))
            size = size // world * world
        if not size:
            return
        steps = []
        for rank in range(world):
            share = Rank(rank, world)
            feed = batches(samples, size, share)
            assert len(feed) == count // size
            mine = numbers_of(feed.epoch(epoch))
            part = share.of(size)
            assert [len(step) for step in mine] == [part.stop - part.start] * len(feed)
            assert numbers_of(batches(samples, size, share, workers).epoch(epoch)) == mine
            start = data.draw(st.integers(0, len(feed)))
            again = batches(samples, size, share, workers)
            assert numbers_of(again.epoch(epoch, start)) == mine[start:]
            steps.append(mine)
        came = [number for mine in steps for step in mine for number in step]
        assert len(set(came)) == len(came) == count // size * size


def test_what_one_epoch_leaves_out_another_has(tmp_path):
    feed = batches(numbered(tmp_path, 50, 4), 16)
    left = [set(range(50)) - {n for step in numbers_of(feed.epoch(e)) for n in step}
            for e in range(4)]  # fmt: skip
    assert [len(one) for one in left] == [2] * 4 and len(set(map(frozenset, left))) > 1


def test_each_process_reads_its_own_shards_and_those_at_the_border(tmp_path, monkeypatch):
    samples = numbered(tmp_path, 60, 5)
    opened = [set() for _ in range(3)]
    for rank in range(3):
        monkeypatch.setattr(
            streaming, "read_at",
            lambda file, member, was=streaming.read_at, seen=opened[rank]: (
                seen.add(member.tar.path), was(file, member))[1],
        )  # fmt: skip
        list(batches(samples, 6, Rank(rank, 3)).epoch(0))
        monkeypatch.undo()
    assert [len(one) for one in opened] == [4, 4, 4] and len(set.union(*opened)) == 12


def test_a_tar_is_read_from_front_to_back_and_what_is_past_is_not_read(tmp_path, monkeypatch):
    samples = numbered(tmp_path, 60, 20)
    monkeypatch.setattr(streaming, "BUFFER", 1000)  # some ten images
    read = []
    monkeypatch.setattr(
        streaming, "read_at",
        lambda file, member, was=streaming.read_at: (read.append(member), was(file, member))[1],
    )  # fmt: skip
    feed = batches(samples, 5)
    whole = numbers_of(feed.epoch(0))
    assert len(whole) == 12 and len(read) == 60
    ahead = feed.order(0) - np.arange(60)  # of what leaves at k, how far it was read beyond k
    assert 5 < feed.buffer < 20 and 1 < ahead.max() <= feed.buffer and ahead.min() < -5
    for before, after in pairwise(read):
        assert before.tar != after.tar or before.offset < after.offset
    read.clear()
    assert numbers_of(feed.epoch(0, 9)) == whole[9:]
    assert len(read) == 15


def test_crops_are_the_same_for_any_number_of_threads_and_after_a_resume(shards):
    samples = open_data(str(shards)).split("train")
    crop = {"area": (0.2, 1.0), "aspect": (0.7, 1.4)}
    one = list(batches(samples, 5, workers=0, crop=crop, seed=3).epoch(2))
    for workers, start in ((1, 0), (2, 0), (4, 3)):
        feed = batches(samples, 5, workers=workers, crop=crop, seed=3)
        for (a, b), (c, d) in zip(one[start:], feed.epoch(2, start), strict=True):
            assert torch.equal(a, c) and torch.equal(b, d)
    whole, halves = (
        sorted(image.numpy().tobytes() for rank in range(world)
               for images, _ in batches(samples, 4, Rank(rank, world), crop=crop).epoch(0)
               for image in images)
        for world in (1, 2)
    )  # fmt: skip
    assert len(whole) == 44 and whole == halves
    other = list(batches(samples, 5, workers=0, crop=crop, seed=3).epoch(1))
    assert not torch.equal(one[0][0], other[0][0])


def test_an_epoch_that_is_left_leaves_no_thread_behind(shards):
    import threading

    before = threading.active_count()
    epoch = batches(open_data(str(shards)).split("train"), 5, workers=2).epoch(0)
    next(epoch)
    epoch.close()
    assert threading.active_count() == before


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.mark.faults
def test_a_training_that_streams_ends_with_the_same_bits_when_killed(
    recipe, shards, tmp_path, monkeypatch, record_property
):
    read = Recipe.read(recipe)
    data = open_data(str(shards), shares(read))
    with monkeypatch.context() as patch:
        patch.setattr(loading, "MEMORY_LIMIT", 0)
        feed = loaders_for(read, data, preprocessing_for(read, data))
        assert isinstance(feed.train, StreamBatches) and feed.val_images is None
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert in_a_process(recipe, shards, whole, True, 1, ("never",)) == 0
    killed = 0
    for k, dies in enumerate((("step", 3), ("call", 9), ("step", 10), ("time", 1.5))):
        status = in_a_process(recipe, shards, cut, True, k % 3, dies)
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        if status == 0:
            break
    assert killed >= 2
    if (cut / "checkpoint.pt").exists() or not (cut / "config.json").exists():
        assert in_a_process(recipe, shards, cut, True, 2, ("never",)) == 0
    assert told(cut) == told(whole)
    what = "training that streams tar shards, killed and resumed: the same bits"
    record(record_property, "faults", what, killed, killed)


@pytest.mark.scale
def test_train_takes_shards_and_evaluate_finds_what_it_finds_in_the_folder(
    trained, shards, stripes, tiny, tmp_path
):
    model = Path(shutil.copytree(trained[0], tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    config["data"]["shares"] = {
        "val": 0.15,
        "test": 0.15,
    }  # the folder is divided as the shards are
    rewrite_config(model, json.dumps(config))
    answers = []
    for k, data in enumerate((stripes, shards)):
        done = command(
            "evaluate", model, data, "--split", "test", "--json", "--out", tmp_path / str(k)
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer.pop("data") == str(data)
        with (tmp_path / str(k) / "predictions.csv").open() as file:
            rows = [list(row.values())[1:] for row in csv.DictReader(file)]
        answers.append((answer, rows))
    assert answers[0] == answers[1]
    done = command("train", shards, "--recipe", tiny, "--set", "epochs=1", "--out", tmp_path / "m")
    assert done.returncode == 0, done.stderr
    assert f"{shards}: 2 classes, images: 44 train, 8 val, 8 test" in done.stderr


# -- of others -----------------------------------------------------------------------------------


def png(number, size=24):
    rng = np.random.default_rng(number)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_foreign(folder, pattern="set-%04d.tar", count=24, per_shard=6, start=0):
    folder.mkdir(exist_ok=True)
    with webdataset.ShardWriter(
        str(folder / pattern), maxcount=per_shard, verbose=0, encoder=False
    ) as writer:
        for k in range(start, start + count):
            content = {"png": png(k), "cls": str(k % 3).encode(), "json": b"{}"}
            writer.write({"__key__": f"a/{k:05}"} | content)
    return folder


def test_tars_of_others_are_scanned_once(tmp_path, monkeypatch, caplog):
    folder = write_foreign(tmp_path / "foreign")
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    monkeypatch.setattr(scan, "settled", lambda known: True)
    with caplog.at_level("WARNING", "inceptive"):
        data = open_data(str(folder), SplitFractions(0.25, 0.25))
    assert f"{folder}: scanning 4 tars, once" in caplog.text
    assert data.classes == ("0", "1", "2") and data.channels == 3
    assert {split: len(samples) for split, samples in data.splits.items()} == {
        "train": 12, "val": 6, "test": 6}  # fmt: skip
    everything = data.split("all")
    found = {(hashlib.sha256(everything.source(k).read()).digest(), int(everything.labels[k]))
             for k in range(24)}  # fmt: skip
    assert found == {(hashlib.sha256(png(k)).digest(), k % 3) for k in range(24)}
    looks = []
    monkeypatch.setattr(
        scan, "read_through",
        lambda *args, was=scan.read_through: (looks.append(args[0].path), was(*args))[1],
    )  # fmt: skip
    again = open_data(str(folder), SplitFractions(0.25, 0.25))
    places = [each.split("val").images.places for each in (again, data)]
    assert not looks and np.array_equal(*places)
    changed = folder / "set-0001.tar"
    os.utime(changed, (1e9 + 1, 1e9 + 1))
    open_data(str(folder))
    assert looks == [str(changed)]
    looks.clear()
    open_data(str(folder))
    kept = list((cache_folder() / "shards").glob("*.npz"))
    assert not looks and len(kept) == len({path.name[:32] for path in kept})
    for path in kept:
        path.write_bytes(path.read_bytes()[:-100])  # damaged
    open_data(str(folder))
    assert len(looks) == 4


def test_names_tell_splits_and_classes_txt_the_classes(tmp_path):
    folder = write_foreign(tmp_path / "f", "imagenet-train-%04d.tar")
    write_foreign(folder, "imagenet-validation-%04d.tar", 6, start=100)
    (folder / "classes.txt").write_text("cat\ndog\nyak\nzebra\n")
    data = open_data(str(folder))
    assert data.classes == ("cat", "dog", "yak", "zebra")
    assert {split: len(samples) for split, samples in data.splits.items()} == {
        "train": 24,
        "val": 6,
    }
    assert "no image of zebra in train" in data.notes
    names = (
        "val.tar",
        "Test_3.tar",
        "testing.tar",
        "latest-0.tar",
        "a-TRAIN.tar",
        "trainval-1.tar",
    )
    assert [split_of(name) for name in names] == ["val", "test", "test", "", "train", ""]
    (folder / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(InceptiveError, match=r"classes.txt: must name 3 classes or more"):
        open_data(str(folder))


def test_a_folder_of_classes_with_a_tar_beside_them_is_a_folder(stripes, tmp_path):
    photos = Path(shutil.copytree(stripes, tmp_path / "photos"))
    (photos / "download.tar").write_bytes(b"")
    assert open_data(str(photos)).classes == ("across", "down")


def add(archive, name, content=b"", **about):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in about.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))


def tar_of(path, members):
    """A tar of (name, content) or (name, content, about)."""
    with tarfile.open(path, "w") as archive:
        for name, content, *about in members:
            add(archive, name, content, **(about[0] if about else {}))
    return path


AWKWARD = [
    ("one.PNG", png(1)), ("one.cls", b"0"),
    ("__meta__/x.png", png(2)),
    ("two.cls", b" 1\n"), ("two.seg.png", png(3)), ("two.jpg", png(4)),
    ("d.ir/three.png", png(5)), ("d.ir/three.cls", b"2"), ("d.ir/three.txt", b"words"),
    ("noextension", b""), (".hidden.png", png(6)),
    ("four.npy", b"123"),
    ("five.png", png(7)), ("five.cls", b"1"),
]  # fmt: skip


def test_members_are_grouped_as_webdataset_groups_them(tmp_path):
    path = tar_of(tmp_path / "x.tar", AWKWARD)
    with closing_late():
        oracle = [
            (sample["__key__"], sample.get("png") or sample["jpg"], int(sample["cls"]))
            for sample in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
            if "cls" in sample and ("png" in sample or "jpg" in sample)
        ]
    tar = at_path(str(path))
    found = scan.read_through(tar, True)
    samples = Samples(TarImages(found.places, (tar,), found.scans["file"]["pixels"]), found.labels)
    ours = [
        (scan.parts(samples.name(k).removeprefix(f"{path}/"))[0], samples.source(k).read(), label)
        for k, label in enumerate(found.labels.tolist())
    ]
    assert ours == oracle and len(ours) == 4
    assert not len(found.errors)


GOOD = [(f"{k}.{ending}", content) for k in range(6) for ending, content in
        (("png", png(k)), ("cls", b"%d" % (k % 2)))]  # fmt: skip
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
HARD = {"type": tarfile.LNKTYPE, "linkname": "0.png"}
LEFT_OUT = {
    "../../outside.png": ([("../../outside.png", png(9)), ("../../outside.cls", b"0")],
                          "names a place outside its tar and is left out"),
    "/tmp/absolute.png": ([("/tmp/absolute.png", png(9))], "names a place outside its tar"),
    "link.png": ([("link.png", b"", LINK), ("link.cls", b"1")], "is a link, a device"),
    "hard.png": ([("hard.png", b"", HARD), ("hard.cls", b"1")], "is a link, a device"),
    "pipe.png": ([("pipe.png", b"", {"type": tarfile.FIFOTYPE})], "is a link, a device"),
    "0.png": ([("0.png", png(9)), ("0.cls", b"1")], "an image of that key came before"),
    "same.jpg": ([("same.png", png(9)), ("same.jpg", png(8)), ("same.cls", b"1")],
                 "its key has an image already"),
    "twice.cls": ([("twice.png", png(9)), ("twice.cls", b"1"), ("twice.cls", b"0")],
                  "its key has two labels"),
    "alone.png": ([("alone.png", png(9))], "has no .cls beside it"),
    "minus.cls": ([("minus.png", png(9)), ("minus.cls", b"-1")], "is no label"),
    "word.cls": ([("word.png", png(9)), ("word.cls", b"cat")], "is no label"),
    "huge.cls": ([("huge.png", png(9)), ("huge.cls", b"9" * 400)], "is no label"),
    "bad.png": ([("bad.png", png(9)[:60]), ("bad.cls", b"1")], "is truncated or damaged"),
    "empty.jpg": ([("empty.jpg", b""), ("empty.cls", b"1")], "is empty (0 bytes)"),
    "text.jpg": ([("text.jpg", b"hello"), ("text.cls", b"1")], "is not an image (it holds text)"),
    "a\\nb.png": ([("a\nb.png", png(9))], "has no .cls beside it"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_hostile_member_is_left_out_in_one_line(name, tmp_path, record_property):
    members, reason = LEFT_OUT[name]
    folder = tmp_path / "set"
    folder.mkdir()
    path = tar_of(folder / "x.tar", GOOD + members)
    before = sorted(tmp_path.rglob("*"))
    data = open_data(str(folder))
    wanted = 7 if name in ("same.jpg", "twice.cls") else 6
    assert sum(len(samples) for samples in data.splits.values()) == wanted
    told = [line for line in data.unreadable if line.startswith(f"{path}/{name}: ")]
    assert told and reason in told[0] and all("\n" not in line for line in data.unreadable)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(InceptiveError, match="images cannot be read, the first: "):
        open_data(str(folder), strict=True)
    record(record_property, "inputs", "a hostile member of a tar, named and left out", 1, 1)


def header_at(content, offset, field, value):
    """A tar whose header at `offset` says something else, its checksum right."""
    block = bytearray(content[offset : offset + 512])
    block[field : field + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return content[:offset] + bytes(block) + content[offset + 512 :]


DAMAGED = {
    "empty": (lambda c: b"", "is no tar, or a damaged one"),
    "text": (lambda c: b"hello " * 1000, "is no tar, or a damaged one"),
    "zeros": (lambda c: bytes(10240), "hold no images KEY.jpg with a label KEY.cls"),
    "gzip": (gzip.compress, "is compressed; unpack it"),
    "cut in a picture": (lambda c: c[:2000], "a damaged one (unexpected end of data)"),
    "cut between members": (lambda c: c[: len(c) // 1024 * 512], ""),
    "cut in a header": (lambda c: c[: 512 * 5 + 100], ""),
    "no end": (lambda c: c.rstrip(b"\0")[:-0 or None], ""),
    "header overwritten": (lambda c: c[:3584] + b"\xaa" * 512 + c[4096:], ""),
    "a size beyond the end": (lambda c: header_at(c, 0, 124, b"77777777777\0"), ""),
    "a size below zero": (lambda c: header_at(c, 0, 124, b"\xff" * 12), ""),
}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_tar_is_refused_in_one_line(kind, tmp_path, record_property):
    damage, reason = DAMAGED[kind]
    path = tar_of(tmp_path / "x.tar", GOOD)
    path.write_bytes(damage(path.read_bytes()))
    done = command("train", tmp_path, "--out", tmp_path / "model")
    assert done.returncode == 1 and not (tmp_path / "model").exists()
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("inceptive train: ") and str(tmp_path) in last and reason in last
    assert "Traceback" not in done.stderr
    record(record_property, "inputs", "a damaged tar, refused in one line", 1, 1)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_cut_loses_an_image_in_silence(tmp_path, data):
    path = tar_of(tmp_path / "x.tar", GOOD)
    content = path.read_bytes()
    end = len(content.rstrip(b"\0"))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = scan.read_through(at_path(str(path)), True)
    except InceptiveError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert len(found.labels) == 6 and path.stat().st_size >= end
    path.write_bytes(content)


def changed(**changes):
    def change(folder):
        index = json.loads((folder / "index.json").read_text())
        for where, value in changes.items():
            if where in ("file", "images", "bytes", "counts", "sha256"):
                index["splits"]["train"][0][where] = value
            else:
                index[where] = value
        (folder / "index.json").write_text(json.dumps(index))

    return change


def swap_counts(folder):
    index = json.loads((folder / "index.json").read_text())
    for shard in index["splits"]["train"]:
        if len(set(shard["counts"])) == 2:
            shard["counts"].reverse()
            break
    (folder / "index.json").write_text(json.dumps(index))


def flip(folder):
    path = folder / "train-000001.tar"
    content = bytearray(path.read_bytes())
    content[1700] ^= 1
    path.write_bytes(content)


def pipe(folder):
    (folder / "train-000001.tar").unlink()
    os.mkfifo(folder / "train-000001.tar")


LIES = {
    "a shard is missing": (lambda f: (f / "train-000002.tar").unlink(), "cannot be read (No such"),
    "a shard is cut": (lambda f: os.truncate(f / "val-000000.tar", 4096), "has 4096 bytes, not"),
    "a bit is flipped": (flip, "its SHA-256 is not that in index.json"),
    "a shard is a pipe": (pipe, "it is not a file"),
    "another hash": (changed(sha256="0" * 64), "its SHA-256 is not that in index.json"),
    "no hash": (changed(sha256="x"), "is no index of shards (splits.train.0.sha256"),
    "other counts": (swap_counts, "its classes are not counted as in index.json"),
    "more images": (changed(images=8, counts=[4, 4]), "has 7 labelled images, not 8"),
    "counts that do not add up": (changed(counts=[9, 9]), "are not those of its images"),
    "counts below zero": (changed(counts=[-1, 8]), "is no index of shards"),
    "a file elsewhere": (changed(file="../x.tar"), "is no index of shards (splits.train.0.file"),
    "an absolute file": (changed(file="/etc/passwd.tar"), "is no index of shards"),
    "a file twice": (changed(file="train-000001.tar"), "names train-000001.tar twice"),
    "one class": (changed(classes=["a"]), "needs two classes or more"),
    "a class twice": (changed(classes=["a", "a"]), "each named once"),
    "another split": (changed(splits={"dev": []}), "has a split dev"),
    "no shards": (changed(splits={"train": []}), "names no shards"),
    "two channels": (changed(channels=2), "is no index of shards (channels"),
    "text": (lambda f: (f / "index.json").write_text("hello"), "is no JSON"),
    "bytes": (lambda f: (f / "index.json").write_bytes(b"\xff\xfe\0"), "is no JSON"),
    "depth": (lambda f: (f / "index.json").write_text("[" * 10**6), "is no JSON"),
    "a list": (lambda f: (f / "index.json").write_text("[]"), "is no index of shards"),
}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("lie", LIES)
def test_an_index_that_lies_is_refused_in_one_line(lie, mine, trained, record_property):
    change, reason = LIES[lie]
    change(mine)
    done = command("evaluate", trained[0], mine)
    assert done.returncode == 1 and done.stdout == ""
    [last] = [line for line in done.stderr.splitlines() if line.startswith("inceptive evaluate: ")]
    assert str(mine) in last and reason in last and "Traceback" not in done.stderr
    record(record_property, "inputs", "an index.json that lies, or its shards", 1, 1)


def test_a_shard_that_changes_while_it_is_read_is_named(mine):
    samples = open_data(str(mine)).split("train")
    epoch = batches(samples, 4).epoch(0)
    for path in mine.glob("*.tar"):
        with path.open("ab") as file:
            file.write(bytes(512))
    with pytest.raises(InceptiveError, match="was changed while it was in use"):
        list(epoch)
    with pytest.raises(InceptiveError, match="was changed while it was in use"):
        decode(samples.source(0))


def test_without_webdataset_the_extra_is_named(stripes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    done = command("shards", stripes, "--out", tmp_path / "out")
    assert done.returncode == 1 and "pip install 'inceptive[scale]'" in done.stderr
    monkeypatch.undo()
    assert command("shards", stripes, "--out", tmp_path / "out").returncode == 0


def test_a_table_that_lies_is_refused_in_one_line(mine):
    """One in another format, and a label of billions, which was counted up to."""
    index = json.loads((mine / "index.json").read_bytes())
    shard = Shard.model_validate(index["splits"]["train"][0])
    table = np.load(mine / table_name(shard.file))
    packed, far = io.BytesIO(), io.BytesIO()
    np.savez(packed, table)
    table["label"] = 2**32
    np.save(far, table)
    for content in (packed.getvalue(), b"", far.getvalue()):
        known = shard.model_copy(update={"members": hashlib.sha256(content).hexdigest()})
        with pytest.raises(InceptiveError, match="is no table of a shard"):
            read_table(content, known, "table")


def test_images_with_their_archive_beside_them_are_no_shards(tmp_path):
    for k in range(8):
        Image.open(io.BytesIO(png(k))).save(tmp_path / f"{k}.png")
    rows = "".join(f"{k}.png,{'ab'[k % 2]}\n" for k in range(8))
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}")
    (tmp_path / "photos.tar").write_bytes(bytes(10240))
    assert open_data(str(tmp_path), progress=None).classes == ("a", "b")


def test_classes_txt_may_come_from_notepad(tmp_path):
    """The first class began with a mark of the encoding, and a blank line was a class."""
    write_foreign(tmp_path)
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\ncow\r\n\r\n")
    assert open_data(str(tmp_path), progress=None).classes == ("cat", "dog", "cow")


def test_other_pixels_under_the_same_names_do_not_go_on_in_the_same_folder(tmp_path):
    """Of a set divided by its person, where a changed image changes nothing else."""
    for split, name, k in itertools.product(("train", "val"), "ab", range(2)):
        path = tmp_path / "set" / split / name / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(io.BytesIO(png(len(list(tmp_path.rglob("*.png")))))).save(path)
    plans = []
    for _ in range(2):
        data = open_data(str(tmp_path / "set"), progress=None)
        plans.append(writing._plan(data, data.splits, Cut(), 0))
        Image.open(io.BytesIO(png(99))).save(tmp_path / "set" / "train" / "a" / "0.png")
    assert plans[0] != plans[1]


def test_files_without_a_suffix_can_be_written_and_huge_ones_are_named(tmp_path, monkeypatch):
    paths = [tmp_path / f"picture{k}" for k in range(6)]
    for k, path in enumerate(paths):
        path.write_bytes(png(k))
    data = open_data((paths, [0, 1] * 3, ("a", "b")), progress=None)
    write_shards(data, tmp_path / "out", progress=None)
    read = open_data(str(tmp_path / "out"), progress=None)
    assert sum(map(len, read.splits.values())) == 6
    monkeypatch.setattr(writing, "LARGEST", 10)
    with pytest.raises(InceptiveError, match=r"picture\d: is larger than 0 MiB, the most"):
        write_shards(data, tmp_path / "more", progress=None)
