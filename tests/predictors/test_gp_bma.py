"""gp-bma: exact posteriors, honest mixtures, a prior from other spaces; the encodings that it looks at."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy

import nastk
from nastk.encodings.base import Context
from nastk.errors import DataError, InvalidValue
from nastk.metrics import spearman
from nastk.predictors import _relevance, gp_bma, load
from nastk.predictors._gp_bma_features import ScaledFeatures
from nastk.predictors._monotone_trees import MonotoneTrees
from nastk.predictors._related_cells import RelatedCells
from nastk.predictors._similar_spaces import SimilarSpaces, correlation
from nastk.predictors.base import Task
from nastk.predictors.gp_bma import GPBMA


class Proxies:
    """A good proxy, a useless one, and one that only some spaces have."""

    def __init__(self, space: nastk.SearchSpace, names: tuple[str, ...], seed: int = 0):
        self.names = names
        self.weights = np.random.default_rng(7).uniform(0.0, 1.0, 64)[: space.d]
        self.seed = seed

    def quality(self, archs: np.ndarray) -> np.ndarray:
        return np.asarray(archs) @ self.weights

    def __call__(self, archs: np.ndarray) -> np.ndarray:
        noise = np.sin(1e3 * self.quality(archs)[:, None] * np.array([1.0, 7.0]))
        good = np.exp(3.0 * self.quality(archs) + 0.3 * noise[:, 0])
        columns = {"good": good, "useless": noise[:, 1], "rare": self.quality(archs)}
        return np.stack([columns[name] for name in self.names], axis=1)


def _task(space: nastk.SearchSpace, names: tuple[str, ...], n: int, seed: int = 0) -> Task:
    proxies = Proxies(space, names)
    archs = space.sample(n, seed, unique=True)
    return Task(space, archs, 50.0 + proxies.quality(archs), "accuracy", "%", "max", context=Context(proxies=proxies))


@pytest.fixture
def cells() -> nastk.SearchSpace:
    return nastk.space("nasbench201")


def test_one_kernel_and_one_noise_are_an_exact_gaussian_process(cells: nastk.SearchSpace) -> None:
    task = _task(cells, ("good",), 12)
    fitted = nastk.predictor("gp-bma", encoding="vec", warp="identity", amplitudes=[0.9], noises=[0.1]).fit(task)
    others = cells.sample(20, 5)
    x = cells.one_hot(cells.enumerate())
    scale = 1.0 / x.std(axis=0) / np.sqrt(x.shape[1])
    a, b = ((cells.one_hot(rows) - x.mean(axis=0)) * scale for rows in (task.archs, others))

    def kernel(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return 0.9 * np.exp(-((p[:, None] - q) ** 2).sum(axis=2) / (2 * gp_bma.LENGTH_SCALE**2)) + gp_bma.MEAN_VARIANCE

    z = (task.values - task.values.mean()) / task.values.std()
    inverse = np.linalg.inv(kernel(a, a) + 0.1 * np.eye(12))
    mean = kernel(b, a) @ inverse @ z
    std = np.sqrt(0.9 + gp_bma.MEAN_VARIANCE - ((kernel(b, a) @ inverse) * kernel(b, a)).sum(axis=1))
    prediction = fitted.predict(others)
    tolerance = 0.02 * task.values.std()  # features are scaled by a sample of the space
    assert prediction.mean == pytest.approx(task.values.mean() + task.values.std() * mean, abs=tolerance)
    assert prediction.std == pytest.approx(task.values.std() * std, abs=tolerance)


@pytest.mark.parametrize("warp", ["auto", "distance"])
@pytest.mark.parametrize("values", [[90.0] * 4, [90.0, 90.0, 90.0, 91.0]])
def test_equal_values_are_learned_from_in_every_warp(cells: nastk.SearchSpace, warp: str, values: list[float]) -> None:
    archs = cells.sample(4, 0, unique=True)
    task = Task(cells, archs, np.array(values), "accuracy", "%", "max")
    mean = nastk.predictor("gp-bma", warp=warp).fit(task).predict(cells.sample(50, 1)).mean
    assert np.isfinite(mean).all()
    assert ((mean >= 89.0) & (mean <= 91.2)).all()


def test_a_prior_learned_in_another_space_helps_at_once(cells: nastk.SearchSpace) -> None:
    source = _task(Toy(), ("good", "useless"), 60)
    target = _task(cells, ("good", "useless", "rare"), 400)
    seen, others = target.subset(np.arange(4)), target.subset(np.arange(4, 400))
    found = {}
    for name, made in (
        ("prior", nastk.predictor("gp-bma", encoding="vec").pretrain([source])),
        ("none", nastk.predictor("gp-bma", encoding="vec")),
    ):
        found[name] = spearman(made.adapt(seen).predict(others.archs).mean, others.values)
    assert found["prior"] > 0.8
    assert found["prior"] > found["none"] + 0.1


def test_a_prior_that_misleads_costs_little_and_one_without_common_proxies_nothing(cells: nastk.SearchSpace) -> None:
    source = _task(Toy(), ("good", "useless"), 60)
    wrong = Task(source.space, source.archs, -source.values, "accuracy", "%", "max", context=source.context)
    target = _task(cells, ("good", "useless"), 400)
    seen, others = target.subset(np.arange(60)), target.subset(np.arange(60, 400))
    plain = nastk.predictor("gp-bma").adapt(seen).predict(others.archs)
    misled = nastk.predictor("gp-bma").pretrain([wrong]).adapt(seen).predict(others.archs)
    assert spearman(misled.mean, others.values) > spearman(plain.mean, others.values) - 0.1
    stranger = _task(cells, ("rare",), 60)
    ours, theirs = (
        made.adapt(stranger).predict(others.archs).mean
        for made in (nastk.predictor("gp-bma"), nastk.predictor("gp-bma").pretrain([source]))
    )
    assert np.array_equal(ours, theirs)


def test_less_is_better_turns_the_prior_around(cells: nastk.SearchSpace) -> None:
    source = _task(Toy(), ("good",), 60)
    target = _task(cells, ("good",), 300)
    errors = Task(cells, target.archs, 100.0 - target.values, "error", "%", "min", context=target.context)
    prior = nastk.predictor("gp-bma", encoding="vec").pretrain([source])
    mean = prior.adapt(errors.subset(np.arange(4))).predict(errors.archs[4:]).mean
    assert spearman(mean, errors.values[4:]) > 0.8


def test_it_chooses_different_samples_that_tell_more_than_random_ones(cells: nastk.SearchSpace) -> None:
    made = nastk.predictor("gp-bma", encoding="vec")
    target = _task(cells, ("good",), 800)
    chosen = made.choose(12, cells, candidates=target.archs, seed=3)
    assert len(np.unique(chosen, axis=0)) == 12
    assert np.array_equal(chosen, made.choose(12, cells, candidates=target.archs, seed=3))
    quality = Proxies(cells, ("good",)).quality
    random = [target.archs[np.random.default_rng(s).choice(800, 12, replace=False)] for s in range(5)]
    own = [made.choose(12, cells, candidates=target.archs, seed=s) for s in range(5)]
    scores = [
        np.mean(
            [
                spearman(
                    made.adapt(Task(cells, a, quality(a), "accuracy", "%", "max")).predict(target.archs).mean,
                    target.values,
                )
                for a in archs
            ]
        )
        for archs in (own, random)
    ]
    assert scores[0] > scores[1]
    with pytest.raises(InvalidValue, match="give the space"):
        made.choose(3)
    with pytest.raises(InvalidValue, match="only 2"):
        made.choose(3, space=cells, candidates=target.archs[:2])


def test_a_prior_is_saved_without_pickle(cells: nastk.SearchSpace, tmp_path: Path) -> None:
    target = _task(cells, ("good", "useless"), 50)
    made = nastk.predictor("gp-bma", encoding="vec").pretrain([_task(Toy(), ("good", "useless"), 60)])
    made.save(tmp_path / "prior")
    fitted = made.adapt(target)
    fitted.save(tmp_path / "fitted")
    wanted = fitted.predict(target.archs).mean
    again = load(tmp_path / "fitted", context=target.context)
    assert np.allclose(again.predict(target.archs).mean, wanted, rtol=1e-9)
    prior = load(tmp_path / "prior")
    assert np.allclose(prior.adapt(target).predict(target.archs).mean, wanted, rtol=1e-9)


def test_what_it_computes_is_kept_by_itself_and_never_pickled(
    cells: nastk.SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the table's proxies where it was fetched, else with toy ones."""
    target = _task(cells, ("good", "useless"), 40)
    try:
        table = nastk.benchmark("nasbench201", dataset="cifar10")
    except DataError:
        proxies, prior = target.context.proxies, [_task(Toy(), ("good", "useless"), 60)]
        made = nastk.predictor("gp-bma").pretrain(prior)
    else:
        proxies, made = table.nearest_proxies(), nastk.predictor("gp-bma", pretrained="nasbench201")
    task = Task(cells, target.archs, target.values, "accuracy", "%", "max", context=Context(proxies=proxies))
    everything = cells.enumerate()
    computed: list[int] = []
    compute = ScaledFeatures._compute
    monkeypatch.setattr(ScaledFeatures, "_compute", lambda f, archs: computed.append(len(archs)) or compute(f, archs))
    fitted = made.adapt(task)
    wanted = fitted.predict(everything)
    assert sum(computed) == len(everything)
    again = deepcopy(made).fit(task.subset(np.arange(20)))
    made.prior_score(cells, everything, Context(proxies=proxies))
    made.adapt(task).predict(everything)
    assert sum(computed) == len(everything), "the template, its copies and deep copies share what was computed"
    assert len(again.predict(everything).mean) == len(everything)
    assert len(pickle.dumps(cells)) < 1000
    assert len(pickle.dumps(made)) < 1_500_000, "no features of 15,625 architectures"
    loaded = pickle.loads(pickle.dumps(fitted)).predict(everything)
    assert np.array_equal(loaded.mean, wanted.mean)
    assert np.array_equal(loaded.std, wanted.std)


