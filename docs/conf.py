"""The site: the book in tutorial/, executed, and the documents in docs/. Built by `make docs`.

Nothing in it is loaded from another host: formulas become MathML while the site is built, fonts are
the reader's own, and a page that would fetch anything from elsewhere fails the build.
"""

import hashlib
import re
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def _code() -> str:
    """Changes with any line of the package or of the book's own module: what the cells execute."""
    found = hashlib.sha256()
    for path in sorted([*ROOT.glob("inceptive/**/*.*"), *ROOT.glob("tutorial/*.py")]):
        if path.suffix in (".py", ".toml"):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


project = "inceptive"
extensions = ["myst_nb"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "tutorial/**.md"]
exclude_patterns = [".*", "build", "dist", "runs", "inceptive", "tests", "tools", "benchmarks"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# A cell that fails fails the build. Results are kept until a cell, or the code under it, changes.
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "notebooks" / _code())
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds for one cell, on a busy machine too
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_merge_streams = True
nb_render_markdown_format = "myst"  # what a cell answers may be a table
nb_code_prompt_show = nb_code_prompt_hide = "Code"

html_theme = "furo"
html_title = "inceptive"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_extra_path = ["root"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_math_renderer = "mathml"


def setup(app: Any) -> None:
    app.connect("builder-inited", _generated)
    app.connect("source-read", _run_this_page)
    # A pair: what opens the node, and what closes it, which is nothing.
    app.add_html_math_renderer("mathml", (_formula, None), (_formulas, None))
    app.connect("build-finished", _accessible)
    app.connect("build-finished", _nothing_from_elsewhere)


def _generated(app: Any) -> None:
    """The reference, from the code; and each chapter as a notebook with what its cells import."""
    import runpy

    folder = ROOT / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    for name, text in runpy.run_path(str(ROOT / "docs/reference.py"))["pages"]().items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # else it is read anew
            path.write_text(text, encoding="utf-8")
    for path in CHAPTERS:
        target = Path(app.outdir) / "notebooks" / f"{path.stem}.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{path.stem}.ipynb", notebook(path.read_text(encoding="utf-8")))
            for module in sorted(path.parent.glob("*.py")):
                archive.write(module, module.name)


CHAPTERS = sorted([*(ROOT / "tutorial").glob("[0-9]_*.md"), ROOT / "tutorial/errata.md"])
GLUED = re.compile(r"\{glue:text\}`(\w+)[^`]*`")


def notebook(text: str) -> str:
    """A chapter as a Jupyter notebook; a number that the page sets into a sentence is named there."""
    import nbformat
    from myst_nb.core.read import read_myst_markdown_notebook

    read = read_myst_markdown_notebook(GLUED.sub(r"`\1`", text))
    for cell in read.cells:
        if cell.cell_type == "code":  # options of the page, which no notebook knows
            cell.source = re.sub(r"\A(?::[^\n]*\n)+", "", cell.source)
    return nbformat.writes(read)


def _run_this_page(app: Any, name: str, source: list[str]) -> None:
    """A link to the notebook below the title of a chapter."""
    stem = name.rpartition("/")[2]
    if name.startswith("tutorial/") and any(path.stem == stem for path in CHAPTERS):
        link = (
            f'<p class="run"><a download href="../notebooks/{stem}.zip">Run this page</a>: a Jupyter '
            'notebook (<a href="../docs/running.html">how</a>).</p>'
        )
        source[0] = re.sub(r"^# .*$", lambda m: f"{m[0]}\n\n{link}", source[0], count=1, flags=re.M)


def _formula(self: Any, node: Any) -> None:
    """A formula within a line."""
    from docutils import nodes

    self.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _formulas(self: Any, node: Any) -> None:
    """A formula, or several lines of them, on its own."""
    from docutils import nodes

    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    self.body.append(self.starttag(node, "div", CLASS="math") + number)
    self.body.append(_mathml(node, as_block=True) + "</div>\n")
    raise nodes.SkipNode


