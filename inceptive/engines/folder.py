"""A model folder on disk: `model.safetensors` holds the model, its weights and the config that describes
them, so one rename replaces both. `config.json` next to it is a copy for people and other tools.

Where the two disagree, the weights file wins. Folders written until 0.1 have their config only in
`config.json`, and can still be read.
"""

import hashlib
import io
import json
import logging
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from inceptive.arch.spec import Net
from inceptive.engines import header
from inceptive.engines.header import CONFIG as CONFIG
from inceptive.engines.header import WEIGHTS as WEIGHTS
from inceptive.engines.header import folder_of as folder_of
from inceptive.errors import InceptiveError, reason
from inceptive.io.atomic import as_json, atomic_write, write_text
from inceptive.nn import Model, build
from inceptive.weights.load import listed

CARD = "README.md"
HASH = "weights"
"""The SHA-256 of the weights file without the config in it: a safetensors file has no checksum."""
log = logging.getLogger("inceptive")


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the config of a model folder and its tensors.

    Raises InceptiveError, naming the file, if one is missing, damaged, or from another model.
    """
    path = folder / WEIGHTS
    try:
        with open(path, "rb") as file:
            text, start = header.read(file)
            digest = header.digest(file, start)
            file.seek(0)
            content = file.read()
    except OSError as error:
        read_config(folder)  # where that is missing, it is no model folder at all
        raise _unreadable(path, error) from None
    config = _config(folder, text)
    if config.get(HASH, digest) != digest:
        raise InceptiveError(
            f"{path}: is damaged (its SHA-256 differs)"
            if text
            else f"{path}: is damaged, or not the file that {CONFIG} was written for (its SHA-256 "
            f'differs); if you changed it yourself, remove "{HASH}" from {CONFIG}'
        )
    return config, _tensors(path, content)


def write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], card: str) -> None:
    """Write or replace a model folder; a kill at any moment leaves the old or the new one intact."""
    _write(folder, config, safetensors.torch.save(tensors, {"format": "pt"}))
    write_text(folder / CARD, card)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Replace only the config: the weights are unchanged."""
    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    _tensors(path, content)  # refuses what is damaged
    _write(folder, config, content)


def _write(folder: Path, config: dict[str, Any], content: bytes) -> None:
    """What is long comes last, so that the rest stays readable."""
    old = io.BytesIO(content)
    _, start = header.read(old)
    tensors = memoryview(content)[old.tell() :]
    _, start = header.read(io.BytesIO(header.insert("", start)))  # as it will be read
    digest = hashlib.sha256(start)
    digest.update(tensors)
    rest = {key: value for key, value in config.items() if key not in ("data", "novelty", "net")}
    rest[HASH] = digest.hexdigest()
    rest |= {key: config[key] for key in ("data", "novelty") if key in config}
    net = json.dumps(config["net"], ensure_ascii=False)
    text = f'{as_json(rest).removesuffix("}").rstrip()},\n  "net": {net}\n}}\n'
    text = text.encode(errors="backslashreplace").decode()  # JSON's own escapes
    with atomic_write(folder / WEIGHTS) as file:
        file.write(header.insert(text, start))
        file.write(tensors)
    write_text(folder / CONFIG, text)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config of a model folder. Raises InceptiveError if it is missing or damaged."""
    try:
        with open(folder / WEIGHTS, "rb") as file:
            text, _ = header.read(file)
    except OSError:
        text = None
    return _config(folder, text)


def _config(folder: Path, text: str | None) -> dict[str, Any]:
    """The config in the weights file as `text`; where there is none, the one in `config.json`."""
    if text is None:
        return _parsed(folder / CONFIG, _config_text(folder))
    config = _parsed(folder / WEIGHTS, text)
    try:
        copy = _parsed(folder / CONFIG, (folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return config
    except (OSError, ValueError, InceptiveError):
        copy = {}
    if copy != config and copy.get(HASH, config.get(HASH)) == config.get(HASH):
        log.warning(
            "%s: differs from the config inside %s, which is used; remove it, or make the change in "
            "Python: load the folder, change the Classifier, save it",
            folder / CONFIG, WEIGHTS,
        )  # fmt: skip
    return config


def _config_text(folder: Path) -> str:
    path = folder / CONFIG
    if not path.is_file():
        if folder.is_file():
            raise InceptiveError(
                f"model {folder}: is a file; name the model folder. An exported file is not "
                "loaded: evaluate and predict take it"
            )
        missing = "is not a model folder (no config.json)" if folder.is_dir() else "does not exist"
        raise InceptiveError(
            f"model {folder}: {missing}; `inceptive train` writes one{_meant(folder)}"
        )
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InceptiveError(f"{path}: is damaged ({error})") from None


def _meant(folder: Path) -> str:
    """The published names that are nearest to that of a folder that is not there, if any are near."""
    from inceptive.weights.catalogue import catalogue

    near = [] if folder.exists() else get_close_matches(str(folder), catalogue(), 3)
    return f"; published weights with such a name: {', '.join(near)}" if near else ""


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InceptiveError(f"{path}: is damaged ({error})") from None
    if not isinstance(config, dict):
        raise InceptiveError(f"{path}: is damaged (its config is not a JSON object)")
    return config


def model_of(net: Net, tensors: dict[str, Tensor], path: Path) -> Model:
    """Build the model of `net` with `tensors` read from `path`, without copying them.

    Raises InceptiveError, with what is missing and what is unknown, unless all of them fit.
    """
    with torch.device("meta"):
        model = build(net).float()  # whatever torch's default is
    own = model.state_dict()
    if own.keys() != tensors.keys():
        missing, unknown = own.keys() - tensors.keys(), tensors.keys() - own.keys()
        raise InceptiveError(
            f"{path}: does not fit {net.name}; missing {listed(sorted(missing))}; "
            f"unknown {listed(sorted(unknown))}"
        )
    for key, tensor in sorted(own.items()):
        if tensor.shape != tensors[key].shape:
            raise InceptiveError(
                f"{path}: {key} is {tuple(tensors[key].shape)}, "
                f"{net.name} takes {tuple(tensor.shape)}"
            )
    state = {key: tensors[key].to(tensor.dtype, copy=True) for key, tensor in own.items()}
    model.load_state_dict(state, assign=True)
    return model


def _unreadable(path: Path, error: OSError) -> InceptiveError:
    if isinstance(error, FileNotFoundError):
        return InceptiveError(f"{path}: there is no such file")
    return InceptiveError(f"{path}: cannot be read ({reason(error)})")


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # of a damaged header it raises many kinds
        raise InceptiveError(f"{path}: is damaged ({reason(error)})") from None
