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


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by their keys, in its order, each in the type it is stored in.

    path is a file of torch.save (zip or the format before 1.6), a .safetensors file, or a .zip that
    holds one of these (so pytorchcv publishes). {"state_dict": ...} is unwrapped. A pickle is only
    read with weights_only=True: nothing in it is executed.
    Raises InceptiveError if it cannot be read or if anything in it is not a plain tensor.
    """
    with reading(path, KIND):
        return collect((name, _array(name, tensor)) for name, tensor in state_dict(path).items())


def state_dict(path: Path) -> dict[str, torch.Tensor]:
    """As `read`, the tensors as torch has them."""
    with reading(path, KIND):
        data = _unzip(content(path))
        loaded = safetensors.torch.load(data) if is_safetensors(data) else _load(data)
        if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
            loaded = loaded["state_dict"]
        if not isinstance(loaded, dict):
            raise ValueError(f"it holds a {type(loaded).__name__}, not a state dict")
        for name, tensor in loaded.items():
            if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
                raise ValueError(f"{name!r} is a {type(tensor).__name__}, not a tensor")
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
    if tensor.dtype == torch.bfloat16:
        raise ValueError(f"{name!r} is bfloat16, which NumPy does not have")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name!r} is larger than what is stored of it")  # strides of 0
    return tensor.detach().numpy()
