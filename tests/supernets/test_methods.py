"""Each supernet keeps the contract on small networks and digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from elastic import Elastic, Global, Staged, digits, same
from torch import nn

import nastk
from nastk.errors import InvalidValue, Unsupported
from nastk.registry import SUPERNETS
from nastk.spaces.nasbench201 import CONV3
from nastk.supernets import Supernet, few_shot, supernet
from nastk.supernets._sharing import SharedWeights
from nastk.supernets.block_wise import BlockWise, rows_of, unexplained
from nastk.supernets.knapsack import front
from nastk.supernets.modnas import Modnas
from nastk.supernets.progressive import Progressive, changes
from nastk.supernets.sandwich import Sandwich

SMALL_CELLS = {"channels": 2, "cells_per_stage": 1, "input_size": 8, "in_channels": 1}
OPTIONS: dict[str, dict[str, Any]] = {
    "single-path": {"steps": 8, "batch": 16},
    "sandwich": {"steps": 4, "batch": 16},
    "progressive": {"steps": 8, "batch": 16},
    "few-shot": {"steps": 8, "batch": 16, "parts": 2},
    "block-wise": {"steps": 6, "batch": 16, "teacher_steps": 4},
    "self-supervised": {"steps": 4, "batch": 16},
    "modnas": {"steps": 6, "batch": 16, "references": 4, **SMALL_CELLS},
}
BLOCKS = ("block-wise", "self-supervised")
SPACES = {name: nastk.space_of(Staged if name in BLOCKS else Elastic) for name in OPTIONS}
SPACES["modnas"] = nastk.space("nasbench201")


def trained(name: str, **options: Any) -> Supernet:
    made = supernet(name, **{**OPTIONS[name], **options})
    return made.fit(SPACES[name], digits())


@pytest.mark.parametrize("name", SUPERNETS.names())
def test_keeps_the_contract(name: str) -> None:
    done: list[tuple[int, int]] = []
    net = trained(name, progress=lambda *counts: done.append(counts))
    assert done == [(i + 1, len(done)) for i in range(len(done))]
    archs = net.space.sample(3, 0)
    judged = net.evaluate(archs)
    assert np.isfinite(judged.loss).all()
    assert np.array_equal(judged.loss, net.evaluate(archs).loss), "judging changes nothing"
    if name not in BLOCKS:  # whose stages take longer
        assert np.array_equal(judged.loss, trained(name).evaluate(archs).loss), "the same seed, the same supernet"
    if name not in BLOCKS:
        assert ((judged.accuracy >= 0) & (judged.accuracy <= 100)).all()
    network = net.space.build(archs[0], **net.build_options)
    assert not network.load_state_dict(net.weights_of(archs[0]), strict=name not in BLOCKS).unexpected_keys


def test_what_is_learned_is_seen_on_the_largest_network() -> None:
    net = supernet("sandwich", steps=60).fit(nastk.space_of(Elastic), digits())
    assert isinstance(net, Sandwich)
    assert net.unshared == "8 batch normalisations have their own for each width"
    assert net.space.format(net.largest) == "8_2_3_3_8_2_3_3"
    assert net.space.format(net.smallest).startswith("4_1_1_")
    judged = net.evaluate(np.stack([net.largest]))
    assert judged.accuracy[0] > 25, "ten classes"
    own = net.space.build(net.largest)
    own.load_state_dict(net.weights_of(net.largest))
    images, labels = net.data.validation.tensors()
    with torch.inference_mode():
        found = 100 * float((own.eval()(images).argmax(1) == labels).float().mean())
    assert found == pytest.approx(judged.accuracy[0]), "the weights are those that were judged"


def test_modnas_trains_what_its_hypernetwork_draws_for_a_space_with_a_supernet() -> None:
    space = nastk.space("nasbench201")
    net = trained("modnas", steps=30, warmup=0.4, learning_rate=0.3, network_options={"anchors": 2})
    assert isinstance(net, Modnas)
    (target,) = net.devices_
    hot = torch.as_tensor(space.one_hot(space.sample(20, 0))).float()
    counted = space.statics(space.sample(20, 0), **net.build_options)["flops"]
    assert target.latency(hot).numpy() == pytest.approx(counted, rel=1e-4), "a sum over the edges, as it is"
    assert [bool(np.isnan(epoch.validation)) for epoch in net.epochs_] == [False], "79 batches make an epoch"
    with torch.no_grad():
        light, heavy = (
            net.hypernetwork_(torch.tensor([[1 - share, share]]), torch.ones(1, 1))
            .view(6, 5)
            .softmax(1)[:, CONV3]
            .mean()
            for share in (1.0, 0.0)
        )
    assert light < heavy, "who wants few multiply-adds gets fewer 3 x 3 convolutions"
    with pytest.raises(Unsupported, match=r"modnas: the space fbnet has no supernet.*sandwich"):
        supernet("modnas").check(nastk.space("fbnet"))
    with pytest.raises(InvalidValue, match="2 references"):
        supernet("modnas", references=1)


def test_strictly_fair_paths_have_each_option_equally_often() -> None:
    net = trained("single-path", fair=True)
    paths = net._fair_paths()  # type: ignore[attr-defined]
    assert all(np.bincount(column, minlength=2).tolist() == [1, 1] for column in paths.T)


def test_progressive_shrinks_kernels_then_depths_then_widths() -> None:
    net = supernet("progressive", steps=40, batch=16)
    seen: list[tuple[int, np.ndarray]] = []
    train, logits = net._train, net._logits  # type: ignore[attr-defined]
    at = 0

    def step(images: torch.Tensor, labels: torch.Tensor, number: int) -> None:
        nonlocal at
        at = number
        train(images, labels, number)

    def note(images: torch.Tensor, arch: np.ndarray) -> torch.Tensor:
        seen.append((at, arch))
        found: torch.Tensor = logits(images, arch)
        return found

    net._train, net._logits = step, note  # type: ignore[attr-defined, method-assign]
    net.fit(nastk.space_of(Elastic), digits())
    assert isinstance(net, Progressive)
    assert net.phases == ["kernel", "depth", "width"]
    named = {choice.name: kind for choice, kind in zip(net.space.choices, net.kinds, strict=True)}
    assert named == {
        f"{what}{of}": what for what, ofs in {"width": (" 0", " 1"), "depth": (" 0", " 1")}.items() for of in ofs
    } | {f"kernel {stage}.{layer}": "kernel" for stage in range(2) for layer in range(2)}
    kinds = np.array(net.kinds)
    for number, arch in seen:
        shrunk = {kind for kind in net.phases if (arch != net.largest)[kinds == kind].any()}
        phase = (number - 10) // 10
        allowed = set(net.phases[: phase + 1]) if number >= 10 else set()
        # a layer that is not there has the first kernel
        assert shrunk - {"kernel"} <= allowed
        assert number >= 10 or not shrunk
    assert {number for number, _ in seen} == set(range(40))
    assert any((arch != net.largest)[kinds == "width"].any() for number, arch in seen if number >= 30)


def test_progressive_needs_something_to_shrink() -> None:
    with pytest.raises(Unsupported, match="needs choices of kernels, depths or widths"):
        supernet("progressive", steps=8).fit(nastk.space_of(Staged), digits())
    with pytest.raises(InvalidValue, match="too few"):
        supernet("progressive", steps=3).fit(nastk.space_of(Elastic), digits())
    space = nastk.space_of(Global)
    assert changes(SharedWeights(space), space.parse("8_plain_plain_plain_plain"), 0) == "width"


@pytest.mark.parametrize(("split", "steps"), [("nonlinear", 12), ("edges", 24), ("gradient", 110)])
def test_parts_of_a_split_space_share_nothing(split: str, steps: int) -> None:
    net = supernet("few-shot", split=split, steps=steps, parts=2, batch=16, contexts=1)
    assert isinstance(net, few_shot.FewShot)
    passes = 0
    logits = net._logits

    def count(*given: Any) -> torch.Tensor:
        nonlocal passes
        passes += 1
        return logits(*given)

    net._logits = count  # type: ignore[method-assign]
    net.fit(nastk.space_of(Elastic), digits())
    assert passes == steps, "a pass a step, those that compared gradients included"
    rows = net.space.sample(30, 0)
    owners: dict[int, set[str]] = {}
    for row in rows:
        for parameter in net.shared.parameters_of(row).values():
            owners.setdefault(id(parameter), set()).add(net.part_of(row))
    assert all(len(parts) == 1 for parts in owners.values())
    assert len({part for parts in owners.values() for part in parts}) >= 2
    assert "is split" in net.said
    if split != "nonlinear":  # what reads the weights again finds the same parts
        parts, said = [net.part_of(row) for row in rows], net.said
        net._begin()
        assert ([net.part_of(row) for row in rows], net.said) == (parts, said)
    if split == "nonlinear":
        counts = {part: set() for part in ("0", "1")}  # type: dict[str, set[int]]
        for row in rows:
            layers = 2 + int(row[1]) + int(row[5])
            assert few_shot.nonlinear_functions(net.space, row) == layers
            counts[net.part_of(row)].add(layers)
        assert max(counts["0"]) < min(counts["1"])


def test_a_part_begins_with_the_weights_of_what_was_split() -> None:
    space = nastk.space_of(Elastic)
    shared = SharedWeights(space)
    row = space.sample(1, 0)[0]
    before = {name: value.detach().clone() for name, value in shared.own_weights(row).items()}
    shared.split(lambda arch: "1/0")
    assert all(same(value, before[name]) for name, value in shared.own_weights(row).items())
    assert not any(
        value.data_ptr() == other.data_ptr()
        for value, other in zip(shared.own_weights(row).values(), before.values(), strict=True)
    )


def test_options_are_cut_where_their_gradients_agree_least() -> None:
    agreement = np.array([[1, -0.5, 0.9], [-0.5, 1, -0.4], [0.9, -0.4, 1]])
    assert few_shot.cut(agreement) == (pytest.approx(-0.45), ({0, 2}, {1}))
    one, other = {0: torch.tensor([1.0, 0.0]), 1: torch.ones(2)}, {0: torch.tensor([1.0, 1.0]), 2: torch.ones(3)}
    assert few_shot.similarity(one, other) == pytest.approx(0.5**0.5)


def test_edges_of_one_node_and_layers_of_one_stage_are_hierarchies() -> None:
    assert few_shot.hierarchies(nastk.space("nasbench201")) == [[0], [1, 2], [3, 4, 5]]
    assert [len(h) for h in few_shot.hierarchies(nastk.space("mobilenetv3"))] == [9, 9, 9, 9, 9, 1]
    assert [len(h) for h in few_shot.hierarchies(nastk.space_of(Elastic))] == [3, 3, 2]


class Fails(nn.Module):
    """One option cannot be run."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(nastk.choice("inputs", [64, 32]), 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.wide(x.flatten(1))
        return found


