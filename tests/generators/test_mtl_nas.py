"""MTL-NAS: gates that find a path that is worth it, its schedules, and the entropy in the supernet generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import nastk
from nastk.data.digit_tasks import digit_tasks, thickness
from nastk.data.images import ImageData, data_of, read_images
from nastk.errors import InvalidValue, UnknownName
from nastk.generators import MTLNAS, SupernetGenerator, Target
from nastk.oracles import Training
from nastk.problems import MultiTask
from nastk.relaxation.entropy import entropies
from nastk.spaces.mtl_fusion import MTLFusion

SMALL = MTLFusion((2, 2), (4, 4), reach=0)
BOTH = MultiTask({"one": "classification", "two": "classification"})


def data(n: int = 64) -> ImageData:
    """Noise with a bright or a dark corner, which both tasks ask for."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for _ in range(3):
        labels = torch.randint(2, (n,), generator=generator)
        x = torch.randn((n, 1, 8, 8), generator=generator)
        x[:, :, :4, :4] += labels[:, None, None, None] * 2.0 - 1.0
        parts.append((x, torch.stack([labels, labels], 1)))
    return data_of(*parts, problem=BOTH)


class Paid(MTLNAS):
    """Its loss has a price for each path, so that what should be found is known."""

    def _loss(self, x: Tensor, y: Tensor, gates: Tensor | list[int]) -> Tensor:
        prices = torch.tensor([-3.0, 3.0, 3.0, -3.0])
        return super()._loss(x, y, gates) + (torch.as_tensor(gates) * prices).sum()


def test_gates_open_where_that_lowers_the_loss_and_become_certain() -> None:
    found = Paid(SMALL, steps=40, batch=16, gate_rate=0.2).fit(data())
    assert found.arch.tolist() == [1, 0, 0, 1]
    assert np.abs(found.probabilities - found.arch).max() < 0.1
    assert found.curve_.shape[1] == 4
    searched, left = found.gap(data().test)
    assert abs(searched - left) < 0.2 * left


def test_its_network_is_the_supernet_at_the_found_gates_not_trained_again() -> None:
    found = MTLNAS(SMALL, steps=6, batch=16, seed=3).fit(data())
    x, _ = data().test.tensors()
    for a, b in zip(found.network()(x), found.supernet_(x, found.arch), strict=True):
        torch.testing.assert_close(a, b)
    again = MTLNAS(SMALL, steps=6, batch=16, seed=3).fit(data())
    assert np.array_equal(found.probabilities, again.probabilities)
    other = MTLNAS(SMALL, steps=6, batch=16, seed=4).fit(data())
    assert not np.array_equal(found.probabilities, other.probabilities)


def test_the_entropy_alone_makes_gates_certain() -> None:
    far = {
        weight: np.abs(MTLNAS(SMALL, steps=30, batch=16, entropy=weight, seed=1).fit(data()).probabilities - 0.5).min()
        for weight in (0.0, 30.0)
    }
    assert far[30.0] > far[0.0] + 0.05


def test_halves_share_no_image_and_draws_harden() -> None:
    search = MTLNAS(SMALL, steps=4, batch=8)
    search._begin()
    pairs = search._halves(41)
    gates, weights = (torch.cat([pair[i] for pair in pairs]) for i in (0, 1))
    assert sorted([*gates.tolist(), *weights.tolist()]) == list(range(41))
    soft, hard = (torch.stack([search._draw(share) for _ in range(50)]).detach() for share in (0.0, 1.0))
    assert ((hard < 0.05) | (hard > 0.95)).float().mean() > ((soft < 0.05) | (soft > 0.95)).float().mean() + 0.3


def test_entropies_by_hand() -> None:
    found = entropies(torch.tensor([[0.0, 0.0, 3.0, 3.0, 3.0], [9.0, -9.0, 50.0, 0.0, 0.0]]), [2, 3])
    torch.testing.assert_close(found[0], torch.tensor([2.0, 3.0]).log())
    assert float(found[1].max()) < 1e-5


def test_data_and_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidValue, match="2 backbones, and digits is for no tasks"):
        MTLNAS(SMALL).fit(read_images("digits"))
    for options in ({"steps": 1}, {"warmup": 1.0}, {"entropy": -1.0}, {"gate_rate": 0.0}):
        with pytest.raises(InvalidValue):
            MTLNAS(SMALL, **options)
    with pytest.raises(InvalidValue, match="entropy"):
        SupernetGenerator(SMALL, entropy=-1.0)
    with pytest.raises(UnknownName):
        digit_tasks("size")
    with pytest.raises(InvalidValue):
        digit_tasks(training=1500, validation=400)


def test_other_searchers_run_on_the_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = nastk.search(SMALL, objectives=[Training(SMALL, data(), epochs=1)], searcher="random", budget=2, seed=0)
    assert result.front["badness"].between(0, 100).all()


def test_the_entropy_makes_a_supernet_generator_certain() -> None:
    some, target = data(32), Target("paths", np.ones(1), lambda one_hots: one_hots[..., 1::2].sum(-1))
    left = []
    for weight in (0.0, 20.0):
        search = SupernetGenerator(
            SMALL, "constant", epochs=6, batch=16, references=4, entropy=weight, problem=BOTH, learning_rate=0.2
        )
        search.fit(some.training.tensors(), some.validation.tensors(), [target])
        left.append(search.entropies(target.embedding, np.array([[0.5, 0.5]]))[0])
    assert left[1] < 0.7 * left[0]


def test_digits_have_two_real_labels() -> None:
    found = digit_tasks("parity", 300, 200, seed=2)
    assert [len(part) for part in (found.training, found.validation, found.test)] == [300, 200, 1297]
    assert torch.equal(found.test.labels[:, 1], found.test.labels[:, 0] % 2)
    written = digit_tasks("thickness", 300, 200, seed=2)
    assert torch.equal(found.test.labels[:, 0], written.test.labels[:, 0])
    assert 0.4 < float(written.training.labels[:, 1].float().mean()) <= 0.5
    measured = digit_tasks("width", 300, 200, seed=2, weight=4.0)
    widths = measured.training.labels[:, 1]
    assert float(widths.mean().abs()) < 1e-4
    assert float(widths.std(correction=0)) == pytest.approx(1)
    assert torch.equal(widths > widths.median(), written.training.labels[:, 1] == 1)
    outputs = {"digit": torch.zeros(300, 10), "width": torch.zeros(300, 1)}
    loss = measured.problem.loss(outputs, measured.training.labels)
    assert float(loss) == pytest.approx(np.log(10) + 4.0, rel=1e-4), "four times the variance"
    stroke = np.zeros((2, 40, 40))
    stroke[0, 5:35, 10:12], stroke[1, 5:35, 10:16] = 1.0, 1.0
    thin, thick = thickness(stroke)
    assert thin == pytest.approx(2, rel=0.1)
    assert thick == pytest.approx(5, rel=0.1), "twice 30 x 6 over a contour of 72"
