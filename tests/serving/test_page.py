"""The page of `inceptive serve` in a real browser: photographs dropped, pasted and chosen."""

import base64
import importlib.util
import io
import shutil

import numpy as np
import pytest
from conftest import command, logo, rewrite_config, serving
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDED = ("fastapi", "uvicorn", "multipart", "captum", "matplotlib", "playwright", "sklearn")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or not all(map(importlib.util.find_spec, NEEDED)),
        reason="Chromium, playwright or an extra is not installed",
    ),
]
RECIPE = """
net = "googlenet.bn"
image_size = 64
epochs = 6
batch_size = 16
seed = 1
[optimizer]
lr = 0.005
[schedule]
kind = "linear"
"""
PHONE = {"width": 390, "height": 844}
DROP = """([name, type, content]) => {
  const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0)), given = new DataTransfer();
  given.items.add(new File([bytes], name, { type }));
  return given; }"""
COPY = """async content => {
  const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0)), type = "image/png";
  await navigator.clipboard.write([new ClipboardItem({ [type]: new Blob([bytes], { type }) })]); }"""


@pytest.fixture(scope="module")
def photographs():
    """Two real photographs, by name, as JPEG."""
    from sklearn.datasets import load_sample_images

    found = {}
    for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", quality=90)
        found[name] = content.getvalue()
    return found


@pytest.fixture(scope="module")
def model(photographs, tmp_path_factory):
    """A model that has learned to tell pieces of one photograph from pieces of the other."""
    root, rng = tmp_path_factory.mktemp("page"), np.random.default_rng(0)
    for name, content in photographs.items():
        (root / "data" / name).mkdir(parents=True)
        image = Image.open(io.BytesIO(content))
        for number in range(60):
            side = int(rng.integers(120, 420))
            left, top = (int(rng.integers(0, edge - side + 1)) for edge in image.size)
            piece = image.crop((left, top, left + side, top + side)).resize((80, 80))
            piece.save(root / "data" / name / f"{number:02}.png")
    (root / "recipe.toml").write_text(RECIPE)
    done = command(
        "train", root / "data", "--recipe", root / "recipe.toml", "--out", root / "photographs"
    )
    assert done.returncode == 0, done.stderr
    return root / "photographs"


@pytest.fixture(scope="module")
def address(model):
    with serving(model, "--max-mib", 1) as (port, _):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    switches = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-background-networking",
    ]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser):
    """Opens an address in a tab of its own; what goes wrong there is remembered in `tab.wrong`."""
    tabs = []

    def open_tab(address, **how):
        context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}} | how)
        tab = context.new_page()
        tab.wrong = []
        tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
        tab.on("requestfailed", lambda request: tab.wrong.append(request.url))
        tab.goto(address)
        tab.wait_for_selector("#about span")
        tabs.append(context)
        return tab

    yield open_tab
    for context in tabs:
        context.close()


def drop(tab, name, kind, content):
    given = tab.evaluate_handle(DROP, [name, kind, base64.b64encode(content).decode()])
    tab.dispatch_event("#drop", "drop", {"dataTransfer": given})


def bars(tab, count):
    """Wait for so many."""
    tab.locator("li .fill").nth(count - 1).wait_for(state="attached")


def answers(tab):
    """(label, per cent, width of the bar in per cent) of the first answer."""
    bars(tab, 2)
    return tab.eval_on_selector_all(
        "article:first-of-type li",
        """rows => rows.map(row => [row.querySelector("button").textContent,
            parseFloat(row.querySelector(".prob").textContent),
            100 * row.querySelector(".fill").offsetWidth / row.querySelector(".track").offsetWidth])""",
    )


def size_of(tab, selector):
    tab.wait_for_selector(selector)
    tab.wait_for_function("asked => document.querySelector(asked).naturalWidth > 0", arg=selector)
    return tab.eval_on_selector(selector, "one => [one.naturalWidth, one.naturalHeight]")


@pytest.mark.parametrize("name", ["china", "flower"])
def test_a_photograph_dropped_is_answered_with_bars_and_heat(opened, address, photographs, name):
    tab = opened(address)
    drop(tab, f"{name}.jpg", "image/jpeg", photographs[name])
    first, second = answers(tab)
    assert (
        first[0] == name and first[1] > 50 and first[1] + second[1] == pytest.approx(100, abs=0.2)
    )
    for _, percent, width in (first, second):
        assert width == pytest.approx(percent, abs=1)
    assert tab.inner_text("#status").startswith(f"{name}.jpg: ")
    tab.get_by_role("button", name="china").click()
    assert size_of(tab, "img.heat") == [256, 256]
    assert tab.get_by_role("img", name="what speaks for china").is_visible()
    assert tab.wrong == []


