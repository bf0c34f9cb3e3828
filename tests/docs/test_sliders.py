"""The widths that a reader moves, in a real browser, count as the library does."""

import random
import shutil
import sys
from pathlib import Path

import pytest

from inceptive.arch.account import account
from inceptive.arch.spec import Chain, Concat, Conv, MaxPool

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("IPython")
pytest.importorskip("matplotlib")
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def table():
    sys.path.insert(0, str(Path(__file__).parents[2] / "tutorial"))
    try:
        import page
    finally:
        sys.path.pop(0)
    return page.sliders().data


def cost(one, reduce3, three, reduce5, five, proj):
    module = Concat(
        b1x1=Conv(one, 1),
        b3x3=Chain(reduce=Conv(reduce3, 1), conv=Conv(three, 3)),
        b5x5=Chain(reduce=Conv(reduce5, 1), conv=Conv(five, 5)),
        pool=Chain(pool=MaxPool(3), proj=Conv(proj, 1)),
    )
    made = account(Chain(module=module), 28, 192)
    return [f"{value:,}" for value in (made.body[-1].view.shape[0], made.params, made.macs)]


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("scripts", [True, False])
def test_what_is_moved_is_counted(table, scripts):
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(java_script_enabled=scripts).new_page()
        page.set_content(table)
        assert page.locator("td.sum").all_inner_texts() == cost(64, 96, 128, 16, 32, 32)
        assert page.locator("input").count() == (6 if scripts else 0)
        draw = random.Random(0)
        for _ in range(3 if scripts else 0):
            widths = [draw.randint(1, 256) for _ in range(6)]
            for slider, width in zip(page.locator("input").all(), widths, strict=True):
                slider.fill(str(width))
            assert page.locator("td.sum").all_inner_texts() == cost(*widths)
        browser.close()
