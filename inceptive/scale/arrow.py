"""pyarrow: Parquet, and the file systems of object stores."""

from typing import Any

from inceptive.errors import InceptiveError


def package() -> Any:
    """The package pyarrow with its modules fs and parquet. InceptiveError if it is missing."""
    try:
        import pyarrow
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError:
        raise InceptiveError("Parquet needs pyarrow: pip install 'inceptive[scale]'") from None
    return pyarrow