def test_another_pretraining_or_another_context_takes_other_features(cells: nastk.SearchSpace) -> None:
    made = nastk.predictor("gp-bma", encoding="vec").pretrain([_task(Toy(), ("good", "useless"), 60)])
    archs = cells.sample(50, 0, unique=True)
    contexts = [Context(proxies=Proxies(cells, names)) for names in (("good",), ("useless",))]
    scores = [made.prior_score(cells, archs, context) for context in contexts]
    assert spearman(*scores) < 0.9
    source = _task(Toy(), ("good",), 60)
    reverse = Task(source.space, source.archs, -source.values, "accuracy", "%", "max", context=source.context)
    other = copy(made).pretrain([reverse])
    assert not np.array_equal(other.prior_score(cells, archs, contexts[0]), scores[0])
    assert np.array_equal(made.prior_score(cells, archs, contexts[0]), scores[0]), "what it was copied from stays"


MICRO = nastk.space("transbench101-micro")


def _worth(archs: np.ndarray) -> np.ndarray:
    """What a cell of either space is worth: the sum of its edges, pooling counting as nothing."""
    cells = MICRO.canonical(np.where(archs == 4, 0, archs))
    return np.random.default_rng(5).uniform(0.0, 1.0, (6, 4))[np.arange(6), cells].sum(axis=1)


