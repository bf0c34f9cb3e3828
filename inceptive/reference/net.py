"""Any net forward and backward with `layers`: every value and every gradient, by name.

Names are those of the value, joined with dots, as everywhere: `inception_3a.b5x5.conv` is the output
of that unit, `inception_3a` what the module gives. Inside a unit the steps have names of their own:
`/sum` (the convolution with its bias), `/norm` (after batch normalisation), `/depthwise` (the first
half of a separable one). The weights are named as in `Model.state_dict()`.
"""

from dataclasses import dataclass, field
from functools import reduce
from typing import assert_never

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


@dataclass
class Pass:
    """One batch through `net`, forward and then backward.

    values: the images and the output of every part, layer and step. gradients: of the loss, for each
    of `values`. weights and weight_gradients: by state-dict key. statistics: the running
    statistics after the batch, where `training`.
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
    _inputs: Named = field(default_factory=dict, repr=False)
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
        x, logits = images, {}
        for name, part, readers in self.net.walk():
            x = self._forward(part, name, x)
            for head, chain in readers.items() if heads else ():
                logits[head] = self._forward(chain, head, x)
        return {self.net.last: x} | logits

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

    # One node forward, called `name`, on x

    def _forward(self, node: Node, name: str, x: Array) -> Array:
        self._inputs[name] = x
        y = self.values[name] = self._value(node, name, x)
        return y

    def _value(self, node: Node, name: str, x: Array) -> Array:
        w = self.weights
        match node:
            case Conv(stride=stride, norm=norm, relu=relu):
                pads = conv_pads(node, x)
                y = layers.conv(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride, pads)
                return self._end_of_unit(name, name, y, norm, relu)
            case Separable(stride=stride, norm=norm, relu=relu):
                key = f"{name}.pointwise"
                first, last = w[f"{name}.depthwise.weight"], w[f"{key}.weight"]
                bias, pads = w.get(f"{key}.bias"), conv_pads(node, x)
                y, between = layers.separable(x, first, last, bias, stride, pads)
                self.values[f"{name}/depthwise"] = between
                return self._end_of_unit(name, key, y, norm, relu)
            case MaxPool(kernel, stride, pad):
                pads = window_pads(pad, (kernel, kernel), stride, x)
                y, self._chosen[name] = layers.max_pool(x, (kernel, kernel), stride, pads)
                return y
            case AvgPool(kernel, stride, grid, count_pad=count):
                if kernel is None or not windows_give_the_grid(node, x):
                    return layers.grid_pool(x, grid or 1)
                pads = window_pads(node.pad, (kernel, kernel), stride, x)
                return layers.avg_pool(x, (kernel, kernel), stride, pads, count)
            case LRN(size, alpha, beta, k):
                return layers.lrn(x, size, alpha, beta, k)
            case BatchNorm():
                return self._norm(name, node, x)
            case Linear(relu=relu):
                y = layers.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))
                return self._end_of_unit(name, name, y, None, relu)
            case Activation(kind):
                return layers.sigmoid(x) if kind == "sigmoid" else layers.relu(x)
            case Dropout(drop):
                return layers.dropout(x, self._mask(name, x, drop), drop) if self.training else x
            case Chain():
                for part, child in node:
                    x = self._forward(child, f"{name}.{part}", x)
                return x
            case Concat():
                return layers.concat(self._side_by_side(node, name, x))
            case Multiply():
                return layers.multiply(self._side_by_side(node, name, x))
            case Add(branch, shortcut, scale, relu):
                added = self._forward(branch, f"{name}.branch", x)
                kept = x if shortcut is None else self._forward(shortcut, f"{name}.shortcut", x)
                y = layers.add(kept, added, scale)
                return self._end_of_unit(name, name, y, None, relu)
            case _:
                assert_never(node)

    def _side_by_side(self, node: Concat | Multiply, name: str, x: Array) -> list[Array]:
        return [self._forward(child, f"{name}.{part}", x) for part, child in node]

    def _end_of_unit(
        self, name: str, key: str, y: Array, norm: BatchNorm | None, relu: bool
    ) -> Array:
        """What follows the sum of a unit; `key` is where its normalisation's weights are."""
        self.values[f"{name}/sum"] = y
        if norm is not None:
            y = self.values[f"{name}/norm"] = self._norm(f"{key}.bn", norm, y)
        return layers.relu(y) if relu else y

    def _norm(self, key: str, norm: BatchNorm, x: Array) -> Array:
        gamma, beta = self.weights.get(f"{key}.weight"), self.weights[f"{key}.bias"]
        mean, var = self.weights[f"{key}.running_mean"], self.weights[f"{key}.running_var"]
        if self.training:
            kept, (mean, var) = (mean, var), layers.batch_statistics(x)
            # The running variance is that of all images: its estimate divides by M - 1.
            count = x.size // x.shape[1]
            moved = {"running_mean": mean, "running_var": var * count / max(count - 1, 1)}
            for (what, new), old in zip(moved.items(), kept, strict=True):
                self.statistics[f"{key}.{what}"] = old + norm.momentum * (new - old)
        return layers.batch_norm(x, gamma, beta, mean, var, norm.eps)

    # One node backward: dy is the gradient of its output, and that of its input is returned

    def _backward(self, node: Node, name: str, dy: Array) -> Array:
        self.gradients[name] = dy
        w, x, y = self.weights, self._inputs[name], self.values[name]
        match node:
            case Conv(stride=stride, norm=norm, relu=relu):
                dy = self._back_to_sum(name, name, dy, norm, relu)
                pads = conv_pads(node, x)
                dx, dw, db = layers.conv_backward(dy, x, w[f"{name}.weight"], stride, pads)
                self._note(name, weight=dw, bias=db)
                return dx
            case Separable(stride=stride, norm=norm, relu=relu):
                key = f"{name}.pointwise"
                dy = self._back_to_sum(name, key, dy, norm, relu)
                first, last = w[f"{name}.depthwise.weight"], w[f"{key}.weight"]
                between, pads = self.values[f"{name}/depthwise"], conv_pads(node, x)
                dx, dfirst, dlast, db, dbetween = layers.separable_backward(
                    dy, x, between, first, last, stride, pads
                )
                self.gradients[f"{name}/depthwise"] = dbetween
                self._note(f"{name}.depthwise", weight=dfirst)
                self._note(key, weight=dlast, bias=db)
                return dx
            case MaxPool(kernel, stride, pad):
                pads = window_pads(pad, (kernel, kernel), stride, x)
                chosen = self._chosen[name]
                return layers.max_pool_backward(dy, x, chosen, (kernel, kernel), stride, pads)
            case AvgPool(kernel, stride, count_pad=count):
                if kernel is None or not windows_give_the_grid(node, x):
                    return layers.grid_pool_backward(dy, x)
                pads = window_pads(node.pad, (kernel, kernel), stride, x)
                return layers.avg_pool_backward(dy, x, (kernel, kernel), stride, pads, count)
            case LRN(size, alpha, beta, k):
                return layers.lrn_backward(dy, x, size, alpha, beta, k)
            case BatchNorm():
                return self._norm_backward(name, node, dy, x)
            case Linear(relu=relu):
                dy = self._back_to_sum(name, name, dy, None, relu)
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
            case Add(branch, shortcut, scale, relu):
                dy = self._back_to_sum(name, name, dy, None, relu)
                dkept, dadded = layers.add_backward(dy, scale)
                dx = self._backward(branch, f"{name}.branch", dadded)
                if shortcut is None:
                    return dx + dkept
                return dx + self._backward(shortcut, f"{name}.shortcut", dkept)
            case _:
                assert_never(node)

    def _sum_of_branches(self, node: Concat | Multiply, name: str, dys: list[Array]) -> Array:
        """Branches read one input, so their gradients for it add up."""
        each = [self._backward(child, f"{name}.{part}", dy)
                for (part, child), dy in zip(node, dys, strict=True)]  # fmt: skip
        return reduce(np.add, each)

    def _back_to_sum(
        self, name: str, key: str, dy: Array, norm: BatchNorm | None, relu: bool
    ) -> Array:
        if relu:
            dy = layers.relu_backward(dy, self.values[name])
        if norm is not None:
            self.gradients[f"{name}/norm"] = dy
            dy = self._norm_backward(f"{key}.bn", norm, dy, self.values[f"{name}/sum"])
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
        for what, gradient in gradients.items():
            if (key := f"{name}.{what}") in self.weights:
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


def conv_pads(node: Conv | Separable, x: Array) -> Pads:
    kernel = node.kernel
    return window_pads(
        node.pad, (kernel, kernel) if isinstance(kernel, int) else kernel, node.stride, x
    )


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
