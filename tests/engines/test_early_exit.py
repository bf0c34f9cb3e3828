"""Answers from the first head that is sure enough: what it costs, how it is chosen, how it runs."""

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch

import inceptive
from inceptive import InceptiveError
from inceptive.arch.account import account
from inceptive.arch.spec import Chain, Linear
from inceptive.engines.early_exit import EarlyExit, Exit, answer, choose, spent
from inceptive.metrics import softmax

NET = inceptive.NETS["googlenet.bn"](num_classes=3).with_heads(["inception_3a", "inception_4a"])


def test_a_head_may_stand_after_any_part():
    assert list(NET.heads()) == ["aux_3a", "aux_4a"]
    everywhere = [name for name, _ in NET.body.parts if name.startswith("inception")]
    net = NET.with_heads(everywhere)
    model = inceptive.build(net).eval()
    found = model.endpoints(torch.rand(2, 3, 64, 64), [*net.heads()])
    assert len(found) == 9 and {logits.shape for logits in found.values()} == {(2, 3)}
    assert NET.with_heads([]) == NET.without_aux()


def test_the_order_of_heads_is_that_of_the_body():
    net = NET.with_heads(["inception_4d", "inception_3a"])
    assert list(net.heads()) == ["aux_3a", "aux_4d"]


def test_a_head_where_there_is_no_part_is_refused():
    with pytest.raises(InceptiveError, match="no part inception_9x for a head to read; there are"):
        NET.with_heads(["inception_9x"])
    with pytest.raises(InceptiveError, match="no part fc for a head"):
        NET.with_heads(["fc"])
    with pytest.raises(InceptiveError, match="xception has no auxiliary head"):
        inceptive.NETS["xception"](3).with_heads(["block2"])


def test_a_net_without_heads_takes_a_given_one():
    net = inceptive.NETS["alexnet"](3).with_heads(["pool1"], Chain(fc=Linear(3)))
    assert account(net).aux["aux_pool1"][0].params > 0


def test_stages_one_after_another_are_the_net():
    model = inceptive.build(NET).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps, first = model.stage(images, head="aux_3a")
        maps, second = model.stage(maps, "inception_3a", "aux_4a")
        _, last = model.stage(maps, "inception_4a")
        whole = model.endpoints(images, ["aux_3a", "aux_4a", "fc"])
    for found, name in ((first, "aux_3a"), (second, "aux_4a"), (last, "fc")):
        assert torch.equal(found, whole[name])


def test_multiply_adds_of_an_exit_are_the_body_up_to_it_and_the_heads_on_the_way():
    made = account(NET, 224)
    names = [name for name, _ in NET.body.parts]
    body = dict.fromkeys(names, 0)
    for line in made.body:
        body[line.name.split(".")[0]] += line.macs
    head = {name: sum(line.macs for line in lines) for name, lines in made.aux.items()}
    to_3a = sum(body[name] for name in names[: names.index("inception_3a") + 1])
    to_4a = sum(body[name] for name in names[: names.index("inception_4a") + 1])
    assert spent(made, "aux_3a", ["aux_3a", "aux_4a"]) == to_3a + head["aux_3a"]
    assert spent(made, "aux_4a", ["aux_3a", "aux_4a"]) == to_4a + sum(head.values())
    assert spent(made, "aux_4a", ["aux_4a"]) == to_4a + head["aux_4a"]
    assert spent(made, "fc", []) == made.macs
    assert spent(made, "fc", ["aux_3a", "aux_4a"]) == made.macs + sum(head.values())
    # The shares that the paper's two heads and one after 3a come at (without their own cost).
    assert (round(to_3a / made.macs, 2), round(to_4a / made.macs, 2)) == (0.38, 0.62)