def _related(tasks: int = 3) -> list[Task]:
    """Tasks of other scales and noises, not all of the same architectures."""
    found = []
    for seed in range(tasks):
        archs = MICRO.sample(250, seed, unique=True)
        noise = 0.1 * np.random.default_rng(seed).standard_normal(len(archs))
        found.append(Task(MICRO, archs, 10.0**seed * (_worth(archs) + noise), "accuracy", "%", "max"))
    return found


def test_a_related_space_is_a_prior_without_proxies(cells: nastk.SearchSpace, tmp_path: Path) -> None:
    source = _task(Toy(), ("good",), 60)
    prior = nastk.predictor("gp-bma").pretrain([source], _related())
    archs = cells.sample(300, 1, unique=True)
    scores = prior.prior_score(cells, archs, Context())
    assert spearman(scores, _worth(archs)) > 0.9
    assert prior.prior_score(Toy(), Toy().sample(3, 0), Context()) is None, "other edges"
    assert nastk.predictor("gp-bma").pretrain([source]).prior_score(cells, archs, Context()) is None
    task = Task(cells, archs, _worth(archs), "accuracy", "%", "max")
    few, rest = task.subset(np.arange(5)), task.subset(np.arange(5, 300))
    helped, alone = (p.adapt(few).predict(rest.archs).mean for p in (prior, nastk.predictor("gp-bma")))
    assert spearman(helped, rest.values) > spearman(alone, rest.values) + 0.1
    prior.save(tmp_path / "prior")
    assert np.allclose(load(tmp_path / "prior").prior_score(cells, archs, Context()), scores, rtol=1e-9)
    cells_alone = nastk.Pool(cells, archs)
    assert spearman(prior.prior_score(cells_alone, archs, Context()), scores) > 0.999


