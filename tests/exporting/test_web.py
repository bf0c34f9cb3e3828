"""A site of `inceptive export --to web`: its files, its pixels under node, and its page in Chromium."""

import base64
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import command, rewrite_config
from exporting.photographs import photographs
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import inceptive
from inceptive.engines.classifier import Classifier
from inceptive.engines.novelty import Novelty
from inceptive.engines.open import open_engine
from inceptive.engines.records import Record
from inceptive.errors import InceptiveError
from inceptive.exporting import check, web
from inceptive.images import Preprocessing
from inceptive.io.progress import Silent
from inceptive.metrics import Threshold

NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ASSETS = Path(web.__file__).with_name("web")
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))),
    reason="the extra `export` is not installed",
)
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node")
PHONE = {"width": 390, "height": 844}
SIZE = 64


# The files


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A net of random weights whose answers move with every level of a pixel, as a model folder."""
    torch.manual_seed(5)
    shown = Preprocessing(size=SIZE, crop=0.9)
    squares = np.stack([shown.load(content) for _, content in photographs()])
    net = inceptive.build(inceptive.NETS["googlenet.bn"](num_classes=5).without_aux())
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.57  # of one batch alone, the logits would follow noise
    with torch.no_grad():
        net.train()(shown.normalise(torch.from_numpy(squares)))
    labels = ("cat", "dog", "hen", "owl", "yak")
    plain = Classifier(net.eval(), shown, labels)
    features, logits = plain.features_and_logits(squares)
    plain.info["novelty"] = Novelty.fit(features, logits).to_dict()
    threshold = Threshold(0.95, 40, 0.7, 0.8, 0.96)
    plain.info["metrics"] = {"thresholds": [vars(threshold)]}
    plain.info["data"] = {"name": "animals", "licence": "CC0-1.0"}
    # Spread out: the surest class has some two thirds, where a probability moves most.
    temperature = float((np.sort(logits)[:, -1] - np.sort(logits)[:, -2]).mean())
    folder = tmp_path_factory.mktemp("web") / "animals"
    Classifier(plain.model, shown, labels, temperature, plain.info).save(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Exports whose speed is looked at once: what is measured is not tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "SECONDS", 0.0)
        patch.setattr(check, "ROUNDS", 1)
        yield


@pytest.fixture
def runtime(monkeypatch):
    """Stands for ONNX Runtime Web where nothing runs."""
    files = dict.fromkeys(web.RUNTIME.values(), b"runtime")
    monkeypatch.setattr(web, "runtime", lambda: files)
    monkeypatch.setattr(web, "_package", lambda: Path(web.__file__))
    return files


@pytest.fixture
def written(runtime, model, monkeypatch):
    """Stands for the ONNX file and its check where only the folder is looked at."""
    record = Record(
        "model.f32.onnx", "web", "f32", "", True,
        {"images": "none", "count": 0, "difference": 0.0, "agreement": 1.0, "top1_torch": None,
         "top1": None, "drop": 0.0, "bound": 1e-4},
        dict.fromkeys((f"{torch}{speed}" for torch in ("", "torch_")
                       for speed in ("ms_per_image", "images_per_second")), 1.0),
    )  # fmt: skip

    def write(classifier, folder, *_):
        (folder / record.file).write_bytes(repr(classifier.labels).encode())
        return record

    monkeypatch.setattr(web, "write_export", write)
    return runtime


def export(model, out, **options):
    return inceptive.export(model, "web", out=out, progress=Silent(), **options)


def versions(site):
    return [path.name for path in site.iterdir() if path.is_dir()]


def test_a_site_is_written_checked_and_told(model, runtime, tmp_path):
    done = command("export", model, "--to", "web", "--out", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "web:f32" in done.stdout and "passed" in done.stdout
    assert f"python -m http.server -d {tmp_path / 'site'}" in done.stderr
    (version,) = versions(tmp_path / "site")
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == sorted(
        [version, "index.html", "sw.js"]
    )
    page = (tmp_path / "site/index.html").read_text()
    assert f'src="{version}/page.js"' in page and "VERSION" not in page and web.CSP in page
    described = json.loads((tmp_path / "site" / version / "model.json").read_text())
    assert described["labels"] == ["cat", "dog", "hen", "owl", "yak"]
    assert (described["sure_from"], described["licence"]) == (0.7, "CC0-1.0")
    assert (
        "Permission is hereby granted" in (tmp_path / "site" / version / "licences.txt").read_text()
    )


def test_the_service_worker_lists_every_file_that_is_needed(model, written, tmp_path):
    site = export(model, tmp_path).path
    text = (site / "sw.js").read_text().splitlines()
    assert text[0].encode().startswith(web.MARK)
    line = next(line for line in text if line.startswith("const FILES"))
    listed = json.loads(line[line.index("{") : line.rindex("}") + 1])
    there = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    assert {path for path in there if not path.endswith(("sw.js", "licences.txt"))} == set(listed)
    for path, (digest, size) in listed.items():
        content = (site / path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (digest, size)


def test_what_it_is_in_python(model, written, tmp_path):
    site = export(model, tmp_path / "site")
    assert site.name == "web:f32" and site.passed and site.path == tmp_path / "site"
    assert site.bytes == sum(file.stat().st_size for file in site.files) > 3e5


def test_a_site_of_the_same_model_is_the_same_and_another_replaces_it(model, written, tmp_path):
    export(model, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (old,) = versions(tmp_path)
    (tmp_path / ".index.html.1234abcd.part").touch()  # of one that was killed
    export(model, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    written["ort.js"] = b"newer"
    export(model, tmp_path)
    (new,) = versions(tmp_path)
    assert new != old and new in (tmp_path / "index.html").read_text()


def test_a_folder_of_something_else_is_left_alone(model, written, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InceptiveError, match=r"holds thesis\.tex, which is no part of a site"):
        export(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_named_like_a_version_is_one_only_if_it_holds_its_files(model, written, tmp_path):
    precious = tmp_path / "202611301200" / "precious.jpg"  # twelve digits, as of a version's digest
    precious.parent.mkdir()
    precious.write_bytes(b"a photograph")
    with pytest.raises(InceptiveError, match=r"holds 202611301200, which is no part of a site"):
        export(model, tmp_path)
    assert precious.read_bytes() == b"a photograph"


def test_a_write_that_fails_leaves_the_old_site(model, written, tmp_path, monkeypatch):
    export(model, tmp_path)
    before = (tmp_path / "index.html").read_text()
    written["ort.js"] = b"newer"
    write = web.write_bytes

    def full(path, content):
        if path.name == "pixels.js":
            raise InceptiveError(f"{path}: cannot be written (No space left on device)")
        write(path, content)

    monkeypatch.setattr(web, "write_bytes", full)
    with pytest.raises(InceptiveError, match="No space left"):
        export(model, tmp_path)
    assert (tmp_path / "index.html").read_text() == before
    monkeypatch.undo()
    assert before.split('src="')[1].split("/")[0] in versions(tmp_path)


@pytest.mark.parametrize(
    ("variable", "path", "reason"),
    [
        ("INCEPTIVE_OFFLINE", None, "because INCEPTIVE_OFFLINE is set"),
        ("", "/nowhere", "there is no npm"),
    ],
)
def test_without_npm_or_network_it_says_what_to_do(
    variable, path, reason, model, tmp_path, monkeypatch
):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    if variable:
        monkeypatch.setenv(variable, "1")
    if path:
        monkeypatch.setenv("PATH", path)
    with pytest.raises(InceptiveError) as error:
        web.runtime()
    packed = tmp_path / "cache" / "web" / f"onnxruntime-web-{web.VERSION}.tgz"
    assert reason in str(error.value) and f"put the file at {packed}" in str(error.value)
    assert f"`npm pack onnxruntime-web@{web.VERSION}`" in str(error.value)


def test_another_file_in_its_place_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path))
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / f"onnxruntime-web-{web.VERSION}.tgz").write_bytes(b"something else")
    with pytest.raises(InceptiveError, match=r"is not onnxruntime-web .* as published"):
        web.runtime()


def test_browsers_have_no_bf16(model, tmp_path):
    done = command("export", model, "--to", "web", "--precision", "bf16", "--out", tmp_path)
    assert done.returncode == 1 and "browsers have no bf16" in done.stderr


# The pixels


def node(script, *inputs):
    """Run a module that imports from the assets, with JSON on its standard input."""
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", script], input=json.dumps(inputs), text=True,
        capture_output=True, cwd=ASSETS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [np.frombuffer(base64.b64decode(each), np.uint8) for each in json.loads(done.stdout)]


READ = """
import { readFileSync } from "node:fs";
const given = JSON.parse(readFileSync(0));
const bytes = text => new Uint8Array(Buffer.from(text, "base64"));
const told = all =>
  process.stdout.write(JSON.stringify(all.map(each => Buffer.from(each).toString("base64"))));
