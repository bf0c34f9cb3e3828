"""The pictures of docs/page.md, of models trained here: `make screenshots`.

Needs Debian's packages chromium and tuxpaint-stamps-default, and inception_v3.nsfwjs
(docs/weights.md). The models learn from Tux Paint's stamps and scikit-learn's digits, about five minutes
on two cores, into build/screenshots, and are kept there; the photograph on the page is scikit-learn's.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from sklearn.datasets import load_sample_images

ROOT = Path(__file__).parents[1]
MADE, OUT = Path("build/screenshots"), Path("docs/page")  # below ROOT: pictures show no other path
STAMPS = Path("/usr/share/tuxpaint/stamps")
CLASSES = {
    "bird": "animals/birds",
    "flower": "plants/flowers",
    "fruit": "food/fruit",
    "mammal": "animals/mammals",
    "vegetable": "food/vegetables",
    "vehicle": "vehicles",
}
SPLIT = ["data.val=0.2", "data.test=0"]
FINE = [
    *("image_size=192", "epochs=16", "batch_size=16", "optimizer.kind=adamw", "optimizer.lr=0.001"),
    *("optimizer.weight_decay=0.05", "finetune.freeze=mixed_6b", "finetune.batch_norm=frozen"),
    *("finetune.lr_scale=0.5", "ema.decay=0.95", "finetune.probe=false", "finetune.views=0"),
    "stop.minutes=0",
]
QUALITY = 82
COMMAND = [str(Path(sys.executable).with_name("inceptive"))]


def main() -> None:
    os.chdir(ROOT)
    MADE.mkdir(parents=True, exist_ok=True)
    OUT.mkdir(exist_ok=True)
    stamps = gathered()
    fine = trained("fine-tuned", stamps, [*SPLIT, *FINE], "--weights", "inception_v3.nsfwjs")
    sets = [*SPLIT, "image_size=96", "epochs=40"]
    scratch = trained("from scratch", stamps, sets, "--weights", "none")
    digits = trained("digits", "digits", [])
    photo = MADE / "dahlia.jpg"
    Image.fromarray(load_sample_images().images[1]).save(photo, quality=92)
    with browser() as chromium, served(fine, scratch) as address:
        page = chromium.new_page(viewport={"width": 1000, "height": 700})
        ask(page, address, photo)
        sections = page.locator("article section")
        look(sections.nth(0).locator("li button").first, page, "img.heat")
        sections.nth(1).get_by_label("maps of").select_option("inception_3a")
        look(sections.nth(1).get_by_role("button", name="show"), page, "img.features")
        keep(page, "desktop.jpg")
    with browser() as chromium, served(fine) as address:
        how = {"viewport": {"width": 390, "height": 700}, "color_scheme": "dark"}
        page = chromium.new_page(**how, device_scale_factor=2)
        ask(page, address, photo)
        look(page.locator("li button").first, page, "img.heat")
        keep(page, "phone.jpg")
        page = chromium.new_page(viewport={"width": 1000, "height": 1400})
        page.goto((digits / "report.html").resolve().as_uri())
        keep(page, "report.jpg", full_page=False)
        page.locator("section[aria-labelledby=sure]").screenshot(
            path=OUT / "trust.jpg", type="jpeg", quality=QUALITY
        )


def gathered() -> Path:
    """Stamps as class folders, without the cartoons."""
    if not STAMPS.is_dir():
        sys.exit(f"{STAMPS}: is not there; apt install tuxpaint-stamps-default")
    for name, at in CLASSES.items():
        (MADE / "stamps" / name).mkdir(parents=True, exist_ok=True)
        for file in (STAMPS / at).rglob("*.png"):
            if "cartoon" not in file.parts:
                shutil.copy(file, MADE / "stamps" / name)
    return MADE / "stamps"


def trained(name: str, data: str | Path, changes: list[str], *words: str) -> Path:
    """The model folder of that name; trained if it is not there."""
    out = MADE / name
    if not (out / "report.html").exists():
        shutil.rmtree(out, ignore_errors=True)
        sets = [word for one in changes for word in ("--set", one)]
        subprocess.run([*COMMAND, "train", data, "--out", out, *words, *sets], check=True)
    return out


@contextmanager
def served(*models: Path) -> Iterator[str]:
    """The address where the models are served for as long as the block."""
    process = subprocess.Popen(
        [*COMMAND, "serve", *models, "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    try:
        for line in process.stderr:
            if "listening on " in line:
                yield line.partition("listening on ")[2].partition(";")[0]
                return
        sys.exit("the server did not start")
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=switches)
        yield opened
        opened.close()


def ask(page: Any, address: str, photo: Path) -> None:
    page.goto(address)
    page.wait_for_selector("#about span")
    page.set_input_files("#file", photo)
    models = page.locator("#about span").count()
    for place in page.locator("article section").all()[:models]:
        place.locator("li .fill").first.wait_for(state="attached")


def look(button: Any, page: Any, picture: str) -> None:
    button.click()
    page.wait_for_selector(picture)


def keep(page: Any, name: str, full_page: bool = True) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=OUT / name, type="jpeg", quality=QUALITY, full_page=full_page)
    print(OUT / name)


if __name__ == "__main__":
    main()