def test_related_cells_count_as_much_as_each_of_the_two_scores_by_proxies(cells: nastk.SearchSpace) -> None:
    target = _task(cells, ("good",), 200)
    source = _task(Toy(), ("good",), 60)
    by_proxies, by_cells, both = (
        nastk.predictor("gp-bma").pretrain([source], related).prior_score(cells, target.archs, context)
        for related, context in (([], target.context), (_related(), Context()), (_related(), target.context))
    )
    shares, rest, *_ = np.linalg.lstsq(np.stack([by_proxies, by_cells], axis=1), both, rcond=None)
    assert rest[0] < 1e-9 * len(both)
    # standardised, the mean of two scores by proxies stands for a sum of a deviation between sqrt(2) and two
    assert 1.4 < shares[0] / shares[1] < 2.01


class Known:
    """The proxy ``rare`` of a share of the architectures, chosen by their numbers."""

    names = ("rare",)

    def __init__(self, space: nastk.SearchSpace, share: float):
        self.space, self.share, self.proxies = space, share, Proxies(space, self.names)

    def __call__(self, archs: np.ndarray) -> np.ndarray:
        there = self.space.index(archs) * 0.618 % 1.0 < self.share
        return np.where(there[:, None], self.proxies(archs), np.nan)


def _with_further(task: Task, share: float) -> Task:
    proxies = copy(task.context.proxies)
    proxies.further = Known(task.space, share)
    return replace(task, context=Context(proxies=proxies))


def test_further_proxies_are_read_where_they_are_known(cells: nastk.SearchSpace, tmp_path: Path) -> None:
    source, target = (_task(space, ("useless",), n) for space, n in ((Toy(), 60), (cells, 200)))
    prior = nastk.predictor("gp-bma").pretrain([source], further=[_with_further(source, 1.0)])
    scores = {}
    for share in (0.0, 0.05, 0.5, 1.0):
        task = _with_further(target, share)
        scores[share] = prior.prior_score(cells, task.archs, task.context)
        assert np.isfinite(scores[share]).all()
        assert abs(scores[share].mean()) < 0.2
    assert spearman(scores[1.0], target.values) > 0.9
    alone = nastk.predictor("gp-bma").pretrain([source]).prior_score(cells, target.archs, target.context)
    for share in (0.0, 0.05):
        assert np.array_equal(scores[share], alone), "of too few: as if none were known"
    known = np.isfinite([Known(cells, 0.5)(rows)[:, 0] for rows in (target.archs, cells.canonical(target.archs))])
    known = known.any(axis=0)
    assert 60 < known.sum() < 160
    assert spearman(scores[0.5][known], target.values[known]) > 0.8  # a canonical form has another value
    assert spearman(scores[0.5][~known], alone[~known]) > 0.999
    assert abs(scores[0.5][known].mean() - scores[0.5][~known].mean()) < 0.4, "on one scale"
    prior.save(tmp_path / "prior")
    again = load(tmp_path / "prior")
    for share, wanted in scores.items():
        assert np.allclose(again.prior_score(cells, target.archs, _with_further(target, share).context), wanted)
    assert np.array_equal(prior.prior_score(cells, target.archs, target.context), alone)
    unread = prior.without_further().prior_score(cells, target.archs, _with_further(target, 1.0).context)
    assert np.array_equal(unread, alone)


