"""Each layer forward and backward, as its formula says.

Legend: x input, y output, w weights, b bias; N images, C channels of x, F channels of y; i, j a
position of y; p, q a position inside a window; s stride. L is the loss, and dy stands for dL/dy, an
array of the shape of y: each `*_backward` takes it and returns dx, and dw, db where there are any.
Maps are (N, C, H, W). Every function computes in the precision of its arguments.

Windows read a padded input x̃, `pads` = ((above, below), (left, right)) wider than x; what x̃ holds
there (zeros, or -inf for a maximum) is said by each layer. Gradients that fall there are dropped.
"""

from functools import reduce
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
Pads = tuple[tuple[int, int], tuple[int, int]]
NO_PADS: Pads = ((0, 0), (0, 0))


def padded(x: Array, pads: Pads, value: float = 0.0) -> Array:
    """x̃: x (N, C, H, W) with `value` around it, (N, C, above + H + below, left + W + right)."""
    return np.pad(x, ((0, 0), (0, 0), *pads), constant_values=value)


def unpadded(dx: Array, pads: Pads) -> Array:
    """The inner part of dx̃, which belongs to x itself."""
    (above, below), (left, right) = pads
    return dx[:, :, above : dx.shape[2] - below, left : dx.shape[3] - right]


def windows(x: Array, kernel: tuple[int, int], stride: int) -> Array:
    """Every window of x̃, as a view (N, C, I, J, P, Q): entry (i, j, p, q) is x̃[s i + p, s j + q]."""
    return sliding_window_view(x, kernel, axis=(2, 3))[:, :, ::stride, ::stride]


def add_windows(dwindows: Array, shape: tuple[int, ...], stride: int) -> Array:
    """The gradient of `windows`: what each entry gave goes back to the pixel it was read from.

    dwindows is (N, C, I, J, P, Q), `shape` that of x̃. Where windows overlap a pixel was read by
    several, and their gradients add up: dx̃[m, n] = sum of dwindows[i, j, p, q] over all
    s i + p = m, s j + q = n.
    """
    dx = np.zeros(shape, dwindows.dtype)
    _, _, high, wide, p_count, q_count = dwindows.shape
    for p in range(p_count):
        for q in range(q_count):
            dx[:, :, p : p + stride * high : stride, q : q + stride * wide : stride] += dwindows[
                ..., p, q
            ]
    return dx


# Convolution


def conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: int = 1,
    pads: Pads = NO_PADS,
    groups: int = 1,
) -> Array:
    """Convolution: x (N, C, H, W), w (F, C / groups, P, Q), b (F,) -> y (N, F, I, J).

        y[n, f, i, j] = b[f] + sum over c, p, q of w[f, c, p, q] x̃[n, c, s i + p, s j + q]

    x̃ is zero in the padding. With groups, f reads the channels c of its own group only; with
    groups = C each channel has its own kernel (depthwise). This is the correlation that every
    framework calls convolution. Source: Dumoulin and Visin, arXiv:1603.07285.
    """
    columns, out = _columns(x, w, stride, pads, groups)
    y = columns @ _kernels(w, groups)  # (groups, N I J, F / groups)
    y = y.reshape(groups, len(x), *out, -1).transpose(1, 0, 4, 2, 3)
    y = y.reshape(len(x), -1, *out)
    return y if b is None else y + b[:, None, None]


