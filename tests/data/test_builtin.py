"""The sets known by name, from files in exactly their publishers' formats, and the download."""

import gzip
import hashlib
import http.server
import importlib
import io
import os
import pickle
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from inceptive.data import builtin
from inceptive.data.open import open_data
from inceptive.data.source import SplitFractions
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io import downloads
from inceptive.io.paths import cache_folder


@pytest.fixture(autouse=True)
def no_way_out(tmp_path, monkeypatch):
    """Nothing on this machine or beyond it is found but what the test itself puts there."""
    monkeypatch.setattr(builtin, "FASHION_DEBIAN", tmp_path / "no debian package")
    monkeypatch.setattr(builtin, "FASHION_URL", "http://127.0.0.1:9/")
    monkeypatch.setattr(builtin, "CIFAR_URL", "http://127.0.0.1:9/cifar")
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")


def refusal(call, *arguments, **options):
    with pytest.raises(InceptiveError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert message.isprintable(), f"not one line of printable text: {message!r}"
    return message


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def bytes_of(images):
    return sorted(np.ascontiguousarray(image).tobytes() for image in images)


# -- digits -------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_stretched_to_eight_bits():
    from sklearn.datasets import load_digits

    loaded = load_digits()
    data = open_data("digits", SplitFractions(0.2, 0.1))
    assert data.classes == tuple("0123456789") and data.channels == 1
    everything = data.split("all")
    assert len(everything) == 1797 and everything.images.pixels.dtype == np.uint8
    expected = (loaded.images.astype(np.int64) * 255 + 8) // 16
    assert expected.max() == 255

    def labelled(images, labels):
        rows = np.concatenate([images.reshape(-1, 64), labels[:, None]], axis=1)
        return sorted(map(tuple, rows.tolist()))

    assert labelled(everything.images.pixels, everything.labels) == labelled(
        expected, loaded.target
    )
    of_class = np.bincount(loaded.target)
    assert np.abs(data.counts("val") - 0.2 * of_class).max() <= 0.5
    assert np.abs(data.counts("test") - 0.1 * of_class).max() <= 0.5


def test_digits_divide_the_same_way_each_time_and_wholly_for_training_if_wanted():
    first, again = open_data("digits"), open_data("digits")
    assert np.array_equal(first.split("val").images.pixels, again.split("val").images.pixels)
    assert len(open_data("digits", SplitFractions(0, 0)).split("train")) == 1797
    message = refusal(open_data("digits", SplitFractions(0, 0)).split, "val")
    assert message == "digits has no val split; it has: train"


@pytest.mark.parametrize("name", ["digits:big", "fashion-mnist:x", "solar:moon", "solar:Grades"])
def test_an_option_that_a_set_has_not_is_refused(name):
    message = refusal(open_data, name)
    assert name.split(":")[0] in message and repr(name.split(":")[1]) in message


# -- fashion-mnist ------------------------------------------------------------------------------


def idx(array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}i", *array.shape
    )
    return header + array.tobytes()


def fashion_files(train=40, test=12, seed=0):
    rng = np.random.default_rng(seed)
    files = {}
    for part, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx(images))
        files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(idx(labels))
    return files


def unpacked(file, start):
    return np.frombuffer(gzip.decompress(file)[start:], np.uint8)


def put_fashion(folder, files):
    for name, content in files.items():
        write(folder / name, content)


def check_fashion(data, files):
    assert data.classes[0] == "T-shirt/top" and data.classes[9] == "Ankle boot"
    assert len(data.classes) == 10 and data.channels == 1
    images = unpacked(files["train-images-idx3-ubyte.gz"], 16).reshape(-1, 28, 28)
    labels = unpacked(files["train-labels-idx1-ubyte.gz"], 8)
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert bytes_of(train.images.pixels) + bytes_of(val.images.pixels) != bytes_of(images)
    assert sorted(bytes_of(train.images.pixels) + bytes_of(val.images.pixels)) == bytes_of(images)
    label_of = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for part in (train, val):
        assert part.labels.tolist() == [label_of[image.tobytes()] for image in part.images.pixels]
    assert np.bincount(val.labels).tolist() == [1] * 10
    expected = unpacked(files["t10k-images-idx3-ubyte.gz"], 16).reshape(-1, 28, 28)
    assert np.array_equal(test.images.pixels, expected)
    assert test.labels.tolist() == unpacked(files["t10k-labels-idx1-ubyte.gz"], 8).tolist()