def test_spaces_whose_proxies_correlate_as_the_targets_do_weigh_more() -> None:
    rng = np.random.default_rng(0)
    size, other = rng.uniform(size=(2, 400))
    quantiles = {
        "alike": np.stack([size, size, other], axis=1),
        "unlike": np.stack([size, other, size], axis=1),
        "unknown": np.stack([size, np.full(400, np.nan), np.full(400, np.nan)], axis=1),
    }
    worth = {"alike": 2 * size, "unlike": 3 * other - size, "unknown": size}
    spaces = SimilarSpaces.fit([(name, x, worth[name]) for name, x in quantiles.items()])
    assert (spaces.slopes >= 0).all(), "a proxy is never read the other way round"
    assert spaces.slopes[0, :2].sum() == pytest.approx(2.0)
    assert spaces.slopes[1, 1] == pytest.approx(3.0, abs=0.3)
    weights = spaces.weights(correlation(quantiles["alike"] + 0.001 * rng.standard_normal((400, 3))))
    assert weights.argmax() == 0
    assert weights[0] > 0.99
    assert spaces.weights(np.full((3, 3), np.nan)) == pytest.approx([1 / 3] * 3), "nothing tells them apart"
    stored = SimilarSpaces.of_arrays(spaces.arrays())
    x = np.where(rng.uniform(size=(50, 3)) < 0.2, np.nan, rng.uniform(size=(50, 3)))
    here = correlation(quantiles["unlike"])
    assert np.array_equal(stored(x, here), spaces(x, here))
    assert np.isfinite(spaces(x, here)).all()
    wanted = np.corrcoef(quantiles["unlike"].T)
    assert here == pytest.approx(wanted)


@pytest.mark.parametrize(("samples", "share"), [(10, 0.75), (40, 0.5)])
def test_a_prior_that_few_samples_confirm_weighs_more_than_none(
    cells: nastk.SearchSpace, samples: int, share: float
) -> None:
    source, target = _task(Toy(), ("good",), 60), _task(cells, ("good",), 100)
    made = nastk.predictor("gp-bma", encoding="vec").pretrain([source])

    def weight(task: Task) -> float:
        fitted = made.adapt(task)
        return sum(process.weight for process in fitted.processes_ if process.candidate.mean)

    seen = target.subset(np.arange(samples))
    assert weight(seen) == pytest.approx(share, abs=0.05)
    others = np.random.default_rng(0).permutation(seen.values)
    against = Task(cells, seen.archs, others, "accuracy", "%", "max", context=seen.context)
    assert weight(against) < 0.45


def test_other_tasks_of_the_same_space_are_a_prior_but_for_those_that_the_target_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    worth = {"mine": _worth, "alike": _worth, "other": lambda archs: (MICRO.canonical(archs) == 1).sum(axis=1) + 0.0}
    tasks = []
    for seed, (name, value) in enumerate(worth.items()):
        archs = MICRO.sample(250, seed, unique=True)  # not all of the same networks
        values = value(archs) + 0.02 * rng.standard_normal(250)
        tasks.append(Task(MICRO, archs, values, "accuracy", "%", "max", dataset=name))
    prior = nastk.predictor("gp-bma").pretrain((), tasks)
    archs = MICRO.sample(400, 9, unique=True)

    def ranks(made: GPBMA, name: str) -> float:
        return spearman(made.prior_score(MICRO, archs, Context()), worth[name](archs))

    assert ranks(prior, "mine") > 0.8
    rest = prior.without_task("mine")
    assert [cells.tasks for cells in rest.related_] == [("other",)], "what ranks like it goes with it"
    assert ranks(rest, "other") > 0.95
    assert abs(ranks(rest, "mine")) < 0.5
    assert ranks(prior, "mine") > 0.8, "what it was copied from stays"
    assert prior.without_task("new").related_ == prior.related_
    assert rest.without_task("other").prior_score(MICRO, archs, Context()) is None
    named = prior.prior_score(MICRO, archs, Context(dataset="mine"))
    assert np.allclose(named, rest.prior_score(MICRO, archs, Context())), "nor what the context names"
    few = tasks[0].subset(np.arange(5))
    assert np.allclose(prior.adapt(few).predict(archs).mean, rest.adapt(few).predict(archs).mean), "nor the task"
    prior.save(tmp_path / "prior")
    stored = load(tmp_path / "prior").without_task("mine").prior_score(MICRO, archs, Context())
    assert np.allclose(stored, rest.prior_score(MICRO, archs, Context()), rtol=1e-9)


