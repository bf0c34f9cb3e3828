"""PyTorch's .pth and .pt files, safetensors, and a .zip that holds one of them."""

import io
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import safetensors.torch
import torch

from inceptive.weights.readers.marks import ZIP, is_safetensors
from inceptive.weights.readers.safe_read import collect, content, max_unpacked, reading

KIND = "PyTorch or safetensors weights"
SUFFIXES = (".pth", ".pt", ".safetensors")
AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "params_ema")
WRAPPERS = (*AVERAGED, "state_dict", "model_state_dict", "model", "module", "net", "network",
            "params", "weights")  # fmt: skip
"""Under what trainings keep a net in their checkpoints: averaged weights first, as they are deployed."""
PREFIXES = ("module", "_orig_mod", "model", "net", "network", "backbone", "base_model", "ema_model")
"""Modules that trainings put around a net, in any order."""
SHARE = 0.9
"""Of the tensors that are the net's own where a prefix is taken for one: a loss has weights, too."""


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a state dict by their keys, in its order, each in its stored type.

    path is a file of torch.save (zip or the format before 1.6), a .safetensors file, or a .zip that
    holds one of these (as pytorchcv publishes). A training checkpoint is unwrapped (see `unwrapped`),
    bfloat16 becomes float32. A pickle is only read with weights_only=True: nothing in it is executed.
    Raises InceptiveError if it cannot be read or if anything in it is not a plain tensor.
    """
    with reading(path, KIND):
        return collect((name, _array(name, tensor)) for name, tensor in state_dict(path).items())


def state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Like `read`, but with torch tensors."""
    with reading(path, KIND):
        data = _unzip(content(path))
        loaded = safetensors.torch.load(data) if is_safetensors(data) else _load(data)
        loaded = unwrapped(loaded)
        if not isinstance(loaded, dict):
            raise ValueError(f"it holds a {type(loaded).__name__}, not a state dict")
        for name, tensor in loaded.items():
            if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
                raise ValueError(f"{name!r} is a {type(tensor).__name__}, not a tensor")
        return loaded


def unwrapped(loaded: Any) -> Any:
    """Extract the state dict from a training checkpoint: from under WRAPPERS, its keys without PREFIXES.

    Tensors with another prefix than nearly all others, such as those of a loss, are left out.
    """
    while isinstance(loaded, dict):
        dicts = (loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), dict))
        inside = next(filter(None, dicts), None)
        if not inside:
            break
        loaded = inside
    while isinstance(loaded, dict) and all(isinstance(key, str) for key in loaded):
        own: dict[str, Any] = {}
        for prefix in PREFIXES:
            start = f"{prefix}."
            own = {k.removeprefix(start): v for k, v in loaded.items() if k.startswith(start)}
            if len(own) >= SHARE * len(loaded):
                break
        if not own or len(own) < SHARE * len(loaded):
            break
        loaded = own
    return loaded


def _unzip(data: bytes) -> bytes:
    """The one weights file of a zip; `data` itself if it is none, or is torch's own kind of zip."""
    if not data.startswith(ZIP):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = archive.infolist()
        if any(PurePosixPath(info.filename).name == "data.pkl" for info in files):
            return data
        weights = [info for info in files if info.filename.endswith(SUFFIXES)]
        if len(weights) != 1:
            raise ValueError(f"a zip of {len(weights)} weights files, where one is needed")
        if weights[0].file_size > max_unpacked(len(data)):
            raise ValueError("unpacks to far more than its size")
        return archive.read(weights[0])


def _load(data: bytes) -> Any:
    if data.startswith(ZIP):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > len(data):
                raise ValueError("its parts claim more bytes than there are")  # torch never packs
            if any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist()):
                raise ValueError("a TorchScript program; save its state_dict() with torch.save")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        # Of its message only the reason: the rest is a page of advice to let the file run its code.
        lines = str(error).splitlines() or [type(error).__name__]
        reasons = [line for line in lines if "GLOBAL" in line or "Unpickler error" in line] or lines
        raise ValueError(f"torch.load: {reasons[0].strip().split('. ')[0]}") from None


def _array(name: str, tensor: torch.Tensor) -> np.ndarray:
    """The tensor's own memory as an array; ValueError for what NumPy has no word for."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise ValueError(f"{name!r} is not a plain tensor")
    if tensor.is_floating_point() and tensor.element_size() < 2:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(f"{name!r} is {kind}, which is not read; save it as float32")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name!r} is larger than what is stored of it")  # strides of 0
    if tensor.dtype == torch.bfloat16:  # which NumPy does not have
        tensor = tensor.float()
    return tensor.detach().numpy()