def test_a_network_that_fails_is_nan_with_its_reason() -> None:
    net = supernet("single-path", steps=4).fit(nastk.space_of(Fails), digits())
    judged = net.evaluate(net.space.enumerate())
    assert np.isfinite(judged.loss).tolist() == [True, False]
    assert "shapes" in net.reasons["32"]


def test_block_losses_add_up_and_paths_are_found_again() -> None:
    net = trained("block-wise")
    assert isinstance(net, BlockWise)
    assert [len(stage.paths) for stage in net.stages] == [9, 9]
    archs = net.space.sample(20, 1)
    paths = np.array([net.paths_of(arch) for arch in archs])
    assert np.array_equal(net.archs_of(paths), archs)
    assert net.evaluate(archs).loss == pytest.approx(
        [sum(s.losses[p] for s, p in zip(net.stages, row, strict=True)) for row in paths]
    )
    params = [[float(i) for i in range(len(stage.paths))] for stage in net.stages]
    found = front([stage.losses for stage in net.stages], params)
    assert net.evaluate(net.archs_of(found.paths[-1:])).loss.min() == pytest.approx(
        net.evaluate(net.space.enumerate()).loss.min()
    )


def test_the_network_that_a_round_rates_best_teaches_the_next_one() -> None:
    one, net = trained("block-wise"), trained("block-wise", rounds=2)
    assert isinstance(one, BlockWise)
    assert isinstance(net, BlockWise)
    best = one.archs_of(np.array([[int(np.argmin(stage.losses)) for stage in one.stages]]))[0]
    assert net._best is not None
    assert np.array_equal(net._best, best)
    assert {n: p.shape for n, p in net._teaches.named_parameters()} == {
        n: p.shape for n, p in net.space.build(best).named_parameters()
    }
    archs = net.space.sample(3, 0)
    assert not np.array_equal(net.evaluate(archs).loss, one.evaluate(archs).loss)


