"""What a site of `inceptive export --to web` answers in Chromium beside `inceptive predict`, how fast.

    python tools/browser.py SITE PHOTOS    a folder of photographs, or files

Prints how far squares and probabilities are apart, whether the first answers are the same, and the
median milliseconds of one photograph after loading, with threads and without. Needs Debian's chromium.
"""

import base64
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from inceptive.engines.open import open_engine
from inceptive.images.decoding import SUFFIXES
from inceptive.io.cores import machine

SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
WORKER = """async name => {
  const worker = new Worker(name, { type: "module" });
  const answer = message => new Promise(done => {
    worker.onmessage = ({ data }) => done(data);
    worker.postMessage(message); });
  window.asked = async content => {
    const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
    const found = await answer({ id: 2, file: new Blob([bytes]), keep: true });
    if (found.square) {
      let text = "";
      for (const byte of found.square) text += String.fromCharCode(byte);
      found.square = btoa(text);
    }
    return found;
  };
  return (await answer({ id: 1 })).threads;
}"""


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The address of `folder` as `python -m http.server` shows it."""
    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=host.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{host.server_port}/"
    finally:
        host.shutdown()
        host.server_close()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """A static host that keeps no log."""

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def chromium() -> Iterator[Any]:
    """The machine's own Chromium, as playwright's Browser."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield opened
        opened.close()


def open_worker(tab: Any, address: str) -> int:
    """Open the site at `address` and a worker of its own beside the page's: how many threads it has."""
    tab.goto(address)
    tab.wait_for_selector("#about span", timeout=120_000)
    version = tab.get_attribute("script", "src").split("/")[0]
    return int(tab.evaluate(WORKER, f"{version}/worker.js"))


def ask(tab: Any, content: bytes) -> dict[str, Any]:
    """What that worker says of a file: probs, novel, ms, square (uint8), or error."""
    found: dict[str, Any] = tab.evaluate(
        "content => asked(content)", base64.b64encode(content).decode()
    )
    if found.get("square"):
        found["square"] = np.frombuffer(base64.b64decode(found["square"]), np.uint8)
    return found


def main(site: Path, photographs: list[Path]) -> None:
    model = next(site.glob("*/model.onnx"))
    engine = open_engine(str(model), "auto", print)
    threads, alone = [], []
    apart, levels, means, same = [], [], [], 0
    with chromium() as browser, hosted(site) as address:
        for services, times in (("allow", threads), ("block", alone)):
            tab = browser.new_context(service_workers=services).new_page()
            count = open_worker(tab, address)
            for path in photographs:
                found = ask(tab, path.read_bytes())
                if "error" in found:
                    print(f"{path}: {found['error']}")
                    continue
                times.append([found["ms"]["pixels"], found["ms"]["net"]])
                if times is alone:
                    continue
                square = engine.preprocessing.load(path)
                probs = engine.probs(square[None])[0]
                off = np.abs(found["square"].reshape(square.shape).astype(int) - square)
                levels.append(off.max())
                means.append(off.mean())
                apart.append(np.abs(probs - found["probs"]).max())
                same += int(probs.argmax() == np.argmax(found["probs"]))
                if apart[-1] > 0.01:
                    print(f"{path}: {apart[-1]:.4f} apart, levels {off.max()}, {off.mean():.2f}")
            print(f"{count} threads: median ms to read {median(t[0] for t in times):.0f}, "
                  f"in the net {median(t[1] for t in times):.0f}")  # fmt: skip
            tab.context.close()
    result = {
        "photographs": len(apart), "same_answer": same,
        "probs_apart": float(np.max(apart)), "probs_apart_mean": float(np.mean(apart)),
        "over_0.01": int(np.sum(np.array(apart) > 0.01)),
        "levels_apart": int(np.max(levels)), "levels_apart_mean": float(np.mean(means)),
        "equal_squares": int(np.sum(np.array(levels) == 0)), "machine": machine(),
    }  # fmt: skip
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[2:]]
    files = [
        path
        for each in given
        for path in (sorted(each.rglob("*")) if each.is_dir() else [each])
        if path.suffix.lower() in SUFFIXES
    ]
    main(Path(sys.argv[1]), files)
