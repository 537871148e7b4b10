"""The generator: it learns a front for many devices, proposes for new ones, keeps budgets and limits, and is stored."""

from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from effort import calls
from toy import Toy, oracle

from nastk.errors import DataError, InvalidValue, UnknownName, Unsupported
from nastk.generators import Cost, Device, Limit, ParetoGenerator, load, rays
from nastk.generators._landscapes import Grid, isomorphic_encodings
from nastk.generators.decoding import Decoder, greedy, log_softmax
from nastk.metrics import hypervolume, nondominated
from nastk.predictors.base import Task
from nastk.predictors.mlp import MLP
from nastk.predictors.ridge import Ridge
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, Choice, SearchSpace
from nastk.spaces.factory import space

SPACE = Toy()
ARCHS = SPACE.enumerate()
HOT = SPACE.one_hot(ARCHS)
GOOD = np.tile([0.0, 1.0, 1.7], 4) * np.repeat([1.0, 0.7, 0.5, 0.3], 3)
"""What each option adds to the quality."""


def error(archs: Archs) -> Any:
    return 10.0 - SPACE.one_hot(archs) @ GOOD


def latency(device: float, archs: Archs) -> Any:
    """A family of devices: from one, 0, on which early choices are slow to one, 1, on which late ones are."""
    early, late = np.repeat([4.0, 2.0, 1.0, 0.5], 3), np.repeat([0.5, 1.0, 2.0, 4.0], 3)
    weights = ((1 - device) * early + device * late) * np.tile([0.1, 0.5, 1.0], 4)
    return 2.0 + SPACE.one_hot(archs) @ weights


def device(at: float, cost: bool = True) -> Device:
    references = {"latency": latency(at, generator().references_)}
    return Device(f"device-{at}", {"latency": lambda archs: latency(at, archs)} if cost else {}, references)


def generator(**options: Any) -> ParetoGenerator:
    made = {"references": ARCHS[[0, 10, 20, 40, 60, 70, 80]], "steps": 250, "batch": 8, **options}
    return ParetoGenerator(SPACE, {"error": error, "latency": None}, **made)


SOURCES = (0.0, 0.25, 0.75, 1.0)


def fitted(**options: Any) -> ParetoGenerator:
    return generator(**options).fit([device(at) for at in SOURCES])


def volume(at: float, archs: Archs) -> float:
    """Share of the best possible hypervolume."""
    costs = np.stack([error(ARCHS), latency(at, ARCHS)], 1)
    low, width = costs.min(0), np.ptp(costs, axis=0)
    mine = (np.stack([error(archs), latency(at, archs)], 1) - low) / width
    return hypervolume(mine, (1, 1)) / hypervolume((costs - low) / width, (1, 1))


@pytest.fixture(scope="module")
def trained() -> ParetoGenerator:
    return fitted()


# ---- what it learns


def test_it_minimises_every_preference_on_its_devices_and_on_one_it_has_not_seen(trained: ParetoGenerator) -> None:
    blank = fitted(steps=0)
    for at in (*SOURCES, 0.5):
        costs = np.stack([error(ARCHS), latency(at, ARCHS)], 1)
        costs = ((costs - costs.min(0)) / np.ptp(costs, axis=0)) @ rays(12).T
        proposals = [g.propose(device(at, cost=False), 12, distinct=False) for g in (trained, blank)]
        regret, untrained = (np.mean(costs[SPACE.index(p), range(12)] - costs.min(0)) for p in proposals)
        assert regret < (0.02 if at in SOURCES else 0.04)
        assert regret < 0.25 * untrained
        assert volume(at, trained.propose(device(at, cost=False), 12)) > 0.85


def test_what_it_proposes_depends_on_the_device(trained: ParetoGenerator) -> None:
    first, last = (trained.propose(device(at, cost=False), [[0.5, 0.5]])[0] for at in (0.0, 1.0))
    assert latency(0.0, first[None]) < latency(0.0, last[None])
    assert latency(1.0, last[None]) < latency(1.0, first[None])


