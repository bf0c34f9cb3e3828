"""Images by their address: fetched from a server on loopback, and what that may answer."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import command, picture

from inceptive.engines import prediction
from inceptive.engines.classifier import Classifier


@pytest.fixture(scope="module")
def web():
    content = io.BytesIO()
    picture("down", 700).save(content, "PNG")
    answers = {
        "/a%20b.png?size=1": content.getvalue(),
        "/page.jpg": b"<!doctype html><p>Sign in",
        "/large.png": content.getvalue() + bytes(50_000),
        "/cut.png": content.getvalue(),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in answers:
                self.send_error(404)
                return
            self.send_response(200)
            length = len(answers[self.path]) + (1000 if self.path == "/cut.png" else 0)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(answers[self.path])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def online(monkeypatch):
    for name in ("INCEPTIVE_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_an_address_is_an_image_in_python_and_at_the_command(web, trained, tmp_path):
    url = f"{web}/a%20b.png?size=1"
    picture("down", 700).save(tmp_path / "a.png")
    clf = Classifier.load(trained[0])
    assert clf.predict(url).top == clf.predict(tmp_path / "a.png").top
    several = clf.predict([url, tmp_path / "a.png"])
    assert [answer.image for answer in several] == [url, str(tmp_path / "a.png")]
    done = command("predict", trained[0], url, tmp_path, "--json")
    first, second = json.loads(done.stdout)
    assert done.returncode == 0 and first["image"] == url and first["top"] == second["top"]
    out = command("predict", trained[0], url, "--out", tmp_path / "answers.csv")
    assert out.returncode == 0 and url in (tmp_path / "answers.csv").read_text()


@pytest.mark.parametrize(("path", "told"), [
    ("/none.png", "cannot be downloaded (HTTP Error 404: Not Found); save the image to a file"),
    ("/page.jpg", "is not an image (it holds HTML"), ("/large.png", "is of more than 0 MB"),
    ("/cut.png", "cannot be downloaded ("),
])  # fmt: skip
def test_what_is_no_image_is_one_line(web, trained, monkeypatch, path, told):
    monkeypatch.setattr(prediction, "WEB_BYTES", 20_000)
    done = command("predict", trained[0], f"{web}{path}")
    assert done.returncode == 1 and done.stdout.count("cannot be read") == 1
    assert told in done.stderr and f"{web}{path}" in done.stderr and "Traceback" not in done.stderr


def test_no_network_is_asked_where_that_is_forbidden(web, trained, monkeypatch):
    monkeypatch.setenv("INCEPTIVE_OFFLINE", "1")
    done = command("predict", trained[0], f"{web}/page.jpg")
    assert done.returncode == 1 and "because INCEPTIVE_OFFLINE is set" in done.stderr


@pytest.mark.parametrize(
    "url", ["http://", "http://127.0.0.1:1/a.png", "https://[::1", "http://a b/c"]
)
def test_an_address_of_nothing_is_one_line(trained, url):
    done = command("predict", trained[0], url)
    assert done.returncode == 1 and "cannot be downloaded" in done.stderr
    assert "Traceback" not in done.stderr
