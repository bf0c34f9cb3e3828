"""Systems other than the Linux at hand: without POSIX's modules, a home folder or a user's name, behind
proxies that want a password and networks that answer every request with a page of their own."""

import errno
import io
import json
import os
import shlex
import stat
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import command, picture

import inceptive
from inceptive.cli import tables
from inceptive.cli.progress import Display
from inceptive.errors import InceptiveError
from inceptive.io import paths
from inceptive.weights.catalogue import catalogue
from inceptive.weights.load import fetch

POSIX_ONLY = ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog", "crypt", "spwd",
              "posix_ipc", "readline")  # fmt: skip
AS_ELSEWHERE = f"""
import os, sys
import filelock  # which has what Windows has in place of fcntl
for name in {POSIX_ONLY}:
    sys.modules[name] = None
for name in ("sched_getaffinity", "O_DIRECTORY", "getuid", "killpg"):
    if hasattr(os, name):
        delattr(os, name)
from inceptive.cli import main
main()
"""
"""A machine that is not POSIX's as far as Python tells: without pwd, ~ is nobody's home either."""


def elsewhere(*words, folder):
    environment = {k: v for k, v in os.environ.items() if k != "HOME" and "CACHE" not in k}
    environment |= {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    code = [sys.executable, "-c", AS_ELSEWHERE, *map(str, words)]
    done = subprocess.run(
        code, capture_output=True, text=True, env=environment, cwd=folder, timeout=300, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("words", [("--help",), ("table", "googlenet"), ("nets",)])
def test_without_posix_and_home_the_light_commands_answer(words, tmp_path):
    done = elsewhere(*words, folder=tmp_path)
    assert done.returncode == 0 and done.stdout and not done.stderr


@pytest.mark.faults
def test_without_posix_and_home_a_model_is_trained_and_answers(tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "run"
    done = elsewhere("train", "digits", "--out", out, "--set", "epochs=1", folder=tmp_path)
    assert done.returncode == 0 and (out / "model.safetensors").exists(), done.stderr
    picture("down", 3).save(tmp_path / "one.png")
    done = elsewhere("predict", out, tmp_path / "one.png", "--engine", "torch", folder=tmp_path)
    assert done.returncode == 0 and "one.png" in done.stdout, done.stderr
    done = elsewhere("predict", "~/run", tmp_path / "one.png", folder=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "~/run: the home folder of this user is not known" in done.stderr
    done = elsewhere("predict", "hf:nobody/nothing", tmp_path / "one.png", folder=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "cannot be had from the Hugging Face hub (Could not determine home" in done.stderr
    done = elsewhere("explain", out, tmp_path / "one.png", folder=tmp_path)
    assert done.returncode == 0 and "atplotlib" not in done.stderr, done.stderr


def test_without_a_home_folder_the_cache_is_temporary_and_that_is_said_once(monkeypatch, caplog):
    for name in ("HOME", "INCEPTIVE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    paths._temporary_cache.cache_clear()
    assert paths.cache_folder() == paths.cache_folder()
    assert paths.cache_folder().name.startswith("inceptive-")
    assert len([one for one in caplog.records if "no home folder" in one.getMessage()]) == 1
    paths._temporary_cache.cache_clear()
    with pytest.raises(InceptiveError, match="give the whole path, or set HOME"):
        inceptive.Classifier.load("~/x")


@pytest.mark.faults
def test_a_home_folder_that_cannot_be_written_costs_a_line(trained, tmp_path):
    """A file in its place: nobody can write there, root neither."""
    (tmp_path / "home").write_text("")
    picture("down", 3).save(tmp_path / "a.png")
    environment = {k: v for k, v in os.environ.items() if "CACHE" not in k and "MPL" not in k}
    environment |= {"HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    for words in (
        ("explain", trained[0], "a.png"),
        ("export", trained[0], "--to", "onnx", "--out", tmp_path / "made"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "inceptive", *map(str, words)], capture_output=True, text=True,
            env=environment, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        notes = [line for line in done.stderr.splitlines() if str(tmp_path / "home") in line]
        assert len(notes) <= 1 and "atplotlib" not in done.stderr, done.stderr


@pytest.mark.faults
def test_a_share_that_cannot_sync_a_folder_takes_all_that_is_written(
    stripes, tiny, tmp_path, monkeypatch
):
    sync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    done = command("train", stripes, "--recipe", tiny, "--epochs", 1, "--out", tmp_path / "m")
    assert done.returncode == 0, done.stderr
    picture("down", 3).save(tmp_path / "a.png")
    for words in (
        ("predict", tmp_path / "m", tmp_path / "a.png", "--out", tmp_path / "a.csv"),
        ("export", tmp_path / "m", "--to", "onnx"),
        ("evaluate", tmp_path / "m", stripes, "--out", tmp_path / "e"),
        ("shards", stripes, "--out", tmp_path / "s"),
    ):
        done = command(*words)
        assert done.returncode == 0 and "Invalid" not in done.stderr, done.stderr
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert names >= {"m/config.json", "m/report.html", "a.csv", "m/model.f32.onnx", "e/report.html"}


@pytest.mark.faults
def test_without_standard_error_nothing_goes_to_standard_output(trained, tmp_path):
    picture("down", 3).save(tmp_path / "a.png")
    words = ["predict", str(trained[0]), str(tmp_path / "a.png"), "--json"]
    closed = f"{shlex.join([sys.executable, '-m', 'inceptive', *words])} 2>&-"
    done = subprocess.run(closed, shell=True, stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0 and len(json.loads(done.stdout)) == 1


class Gone(io.StringIO):
    """Standard error of a terminal that was closed."""

    def write(self, _):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_work_goes_on_when_the_terminal_it_was_started_from_is_gone(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Gone())
    inceptive.io.progress.ON_STANDARD_ERROR.say("a line")
    Display().say("a line")


def test_output_that_cannot_be_told_what_to_do_with_a_lone_surrogate(monkeypatch):
    """A notebook's standard output is no TextIOWrapper and has no `reconfigure`."""
    notebook = io.StringIO()
    monkeypatch.setattr(sys, "stdout", notebook)
    tables.answer("name\udcff")
    assert notebook.getvalue() == "name\\udcff\n"


@pytest.mark.faults
def test_names_are_text_in_the_c_locale_too(stripes, tmp_path):
    (tmp_path / "data").mkdir()
    for kind, name in (("across", "quer é"), ("down", "日本")):
        (tmp_path / "data" / name).symlink_to(stripes / kind)
    image = tmp_path / "ü.png"
    picture("down", 1).save(image)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    environment |= {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "OMP_NUM_THREADS": "1",
    }

    def run(*words):
        code = [sys.executable, "-m", "inceptive", *map(str, words)]
        done = subprocess.run(
            code, capture_output=True, env=environment, cwd=tmp_path, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    tiny = ("--net", "googlenet.bn", "--set", "image_size=32", "--epochs", "1", "--weights", "none")
    run("train", "data", *tiny, "--out", "model")
    assert inceptive.Classifier.load(tmp_path / "model").labels == ("quer é", "日本")
    [answer] = json.loads(run("predict", "model", "ü.png", "--json"))
    assert answer["image"] == "ü.png"
    assert {each["label"] for each in answer["top"]} == {"quer é", "日本"}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(self.server.status)
        length = {"Content-Length": str(len(self.server.content))}
        for header in (length | self.server.headers).items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(self.server.content)

    do_HEAD = do_CONNECT = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server that answers everything with its `status`, `headers` and `content`, a page at first."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        server.status, server.headers = 200, {}
        server.content = b"<!DOCTYPE html><p>Please sign in"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def packed(name):
    """A .tar.gz of a few kB, as TF-slim's checkpoints come."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 5000
        archive.addfile(member, io.BytesIO(os.urandom(5000)))
    return content.getvalue()


SLIM = catalogue()["googlenet.slim"]  # of which no digest is published
NOT_WEIGHTS = {
    "page": (b"\n\n<html><body>Sign in", "answers with a page of text in place of the file"),
    "json": (b'{"error": "quota"}', "answers with a page of text in place of the file"),
    "empty": (b"", "answers with nothing in place of the file"),
    "another kind": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is not the file expected"),
    "cut": (packed("model.ckpt")[:-99], "is not the file expected"),
    "no checkpoint inside": (packed("readme.txt"), "is not the file expected"),
}


@pytest.fixture
def cached(server, tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path))
    return replace(SLIM, url=f"http://127.0.0.1:{server.server_port}/a.tar.gz")


@pytest.mark.parametrize("kind", NOT_WEIGHTS)
def test_what_is_no_weights_is_never_kept_as_weights(server, cached, tmp_path, kind):
    server.content, words = NOT_WEIGHTS[kind]
    with pytest.raises(InceptiveError, match=words) as error:
        fetch(cached)
    assert "\n" not in str(error.value) and str(tmp_path / "weights" / SLIM.file) in str(
        error.value
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_page_that_was_kept_is_removed_and_the_file_is_fetched(
    server, cached, tmp_path, monkeypatch, caplog
):
    path = tmp_path / "weights" / SLIM.file
    path.parent.mkdir()
    path.write_bytes(server.content)
    server.content = packed("model.ckpt")
    monkeypatch.setattr("inceptive.weights.load.read", lambda _: {})
    assert fetch(cached) == path and path.read_bytes() == server.content
    assert f"{path} held a page of text, not weights, and is removed" in caplog.text


def test_a_kept_file_that_cannot_be_read_is_said_to_be_removed(cached, tmp_path):
    path = tmp_path / "weights" / SLIM.file
    path.parent.mkdir()
    path.write_bytes(NOT_WEIGHTS["cut"][0])
    with pytest.raises(InceptiveError, match="remove it, and it is fetched again"):
        inceptive.Classifier.load(SLIM.name)


@pytest.mark.parametrize(
    ("status", "headers"),
    [(407, {}), (302, {"Location": "/a.tar.gz"}), (200, {"Transfer-Encoding": "chunked"}),
     (200, {"Content-Length": "99"}), (511, {"Location": "http://["})],
)  # fmt: skip
def test_what_a_network_answers_is_one_line(server, cached, status, headers):
    server.status, server.headers = status, headers
    with pytest.raises(InceptiveError) as error:
        fetch(cached)
    assert "cannot be downloaded" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.faults
@pytest.mark.parametrize("proxy", ["http://[", "nonsense://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_a_proxy_that_is_none_is_one_line(tmp_path, monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(InceptiveError, match="cannot be had from the Hugging Face hub") as error:
        inceptive.Classifier.load("hf:nobody/nothing")
    assert "\n" not in str(error.value)


def test_a_proxy_that_wants_a_password_is_one_line(server, tmp_path, monkeypatch):
    server.status = 407
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("https_proxy", address)
    monkeypatch.setenv("HTTPS_PROXY", address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path))
    picture("down", 3).save(tmp_path / "one.png")
    done = command("predict", "hf:nobody/nothing", tmp_path / "one.png")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "407" in done.stderr and "cannot be had from the Hugging Face hub" in done.stderr