def test_tasks_of_the_same_space_count_twice_as_much_as_all_others(cells: nastk.SearchSpace) -> None:
    source = _task(Toy(), ("good",), 60)
    target = _task(MICRO, ("good",), 200)
    made = [
        nastk.predictor("gp-bma").pretrain(*given).prior_score(MICRO, target.archs, context)
        for given, context in (
            (([source], []), target.context),
            (((), _related()), Context()),
            (([source], _related()), target.context),
        )
    ]
    shares, *_ = np.linalg.lstsq(np.stack(made[:2], axis=1), made[2], rcond=None)
    # two scores by proxies, standardised one by one, have less than a deviation together
    assert 2.0 <= shares[1] / shares[0] < 2.9


def test_an_operation_that_the_related_space_lacks_counts_as_none(cells: nastk.SearchSpace) -> None:
    related = RelatedCells.fit(_related())
    pooled = cells.sample(50, 3)
    cut = np.where(pooled == 4, 0, pooled)
    assert np.array_equal(related(cells, pooled), related(cells, cut))
    assert not related.relates(nastk.space("transbench101-macro"))
    with pytest.raises(InvalidValue, match="toy cannot be a related space"):
        RelatedCells.fit_each([Task(Toy(), Toy().sample(5, 0), np.arange(5.0))])


class Settings(nastk.SearchSpace):
    """Sixteen choices without meaning, no two of which share options."""

    name = "settings"
    choices = tuple(nastk.Choice(f"x{j}", tuple(f"x{j}={v}" for v in range(3))) for j in range(16))


def test_where_choices_mean_nothing_it_learns_which_of_them_matter(cells: nastk.SearchSpace) -> None:
    space = Settings()
    decide = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    archs = space.sample(330, 0, unique=True)
    values = decide[0, archs[:, 3]] + decide[1, archs[:, 8]] + 0.05 * archs.sum(axis=1)
    task = Task(space, archs, values)
    found = nastk.predictor("gp-bma", warp="identity").fit(task.subset(range(30)))
    weights = found.relevance_[::3]
    assert set(np.argsort(weights)[-2:]) == {3, 8}
    assert weights[[3, 8]].min() > 1.2 > weights[[j for j in range(16) if j not in (3, 8)]].max()
    assert spearman(found.predict(archs[30:]).mean, values[30:]) > 0.9
    more = found.conditioned(task.subset(range(40)))
    assert (more.relevance_ == found.relevance_).all(), "hyper-parameters stay"
    assert nastk.predictor("gp-bma").fit(Task(cells, cells.sample(9, 0), np.arange(9.0))).relevance_ is None


def test_the_slope_by_a_choices_weight_is_that_of_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    squared = rng.integers(0, 3, (4, 12))
    squared = (squared[:, :, None] != squared[:, None]).astype(float)
    errors = []

    def check(loss: Any, theta: np.ndarray, **options: Any) -> None:
        at = theta + np.array([0.3, -0.4, 0.1, 0.0, 0.2])
        steps = 1e-5 * np.eye(5)
        numbers = [(loss(at + step)[0] - loss(at - step)[0]) / 2e-5 for step in steps]
        errors.append(np.abs(loss(at)[1] - numbers).max())

    monkeypatch.setattr(_relevance, "minimize", check)
    _relevance.relevance(squared, rng.standard_normal(12), 0.9, 0.3, 1.4)
    assert errors[0] < 1e-5


