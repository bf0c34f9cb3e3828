"""The widths that a reader moves, in a real browser, count as the library does."""

import random
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("IPython")
pytest.importorskip("matplotlib")
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def book():
    """The book's own module, which stands outside the package."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tutorial"))
    try:
        import page
    finally:
        sys.path.pop(0)
    return page


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("scripts", [True, False])
def test_what_is_moved_is_counted(book, scripts):
    def costs(*widths):
        return [f"{value:,}" for value in book.module_costs(*widths).values()]

    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(java_script_enabled=scripts).new_page()
        page.set_content(book.sliders().data)
        assert page.locator("td.sum").all_inner_texts() == costs(64, 96, 128, 16, 32, 32)
        assert page.locator("input").count() == (6 if scripts else 0)
        draw = random.Random(0)
        for _ in range(3 if scripts else 0):
            widths = [draw.randint(1, 256) for _ in range(6)]
            for slider, width in zip(page.locator("input").all(), widths, strict=True):
                slider.fill(str(width))
            assert page.locator("td.sum").all_inner_texts() == costs(*widths)
        browser.close()
