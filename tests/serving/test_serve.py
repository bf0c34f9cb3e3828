"""`inceptive serve`: a real server on loopback, asked as its users ask it, and as they should not."""

import asyncio
import http.client
import importlib.util
import io
import json
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest
from conftest import SERVER, command, logo, picture, rewrite_config, serving
from PIL import Image

from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.metrics import Threshold

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("fastapi", "uvicorn", "multipart"))),
    reason="the extra `serve` is not installed",
)


@pytest.fixture(scope="module")
def port(trained):
    with serving(trained[0], "--max-mib", 1, "--max-images", 4, "--token", TOKEN) as (port, _):
        yield port


TOKEN = "a secret"


def ask(port, method, path, body=None, headers=None, token=TOKEN):
    """Status, headers and content of the answer."""
    headers = (headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def post(port, path, body, headers=None, token=TOKEN):
    status, _, content = ask(port, "POST", path, body, headers, token)
    return status, json.loads(content)


def png(kind, number):
    content = io.BytesIO()
    picture(kind, number).save(content, "PNG")
    return content.getvalue()


def form(files):
    """A multipart body of files (name, content), and its header."""
    parts = b""
    for k, (name, content) in enumerate(files):
        head = f'--BOUND\r\nContent-Disposition: form-data; name="f{k}"; filename="{name}"\r\n\r\n'
        parts += head.encode() + content + b"\r\n"
    return parts + b"--BOUND--\r\n", {"Content-Type": "multipart/form-data; boundary=BOUND"}


def cut_off(files, count):
    """The same without its last `count` bytes; its second image was missing in the answer."""
    body, headers = form(files)
    return body[:-count], headers


# Answers


def test_one_image_as_the_body_is_answered_as_predict_answers_it(port, trained, tmp_path):
    (tmp_path / "a.png").write_bytes(png("down", 700))
    status, found = post(port, "/v1/predict?top=2", png("down", 700))
    [wanted] = json.loads(command("predict", trained[0], tmp_path / "a.png", "--json").stdout)
    assert status == 200 and found["model"] == trained[0].name
    [one] = found["predictions"]
    assert one["error"] == "" and [t["label"] for t in one["top"]] == [
        t["label"] for t in wanted["top"]
    ]
    for mine, theirs in zip(one["top"], wanted["top"], strict=True):
        assert mine["prob"] == pytest.approx(theirs["prob"], abs=1e-5)


def test_several_images_are_answered_in_order_and_a_bad_one_in_its_place(port):
    files = [("a.png", png("down", 1)), ("b.txt", b"no picture"), ("c.png", png("across", 2))]
    status, found = post(port, "/v1/predict?top=1", *form(files))
    assert status == 200
    assert [one["image"] for one in found["predictions"]] == ["a.png", "b.txt", "c.png"]
    assert [bool(one["error"]) for one in found["predictions"]] == [False, True, False]
    first, _, last = (one["top"] for one in found["predictions"])
    assert (first[0]["label"], last[0]["label"]) == ("down", "across")


def test_what_is_odd_about_an_image_is_noted(port):
    logo(content := io.BytesIO())
    files = [("plain.png", png("down", 1)), ("logo.png", content.getvalue()), ("b.txt", b"no")]
    status, found = post(port, "/v1/predict", *form(files))
    plain, [note], broken = (one["notes"] for one in found["predictions"])
    assert (status, plain, broken) == (200, [], []) and note.startswith("the picture comes out in")


def test_requests_at_once_are_all_answered_rightly(port):
    kinds = ["down", "across"] * 20
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda k: post(port, "/v1/predict", png(kinds[k], 800 + k)), range(40))
        )
    right = [one["predictions"][0]["top"][0]["label"] == kind
             for (status, one), kind in zip(found, kinds, strict=True) if status == 200]  # fmt: skip
    assert len(right) == 40 and np.mean(right) > 0.9