def test_paths_that_agree_with_the_mean_of_all_are_rated_better() -> None:
    net = supernet("self-supervised", steps=40, batch=32).fit(nastk.space_of(Staged), digits())
    assert isinstance(net, BlockWise)
    losses = np.concatenate([stage.losses for stage in net.stages])
    assert ((losses > 0) & (losses < 1)).all(), "less than knowing nothing leaves unexplained"
    assert len(np.unique(losses)) > len(losses) / 2


def test_each_path_is_rated_by_what_a_linear_map_of_its_output_does_not_explain() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=generator, dtype=torch.float64)
    weights = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(400, 3, generator=generator, dtype=torch.float64)
    seen, unseen = slice(0, 200), slice(200, 400)
    linear = x @ weights + 7
    assert unexplained(x[seen], linear[seen], x[unseen], linear[unseen]) < 1e-4
    assert unexplained(x[seen], noise[seen], x[unseen], noise[unseen]) == pytest.approx(1.0, abs=0.15)
    images = torch.randn(2, 4, 3, 3, generator=generator)
    rows = rows_of(images)
    assert rows.shape == (18, 4)
    assert torch.equal(rows[3 * 1 + 2].float(), images[0, :, 1, 2])


def test_what_paths_begin_with_is_computed_once() -> None:
    net = trained("block-wise")
    assert isinstance(net, BlockWise)
    paths = net._paths[0]
    assert len({id(layer) for layers in paths for layer in layers}) == 1 + 3 + 3, "the first layer, and two of three"
    images, _ = net.data.validation.batch(torch.arange(6))
    with torch.no_grad():
        together = list(net._answers(0, net._input(0, images, images)))
        for layers, found in zip(paths, together, strict=True):
            alone = net._input(0, images, images)
            for layer in layers:
                alone = layer(alone)
            assert torch.equal(found, alone)


