"""Any net forward and backward with `layers`: every value and every gradient, by name.

Names are those of the value, joined with dots, as everywhere: `inception_3a.b5x5.conv` is the output
of that unit, `inception_3a` what the module gives. Inside a unit the steps have names of their own:
`/sum` (the convolution with its bias), `/norm` (after batch normalisation), `/m` (the denominator of
local response normalisation). A separable convolution has two halves, `.depthwise` and `.pointwise`,
and an Add always a `.shortcut`. The weights are named as in `Model.state_dict()`.
"""

from dataclasses import dataclass, field, replace
from functools import reduce
from typing import NamedTuple, assert_never

import numpy as np

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
    Pad,
    Separable,
)
from inceptive.errors import InceptiveError
from inceptive.reference import layers
from inceptive.reference.layers import Array, Pads

Named = dict[str, Array]


class Window(NamedTuple):
    """The windows of a layer: that of position i, j begins `stride` i - above, `stride` j - left."""

    kernel: tuple[int, int]
    stride: int
    pads: Pads


class Formula(NamedTuple):
    """One step inside a layer: name = formula, which gives the value called `of`, entry by entry.

    Each {operand} of the formula is a number, or the name of a value or a weight that holds it; None
    stands for what the layer's windows add up to.
    """

    name: str
    formula: str
    operands: dict[str, str | float | None]
    of: str