@pytest.mark.parametrize(
    "options",
    [
        {"network": "smooth"},
        {"discretiser": "st-gumbel"},
        {"discretiser": "softmax"},
        {"discretiser": "score"},
        {"discretiser": "exact"},
        {"discretiser": "dirichlet", "entropy": 0.0},
        {"scalarisation": "smooth-tchebycheff"},
        {"scalarisation": "tchebycheff", "alignment": 0.01},
        {"normalisation": "cdf"},
        {"combination": "mgda", "steps": 150},
    ],
    ids=lambda o: "-".join(map(str, o.values())),
)
def test_every_option_finds_a_front(options: dict[str, Any]) -> None:
    assert volume(0.5, fitted(**options).propose(device(0.5, cost=False), 12)) > 0.93


def test_decoding_adds_to_the_front_and_counts_what_is_there(trained: ParetoGenerator) -> None:
    chosen = trained.decode(device(0.5), 6)
    assert len(np.unique(chosen, axis=0)) == len(chosen) <= 6
    assert volume(0.5, chosen) > 0.94
    more = trained.decode(device(0.5), 6, taken=chosen)
    assert not {a.tobytes() for a in more} & {a.tobytes() for a in chosen}
    assert volume(0.5, np.concatenate([chosen, more])) > volume(0.5, chosen) - 1e-12


def test_greedy_choice_is_the_best_hypervolume() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((40, 2))
    chosen = points[greedy(points[None], 5, count=512)]
    best, held = [], points[:0]
    for _ in range(5):
        gains = [hypervolume(np.vstack([held, p]), (1, 1)) for p in points]
        best.append(int(np.argmax(gains)))
        held = np.vstack([held, points[best[-1]]])
    assert hypervolume(chosen, (1, 1)) == pytest.approx(hypervolume(held, (1, 1)), rel=0.01)


def test_greedy_choice_in_three_objectives_is_close_to_the_best_of_many() -> None:
    points = np.random.default_rng(0).random((60, 3))
    mine = hypervolume(points[greedy(points[None], 8, count=256)], (1, 1, 1))
    others = [hypervolume(points[np.random.default_rng(i).permutation(60)[:8]], (1, 1, 1)) for i in range(200)]
    assert mine > max(others)


def test_one_and_three_objectives_and_no_device() -> None:
    alone = ParetoGenerator(SPACE, {"error": error}, steps=200).fit()
    assert error(alone.propose(preferences=1))[0] == pytest.approx(error(ARCHS).min())
    costs = {"error": error, "slow": lambda a: latency(0.0, a), "late": lambda a: latency(1.0, a)}
    three = ParetoGenerator(SPACE, costs, steps=300)
    points = np.stack([c(ARCHS) for c in costs.values()], 1)
    low, width = points.min(0), np.ptp(points, axis=0)

    def found(archs: Archs) -> float:
        return hypervolume((np.stack([c(archs) for c in costs.values()], 1) - low) / width, (1, 1, 1))

    blank = ParetoGenerator(SPACE, costs, steps=0).fit()
    random = np.mean([found(SPACE.sample(24, seed, unique=True)) for seed in range(10)])
    assert found(three.fit().propose()) > max(found(blank.propose()), random) + 0.01


def test_a_preference_for_one_objective_leads_to_its_end_of_the_front(trained: ParetoGenerator) -> None:
    ends = trained.propose(device(0.25, cost=False), [[1, 0], [0, 1]], distinct=False)
    assert error(ends[:1])[0] < np.quantile(error(ARCHS), 0.03)
    assert latency(0.25, ends[1:])[0] < np.quantile(latency(0.25, ARCHS), 0.03)


