"""The words that describe a net: a tree of frozen values that reads like the paper's table.

The set is closed. Every reader (`account`, `model`, ...) is one `match` over these words, so a word
it does not know is an error, never a silent default. A spec holds nothing else: no initial weights,
learning rates, device or training flags.

Shapes are (channels, height, width) of one image.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from itertools import pairwise
from typing import (
    Annotated,
    Any,
    Literal,
    Self,
    TypeAlias,
    assert_never,
    get_type_hints,
)

from inceptive.arguments import Allowed, brief, in_words, matcher
from inceptive.errors import InceptiveError

MOST = 2**20
"""Above every width, kernel and size of a sensible net: a file cannot ask for all memory."""
MAX_WORDS, MAX_DEPTH = 10_000, 32

Count: TypeAlias = Annotated[int, Allowed("a whole number from 1", lambda n: 1 <= n <= MOST)]
Margin: TypeAlias = Annotated[int, Allowed("a whole number from 0", lambda n: 0 <= n <= MOST)]
Positive: TypeAlias = Annotated[float, Allowed("a number above 0", lambda x: x > 0)]
Share: TypeAlias = Annotated[
    float, Allowed("a number from 0 and below 1", lambda share: 0 <= share < 1)
]
Momentum: TypeAlias = Annotated[
    float, Allowed("a number above 0 and at most 1", lambda share: 0 < share <= 1)
]
OddCount: TypeAlias = Annotated[
    int, Allowed("an odd number from 1", lambda n: n % 2 == 1 and 1 <= n <= MOST)
]
Name: TypeAlias = Annotated[
    str, Allowed("letters, digits and _", lambda name: re.fullmatch(r"\w{1,100}", name) is not None)
]
Text: TypeAlias = Annotated[
    str, Allowed("one line of text", lambda text: text.isprintable() and len(text) <= 1000)
]

Kernel: TypeAlias = Count | tuple[Count, Count]
"""The side of a square window, or its (height, width)."""

AvgPad: TypeAlias = Literal["same", "valid"] | Margin
ConvPad: TypeAlias = Literal["same", "valid", "tf"] | Margin
Pad: TypeAlias = Literal["same", "valid", "ceil", "tf"] | Margin
"""How a window meets the border. Convolutions pad with zeros, max pooling with -inf.