@dataclass
class Pass:
    """One batch through `net`, forward and then backward.

    values: the images and the output of every part, layer and step. gradients: of the loss, for each
    of `values`. weights and weight_gradients: by state-dict key. statistics: the running
    statistics after the batch, where `training`. Of each layer by name, reads: the value it reads,
    windows: where it reads it, steps: how its output comes of that, as at inference.
    """

    net: Net
    weights: Named
    training: bool = False
    masks: Named = field(default_factory=dict)
    seed: int = 0
    values: Named = field(default_factory=dict)
    gradients: Named = field(default_factory=dict)
    weight_gradients: Named = field(default_factory=dict)
    statistics: Named = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict, repr=False)
    windows: dict[str, Window] = field(default_factory=dict, repr=False)
    steps: dict[str, list[Formula]] = field(default_factory=dict, repr=False)
    _chosen: Named = field(default_factory=dict, repr=False)

    def forward(self, images: Array, heads: bool = True) -> Named:
        """Logits (N, K) of images (N, C, H, W): those of the body and, with `heads`, of each head.

        While training batch normalisation takes the statistics of the batch, and dropout the masks
        given in `masks` by the layer's name (1 kept, 0 dropped), else masks drawn from `seed`.
        Raises InceptiveError for images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != self.net.channels:
            raise InceptiveError(
                f"{self.net.name} takes images (N, {self.net.channels}, H, W), not {images.shape}"
            )
        self.values["images"] = images
        self.windows.clear()
        reads, logits = "images", {}
        for name, part, readers in self.net.walk():
            self._forward(part, name, reads)
            for head, chain in readers.items() if heads else ():
                logits[head] = self._forward(chain, head, name)
            reads = name
        return {reads: self.values[reads]} | logits

    def backward(self, dlogits: Named) -> Array:
        """d(images), from the gradient of the loss for the logits that `forward` gave.

        Fills `gradients` and `weight_gradients`. A part that a head reads too gets the sum of both
        gradients.
        """
        dy = dlogits[self.net.last]
        for name, part, readers in reversed([*self.net.walk()]):
            for head, chain in readers.items():
                if head in dlogits:
                    dy = dy + self._backward(chain, head, dlogits[head])
            dy = self._backward(part, name, dy)
        self.gradients["images"] = dy
        return dy

    def through(self, node: Node | None, name: str, index: tuple[int, ...]) -> "Pass":
        """The gradients that come back through one value of `name` alone, in the first image.

        index is (f,) or (f, i, j). node None: of the depthwise half of a separable convolution.
        """
        alone = replace(self, gradients={}, weight_gradients={})
        dy = np.zeros_like(self.values[name])
        dy[0, *index] = self.gradients[name][0, *index]
        back = alone._backward(node, name, dy) if node else alone._depthwise_backward(name, dy)
        alone.gradients[self.reads[name]] = back
        return alone

    # One node forward, called `name`, on the value called `reads`

    def _forward(self, node: Node, name: str, reads: str) -> Array:
        self.reads[name], self.steps[name] = reads, []
        y = self.values[name] = self._value(node, name, reads)
        return y

    def _value(self, node: Node, name: str, reads: str) -> Array:
        x, w = self.values[reads], self.weights
        match node:
            case Conv():
                _, stride, pads = self._window(name, node, x)
                y = layers.conv(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride, pads)
                return self._end_of_unit(name, y, node.norm, node.relu)
            case Separable():
                # arXiv:1610.02357: a kernel for each channel by itself, then 1x1 across them
                first, last = f"{name}.depthwise", f"{name}.pointwise"
                _, stride, pads = self._window(first, node, x)
                m = layers.conv(x, w[f"{first}.weight"], None, stride, pads, groups=x.shape[1])
                self.reads[first], self.values[first] = reads, m
                self.steps[first] = [Formula("m", "{products}", {"products": None}, first)]
                return self._forward(node.pointwise, last, first)
            case MaxPool():
                y, self._chosen[name] = layers.max_pool(x, *self._window(name, node, x))
                return self._step(name, "y", y, "{maximum}", maximum=name)
            case AvgPool(kernel, grid=grid, count_pad=count):
                if kernel is None or not windows_give_the_grid(node, x):
                    y = layers.grid_pool(x, grid or 1)
                else:
                    y = layers.avg_pool(x, *self._window(name, node, x), count)
                return self._step(name, "y", y, "{total} / {count}", total=None, count=None)
            case LRN(size, alpha, beta, k):
                formula = "{k} + {alpha} / {n} · {squares}"
                m = layers.energy(x, size, alpha, k)
                self._step(name, "m", m, formula, k=k, alpha=alpha, n=size, squares=None)
                y = layers.lrn(x, size, alpha, beta, k)
                return self._step(
                    name, "y", y, "{x} · {m}^-{beta}", x=reads, m=f"{name}/m", beta=beta
                )
            case BatchNorm():
                return self._norm(name, "y", name, node, x=reads)
            case Linear(relu=relu):
                y = layers.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))
                return self._end_of_unit(name, y, None, relu)
            case Activation("sigmoid"):
                return self._step(name, "y", layers.sigmoid(x), "1 / (1 + exp(-{x}))", x=reads)
            case Activation():
                return self._step(name, "y", layers.relu(x), "max({x}, 0)", x=reads)
            case Dropout(drop):
                y = layers.dropout(x, self._mask(name, x, drop), drop) if self.training else x
                return self._step(name, "y", y, "{x}", x=reads)
            case Chain():
                for part, child in node:
                    x = self._forward(child, f"{name}.{part}", reads)
                    reads = f"{name}.{part}"
                return x
            case Concat():
                y = layers.concat(self._side_by_side(node, name, reads))
                return self._step(name, "y", y, "{x}", x=name)
            case Multiply():
                y = layers.multiply(self._side_by_side(node, name, reads))
                factors = {part: f"{name}.{part}" for part, _ in node}
                return self._step(
                    name, "y", y, " · ".join(f"{{{part}}}" for part in factors), **factors
                )
            case Add(scale=scale, relu=relu):
                branch, shortcut = self._side_by_side(node, name, reads)
                y = layers.add(shortcut, branch, scale)
                formula = "{shortcut} + {scale} · {branch}"
                first, last = f"{name}.shortcut", f"{name}.branch"
                self._step(name, "sum", y, formula, shortcut=first, scale=scale, branch=last)
                return self._relu(name, "sum", y) if relu else y
            case _:
                assert_never(node)

    def _side_by_side(self, node: Concat | Multiply | Add, name: str, reads: str) -> list[Array]:
        return [self._forward(child, f"{name}.{part}", reads) for part, child in node.parts]

    def _window(self, name: str, node: Conv | Separable | MaxPool | AvgPool, x: Array) -> Window:
        if node.kernel is None:  # the whole map
            return self.windows.setdefault(name, Window(x.shape[2:], 1, ((0, 0), (0, 0))))
        sides = (node.kernel, node.kernel) if isinstance(node.kernel, int) else node.kernel
        pads = window_pads(node.pad, sides, node.stride, x)
        return self.windows.setdefault(name, Window(sides, node.stride, pads))

    def _step(
        self, layer: str, step: str, y: Array, formula: str, /, **operands: str | float | None
    ) -> Array:
        """Keep y, the value of a step of `layer`, and how it comes about; its last step is "y"."""
        of = layer if step == "y" else f"{layer}/{step}"
        self.steps[layer].append(Formula(step, formula, operands, of))
        self.values[of] = y
        return y

    def _end_of_unit(self, name: str, y: Array, norm: BatchNorm | None, relu: bool) -> Array:
        """What follows y, the products and their bias."""
        bias = {"b": f"{name}.bias"} if f"{name}.bias" in self.weights else {}
        self._step(name, "sum", y, "{products}" + " + {b}" * len(bias), products=None, **bias)
        before = "sum"
        if norm is not None:
            y, before = self._norm(name, "norm", f"{name}.bn", norm, sum=f"{name}/sum"), "norm"
        return self._relu(name, before, y) if relu else y

    def _relu(self, name: str, before: str, y: Array) -> Array:
        formula, of = f"max({{{before}}}, 0)", {before: f"{name}/{before}"}
        return self._step(name, "y", layers.relu(y), formula, **of)

    def _norm(self, layer: str, step: str, key: str, norm: BatchNorm, **reads: str) -> Array:
        """A step of `layer` that normalises a value; reads: its name in the formula, and its own."""
        [(called, of)] = reads.items()
        x = self.values[of]
        gamma, beta = self.weights.get(f"{key}.weight"), self.weights[f"{key}.bias"]
        mean, var = self.weights[f"{key}.running_mean"], self.weights[f"{key}.running_var"]
        if self.training:
            before, (mean, var) = (mean, var), layers.batch_statistics(x)
            # The running variance is that of all images: its estimate divides by M - 1.
            count = x.size // x.shape[1]
            moved = {"running_mean": mean, "running_var": var * count / max(count - 1, 1)}
            for (statistic, new), old in zip(moved.items(), before, strict=True):
                self.statistics[f"{key}.{statistic}"] = old + norm.momentum * (new - old)
        y = layers.batch_norm(x, gamma, beta, mean, var, norm.eps)
        scale = {} if gamma is None else {"gamma": f"{key}.weight"}
        formula = f"({{{called}}} - {{mean}}) / sqrt({{var}} + {{eps}}) + {{beta}}"
        return self._step(
            layer, step, y, "{gamma} · " * len(scale) + formula, **reads, **scale,
            mean=f"{key}.running_mean", var=f"{key}.running_var", eps=norm.eps, beta=f"{key}.bias",
        )  # fmt: skip

    # One node backward: dy is the gradient of its output, and that of its input is returned

    def _backward(self, node: Node, name: str, dy: Array) -> Array:
        self.gradients[name] = dy
        w, x, y = self.weights, self.values[self.reads[name]], self.values[name]
        match node:
            case Conv(norm=norm, relu=relu):
                dy = self._back_to_sum(name, dy, norm, relu)
                _, stride, pads = self.windows[name]
                dx, dw, db = layers.conv_backward(dy, x, w[f"{name}.weight"], stride, pads)
                self._note(name, weight=dw, bias=db)
                return dx
            case Separable():
                dm = self._backward(node.pointwise, f"{name}.pointwise", dy)
                return self._depthwise_backward(f"{name}.depthwise", dm)
            case MaxPool():
                return layers.max_pool_backward(dy, x, self._chosen[name], *self.windows[name])
            case AvgPool(count_pad=count):
                if name not in self.windows:
                    return layers.grid_pool_backward(dy, x)
                return layers.avg_pool_backward(dy, x, *self.windows[name], count)
            case LRN(size, alpha, beta, k):
                m = self.values[f"{name}/m"]
                self.gradients[f"{name}/m"] = -dy * beta * x * m ** (-beta - 1)
                return layers.lrn_backward(dy, x, size, alpha, beta, k)
            case BatchNorm():
                return self._norm_backward(name, node, dy, x)
            case Linear(relu=relu):
                dy = self._back_to_sum(name, dy, None, relu)
                dx, dw, db = layers.linear_backward(dy, x, w[f"{name}.weight"])
                self._note(name, weight=dw, bias=db)
                return dx
            case Activation(kind):
                back = layers.sigmoid_backward if kind == "sigmoid" else layers.relu_backward
                return back(dy, y)
            case Dropout(drop):
                return layers.dropout_backward(dy, self.masks[name], drop) if self.training else dy
            case Chain():
                for part, child in reversed(node.parts):
                    dy = self._backward(child, f"{name}.{part}", dy)
                return dy
            case Concat():
                names = [f"{name}.{part}" for part, _ in node]
                parts = layers.concat_backward(dy, [self.values[n].shape[1] for n in names])
                return self._sum_of_branches(node, name, parts)
            case Multiply():
                factors = [self.values[f"{name}.{part}"] for part, _ in node]
                return self._sum_of_branches(node, name, layers.multiply_backward(dy, factors))
            case Add(scale=scale, relu=relu):
                dy = self._back_to_sum(name, dy, None, relu)
                dshortcut, dbranch = layers.add_backward(dy, scale)
                return self._sum_of_branches(node, name, [dbranch, dshortcut])
            case _:
                assert_never(node)

    def _sum_of_branches(self, node: Concat | Multiply | Add, name: str, dys: list[Array]) -> Array:
        """Branches read one input, so their gradients for it add up."""
        dxs = [self._backward(child, f"{name}.{part}", dy)
               for (part, child), dy in zip(node.parts, dys, strict=True)]  # fmt: skip
        return reduce(np.add, dxs)

    def _depthwise_backward(self, name: str, dm: Array) -> Array:
        self.gradients[name] = dm
        x, (_, stride, pads) = self.values[self.reads[name]], self.windows[name]
        w = self.weights[f"{name}.weight"]
        dx, dw, _ = layers.conv_backward(dm, x, w, stride, pads, groups=x.shape[1])
        self._note(name, weight=dw)
        return dx

    def _back_to_sum(self, name: str, dy: Array, norm: BatchNorm | None, relu: bool) -> Array:
        if relu:
            dy = layers.relu_backward(dy, self.values[name])
        if norm is not None:
            self.gradients[f"{name}/norm"] = dy
            dy = self._norm_backward(f"{name}.bn", norm, dy, self.values[f"{name}/sum"])
        self.gradients[f"{name}/sum"] = dy
        return dy

    def _norm_backward(self, key: str, norm: BatchNorm, dy: Array, x: Array) -> Array:
        gamma = self.weights.get(f"{key}.weight")
        if self.training:
            dx, dgamma, dbeta = layers.batch_norm_training_backward(dy, x, gamma, norm.eps)
        else:
            mean, var = self.weights[f"{key}.running_mean"], self.weights[f"{key}.running_var"]
            dx, dgamma, dbeta = layers.batch_norm_backward(dy, x, gamma, mean, var, norm.eps)
        self._note(key, weight=dgamma, bias=dbeta)
        return dx

    def _mask(self, name: str, x: Array, drop: float) -> Array:
        """The mask given for this layer, or one drawn from `seed`: the same whatever ran before."""
        if name not in self.masks:
            rng = np.random.default_rng([self.seed, *name.encode()])
            self.masks[name] = (rng.random(x.shape) >= drop).astype(x.dtype)
        return self.masks[name]

    def _note(self, name: str, **gradients: Array) -> None:
        """Keep the gradients of the weights that the net has: not of a bias where there is none."""
        for leaf, gradient in gradients.items():
            if (key := f"{name}.{leaf}") in self.weights:
                self.weight_gradients[key] = gradient


def loss_and_gradients(
    run: Pass,
    images: Array,
    labels: Array,
    aux_weight: float = 0.3,
    label_smoothing: float = 0.0,
) -> tuple[float, Named]:
    """Run `run` forward and backward; returns the total loss and each head's logits.

    total = cross-entropy of the logits + aux_weight * the sum of the auxiliary heads'
    (arXiv:1409.4842, section 5). The gradients lie in `run` afterwards. labels are (N,).
    """
    logits = run.forward(images, heads=aux_weight > 0)
    q = layers.targets(labels, run.net.num_classes, label_smoothing)
    share = {head: 1.0 if head == run.net.last else aux_weight for head in logits}
    total = sum(share[head] * layers.cross_entropy(z, q) for head, z in logits.items())
    run.backward(
        {head: share[head] * layers.cross_entropy_backward(z, q) for head, z in logits.items()}
    )
    return total, logits


def window_pads(pad: Pad, kernel: tuple[int, int], stride: int, x: Array) -> Pads:
    """How much wider than x the windows read, above and below, left and right."""
    high, wide = (
        _around(pad, k, stride, side) for k, side in zip(kernel, x.shape[2:], strict=True)
    )
    return high, wide


def _around(pad: Pad, kernel: int, stride: int, side: int) -> tuple[int, int]:
    match pad:
        case "same":
            return kernel // 2, kernel // 2
        case "valid":
            return 0, 0
        case "ceil":  # as many windows as touch the input; the last may hang over
            last = -(-(side - kernel) // stride) * stride
            return 0, max(last + kernel - side, 0)
        case "tf":  # ceil(side / stride) windows
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            return total // 2, total - total // 2
        case int():
            return pad, pad
        case _:
            assert_never(pad)


def windows_give_the_grid(node: AvgPool, x: Array) -> bool:
    """Whether the windows of `node` slide over x: else it averages to its grid, whatever the size."""
    assert node.kernel is not None
    if node.grid is None:
        return True
    pads = window_pads(node.pad, (node.kernel, node.kernel), node.stride, x)
    slid = [
        (side + sum(around) - node.kernel) // node.stride + 1
        for side, around in zip(x.shape[2:], pads, strict=True)
    ]
    return slid == [node.grid, node.grid]