def test_a_seed_fixes_everything() -> None:
    a, b, c = (fitted(steps=20, seed=s).logits("device-0.0", 3) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_warm_start_goes_on() -> None:
    warm = fitted(steps=120, warm_start=True)
    before = warm.logits("device-0.0", 5)
    warm.steps = 1
    warm.fit([device(at) for at in SOURCES])
    assert np.abs(warm.logits("device-0.0", 5) - before).max() < 0.2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_it_trains_on_a_gpu() -> None:
    assert volume(0.5, fitted(device="cuda").propose(device(0.5, cost=False), 12)) > 0.93


# ---- relatives


def test_a_budget_takes_the_place_of_the_preference() -> None:
    made = fitted(condition="budget", steps=500)
    levels = np.array([0.1, 0.3, 0.6, 0.95])
    found = made.propose(device(0.5, cost=False), budgets=levels, distinct=False)
    bounds = np.quantile(latency(0.5, ARCHS), levels)
    assert (np.diff(error(found)) <= 1e-9).all()  # more room, less error
    assert (latency(0.5, found) <= bounds * 1.1).all()
    assert made.level(device(0.5), "latency", [bounds[1]])[0] == pytest.approx(0.3, abs=0.02)
    with pytest.raises(InvalidValue, match="from 0 to 1"):
        made.propose("device-0.0", budgets=[7.0])


def test_a_learned_multiplier_lands_on_the_latency_in_one_search() -> None:
    for target in (5.0, 8.0):
        made = ParetoGenerator(
            SPACE,
            {"error": error, "latency": lambda a: latency(0.5, a)},
            network="constant",
            limits=[Limit("latency", target, "target")],
            steps=500,
        )
        ends = made.fit().propose(preferences=[[1, 0]])
        assert latency(0.5, ends)[0] == pytest.approx(target, rel=0.12)


def test_a_lagrangian_keeps_a_size_and_stays_zero_where_it_does_not_bind() -> None:
    def size(archs: Archs) -> Any:
        return 1.0 + archs.sum(axis=1)

    found = {}
    for bound in (4.0, 100.0):
        made = ParetoGenerator(SPACE, {"error": error}, limits=[Limit(size, bound)], network="constant", steps=400)
        found[bound] = size(made.fit().propose(preferences=1))[0]
        assert (made.multipliers_[0, 0] > 0) == (bound == 4.0)
    assert found[4.0] <= 4.5
    assert found[100.0] == 9.0


@pytest.mark.parametrize("discretiser", ["softmax", "dirichlet"])
def test_one_device_and_one_preference_are_a_plain_differentiable_search(discretiser: str) -> None:
    """DARTS and DrNAS: architecture parameters alone."""
    made = ParetoGenerator(SPACE, {"error": error}, network="constant", discretiser=discretiser, entropy=0.0, steps=200)
    assert error(made.fit().propose(preferences=1))[0] < np.quantile(error(ARCHS), 0.05)


# ---- costs


def test_a_grid_answers_architectures_their_neighbours_and_mixtures() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 81))
    grid = Grid(SPACE, values)
    rows = torch.tensor([[0, 1], [1, 1]])
    hot = torch.tensor(HOT[[5, 40]], dtype=torch.float32)[None].requires_grad_(True)
    found = grid.hard(hot, rows)
    assert torch.allclose(found[0], torch.tensor(values[[[0, 1], [1, 1]], [[5, 5], [40, 40]]], dtype=torch.float32))
    found[0, 0, 0].backward()
    other = ARCHS[5].copy()
    other[2] = (other[2] + 1) % 3
    place = SPACE.index(other[None])[0]
    slope = hot.grad[0, 0, 6 + other[2]] - hot.grad[0, 0, 6 + ARCHS[5][2]]
    assert slope.item() == pytest.approx(values[0, place] - values[0, 5], abs=1e-5)
    half = 0.5 * hot.detach()[:, :1] + 0.5 * torch.tensor(SPACE.one_hot(other[None]), dtype=torch.float32)[None]
    mean = (values[0, place] + values[0, 5]) / 2
    assert grid.mixed(half, rows[:1])[0, 0, 0].item() == pytest.approx(mean, abs=1e-5)
    assert torch.allclose(grid.mixed(hot.detach(), rows), found.detach(), atol=1e-5)


