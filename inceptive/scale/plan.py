"""The plan of a scoring job: input, model and parts. Written before the first answer.

`_plan.parquet` has one row group per part, so a worker reads only its own; names with a leading
underscore are skipped by tools that read the folder as one table.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from typing import Any

from inceptive.engines.embedding import Pool
from inceptive.errors import InceptiveError, printable
from inceptive.io import store as storage
from inceptive.scale.inputs import Input, WorkItem, split_work

FILE = "_plan.parquet"
KEY = b"inceptive"
EARLIER: dict[str, Any] = {"layer": "", "pool": "mean"}
"""What a plan meant that was written before there were features."""
WORDS = {
    "input": "of another input, or a file of it has changed",
    "model": "of another model, or its files have changed",
    "engine": "with engine {}",
    "top": "with top {}",
    "batch_size": "with batches of {}",
    "part": "with parts of {}",
    "layer": "for the features of {}",
    "pool": "with pool {}",
}


@dataclass(frozen=True)
class Plan:
    """What determines the answers. input and model are fingerprints; part: maximum images per part;
    layer: features of it instead of answers, if not "", pooled so."""

    input: str
    model: str
    engine: str
    top: int
    batch_size: int
    part: int
    kind: str
    parts: int = 0
    layer: str = ""
    pool: Pool = "mean"

    @classmethod
    def read(cls, folder: str) -> "Plan | None":
        """Read the plan in `folder`; None if there is none. InceptiveError if it is damaged."""
        if FILE not in storage.names(folder):
            return None
        try:
            with storage.parquet(storage.join(folder, FILE)) as file:
                values = EARLIER | json.loads(file.metadata.metadata[KEY])
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (InceptiveError, TypeError, KeyError, ValueError):
            path = printable(storage.join(folder, FILE))
            raise InceptiveError(f"{path}: is damaged; remove the folder") from None

    def write(self, folder: str, input: Input) -> "Plan":
        """Write the plan with the parts of `input` into `folder`, whole or not at all; with `parts`."""
        pyarrow = storage.arrow()
        whole = pyarrow.int64()
        schema = pyarrow.schema({"path": pyarrow.binary(), "first": whole, "count": whole})
        content, parts = pyarrow.BufferOutputStream(), 0
        with pyarrow.parquet.ParquetWriter(content, schema) as writer:
            for parts, items in enumerate(split_work(input, self.part), 1):  # noqa: B007
                rows = [vars(item) | {"path": os.fsencode(item.path)} for item in items]
                table = pyarrow.Table.from_pylist(rows, schema=schema)
                writer.write_table(table, row_group_size=len(items))
            plan = Plan(**asdict(self) | {"parts": parts})
            writer.add_key_value_metadata({KEY.decode(): json.dumps(asdict(plan))})
        storage.write(storage.join(folder, FILE), memoryview(content.getvalue()))
        return plan

    def check_same_plan(self, before: "Plan", folder: str) -> None:
        """Raise InceptiveError, saying what differs, unless `before` in `folder` is this plan."""
        for name, words in WORDS.items():
            old = getattr(before, name)
            if getattr(self, name) != old:
                raise InceptiveError(
                    f"{printable(folder)}: was begun {words.format(old)}; "
                    "ask for the same, or name another folder"
                )


def read_part(folder: str, part: int) -> list[WorkItem]:
    """Read the work items of part number `part` of the plan in `folder`."""
    with storage.parquet(storage.join(folder, FILE)) as file:
        rows: list[dict[str, Any]] = file.read_row_group(part).to_pylist()
    return [WorkItem(os.fsdecode(row["path"]), row["first"], row["count"]) for row in rows]