def test_fashion_mnist_is_read_from_the_debian_package(tmp_path, monkeypatch):
    files = fashion_files()
    put_fashion(tmp_path / "debian", files)
    monkeypatch.setattr(builtin, "FASHION_DEBIAN", tmp_path / "debian")
    check_fashion(open_data("fashion-mnist", SplitFractions(0.25, 0.5)), files)


def test_fashion_mnist_is_read_from_the_cache(tmp_path):
    files = fashion_files()
    put_fashion(tmp_path / "cache/fashion-mnist", files)
    check_fashion(open_data("fashion-mnist", SplitFractions(0.25, 0.5)), files)


def test_pictures_of_fashion_mnist_can_be_shown_to_a_net(tmp_path):
    files = fashion_files()
    put_fashion(tmp_path / "cache/fashion-mnist", files)
    shown = Preprocessing(28, 1, mean=(0.5,), std=(0.5,))
    test = open_data("fashion-mnist").split("test")
    expected = unpacked(files["t10k-images-idx3-ubyte.gz"], 16).reshape(-1, 1, 28, 28)
    assert np.array_equal(shown.load(test.source(3)), expected[3])
    assert test.name(3) == "fashion-mnist/t10k/3"


def rewritten(change):
    return lambda file: gzip.compress(change(gzip.decompress(file)))