def test_costs_come_from_predictors_oracles_arrays_and_functions() -> None:
    networks = SPACE.canonical(ARCHS)  # equal networks have equal values
    task = Task(SPACE, ARCHS[::2], error(networks[::2]), "error")
    accuracy = oracle("accuracy")
    assert Cost(SPACE, Ridge().fit(task))(ARCHS) == pytest.approx(error(networks), abs=0.1)
    assert np.array_equal(Cost(SPACE, accuracy)(ARCHS), -accuracy(ARCHS))
    assert np.array_equal(Cost(SPACE, error(ARCHS))(ARCHS[3:6]), error(ARCHS[3:6]))
    assert Cost(SPACE, Ridge().fit(task)).draws(ARCHS[:5], 7, 0).shape == (7, 5)
    with pytest.raises(InvalidValue, match="not fitted"):
        Cost(SPACE, Ridge())
    with pytest.raises(InvalidValue, match="80 values for the 81"):
        Cost(SPACE, np.zeros(80))
    with pytest.raises(InvalidValue, match="got str"):
        Cost(SPACE, "latency")


def test_an_unknown_cost_counts_as_the_worst() -> None:
    def broken(archs: Archs) -> Any:
        return np.where(archs[:, 0] == 2, np.nan, error(archs))

    found = ParetoGenerator(SPACE, {"error": broken}, steps=200).fit().propose(preferences=1)
    assert found[0, 0] == 1  # the best that is known


class Wide(SearchSpace):
    """Too many architectures to list; the first choice says how many of the others count."""

    name = "wide"
    choices = (Choice("depth", ("4", "8", "12")), *(Choice(f"layer{i}", ("a", "b", "c", "d")) for i in range(12)))

    def canonical(self, archs: Archs) -> Archs:
        archs = np.array(archs)
        beyond = np.arange(12) >= 4 * (archs[:, :1] + 1)
        archs[:, 1:][beyond] = 0
        return archs

    def build(self, arch: Archs, **options: Any) -> Any:
        raise NotImplementedError


WIDE = Wide()


def quality(archs: Archs) -> Any:
    used = WIDE.canonical(archs)[:, 1:]
    return 20.0 - np.log1p(used) @ np.linspace(0.3, 1.7, 12)


def size(archs: Archs) -> Any:
    return 1.0 + WIDE.canonical(archs)[:, 1:].sum(1)


def wide_volume(archs: Archs) -> float:
    return hypervolume(np.stack([(quality(archs) - 3.0) / 17.0, size(archs) / 37.0], 1), (1, 1))


def test_costs_without_gradient_are_distilled_where_the_space_cannot_be_listed() -> None:
    made = ParetoGenerator(
        WIDE, {"quality": quality, "size": size}, steps=300, labels=2000, distillation_steps=600
    ).fit()
    assert (made.distilled_ > 0.95).all()
    random = np.mean([wide_volume(WIDE.sample(24, s)) for s in range(10)])
    assert wide_volume(made.propose()) > random + 0.05
    assert wide_volume(made.decode()) > random + 0.05


@pytest.mark.parametrize("make", [Ridge, MLP])
def test_gradients_flow_through_relaxable_predictors(make: Any) -> None:
    archs = WIDE.sample(300, 0)
    models = {
        name: make().fit(Task(WIDE, archs, f(archs), name)) for name, f in {"quality": quality, "size": size}.items()
    }
    made = ParetoGenerator(WIDE, models, steps=300, labels=500).fit()
    assert np.isnan(made.distilled_).all()
    assert wide_volume(made.propose()) > np.mean([wide_volume(WIDE.sample(24, s)) for s in range(10)]) + 0.03


def test_a_pool_gets_members_only() -> None:
    pool = Pool(WIDE, WIDE.canonical(WIDE.sample(1500, 0)))
    made = ParetoGenerator(pool, {"quality": quality, "size": size}, steps=300, distillation_steps=600).fit()
    for archs in (made.propose(), made.decode(), made.candidates()):
        assert pool.is_valid(archs).all()
    assert len(np.unique(made.propose(), axis=0)) == 24
    random = np.mean([wide_volume(pool.sample(24, s)) for s in range(10)])
    other = ParetoGenerator(pool, {"quality": quality, "size": size}, steps=300, distillation_steps=600, seed=1).fit()
    assert np.mean([wide_volume(generator.propose()) for generator in (made, other)]) > random
    assert wide_volume(made.decode()) > random + 0.02