"""
FIT = f"""{READ}
import {{ fit }} from "{ASSETS.as_posix()}/pixels.js";
told(given.map(({{ width, height, pixels, shown }}) => {{
  const data = bytes(pixels), line = 4 * width;
  const rows = (top, count) => data.subarray(line * top, line * (top + count));
  return fit({{ width, height, rows }}, shown);
}}));"""
REDUCE = f"""{READ}
import {{ reduced }} from "{ASSETS.as_posix()}/jpeg.js";
told(given.map(({{ file, share }}) => reduced(bytes(file), share)?.data ?? []));"""
MEAN = f"""{READ}
import {{ shrunk }} from "{ASSETS.as_posix()}/decode.js";
told(given.map(({{ width, height, pixels, factor }}) =>
  shrunk({{ width, height, data: bytes(pixels) }}, factor).data));"""


def text(content):
    return base64.b64encode(content).decode()


def opaque(image):
    return text(image.convert("RGBA").tobytes())


@needs_node
def test_resizing_is_pillows_bit_for_bit():
    """Noise of black and white, where a weight that is one off shows."""
    rng, cases, squares = np.random.default_rng(3), [], []
    for number in range(120):
        wide, high = (int(side) for side in np.exp(rng.uniform(0, 6, 2)))
        channels, size = int(rng.choice([1, 3])), int(rng.integers(1, 90))
        shown = Preprocessing(
            size=size, channels=channels, crop=float(rng.choice([1.0, 0.875, rng.uniform(0.3, 1)])),
            interpolation=("nearest", "box", "bilinear", "bicubic")[number % 4],
            mean=(0.5,) * channels, std=(0.5,) * channels, squash=bool(number // 4 % 2),
        )  # fmt: skip
        if number % 10 == 0:
            wide = high = shown.resize
        if number % 10 == 5:  # tall: rows come first only where twice as many go as columns
            wide, high = 90, int(90 * rng.uniform(2, 3))
        pixels = rng.choice(np.array([0, 255], np.uint8), (high, wide, 3))
        image = Image.fromarray(pixels)
        squares.append(shown.fit(image.convert("L") if channels == 1 else image))
        case = {"width": wide, "height": high, "pixels": opaque(image), "shown": shown.to_dict()}
        cases.append(case)
    for case, ours, theirs in zip(cases, squares, node(FIT, *cases), strict=True):
        np.testing.assert_array_equal(theirs.reshape(ours.shape), ours, str(case["shown"]))


@pytest.mark.browser
@needs_node
def test_a_long_thin_picture_is_cut_as_in_python():
    shown = Preprocessing(size=300)
    image = Image.linear_gradient("L").resize((1, 3000)).convert("RGB")
    case = {"width": 1, "height": 3000, "pixels": opaque(image), "shown": shown.to_dict()}
    (square,) = node(FIT, case)
    np.testing.assert_array_equal(square, shown.fit(image).ravel())


@pytest.mark.browser
@needs_node
@pytest.mark.parametrize("share", [2, 4, 8])
def test_a_jpeg_is_read_smaller_as_by_libjpeg(share):
    files = [content for name, content in photographs() if name.endswith(".jpg")]
    cases = [{"file": text(content), "share": share} for content in files]
    for content, data in zip(files, node(REDUCE, *cases), strict=True):
        image = Image.open(io.BytesIO(content))
        image.draft(None, (image.width // share, image.height // share))
        np.testing.assert_array_equal(
            data.reshape(*image.size[::-1], 4)[..., :3], image.convert("RGB")
        )


@pytest.mark.browser
@needs_node
@pytest.mark.parametrize(
    ("options", "share_kept"),
    [({}, 0.4), ({"subsampling": 0}, 0.9), ({"restart_marker_blocks": 7}, 0.4),
     ({"restart_marker_rows": 1, "quality": 95}, 0.7), ({"progressive": True}, 0.7)],
)  # fmt: skip
def test_a_jpeg_with_lost_data_is_grey_where_libjpeg_has_it_grey(options, share_kept):
    """Zeros were read in their place: up to 109 levels apart, without a word."""
    rng = np.random.default_rng(1)
    levels = np.mgrid[:333, :501].sum(0)[..., None] % [251, 127, 63] + rng.integers(
        0, 60, (333, 501, 3)
    )
    held = io.BytesIO()
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(held, "JPEG", **options)
    content = held.getvalue()
    content = content[: int(share_kept * len(content))].rstrip(b"\xff") + b"\xff\xd9"
    for share in (2, 4, 8):
        image = Image.open(io.BytesIO(content))
        image.draft(None, (image.width // share, image.height // share))
        (data,) = node(REDUCE, {"file": text(content), "share": share})
        np.testing.assert_array_equal(
            data.reshape(*image.size[::-1], 4)[..., :3], image.convert("RGB")
        )


@pytest.mark.browser
@needs_node
def test_a_progressive_jpeg_without_its_last_scans_is_left_to_the_browser():
    """Libjpeg smooths such blocks from their neighbours, which is not done here."""
    held = io.BytesIO()
    Image.effect_noise((320, 240), 60).save(held, "JPEG", progressive=True)
    content = held.getvalue()
    last = content.rindex(b"\xff\xda")
    for kept, none in ((content, False), (content[:last] + b"\xff\xd9", True)):
        (data,) = node(REDUCE, {"file": text(kept), "share": 2})
        assert (data.size == 0) is none


@pytest.mark.browser
@needs_node
@given(st.integers(1, 30), st.integers(1, 30), st.integers(2, 5))
@settings(max_examples=5, deadline=None)
def test_the_mean_of_squares_is_pillows(wide, high, factor):
    pixels = np.random.default_rng(wide).integers(0, 256, (high, wide, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    case = {"width": wide, "height": high, "pixels": opaque(image), "factor": factor}
    (data,) = node(MEAN, case)
    reduced = image.reduce(factor)
    np.testing.assert_array_equal(data.reshape(*reduced.size[::-1], 4)[..., :3], reduced)


# The page


@pytest.fixture(scope="module")
def site(model, tmp_path_factory):
    if not (web.cache_folder() / "web").exists() and not shutil.which("npm"):
        pytest.skip("onnxruntime-web is not in the cache, and there is no npm")
    try:
        web.runtime()
    except InceptiveError as error:
        pytest.skip(str(error))
    return export(model, tmp_path_factory.mktemp("site")).path


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or not importlib.util.find_spec("playwright"):
        pytest.skip("Chromium or playwright is not installed")
    from tools.browser import chromium

    with chromium() as opened:
        yield opened


@pytest.fixture
def opened(browser):
    """Opens an address in a tab of its own; tab.wrong: what goes wrong; tab.asked: every request."""
    contexts = []

    def open_tab(address, **how):
        context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}} | how)
        contexts.append(context)
        tab = context.new_page()
        tab.wrong, tab.asked = [], []
        tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
        tab.on(
            "console", lambda line: tab.wrong.append(line.text) if line.type == "error" else None
        )
        context.on("request", lambda request: tab.asked.append(request))
        tab.goto(address)
        tab.wait_for_selector("#about span", timeout=60_000)
        return tab

    yield open_tab
    for context in contexts:
        context.close()


def choose(tab, name, content):
    tab.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})
    tab.wait_for_function(
        "name => document.querySelector('#status').textContent.startsWith(name)", arg=f"{name}: "
    )
    return tab.inner_text("#status").removeprefix(f"{name}: ")


@pytest.fixture(scope="module")
def photograph():
    return dict(photographs())["420.jpg"]


@pytest.mark.browser
def test_fifty_photographs_are_answered_as_by_predict(site, opened):
    """The same first answer on all, probabilities within 0.01; most squares are equal bit for bit."""
    from tools.browser import ask, hosted, open_worker

    engine = open_engine(str(next(site.glob("*/model.onnx"))), "auto", print)
    levels, novel, count, surest = {}, 0, 0, []
    with hosted(site) as address:
        tab = opened(address)
        assert open_worker(tab, address) == min(8, tab.evaluate("navigator.hardwareConcurrency"))
        for name, content in photographs():
            answer, square = ask(tab, content), engine.preprocessing.load(content)
            assert "error" not in answer, (name, answer)
            ((probs, is_novel),) = engine.answers(square[None])
            off = np.abs(answer["square"].reshape(square.shape).astype(int) - square).max()
            if off:
                levels[name] = int(off)
            assert np.argmax(answer["probs"]) == probs.argmax(), name
            assert np.abs(np.array(answer["probs"]) - probs).max() < 0.01, name
            assert answer["novel"] == is_novel, name
            novel, count = novel + is_novel, count + 1
            surest.append(probs.max())
    assert count >= 50 and novel and 0.4 < np.mean(surest) < 0.9
    # Colour profiles are converted by another library.
    assert all(any(part in name for part in (" p3.", "of 1.8", "prophoto")) for name in levels)
    assert max(levels.values()) <= 2


@pytest.mark.browser
def test_a_photograph_is_answered_with_bars_and_nothing_leaves_the_page(site, opened, photograph):
    from tools.browser import hosted

    engine = open_engine(str(next(site.glob("*/model.onnx"))), "auto", print)
    probs = engine.probs(engine.preprocessing.load(photograph)[None])[0]
    best = np.argsort(-probs)
    with hosted(site) as address:
        tab = opened(address)
        assert tab.title() == "animals"
        assert "5 classes (cat, dog, hen, owl, yak); sure from 70.0" in tab.inner_text("#about")
        assert "Pictures never leave this device" in tab.inner_text("#drop")
        assert "CC0-1.0" in tab.inner_text("#foot") and "works without a network" in tab.inner_text(
            "#foot"
        )
        before = len(tab.asked)
        said = choose(tab, "a.jpg", photograph)
        rows = tab.eval_on_selector_all(
            "article li",
            """rows => rows.map(row => [row.querySelector(".label").textContent,
            parseFloat(row.querySelector(".prob").textContent),
            100 * row.querySelector(".fill").offsetWidth / row.querySelector(".track").offsetWidth])""",
        )
        assert [label for label, *_ in rows] == [engine.labels[k] for k in best]
        for k, (_, share, width) in zip(best, rows, strict=True):
            assert share == pytest.approx(100 * probs[k], abs=0.06) and width == pytest.approx(
                share, abs=1
            )
        assert said.startswith("not sure, perhaps ") == (probs.max() < 0.7)
        assert [each.url for each in tab.asked[before:] if not each.url.startswith("blob:")] == []
        for each in tab.asked:
            assert each.method == "GET" and each.url.startswith((address, "blob:", "data:")), (
                each.url
            )
        assert tab.wrong == []


@pytest.mark.browser
def test_the_page_cannot_send_a_picture_elsewhere(site, opened):
    """By its policy, were there code that tried."""
    from tools.browser import hosted

    with hosted(site) as address, hosted(site) as elsewhere:
        tab = opened(address)
        send = "to => fetch(to, { method: 'POST', mode: 'no-cors' }).catch(() => 'no')"
        assert tab.evaluate(send, elsewhere) == "no"
        assert any("Content Security Policy" in line for line in tab.wrong)


@pytest.mark.browser
def test_it_works_when_the_host_is_gone(site, opened, photograph):
    from tools.browser import hosted

    with hosted(site) as address:
        tab = opened(address)
        said = choose(tab, "a.jpg", photograph)
    tab.goto("about:blank")
    tab.goto(address)
    tab.wait_for_selector("#about span")
    assert choose(tab, "a.jpg", photograph) == said
    assert tab.evaluate("crossOriginIsolated")


@pytest.mark.browser
def test_a_new_site_replaces_the_old_one(model, site, opened, tmp_path, photograph):
    """What has not changed is not loaded again."""
    from tools.browser import hosted

    mine, other = tmp_path / "site", tmp_path / "other"
    shutil.copytree(site, mine)
    shutil.copytree(model, other)
    config = json.loads((other / "config.json").read_text())
    config["labels"] = ["ape", "bat", "cow", "elk", "fox"]
    rewrite_config(other, json.dumps(config))
    with hosted(mine) as address:
        tab = opened(address)
        export(other, mine)
        before = len(tab.asked)
        tab.reload()
        tab.locator("#about", has_text="ape, bat").wait_for()
        loaded = {each.url.split("/")[-1] for each in tab.asked[before:] if each.service_worker}
        assert "model.json" in loaded and "ort-wasm-simd-threaded.wasm" not in loaded
        assert (
            choose(tab, "a.jpg", photograph).split(", ")[-2].removeprefix("perhaps ")
            in config["labels"]
        )


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("letter.jpg", b"Dear Sir or Madam", "is not an image (it holds text)"),
        ("nothing.png", b"", "is empty"),
        ("scan.tif", b"II*\0" + bytes(40), "holds TIFF, which this browser does not read"),
        (
            "phone.heic",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "holds HEIC, which this browser does not",
        ),
        ("cut.jpg", None, "is truncated or damaged (JPEG)"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_next_is_answered(
    site, opened, photograph, name, content, said
):
    from tools.browser import hosted

    large = dict(photographs())["large 420.jpg"]
    with hosted(site) as address:
        tab = opened(address)
        assert said in choose(tab, name, large[: len(large) // 2] if content is None else content)
        assert said in tab.inner_text("article .error")
        assert "%" in choose(tab, "a.jpg", photograph)


@pytest.mark.browser
def test_a_picture_like_no_class_is_told_so(site, opened):
    from tools.browser import hosted

    engine = open_engine(str(next(site.glob("*/model.onnx"))), "auto", print)
    content = next(
        content
        for _, content in photographs()
        if engine.answers(engine.preprocessing.load(content)[None])[0][1]
    )
    with hosted(site) as address:
        tab = opened(address)
        assert choose(tab, "odd", content).startswith("like none of the classes, perhaps ")
        assert tab.inner_text(".unsure") == "like none of the classes"


@pytest.mark.browser
def test_pictures_are_dropped_and_pasted(site, opened, photograph):
    from serving.test_page import COPY, DROP

    from tools.browser import hosted

    png = io.BytesIO()
    Image.open(io.BytesIO(photograph)).save(png, "PNG")
    with hosted(site) as address:
        tab = opened(address, permissions=["clipboard-read", "clipboard-write"])
        dropped = tab.evaluate_handle(DROP, ["b.jpg", "image/jpeg", text(photograph)])
        tab.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
        tab.wait_for_selector("article li")
        tab.evaluate(COPY, text(png.getvalue()))
        tab.keyboard.press("Control+V")
        tab.locator("article ol").nth(1).wait_for()
        shown = tab.locator("article ol").all_inner_texts()
        assert shown[0] == shown[1]


@pytest.mark.browser
def test_it_fits_a_phone_in_the_dark(site, opened, photograph):
    from tools.browser import hosted

    with hosted(site) as address:
        tab = opened(address, viewport=PHONE, color_scheme="dark", has_touch=True, is_mobile=True)
        choose(tab, "a" * 90 + ".jpg", photograph)
        assert tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        colour = tab.eval_on_selector("body", "b => getComputedStyle(b).backgroundColor")
        assert colour == "rgb(20, 24, 29)"


@pytest.mark.browser
def test_it_can_be_used_without_a_mouse(site, opened, photograph, tmp_path):
    from tools.browser import hosted

    (tmp_path / "a.jpg").write_bytes(photograph)
    with hosted(site) as address:
        tab = opened(address)
        with tab.expect_file_chooser() as chooser:  # caught from well before it is opened
            tab.keyboard.press("Tab")
            assert tab.evaluate("document.activeElement.id") == "file"
            tab.keyboard.press("Enter")
        chooser.value.set_files(tmp_path / "a.jpg")
        tab.wait_for_selector("article li")
        assert tab.get_attribute("#status", "aria-live") == "polite"
        assert "a.jpg: " in tab.inner_text("#status")


@pytest.mark.browser
def test_without_a_service_worker_it_answers_with_one_thread(site, opened, photograph):
    from tools.browser import hosted

    with hosted(site) as address:
        tab = opened(address, service_workers="block")
        assert "%" in choose(tab, "a.jpg", photograph)
        assert tab.inner_text("#foot").startswith("1 thread; not kept on this device")


@pytest.mark.browser
def test_int8_answers_in_the_browser_too(model, site, opened, tmp_path, photograph):
    from tools.browser import ask, hosted, open_worker

    for name, content in photographs():
        if name.endswith(".png"):
            (tmp_path / "set" / "cat").mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / "cat" / name).write_bytes(content)
    small = export(
        model, tmp_path / "site", precision="int8", calibrate=tmp_path / "set", max_drop=100
    )
    engine = open_engine(str(next(small.path.glob("*/model.onnx"))), "auto", print)
    assert (
        small.bytes < sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) - 10e6
    )
    with hosted(small.path) as address:
        tab = opened(address)
        open_worker(tab, address)
        answer = ask(tab, photograph)
    probs = engine.probs(engine.preprocessing.load(photograph)[None])[0]
    assert np.abs(np.array(answer["probs"]) - probs).max() < 0.01


@pytest.mark.browser
@needs_node
def test_the_file_alone_answers_in_three_lines_of_javascript(model, site, tmp_path, photograph):
    """Those of docs/browser.md, under node, with npm's package."""
    packed = web.cache_folder() / "web" / f"onnxruntime-web-{web.VERSION}.tgz"
    npm = shutil.which("npm")
    words = ["install", packed, "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    if npm is None or subprocess.run([npm, *words], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("npm cannot install onnxruntime-web")
    shutil.copy(next(site.glob("*/model.onnx")), tmp_path / "model.f32.onnx")
    engine = open_engine(str(tmp_path / "model.f32.onnx"), "auto", print)
    square = engine.preprocessing.load(photograph)
    document = (Path(__file__).parents[2] / "docs/browser.md").read_text()
    lines = document.split("```js\n")[1].split("```")[0].replace("224", str(SIZE))
    assert len(lines.splitlines()) == 3
    first, *rest = lines.splitlines()
    before = f'const pixels = Uint8Array.from(Buffer.from("{text(square.tobytes())}", "base64"));'
    after = "console.log(JSON.stringify(Array.from(logits.data)));"
    (tmp_path / "alone.mjs").write_text("\n".join([first, before, *rest, after]))
    done = subprocess.run([NODE, "alone.mjs"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logits = engine.logits(square[None])[0]
    np.testing.assert_allclose(
        json.loads(done.stdout), logits, rtol=1e-3, atol=1e-3 * abs(logits).max()
    )
