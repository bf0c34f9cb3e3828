"""A site: a folder for any static host, whose page answers pictures in the visitor's own browser.

The assets in `web/` do there what `images` does here: `pixels.js` resizes as Pillow does, bit for bit.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import inceptive
from inceptive.data.layout import hidden
from inceptive.engines import onnx as onnx_runtime
from inceptive.engines.classifier import Classifier
from inceptive.engines.open import file_name
from inceptive.engines.records import Record
from inceptive.errors import InceptiveError, readable, reason
from inceptive.exporting.calibration import ExportData
from inceptive.exporting.write import WEB, Say, write_export
from inceptive.io.atomic import write_bytes
from inceptive.io.downloads import offline
from inceptive.io.locks import lock
from inceptive.io.paths import cache_folder
from inceptive.metrics import choose_threshold

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
"""SHA-512 of its file on npm, in base64."""
RUNTIME = {
    "package/dist/ort.wasm.bundle.min.mjs": "ort.js",  # hosts know what .js is, not all .mjs
    "package/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
"""Its files that a site needs, and what they are called there."""
ASSETS = (
    "page.js",
    "style.css",
    "worker.js",
    "decode.js",
    "jpeg.js",
    "deep.js",
    "png.js",
    "pixels.js",
)
VERSIONED = {*ASSETS, *RUNTIME.values(), "model.onnx", "model.json", "licences.txt"}
"""The files of a version, which lie in a folder named after their content."""
LEFTOVER = re.compile(r"\..*\.part")
"""What a killed export leaves."""
MARK = b"// inceptive site"
CSP = "; ".join((
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    "connect-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "base-uri 'none'",
    "form-action 'none'",
))  # fmt: skip
"""Nothing is loaded from, or sent to, another host; no form is sent at all."""


def write_site(
    classifier: Classifier,
    folder: Path,
    precision: str,
    data: ExportData,
    max_drop: float,
    weights: str,
    say: Say,
) -> Record:
    """Write the site of `classifier` into `folder`, and return the record of its ONNX file's check.

    All but `index.html` and `sw.js` lie in a folder named after their content; those two are replaced
    last, and an earlier version is then removed: a visitor gets the old site or the new one. Raises
    InceptiveError if `folder` holds anything else, or ONNX Runtime Web cannot be had.
    """
    check_ready(folder)
    contents = {name: _asset(name) for name in ASSETS} | runtime()
    with tempfile.TemporaryDirectory(prefix="inceptive-") as scratch:
        record = write_export(
            classifier, Path(scratch), WEB, precision, data, max_drop, weights, say
        )
        contents["model.onnx"] = (Path(scratch) / file_name("onnx", precision)).read_bytes()
    contents["model.json"] = json.dumps(_description(classifier, precision)).encode()
    contents["licences.txt"] = _licences()
    version = _version(contents)
    with lock(folder / ".lock", wait=False):
        for name, content in contents.items():
            write_bytes(folder / version / name, content)
        page = _asset("index.html").replace(b"VERSION", version.encode())
        page = page.replace(b'content="CSP"', f'content="{CSP}"'.encode())
        cached = {f"{version}/{name}": value for name, value in contents.items()}
        del cached[f"{version}/licences.txt"]  # nobody waits for it
        write_bytes(folder / "sw.js", _service_worker({"index.html": page} | cached))
        write_bytes(folder / "index.html", page)
        for old in folder.iterdir():
            if old.is_dir() and old.name != version and _is_ours(old):
                shutil.rmtree(old, ignore_errors=True)
    return replace(record, file=".")


def check_ready(folder: Path) -> None:
    """Raise InceptiveError unless `folder` is empty, new, or holds a site, be it an unfinished one, and
    ONNX Runtime Web is in the cache or can be fetched into it."""
    _check_writable(folder)
    if not _package().exists():
        _fetch(_package())


def _check_writable(folder: Path) -> None:
    try:
        others = [
            path.name for path in folder.iterdir() if not (_is_ours(path) or hidden(path.name))
        ]
        service_worker = folder / "sw.js"
        ours = service_worker.is_file() and service_worker.read_bytes().startswith(MARK)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InceptiveError(f"{folder}: cannot be written ({reason(error)})") from None
    known = {"index.html", "sw.js"} if ours else set()
    if others := [name for name in others if name not in known]:
        raise InceptiveError(
            f"{folder}: holds {min(others)}, which is no part of a site written here; name a new folder "
            "(out)"
        )


def _is_ours(path: Path) -> bool:
    """Whether a file or folder is left of an earlier version, or of a killed one."""
    if path.is_dir() and not path.is_symlink():
        known = (each.name in VERSIONED or LEFTOVER.fullmatch(each.name) for each in path.iterdir())
        return bool(re.fullmatch(r"[0-9a-f]{12}", path.name)) and all(known)
    return path.name == ".lock" or bool(LEFTOVER.fullmatch(path.name))


def runtime() -> dict[str, bytes]:
    """The files of ONNX Runtime Web that a site needs, by name.

    They come from npm's package, which `npm pack` puts into the cache once, or a person by hand.
    Raises InceptiveError, saying what to do, if it is not there or not the one expected.
    """
    path = _package()
    if not path.exists():
        _fetch(path)
    with readable(path):
        content = path.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != INTEGRITY:
        raise InceptiveError(
            f"{path}: is not {PACKAGE} {VERSION} as published; remove it, and it is fetched again"
        )
    with tarfile.open(path) as archive:
        return {
            name: file.read()
            for member, name in RUNTIME.items()
            if (file := archive.extractfile(member))
        }


def _package() -> Path:
    return cache_folder() / "web" / f"{PACKAGE}-{VERSION}.tgz"


def _fetch(path: Path) -> None:
    by_hand = f"run `npm pack {PACKAGE}@{VERSION}` anywhere and put the file at {path}"
    if variable := offline():
        raise InceptiveError(f"{PACKAGE} is not downloaded, because {variable} is set; {by_hand}")
    npm = shutil.which("npm")
    if npm is None:
        raise InceptiveError(
            f"a site needs {PACKAGE}, which npm fetches, and there is no npm; {by_hand}"
        )
    with tempfile.TemporaryDirectory(prefix="inceptive-") as scratch:
        done = subprocess.run(
            [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--pack-destination", scratch],
            capture_output=True, text=True, errors="replace", cwd=scratch,
        )  # fmt: skip
        packed = Path(scratch) / path.name
        if done.returncode or not packed.exists():
            lines = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
            why = f" ({lines[0].removeprefix('npm error ')})" if lines else ""
            raise InceptiveError(f"npm cannot fetch {PACKAGE} {VERSION}{why}; {by_hand}")
        write_bytes(path, packed.read_bytes())


def _description(classifier: Classifier, precision: str) -> dict[str, Any]:
    """What the page needs to know beside the file: `model.json`."""
    net, path = classifier.model.net, classifier.path
    name = path.parent.resolve().name if path else net.name
    sure_from, accuracy, count = choose_threshold(name, classifier.thresholds, None)
    published = classifier.info.get("published", {})
    return {
        "inceptive": inceptive.__version__,
        "name": name,
        "net": net.name,
        "precision": precision,
        "labels": list(classifier.labels),
        "preprocessing": classifier.preprocessing.to_dict(),
        "temperature": classifier.temperature,
        "sure_from": sure_from,
        "accuracy_when_sure": accuracy,
        "sure_count": count,
        "licence": classifier.data.get("licence") or published.get("licence") or "",
    }


def _licences() -> bytes:
    """ONNX Runtime's licence and notices, as its Python package has them: npm's has neither."""
    texts = [f"This site runs ONNX Runtime Web {VERSION}, under the MIT licence:\n"]
    package = Path(onnx_runtime.package().__file__).parent
    for name in ("LICENSE", "ThirdPartyNotices.txt"):
        if (file := package / name).is_file():
            texts.append(file.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(texts).encode()


def _asset(name: str) -> bytes:
    return files("inceptive.exporting").joinpath("web", name).read_bytes()


def _version(contents: Mapping[str, bytes]) -> str:
    digests = [
        f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in contents.items()
    ]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:12]


def _service_worker(contents: Mapping[str, bytes]) -> bytes:
    """`sw.js` with the digest and the size of each file that it keeps."""
    listed = {
        path: [hashlib.sha256(content).hexdigest(), len(content)]
        for path, content in contents.items()
    }
    text = _asset("sw.js").decode()
    text = text.replace("const FILES = {};", f"const FILES = {json.dumps(listed)};")
    return text.replace('CSP = "";', f"CSP = {json.dumps(CSP)};").encode()