def _mathml(node: Any, as_block: bool) -> str:
    from docutils.utils.math import MathError, latex2mathml
    from sphinx.util import logging

    tex = node.astext()
    if r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    try:
        return str(latex2mathml.tex2mathml(tex, as_block))
    except MathError as error:
        logging.getLogger(__name__).warning("formula: %s", error, location=node)
        return tex


ACCESS = {
    # The theme's captions are headings of no level, and two of its landmarks have no name.
    r'role="heading"(?! aria-level)': r'role="heading" aria-level="2"',
    r'<aside class="sidebar-drawer"(?! aria)': r'<aside class="sidebar-drawer" aria-label="Pages"',
    r'<aside class="(toc-drawer[^"]*)"(?! aria)': r'<aside class="\1" aria-label="On this page"',
    # What scrolls can be reached by the keyboard.
    r'(<div class="output[^>]*>\s*<div class="highlight">)<pre>': r'\1<pre tabindex="0">',
    r'<div class="(table-wrapper[^"]*|math-wrapper[^"]*|math)"(?! tab)': r'<div class="\1" tabindex="0"',
    # A fold is called what stands on it, and an empty cell is no header.
    r'<summary aria-label="[^"]*">': r"<summary>",
    r'<th class="head([^"]*)">(?:<p></p>)?</th>': r'<td class="head\1"></td>',
}
"""What the theme and the extensions leave undone for who reads by ear or by keyboard."""


def _accessible(app: Any, failure: Exception | None) -> None:
    if failure is None and app.builder.format == "html":
        for path in sorted(Path(app.outdir).rglob("*.html")):
            text = before = path.read_text(encoding="utf-8")
            for pattern, instead in ACCESS.items():
                text = re.sub(pattern, instead, text)
            if text != before:
                path.write_text(text, encoding="utf-8")


def _nothing_from_elsewhere(app: Any, failure: Exception | None) -> None:
    from sphinx.errors import SphinxError

    if failure is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*")):
        if path.suffix in (".html", ".css", ".js", ".svg"):
            for address in foreign(path.read_text(encoding="utf-8"), path.suffix):
                raise SphinxError(f"{path.relative_to(app.outdir)} loads {address}")


FOREIGN = re.compile(r"(?:https?:)?//[\w-]", re.IGNORECASE)
FETCHED = {("script", "src"), ("img", "src"), ("img", "srcset"), ("source", "src"),
           ("source", "srcset"), ("iframe", "src"), ("embed", "src"), ("object", "data"),
           ("video", "src"), ("audio", "src"), ("image", "href"), ("use", "href"),
           ("link", "href")}  # fmt: skip
IN_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)
IN_JS = re.compile(
    r"(?:\bimport\b|\bfetch|importScripts|\.src\s*=|\.href\s*=|\.open|sendBeacon)\s*\(?\s*"
    r"(?:[\"'`]\w+[\"'`]\s*,\s*)?[\"'`]((?:https?:)?//[^\"'`]+)",
    re.IGNORECASE,
)


def foreign(text: str, suffix: str) -> Iterator[str]:
    """Addresses on other hosts that a file of the site loads; links for the reader are none."""
    if suffix in (".css", ".js"):
        yield from (IN_CSS if suffix == ".css" else IN_JS).findall(text)
        return
    page = _Page()
    page.feed(text)
    yield from page.found


class _Page(HTMLParser):
    """What a page of HTML, or a drawing, loads from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag if tag in ("script", "style") else ""
        for name, value in attrs:
            name = name.removeprefix("xlink:")
            if (tag, name) in FETCHED and FOREIGN.match((value or "").strip()):
                self.found.append(value or "")
            if name == "style":
                self.found += IN_CSS.findall(value or "")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found += (IN_JS if self._inside == "script" else IN_CSS).findall(data)
