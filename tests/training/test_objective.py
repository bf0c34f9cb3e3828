"""The objective of training, against torch's cross-entropy and against its formula."""

import pytest
import torch
from torch.nn import functional as F

import inceptive
from inceptive.training.objective import Objective, class_weights

HEADS = ("aux_4a", "aux_4d")
WEIGHT = torch.tensor([0.5, 1.0, 2.5])
NET = inceptive.NETS["googlenet.bn"](num_classes=3, channels=1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = inceptive.build(NET).eval()
    with torch.no_grad():
        model.get_submodule("fc").weight.mul_(50)  # fresh logits are all near 0
    return model


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 1, 32, 32, generator=generator)
    return images, torch.tensor([0, 1, 2, 2, 1, 0])


@pytest.fixture(scope="module")
def logits(model, batch):
    """Main logits, then those of each head."""
    with torch.inference_mode():
        heads = model.endpoints(batch[0], HEADS)
        found = [model(batch[0]), *(heads[name] for name in HEADS)]
    assert all(one.std() > 0.05 for one in found)
    return found


def by_formula(logits, labels, smoothing=0.0, weight=None):
    """Mean of weight[label] * -sum(target * ln p), target = (1 - s) one-hot + s / K; in float64."""
    logits = logits.double()
    classes = logits.shape[1]
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    target = torch.full_like(log_p, smoothing / classes)
    target[torch.arange(len(labels)), labels] += 1 - smoothing
    each = -(target * log_p).sum(1)
    return float((each if weight is None else each * weight[labels]).mean())


@pytest.mark.parametrize("aux_weight", [0.3, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_the_total_is_the_main_loss_and_a_share_of_each_head_s(
    model, batch, logits, aux_weight, smoothing, weight
):
    with torch.no_grad():
        total, losses, _ = Objective(model, aux_weight, smoothing, weight)(*batch)
    expected = [by_formula(one, batch[1], smoothing, weight) for one in logits]
    assert losses.tolist() == pytest.approx(expected, rel=1e-4)
    assert float(total) == pytest.approx(expected[0] + aux_weight * sum(expected[1:]), rel=1e-4)


def test_the_losses_are_torch_s(model, batch, logits):
    with torch.no_grad():
        _, smooth, _ = Objective(model, 0.3, label_smoothing=0.2)(*batch)
        _, weighted, _ = Objective(model, 0.3, class_weight=WEIGHT)(*batch)
    for k, one in enumerate(logits):
        expected = F.cross_entropy(one, batch[1], label_smoothing=0.2)
        assert float(smooth[k]) == pytest.approx(float(expected), rel=1e-4)
        expected = F.cross_entropy(one, batch[1], weight=WEIGHT, reduction="sum") / len(one)
        assert float(weighted[k]) == pytest.approx(float(expected), rel=1e-4)


def test_the_logits_handed_back_are_the_main_ones(model, batch, logits):
    with torch.no_grad():
        _, _, found = Objective(model, 0.3)(*batch)
    torch.testing.assert_close(found, logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_heads", [True, False])
def test_aux_weight_0_runs_no_head(model, batch, logits, with_heads, monkeypatch):
    one = model if with_heads else inceptive.build(NET.without_aux()).eval()
    one.load_state_dict(model.state_dict(), strict=False)
    if with_heads:
        for head in HEADS:
            monkeypatch.setattr(one.get_submodule(head), "forward", None)
    with torch.no_grad():
        total, losses, _ = Objective(one, 0.0)(*batch)
    expected = float(F.cross_entropy(logits[0], batch[1]))
    assert float(total) == pytest.approx(expected, rel=1e-4)
    assert losses.tolist() == pytest.approx([expected], rel=1e-4)


def test_only_the_total_carries_a_gradient(model, batch):
    total, losses, found = Objective(model, 0.3)(*batch)
    assert total.requires_grad
    assert not losses.requires_grad
    assert not found.requires_grad


def test_class_weights_move_with_the_module_and_are_not_saved(model):
    objective = Objective(model, 0.3, class_weight=WEIGHT)
    assert objective.to(torch.float32).class_weight is not None
    assert not [key for key in objective.state_dict() if "class_weight" in key]


COUNTS = [[10, 20, 70], [1, 999], [5, 5, 5, 5], [3, 0, 30]]


@pytest.mark.parametrize("counts", COUNTS)
def test_balance_0_weighs_nothing(counts):
    assert class_weights(torch.tensor(counts), 0.0) is None


@pytest.mark.parametrize("counts", COUNTS)
def test_balance_1_makes_every_class_count_alike(counts):
    counts = torch.tensor(counts)
    sums = (class_weights(counts, 1.0) * counts)[counts > 0]
    torch.testing.assert_close(sums, torch.full_like(sums, counts.sum() / len(sums)))


@pytest.mark.parametrize("balance", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("counts", COUNTS)
def test_the_mean_weight_over_the_images_is_1(counts, balance):
    counts = torch.tensor(counts)
    weights = class_weights(counts, balance)
    assert torch.isfinite(weights).all()
    of_images = weights.repeat_interleave(counts)
    assert float(of_images.mean()) == pytest.approx(1, rel=1e-5)


def test_half_a_balance_weighs_by_the_square_root():
    weights = class_weights(torch.tensor([100, 400]), 0.5)
    assert float(weights[0] / weights[1]) == pytest.approx(2)


def test_heads_that_read_what_is_computed_once_do_not_count():
    """They were asked of maps that lie behind them, after all these were computed."""
    model = inceptive.build(inceptive.NETS["googlenet.bn"](2))
    assert Objective(model, 0.3, after="inception_4a").heads == ["fc", "aux_4d"]
    assert Objective(model, 0.3, after="inception_3b").heads == ["fc", "aux_4a", "aux_4d"]
    assert Objective(model, 0.3).heads == ["fc", "aux_4a", "aux_4d"]