def drawn(count=400, seed=0):
    """Logits of three ends, each better than the last, where sure heads are right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    ease = rng.uniform(0, 3, count)
    ends = {}
    for name, skill in (("aux_3a", 0.6), ("aux_4a", 1.0), ("fc", 2.0)):
        logits = rng.normal(0, 1, (count, 3))
        logits[np.arange(count), labels] += skill * ease
        ends[name] = logits.astype(np.float32)
    return ends, labels


def replayed(made, ends, labels, chosen):
    """What the thresholds of `chosen` give, image by image."""
    right, macs = 0, 0.0
    active = [one.head for one in chosen.exits]
    for i, label in enumerate(labels):
        for one in [*chosen.exits, Exit("fc", 1.0, 0.0)]:
            logits = ends[one.head][i]
            if softmax(logits[None], one.temperature).max() >= one.threshold:
                right += int(logits.argmax() == label)
                macs += spent(made, one.head, active)
                break
    return right / len(labels), macs / len(labels)


@pytest.mark.parametrize("max_drop", [0.0, 0.2, 1.0, 5.0])
def test_what_is_chosen_holds_the_bound_and_is_what_it_says(max_drop):
    made, (ends, labels) = account(NET, 64), drawn()
    chosen = choose(made, ends, labels, max_drop)
    top1, macs = replayed(made, ends, labels, chosen)
    assert top1 == pytest.approx(chosen.validation["top1"]) and macs == pytest.approx(
        chosen.validation["macs"]
    )
    full = (ends["fc"].argmax(axis=1) == labels).mean()
    assert chosen.validation["top1_full"] == pytest.approx(full)
    assert full - top1 <= max_drop / 100 + 1e-9
    assert sum(chosen.validation["leave"].values()) == pytest.approx(1)


def test_a_looser_bound_never_costs_more_and_saves_something():
    made, (ends, labels) = account(NET, 64), drawn()
    macs = [choose(made, ends, labels, drop).validation["macs"] for drop in (0.0, 0.5, 2.0, 10.0)]
    assert macs == sorted(macs, reverse=True) and macs[-1] < macs[0] < made.macs


def test_no_cheaper_pair_of_thresholds_was_missed():
    made, (ends, labels) = account(NET, 64), drawn(120)
    chosen = choose(made, ends, labels, 1.0)
    sure = {e.head: softmax(ends[e.head], e.temperature).max(axis=1) for e in chosen.exits}
    for quantiles in product(np.linspace(0, 1, 9), repeat=len(chosen.exits)):
        tried = dataclasses.replace(
            chosen,
            exits=tuple(
                dataclasses.replace(one, threshold=float(np.quantile(sure[one.head], q)))
                for one, q in zip(chosen.exits, quantiles, strict=True)
            ),
        )
        top1, macs = replayed(made, ends, labels, tried)
        allowed = top1 >= chosen.validation["top1_full"] - 0.01 - 1e-9
        assert not allowed or macs >= 0.97 * chosen.validation["macs"]


def test_heads_that_are_never_right_are_left_out():
    made, (ends, labels) = account(NET, 64), drawn()
    for head in ("aux_3a", "aux_4a"):
        ends[head] = np.eye(3, dtype=np.float32)[(labels + 1) % 3] * 9
    chosen = choose(made, ends, labels, 0.0)
    assert chosen.exits == () and chosen.validation["macs"] == made.macs
    assert chosen.validation["leave"] == {"fc": 1.0}


def test_too_many_heads_or_none_are_refused():
    made, (ends, labels) = account(NET, 64), drawn()
    with pytest.raises(InceptiveError, match=r"1 to 3 heads, and googlenet.bn has none; train it"):
        choose(made, {"fc": ends["fc"]}, labels, 0.2)
    many = {f"aux_{k}": ends["aux_3a"] for k in range(4)} | {"fc": ends["fc"]}
    with pytest.raises(InceptiveError, match=r"1 to 3 heads, and googlenet\.bn has aux_0, aux_1"):
        choose(made, many, labels, 0.2)


def test_each_image_is_answered_by_the_end_it_leaves_at():
    ends, _ = drawn(50)
    exits = (Exit("aux_3a", 0.8, 0.8), Exit("aux_4a", 1.5, 0.7))
    shown = []

    def stage(name):
        def run(rows):
            shown.append(len(rows))
            return rows, ends[name][rows]

        return run

    found, at = answer(np.arange(50), [stage(name) for name in ends], exits, temperature=2.0)
    for i in range(50):
        name, t = [("aux_3a", 0.8), ("aux_4a", 1.5), ("fc", 2.0)][at[i]]
        np.testing.assert_allclose(
            softmax(found[i][None], 2.0), softmax(ends[name][i][None], t), rtol=1e-5
        )
    assert len(set(at)) == 3 and shown == [50, (at > 0).sum(), (at > 1).sum()]


def test_when_all_have_left_nothing_runs():
    def never(_):
        raise AssertionError("nobody is left")

    first = lambda rows: (rows, np.full((len(rows), 3), [9, 0, 0], dtype=np.float32))  # noqa: E731
    found, at = answer(np.arange(4), [first, never], [Exit("aux_3a", 1.0, 0.5)], 1.0)
    assert (at == 0).all() and (found.argmax(axis=1) == 0).all()


def test_the_record_in_a_model_folder_is_read_back_and_refused_where_garbled():
    made, (ends, labels) = account(NET, 64), drawn()
    chosen = choose(made, ends, labels, 0.5)
    values = chosen.to_dict()
    assert EarlyExit.from_dict(values) == chosen
    values["found"] = values.pop("validation")  # as until 0.1
    assert EarlyExit.from_dict(values) == chosen
    for bad in (
        None,
        {},
        {"exits": [{"head": "a"}], "max_drop": 1, "found": {}},
        [1],
        {"exits": [{"head": "a", "temperature": 0, "threshold": 1}], "max_drop": 1, "found": {}},
    ):
        with pytest.raises(InceptiveError, match="early_exit"):
            EarlyExit.from_dict(bad)