def conv_backward(
    dy: Array, x: Array, w: Array, stride: int = 1, pads: Pads = NO_PADS, groups: int = 1
) -> tuple[Array, Array, Array]:
    """dx, dw, db of `conv`, from dy (N, F, I, J).

    db[f]          = sum over n, i, j of dy[n, f, i, j]
    dw[f, c, p, q] = sum over n, i, j of dy[n, f, i, j] x̃[n, c, s i + p, s j + q]
    dx̃[n, c, m, l] = sum over f and all (i, p), (j, q) with s i + p = m, s j + q = l
                     of dy[n, f, i, j] w[f, c, p, q]
    """
    columns, (high, wide) = _columns(x, w, stride, pads, groups)
    n, c = x.shape[:2]
    dy_rows = dy.reshape(n, groups, -1, high, wide).transpose(1, 0, 3, 4, 2)
    dy_rows = dy_rows.reshape(groups, n * high * wide, -1)  # (groups, N I J, F / groups)
    dw = (dy_rows.transpose(0, 2, 1) @ columns).reshape(w.shape)
    dcolumns = dy_rows @ _kernels(w, groups).transpose(0, 2, 1)
    p, q = w.shape[2:]
    dwindows = dcolumns.reshape(groups, n, high, wide, c // groups, p, q)
    dwindows = dwindows.transpose(1, 0, 4, 2, 3, 5, 6).reshape(n, c, high, wide, p, q)
    dx = add_windows(dwindows, (n, c, *_grown(x, pads)), stride)
    return unpadded(dx, pads), dw, dy.sum((0, 2, 3))


def _grown(x: Array, pads: Pads) -> tuple[int, int]:
    return x.shape[2] + sum(pads[0]), x.shape[3] + sum(pads[1])


def _columns(
    x: Array, w: Array, stride: int, pads: Pads, groups: int
) -> tuple[Array, tuple[int, int]]:
    """What each position reads, one row each: (groups, N I J, C / groups · P Q); and (I, J)."""
    read = windows(padded(x, pads), (w.shape[2], w.shape[3]), stride)
    n, c, high, wide, p, q = read.shape
    rows = read.reshape(n, groups, c // groups, high, wide, p, q).transpose(1, 0, 3, 4, 2, 5, 6)
    return rows.reshape(groups, n * high * wide, -1), (high, wide)


def _kernels(w: Array, groups: int) -> Array:
    """The weights, one column for each channel of y: (groups, C / groups · P Q, F / groups)."""
    return w.reshape(groups, len(w) // groups, -1).transpose(0, 2, 1)


# Pooling


def max_pool(
    x: Array, kernel: tuple[int, int], stride: int, pads: Pads = NO_PADS
) -> tuple[Array, Array]:
    """Max pooling: y (N, C, I, J), and which entry of its window each maximum was.

        y[n, c, i, j] = max over p, q of x̃[n, c, s i + p, s j + q]

    x̃ is -inf in the padding. `chosen` (N, C, I, J) holds p Q + q of the first maximum, row by row,
    as in Caffe and torch. Source: Krizhevsky et al. 2012, section 3.4, where windows overlap.
    """
    read = windows(padded(x, pads, -np.inf), kernel, stride)
    flat = read.reshape(*read.shape[:4], -1)
    chosen = flat.argmax(-1)
    return np.take_along_axis(flat, chosen[..., None], -1)[..., 0], chosen


def max_pool_backward(
    dy: Array, x: Array, chosen: Array, kernel: tuple[int, int], stride: int, pads: Pads = NO_PADS
) -> Array:
    """dx of `max_pool`: the whole of dy[n, c, i, j] goes to the entry that was chosen.

        dx̃[n, c, m, l] = sum of dy[n, c, i, j] over the windows (i, j) whose first maximum is (m, l)

    Of equal entries only the first gets it: a gradient to each of them would be paid several times.
    """
    dwindows = np.zeros((*dy.shape, kernel[0] * kernel[1]), dy.dtype)
    np.put_along_axis(dwindows, chosen[..., None], dy[..., None], -1)
    shape = (*x.shape[:2], *_grown(x, pads))
    return unpadded(add_windows(dwindows.reshape(*dy.shape, *kernel), shape, stride), pads)


def avg_pool(
    x: Array, kernel: tuple[int, int], stride: int, pads: Pads = NO_PADS, count_pad: bool = False
) -> Array:
    """Average pooling: y (N, C, I, J).

        y[n, c, i, j] = 1 / a[i, j] · sum over p, q of x̃[n, c, s i + p, s j + q]

    x̃ is zero in the padding; a counts the entries of a window, those in the padding only with
    count_pad (Caffe counts them, TensorFlow does not). Source: LeCun et al. 1998, section II-B.
    """
    total = windows(padded(x, pads), kernel, stride).sum((4, 5))
    return total / _area(x, kernel, stride, pads, count_pad)


def avg_pool_backward(
    dy: Array,
    x: Array,
    kernel: tuple[int, int],
    stride: int,
    pads: Pads = NO_PADS,
    count_pad: bool = False,
) -> Array:
    """dx of `avg_pool`: every entry of a window gets an equal share.

    dx̃[n, c, m, l] = sum of dy[n, c, i, j] / a[i, j] over the windows (i, j) that read (m, l)
    """
    share = dy / _area(x, kernel, stride, pads, count_pad)
    dwindows = np.broadcast_to(share[..., None, None], (*dy.shape, *kernel))
    return unpadded(add_windows(dwindows, (*x.shape[:2], *_grown(x, pads)), stride), pads)


def _area(x: Array, kernel: tuple[int, int], stride: int, pads: Pads, count_pad: bool) -> Array:
    """a (I, J): how many entries each window counts."""
    ones = padded(np.ones((1, 1, *x.shape[2:]), x.dtype), pads, float(count_pad))
    return windows(ones, kernel, stride).sum((4, 5))[0, 0]


def grid_pool(x: Array, grid: int) -> Array:
    """Average pooling to a grid x grid map, whatever the size: y (N, C, grid, grid).

        y[n, c, i, j] = mean of x[n, c, m, l] over floor(i H / g) <= m < ceil((i + 1) H / g),
                                                   floor(j W / g) <= l < ceil((j + 1) W / g)

    grid = 1 is global average pooling (arXiv:1312.4400, section 3.2). Windows may overlap. Source:
    torch's adaptive pooling.
    """
    y = np.empty((*x.shape[:2], grid, grid), x.dtype)
    for i, rows in enumerate(spans(x.shape[2], grid)):
        for j, columns in enumerate(spans(x.shape[3], grid)):
            y[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    return y


def grid_pool_backward(dy: Array, x: Array) -> Array:
    """dx of `grid_pool`: every entry of a window gets an equal share of its dy."""
    dx, grid = np.zeros(x.shape, dy.dtype), dy.shape[2]
    for i, rows in enumerate(spans(x.shape[2], grid)):
        for j, columns in enumerate(spans(x.shape[3], grid)):
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / area
    return dx


def spans(side: int, grid: int) -> list[slice]:
    return [slice(k * side // grid, -(-(k + 1) * side // grid)) for k in range(grid)]


# Normalisation


def lrn(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Local response normalisation across `size` = n channels: y, of the shape of x.

        y[c] = x[c] · m[c]^-beta,   m[c] = k + alpha / n · sum over c' of x[c']^2

    c' runs from c - floor(n / 2) to c + floor((n - 1) / 2), where there are channels. Source:
    Krizhevsky et al. 2012, section 3.3, with alpha divided by n as in Caffe and torch.
    """
    return x * energy(x, size, alpha, k) ** -beta


def lrn_backward(dy: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """dx of `lrn`: each channel stands in its own numerator and in its neighbours' denominators.

        dx[c] = dy[c] m[c]^-beta
                - 2 alpha beta / n · x[c] · sum over c' of dy[c'] x[c'] m[c']^(-beta - 1)

    c' are the channels whose window holds c: from c - floor((n - 1) / 2) to c + floor(n / 2).
    """
    m = energy(x, size, alpha, k)
    others = _across(dy * x * m ** (-beta - 1), (size - 1) // 2, size // 2)
    return dy * m**-beta - 2 * alpha * beta / size * x * others


def energy(x: Array, size: int, alpha: float, k: float) -> Array:
    """m of `lrn`, of the shape of x."""
    return k + alpha / size * _across(x**2, size // 2, (size - 1) // 2)


def _across(x: Array, before: int, after: int) -> Array:
    """For each channel c the sum over the channels c - before to c + after."""
    wide = np.pad(x, ((0, 0), (before, after), (0, 0), (0, 0)))
    return sum((wide[:, d : d + x.shape[1]] for d in range(before + after + 1)), np.zeros_like(x))


def batch_norm(
    x: Array, gamma: Array | None, beta: Array, mean: Array, var: Array, eps: float
) -> Array:
    """Batch normalisation with given statistics (C,), as at inference: y, of the shape of x.

        y[n, c] = gamma[c] x^[n, c] + beta[c],   x^ = (x - mean[c]) / sqrt(var[c] + eps)

    x is (N, C, H, W) or (N, C). Without gamma it is 1. Source: arXiv:1502.03167, algorithm 2.
    """
    scale = 1.0 if gamma is None else _per_channel(gamma, x)
    return scale * _standard(x, mean, var, eps) + _per_channel(beta, x)


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta of `batch_norm`: the statistics are constants, so it is one scale.

        dx = dy · gamma / sqrt(var + eps),   dgamma = sum of dy x^,   dbeta = sum of dy

    Sums run over n, and over positions of a map.
    """
    axes = (0, *range(2, x.ndim))
    scale = (1.0 if gamma is None else gamma) / np.sqrt(var + eps)
    dgamma = (dy * _standard(x, mean, var, eps)).sum(axes)
    return dy * _per_channel(scale, x), dgamma, dy.sum(axes)


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """mean and var (C,) of a batch, over n and positions; var divides by their number M."""
    axes = (0, *range(2, x.ndim))
    return x.mean(axes), x.var(axes)


def batch_norm_training_backward(
    dy: Array, x: Array, gamma: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta of `batch_norm` with the statistics of x itself, as in training.

        dx = gamma / (M sqrt(var + eps)) · (M dy - sum of dy - x^ · sum of dy x^)

    M = N H W values share a mean and a variance, which move with each of them: hence the two sums
    over them. Source: arXiv:1502.03167, section 3, the chain rule written out.
    """
    mean, var = batch_statistics(x)
    scaled, dgamma, dbeta = batch_norm_backward(dy, x, gamma, mean, var, eps)
    scale = (1.0 if gamma is None else gamma) / np.sqrt(var + eps)
    count = x.size // x.shape[1]
    shared = _per_channel(dbeta, x) + _standard(x, mean, var, eps) * _per_channel(dgamma, x)
    return scaled - _per_channel(scale, x) * shared / count, dgamma, dbeta


def _standard(x: Array, mean: Array, var: Array, eps: float) -> Array:
    """x^: x with mean 0 and, but for eps, variance 1 in each channel."""
    return (x - _per_channel(mean, x)) / np.sqrt(_per_channel(var, x) + eps)


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


# Fully connected, activations, dropout


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """A fully connected layer: x (N, C) or (N, C, H, W), w (F, C H W), b (F,) -> y (N, F).

    y[n, f] = b[f] + sum over c of w[f, c] x[n, c]      (a map is read channel by channel)

    Source: Rumelhart, Hinton and Williams 1986, forward and backward.
    """
    y = x.reshape(len(x), -1) @ w.T
    return y if b is None else y + b


def linear_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """dx, dw, db of `linear`.

    dx[n, c] = sum over f of dy[n, f] w[f, c],   dw[f, c] = sum over n of dy[n, f] x[n, c],
    db[f] = sum over n of dy[n, f]
    """
    return (dy @ w).reshape(x.shape), dy.T @ x.reshape(len(x), -1), dy.sum(0)


def relu(x: Array) -> Array:
    """y = max(x, 0), entry by entry. Source: Nair and Hinton 2010."""
    return np.maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    """dx = dy where y > 0, else 0 (at x = 0 too, as in every framework)."""
    return dy * (y > 0)


def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + exp(-x))."""
    return 0.5 * (1 + np.tanh(0.5 * x))  # the same, and it never overflows


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """dx = dy · y (1 - y)."""
    return dy * y * (1 - y)


def dropout(x: Array, mask: Array, drop: float) -> Array:
    """Dropout while training: y = x · mask / (1 - drop); mask holds 1 for kept, 0 for dropped.

    `drop` is the share dropped. Dividing by the share kept leaves the mean of y that of x, so that
    nothing is to be done at inference ("inverted" dropout). Source: Srivastava et al. 2014.
    """
    return x * mask / (1 - drop)


def dropout_backward(dy: Array, mask: Array, drop: float) -> Array:
    """dx = dy · mask / (1 - drop)."""
    return dy * mask / (1 - drop)


# Where branches meet


def concat(xs: list[Array]) -> Array:
    """Maps (N, C_k, H, W) side by side along the channels: y (N, sum of C_k, H, W).

    Source: arXiv:1409.4842, figure 2, "filter concatenation".
    """
    return np.concatenate(xs, axis=1)


def concat_backward(dy: Array, channels: list[int]) -> list[Array]:
    """dx of each input: its own `channels` of dy, nothing else."""
    return np.split(dy, np.cumsum(channels)[:-1], axis=1)


def add(shortcut: Array, branch: Array, scale: float = 1.0) -> Array:
    """A residual: y = shortcut + scale · branch (arXiv:1602.07261, section 3.3)."""
    return shortcut + scale * branch


def add_backward(dy: Array, scale: float = 1.0) -> tuple[Array, Array]:
    """d(shortcut) = dy, d(branch) = scale · dy."""
    return dy, scale * dy


def multiply(xs: list[Array]) -> Array:
    """The Hadamard product: y = x_1 · x_2 · ..., entry by entry."""
    return reduce(np.multiply, xs)


def multiply_backward(dy: Array, xs: list[Array]) -> list[Array]:
    """dx_k = dy · the product of all others."""
    return [reduce(np.multiply, xs[:k] + xs[k + 1 :], dy) for k in range(len(xs))]


# Loss


def softmax(z: Array) -> Array:
    """Probabilities of logits z (N, K): p[n, k] = exp(z[n, k]) / sum over k' of exp(z[n, k'])."""
    e = np.exp(z - z.max(1, keepdims=True))  # the same quotient, and it never overflows
    return e / e.sum(1, keepdims=True)


def targets(labels: Array, classes: int, smoothing: float = 0.0) -> Array:
    """What the loss compares with (N, K): q = (1 - smoothing) · one-hot + smoothing / K.

    Source: arXiv:1512.00567, section 7. Without smoothing q is 1 at the label and 0 elsewhere.
    """
    return (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes


def cross_entropy(z: Array, q: Array) -> float:
    """The mean over images of L[n] = - sum over k of q[n, k] log p[n, k], with p = softmax(z).

    z and q are (N, K). Source: Bishop 2006, equation 4.108.
    """
    high = z.max(1, keepdims=True)
    log_p = z - high - np.log(np.exp(z - high).sum(1, keepdims=True))
    return float(-(q * log_p).sum(1).mean())


def cross_entropy_backward(z: Array, q: Array) -> Array:
    """dz (N, K) of `cross_entropy`: dz = (p - q) / N, since every row of q sums to 1.

    The Jacobian of softmax, diag(p) - p pᵀ, times the gradient of the logarithm, -q / p. Source:
    Bishop 2006, equation 4.109.
    """
    return (softmax(z) - q) / len(z)