same   kernel // 2 on each side: stride 1 keeps the size of an odd kernel
valid  no padding, windows that do not fit are dropped
ceil   no padding, a last window may hang over the far border (Caffe's pooling)
tf     TensorFlow's SAME: as little as gives ceil(size / stride), the odd one at the far border
n      n on each side
"""


@dataclass(frozen=True, repr=False)
class Word:
    """Base class of all words: they validate themselves and have a short repr."""

    def __post_init__(self) -> None:
        """Raises InceptiveError if a field is not what its type says."""
        for name, hint, test in _fields(type(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if not test(value):
                self._refuse(f"{name} is {brief(value)}; it must be {in_words(hint)}")

    def _refuse(self, problem: str) -> None:
        raise InceptiveError(f"{type(self).__name__}: {problem}")

    def __repr__(self) -> str:
        """As one would write it: fields that are not the default."""
        written = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is MISSING:
                written.append(repr(value))
            elif value != field.default:
                written.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(written)})"


@dataclass(frozen=True, repr=False)
class BatchNorm(Word):
    """Batch normalisation over N, H, W (arXiv:1502.03167). momentum is the weight of the new batch.

    Without `scale` there is no gamma, as in TF-slim and Keras before a ReLU.

    >>> inceptive.Conv(64, 3, norm=inceptive.BatchNorm(eps=1e-5))
    Conv(64, 3, norm=BatchNorm(eps=1e-05))
    """

    eps: Positive = 1e-3
    momentum: Momentum = 0.1
    scale: bool = True


@dataclass(frozen=True, repr=False)
class Conv(Word):
    """Convolution to `out` channels, then `norm`, then ReLU.

    bias None: a bias only without `norm`, which would cancel it.

    >>> conv1 = inceptive.Conv(64, 7, stride=2)
    >>> inceptive.account(conv1, image_size=224, channels=3).body[-1].view.shape
    (64, 112, 112)
    """

    out: Count
    kernel: Kernel
    stride: Count = 1
    pad: ConvPad = "same"
    norm: BatchNorm | None = None
    relu: bool = True
    bias: bool | None = None

    @property
    def has_bias(self) -> bool:
        return self.norm is None if self.bias is None else self.bias


@dataclass(frozen=True, repr=False)
class Separable(Word):
    """A depthwise convolution, then a pointwise 1x1 (arXiv:1610.02357), `norm`, ReLU.

    The first makes `multiplier` maps per channel; nothing comes between the two. Without `norm`,
    the 1x1 has a bias.

    >>> inceptive.account(inceptive.Separable(728, 3), image_size=19, channels=728).params
    537264
    """

    out: Count
    kernel: Count
    stride: Count = 1
    pad: ConvPad = "same"
    norm: BatchNorm | None = None
    relu: bool = True
    multiplier: Count = 1

    @property
    def pointwise(self) -> Conv:
        """The final 1x1."""
        return Conv(self.out, 1, norm=self.norm, relu=self.relu)


@dataclass(frozen=True, repr=False)
class MaxPool(Word):
    """Maximum over each window; without a kernel, over the map. Every window overlaps the map.

    >>> pool = inceptive.MaxPool(3, stride=2, pad="ceil")
    >>> inceptive.account(pool, image_size=112, channels=64).body[-1].view.shape
    (64, 56, 56)
    """

    kernel: Count | None = None
    stride: Count = 1
    pad: Pad = "same"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel is None:
            if (self.stride, self.pad) != (1, "same"):
                self._refuse("without a kernel it has no stride and no pad")
            return
        if isinstance(self.pad, int) and self.pad > self.kernel // 2:
            self._refuse(f"pad is {self.pad}, more than half the kernel of {self.kernel}")
        if self.pad == "ceil" and self.stride > self.kernel:
            self._refuse(
                f"stride is {self.stride}, above the kernel of {self.kernel}: with pad 'ceil' "
                "a last window could lie outside the map"
            )


@dataclass(frozen=True, repr=False)
class AvgPool(Word):
    """Average pooling over windows or, with `grid` and no kernel, adaptive to a grid x grid map.

    `AvgPool(grid=1)` is global average pooling. With both, the windows are used where they produce
    the grid, and adaptive ones at any other input size, so a linear layer can follow at all sizes.
    count_pad: whether padded zeros count in the average (as in Caffe) or not (as in TensorFlow).

    >>> inceptive.account(inceptive.AvgPool(grid=1), image_size=7, channels=1024).body[-1].view.shape
    (1024, 1, 1)
    """

    kernel: Count | None = None
    stride: Count = 1
    grid: Count | None = None
    pad: AvgPad = "valid"
    count_pad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel is None and self.grid is None:
            self._refuse("it needs a kernel or a grid; AvgPool(grid=1) averages the whole map")
        if self.kernel and isinstance(self.pad, int) and self.pad > self.kernel // 2:
            self._refuse(f"pad is {self.pad}, more than half the kernel of {self.kernel}")


@dataclass(frozen=True, repr=False)
class LRN(Word):
    """Local response normalisation across `size` channels: x / (k + alpha / size * sum x^2)^beta.

    size is odd, as in Caffe: libraries place even windows differently.

    >>> norm1 = inceptive.LRN(5)
    """

    size: OddCount
    alpha: Positive = 1e-4
    beta: Positive = 0.75
    k: Positive = 1.0


@dataclass(frozen=True, repr=False)
class Linear(Word):
    """A fully connected layer on the flattened input, then ReLU if `relu`.

    >>> inceptive.account(inceptive.Linear(10), image_size=1, channels=1024).params
    10250
    """

    out: Count
    relu: bool = False
    bias: bool = True


@dataclass(frozen=True, repr=False)
class Activation(Word):
    """A standalone activation; most are the `relu` of a layer.

    >>> gate = inceptive.Chain(
    ...     conv=inceptive.Conv(64, 1, relu=False), sigmoid=inceptive.Activation("sigmoid")
    ... )
    """

    kind: Literal["relu", "sigmoid"] = "relu"


@dataclass(frozen=True, repr=False)
class Dropout(Word):
    """In training, zero a fraction `drop` and scale the rest by 1 / (1 - drop).

    >>> end = inceptive.Chain(
    ...     pool=inceptive.AvgPool(grid=1), dropout=inceptive.Dropout(0.4), fc=inceptive.Linear(10)
    ... )
    """

    drop: Share


@dataclass(frozen=True, init=False, repr=False)
class Group(Word):
    """Named parts in order. A part given as None is omitted."""

    parts: tuple[tuple[Name, "Node"], ...]

    def __init__(self, /, **parts: "Node | None"):
        present = tuple((name, node) for name, node in parts.items() if node is not None)
        object.__setattr__(self, "parts", present)
        self.__post_init__()

    @classmethod
    def of(cls, parts: "tuple[tuple[str, Node], ...]") -> Self:
        """Make a group of (name, part) pairs. Raises InceptiveError if two share a name."""
        group = cls.__new__(cls)
        object.__setattr__(group, "parts", parts)
        group.__post_init__()
        return group

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, count in Counter(name for name, _ in self.parts).items():
            if count > 1:
                self._refuse(f"two parts are called {name}")

    def __iter__(self) -> Iterator[tuple[str, "Node"]]:
        return iter(self.parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(name for name, _ in self)})"


class Chain(Group):
    """Parts applied in sequence. Without parts, the identity.

    >>> double = inceptive.Chain(first=inceptive.Conv(32, 3), second=inceptive.Conv(32, 3))
    >>> inceptive.account(double, image_size=28, channels=16).body[-1].view.field
    5
    """


class _Branches(Group):
    """Parts side by side on one input."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            self._refuse("it has no parts")


class Concat(_Branches):
    """Parallel parts on one input, their outputs concatenated along the channels.

    >>> module = inceptive.Concat(b1x1=inceptive.Conv(64, 1), b3x3=inceptive.Conv(32, 3))
    >>> inceptive.account(module, image_size=28, channels=192).body[-1].view.shape
    (96, 28, 28)
    """


class Multiply(_Branches):
    """Parallel parts on one input, their outputs multiplied element-wise (Hadamard).

    >>> attended = inceptive.Multiply(
    ...     features=inceptive.Conv(64, 3),
    ...     gate=inceptive.Chain(
    ...         conv=inceptive.Conv(64, 1, relu=False), sigmoid=inceptive.Activation("sigmoid")
    ...     ),
    ... )
    """


@dataclass(frozen=True, repr=False)
class Add(Word):
    """A residual connection: shortcut(x) + scale * branch(x), then ReLU if `relu`.

    The shortcut defaults to the identity.

    >>> block = inceptive.Add(inceptive.Conv(192, 1, relu=False), scale=0.1, relu=True)
    """

    branch: "Node"
    shortcut: "Node | None" = None
    scale: float = 1.0
    relu: bool = False

    @property
    def parts(self) -> "tuple[tuple[str, Node], ...]":
        """Both by name, as in a group; the identity is a chain without parts."""
        return ("branch", self.branch), ("shortcut", self.shortcut or Chain())


Node: TypeAlias = (
    Conv
    | Separable
    | MaxPool
    | AvgPool
    | LRN
    | BatchNorm
    | Linear
    | Activation
    | Dropout
    | Chain
    | Concat
    | Multiply
    | Add
)


@dataclass(frozen=True, repr=False)
class Net(Word):
    """A complete classifier: images (N, channels, H, W) to logits (N, num_classes).

    aux pairs the name of a part of `body` with the auxiliary head that reads its output in
    training; the head on `inception_4a` is called `aux_4a`, on `mixed_6e` `aux_6e`. image_size is
    the image side the source was designed for.

    >>> body = inceptive.Chain(
    ...     conv=inceptive.Conv(32, 3), pool=inceptive.AvgPool(grid=1), fc=inceptive.Linear(10)
    ... )
    >>> net = inceptive.Net("small", body, 10, "an example", image_size=32)
    >>> inceptive.account(net).params
    1226
    """

    name: Text
    body: Chain
    num_classes: Count
    source: Text
    aux: tuple[tuple[Name, Chain], ...] = ()
    channels: Count = 3
    image_size: Count = 224

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_bounds(self)
        ends = {"body": self.body, **{f"the head on {at}": head for at, head in self.aux}}
        for end, chain in ends.items():
            last = chain.parts[-1][1] if chain.parts else None
            if not isinstance(last, Linear) or last.out != self.num_classes:
                self._refuse(
                    f"{end} must end in Linear({self.num_classes}), one output for each class; "
                    f"it ends in {last}"
                )
        before = [name for name, _ in self.body.parts[:-1]]
        for at, _ in self.aux:
            if at not in before:
                self._refuse(f"no part is called {at} for a head to read; {_there_are(before)}")
        called = Counter([*RESERVED, *before, self.last, *(_head_name(at) for at, _ in self.aux)])
        for name, count in called.items():
            if count > 1:
                self._refuse(f"two parts or heads are called {name}")
        flat = False
        for name, part, heads in self.walk():
            flat = gives_vector(part, flat, name)
            for head, chain in heads.items():
                gives_vector(chain, flat, head)

    def __repr__(self) -> str:
        """A few lines: what it takes and gives, its parts and heads by name, its source."""
        first, *_, last = [name for name, _ in self.body.parts] * 2
        heads = ", ".join(f"{head} on {at}" for head, (at, _) in self.heads().items())
        lines = [
            f"Net {self.name}: {self.num_classes:,} classes, "
            f"images of {self.channels} × {self.image_size} × {self.image_size}",
            f"{len(self.body.parts)} parts, {first} to {last}"
            + (f"; heads {heads}" if heads else ""),
            *([f"source: {self.source}"] if self.source else []),
        ]
        return "\n  ".join(lines)

    @property
    def last(self) -> str:
        """The name of the part that outputs the logits."""
        return self.body.parts[-1][0]

    def walk(self) -> Iterator[tuple[str, "Node", dict[str, Chain]]]:
        """Yield each body part in order: its name, the part, and the heads that read it, by name."""
        for name, part in self.body:
            yield name, part, {_head_name(at): head for at, head in self.aux if at == name}

    def nodes(self) -> Iterator[tuple[str, "Node", str]]:
        """Yield every part, group and layer, heads included: its name, the node, its input's name."""
        reads = "images"
        for name, part, heads in self.walk():
            yield from nodes(part, name, reads)
            for head, chain in heads.items():
                yield from nodes(chain, head, name)
            reads = name

    def trunk(self) -> Iterator[tuple[str, "Node"]]:
        """Yield the full name and the node of each part of the body; where `reading` put the way to the
        next module into a part, the parts of that way instead."""
        parts, inside = [*self.body], ""
        while parts:
            name, part = parts.pop(0)
            on = dict(part).get("on") if name == "read" and isinstance(part, Concat) else None
            if isinstance(on, Chain):
                parts, inside = [*on], f"{inside}{name}.on."
            else:
                yield f"{inside}{name}", part

    def reads(self) -> dict[str, str]:
        """Where the last layer reads several modules (`reading`): the name of each, and the full name of
        what is read of it, such as mixed_6b -> read.here; {} elsewhere."""
        reads: dict[str, str] = {}
        for (before, _), (full, _) in pairwise(self.trunk()):
            way, _, module = before.rpartition(".")
            if full.count(".") > before.count("."):
                reads[module] = f"{way}.read.here".lstrip(".")
            elif reads and full == f"{way}.read":
                return reads | {module: full}
        return {}

    def layer(self, name: str) -> str:
        """Return the full name of the part, group or layer `name`: itself, else that of the part of the
        trunk, else of the only layer that ends in it, as read.on.mixed_6a does in mixed_6a.

        Raises InceptiveError, naming the parts, if there is none or more than one.
        """
        every = [full for full, _, _ in self.nodes()]
        trunk = [full for full, _ in self.trunk()]
        found = [name] if name in every else []
        for names in (trunk, every):
            found = found or [full for full in names if full.endswith(f".{name}")]
        if len(found) == 1:
            return found[0]
        several = f"has {len(found)} layers called {name}, such as {found[0]}" if found else ""
        parts = [*(part for part, _ in self.body), *self.heads()]
        raise InceptiveError(f"{self.name} {several or f'has no part {name}'}; {_there_are(parts)}")

    def heads(self) -> dict[str, tuple[str, Chain]]:
        """Name of each auxiliary head -> (the part it reads, the head)."""
        return {_head_name(at): (at, head) for at, head in self.aux}

    def without_aux(self) -> "Net":
        """Return this net without its auxiliary heads, as at inference."""
        return replace(self, aux=())

    def with_classes(self, num_classes: int) -> "Net":
        """Return this net for another number of classes: its last layer and each head's differ."""

        def ending(chain: Chain) -> Chain:
            *before, (name, last) = chain.parts
            assert isinstance(last, Linear)
            return Chain.of((*before, (name, replace(last, out=num_classes))))

        aux = tuple((at, ending(head)) for at, head in self.aux)
        return replace(self, body=ending(self.body), aux=aux, num_classes=num_classes)

    def ending_at(self, part: str) -> "Net":
        """Return the net up to `part`, then global average pooling and one linear layer.

        Its weights are this net's, except for the last layer. Raises InceptiveError if there is no such
        part before the classifier.
        """
        return self._ending_with(("pool", AvgPool(grid=1)), self._upto(part), part)

    def reading(self, parts: Sequence[str]) -> "Net":
        """Return the net up to the last of `parts`, with a linear layer that reads the maps of each.

        It reads the average and the maximum of every map. What follows the first part is in a Concat
        "read": {"here": both poolings, "on": the path to the next, and again "read"}. Raises
        InceptiveError if there are no such parts, in this order, before the classifier.
        """
        ends = [len(self._upto(part)) for part in parts]
        if not ends or ends != sorted(set(ends)):
            raise InceptiveError(f"{self.name}: {', '.join(parts)} do not stand in this order")
        both = Concat(mean=AvgPool(grid=1), max=MaxPool())
        read = both
        for start, end in reversed(list(pairwise(ends))):
            on = Chain.of((*self.body.parts[start:end], ("read", read)))
            read = Concat(here=both, on=on)
        mark = "+".join(parts)
        return self._ending_with(("read", read), self.body.parts[: ends[0]], mark)

    def unread(self) -> "Net":
        """Return the net that `reading` was made of: its parts in a row, then the average of each of the
        last one's maps, and a linear layer. Any other net is returned as it is."""
        *_, (name, read), _ = (("", None), *self.body)
        if name != "read" or not isinstance(read, Concat) or {*dict(read)} not in READS:
            return self
        parts = ((full.rpartition(".")[2], part) for full, part in self.trunk())
        row = (each for each in parts if each[0] not in ("read", self.last))
        end = ("pool", AvgPool(grid=1)), ("fc", Linear(self.num_classes))
        return replace(self, body=Chain.of((*row, *end)), aux=())

    def _upto(self, part: str) -> tuple[tuple[str, Node], ...]:
        """The parts of the body up to and with `part`, which stands before the classifier."""
        before = [name for name, _ in self.body.parts[:-1]]
        if part not in before:
            raise InceptiveError(f"{self.name} has no part {part} to end at; {_there_are(before)}")
        return self.body.parts[: before.index(part) + 1]

    def _ending_with(
        self, pool: tuple[str, Node], parts: tuple[tuple[str, Node], ...], mark: str
    ) -> "Net":
        body = Chain.of((*parts, pool, ("fc", Linear(self.num_classes))))
        aux = tuple((at, head) for at, head in self.aux if at in dict(parts))
        return replace(self, name=f"{self.name}@{mark}", body=body, aux=aux)

    def with_heads(self, at: Iterable[str], head: Chain | None = None) -> "Net":
        """Return this net with an auxiliary head after each part named in `at`, and none elsewhere.

        The head defaults to the net's own. Raises InceptiveError if the net has none, or no such part
        before its classifier.
        """
        if head is None and not self.aux:
            raise InceptiveError(
                f"{self.name} has no auxiliary head that could stand elsewhere; googlenet.bn has, for "
                "one (net googlenet.bn, weights none)"
            )
        chain = head or self.aux[0][1]
        wanted, before = set(at), [name for name, _ in self.body.parts[:-1]]
        if unknown := wanted.difference(before):
            raise InceptiveError(
                f"{self.name} has no part {', '.join(sorted(unknown))} for a head to read; "
                f"{_there_are(before)}"
            )
        return replace(self, aux=tuple((name, chain) for name in before if name in wanted))


READS = ({"mean", "max"}, {"here", "on"})
"""Branches of a Concat that `Net.reading` makes: of the last part that is read, and of those before."""
RESERVED = ("images", "logits", "normalise", "novelty")
"""What a net reads and gives, and what stands before its first part in an exported graph."""


def refuse_others(value: object, function: str) -> None:
    """Raise InceptiveError, saying what `function` accepts, if `value` is not a word."""
    if not isinstance(value, Word):
        name = getattr(value, "name", value if isinstance(value, str) else "googlenet")
        raise InceptiveError(
            f"{function} takes a value, not {type(value).__name__}; for a net of NETS: "
            f"{function}(NETS[{name!r}](num_classes=10))"
        )


def refuse_impossible(**numbers: int | None) -> None:
    """Raise InceptiveError, naming it, if one of `numbers` is no count: a whole number from 1."""
    for name, number in numbers.items():
        if number is not None and (type(number) is not int or number < 1):
            raise InceptiveError(f"{name} is a whole number from 1, not {number!r}")


def children(node: Node) -> tuple[tuple[str, Node], ...]:
    """Named parts of a group or an Add; none for a layer."""
    match node:
        case Group():
            return node.parts
        case Add(shortcut=shortcut):
            return node.parts if shortcut else node.parts[:1]
        case _:
            return ()


def nodes(node: Node, name: str = "", reads: str = "") -> Iterator[tuple[str, Node, str]]:
    """Yield `node`, called `name`, and all nodes inside it, in order: see `Net.nodes`."""
    yield name, node, reads
    for part, child in children(node):
        path = f"{name}.{part}".lstrip(".")
        yield from nodes(child, path, reads)
        if isinstance(node, Chain):
            reads = path


def gives_vector(node: Node, vector: bool = False, name: str = "") -> bool:
    """Whether `node`, called `name`, outputs vectors (N, C) rather than maps (N, C, H, W).

    vector: whether it reads vectors. Raises InceptiveError if a spatial layer reads vectors, or if
    the two are combined.
    """
    match node:
        case Linear():
            return True
        case Conv() | Separable() | MaxPool() | AvgPool() | LRN():
            if vector:
                raise InceptiveError(f"{name}: {node} reads maps, and a Linear stands before it")
            return False
        case BatchNorm() | Activation() | Dropout():
            return vector
        case Chain():
            for part, child in node:
                vector = gives_vector(child, vector, f"{name}.{part}")
            return vector
        case Concat() | Multiply() | Add():
            kinds = {gives_vector(child, vector, f"{name}.{part}") for part, child in node.parts}
        case _:
            assert_never(node)
    if len(kinds) > 1:
        raise InceptiveError(f"{name}: one branch gives vectors and another maps")
    return kinds.pop()


def words(value: Word) -> Iterator[tuple[Word, int]]:
    """Yield `value` and every word in it, each with its depth: `value` has 1."""
    waiting: list[tuple[Word, int]] = [(value, 1)]
    while waiting:
        word, depth = waiting.pop()
        yield word, depth
        for held in vars(word).values():
            if isinstance(held, Word):
                waiting.append((held, depth + 1))
            elif isinstance(held, tuple):  # of a kernel, or of named parts
                waiting += [(item[1], depth + 1) for item in held if isinstance(item, tuple)]


def _check_bounds(value: Word) -> None:
    """Readers recurse: what nests too deep would end them."""
    for count, (_, depth) in enumerate(words(value), start=1):
        if count > MAX_WORDS or depth > MAX_DEPTH:
            raise InceptiveError(
                f"a net has at most {MAX_WORDS:,} words, nested at most {MAX_DEPTH} deep"
            )


def _head_name(at: str) -> str:
    return f"aux_{at.removeprefix('inception_').removeprefix('mixed_')}"


def _there_are(names: Iterable[str]) -> str:
    return f"there are: {', '.join(names) or 'none'}"


@cache
def _fields(word: Any) -> list[tuple[str, Any, Callable[[Any], bool]]]:
    """Name, type and test of each field of a word."""
    hints = get_type_hints(word, include_extras=True)
    return [(name, hint, matcher(hint, exact=True)) for name, hint in hints.items()]