def test_maps_of_a_chosen_layer(opened, address, photographs):
    tab = opened(address)
    drop(tab, "flower.jpg", "image/jpeg", photographs["flower"])
    tab.get_by_label("maps of").select_option("inception_3a")
    tab.get_by_role("button", name="show").click()
    wide, high = size_of(tab, "img.features")
    assert wide > 300 and high > 300
    assert tab.get_by_role("img", name="the strongest maps of inception_3a").is_visible()


def test_a_broken_file_is_told_to_a_person_and_the_next_is_answered(opened, address, photographs):
    tab = opened(address)
    for name, content, said in (
        ("broken.jpg", photographs["china"][:2000], "broken.jpg"),
        ("letter.jpg", b"Dear Sir or Madam", "letter.jpg: is not an image (it holds text)"),
        ("huge.png", b"\x89PNG" + bytes(2 * 2**20), "at most 1 MiB"),
    ):
        drop(tab, name, "image/jpeg", content)
        tab.wait_for_function("said => document.querySelector('#status').textContent.includes(said)",
                              arg=said)  # fmt: skip
        assert said in tab.locator("article:first-of-type .error").first.inner_text()
    drop(tab, "china.jpg", "image/jpeg", photographs["china"])
    assert answers(tab)[0][0] == "china"


def test_what_is_odd_about_an_image_stands_over_its_answer(opened, address):
    tab = opened(address)
    logo(content := io.BytesIO())
    drop(tab, "logo.png", "image/png", content.getvalue())
    answers(tab)
    assert "note: the picture comes out in one flat colour" in tab.inner_text("article")
    assert tab.wrong == []


def test_several_are_chosen_at_once_and_stand_in_their_order(
    opened, address, photographs, tmp_path
):
    for name, content in photographs.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
    tab = opened(address)
    tab.set_input_files("#file", [tmp_path / "flower.jpg", tmp_path / "china.jpg"])
    bars(tab, 4)
    assert tab.locator("h2").all_inner_texts() == ["flower.jpg", "china.jpg"]


def test_an_image_is_pasted_from_the_clipboard(opened, address, photographs):
    tab = opened(address, permissions=["clipboard-read", "clipboard-write"])
    content = io.BytesIO()
    Image.open(io.BytesIO(photographs["flower"])).save(content, "PNG")
    tab.evaluate(COPY, base64.b64encode(content.getvalue()).decode())
    tab.keyboard.press("Control+V")
    assert answers(tab)[0][0] == "flower"


def test_it_fits_a_phone_in_the_dark(opened, address, photographs):
    tab = opened(address, viewport=PHONE, color_scheme="dark", has_touch=True, is_mobile=True)
    drop(tab, "a" * 90 + ".jpg", "image/jpeg", photographs["china"])
    answers(tab)
    tab.get_by_role("button", name="china").tap()
    size_of(tab, "img.heat")
    assert tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert (
        tab.eval_on_selector("body", "b => getComputedStyle(b).backgroundColor")
        == "rgb(20, 24, 29)"
    )


def test_it_can_be_used_without_a_mouse(opened, address, photographs):
    tab = opened(address)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "file"
    drop(tab, "china.jpg", "image/jpeg", photographs["china"])
    answers(tab)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "china"
    tab.keyboard.press("Enter")
    size_of(tab, "img.heat")


def test_a_second_model_answers_beside_the_first(opened, model, photographs, tmp_path):
    """The same model, told that it was never right enough: it is not sure of anything."""
    import json

    other = shutil.copytree(model, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["metrics"]["thresholds"] = [
        {"target": 0.95, "threshold": 1.01, "count": 0, "share": 0, "accuracy": 1.0}
    ]
    config["labels"] = ["pagoda", "dahlia"]
    rewrite_config(other, json.dumps(config))
    with serving(model, other) as (port, _):
        tab = opened(f"http://127.0.0.1:{port}/")
        drop(tab, "flower.jpg", "image/jpeg", photographs["flower"])
        bars(tab, 4)
        places = tab.locator("article .models section")
        assert [one.get_attribute("aria-label") for one in places.all()] == ["photographs", "other"]
        assert places.nth(0).locator("li button").first.inner_text() == "flower"
        assert places.nth(1).locator("li button").first.inner_text() == "dahlia"
        assert places.nth(1).locator(".unsure").inner_text() == "not sure"
        places.nth(1).get_by_role("button", name="dahlia").click()
        size_of(tab, "img.heat")
        assert "other: not sure, perhaps dahlia" in tab.inner_text("#status")


def test_who_has_no_token_is_told_so(opened, browser, model):
    with serving(model, "--token", "secret") as (port, _):
        tab = browser.new_page()
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_selector("#about .error")
        assert "the token is missing or wrong" in tab.inner_text("#about")
        tab.goto(f"http://127.0.0.1:{port}/#token=secret")
        tab.reload()
        tab.wait_for_selector("#about span")
        tab.close()