def test_what_is_served_is_told(port, trained):
    status, _, content = ask(port, "GET", "/v1/model")
    told = json.loads(content)
    assert status == 200 and told["labels"] == ["across", "down"] and told["engine"] == "torch"
    assert told["net"] == "googlenet.bn" and told["preprocessing"]["size"] == 32
    assert "name" in told["data"] and "pictures" not in told["data"]  # nobody's, and long
    assert json.loads(ask(port, "GET", "/healthz")[2]) == {"status": "ok"}
    paths = json.loads(ask(port, "GET", "/openapi.json")[2])["paths"]
    assert {"/v1/predict", "/v1/explain", "/v1/model", "/healthz", "/metrics"} <= set(paths)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_fetch_nothing_from_elsewhere(port, path):
    status, headers, content = ask(port, "GET", path)
    assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
    assert not re.search(rb"(src|href)=\"?(https?:)?//", content)


def test_metrics_count_requests_by_path_and_status(port):
    def count():
        text = ask(port, "GET", "/metrics")[2].decode()
        found = re.search(
            r'inceptive_requests_total\{path="/v1/predict",status="200"\} ([\d.]+)', text
        )
        assert "inceptive_request_seconds_bucket" in text and "inceptive_waiting 0.0" in text
        return float(found[1]) if found else 0.0

    post(port, "/v1/predict", png("down", 9))
    before = count()
    for number in range(3):
        post(port, "/v1/predict", png("down", number))
    assert count() == before + 3


@pytest.fixture(scope="module")
def larger(trained, tmp_path_factory):
    """The trained model for larger images: at 32 pixels the last maps are one."""
    from inceptive.engines.classifier import Classifier

    clf = Classifier.load(trained[0])
    clf.preprocessing = Preprocessing(64, channels=1, mean=(0.5,), std=(0.5,))
    clf.labels = ("lying", "standing")
    folder = tmp_path_factory.mktemp("served") / "larger"
    clf.save(folder)
    return folder


@pytest.fixture(scope="module")
def two(trained, larger):
    """A port where the trained model and the larger one are served."""
    with serving(trained[0], larger) as (port, _):
        yield port


with_captum = pytest.mark.skipif(
    importlib.util.find_spec("captum") is None, reason="captum is not installed"
)


@pytest.mark.nets
@with_captum
def test_heat_over_the_image_for_any_class(two):
    for query in ("", "&label=standing", "&label=0"):
        path = f"/v1/explain?model=larger{query}"
        status, headers, content = ask(two, "POST", path, png("down", 1))
        assert status == 200 and headers["content-type"] == "image/png"
        known = {"": ("lying", "standing"), "&label=0": ("lying",)}
        assert headers["x-label"] in known.get(query, ("standing",))
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "PNG" and image.size == (256, 256)
    for query in ("owl", "7"):
        status, told = post(two, f"/v1/explain?model=larger&label={query}", png("down", 1))
        assert status == 422 and f"label {query}: is none of the classes" in told["error"]
    status, told = post(two, "/v1/explain?model=larger", b"no picture")
    assert status == 422 and "image" in told["error"]


@pytest.mark.faults
@with_captum
def test_many_look_inside_at_once_when_nobody_has_before(larger):
    with serving(larger) as (port, _), ThreadPoolExecutor(8) as pool:
        paths = ["/v1/explain", "/v1/features"] * 4
        found = list(pool.map(lambda path: ask(port, "POST", path, png("down", 1)), paths))
    assert [status for status, _, _ in found] == [200] * 8


@with_captum
def test_a_model_that_torch_runs_is_explained_without_a_second_copy(larger, monkeypatch):
    from inceptive.engines.classifier import Classifier
    from inceptive.serving.model import ServedModel

    served = ServedModel.open(str(larger), "larger", "torch", False, None, print)
    monkeypatch.setattr(Classifier, "load", None)  # who calls it fails
    image = np.zeros((1, 64, 64), np.uint8)
    assert served.explainer.features(image, "conv1").startswith(b"\x89PNG")
    mine, other = served.engine.model, served.explainer._classifier.model
    assert mine is not other  # whose hooks are its own, and whose tensors are not
    for one, same in zip(mine.state_dict().values(), other.state_dict().values(), strict=True):
        assert one.data_ptr() == same.data_ptr()


