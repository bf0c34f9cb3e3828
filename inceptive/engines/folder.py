"""A model folder on disk: weights and the config that tells what they are, always of one model.

They are two files, and a power cut may come between. So `config.json` names the SHA-256 of its weights,
and while both are replaced it keeps the config before under `before`: whichever weights lie there, the
config that fits them is found. Folders without the hash, as written until 0.1, are read as they are.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from inceptive.arch.spec import Net
from inceptive.errors import InceptiveError, reason
from inceptive.io.atomic import as_json, write_bytes, write_text
from inceptive.nn import Model, build

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
HASH, BEFORE = "weights", "before"
LOOKS = 3
"""Times to look again where weights and config are being replaced just now."""


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config of a model folder and the tensors that it was written for.

    Raises InceptiveError, naming the file, if one is missing, damaged, or of another model.
    """
    for _ in range(LOOKS):
        config = read_config(folder)
        content = _content(folder / WEIGHTS)
        if fitting := _fitting(config, content):
            return fitting, _tensors(folder / WEIGHTS, content)
    raise InceptiveError(
        f"{folder / WEIGHTS}: is damaged, or not the file that {CONFIG} was written for (its SHA-256 "
        f'differs); if you changed it yourself, remove "{HASH}" from {CONFIG}'
    )


def write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], card: str) -> None:
    """Write a model folder, or replace the one there; a kill at any moment leaves the old or the new."""
    content = safetensors.torch.save(tensors, {"format": "pt"})
    config = config | {HASH: _digest(content)}
    if before := _now(folder):
        _write(folder, config | {BEFORE: before})
    write_bytes(folder / WEIGHTS, content)
    write_text(folder / CARD, card)
    _write(folder, config)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write only the config, for the weights that lie there."""
    path = folder / WEIGHTS
    known = {HASH: _digest(_content(path))} if path.exists() else {}
    _write(folder, config | known)


def _write(folder: Path, config: dict[str, Any]) -> None:
    """The net, which is long, on the last line, so that the rest stays readable."""
    rest = {key: value for key, value in config.items() if key != "net"}
    net = json.dumps(config["net"], ensure_ascii=False)
    write_text(
        folder / CONFIG, f'{as_json(rest).removesuffix("}").rstrip()},\n  "net": {net}\n}}\n'
    )


def read_config(folder: Path) -> dict[str, Any]:
    """What `config.json` holds. Raises InceptiveError if it is missing or no JSON object."""
    path = folder / CONFIG
    if not path.is_file():
        if folder.is_file():
            raise InceptiveError(f"model {folder}: is a file; name the model folder, or an export")
        reason = "is not a model folder (no config.json)" if folder.is_dir() else "does not exist"
        raise InceptiveError(f"model {folder}: {reason}; `inceptive train` writes one")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InceptiveError(f"{path}: is damaged ({error})") from None
    if not isinstance(config, dict):
        raise InceptiveError(f"{path}: is damaged (not a JSON object)")
    return config


def filled(net: Net, tensors: dict[str, Tensor], path: Path) -> Model:
    """The model of `net` with `tensors` that were read from `path`; no memory is taken but theirs."""
    with torch.device("meta"):
        model = build(net)
    _refuse_unfit(model, tensors, path)
    own = model.state_dict()
    model.load_state_dict(
        {key: tensors[key].to(own[key].dtype, copy=True) for key in own}, assign=True
    )
    return model


def load_weights(model: Model, path: Path, skip: tuple[str, ...] = ()) -> None:
    """Fill `model` from a safetensors file; keys that start with one of `skip` keep fresh weights.

    Raises InceptiveError, listing what either side lacks, unless every other key fits exactly.
    """
    fill(model, _tensors(path, _content(path)), path, skip)


def fill(model: Model, tensors: dict[str, Tensor], path: Path, skip: tuple[str, ...] = ()) -> None:
    """As `load_weights`, of `tensors` that were read from `path`."""
    own = model.state_dict()
    for key in _refuse_unfit(model, tensors, path, skip):
        own[key].copy_(tensors[key])


def _refuse_unfit(
    model: Model, tensors: dict[str, Tensor], path: Path, skip: tuple[str, ...] = ()
) -> list[str]:
    """The keys that `tensors` fill. Raises InceptiveError unless keys and shapes are the model's."""
    own = model.state_dict()

    def counted(keys: Iterable[str]) -> set[str]:
        return {key for key in keys if not key.startswith(skip)} if skip else set(keys)

    missing, extra = counted(own) - counted(tensors), counted(tensors) - counted(own)
    if missing or extra:
        raise InceptiveError(
            f"{path}: does not fit {model.net.name}: "
            f"it lacks {_some(missing)} and has too much {_some(extra)}"
        )
    for key in sorted(counted(own)):
        if own[key].shape != tensors[key].shape:
            raise InceptiveError(
                f"{path}: {key} is {tuple(tensors[key].shape)}, "
                f"{model.net.name} takes {tuple(own[key].shape)}"
            )
    return sorted(counted(own))


def _fitting(config: dict[str, Any], content: bytes) -> dict[str, Any] | None:
    """The config that `content` was written with: this one, or the one before."""
    before = config.pop(BEFORE, None)
    if HASH not in config:
        return config
    digest = _digest(content)
    for one in (config, before):
        if isinstance(one, dict) and one.get(HASH) == digest:
            return one
    return None


def _now(folder: Path) -> dict[str, Any] | None:
    """The config that fits the weights in `folder`, with their hash; None if there is no such pair."""
    try:
        config, content = read_config(folder), _content(folder / WEIGHTS)
    except InceptiveError:
        return None
    fitting = _fitting(config, content)
    return fitting and fitting | {HASH: _digest(content)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InceptiveError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be read ({reason(error)})") from None


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # of a damaged header it raises many kinds
        raise InceptiveError(f"{path}: is damaged ({reason(error)})") from None


def _some(keys: set[str]) -> str:
    listed = sorted(keys)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return (", ".join(listed[:3]) + more) if listed else "nothing"