DAMAGE = {
    "another magic number": rewritten(lambda idx: b"\0\0\x0d\x03" + idx[4:]),
    "labels in place of images": lambda file: fashion_files()["train-labels-idx1-ubyte.gz"],
    "header cut": rewritten(lambda idx: idx[:9]),
    "header alone": rewritten(lambda idx: idx[:16]),
    "data cut": rewritten(lambda idx: idx[:-5]),
    "data too long": rewritten(lambda idx: idx + b"12345"),
    "more claimed than there is": rewritten(lambda idx: idx[:4] + b"\x7f" + idx[5:]),
    "nothing": rewritten(lambda idx: b""),
    "an empty file": lambda file: b"",
    "not gzip": lambda file: b"<html>404</html>",
    "gzip cut": lambda file: file[: len(file) // 2],
    "gzip damaged": lambda file: file[:100] + bytes([file[100] ^ 255]) + file[101:],
    "an image without a label": rewritten(
        lambda idx: idx[:4] + struct.pack(">i", 41) + idx[8:] + bytes(784)
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_idx_file_is_refused_and_named(tmp_path, kind):
    files = fashion_files()
    name = "train-images-idx3-ubyte.gz"
    put_fashion(tmp_path / "cache/fashion-mnist", files | {name: DAMAGE[kind](files[name])})
    assert name in refusal(open_data, "fashion-mnist")


# -- cifar10 ------------------------------------------------------------------------------------

LABEL_NAMES = [
    "aeroplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "lorry",
]


def python2(value):
    """`value` as Python 2's pickle wrote it: protocol 2, every text a byte string."""

    def text(value):
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    def emit(value):
        if isinstance(value, bytes):
            return text(value)
        if isinstance(value, int):
            return number(value)
        if isinstance(value, list):
            return b"](" + b"".join(map(emit, value)) + b"e"
        if isinstance(value, dict):
            pairs = (emit(key) + emit(item) for key, item in value.items())
            return b"}(" + b"".join(pairs) + b"u"
        assert value.dtype == np.uint8 and value.ndim == 2
        return b"".join([
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"(cnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"tR",
            b"(" + number(1) + number(value.shape[0]) + number(value.shape[1]) + b"\x86",
            b"cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR",
            b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb",
            b"\x89" + text(value.tobytes()) + b"tb",
        ])  # fmt: skip

    return b"\x80\x02" + emit(value) + b"."


def cifar_images(per_batch=20, seed=0):
    """(6 batches, N, 32, 32, 3); the last is the test batch."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (6, per_batch, 32, 32, 3), dtype=np.uint8)


def rows_of(images):
    """A row: 1,024 red values line by line, 1,024 green, 1,024 blue."""
    planes = [images[..., channel].reshape(len(images), 1024) for channel in range(3)]
    return np.concatenate(planes, axis=1)


def cifar_batch(images, title=b"a batch"):
    return {
        b"batch_label": title,
        b"labels": [k % 10 for k in range(len(images))],
        b"data": rows_of(images),
        b"filenames": [b"picture_s_%06d.png" % k for k in range(len(images))],
    }


def cifar_members(images):
    members = {
        "batches.meta": {
            b"num_cases_per_batch": len(images[0]),
            b"label_names": [name.encode() for name in LABEL_NAMES],
            b"num_vis": 3072,
        },
        "test_batch": cifar_batch(images[5], b"testing batch 1 of 1"),
    }
    for k in range(5):
        title = b"training batch %d of 5" % (k + 1)
        members[f"data_batch_{k + 1}"] = cifar_batch(images[k], title)
    return {name: python2(value) for name, value in members.items()} | {
        "readme.html": b'<meta HTTP-EQUIV="REFRESH" content="0; url=http://www.cs.toronto.edu/">'
    }


def tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        folder = tarfile.TarInfo("cifar-10-batches-py")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def check_cifar(data, images):
    assert data.classes == tuple(LABEL_NAMES) and data.channels == 3
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert np.array_equal(test.images.pixels, images[5])
    assert test.labels.tolist() == [k % 10 for k in range(20)]
    assert sorted(bytes_of(train.images.pixels) + bytes_of(val.images.pixels)) == bytes_of(
        images[:5].reshape(-1, 32, 32, 3)
    )
    label_of = {image.tobytes(): k % 10 for batch in images[:5] for k, image in enumerate(batch)}
    for part in (train, val):
        assert part.labels.tolist() == [label_of[image.tobytes()] for image in part.images.pixels]
    assert np.bincount(val.labels).tolist() == [2] * 10


def test_the_pickles_of_these_tests_are_what_python_2_wrote():
    value = cifar_batch(cifar_images()[0])
    read = pickle.loads(python2(value), encoding="bytes")
    assert np.array_equal(read.pop(b"data"), value.pop(b"data"))
    assert read == value


def test_cifar10_is_read_from_a_given_archive(tmp_path):
    images = cifar_images()
    archive = write(tmp_path / "my cifar.tar.gz", tar(cifar_members(images)))
    check_cifar(open_data(f"cifar10:{archive}", SplitFractions(0.2, 0.5)), images)


def test_cifar10_is_read_from_the_cache(tmp_path):
    images = cifar_images()
    write(tmp_path / "cache/cifar-10-python.tar.gz", tar(cifar_members(images)))
    check_cifar(open_data("cifar10", SplitFractions(0.2, 0.5)), images)


def test_colours_and_places_of_cifar10_are_right(tmp_path):
    images = np.zeros((6, 20, 32, 32, 3), dtype=np.uint8)
    images[..., 2] = np.arange(120).reshape(6, 20, 1, 1)
    images[5, 7, 2, 30] = (255, 128, 64)
    archive = write(tmp_path / "c.tar.gz", tar(cifar_members(images)))
    test = open_data(f"cifar10:{archive}").split("test")
    shown = Image.fromarray(np.ascontiguousarray(test.source(7)))
    assert shown.getpixel((30, 2)) == (255, 128, 64)
    assert shown.getpixel((2, 30)) == (0, 0, 107)
    assert Preprocessing(32).load(test.source(7))[:, 2, 30].tolist() == [255, 128, 64]


def test_a_tilde_in_the_archives_path_stands_for_the_home_folder(tmp_path, monkeypatch):
    images = cifar_images()
    write(tmp_path / "home/c.tar.gz", tar(cifar_members(images)))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    check_cifar(open_data("cifar10:~/c.tar.gz", SplitFractions(0.2, 0.5)), images)


def test_an_archive_that_is_not_there_is_refused(tmp_path):
    assert str(tmp_path / "none.tar.gz") in refusal(open_data, f"cifar10:{tmp_path}/none.tar.gz")


@pytest.mark.parametrize("lost", ["data_batch_3", "test_batch", "batches.meta"])
def test_an_archive_that_lacks_a_batch_is_refused(tmp_path, lost):
    members = cifar_members(cifar_images())
    del members[lost]
    archive = write(tmp_path / "c.tar.gz", tar(members))
    message = refusal(open_data, f"cifar10:{archive}")
    assert str(archive) in message and lost in message


WHOLE = tar(cifar_members(cifar_images()))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is no archive\n",
        b"<html>\n<body>\n503\n</body>\n</html>\n",
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:1000],
        WHOLE[:100_000] + bytes(1000) + WHOLE[101_000:],
        WHOLE[:100_000] + b"\xff" * 1000 + WHOLE[101_000:],
        gzip.compress(b"no tar inside" * 1000),
    ],
    ids=["empty", "text", "page", "half", "start", "zeros inside", "ones inside", "no tar"],
)
def test_a_file_that_is_no_whole_archive_is_refused(tmp_path, content):
    archive = write(tmp_path / "c.tar.gz", content)
    assert str(archive) in refusal(open_data, f"cifar10:{archive}")


def with_batch(**changes):
    batch = cifar_batch(cifar_images()[0])
    for key, value in changes.items():
        batch[key.encode()] = value
    return python2(batch)


@pytest.mark.parametrize(
    "batch",
    [
        python2([1, 2]),
        python2({b"data": [], b"labels": []})[:-3],
        python2({b"labels": [1]}),
        python2(b"text"),
        with_batch(data=np.zeros((20, 3071), dtype=np.uint8)),
        with_batch(data=np.zeros((7, 3072), dtype=np.uint8)),
        with_batch(data=[1000, -1]),
        with_batch(labels=[10] * 20),
        with_batch(labels=[-1] * 20),
        with_batch(labels=[b"cat"] * 20),
        b"",
        b"garbage",
    ],
    ids=["list", "cut", "no data", "text", "short rows", "too few rows", "no bytes", "label 10",
         "label -1", "labels of text", "empty", "garbage"],
)  # fmt: skip
def test_a_batch_that_is_not_cifars_is_refused(tmp_path, batch):
    members = cifar_members(cifar_images()) | {"data_batch_2": batch}
    archive = write(tmp_path / "c.tar.gz", tar(members))
    assert str(archive) in refusal(open_data, f"cifar10:{archive}")


class Calls:  # what an attacker pickles: a call to be made while it is read
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "wanted"),
    [
        (os.system, ("touch {mark}",), "system"),
        (open, ("{mark}", "w"), "open"),
        (eval, ("open('{mark}', 'w')",), "eval"),
        (exec, ("open('{mark}', 'w')",), "exec"),
        (subprocess.check_output, (["touch", "{mark}"],), "check_output"),
        (os.mkdir, ("{mark}",), "mkdir"),
        (getattr, (np, "save"), "getattr"),
        (importlib.import_module, ("os",), "import_module"),
        (np.save, ("{mark}", 1), "save"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_pickle_is_executed(tmp_path, function, arguments, wanted, protocol):
    mark = tmp_path / "executed"
    filled = [
        [part.format(mark=mark) for part in argument]
        if isinstance(argument, list)
        else argument.format(mark=mark) if isinstance(argument, str) else argument
        for argument in arguments
    ]  # fmt: skip
    if np in filled:
        filled[filled.index(np)] = 1
    evil = pickle.dumps({"data": [Calls(function, *filled)], "labels": [0]}, protocol=protocol)
    archive = write(tmp_path / "c.tar.gz", tar({"data_batch_2": evil}))
    message = refusal(open_data, f"cifar10:{archive}")
    assert wanted in message and "refused" in message
    assert not mark.exists() and not mark.with_suffix(".npy").exists()


@pytest.mark.parametrize(
    "name",
    [
        b"cnumpy\nload\n",
        b"cnumpy\nndarray.tofile\n",
        b"cnumpy\nmemmap\n",
        b"cnumpy.core.multiarray\nfromfile\n",
        b"cnumpy.core.multiarray\nscalar\n",
        b"cnumpy._core.multiarray\nfromfile\n",
        b"c_codecs\nencode\n",
        b"c__builtin__\ngetattr\n",
        b"cinceptive.downloads\ndownload\n",
    ],
)
def test_only_what_rebuilds_an_array_is_known_to_a_pickle(name):
    wanted = name[1:].strip().replace(b"\n", b".").decode()
    message = refusal(builtin.plain_pickle, b"\x80\x02" + name + b"(U\x01xtR.")
    assert wanted in message
    refusal(builtin.plain_pickle, b"\x80\x04" + name + b"(U\x01xtR.")


@pytest.mark.parametrize("kind", [b"cnumpy\ndtype\n", b"cnumpy\nmatrix\n", b"U\x01x", b"N"])
def test_nothing_but_a_plain_array_is_rebuilt(kind):
    rebuilt = b"cnumpy.core.multiarray\n_reconstruct\n(" + kind + b"(K\x01tU\x01btR"
    refusal(builtin.plain_pickle, b"\x80\x02" + rebuilt + b".")


OBJECTS = (  # a dtype of objects that says of itself that it holds none
    b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\nndarray\n(K\x01\x85U\x01OU\x08AAAAAAAAtR",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K\x01\x85" + OBJECTS + b"\x89U\x08AAAAAAAAtb",
    ],
    ids=["as a buffer", "as a state"],
)
def test_bytes_in_a_pickle_cannot_be_taken_for_objects_in_memory(content):
    refusal(builtin.plain_pickle, b"\x80\x02" + content + b".")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_an_array_pickled_by_this_numpy_is_read(protocol):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    if protocol == 2:
        content = python2(array)
    else:
        content = pickle.dumps(array, protocol=protocol)
    assert np.array_equal(builtin.plain_pickle(content), array)


# -- download -----------------------------------------------------------------------------------


@contextmanager
def serving(pages, cut=0):
    """A loopback server of `pages`, path to bytes; it hangs up `cut` bytes before the end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = pages.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write((content or b"")[: len(content or b"") - cut])

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def left_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


CONTENT = bytes(range(256)) * 400


def test_a_download_with_the_right_hash_appears_whole(tmp_path):
    with serving({"/a": CONTENT}) as server:
        downloads.download(f"{server}/a", sha256(CONTENT), tmp_path / "new/folder/a")
    assert (tmp_path / "new/folder/a").read_bytes() == CONTENT
    assert left_in(tmp_path) == ["new/folder/a"]


def test_a_download_with_another_hash_leaves_nothing(tmp_path):
    with serving({"/a": CONTENT}) as server:
        url = f"{server}/a"
        message = refusal(downloads.download, url, sha256(b"other"), tmp_path / "a")
    assert url in message and sha256(CONTENT) in message and str(tmp_path / "a") in message
    assert left_in(tmp_path) == []


def test_a_page_that_is_not_there_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    answers = []
    urlopen = urllib.request.urlopen

    def watched(*arguments, **options):
        try:
            return urlopen(*arguments, **options)
        except urllib.error.HTTPError as error:
            answers.append(error)
            raise

    monkeypatch.setattr(urllib.request, "urlopen", watched)
    with serving({}) as server:
        message = refusal(downloads.download, f"{server}/a", sha256(b""), tmp_path / "a")
    assert f"{server}/a" in message and str(tmp_path / "a") in message
    assert left_in(tmp_path) == []
    (answer,) = answers
    left_open = not answer.fp.isclosed()
    answer.close()
    assert not left_open, "the server's answer was left open: a ResourceWarning at some later time"


def test_a_download_that_breaks_off_is_told_and_leaves_nothing(tmp_path):
    with serving({"/a": CONTENT}, cut=100) as server:
        message = refusal(downloads.download, f"{server}/a", sha256(CONTENT), tmp_path / "a")
    assert f"{server}/a" in message and str(tmp_path / "a") in message
    assert left_in(tmp_path) == []


def test_an_answer_that_is_not_http_is_told(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"+OK POP3 server ready\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/a"
    try:
        assert url in refusal(downloads.download, url, sha256(b""), tmp_path / "a")
    finally:
        thread.join()
        listener.close()


def test_a_refused_connection_is_told_with_what_to_fetch_and_where_to_put_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/cifar.tar.gz"
    message = refusal(downloads.download, url, sha256(b""), tmp_path / "put/here")
    assert url in message and f"put it at {tmp_path / 'put/here'}" in message
    assert left_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with serving({"/a": CONTENT}) as server:
        path = tmp_path / "file/below/a"
        assert str(path) in refusal(downloads.download, f"{server}/a", sha256(CONTENT), path)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with serving({"/a": CONTENT}) as server:
        message = refusal(downloads.download, f"{server}/a", sha256(CONTENT), tmp_path / "a")
    assert "No space left" in message
    assert left_in(tmp_path) == []


def test_cifar10_is_downloaded_once(tmp_path, monkeypatch):
    images = cifar_images()
    archive = tar(cifar_members(images))
    monkeypatch.setattr(builtin, "CIFAR_SHA256", sha256(archive))
    with serving({"/cifar": archive}) as server:
        monkeypatch.setattr(builtin, "CIFAR_URL", f"{server}/cifar")
        check_cifar(open_data("cifar10", SplitFractions(0.2, 0.5)), images)
    check_cifar(open_data("cifar10", SplitFractions(0.2, 0.5)), images)
    assert left_in(tmp_path) == ["cache/cifar-10-python.tar.gz"]


def test_fashion_mnist_is_downloaded_once(tmp_path, monkeypatch):
    files = fashion_files()
    hashes = {name: sha256(content) for name, content in files.items()}
    monkeypatch.setattr(builtin, "FASHION_SHA256", hashes)
    with serving({f"/{name}": content for name, content in files.items()}) as server:
        monkeypatch.setattr(builtin, "FASHION_URL", f"{server}/")
        check_fashion(open_data("fashion-mnist", SplitFractions(0.25, 0.5)), files)
    check_fashion(open_data("fashion-mnist", SplitFractions(0.25, 0.5)), files)
    assert left_in(tmp_path) == sorted(f"cache/fashion-mnist/{name}" for name in files)


def test_a_set_that_cannot_be_downloaded_says_where_to_put_it(tmp_path):
    assert str(tmp_path / "cache/cifar-10-python.tar.gz") in refusal(open_data, "cifar10")
    assert str(tmp_path / "cache/fashion-mnist/") in refusal(open_data, "fashion-mnist")


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("INCEPTIVE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/inceptive"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home/.cache/inceptive"


# -- solar --------------------------------------------------------------------------------------

CELLS = [
    (f"images/cell{k + 1:04d}.png", probability, cell)
    for k, (probability, cell) in enumerate(
        (probability, cell)
        for probability in ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")
        for cell in ("mono", "poly")
        for _ in range(4)
    )
]


@pytest.fixture
def elpv(tmp_path, monkeypatch):
    """A package elpv_dataset of 32 cells, four for each grade and type of cell."""
    package = tmp_path / "site/elpv_dataset"
    write(package / "__init__.py", b"")
    table = "".join(f"{path}  {share:<19} {cell}\n" for path, share, cell in CELLS)
    write(package / "data/labels.csv", table.encode())
    (package / "data/images").mkdir()
    for k, (path, _, _) in enumerate(CELLS):
        coarse = np.random.default_rng(k).integers(0, 256, (6, 6), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((30, 30), Image.Resampling.BICUBIC)
        picture.save(package / "data" / path)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "elpv_dataset", raising=False)
    importlib.invalidate_caches()
    return package / "data"


def grade(probability):
    grades = ["functional", "possibly defective", "likely defective", "defective"]
    return grades[round(float(probability) * 3)]


@pytest.mark.parametrize(
    ("name", "classes", "says"),
    [
        (
            "solar",
            ("defective", "functional"),
            lambda share, cell: "defective" if float(share) > 0.4 else "functional",
        ),
        (
            "solar:grades",
            ("defective", "functional", "likely defective", "possibly defective"),
            lambda share, cell: grade(share),
        ),
        (
            "solar:cells",
            (
                "mono defective",
                "mono functional",
                "mono likely defective",
                "mono possibly defective",
                "poly defective",
                "poly functional",
                "poly likely defective",
                "poly possibly defective",
            ),
            lambda share, cell: f"{cell} {grade(share)}",
        ),
    ],
)
def test_solar_cells_are_labelled_as_the_option_says(elpv, name, classes, says):
    data = open_data(name, SplitFractions(0.25, 0.25))
    assert data.classes == classes and data.channels == 1 and data.name == name
    everything = data.split("all")
    assert {
        path: data.classes[label]
        for path, label in zip(
            everything.images.paths.tolist(), everything.labels.tolist(), strict=True
        )
    } == {str(elpv / path): says(share, cell) for path, share, cell in CELLS}
    each = 32 // len(classes)
    for split, part in (("train", 0.5), ("val", 0.25), ("test", 0.25)):
        assert data.counts(split).tolist() == [each * part] * len(classes)


def test_a_damaged_picture_of_a_cell_is_named(elpv):
    write(elpv / CELLS[5][0], b"")
    message = refusal(open_data, "solar")
    assert "cell0006.png" in message and "reinstall" in message


def test_a_package_without_its_table_is_refused(elpv):
    (elpv / "labels.csv").unlink()
    assert "elpv-dataset" in refusal(open_data, "solar")


def test_solar_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(builtin.importlib.util, "find_spec", lambda name, *rest: None)
    message = refusal(open_data, "solar")
    assert "pip install elpv-dataset" in message and "non-commercial" in message