@with_captum
def test_a_model_that_answers_early_is_explained_without_a_second_copy(
    larger, tmp_path, monkeypatch
):
    from inceptive.engines.classifier import Classifier
    from inceptive.engines.early_exit import EarlyExit, Exit
    from inceptive.serving.model import ServedModel

    folder = shutil.copytree(larger, tmp_path / "early")
    config = json.loads((folder / "config.json").read_text())
    config["early_exit"] = EarlyExit((Exit("aux_4a", 1.0, 0.9),), 0.2, {}).to_dict()
    rewrite_config(folder, json.dumps(config))
    served = ServedModel.open(str(folder), "early", "torch", True, None, print)
    assert served.to_dict()["early_exit"]
    monkeypatch.setattr(Classifier, "load", None)  # who calls it fails
    image = np.zeros((1, 64, 64), np.uint8)
    assert served.explainer.features(image, "conv1").startswith(b"\x89PNG")
    assert served.explainer.heat(image, 0).startswith(b"\x89PNG")


def test_images_are_decoded_by_as_many_threads_as_there_are_cores(trained, monkeypatch):
    from starlette.requests import Request

    from inceptive.serving import inference
    from inceptive.serving.limits import Limits
    from inceptive.serving.model import ServedModel

    threads, most = [], 0
    decode = ServedModel.decode

    def counted(self, name, content):
        nonlocal most
        threads.append(name)
        most = max(most, len(threads))
        time.sleep(0.01)
        threads.remove(name)
        return decode(self, name, content)

    monkeypatch.setattr(ServedModel, "decode", counted)
    monkeypatch.setattr(inference, "cores", lambda: 3)
    served = ServedModel.open(str(trained[0]), "model", "torch", False, None, print)
    service = inference.InferenceService([served], Limits())
    body, headers = form([(f"{k}.png", png("down", k)) for k in range(24)])
    scope = {
        "type": "http",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def answers():
        service.start()
        try:
            return await service.predict(Request(scope, receive), "", 1)
        finally:
            await service.stop()

    assert len(asyncio.run(answers())) == 24 and most == 3


def test_a_client_that_goes_away_amid_a_form_is_no_error_of_the_server():
    from starlette.requests import Request

    from inceptive.serving.inference import Refused, _pictures

    body, headers = form([("a.png", png("down", 1))])
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(key.lower().encode(), value.encode()) for key, value in headers.items()],
    }
    messages = iter(
        [
            {"type": "http.request", "body": body[:-200], "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive():
        return next(messages)

    with pytest.raises(Refused) as refused:
        asyncio.run(_pictures(Request(scope, receive), 4))
    assert refused.value.status_code == 400


def test_exports_alone_are_served_and_say_that_they_cannot_be_explained(trained, tmp_path):
    if not importlib.util.find_spec("onnx"):
        pytest.skip("the extra `export` is not installed")
    from inceptive.serving.model import ServedModel

    shutil.copytree(trained[0], tmp_path / "whole")
    done = command("export", tmp_path / "whole", "--to", "onnx")
    assert done.returncode == 0, done.stderr
    exports = tmp_path / "exports"
    exports.mkdir()
    for name in ("exports.json", "model.f32.onnx"):
        shutil.copy(tmp_path / "whole" / name, exports)
    served = ServedModel.open(str(exports), "exports", "auto", False, None, lambda _: None)
    assert served.explainer is None and served.engine.name == "onnx:f32"


@pytest.mark.nets
@with_captum
def test_maps_of_any_layer(two):
    for told in json.loads(ask(two, "GET", "/v1/models")[2]):
        assert told["layers"][0] == "conv1" and told["explains"]
        last = "inception_4e" if told["name"] != "larger" else "inception_5b"
        assert told["layers"][-1] == last
        for layer in ("", "conv1", last):
            path = f"/v1/features?model={told['name']}&layer={layer}"
            status, headers, content = ask(two, "POST", path, png("down", 1))
            assert status == 200 and headers["content-type"] == "image/png"
            with Image.open(io.BytesIO(content)) as image:
                assert image.format == "PNG" and min(image.size) > 300
    status, told = post(two, "/v1/features?layer=inception_9z", png("down", 1))
    assert status == 422 and "has no maps inception_9z; there are: conv1," in told["error"]


@pytest.mark.nets
def test_several_models_are_asked_by_name(two, trained):
    name = trained[0].name
    told = json.loads(ask(two, "GET", "/v1/models")[2])
    assert [one["name"] for one in told] == [name, "larger"]
    assert told[0] == json.loads(ask(two, "GET", "/v1/model")[2])
    assert told[1] == json.loads(ask(two, "GET", "/v1/model?model=larger")[2])
    for query, model, labels in (("", name, {"across", "down"}), (f"?model={name}", name, None),
                                 ("?model=larger", "larger", {"lying", "standing"})):  # fmt: skip
        _, found = post(two, f"/v1/predict{query}", png("down", 3))
        assert found["model"] == model
        assert labels in (None, {one["label"] for one in found["predictions"][0]["top"]})
    for path in ("/v1/predict", "/v1/explain", "/v1/features"):
        status, said = post(two, f"{path}?model=owl", png("down", 3))
        assert (
            status == 422 and f"no model owl is served; there are: {name}, larger" == said["error"]
        )
    assert ask(two, "GET", "/v1/model?model=owl")[0] == 422


KNOWN = [
    Threshold(target=0.9, threshold=0.4, count=100, share=1.0, accuracy=0.92),
    Threshold(target=0.95, threshold=0.7, count=80, share=0.8, accuracy=0.951),
    Threshold(target=0.98, threshold=0.9, count=50, share=0.5, accuracy=0.985),
]


@pytest.mark.parametrize(
    ("known", "accuracy", "found"),
    [
        (KNOWN, None, (0.7, 0.951, 80)),
        (KNOWN, 0.5, (0.5, None, 0)),  # how right answers above a half are, nobody counted
        (KNOWN, 0.96, (0.9, 0.985, 50)),
        (KNOWN[:1], None, (0.5, None, 0)),
        ([], None, (0.5, None, 0)),
    ],
)
def test_an_answer_is_sure_from_where_the_asked_share_was_right(known, accuracy, found):
    from inceptive.serving.model import choose_threshold

    assert choose_threshold("m", known, accuracy) == found


@pytest.mark.nets
def test_an_accuracy_that_no_threshold_holds_is_refused(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for known, told in (
        ([asdict(one) for one in KNOWN], "at most 98.0%"),
        ([], "the model folder records no thresholds"),
        ([{"target": 0.95}], "config.json: metrics.thresholds: missing or invalid 'count'"),
        ("much", "config.json: metrics.thresholds: missing or invalid"),
    ):
        config["metrics"]["thresholds"] = known
        rewrite_config(folder, json.dumps(config))
        done = command("serve", folder, "--port", 0, "--accuracy", 0.99)
        assert done.returncode == 1 and told in done.stderr, done.stderr


def test_below_the_threshold_an_answer_is_not_sure(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    [first, *_] = [one for one in config["metrics"]["thresholds"] if one["target"] == 0.95]
    assert 0 < first["threshold"] <= 1 and first["accuracy"] >= 0.95 and 0 < first["share"] <= 1
    thresholds, folders = {"unsure": 1.01, "sure": 0.51}, []
    for name, threshold in thresholds.items():
        folders.append(shutil.copytree(folder, tmp_path / name))
        key = {"unsure": "thresholds", "sure": "abstain"}[name]  # the second as written until 0.1
        metrics = {k: v for k, v in config["metrics"].items() if k != "thresholds"}
        metrics[key] = [first | {"threshold": threshold}]
        rewrite_config(folders[-1], json.dumps(config | {"metrics": metrics}))
    with serving(*folders) as (port, _):
        for name, threshold in thresholds.items():
            _, answer = post(port, f"/v1/predict?model={name}", png("down", 3))
            assert [image["sure"] for image in answer["predictions"]] == [name == "sure"]
            model = json.loads(ask(port, "GET", f"/v1/model?model={name}")[2])
            assert model["sure_from"] == threshold
            assert model["accuracy_when_sure"] == first["accuracy"]


def test_models_of_one_name_are_called_as_they_were_typed():
    from inceptive.serving.serve import model_names

    assert model_names(["runs/a", "b"]) == ["a", "b"]
    assert model_names(["runs/a", "other/a", "b"]) == ["runs/a", "other/a", "b"]
    with pytest.raises(InceptiveError, match="named twice"):
        model_names(["a", "a"])


# Refusals


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"", {}, 422, "no image"),
        (b"GIF89a", {}, 422, "image"),
        (b"<html>", {"Content-Type": "text/html"}, 422, "text"),
        (b"x" * (2**20 + 1), {}, 413, "at most 1 MiB"),
        (*form([(f"{k}.png", b"x") for k in range(5)]), 422, "Too many files"),
        (b"nothing", {"Content-Type": "multipart/form-data"}, 422, ""),
        (*form([]), 422, "no image"),
        (*cut_off([("a.png", png("down", 1)), ("b.png", png("down", 2))], 300), 422, "has no end"),
        (*cut_off([("a.png", png("down", 1)), ("b.png", png("down", 2))], 5), 422, "has no end"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(port, body, headers, status, said):
    found, told = post(port, "/v1/predict", body, headers)
    assert found == status and said in told["error"] and told["error"]


def test_a_length_that_is_not_told_is_counted(port):
    def endless():
        for _ in range(64):
            yield b"x" * 2**16

    try:
        status, _, content = ask(port, "POST", "/v1/predict", endless())
        assert status == 413 and b"at most 1 MiB" in content
    except (BrokenPipeError, ConnectionResetError):
        pass  # it did not read to the end
    assert ask(port, "GET", "/healthz")[0] == 200


def test_other_paths_and_methods(port):
    for method, path, status in (("GET", "/nowhere", 404), ("GET", "/v1/predict", 405)):
        found, _, content = ask(port, method, path)
        assert found == status and json.loads(content)["error"]


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/metrics", "/v1/model"])
def test_head_is_answered_as_get_is_without_a_body(port, path):
    wanted, headers, content = ask(port, "GET", path)
    status, mine, body = ask(port, "HEAD", path)
    assert status == wanted == 200 and content and body == b""
    assert mine.keys() == headers.keys() and mine["content-type"] == headers["content-type"]
    assert ask(port, "HEAD", "/v1/predict")[0] == 405


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("POST", "/v1/predict?topp=2", "unknown query parameter topp; there are: top, model"),
        ("POST", "/v1/explain?layer=x", "unknown query parameter layer; there are: label, model"),
        ("POST", "/v1/features?a%0Ab=", r"unknown query parameter a\nb; there are: layer, model"),
        ("GET", "/v1/model?name=x", "unknown query parameter name; there are: model"),
        ("GET", "/v1/models?model=x", "unknown query parameter model; there are none"),
        ("POST", "/v1/predict?top=0", "top = 0: Input should be greater than or equal to 1"),
        ("POST", "/v1/predict?top=two", "top = two: Input should be a valid integer"),
        ("POST", "/v1/predict?top=", "top = : Input should be a valid integer"),
    ],
)
def test_a_query_that_is_not_understood_is_refused_by_name(port, method, path, reason):
    status, _, content = ask(port, method, path, png("down", 1) if method == "POST" else None)
    told = json.loads(content)
    assert status == 422 and told.keys() == {"error"} and told["error"].startswith(reason)


def test_the_interface_says_the_form_of_a_refusal(port):
    routes = json.loads(ask(port, "GET", "/openapi.json")[2])["paths"]
    for path in ("/v1/predict", "/v1/explain", "/v1/features"):
        answers = routes[path]["post"]["responses"]
        assert answers.keys() == {"200", "default"}
        schema = answers["default"]["content"]["application/json"]["schema"]
        assert schema["required"] == ["error"]


def test_who_has_no_token_is_refused(port):
    assert ask(port, "GET", "/healthz", token=None)[0] == 200
    for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": TOKEN}):
        status, answer = post(port, "/v1/predict", png("down", 1), headers, token=None)
        assert status == 401 and "token" in answer["error"]
    assert post(port, "/v1/predict", png("down", 1))[0] == 200


def mutated(rng, content):
    """Bytes of an image with some changed, left out, doubled, or nothing but noise."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(data)))
        kind = rng.integers(4)
        if kind == 0:
            data[at] = int(rng.integers(256))
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 2:
            data[at:at] = data[at : at + int(rng.integers(1, 64))]
        else:
            data[at : at + 4] = rng.bytes(4)
        if not data:
            return b"\0"
    return bytes(data) if rng.random() < 0.9 else rng.bytes(len(data))


@pytest.mark.faults
@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_bytes_break_it(port, count):
    rng = np.random.default_rng(count)
    seeds = []
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        content = io.BytesIO()
        picture("down", 5).save(content, kind)
        seeds.append(content.getvalue())
    asked = []
    for k in range(count):
        content = mutated(rng, seeds[k % len(seeds)])
        path = {0: "/v1/explain", 1: "/v1/features"}.get(k % 10, "/v1/predict")
        if k % 10 in (1, 2, 3):  # as a form, which is mutated too
            body, headers = form([(f"{k}.jpg", content), ("b", seeds[0])][: k % 10])
            asked.append((path, mutated(rng, body) if k % 3 else body, headers))
        else:
            asked.append((path, content, {}))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: ask(port, "POST", *one), asked))
    worst = [(path, content[:200]) for (path, *_), (status, _, content) in zip(asked, found, strict=True)
             if status not in (200, 413, 422)]  # fmt: skip
    assert not worst and {200, 422} <= {status for status, _, _ in found}
    for status, headers, content in found:
        if headers["content-type"] == "image/png":
            assert status == 200 and content.startswith(b"\x89PNG")
            continue
        told = json.loads(content)
        assert status == 200 or (told["error"] and "Traceback" not in told["error"])
    assert post(port, "/v1/predict", png("down", 1))[0] == 200


# The queue


class Slow:
    """An engine that waits to be let go; `seen` are the sizes of its batches."""

    labels, temperature = ("a", "b"), 1.0
    preprocessing = Preprocessing(size=4)

    def __init__(self):
        self.go, self.begun, self.seen = threading.Event(), threading.Event(), []

    def answers(self, images):
        self.begun.set()
        assert self.go.wait(30)
        self.seen.append(len(images))
        if (images == 9).all(axis=(1, 2, 3)).any():
            raise ValueError("nine")
        return list(images[:, 0, 0, 0])


def square(value):
    return np.full((3, 4, 4), value, np.uint8)


def test_what_waits_is_answered_together_and_more_is_refused():
    from inceptive.serving.batching import Batcher, Closed, Full

    engine = Slow()
    batcher = Batcher(engine, batch_size=4, waiting=6)
    first = batcher.submit([square(0)])
    assert engine.begun.wait(30)
    rest = batcher.submit([square(k) for k in range(1, 6)])
    with pytest.raises(Full):
        batcher.submit([square(6), square(7)])
    assert len(batcher) == 5
    rest[0].cancel()  # who gave up is not answered
    engine.go.set()
    assert [one.result(30) for one in first + rest[1:]] == [0, 2, 3, 4, 5]
    assert engine.seen == [1, 3, 1]
    engine.go.clear()
    more_than_may_wait = batcher.submit([square(k) for k in range(8)])  # where nothing else waits
    engine.go.set()
    assert [future.result(30) for future in more_than_may_wait] == list(range(8))
    batcher.close()
    with pytest.raises(Closed):
        batcher.submit([square(0)])


def test_an_engine_that_fails_is_told_to_who_asked_and_goes_on():
    from inceptive.serving.batching import Batcher

    engine = Slow()
    engine.go.set()
    batcher = Batcher(engine)
    [bad] = batcher.submit([square(9)])
    with pytest.raises(ValueError, match="nine"):
        bad.result(30)
    [good] = batcher.submit([square(3)])
    assert good.result(30) == 3
    batcher.close()


# Beginning and end


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_it_is_asked_to(trained, how):
    with serving(trained[0]) as (port, process):
        assert ask(port, "GET", "/healthz")[0] == 200
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0 and said.endswith("stopped\n") and "Traceback" not in said


@pytest.mark.faults
def test_a_port_that_is_taken_a_host_and_a_model_that_are_not_there(port, trained, tmp_path):
    with pytest.raises(socket.gaierror) as unknown:
        socket.getaddrinfo("nowhere.invalid", port)
    # In a process of its own: a server that cannot begin leaves its event loop and its log to others.
    words = [sys.executable, "-c", SERVER, "serve", trained[0], "--port", str(port)]
    for host, said in (("127.0.0.1", "in use"), ("nowhere.invalid", str(unknown.value.strerror))):
        done = subprocess.run(
            [*words, "--host", host], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        assert f"cannot listen on {host}:{port} (" in last and said in last
    done = command("serve", tmp_path / "none")
    assert done.returncode == 1 and "none" in done.stderr and "Traceback" not in done.stderr


# Load


def held(process):
    """Bytes of memory that a process holds now."""
    with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def clients(port, count, seconds, body):
    """(answers, seconds each took, statuses) of so many clients that ask one after another."""
    until, taken, statuses = time.monotonic() + seconds, [], []

    def one(_):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < until:
            started = time.monotonic()
            connection.request("POST", "/v1/predict", body)
            answer = connection.getresponse()
            answer.read()
            taken.append(time.monotonic() - started)
            statuses.append(answer.status)
        connection.close()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))
    return taken, statuses


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sixty_four_clients_for_a_minute_get_answers_and_no_memory_is_lost(trained):
    body = png("down", 3)
    with serving(trained[0]) as (port, process):
        alone, _ = clients(port, 1, 5, body)
        clients(port, 64, 15, body)  # as much as it needs for so many
        before = held(process)
        taken, statuses = clients(port, 64, 60, body)
        after = held(process)
        assert set(statuses) == {200}
        assert after - before < 50 * 2**20, (before, after)
        for name, found, seconds in (("1", alone, 5), ("64", taken, 60)):
            p99 = sorted(found)[int(0.99 * len(found))]
            print(f"{name} clients: {len(found) / seconds:.0f}/s, p99 {1000 * p99:.0f} ms")


def test_what_is_looked_at_too_late_is_not_begun():
    """It went on in threads, which uploads needed too, long after the answer was refused."""
    from inceptive.serving.inference import InferenceService, Refused
    from inceptive.serving.limits import Limits

    begun, finish = [], threading.Event()

    def look(number):
        begun.append(number)
        finish.wait(20)
        return b""

    async def all_at_once():
        service = InferenceService([], Limits(seconds=0.2))
        work = [service._explained(look, k) for k in range(8)]
        answers = await asyncio.gather(*work, return_exceptions=True)
        finish.set()
        await service.stop()
        return answers

    assert all(isinstance(answer, Refused) for answer in asyncio.run(all_at_once()))
    assert begun == [0]


def test_classes_whose_names_are_not_utf_8_are_served(trained, tmp_path):
    """Each request was a server error."""
    from inceptive.engines.classifier import Classifier
    from inceptive.serving.model import ServedModel

    clf = Classifier.load(trained[0])
    clf.labels = ("caf\udce9", "down")
    clf.save(tmp_path / "model")
    served = ServedModel.open(str(tmp_path / "model"), "m", "torch", False, None, print)
    answer = served.prediction(served.decode("a", png("down", 1)), (np.array([0.9, 0.1]), None), 2)
    said = json.dumps([served.to_dict(), answer], ensure_ascii=False).encode()
    assert b"caf\\\\xe9" in said
