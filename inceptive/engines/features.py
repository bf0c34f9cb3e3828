"""`Embeddings` as files: Parquet, NumPy or safetensors. Each names the images, in order."""

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.engines.embedding import Embeddings
from inceptive.errors import InceptiveError, InvalidArgument, printable, reason
from inceptive.io import store as storage
from inceptive.io.atomic import atomic_write, write_bytes
from inceptive.io.paths import as_unicode

KEY = "inceptive.features"
"""In the metadata of Parquet and safetensors: layer, pool, shape, dtype, engine; as JSON. In .npy, which
has none, the title of the field `features`."""
SUFFIXES = (".parquet", ".npy", ".safetensors")


def as_parquet(embeddings: Embeddings, metadata: dict[str, str] | None = None) -> memoryview:
    """Make a Parquet file with the columns image, features (a list of float32, maps flattened) and error
    (null without one), one row per image."""
    pyarrow = storage.arrow()
    width = prod(embeddings.features.shape[1:])
    kinds = {
        "image": pyarrow.string(),
        "features": pyarrow.list_(pyarrow.float32(), width),
        "error": pyarrow.string(),
    }
    about = {KEY: json.dumps(_about(embeddings))}
    schema = pyarrow.schema(kinds.items(), metadata=(metadata or {}) | about)
    flat = np.ascontiguousarray(embeddings.features).ravel()
    features = pyarrow.FixedSizeListArray.from_arrays(flat, width)
    errors = [as_unicode(error) or None for error in embeddings.errors]
    columns = [[as_unicode(image) for image in embeddings.images], features, errors]
    content = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), content)
    return memoryview(content.getvalue())


def save(embeddings: Embeddings, path: Path) -> None:
    """Write `path`, whole or not at all: see `Embeddings.save`."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        write_bytes(path, as_parquet(embeddings))
    elif ending == ".npy":
        texts = {"image": embeddings.images, "error": embeddings.errors}
        width = {name: max([1, *map(len, values)]) for name, values in texts.items()}
        table = np.empty(
            len(embeddings),
            dtype=[
                ("image", f"U{width['image']}"),
                ((json.dumps(_about(embeddings)), "features"), "f4", embeddings.features.shape[1:]),
                ("error", f"U{width['error']}"),
            ],
        )
        table["features"] = embeddings.features
        for name, values in texts.items():
            table[name] = values
        with atomic_write(path) as file:
            np.save(file, table, allow_pickle=False)
    elif ending == ".safetensors":
        from safetensors.numpy import save as as_safetensors

        about = _about(embeddings) | {"images": embeddings.images, "errors": embeddings.errors}
        write_bytes(
            path, as_safetensors({"features": embeddings.features}, {KEY: json.dumps(about)})
        )
    else:
        raise InvalidArgument(f"{printable(path)}: features are written as {', '.join(SUFFIXES)}")


def load(path: Path) -> Embeddings:
    """Read what `save` wrote, or a folder of Parquet files: see `Embeddings.load`."""
    readers = {".npy": _from_npy, ".safetensors": _from_safetensors}
    try:
        return readers.get(path.suffix.lower(), _from_parquet)(path)
    except (OSError, EOFError, LookupError, ValueError, TypeError) as error:
        raise InceptiveError(
            f"{printable(path)}: holds no features that `inceptive embed` wrote ({reason(error)})"
        ) from None


def _from_parquet(path: Path) -> Embeddings:
    pyarrow = storage.arrow()
    try:
        table = pyarrow.parquet.read_table(path, columns=["image", "features", "error"])
        about = json.loads((table.schema.metadata or {})[KEY.encode()])
        flat = np.concatenate([chunk.flatten() for chunk in table["features"].chunks])
    except pyarrow.ArrowException as error:
        raise ValueError(reason(error)) from None
    features = flat.reshape(len(table), *about["shape"])
    return _embeddings(about, table["image"].to_pylist(), features, table["error"].to_pylist())


def _from_npy(path: Path) -> Embeddings:
    table = np.load(path, allow_pickle=False)
    title = (table.dtype.fields or {})["features"][2:]
    pool = "none" if table["features"].ndim > 2 else "mean"
    earlier = {"layer": "", "pool": pool, "engine": ""}  # releases whose files had no title
    about = json.loads(title[0]) if title else earlier
    return _embeddings(about, table["image"].tolist(), table["features"], table["error"].tolist())


def _from_safetensors(path: Path) -> Embeddings:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            about = json.loads((file.metadata() or {})[KEY])
            return _embeddings(about, about["images"], file.get_tensor("features"), about["errors"])
    except SafetensorError as error:
        raise ValueError(reason(error)) from None


def _embeddings(
    about: dict[str, Any], images: list[str], features: np.ndarray, errors: list[str | None]
) -> Embeddings:
    if not len(images) == len(features) == len(errors) or features.dtype != np.float32:
        raise ValueError("images, features and errors do not belong together")
    return Embeddings(
        images=tuple(images),
        features=np.ascontiguousarray(features),
        errors=tuple(error or "" for error in errors),
        layer=about["layer"],
        pool=about["pool"],
        engine=about["engine"],
        model=about.get("model", ""),
    )


def _about(embeddings: Embeddings) -> dict[str, Any]:
    return {
        "layer": embeddings.layer,
        "pool": embeddings.pool,
        "shape": embeddings.features.shape[1:],
        "dtype": "float32",
        "engine": embeddings.engine,
        "model": embeddings.model,
    }
