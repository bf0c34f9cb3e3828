"""The ONNX graph of a net, written directly from the value and its weights, without tracing.

The input `images` is uint8 (N, C, S, S) as `Preprocessing.load` returns it: casting and normalising
are part of the graph, so it cannot be deployed with others. N is dynamic, S is the preprocessing's.
The output `logits` is float32 (N, K). Nodes are named as in the value (`inception_3a.b5x5.conv`), their
weights as in the state dict; batch normalisation is folded into the preceding convolution.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np

from inceptive.arch.account import Shape, account, out_shape, padding, sides, windows_fit
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
    Node,
    Separable,
)
from inceptive.engines.novelty import SUREST, Novelty
from inceptive.errors import InceptiveError, requires
from inceptive.images import Preprocessing

OPSET, IR_VERSION = 17, 8  # of 2022: every operator used here is older, every runtime reads them
INPUT, OUTPUT, NOVELTY = "images", "logits", "novelty"
NORMALISE = ("normalise.cast", "normalise.scale", "normalise.shift")
"""The nodes between the bytes and the first layer."""
SCORE = tuple(
    f"{NOVELTY}.{part}"
    for part in (
        "flat", "centred", "scaled", "far", "mean_far", "distance",
        "greatest", "probs", "prob", "log", "energy", "scale", "sure", "capped", "less",
    )
)  # fmt: skip
"""The nodes between the last layer and how unlike all classes an image is."""
PLAIN = (*NORMALISE, *SCORE, NOVELTY)
"""The nodes that a quantiser leaves alone."""

DEQUANTISED = "_DequantizeLinear_Output"
"""What ONNX Runtime's quantiser appends to the name of a tensor for its rounded values."""

Tensors = Mapping[str, np.ndarray]


def onnx_graph(
    net: Net,
    tensors: Tensors,
    preprocessing: Preprocessing,
    heads: Iterable[str] = (),
    cuts: Iterable[str] = (),
    novelty: Novelty | None = None,
) -> Any:
    """Build the onnx.ModelProto of `net` with the state-dict `tensors`, for squares of `preprocessing`.

    Outputs are `logits` (N, K) and then each of `heads` by its name (N, K); with `novelty` also its
    scores, under that name (N,): above 0 for an image like none of the classes.
    For each head among `cuts`, the maps that it reads are also an output, called HEAD.maps.

    Raises InceptiveError without the package onnx, for a head that the net lacks or whose weights
    are not among `tensors`, and if the net does not accept squares of that size.
    """
    heads = list(heads)
    for head in heads:
        if head not in net.heads():
            heads_there = ", ".join(net.heads()) or "none"
            raise InceptiveError(f"{net.name} has no head {head!r}; there are: {heads_there}")
    if preprocessing.channels != net.channels:
        raise InceptiveError(
            f"{net.name} takes images of {net.channels} channels, "
            f"not {preprocessing.channels} as its preprocessing gives"
        )
    account(net, preprocessing.size)  # too small a square is refused here, in words
    graph = _Graph(package(), tensors)
    x = graph.normalised(preprocessing)
    outputs: list[tuple[str, tuple[int, ...]]] = []
    maps: list[tuple[str, tuple[int, ...]]] = []
    cut = set(cuts)
    for name, node, readers in net.walk():
        features, x = x, graph.write(node, name, x)
        if name == net.last:
            outputs.insert(0, (graph.end(x, OUTPUT), x.shape[:1]))
            if novelty:
                maps.append((graph.score(novelty, features), ()))
        for head, chain in readers.items():
            if head in heads:
                ended = graph.write(chain, head, x)
                outputs.append((graph.end(ended, head), ended.shape[:1]))
                if head in cut:
                    maps.append((graph.node("Identity", maps_of(head), [x.name]), x.shape))
    size = preprocessing.size
    return graph.model(net, (net.channels, size, size), outputs + maps)


def maps_of(head: str) -> str:
    """Name of the output with the maps that a head reads: where early exit cuts the net."""
    return f"{head}.maps"


def tensor_of(net: Net, layer: str) -> str:
    """Name of the tensor that holds the output of `layer`, a part, group or layer of `net`."""
    nodes = {name: (node, reads) for name, node, reads in net.nodes()}
    node, reads = nodes[layer]
    match node:
        case Dropout() | Chain(parts=()):
            return tensor_of(net, reads) if reads in nodes else NORMALISE[-1]
        case Chain(parts=(*_, (last, _))) | Multiply(parts=((last, _),)):
            return tensor_of(net, f"{layer}.{last}")
        case Separable():
            layer = f"{layer}.pointwise"
    if layer == net.last:
        return OUTPUT
    if any(layer == f"{head}.{chain.parts[-1][0]}" for head, (_, chain) in net.heads().items()):
        return layer.partition(".")[0]
    return f"{layer}.relu" if getattr(node, "relu", False) else layer


