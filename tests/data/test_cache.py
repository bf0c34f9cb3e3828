"""What is kept of images between epochs and runs: never seen in the results, whatever befalls it."""

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Recorder
from PIL import Image

import inceptive.data.scan as scan_module
from inceptive.data import cache as cache_module
from inceptive.data.cache import Cache, user_cache
from inceptive.data.loading import Batches, RandomCrop, Resized, in_memory
from inceptive.data.open import open_data
from inceptive.data.pictures import CachedImages, ModelInputs, in_order
from inceptive.data.prefetch import prefetch
from inceptive.data.scan import as_rows, scan, scan_all
from inceptive.data.source import ArrayImages, PathImages, Samples, SplitFractions
from inceptive.engines.header import fingerprint
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io.locks import lock
from inceptive.training.loop import Run
from inceptive.training.recipe import Recipe

SQUARES = ModelInputs(Preprocessing(16))
BYTES = 3 * 16 * 16  # of one of them


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Times of files that were written just now are trusted: no test waits two seconds."""
    monkeypatch.setattr(cache_module, "SETTLED", -(10**18))


def picture(seed, size=(40, 28)):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def files(folder, count, first=0):
    folder.mkdir(exist_ok=True)
    for k in range(count):
        picture(first + k).save(folder / f"{k:03}.png")
    return Samples(PathImages.of(sorted(folder.iterdir()), folder), np.arange(count))


class Counted:
    """A way of decoding that remembers how often it decoded."""

    def __init__(self, spec=SQUARES):
        self.spec, self.name, self.calls = spec, spec.name, 0

    def __call__(self, source, name=""):
        self.calls += 1
        return self.spec(source, name)


def scanned(samples, cache):
    """`samples` as a new run gets them."""
    images = scan_all(samples.images.paths.tolist(), None, cache)
    paths, folder = [image.path for image in images], samples.images.folder
    return Samples(PathImages.of(paths, folder, as_rows(images)["file"]), samples.labels)


def read(samples, cache, spec=SQUARES):
    """Every picture of `samples` as a new run gets it, and how many of them it decoded."""
    samples = scanned(samples, cache)
    counted = Counted(spec)
    with CachedImages(samples, counted, cache) as pictures:
        found = [pictures[k].copy() for k in range(len(samples))]
    return found, counted.calls


def as_decoded(samples, found, spec=SQUARES):
    return all(np.array_equal(found[k], spec(samples.source(k))) for k in range(len(samples)))


def same_scan(left, right):
    return len(left) == len(right) and all(
        (a.path, a.digest, a.grey, a.error) == (b.path, b.digest, b.grey, b.error)
        and np.array_equal(a.thumbnail, b.thumbnail)
        for a, b in zip(left, right, strict=True)
    )


def looked_at(paths, cache, monkeypatch):
    """The files that `scan_all` looked at, by name; what it told is right."""
    looked = []

    def watched(path):
        looked.append(os.path.basename(path))
        return scan(path)

    with monkeypatch.context() as patch:
        patch.setattr(scan_module, "scan", watched)
        told = scan_all(paths, None, cache)
    assert same_scan(told, [scan(path) for path in paths])
    return sorted(looked)


def pixel_files(cache):
    return sorted(cache.folder.glob("*.pixels"))


def kept_bytes(cache):
    return sum(path.stat().st_size for path in pixel_files(cache))


# -- the scan -----------------------------------------------------------------------------------


def test_a_file_is_scanned_once_until_it_changes(tmp_path, monkeypatch):
    paths = files(tmp_path / "set", 5).images.paths.tolist()
    cache = Cache(tmp_path / "cache")
    assert len(looked_at(paths, cache, monkeypatch)) == 5
    assert looked_at(paths, cache, monkeypatch) == []
    picture(77).save(paths[2])
    assert looked_at(paths, cache, monkeypatch) == ["002.png"]
    assert looked_at(paths, cache, monkeypatch) == []


@pytest.mark.parametrize("how", ["written over", "put in its place"])
def test_another_picture_of_the_same_size_and_time_is_noticed(tmp_path, monkeypatch, how):
    paths = files(tmp_path / "set", 2).images.paths.tolist()
    for k, path in enumerate(paths):
        picture(k).save(path, "BMP")  # every one as long as the other
    cache = Cache(tmp_path / "cache")
    looked_at(paths, cache, monkeypatch)
    before = os.stat(paths[0])
    other = tmp_path / "other.png"
    picture(9).save(other, "BMP")
    if how == "written over":
        shutil.copyfile(other, paths[0])
    else:
        os.replace(other, paths[0])
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(paths[0])
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert looked_at(paths, cache, monkeypatch) == ["000.png"]


def test_a_file_written_just_now_is_not_trusted(tmp_path, monkeypatch):
    """A second change within one tick of the clock would leave its times as they are."""
    monkeypatch.setattr(cache_module, "SETTLED", 2_000_000_000)
    samples, cache = files(tmp_path / "set", 2), Cache(tmp_path / "cache")
    assert len(looked_at(samples.images.paths.tolist(), cache, monkeypatch)) == 2
    assert len(looked_at(samples.images.paths.tolist(), cache, monkeypatch)) == 2
    assert read(samples, cache)[1] == read(samples, cache)[1] == 2
    counted = Counted()
    with CachedImages(samples, counted, cache) as pictures:
        for _ in range(3):
            assert np.array_equal(pictures[0], SQUARES(samples.source(0)))
            pictures.flush()
    assert counted.calls == 3


def test_a_deleted_file_is_told(tmp_path):
    samples, cache = files(tmp_path / "set", 3), Cache(tmp_path / "cache")
    read(samples, cache)
    with CachedImages(scanned(samples, cache), SQUARES, cache) as pictures:
        Path(samples.source(1)).unlink()
        with pytest.raises(InceptiveError, match=r"001\.png: cannot be read"):
            pictures[1]
    assert (
        "001.png: cannot be read" in scan_all(samples.images.paths.tolist(), None, cache)[1].error
    )


def test_what_cannot_be_read_is_looked_at_each_time(tmp_path, monkeypatch):
    paths = files(tmp_path / "set", 3).images.paths.tolist()
    Path(paths[1]).write_bytes(b"\x89PNG\r\n\x1a\n")
    cache = Cache(tmp_path / "cache")
    looked_at(paths, cache, monkeypatch)
    assert looked_at(paths, cache, monkeypatch) == ["001.png"]
    picture(1).save(paths[1])
    assert looked_at(paths, cache, monkeypatch) == ["001.png"]
    assert looked_at(paths, cache, monkeypatch) == []


def test_another_version_of_the_scanner_looks_again(tmp_path, monkeypatch):
    paths = files(tmp_path / "set", 3).images.paths.tolist()
    cache = Cache(tmp_path / "cache")
    looked_at(paths, cache, monkeypatch)
    monkeypatch.setattr(scan_module, "SCANNER", 99)
    assert len(looked_at(paths, cache, monkeypatch)) == 3
    assert looked_at(paths, cache, monkeypatch) == []


def test_folders_seen_longest_ago_are_forgotten_first(tmp_path, monkeypatch):
    paths = files(tmp_path / "set", 6).images.paths.tolist()
    others = files(tmp_path / "other", 2, first=50).images.paths.tolist()
    cache = Cache(tmp_path / "cache")
    monkeypatch.setattr(cache_module, "SCANS", 7 * scan_module.ROW.itemsize)
    scan_all(paths, None, cache)
    scan_all(others, None, cache)
    assert looked_at(others, cache, monkeypatch) == []
    assert len(looked_at(paths, cache, monkeypatch)) == 6


def test_any_name_that_a_file_can_have(tmp_path, monkeypatch):
    folder = os.fsencode(tmp_path / "set")
    os.mkdir(folder)
    names = [b"\xff\xfe.png", b"a'b\"; DROP TABLE files.png", b"new\nline.png", b"%s ?1.png"]
    names += [b"e\xcc\x81.png", b"\xc3\xa9.png"]  # one letter, written in two ways
    for k, name in enumerate(names):
        with open(os.path.join(folder, name), "wb") as file:
            picture(k).save(file, "PNG")
    paths = sorted(os.fsdecode(os.path.join(folder, name)) for name in names)
    samples = Samples(PathImages.of(paths, os.fsdecode(folder)), np.arange(len(paths)))
    cache = Cache(tmp_path / "cache")
    assert len(looked_at(paths, cache, monkeypatch)) == len(names)
    assert looked_at(paths, cache, monkeypatch) == []
    assert read(samples, cache)[1] == len(names)
    found, decoded = read(samples, cache)
    assert not decoded and as_decoded(samples, found)


def test_the_scan_is_kept_by_absolute_path(tmp_path, monkeypatch):
    files(tmp_path / "set", 2)
    files(tmp_path / "other", 2, first=50)
    cache = Cache(tmp_path / "cache")
    for name in ("set", "other"):
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path / name)
            assert len(looked_at(["000.png", "001.png"], cache, monkeypatch)) == 2


# -- pixels -------------------------------------------------------------------------------------

SPECS = [
    SQUARES,
    ModelInputs(Preprocessing(17)),
    ModelInputs(Preprocessing(16, crop=0.8)),
    ModelInputs(Preprocessing(16, crop=0.8, squash=True)),
    ModelInputs(Preprocessing(16, interpolation="bicubic")),
    ModelInputs(Preprocessing(16, channels=1, mean=(0.5,), std=(0.5,))),
    Resized(3, 16, "bilinear"),
    Resized(1, 16, "bilinear"),
    Resized(3, 20, "bilinear"),
    Resized(3, 20, "bicubic"),
    Resized(3, 900, "bilinear"),
    ModelInputs(Preprocessing(16, sample_range=(0, 4095))),
    Resized(3, 16, "bilinear", (0, 4095)),
]


def test_every_way_of_decoding_is_kept_apart_and_decodes_once(tmp_path):
    samples, cache = files(tmp_path / "set", 4), Cache(tmp_path / "cache")
    for wanted in (4, 0):
        for spec in SPECS:
            found, decoded = read(samples, cache, spec)
            assert decoded == wanted, spec
            assert as_decoded(samples, found, spec)
    assert len({spec.name for spec in SPECS}) == len(SPECS) == len(pixel_files(cache))


def test_mean_and_std_are_not_part_of_the_pixels(tmp_path):
    samples, cache = files(tmp_path / "set", 2), Cache(tmp_path / "cache")
    read(samples, cache)
    assert not read(samples, cache, ModelInputs(Preprocessing(16, mean=(0.1,) * 3)))[1]


def test_another_version_of_the_decoder_decodes_again(tmp_path, monkeypatch):
    samples, cache = files(tmp_path / "set", 2), Cache(tmp_path / "cache")
    read(samples, cache)
    monkeypatch.setattr("PIL.__version__", "99.0")
    assert read(samples, cache)[1] == 2


def test_the_same_content_elsewhere_is_not_decoded_again(tmp_path):
    samples, cache = files(tmp_path / "set", 4), Cache(tmp_path / "cache")
    read(samples, cache)
    (tmp_path / "set").rename(tmp_path / "moved")
    moved = Samples(PathImages.of(sorted((tmp_path / "moved").iterdir()), "moved"), np.arange(4))
    found, decoded = read(moved, cache)
    assert not decoded and as_decoded(moved, found)


def test_a_file_that_changes_between_two_epochs_is_decoded_again(tmp_path):
    samples, cache = files(tmp_path / "set", 3), Cache(tmp_path / "cache")
    read(samples, cache)
    with CachedImages(scanned(samples, cache), SQUARES, cache) as pictures:
        assert as_decoded(samples, [pictures[k] for k in range(3)])
        picture(70).save(samples.source(0))
        assert as_decoded(samples, [pictures[k] for k in range(3)])
        pictures.flush()
        picture(71).save(samples.source(0))
        assert as_decoded(samples, [pictures[k] for k in range(3)])
    found, decoded = read(samples, cache)
    assert not decoded and as_decoded(samples, found)


def test_what_a_thread_decoded_of_a_file_that_changed_is_not_kept_as_the_other(tmp_path):
    samples, cache = files(tmp_path / "set", 1), Cache(tmp_path / "cache")
    reached, go = threading.Event(), threading.Event()

    class Slow(Counted):
        def __call__(self, source, name=""):
            if not self.calls:
                self.calls = 1
                reached.set()
                assert go.wait(60)
            return super().__call__(source, name)

    with (
        CachedImages(scanned(samples, cache), Slow(), cache) as pictures,
        ThreadPoolExecutor(1) as pool,
    ):
        slow = pool.submit(pictures.__getitem__, 0)
        assert reached.wait(60)
        picture(70).save(samples.source(0))
        assert as_decoded(samples, [pictures[0]])
        go.set()
        slow.result()
    assert as_decoded(samples, read(samples, Cache(tmp_path / "cache"))[0])


def test_without_a_scan_pictures_are_decoded_once_a_run(tmp_path):
    samples, cache = files(tmp_path / "set", 3), Cache(tmp_path / "cache")
    for _ in range(2):
        counted = Counted()
        with CachedImages(samples, counted, cache) as pictures:
            for _ in range(3):
                assert as_decoded(samples, [pictures[k] for k in range(3)])
                pictures.flush()
        assert counted.calls == 3
    assert kept_bytes(cache) == 3 * BYTES


def test_a_set_of_arrays_needs_no_cache(tmp_path):
    arrays = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    cache = Cache(tmp_path / "cache")
    with CachedImages(Samples(ArrayImages(arrays), np.arange(3)), SQUARES, cache) as pictures:
        assert np.array_equal(pictures[1], arrays[1].transpose(2, 0, 1))
    assert not cache.folder.exists()


def test_an_image_that_is_none_is_named_as_without_a_cache(tmp_path):
    samples, cache = files(tmp_path / "set", 2), Cache(tmp_path / "cache")
    Path(samples.source(1)).write_bytes(b"")
    said = []
    for used in (None, cache):
        with (
            pytest.raises(InceptiveError) as caught,
            CachedImages(samples, SQUARES, used) as pictures,
        ):
            pictures[1]
        said.append(str(caught.value))
    assert said[0] == said[1] and "001.png: is empty" in said[0]


# -- the same batches ---------------------------------------------------------------------------


def same(left, right):
    left, right = list(left), list(right)
    return len(left) == len(right) and all(
        torch.equal(a, b)
        for one, other in zip(left, right, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_have_the_same_bits_with_and_without_and_for_any_number_of_threads(
    tmp_path, channels
):
    samples, cache = files(tmp_path / "set", 10), Cache(tmp_path / "cache")
    picture(0, (200, 90)).save(samples.source(0))
    picture(0, (9, 200)).save(samples.source(1))
    shown = Preprocessing(16, channels, mean=(0.5,) * channels, std=(0.5,) * channels)
    samples = scanned(samples, cache)

    def batches(used, workers):
        crop = RandomCrop(shown, (0.08, 1.0), (0.75, 1.33), ("bilinear", "box"))
        return Batches(CachedImages(samples, crop.spec, used), crop, 3, 1, workers)

    plain = [list(batches(None, 0).epoch(number)) for number in range(3)]
    for workers in (0, 1, 3):  # the first fills the cache
        made = batches(cache, workers)
        for number in range(3):
            assert same(made.epoch(number), plain[number])
    assert torch.equal(in_memory(samples, shown), in_memory(samples, shown, None, cache))
    for _ in range(2):
        kept = np.concatenate(list(in_order(samples, shown, 4, cache, 2)))
        assert np.array_equal(kept, in_memory(samples, shown).numpy())
    assert len(pixel_files(cache)) == 2


@pytest.mark.training
@pytest.mark.parametrize(("limit", "epochs"), [(0, 2), (2**30, 1)])
def test_a_training_is_the_same_with_and_without(
    stripes, tiny, tmp_path, monkeypatch, cache, limit, epochs
):
    """From files and from memory: history and weights, bit by bit."""
    monkeypatch.setattr("inceptive.data.loading.MEMORY_LIMIT", limit)
    rows, weights = [], []
    for wanted in ("false", "true"):
        changes = [f"data.cache={wanted}", f"epochs={epochs}", "augment.area=[0.5, 1.0]"]
        recipe, watch = Recipe.read(str(tiny), changes), Recorder()
        data = open_data(str(stripes), SplitFractions(recipe.data.val, recipe.data.test))
        Run(recipe, data, tmp_path / wanted, callbacks=[watch]).run()
        rows.append([{k: v for k, v in row.items() if "second" not in k} for row in watch.rows])
        weights.append(fingerprint(tmp_path / wanted / "model.safetensors"))
    assert rows[0] == rows[1] and weights[0] == weights[1]
    assert list((cache / "images").glob("*.pixels"))


# -- damage -------------------------------------------------------------------------------------


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def cut(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("this is no database\n" * 500)


def middle(path):
    content = bytearray(path.read_bytes())
    content[100:] = np.random.default_rng(0).bytes(len(content) - 100)
    path.write_bytes(content)


def other_rows(path):
    rows = np.fromfile(path, cache_module.ROW)
    rows["offset"] += 1
    rows.tofile(path)


def half_a_row(path):
    with open(path, "ab") as file:
        file.write(b"of a writer that was killed")


@pytest.mark.parametrize(
    "damage",
    [zeros, cut, empty, text, middle, other_rows, half_a_row, Path.unlink],
)
@pytest.mark.parametrize("kind", ["scans", "rows"])
def test_damaged_rows_are_noticed_and_made_anew(tmp_path, damage, kind, caplog):
    samples = files(tmp_path / "set", 5)
    cache = Cache(tmp_path / "cache")
    read(samples, cache)
    (path,) = cache.folder.glob(f"*.{kind}")
    damage(path)
    for used in (cache, Cache(tmp_path / "cache")):  # the process that filled it, and another
        found, _ = read(samples, used)
        assert as_decoded(samples, found)
    found, decoded = read(samples, Cache(tmp_path / "cache"))
    assert not decoded and as_decoded(samples, found)
    assert len(pixel_files(cache)) == 1 and not caplog.records


def test_a_folder_in_the_place_of_a_file_is_said_once(tmp_path, caplog):
    samples = files(tmp_path / "set", 2)
    read(samples, Cache(tmp_path / "cache"))
    (path,) = (tmp_path / "cache").glob("*.scans")
    path.unlink()
    path.mkdir()
    shutil.rmtree(tmp_path / "set")
    samples = files(tmp_path / "set", 2, first=9)
    for _ in range(2):
        found, decoded = read(samples, Cache(tmp_path / "cache"))
        assert decoded == 2 and as_decoded(samples, found)
    assert [r.getMessage().endswith("images are decoded anew") for r in caplog.records] == [True]


def flipped(path):
    content = bytearray(path.read_bytes())
    content[BYTES + 100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "lost"), [(zeros, 5), (cut, 2), (empty, 5), (flipped, 1),
                                              (Path.unlink, 5)])  # fmt: skip
def test_damaged_pixels_are_noticed_and_decoded_again(tmp_path, damage, lost):
    samples = files(tmp_path / "set", 5)
    cache = Cache(tmp_path / "cache")
    read(samples, cache)
    (pack,) = pixel_files(cache)
    damage(pack)
    cache = Cache(tmp_path / "cache")
    for wanted in (lost, 0):
        found, decoded = read(samples, cache)
        assert decoded == wanted and as_decoded(samples, found)


@pytest.mark.parametrize("at", [[0], [4095], [4096], [3 * 4096 - 1], [3 * 4096], [3 * 65 * 65 - 1],
                                [7, 15], [7, 4096 + 7]])  # fmt: skip
def test_damage_of_any_page_is_noticed(tmp_path, at):
    def flip(content):
        for place in at:
            content[place] ^= 128

    damaged_pages(tmp_path, flip)


def test_sectors_in_each_others_place_are_noticed(tmp_path):
    def swap(content):
        content[:512], content[512:1024] = content[512:1024], content[:512]

    damaged_pages(tmp_path, swap)


def damaged_pages(folder, damage):
    spec = Resized(3, 65, "bilinear")  # three pages and a part of one
    samples = files(folder / "set", 1)
    picture(3, (65, 65)).save(samples.source(0))
    read(samples, Cache(folder / "cache"), spec)
    (pack,) = pixel_files(Cache(folder / "cache"))
    content = bytearray(pack.read_bytes())
    assert len(content) == 3 * 65 * 65
    damage(content)
    pack.write_bytes(content)
    for wanted in (1, 0):
        found, decoded = read(samples, Cache(folder / "cache"), spec)
        assert decoded == wanted and as_decoded(samples, found, spec)


def test_pixels_that_are_cut_off_in_the_middle_of_a_run_do_not_end_it(tmp_path):
    """To read beyond the end of a mapped file would kill the process."""
    samples, cache = files(tmp_path / "set", 5), Cache(tmp_path / "cache")
    read(samples, cache)
    with CachedImages(scanned(samples, cache), SQUARES, cache) as pictures:
        assert as_decoded(samples, [pictures[k] for k in range(5)])
        (pack,) = pixel_files(cache)
        os.truncate(pack, 1)
        assert as_decoded(samples, [pictures[k] for k in range(5)])
        pictures.flush()
        assert as_decoded(samples, [pictures[k] for k in range(5)])
        shutil.rmtree(cache.folder)
        assert as_decoded(samples, [pictures[k] for k in range(5)])
    found, _ = read(samples, cache)
    assert as_decoded(samples, found)
    assert not read(samples, cache)[1]


def test_what_was_cut_off_is_not_written_over(tmp_path):
    """Who reads the file has checked its pixels already."""
    samples, cache = files(tmp_path / "set", 5), Cache(tmp_path / "cache")
    read(samples, cache)
    with CachedImages(scanned(samples, cache), SQUARES, cache) as pictures:
        assert as_decoded(samples, [pictures[k] for k in range(5)])
        (path,) = pixel_files(cache)
        os.truncate(path, 2 * BYTES)
        others = files(tmp_path / "others", 5, first=50).images.paths
        read(Samples(PathImages.of(others, tmp_path / "set"), np.arange(5)), Cache(cache.folder))
        assert as_decoded(samples, [pictures[k] for k in range(5)])


def test_a_file_that_changes_while_its_pixels_are_written_is_decoded_again(tmp_path, monkeypatch):
    samples, cache = files(tmp_path / "set", 2), Cache(tmp_path / "cache")
    add = Cache.add

    def slow(*arguments):
        rows = add(*arguments)
        monkeypatch.setattr(Cache, "add", add)
        picture(70).save(samples.source(0))
        assert np.array_equal(pictures[0], SQUARES(samples.source(0)))
        return rows

    monkeypatch.setattr(Cache, "add", slow)
    with CachedImages(samples, SQUARES, cache) as pictures:
        assert as_decoded(samples, [pictures[k] for k in range(2)])
        pictures.flush()
        assert as_decoded(samples, [pictures[k] for k in range(2)])


# -- room ---------------------------------------------------------------------------------------


def test_no_more_is_kept_than_the_limit_says_and_it_is_said_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("inceptive.data.pictures.FLUSH", 2 * BYTES)
    samples = files(tmp_path / "set", 9)
    for wanted in (9, 5, 5):
        cache = Cache(tmp_path / "cache", limit=5 * BYTES)
        found, decoded = read(samples, cache)
        assert as_decoded(samples, found) and decoded == wanted
        assert kept_bytes(cache) == 4 * BYTES
    assert len(caplog.records) == 1 and "no room" in caplog.records[0].getMessage()


def test_the_set_that_was_used_longest_ago_makes_room(tmp_path):
    cache = Cache(tmp_path / "cache", limit=7 * BYTES)
    sets = [files(tmp_path / str(k), 3, first=10 * k) for k in range(3)]
    for k in (0, 1, 0):
        read(sets[k], cache)
    cache = Cache(tmp_path / "cache", limit=7 * BYTES)  # another process: the first is gone
    assert read(sets[2], cache)[1] == 3
    assert kept_bytes(cache) == 6 * BYTES
    assert [read(sets[k], Cache(tmp_path / "cache", limit=7 * BYTES))[1] for k in (0, 2)] == [0, 0]
    assert read(sets[1], Cache(tmp_path / "cache", limit=7 * BYTES))[1] == 3


def test_a_set_that_somebody_trains_on_does_not_make_room(tmp_path):
    busy, other = files(tmp_path / "busy", 3), files(tmp_path / "other", 3, first=20)
    cache = Cache(tmp_path / "cache", limit=4 * BYTES)
    read(busy, cache)
    with CachedImages(scanned(busy, cache), SQUARES, cache) as pictures:
        pictures[0]
        assert read(other, Cache(tmp_path / "cache", limit=4 * BYTES))[1] == 3
        assert as_decoded(busy, [pictures[k] for k in range(3)])
    assert not read(busy, cache)[1]
    assert kept_bytes(cache) == 3 * BYTES


Usage = namedtuple("Usage", "total used free")


def test_some_of_the_disk_is_always_left(tmp_path, monkeypatch, caplog):
    samples, cache = files(tmp_path / "set", 3), Cache(tmp_path / "cache")
    usage = Usage(2**40, 0, cache_module.RESERVE + 2 * BYTES)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found, decoded = read(samples, cache)
    assert decoded == 3 and as_decoded(samples, found) and not kept_bytes(cache)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("count", [0, 1])
def test_a_full_disk_ends_the_keeping_and_nothing_else(tmp_path, monkeypatch, caplog, count):
    samples, cache = files(tmp_path / "set", 4), Cache(tmp_path / "cache")
    read(samples.take(np.arange(count)), cache)

    class Full(io.FileIO):
        calls = 0

        def write(self, content):
            if self.name.suffix != ".pixels":
                return super().write(content)
            Full.calls += 1
            if Full.calls < 2:
                return super().write(content)
            super().write(bytes(content)[:100])
            raise OSError(28, "No space left on device")

    def opened(path, mode="r", **options):
        return Full(path, "ab") if mode == "ab" else open(path, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "open", opened, raising=False)
        found, decoded = read(samples, cache)
    assert as_decoded(samples, found) and decoded == 4 - count
    assert kept_bytes(cache) == count * BYTES
    assert len(caplog.records) == 1 and "No space left" in caplog.records[0].getMessage()
    cache = Cache(tmp_path / "cache")  # the next run, with room again
    assert [read(samples, cache)[1] for _ in range(2)] == [4 - count, 0]


def test_where_nothing_can_be_written_images_are_decoded(tmp_path, monkeypatch, caplog):
    samples = files(tmp_path / "set", 3)
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        cache = Cache(tmp_path / "file/images")
        found, decoded = read(samples, cache)
        assert decoded == 3 and as_decoded(samples, found)
    assert len(caplog.records) == 1 and "Not a directory" in caplog.records[0].getMessage()


def test_nobody_else_may_look_at_what_is_kept(tmp_path):
    cache = Cache(tmp_path / "cache")
    read(files(tmp_path / "set", 2), cache)
    assert cache.folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_only_be_read_is_read(tmp_path, caplog):
    samples, cache = files(tmp_path / "set", 3), Cache(tmp_path / "cache")
    read(samples, cache)
    for path in (*cache.folder.iterdir(), cache.folder):
        path.chmod(0o500 if path.is_dir() else 0o400)
    found, decoded = read(samples, Cache(tmp_path / "cache"))
    cache.folder.chmod(0o700)
    assert as_decoded(samples, found) and not decoded and not caplog.records


def test_a_writer_that_never_ends_is_done_without(tmp_path, monkeypatch, caplog):
    samples, cache = files(tmp_path / "set", 3), Cache(tmp_path / "cache")
    read(samples.take(np.arange(1)), cache)
    monkeypatch.setattr(cache_module, "PATIENCE", 0.05)
    with lock(cache.folder / "lock"):
        found, decoded = read(samples, cache)
    assert decoded == 2 and as_decoded(samples, found)
    assert len(caplog.records) == 1 and "another process writes" in caplog.records[0].getMessage()
    assert [read(samples, Cache(tmp_path / "cache"))[1] for _ in range(2)] == [2, 0]


def test_the_limit_comes_from_the_environment(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "mine"))
    assert user_cache().folder == tmp_path / "mine/images" and user_cache().limit is None
    monkeypatch.setenv("INCEPTIVE_CACHE_LIMIT", "0.5")
    assert user_cache().limit == 2**29
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("INCEPTIVE_CACHE_LIMIT", wrong)
        with pytest.raises(InceptiveError, match=f"INCEPTIVE_CACHE_LIMIT = '{wrong}': is GiB"):
            user_cache()
    monkeypatch.setenv("INCEPTIVE_CACHE_LIMIT", "0")
    samples = files(tmp_path / "set", 2)
    for _ in range(2):
        assert read(samples, user_cache())[1] == 2
    assert not kept_bytes(user_cache()) and not caplog.records


# -- processes ----------------------------------------------------------------------------------

FILL = """
import sys, time
from pathlib import Path
import numpy as np
import io
import inceptive.data.pictures as pictures_module
from inceptive.data import cache as cache_module
from inceptive.data.cache import Cache
from inceptive.data.scan import as_rows, scan_all
from inceptive.data.pictures import CachedImages, ModelInputs
from inceptive.data.source import PathImages, Samples
from inceptive.images import Preprocessing

