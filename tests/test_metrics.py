"""Metrics against closed forms, and on the real tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import calls, peak

from nastk import metrics
from nastk.errors import InvalidValue

# True hypervolume of the front, by the MODNAS protocol, of the 19 devices of HELP on NAS-Bench-201, CIFAR-10.
TRUE_HYPERVOLUME = {
    "1080ti_1": 0.9458,
    "1080ti_32": 0.9697,
    "1080ti_256": 0.9425,
    "silver_4114": 0.9736,
    "silver_4210r": 0.9690,
    "samsung_a50": 0.9925,
    "pixel3": 0.9840,
    "essential_ph_1": 0.9813,
    "samsung_s7": 0.9833,
    "titanx_1": 0.9568,
    "titanx_32": 0.9504,
    "titanx_256": 0.9488,
    "gold_6240": 0.9727,
    "titan_rtx_256": 0.9663,
    "gold_6226": 0.9618,
    "fpga": 0.9742,
    "pixel2": 0.9832,
    "raspi4": 0.9829,
    "eyeriss": 0.9811,
}


# ---- predictions


def test_rank_correlations_of_order_reversal_and_ties() -> None:
    assert metrics.spearman([1, 2, 3, 4], [10, 20, 30, 40]) == 1.0
    assert metrics.spearman([1, 2, 3, 4], [8, 6, 4, 2]) == -1.0
    assert metrics.spearman([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)  # 1 - 6 * 2 / (3 * 8)
    assert metrics.kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)  # two pairs agree, one does not
    assert metrics.kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / np.sqrt(2 * 3))  # tau-b with one tie


def test_correlation_with_a_constant_is_unknown() -> None:
    assert np.isnan(metrics.spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))
    assert np.isnan(metrics.kendall([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]))


def test_the_95_percent_interval_is_students() -> None:
    mean, half = metrics.mean_ci([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert half == pytest.approx(3.182446 * np.sqrt(5 / 3) / 2, rel=1e-6)  # t(.975, 3) = 3.182446
    assert np.isnan(metrics.mean_ci([7.0])[1])
    assert metrics.mean_ci([3.0, 3.0, 3.0]) == (3.0, 0.0)


def test_regret_is_of_the_best_so_far() -> None:
    assert metrics.regret([5.0, 7.0, 3.0, 4.0], best=2.0).tolist() == [3.0, 3.0, 1.0, 1.0]


# ---- fronts


def test_nondominated_keeps_the_first_of_equal_points() -> None:
    costs = [[1, 3], [2, 2], [3, 1], [2, 3], [2, 2], [1, 3]]
    assert metrics.nondominated(costs).tolist() == [True, True, True, False, False, False]
    assert metrics.nondominated([[2.0], [1.0], [1.0]]).tolist() == [False, True, False]
    assert metrics.nondominated(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_nondominated_is_its_definition(k: int) -> None:
    costs = np.random.default_rng(k).integers(0, 6, (200, k)).astype(float)
    worse = (costs[:, None] >= costs).all(axis=2) & (costs[:, None] > costs).any(axis=2)
    expected = ~worse.any(axis=1)
    _, first = np.unique(costs, axis=0, return_index=True)
    assert np.array_equal(metrics.nondominated(costs), expected & np.isin(np.arange(200), first))


def test_nondominated_of_a_whole_table_loops_over_nothing_and_compares_no_pairs() -> None:
    costs = np.random.default_rng(0).random((15_625, 2))
    metrics.nondominated(costs[:9])  # what is imported when first used
    assert calls(lambda: metrics.nondominated(costs)) < 1000
    assert peak(lambda: metrics.nondominated(costs)) < 100 * len(costs)


def test_hypervolume_of_boxes() -> None:
    assert metrics.hypervolume([[0.0, 0.0]], [1, 1]) == 1.0
    assert metrics.hypervolume([[0.0, 0.5], [0.5, 0.0]], [1, 1]) == pytest.approx(0.75)
    assert metrics.hypervolume([[0.5, 0.5], [0.75, 0.75]], [1, 1]) == pytest.approx(0.25)
    assert metrics.hypervolume([[0.0, 0.0, 0.0]], [1, 2, 3]) == pytest.approx(6.0)
    assert metrics.hypervolume([[3.0]], [5.0]) == 2.0


@pytest.mark.parametrize("reference", [[1.0], [1.0, 1.0, 1.0], []])
@pytest.mark.parametrize("costs", [[[0.0, 0.5]], [[2.0, 2.0]], np.empty((0, 2))])
def test_a_reference_point_of_another_length_is_refused(costs: Any, reference: list[float]) -> None:
    with pytest.raises(InvalidValue, match=f"one value for each of 2 objectives; got {len(reference)}"):
        metrics.hypervolume(costs, reference)


@pytest.mark.parametrize(
    ("measure", "what"),
    [
        (lambda: metrics.spearman([1.0, 2.0, 3.0], [1.0, 2.0]), "one length; got 3 and 2"),
        (lambda: metrics.kendall([1.0, 2.0], [1.0, 2.0, 3.0]), "one length; got 2 and 3"),
        (lambda: metrics.igd_plus([[0.0]], [[0.0, 1.0]]), "1 objectives, and the front has 2"),
        (lambda: metrics.gd_plus([[0.0, 1.0]], [[0.0]]), "2 objectives, and the front has 1"),
        (lambda: metrics.gd_plus([[0.0, 1.0]], np.empty((0, 2))), "no points"),
        (lambda: metrics.ModnasProtocol([1.0, 2.0], [1.0]), "one length; got 2 and 1"),
    ],
)
def test_what_differs_in_length_is_refused_and_not_stretched(measure: Callable[[], float], what: str) -> None:
    with pytest.raises(InvalidValue, match=what):
        measure()


def test_hypervolume_of_a_staircase() -> None:
    x = np.linspace(0, 1, 101)[:-1]
    front = np.column_stack([x, 1 - x])  # under the diagonal: 1/2 less half a step for each of the 100 steps
    assert metrics.hypervolume(front, [1, 1]) == pytest.approx(0.5 - 0.5 / 100, abs=1e-12)


def test_points_beyond_the_reference_add_nothing() -> None:
    assert metrics.hypervolume([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]], [1, 1]) == 0.0
    assert metrics.hypervolume([[0.5, 0.5], [-5.0, 3.0]], [1, 1]) == pytest.approx(0.25)
    assert metrics.hypervolume(np.empty((0, 2)), [1, 1]) == 0.0


def test_distances_count_only_what_is_worse() -> None:
    front = [[0.0, 1.0], [1.0, 0.0]]
    assert metrics.igd_plus(front, front) == metrics.gd_plus(front, front) == 0.0
    assert metrics.igd_plus([[0.0, 0.0]], front) == 0.0  # dominates the front
    assert metrics.igd_plus([[0.0, 1.0]], front) == pytest.approx(0.5)  # 0, and 1 away from the other
    assert metrics.gd_plus([[3.0, 5.0], [0.0, 1.0]], front) == 2.5  # 5 to the nearer of the two, and 0
    assert metrics.igd_plus(np.empty((0, 2)), front) == np.inf


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: metrics.nondominated([[1.0, bad]]),
        lambda bad: metrics.hypervolume([[1.0, bad]], [2, 2]),
        lambda bad: metrics.hypervolume([[1.0, 1.0]], [2, bad]),
        lambda bad: metrics.igd_plus([[bad, 1.0]], [[1.0, 1.0]]),
        lambda bad: metrics.gd_plus([[1.0, 1.0]], [[bad, 1.0]]),
        lambda bad: metrics.spearman([1.0, bad], [1.0, 2.0]),
        lambda bad: metrics.kendall([1.0, 2.0], [1.0, bad]),
        lambda bad: metrics.mean_ci([1.0, bad]),
        lambda bad: metrics.regret([1.0, bad], 0.0),
        lambda bad: metrics.ModnasProtocol([1.0, bad], [1.0, 2.0]),
    ],
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(call: object, bad: float) -> None:
    with pytest.raises(InvalidValue):
        call(bad)  # type: ignore[operator]


def test_shapes_are_checked() -> None:
    with pytest.raises(InvalidValue, match="2 dimensions"):
        metrics.nondominated([1.0, 2.0])
    with pytest.raises(InvalidValue, match="1 dimension;"):
        metrics.spearman([[1.0]], [1.0])


# ---- MODNAS


def test_modnas_normalises_over_what_it_keeps() -> None:
    protocol = metrics.ModnasProtocol(error=[10.0, 30.0, 20.0, 95.0], latency=[4.0, 2.0, 3.0, 0.0])
    assert protocol.normalise([0, 1, 2, 3]).tolist() == [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    assert protocol.front_hypervolume() == pytest.approx(0.25)
    assert protocol.hypervolume([3]) == 0.0
    assert protocol.hypervolume([2, 3]) == pytest.approx(0.25)
    assert protocol.igd_plus([0, 1, 2]) == 0.0
    assert protocol.igd_plus([2]) == pytest.approx((0.5 + 0.5 + 0.0) / 3)


def test_modnas_needs_something_to_keep() -> None:
    with pytest.raises(InvalidValue, match="below 90"):
        metrics.ModnasProtocol([90.0, 99.0], [1.0, 2.0])


@pytest.fixture(scope="module")
def protocols(fetched: Callable[..., Path]) -> dict[str, metrics.ModnasProtocol]:
    import nastk

    table = nastk.benchmark("nasbench201", dataset="cifar10", home=fetched("nasbench201"))
    error = 100.0 - table.values("test_accuracy")
    return {d: metrics.ModnasProtocol(error, table.values("latency", device=d)) for d in TRUE_HYPERVOLUME}


@pytest.mark.data
def test_true_hypervolumes_of_19_devices(protocols: dict[str, metrics.ModnasProtocol]) -> None:
    found = {d: p.front_hypervolume() for d, p in protocols.items()}
    assert found == pytest.approx(TRUE_HYPERVOLUME, abs=1e-4)
    assert np.mean(list(found.values())) == pytest.approx(0.9695, abs=1e-4)
    assert all(p.kept.sum() == 15_284 for p in protocols.values())
    sizes = [len(p.front()) for p in protocols.values()]
    assert np.mean(sizes) == pytest.approx(30.6, abs=0.5)


@pytest.mark.data
def test_random_search_after_24_has_the_published_hypervolume(protocols: dict[str, metrics.ModnasProtocol]) -> None:
    import nastk
    from nastk.oracles.base import FunctionOracle
    from nastk.search.random import RandomSearch

    space = nastk.space("nasbench201")
    anything = FunctionOracle(space, lambda archs: archs.sum(axis=1), "anything")
    found = [
        [
            protocol.hypervolume(
                space.index(np.array([p.arch for p in RandomSearch(space, [anything], seed=s).ask(24)]))
            )
            for s in range(1000 * i, 1000 * i + 100)
        ]
        for i, protocol in enumerate(protocols.values())
    ]
    assert np.mean(found) == pytest.approx(0.8517, abs=0.005)  # random search, 24 evaluations, mean of 19 devices


def test_gain_is_discounted_by_predicted_rank_and_scaled_by_the_true_order() -> None:
    truth = [10.0, 30.0, 20.0]  # gains 0, 1, 1/2
    discounts = 1 / np.log2([2, 3, 4])
    ideal = discounts[0] + discounts[1] / 2
    assert metrics.ndcg([1, 3, 2], truth) == pytest.approx(1.0)
    assert metrics.ndcg([3, 1, 2], truth) == pytest.approx((discounts[1] / 2 + discounts[2]) / ideal)
    assert np.isnan(metrics.ndcg([1, 2], [5, 5]))
    with pytest.raises(InvalidValue, match="one length"):
        metrics.ndcg([1, 2], [1, 2, 3])


def test_partial_correlation_leaves_out_what_a_third_variable_explains() -> None:
    rng = np.random.default_rng(0)
    size, own = rng.normal(size=500), rng.normal(size=500)
    assert abs(metrics.partial_spearman(size + rng.normal(size=500), size + own, size)) < 0.15
    truth, rating = size + own, own - size
    left = metrics.partial_spearman(rating, truth, size)
    assert metrics.spearman(rating, truth) < 0.2 < 0.85 < left
    ranks = np.array([[1, 2, 3, 4, 5], [2, 1, 4, 3, 5], [1, 3, 2, 5, 4]], dtype=float)
    r = np.corrcoef(ranks)
    inverse = np.linalg.inv(r)  # partial correlations are the scaled entries of the inverse
    assert metrics.partial_spearman(*ranks) == pytest.approx(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))
    assert np.isnan(metrics.partial_spearman([1, 2, 3], [1, 3, 2], [2, 4, 6]))