def test_respelled_networks_are_the_same_with_other_unused_options() -> None:
    archs = WIDE.canonical(WIDE.sample(200, 0))
    other = isomorphic_encodings(WIDE, archs, 0)
    assert np.array_equal(WIDE.canonical(other), archs)
    assert (other != archs)[archs[:, 0] == 0].any(axis=1).mean() > 0.9


# ---- decoding


def test_the_likeliest_is_the_argmax_and_distinct_ones_follow_by_probability() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 12))
    p = np.exp(log_softmax(logits, SPACE.sizes) @ HOT.T)[0]
    assert p.sum() == pytest.approx(1)
    assert np.array_equal(Decoder(SPACE).likeliest(logits)[0], ARCHS[np.argmax(p)])
    several = Decoder(SPACE).likeliest(np.repeat(logits, 3, 0), distinct=True)
    best_neighbours = [a for a in ARCHS[np.argsort(-p)] if (a != ARCHS[np.argmax(p)]).sum() <= 1][:3]
    assert np.array_equal(several, best_neighbours)


def test_where_most_combinations_are_no_members_draws_find_one_or_say_so() -> None:
    class Even(Toy):
        """Only rows of an even sum that do not start with "a"."""

        size = 27

        def is_valid(self, archs: Archs) -> Any:
            return (archs.sum(1) % 2 == 0) & (archs[:, 0] > 0)

        @property
        def enumerable(self) -> bool:
            return False

    class Empty(Even):
        def is_valid(self, archs: Archs) -> Any:
            return np.zeros(len(archs), dtype=bool)

    logits = np.random.default_rng(0).normal(size=(20, 12))
    logits[:, 0] += 5.0
    assert Even().is_valid(Decoder(Even()).likeliest(logits)).all()
    assert Even().is_valid(Decoder(Even()).sample(logits, 10)).all()
    with pytest.raises(Unsupported, match="none belongs"):
        Decoder(Empty()).likeliest(logits)


def test_what_decoding_computes_of_a_pool_stays_out_of_the_pool() -> None:
    pool = Pool(SPACE, ARCHS[:50])
    decoder, before = Decoder(pool), len(pickle.dumps(pool))
    found = decoder.likeliest(np.random.default_rng(0).normal(size=(3, 12)))
    assert pool.is_valid(found).all()
    assert len(pickle.dumps(pool)) == before
    assert np.array_equal(pickle.loads(pickle.dumps(pool)).enumerate(), pool.enumerate())


# ---- devices, errors, files


def test_a_device_is_its_references_whatever_the_unit() -> None:
    made = generator()
    values = latency(0.3, made.references_)
    a, b = (made.embedding(Device("x", references={"latency": values * s + o})) for s, o in ((1.0, 0.0), (1000.0, 5.0)))
    assert np.allclose(a, b)
    assert a.min() == 0
    assert a.max() == 1
    failed = np.where(np.arange(7) == 6, np.nan, values)
    assert made.embedding(Device("x", references={"latency": failed}))[6] == 1.0


def test_a_proposal_is_a_forward_pass() -> None:
    """One for a new device and all 24 preferences, at the size of NAS-Bench-201; no gradient, nobody's prediction."""
    cells = space("nasbench201")
    made = ParetoGenerator(
        cells, {"error": np.arange(15625.0), "latency": None}, references=cells.sample(10, 0), steps=0
    )
    values = np.arange(1.0, 11.0)
    made.fit([Device("a", {"latency": np.arange(15625.0)}, {"latency": values})])
    passes: list[bool] = []
    made.network_.register_forward_hook(lambda module, given, logits: passes.append(logits.requires_grad))
    new = Device("new", {"latency": lambda archs: pytest.fail("a prediction")}, {"latency": values[::-1]})
    made.propose(new)
    assert passes == [False]
    assert calls(lambda: made.propose(new)) < 5000, "2200, about 10 ms where nothing else runs"


