"""Muon beside torch's own for matrices, and beside a singular value decomposition."""

import pytest
import torch

from inceptive.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 72), (64, 64), (96, 32)])
def test_every_direction_becomes_as_long_as_every_other(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * 3e-4
    u, lengths, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    lengths /= lengths.norm()
    for _ in range(3):
        lengths = 3.4445 * lengths - 4.7750 * lengths**3 + 2.0315 * lengths**5
    torch.testing.assert_close(
        orthogonal(matrix).double(), u @ lengths.diag() @ v, rtol=0, atol=1e-5
    )
    if shape == (8, 72):  # a square one has directions that it hardly moves in
        assert lengths.min() > 0.6 and lengths.max() < 1.3
    assert orthogonal(torch.zeros(shape)).abs().max() == 0


def test_its_steps_are_those_of_torch():
    """torch's computes in bf16, and adds gradients up where ours takes their mean, which is orthogonal
    to the same. Biases move as AdamW moves them."""
    generator = torch.Generator().manual_seed(2)
    start, bias = torch.randn(32, 48, generator=generator), torch.randn(32, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    ours_bias, theirs_bias = (torch.nn.Parameter(bias.clone()) for _ in range(2))
    options = {"weight_decay": 0.1, "lr": 0.01}
    groups = [{"params": [ours], "orthogonal": True}, {"params": [ours_bias], "orthogonal": False}]
    muon = Muon([group | options for group in groups], lr=0.01, momentum=0.95, nesterov=True)
    others = [
        torch.optim.Muon(
            [theirs], adjust_lr_fn="match_rms_adamw", momentum=0.95, ns_steps=3, **options
        ),
        torch.optim.AdamW([theirs_bias], **options),
    ]
    for _ in range(4):
        gradient = torch.randn(32, 48, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        ours_bias.grad, theirs_bias.grad = gradient[:, 0].clone(), gradient[:, 0].clone()
        for optimizer in (muon, *others):
            optimizer.step()
    moved = theirs.detach() - start
    assert (ours - theirs).norm() < 0.03 * moved.norm() and moved.norm() > 0.1
    torch.testing.assert_close(ours_bias, theirs_bias)


def test_a_kernel_moves_as_the_matrix_that_it_is_and_goes_on_from_its_state():
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(8, 3, 5, 5, generator=generator)
    kernel, matrix = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.flatten(1).clone())
    kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)

    def fresh(weight):
        group = {"params": [weight], "weight_decay": 0.1, "lr": 0.01, "orthogonal": True}
        return Muon([group], lr=0.01, momentum=0.95, nesterov=True)

    one, other = fresh(kernel), fresh(matrix)
    for _ in range(3):
        gradient = torch.randn(8, 3, 5, 5, generator=generator)
        kernel.grad, matrix.grad = gradient.clone(), gradient.flatten(1).clone()
        one.step(), other.step()
        again = fresh(kernel)
        again.load_state_dict(one.state_dict())
        one = again
    torch.testing.assert_close(kernel.flatten(1), matrix)
    assert (kernel - start).norm() > 0.1
