"""Answers as a Parquet file: one row per image."""

from collections.abc import Sequence
from typing import Any

from inceptive.engines.prediction import Prediction, header, row
from inceptive.io import store as storage
from inceptive.io.paths import as_unicode


def as_parquet(
    predictions: Sequence[Prediction], top: int, metadata: dict[str, str] | None = None
) -> memoryview:
    """Make the file: the columns of `prediction.header`, and `metadata` in its metadata.

    Probabilities are float64, novel is bool, the rest is text; only missing values are null.
    """
    pyarrow = storage.arrow()
    schema = pyarrow.schema([(name, _kind(name)) for name in header(top)], metadata=metadata)
    rows = (
        [as_unicode(cell) if isinstance(cell, str) else cell for cell in row(prediction, top)]
        for prediction in predictions
    )
    columns: list[Any] = list(zip(*rows, strict=True))
    table = pyarrow.table([list(column) for column in columns or [()] * len(schema)], schema=schema)
    content = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, content)
    return memoryview(content.getvalue())


def _kind(name: str) -> Any:
    pyarrow = storage.arrow()
    if name == "novel":
        return pyarrow.bool_()
    return pyarrow.float64() if name.startswith("prob") else pyarrow.string()