def ending_at(file: bytes, tensor: str) -> bytes | None:
    """Return the ONNX file cut to what gives `tensor`, its one output; None if it has no such tensor.

    Of a quantised file it is what the layers behind read: rounded, and cut off where a ReLU was merged.
    """
    onnx = package()
    model = onnx.load_model_from_string(file)
    by_output = {name: node for node in model.graph.node for name in node.output}
    if (read := f"{tensor}{DEQUANTISED}") in by_output:
        tensor = read
    if tensor not in by_output:
        return None
    waiting, needed = [tensor], set()
    while waiting:
        name = waiting.pop()
        if name in by_output and name not in needed:
            waiting += by_output[name].input
        needed.add(name)
    nodes = [node for node in model.graph.node if needed.intersection(node.output)]
    weights = [weight for weight in model.graph.initializer if weight.name in needed]
    for old, new in ((model.graph.node, nodes), (model.graph.initializer, weights)):
        del old[:]
        old.extend(new)
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None)
    )
    return bytes(model.SerializeToString())


def with_metadata(file: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return the ONNX file with these properties, and no others."""
    onnx = package()
    model = onnx.load_model_from_string(file)
    onnx.helper.set_model_props(model, dict(metadata))
    return bytes(model.SerializeToString())


def package() -> Any:
    """Import onnx, which writes and reads the files. Raises InceptiveError if it is missing."""
    with requires("ONNX files need onnx", "export"):
        import onnx
    return onnx


@dataclass(frozen=True)
class _Value:
    """A tensor of the graph: its name, and its shape (C, H, W) without N. flat: it is (N, C)."""

    name: str
    shape: Shape
    flat: bool = False


@dataclass
class _Graph:
    """Nodes and weights as they are written, one after another."""

    onnx: Any
    tensors: Tensors
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def node(self, kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Write a node; its one output is called after it."""
        output = self.onnx.helper.make_node(kind, inputs, [name], name=name, **attributes)
        self.nodes.append(output)
        return name

    def weight(self, name: str, value: np.ndarray) -> str:
        """Store a constant in float32 (int64 where it is whole numbers)."""
        dtype = np.int64 if value.dtype.kind == "i" else np.float32
        array = np.ascontiguousarray(value, dtype=dtype)
        self.weights.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def tensor(self, key: str) -> np.ndarray:
        """A tensor of the state dict in float64, so that folding loses nothing."""
        if key not in self.tensors:
            raise InceptiveError(f"the weights lack {key}: the model was kept without that part")
        return np.asarray(self.tensors[key], dtype=np.float64)

    def end(self, value: _Value, name: str) -> str:
        """Call the output of the node written last `name`."""
        self.nodes[-1].output[0] = name
        assert self.nodes[-1].name == value.name, "only what was written last can be an output"
        return name

    def normalised(self, preprocessing: Preprocessing) -> _Value:
        """uint8 to what the first layer takes, as `Classifier.normalise` does it."""
        scale, shift = preprocessing.scale_and_shift()
        cast, by, plus = NORMALISE
        self.node("Cast", cast, [INPUT], to=self.onnx.TensorProto.FLOAT)
        self.node("Mul", by, [cast, self.weight("normalise.by", scale)])
        self.node("Add", plus, [by, self.weight("normalise.plus", shift)])
        size = preprocessing.size
        return _Value(plus, (preprocessing.channels, size, size))

    def write(self, node: Node, name: str, x: _Value) -> _Value:
        """The nodes of `node`, called `name`, on `x`; and what comes out."""
        match node:
            case Conv():
                return self.conv(node, name, x)
            case Separable():
                return self.separable(node, name, x)
            case MaxPool(None):
                output = self.node("GlobalMaxPool", name, [x.name])
                return _Value(output, out_shape(node, x.shape))
            case MaxPool():
                output = self.node("MaxPool", name, [x.name], **_windows(node, x.shape))
                return _Value(output, out_shape(node, x.shape))
            case AvgPool():
                return self.average(node, name, x)
            case LRN(size, alpha, beta, k):
                constants = {"alpha": float(alpha), "beta": float(beta), "bias": float(k)}
                output = self.node("LRN", name, [x.name], size=size, **constants)
                return _Value(output, x.shape)
            case BatchNorm():
                scale, shift = self.scale_and_shift(node, name)
                shape = (-1,) if x.flat else (-1, 1, 1)
                by = self.weight(f"{name}.by", scale.reshape(shape))
                plus = self.weight(f"{name}.plus", shift.reshape(shape))
                scaled = self.node("Mul", f"{name}.scale", [x.name, by])
                return _Value(self.node("Add", name, [scaled, plus]), x.shape, x.flat)
            case Linear(out, relu, bias):
                flat = x.name if x.flat else self.node("Flatten", f"{name}.flatten", [x.name])
                inputs = [flat, self.weight(f"{name}.weight", self.tensor(f"{name}.weight"))]
                if bias:
                    inputs.append(self.weight(f"{name}.bias", self.tensor(f"{name}.bias")))
                output = self.node("Gemm", name, inputs, transB=1)
                return self.relu(relu, name, _Value(output, (out, 1, 1), flat=True))
            case Activation(kind):
                operator = {"relu": "Relu", "sigmoid": "Sigmoid"}[kind]
                return _Value(self.node(operator, name, [x.name]), x.shape, x.flat)
            case Dropout():
                return x
            case Chain():
                for part, child in node:
                    x = self.write(child, f"{name}.{part}", x)
                return x
            case Concat():
                branches = [self.write(child, f"{name}.{part}", x) for part, child in node]
                inputs = [branch.name for branch in branches]
                output = self.node("Concat", name, inputs, axis=1)
                return _Value(output, out_shape(node, x.shape), branches[0].flat)
            case Multiply():
                first, *others = (self.write(child, f"{name}.{part}", x) for part, child in node)
                product = first.name
                for number, other in enumerate(others, 1):
                    called = name if number == len(others) else f"{name}/product{number}"
                    product = self.node("Mul", called, [product, other.name])
                return _Value(product, first.shape, first.flat)
            case Add(branch, shortcut, scale, relu):
                side = x if shortcut is None else self.write(shortcut, f"{name}.shortcut", x)
                added = self.write(branch, f"{name}.branch", x)
                by = added.name
                if scale != 1:
                    factor = self.weight(f"{name}.by", np.array(scale))
                    by = self.node("Mul", f"{name}.scale", [by, factor])
                output = self.node("Add", name, [side.name, by])
                return self.relu(relu, name, _Value(output, added.shape, added.flat))
            case _:
                assert_never(node)

    def relu(self, relu: bool, name: str, x: _Value) -> _Value:
        if not relu:
            return x
        return _Value(self.node("Relu", f"{name}.relu", [x.name]), x.shape, x.flat)

    def scale_and_shift(self, norm: BatchNorm, name: str) -> tuple[np.ndarray, np.ndarray]:
        """scale, shift (C,) of batch normalisation at inference: x * scale + shift."""
        deviation = np.sqrt(self.tensor(f"{name}.running_var") + norm.eps)
        gamma = self.tensor(f"{name}.weight") if norm.scale else 1.0
        scale = gamma / deviation
        return scale, self.tensor(f"{name}.bias") - self.tensor(f"{name}.running_mean") * scale

    def conv(self, node: Conv, name: str, x: _Value) -> _Value:
        """Convolution with its batch normalisation folded in, then ReLU."""
        weight = self.tensor(f"{name}.weight")
        bias = self.tensor(f"{name}.bias") if node.has_bias else np.zeros(node.out)
        if node.norm:
            scale, shift = self.scale_and_shift(node.norm, f"{name}.bn")
            weight, bias = weight * scale[:, None, None, None], bias * scale + shift
        inputs = [x.name, self.weight(f"{name}.weight", weight)]
        if node.norm or node.has_bias:
            inputs.append(self.weight(f"{name}.bias", bias))
        output = self.node("Conv", name, inputs, **_windows(node, x.shape))
        return self.relu(node.relu, name, _Value(output, out_shape(node, x.shape)))

    def separable(self, node: Separable, name: str, x: _Value) -> _Value:
        """A convolution of each channel by itself, then a 1x1 with what follows it."""
        key = f"{name}.depthwise"
        inputs = [x.name, self.weight(f"{key}.weight", self.tensor(f"{key}.weight"))]
        output = self.node("Conv", key, inputs, group=x.shape[0], **_windows(node, x.shape))
        _, h, w = out_shape(node, x.shape)
        maps = _Value(output, (x.shape[0] * node.multiplier, h, w))
        return self.conv(node.pointwise, f"{name}.pointwise", maps)

    def score(self, novelty: Novelty, features: _Value) -> str:
        """The nodes of `Novelty.scores`, on what the last layer reads and the logits it gave."""
        (far, spread), (sure, width) = novelty.distance, novelty.energy
        constants = {
            "mean": novelty.mean,
            "by": 1 / novelty.std,
            "spread": np.array(1 / spread),
            "width": np.array(1 / width),
            "shift": np.array(-sure / width),
            "most": np.array(SUREST),
            "plus": np.array(-far / spread - novelty.threshold),
        }
        mean, by, spreads, widths, shift, surest, plus = (
            self.weight(f"{NOVELTY}.{name}", value) for name, value in constants.items()
        )
        flat, centred, scaled, away, mean_away, distance, *rest = SCORE
        x = features.name if features.flat else self.node("Flatten", flat, [features.name])
        self.node("Sub", centred, [x, mean])
        self.node("Mul", scaled, [centred, by])
        self.node("Abs", away, [scaled])
        self.node("ReduceMean", mean_away, [away], axes=[1], keepdims=0)
        self.node("Mul", distance, [mean_away, spreads])
        # ln sum exp(x) = max x - ln max softmax(x). OpenVINO sums ReduceLogSumExp over all axes.
        most, probs, prob, log, energy, scale, surely, capped, less = rest
        self.node("ReduceMax", most, [OUTPUT], axes=[1], keepdims=0)
        self.node("Softmax", probs, [OUTPUT], axis=1)
        self.node("ReduceMax", prob, [probs], axes=[1], keepdims=0)
        self.node("Log", log, [prob])
        self.node("Sub", energy, [most, log])
        self.node("Mul", scale, [energy, widths])
        self.node("Add", surely, [scale, shift])
        self.node("Min", capped, [surely, surest])
        self.node("Sub", less, [distance, capped])
        return self.node("Add", NOVELTY, [less, plus])

    def average(self, node: AvgPool, name: str, x: _Value) -> _Value:
        """Windows where they give the grid; else the mean of all, or adaptive windows exactly."""
        _, h, w = x.shape
        shape = out_shape(node, x.shape)
        if node.kernel is not None and windows_fit(node, (h, w)):
            counted = int(node.count_pad)
            windows = _windows(node, x.shape)
            output = self.node("AveragePool", name, [x.name], count_include_pad=counted, **windows)
            return _Value(output, shape)
        if (node.grid or 1) == 1:
            return _Value(self.node("GlobalAveragePool", name, [x.name]), shape)
        assert node.grid
        # ONNX has no adaptive pooling: a mean over rows and then columns is two constant products.
        rows = self.weight(f"{name}.rows", _adaptive(h, node.grid))
        columns = self.weight(f"{name}.columns", _adaptive(w, node.grid).T)
        across = self.node("MatMul", f"{name}.high", [rows, x.name])
        return _Value(self.node("MatMul", name, [across, columns]), shape)

    def model(self, net: Net, shape: Shape, outputs: list[tuple[str, tuple[int, ...]]]) -> Any:
        import inceptive

        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        graph = helper.make_graph(
            self.nodes,
            net.name,
            [helper.make_tensor_value_info(INPUT, kinds.UINT8, ["N", *shape])],
            [
                helper.make_tensor_value_info(name, kinds.FLOAT, ["N", *rest])
                for name, rest in outputs
            ],
            self.weights,
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="inceptive",
            producer_version=inceptive.__version__,
        )


def _windows(node: Conv | Separable | MaxPool | AvgPool, shape: Shape) -> dict[str, Any]:
    """The attributes of a node that moves windows over maps of `shape`.

    pads stand before the rows and columns, then after: numbers, since the size is known. A runtime's
    own words for them (SAME_UPPER, ceil_mode) are read differently here and there.
    """
    assert node.kernel is not None
    window_sides = sides(node.kernel)
    high, wide = (
        padding(side, window, node.stride, node.pad)
        for side, window in zip(shape[1:], window_sides, strict=True)
    )
    return {
        "kernel_shape": window_sides,
        "strides": (node.stride, node.stride),
        "pads": (high[0], wide[0], high[1], wide[1]),
    }


def _adaptive(side: int, grid: int) -> np.ndarray:
    """(grid, side): row k is the mean over adaptive window k, from floor to ceil of its share."""
    matrix = np.zeros((grid, side))
    for k in range(grid):
        start, stop = k * side // grid, -(-(k + 1) * side // grid)
        matrix[k, start:stop] = 1 / (stop - start)
    return matrix