def test_a_choice_of_several_stages_and_networks_without_stages_are_refused() -> None:
    with pytest.raises(Unsupported, match="the choice 'width' changes stages 1 and 2"):
        supernet("block-wise").fit(nastk.space_of(Global), digits())
    with pytest.raises(Unsupported, match="attributes `stem`, `stages`"):
        supernet("block-wise").fit(nastk.space_of(Elastic), digits())


def test_numbers_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InvalidValue, match="1 step"):
        supernet("sandwich", steps=0)
    with pytest.raises(InvalidValue, match="at least 0"):
        supernet("sandwich", random=-1)
    with pytest.raises(InvalidValue, match="2 images"):
        supernet("block-wise", judged_on=1)
    with pytest.raises(InvalidValue, match="at least 2 together"):
        supernet("self-supervised", together=1)
    for options, message in (
        ({"split": "random"}, "split is one of"),
        ({"split": "edges", "parts": 3}, "a power of 2"),
        ({"warm_up": 1.0}, "a share between"),
    ):
        with pytest.raises(InvalidValue, match=message):
            supernet("few-shot", **options)
    with pytest.raises(InvalidValue, match="more than half of the 6 steps"):
        supernet("few-shot", split="gradient", steps=8).fit(nastk.space_of(Elastic), digits())
    with pytest.raises(Unsupported, match="all have 0 nonlinear functions"):
        supernet("few-shot", steps=8).fit(nastk.space_of(Fails), digits())
