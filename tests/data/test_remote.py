"""Sets behind a web server: asked for in parts, again after a cut, trained on as from a disk."""

import contextlib
import hashlib
import json
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from conftest import command
from test_resume import RECIPE, in_a_process, told

from inceptive.data import streaming
from inceptive.data.loading import RandomCrop, Rank
from inceptive.data.open import open_data
from inceptive.data.streaming import StreamBatches
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io.store import parts, systems


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """The files of a folder over HTTP; what was asked of it, and how it misbehaves."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, folder):
        self.folder, self.asked = Path(folder), []
        self.broken = lambda path: None
        """What to answer instead, if anything: a status, "cut", "half" or "whole"."""
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = self.path.partition("?")[0].lstrip("/")
        file, part = self.server.folder / path, self.headers.get("Range")
        self.server.asked.append((self.command, path, part))
        wrong = self.server.broken(path) if body else None
        if wrong == "cut":
            self.close_connection = True
            return
        if isinstance(wrong, int) or not file.is_file():
            self.send_response(wrong or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        if part and wrong != "whole":
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", part).groups())
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.close_connection = wrong == "half"
            self.wfile.write(content[: len(content) // 2] if wrong == "half" else content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(folder):
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def shards(tmp_path_factory, stripes):
    out = tmp_path_factory.mktemp("remote") / "stripes"
    done = command("shards", stripes, "--out", out, "--count", 7)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def server(shards):
    with serving(shards.parent) as server:
        yield server


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(parts, "PATIENCE", 3.0)


def batches(samples, share=Rank(), start=0):
    crop = RandomCrop(Preprocessing(32), (0.3, 1.0), (0.8, 1.25))
    made = StreamBatches(samples, crop, 10, 3, 2, share).epoch(1, start)
    return [(images.numpy(), labels.numpy()) for images, labels in made]


def alike(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, c) and np.array_equal(b, d)
        for (a, b), (c, d) in zip(one, other, strict=True)
    )


def test_the_set_is_that_of_the_disk_and_streams_the_same_batches(shards, server, monkeypatch):
    here, there = open_data(str(shards)), open_data(f"{server.url}/stripes/")
    assert there.classes == here.classes and there.channels == here.channels
    assert there.name == f"{server.url}/stripes/"
    for split, samples in here.splits.items():
        far = there.splits[split]
        assert np.array_equal(far.images.places, samples.images.places)
        assert np.array_equal(far.labels, samples.labels)
        assert far.source(3).read() == samples.source(3).read()
        assert far.name(3) == samples.name(3).replace(str(shards), f"{server.url}/stripes")
    for share in (Rank(), Rank(1, 2)):
        assert alike(batches(here.split("train"), share), batches(there.split("train"), share))
    assert alike(batches(here.split("train"), start=2), batches(there.split("train"), start=2))
    monkeypatch.setattr(streaming, "AHEAD", 1500)  # in many small parts, at odd borders
    server.asked.clear()
    assert alike(batches(here.split("train")), batches(there.split("train")))
    assert len(server.asked) > 2 * len(list(shards.glob("train-*.tar")))


def test_tables_are_fetched_once_and_tars_in_few_large_parts(shards, server, tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    data = open_data(f"{server.url}/stripes")
    got = [path for what, path, _ in server.asked if what == "GET" and path.endswith(".npy")]
    assert sorted(got) == sorted(f"stripes/{path.name}" for path in shards.glob("*.npy"))
    assert not [one for one in server.asked if one[0] == "GET" and one[1].endswith(".tar")]
    server.asked.clear()
    open_data(f"{server.url}/stripes")
    assert not [path for _, path, _ in server.asked if path.endswith(".npy")]
    server.asked.clear()
    batches(data.split("train"))
    got = Counter(path for what, path, part in server.asked if what == "GET" and part)
    assert set(got) == {f"stripes/{path.name}" for path in shards.glob("train-*.tar")}
    assert set(got.values()) == {1} and len(server.asked) == len(got)


@pytest.mark.scale
@pytest.mark.parametrize("how", ["cut", "half", 503, 429])
def test_a_server_that_does_not_answer_is_asked_again(how, shards, server, caplog):
    data = open_data(f"{server.url}/stripes")
    seen = Counter()

    def broken(path):
        seen[path] += 1
        return how if seen[path] <= 2 else None

    server.broken = broken
    assert alike(batches(open_data(str(shards)).split("train")), batches(data.split("train")))
    assert set(seen.values()) == {3}
    notes = [one.getMessage() for one in caplog.records if "asked for again" in one.getMessage()]
    assert len(notes) == len(seen)


@pytest.mark.parametrize(
    ("how", "said", "often"),
    [
        (404, "cannot be read", 1),
        (403, "403", 1),
        (500, "500", 4),
        ("whole", "does its server not give parts of files?", 1),
    ],
)
def test_what_is_not_given_is_an_error_in_one_line(how, said, often, shards, server):
    data = open_data(f"{server.url}/stripes")
    server.broken = lambda path: how
    server.asked.clear()
    with pytest.raises(InceptiveError, match=re.escape(said)) as error:
        data.split("train").source(0).read()
    assert f"{server.url}/stripes/train-00000" in str(error.value)
    assert "\n" not in str(error.value) and 1 <= len(server.asked) <= often + 1


def garble(folder, kind):
    """Damage a set in one way; what the error has to say."""
    index = json.loads((folder / "index.json").read_text())
    first, table = index["splits"]["train"][0], folder / "train-000000.npy"
    if kind == "no index":
        (folder / "index.json").unlink()
        return "index.json: cannot be read"
    if kind == "no tables":
        del first["members"]
        said = "index.json: has no tables"
    elif kind == "a table is missing":
        table.unlink()
        said = "train-000000.npy: cannot be read"
    elif kind == "another table":
        shutil.copy(folder / "train-000001.npy", table)
        said = "train-000000.npy: its SHA-256 is not that in the index"
    elif kind == "a tar is missing":
        (folder / "train-000001.tar").unlink()
        said = "train-000001.tar: is in the index and not there"
    elif kind == "another tar":
        (folder / "train-000001.tar").write_bytes(b"short")
        said = "train-000001.tar: has 5 bytes"
    elif kind == "a table of elsewhere":
        rows = np.load(table)
        rows["offset"] += 2**40
        np.save(table, rows)
        said = "train-000000.npy: is not the table of the shard"
    else:
        np.save(table, np.array([{}], object), allow_pickle=True)
        said = "train-000000.npy: is no table of a shard"
    if kind in ("a table of elsewhere", "objects in a table"):  # and the index knows of it
        first["members"] = hashlib.sha256(table.read_bytes()).hexdigest()
    (folder / "index.json").write_text(json.dumps(index))
    return said


@pytest.mark.parametrize(
    "kind",
    ["no index", "no tables", "a table is missing", "another table", "a tar is missing",
     "another tar", "a table of elsewhere", "objects in a table"],
)  # fmt: skip
def test_a_damaged_set_is_refused_in_one_line(kind, shards, tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    mine = Path(shutil.copytree(shards, tmp_path / "mine"))
    said = garble(mine, kind)
    with serving(tmp_path) as server, pytest.raises(InceptiveError) as error:
        open_data(f"{server.url}/mine")
    assert said in str(error.value) and "\n" not in str(error.value)
    record_property(
        "reliability",
        json.dumps({"table": "inputs", "what": "shards behind a URL: index, tables and tars missing or "
                    "garbled", "tried": 1, "survived": 1, "lost": "nothing", "note": ""}),
    )  # fmt: skip


def test_nobody_there_is_an_error_in_one_line():
    for uri, said in (
        ("http://127.0.0.1:9/x", "http://127.0.0.1:9/x/index.json: cannot be read (Connect"),
        ("nosuch://x/y", "nosuch://x/y/index.json: cannot be reached (Protocol not known: nosuch"),
        ("memory://nothing", "memory://nothing/index.json: cannot be read (there is no such file)"),
    ):
        done = command("train", uri, "--recipe", "photos", "--out", "unused")
        assert done.returncode == 1 and done.stderr.startswith(f"inceptive train: {said}")
        assert done.stderr.count("\n") == 1


def test_without_aiohttp_the_extra_is_named(monkeypatch):
    systems._opened.cache_clear()
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(InceptiveError, match=r"pip install 'inceptive\[scale\]'"):
        open_data("https://host.example/x")
    systems._opened.cache_clear()


CLI = """
import signal
from inceptive.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell starts all with &
main()
"""


@pytest.mark.scale
def test_ctrl_c_is_heard_while_a_store_is_waited_for(server, tmp_path):
    server.broken = lambda path: 503 if path.endswith(".tar") else None
    words = [sys.executable, "-c", CLI, "train", f"{server.url}/stripes", "--out", tmp_path / "m"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        while "asked for again" not in said:
            said += process.stderr.readline()
        process.send_signal(signal.SIGINT)
        try:
            said += process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert process.returncode == 130 and "Traceback" not in said, said
    assert not (tmp_path / "m").exists()


@pytest.mark.scale
def test_a_training_from_a_server_that_fails_at_times_is_that_from_a_disk(
    shards, server, tmp_path, record_property
):
    recipe, cuts = tmp_path / "recipe.toml", 0
    recipe.write_text(RECIPE)
    assert in_a_process(str(recipe), shards, tmp_path / "here", True, 1, ("never",)) == 0
    turn = iter(range(10**9))

    def broken(path):
        nonlocal cuts
        wrong = "cut" if path.endswith(".tar") and next(turn) % 3 == 2 else None
        cuts += wrong is not None
        return wrong

    server.broken = broken
    there = f"{server.url}/stripes?a=b"
    assert in_a_process(str(recipe), there, tmp_path / "there", True, 1, ("never",)) == 0
    here, there = told(tmp_path / "here"), told(tmp_path / "there")
    assert there[0] == here[0] and there[2] == here[2] and cuts >= 5
    assert there[1]["data"]["name"] == f"{server.url}/stripes"
    record_property(
        "reliability",
        json.dumps({"table": "faults", "what": "answers of a server of tar shards cut while a training "
                    "streams", "tried": cuts, "survived": cuts, "lost": "nothing"}),
    )  # fmt: skip