def test_what_cannot_be_is_refused_in_one_line(trained: ParetoGenerator) -> None:
    with pytest.raises(InvalidValue, match="not trained"):
        generator().propose("device-0.0")
    with pytest.raises(UnknownName, match="device-0"):
        trained.propose("device-7")
    with pytest.raises(InvalidValue, match="give devices"):
        generator().fit()
    with pytest.raises(InvalidValue, match="different names"):
        generator().fit([device(0.0), device(0.0)])
    with pytest.raises(InvalidValue, match="no cost for latency"):
        generator().fit([device(0.0, cost=False)])
    with pytest.raises(InvalidValue, match="5 values for 7"):
        trained.propose(Device("x", references={"latency": np.arange(5.0)}))
    with pytest.raises(InvalidValue, match="needs latency of the 7"):
        trained.propose(Device("x"))
    with pytest.raises(InvalidValue, match="two different values"):
        trained.propose(Device("x", references={"latency": np.ones(7)}))
    with pytest.raises(UnknownName, match="energy"):
        trained.propose(Device("x", references={"energy": np.ones(7)}))
    with pytest.raises(InvalidValue, match="2 weights"):
        trained.propose("device-0.0", [[1.0, 2.0, 3.0]])
    with pytest.raises(InvalidValue, match="not be negative"):
        trained.propose("device-0.0", [[1.0, -2.0]])
    with pytest.raises(InvalidValue, match="condition='budget'"):
        trained.propose("device-0.0", budgets=[0.5])
    with pytest.raises(InvalidValue, match="two objectives"):
        ParetoGenerator(SPACE, {"error": error}, condition="budget").fit()
    with pytest.raises(InvalidValue, match="at least one objective"):
        ParetoGenerator(SPACE, {}).fit()
    with pytest.raises(UnknownName, match="reinmax"):
        fitted(discretiser="rein-max")
    with pytest.raises(UnknownName, match="objective to limit"):
        fitted(limits=[Limit("energy", 1.0)])
    with pytest.raises(InvalidValue, match="positive"):
        Limit("latency", 0.0)
    with pytest.raises(InvalidValue, match="enumerated"):
        ParetoGenerator(WIDE, {"size": size}, discretiser="exact").fit()


@pytest.mark.parametrize("network", ["bank", "smooth"])
def test_what_is_stored_proposes_the_same(network: str, tmp_path: Path) -> None:
    made = fitted(network=network, steps=30)
    made.save(tmp_path / "g", notes={"seen": 4})
    read = load(tmp_path / "g", SPACE, {"error": error})
    new = device(0.4)
    assert np.array_equal(read.propose(new), made.propose(new))
    assert np.array_equal(read.propose("device-0.75"), made.propose("device-0.75"))
    assert np.array_equal(read.decode(new), made.decode(new))
    bare = load(tmp_path / "g.json", SPACE)
    with pytest.raises(InvalidValue, match="has no costs"):
        bare.decode(new)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.json", "g.safetensors"]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    fitted(steps=0).save(tmp_path / "g")
    (tmp_path / "g.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(DataError, match="cannot read"):
        load(tmp_path / "g", SPACE)
    (tmp_path / "g.json").write_text("{}")
    with pytest.raises(DataError, match="does not describe"):
        load(tmp_path / "g", SPACE)
    with pytest.raises(DataError, match="cannot read"):
        load(tmp_path / "none", SPACE)


def test_rays_reach_every_corner() -> None:
    found = {tuple(row) for row in rays(10, 3)[:3]}
    assert found == set(product((0.0, 1.0), repeat=3)) & {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)}


def test_the_toy_front_is_worth_finding() -> None:
    costs = np.stack([error(ARCHS), latency(0.5, ARCHS)], 1)
    assert 5 < nondominated(costs).sum() < 40