cache_module.SETTLED = -(10**18)
pictures_module.FLUSH = 3 * 16 * 16 * 2
folder, where, slow = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
paths = sorted(str(path) for path in folder.iterdir())
cache = Cache(where)
images = PathImages.of(paths, folder, as_rows(scan_all(paths, None, cache))["file"])
samples = Samples(images, np.arange(len(paths)))

class Halting(io.FileIO):
    def write(self, content):
        length = super().write(bytes(content)[:200])
        time.sleep(slow)
        return length + super().write(bytes(content)[200:])

cache_module.open = lambda path, mode: Halting(path, "ab") if mode == "ab" else open(path, mode)
spec = ModelInputs(Preprocessing(16))
print("ready", flush=True)
with CachedImages(samples, spec, cache) as pictures:
    for _ in range(2):
        for k, path in enumerate(paths):
            assert np.array_equal(pictures[k], spec(path)), path
        pictures.flush()
print("done", flush=True)
"""


def filling(samples, cache, slow=0.0):
    words = [sys.executable, "-c", FILL, samples.images.folder, cache.folder, str(slow)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.scale
def test_processes_that_fill_one_cache_at_once_keep_each_picture_once(tmp_path):
    samples, cache = files(tmp_path / "set", 24), Cache(tmp_path / "cache")
    running = [filling(samples, cache, 0.002) for _ in range(3)]
    for process in running:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0 and out.endswith("done\n")
    assert kept_bytes(cache) == 24 * BYTES
    found, decoded = read(samples, cache)
    assert not decoded and as_decoded(samples, found)


@pytest.mark.faults
def test_a_kill_between_pixels_and_index_loses_what_was_not_told_yet(tmp_path):
    samples, cache = files(tmp_path / "set", 30), Cache(tmp_path / "cache")
    kept = 0
    for after in (0.02, 0.25, 0.6):
        process = filling(samples, cache, slow=0.05)
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        missing = Counted()
        with CachedImages(scanned(samples, cache), missing, cache) as pictures:
            found = [pictures[k].copy() for k in range(30)]
            pictures._waiting.clear()  # leave the rest to the next
        assert as_decoded(samples, found)
        assert 30 - missing.calls >= kept
        kept = 30 - missing.calls
    assert kept > 0
    assert as_decoded(samples, read(samples, cache)[0])
    assert not read(samples, cache)[1]
    assert kept_bytes(cache) <= (30 + 3 * 2) * BYTES  # what was written and not told of stays


# -- ahead --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 20])
def test_what_is_made_ahead_comes_in_order_and_not_too_early(workers, count):
    made, alone = [], threading.Lock()

    def make(k):
        with alone:
            made.append(k)
        return k

    for taken, k in enumerate(prefetch(make, range(count), workers)):
        assert k == taken
        time.sleep(0.001)
        assert len(made) <= taken + 1 + (workers + 1 if workers else 0)
    assert sorted(made) == list(range(count))


def test_what_is_made_ahead_ends_with_who_takes_it():
    before = threading.active_count()
    taken = prefetch(lambda k: k, range(1000), 2)
    assert next(taken) == 0
    taken.close()
    assert threading.active_count() == before

    def failing(k):
        if k == 3:
            raise InceptiveError("no fourth")
        return k

    taken = prefetch(failing, range(1000), 2)
    with pytest.raises(InceptiveError, match="no fourth"):
        list(taken)
    assert threading.active_count() == before
