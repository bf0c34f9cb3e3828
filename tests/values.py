"""Nets that hypothesis makes: any words of the vocabulary, in any order that the shapes allow."""

from hypothesis import strategies as st

from inceptive.arch.account import out_shape
from inceptive.arch.spec import (
    LRN,
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    Multiply,
    Net,
    Separable,
)
from inceptive.errors import InceptiveError

SIDES = st.integers(1, 3)
KERNELS = SIDES | st.tuples(SIDES, SIDES)
PADS = st.sampled_from(["same", "valid", "tf", 0, 1])
NORMS = st.builds(
    BatchNorm, eps=st.floats(1e-4, 1), momentum=st.floats(0.01, 1), scale=st.booleans()
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,5}x", fullmatch=True)  # no attribute of a module ends so
ANYWHERE = st.one_of(
    NORMS,
    st.builds(Activation, st.sampled_from(["relu", "sigmoid"])),
    st.builds(Dropout, st.floats(0, 0.9)),
)
OPTIONS = {"norm": st.none() | NORMS, "relu": st.booleans()}
LAYERS = st.one_of(
    st.builds(Conv, SIDES, KERNELS, SIDES, PADS, bias=st.none() | st.booleans(), **OPTIONS),
    st.builds(Separable, SIDES, SIDES, SIDES, PADS, multiplier=SIDES, **OPTIONS),
    st.builds(
        MaxPool, st.integers(2, 4), st.integers(1, 2), st.sampled_from(["same", "valid", "tf", 1])
    ),
    st.builds(MaxPool, SIDES, st.just(1), st.just("ceil")),
    st.builds(MaxPool, st.just(3), SIDES, st.just("ceil")),
    st.builds(
        AvgPool,
        st.integers(2, 4),
        SIDES,
        st.none() | SIDES,
        st.sampled_from(["same", "valid", 1]),
        st.booleans(),
    ),
    st.builds(AvgPool, grid=SIDES),
    st.builds(
        LRN,
        st.sampled_from([1, 3, 5]),
        alpha=st.floats(1e-4, 1),
        beta=st.floats(0.1, 1),
        k=st.sampled_from([1, 2.0]),
    ),
    ANYWHERE,
)
VECTORS = ANYWHERE | st.builds(Linear, SIDES, st.booleans(), st.booleans())


@st.composite
def chains(draw, shape, depth=2):
    """A chain that takes maps of `shape`."""
    parts = {}
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        node = draw(branching(shape, depth) if depth and draw(st.booleans()) else LAYERS)
        try:
            shape = out_shape(node, shape)
        except InceptiveError:
            continue
        parts[name] = node
    return Chain(**parts)


@st.composite
def branching(draw, shape, depth):
    """Branches side by side on maps of `shape`: all are brought to what the first one gives."""
    first = draw(chains(shape, depth - 1))
    wanted = out_shape(first, shape)
    kind = draw(st.sampled_from([Concat, Multiply, Add, Chain]))
    if kind is Chain:
        return first
    others = []
    for _ in range(draw(st.integers(0, 2))):
        chain = draw(chains(shape, depth - 1))
        given = out_shape(chain, shape)
        parts = dict(chain)
        if given[1:] != wanted[1:]:
            if wanted[1] != wanted[2]:
                continue
            parts["gridy"] = AvgPool(grid=wanted[1])
        if kind is not Concat:
            parts["upy"] = Conv(wanted[0], 1)
        others.append(Chain(**parts))
    if kind is not Add:
        return kind(firstx=first, **{f"b{k}x": other for k, other in enumerate(others)})
    same = wanted == shape
    if not others and not same:
        return first
    shortcut = None if same and draw(st.booleans()) else (others or [Chain()])[0]
    scale = draw(st.floats(-1, 1) | st.just(1))
    return Add(first, shortcut if shortcut or same else others[0], scale, draw(st.booleans()))


@st.composite
def nets(draw):
    channels, size, classes = (
        draw(st.sampled_from([1, 3])),
        draw(st.integers(5, 9)),
        draw(st.integers(1, 4)),
    )
    shape = (channels, size, size)
    maps = draw(chains(shape))
    vector = draw(st.lists(VECTORS, max_size=2))
    head = Chain(**dict(draw(chains(out_shape(maps, shape), 0))), fcy=Linear(classes))
    vectors = {f"v{k}x": node for k, node in enumerate(vector)} if vector else {}
    body = Chain(trunkx=maps, flatx=Linear(3), **vectors, fc=Linear(classes))
    aux = (("trunkx", head),) if draw(st.booleans()) else ()
    return Net("mine", body, classes, draw(st.sampled_from(["", "·"])), aux, channels, size)
