"""Each supernet keeps the contract on small networks and digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from elastic import Elastic, Global, Staged, digits
from torch import nn

import nastk
from nastk.errors import InvalidValue, Unsupported
from nastk.registry import SUPERNETS
from nastk.supernets import Supernet, supernet
from nastk.supernets.block_wise import BlockWise, rows_of, unexplained
from nastk.supernets.knapsack import front
from nastk.supernets.sandwich import Sandwich

OPTIONS: dict[str, dict[str, Any]] = {
    "single-path": {"steps": 8, "batch": 16},
    "sandwich": {"steps": 4, "batch": 16},
    "block-wise": {"steps": 6, "batch": 16, "teacher_steps": 4},
}
SPACES = {name: Staged if name == "block-wise" else Elastic for name in OPTIONS}


def trained(name: str, **options: Any) -> Supernet:
    made = supernet(name, **{**OPTIONS[name], **options})
    return made.fit(nastk.space_of(SPACES[name]), digits())


@pytest.mark.parametrize("name", SUPERNETS.names())
def test_keeps_the_contract(name: str) -> None:
    done: list[tuple[int, int]] = []
    net = trained(name, progress=lambda *counts: done.append(counts))
    assert done == [(i + 1, len(done)) for i in range(len(done))]
    archs = net.space.sample(3, 0)
    judged = net.evaluate(archs)
    assert np.isfinite(judged.loss).all()
    assert np.array_equal(judged.loss, net.evaluate(archs).loss), "judging changes nothing"
    if name != "block-wise":  # whose stages take longer
        assert np.array_equal(judged.loss, trained(name).evaluate(archs).loss), "the same seed, the same supernet"
    if name != "block-wise":
        assert ((judged.accuracy >= 0) & (judged.accuracy <= 100)).all()
    network = net.space.build(archs[0])
    assert not network.load_state_dict(net.weights_of(archs[0]), strict=name != "block-wise").unexpected_keys


def test_what_is_learned_is_seen_on_the_largest_network() -> None:
    net = supernet("sandwich", steps=60).fit(nastk.space_of(Elastic), digits())
    assert isinstance(net, Sandwich)
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


def test_strictly_fair_paths_have_each_option_equally_often() -> None:
    net = trained("single-path", fair=True)
    paths = net._fair_paths()  # type: ignore[attr-defined]
    assert all(np.bincount(column, minlength=2).tolist() == [1, 1] for column in paths.T)


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
        together = list(net._answers(0, images, images))
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