def test_pretraining_wants_proxies() -> None:
    with pytest.raises(InvalidValue, match="at least one"):
        nastk.predictor("gp-bma").pretrain([])
    space = Toy()
    with pytest.raises(InvalidValue, match="toy has no proxies"):
        nastk.predictor("gp-bma").pretrain([Task(space, space.sample(5, 0), np.arange(5.0))])


def test_trees_never_fall_when_a_feature_rises_and_survive_storage() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(800, 3))
    y = x[:, 0] - x[:, 1] + 0.1 * rng.standard_normal(800)  # the second must not be followed down
    x[rng.uniform(size=x.shape) < 0.1] = np.nan
    trees = MonotoneTrees.fit(x, y, np.ones(800))
    for feature in range(3):
        at = np.tile(np.array([0.5, np.nan, 0.3]), (50, 1))
        at[:, feature] = np.linspace(0, 1, 50)
        assert (np.diff(trees(at)) >= -1e-12).all()
    assert spearman(trees(x), y) > 0.5
    assert np.array_equal(MonotoneTrees.of_arrays(trees.arrays())(x), trees(x))


def test_path_counts_of_known_cells(cells: nastk.SearchSpace) -> None:
    encoding = nastk.encoding("path-counts").fit(cells)

    def count(text: str, feature: str) -> float:
        return float(encoding.transform(cells.parse(text)[None])[0, encoding.names_.index(feature)])

    dead = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert not encoding.transform(cells.parse(dead)[None]).any()
    cell = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|avg_pool_3x3~1|skip_connect~2|"
    # paths: conv-pool (0-1, 1-3), skip-skip (0-2, 2-3), conv-conv-skip (0-1, 1-2, 2-3)
    assert count(cell, "paths") == 3
    assert count(cell, "identity paths") == 1
    assert count(cell, "nor_conv_3x3 in all") == 3
    assert count(cell, "nor_conv_3x3 at most") == 2
    assert count(cell, "nor_conv_3x3 at least") == 0
    assert count(cell, "nor_conv_3x3 paths") == 2
    assert count(cell, "nor_conv_3x3 paths alone") == 1
    assert count(cell, "nor_conv_3x3 nodes") == 2
    assert count(cell, "any at most") == 2
    assert count(cell, "avg_pool_3x3 nodes") == 1
    idle = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    assert count(idle, "paths") == 1
    assert count(idle, "nor_conv_3x3 nodes") == 0, "no path passes them"


def test_quantiles_do_not_depend_on_the_scale(cells: nastk.SearchSpace) -> None:
    target = _task(cells, ("good", "rare"), 30)
    found = nastk.encoding("quantiles:zcp").fit(cells, target.context).transform(target.archs)
    assert found.shape == (30, 2)
    assert np.abs(found).max() <= 1
    rare = target.context.proxies(target.archs)[:, 1]  # type: ignore[misc]
    assert spearman(found[:, 1], rare) == pytest.approx(1.0)
    middle = nastk.encoding("quantiles:zcp").fit(cells, target.context).transform(cells.enumerate())
    assert abs(middle.mean()) < 0.02


@pytest.mark.parametrize("encoding", ["auto", "vec+zcp"])
def test_live_proxies_are_computed_for_few_networks_but_those_asked_for(
    cells: nastk.SearchSpace, encoding: str
) -> None:
    class Live(Proxies):
        live = True
        asked: set[bytes] = set()  # noqa: RUF012

        def __call__(self, archs: np.ndarray) -> np.ndarray:
            self.asked.update(row.tobytes() for row in np.asarray(archs))
            return super().__call__(archs)

    Live.asked = set()
    archs = cells.sample(30, 0, unique=True)
    proxies = Live(cells, ("good", "useless"))
    values, context = proxies.quality(archs[:10]), Context(proxies=proxies)
    task = Task(cells, archs[:10], values, "accuracy", "%", "max", context=context)
    prior = nastk.predictor("gp-bma", encoding=encoding).pretrain([_task(Toy(), ("good", "useless"), 60)])
    mean = prior.adapt(task).predict(archs[10:]).mean
    assert spearman(mean, proxies.quality(archs[10:])) > 0.8
    assert len(Live.asked) <= 30 + 40
