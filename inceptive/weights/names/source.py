"""Key tables: how one publisher names the tensors of one net.

`units` pairs our module paths (`mixed_5b.b5x5.reduce`) with theirs. From it follows `key_table`, in
which every tensor of ours has one of theirs, or None if the publisher stores none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from inceptive.arch.spec import Add, Group, Node, nodes
from inceptive.errors import InceptiveError

Layout = Literal["torch", "tensorflow", "caffe"]
TORCH = {
    "weight": ".weight",
    "bias": ".bias",
    "bn.weight": ".weight",
    "bn.bias": ".bias",
    "bn.running_mean": ".running_mean",
    "bn.running_var": ".running_var",
    "bn.num_batches_tracked": ".num_batches_tracked",
}


@dataclass(frozen=True)
class Source:
    """One publisher's names. `{}` in conv and norm stands for their name of a unit that has both.

    leaves pairs our tensor (`bn.` before those of batch normalisation) with the end of their key;
    tensors it omits are not stored by the publisher. layout: see `layouts`.
    canonical maps the names in a file to those of the table, where they vary; ignored are names
    in a file that are not weights.
    """

    units: Mapping[str, str]
    conv: str = "{}.conv"
    norm: str = "{}.bn"
    leaves: Mapping[str, str] = field(default_factory=lambda: TORCH)
    layout: Layout = "torch"
    ignored: tuple[str, ...] = ()
    canonical: Callable[[Iterable[str]], dict[str, str]] = lambda names: {n: n for n in names}


def layers(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every layer of `node` in order, with its path; `path` is that of `node` itself."""
    return ((name, n) for name, n, _ in nodes(node, path) if not isinstance(n, Group | Add))


def within(ours: str, theirs: str, table: Mapping[str, str]) -> dict[str, str]:
    """Prefix `table`, the names inside one module, with the names of the module itself."""
    return {f"{ours}.{inside}".rstrip("."): f"{theirs}{name}" for inside, name in table.items()}


def key_table(source: Source, keys: Iterable[str]) -> dict[str, str | None]:
    """Map our state-dict keys to theirs, or to None if they store no such tensor.

    Raises InceptiveError if the table lacks a unit, or gives two tensors the same name.
    """
    keys = list(keys)
    owners = {key.rpartition(".")[0] for key in keys}
    # A batch normalisation that stands alone owns running statistics and no `.bn`.
    norms = {key.rpartition(".")[0] for key in keys if key.endswith(".running_mean")}
    table: dict[str, str | None] = {}
    for key in keys:
        owner, _, leaf = key.rpartition(".")
        unit = owner.removesuffix(".bn")
        part = owner.rpartition(".")[2]  # depthwise and pointwise may have leaves of their own
        plain = source.leaves.get(f"{part}.{leaf}", source.leaves.get(leaf))
        ending = source.leaves.get(f"bn.{leaf}") if owner in norms else plain
        name = source.units.get(owner)
        if name is None and unit in source.units:
            name = (source.norm if owner != unit else source.conv).format(source.units[unit])
        elif name is not None and f"{owner}.bn" in owners and f"{owner}.bn" not in source.units:
            name = source.conv.format(name)
        if name is None:
            raise InceptiveError(f"the key table has no name for {unit}")
        table[key] = None if ending is None else name + ending
    named = [name for name in table.values() if name is not None]
    if len(set(named)) < len(named):
        twice = sorted({name for name in named if named.count(name) > 1})
        raise InceptiveError(f"the key table names twice: {', '.join(twice)}")
    return table
