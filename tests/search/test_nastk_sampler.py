"""nastk's searchers as a sampler of Optuna."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

import nastk
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.search import NastkSampler
from nastk.search._nastk_sampler import WORST, Parameters, _records

LETTERS = ("a", "b", "c", "d")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    optuna.logging.set_verbosity(before)


def studied(
    objective: Callable[..., Any], n: int, seed: int = 0, directions: Any = ("maximize",), **options: Any
) -> Any:
    study = optuna.create_study(directions=list(directions), sampler=NastkSampler(seed=seed, **options))
    study.optimize(objective, n_trials=n)
    return study


def letters(trial: Any, n: int = 6) -> tuple[int, ...]:
    return tuple(LETTERS.index(trial.suggest_categorical(f"c{i}", LETTERS)) for i in range(n))


class Pairwise:
    """Six choices of four options: each counts, and each pair; the best of the 4096 is worth 1, their mean 0."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        alone, pairs = rng.normal(size=(6, 4)), 0.5 * rng.normal(size=(6, 6, 4, 4))
        x = np.indices((4,) * 6).reshape(6, -1)
        value = sum(alone[i, x[i]] for i in range(6))
        value = value + sum(pairs[i, j, x[i], x[j]] for i in range(6) for j in range(i))
        value = (value - value.mean()) / (value.max() - value.mean())
        self.table = dict(zip(map(tuple, x.T.tolist()), value.tolist(), strict=True))

    def __call__(self, trial: Any) -> float:
        return self.table[letters(trial)]


def keys(study: Any) -> list[tuple[Any, ...]]:
    return [tuple(trial.params.values()) for trial in study.trials]


def counted(trial: Any) -> float:
    return float(sum(letters(trial, 4)))


# ---- the name


def test_the_name_stays_the_function_that_searches_in_both_orders_of_import() -> None:
    for first, then in [
        ("nastk.search", "nastk.search.base"),
        ("nastk.search.predictor", "nastk.search"),
    ]:
        code = (
            "import importlib, sys, types, nastk\n"
            f"importlib.import_module('{first}')\n"
            "assert isinstance(nastk.search, types.FunctionType) and 'optuna' not in sys.modules\n"
            f"importlib.import_module('{then}')\n"
            "from nastk.search import NastkSampler\n"
            "from nastk.search._nastk_sampler import NastkSampler as same\n"
            "import nastk.search.base, nastk.search\n"
            "from nastk import search\n"
            "assert NastkSampler is same and search is nastk.search\n"
            "try: nastk.search('nowhere', [])\n"
            "except nastk.errors.UnknownName: print('called')"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "called", done.stderr


def test_the_function_cannot_be_replaced_by_accident() -> None:
    with pytest.raises(AttributeError, match="cannot be replaced"):
        nastk.search = None  # type: ignore[assignment]


def test_the_package_exports_nothing_else() -> None:
    with pytest.raises(AttributeError, match="Sampler2"):
        import_module("nastk.search").Sampler2  # noqa: B018


def test_the_sampler_is_not_listed_as_a_searcher() -> None:
    from nastk.registry import SEARCHERS

    assert not [name for name in SEARCHERS.names() if "nastk" in name]


# ---- how good


@pytest.mark.parametrize("seeds", [4, pytest.param(12, marks=pytest.mark.long)])
def test_it_finds_better_categories_than_random_and_tpe(seeds: int) -> None:
    samplers = {
        "nastk": NastkSampler,
        "random": optuna.samplers.RandomSampler,
        "tpe": optuna.samplers.TPESampler,
    }
    best: dict[str, list[float]] = {name: [] for name in samplers}
    for seed in range(seeds):
        for name, make in samplers.items():
            study = optuna.create_study(direction="maximize", sampler=make(seed=seed))
            study.optimize(Pairwise(seed), n_trials=30)
            best[name].append(study.best_value)
    mean = {name: np.mean(values) for name, values in best.items()}
    assert mean["nastk"] > mean["tpe"] + 0.05
    assert mean["nastk"] > mean["random"] + 0.15


def test_a_study_that_minimises_goes_down() -> None:
    assert studied(lambda trial: -Pairwise(3)(trial), 30, directions=["minimize"]).best_value < -0.8


def test_numbers_are_found_near_their_best() -> None:
    def objective(trial: Any) -> float:
        x, y = trial.suggest_float("x", -1.0, 1.0), trial.suggest_float("y", 1e-5, 1e-1, log=True)
        return (x - 0.4) ** 2 + (np.log10(y) + 3.0) ** 2 / 4 + (trial.suggest_int("n", 1, 100) / 100 - 0.3) ** 2

    study = studied(objective, 40, directions=["minimize"])
    chance = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chance.optimize(objective, n_trials=40)
    assert study.best_value < 0.03
    assert study.best_value < chance.best_value


def test_several_objectives_find_a_larger_front_than_random_search() -> None:
    def objective(trial: Any) -> tuple[float, float]:
        x = letters(trial)
        return Pairwise(0).table[x], float(np.square(x).sum())

    def volume(study: Any) -> float:
        points = np.array([trial.values for trial in study.trials]) * [-1.0, 1.0]
        return float(nastk.metrics.hypervolume(points, [1.0, 54.0]))

    sizes: dict[str, list[float]] = {"nastk": [], "random": []}
    for seed in range(2):
        for name, make in {"nastk": NastkSampler, "random": optuna.samplers.RandomSampler}.items():
            study = optuna.create_study(directions=["maximize", "minimize"], sampler=make(seed=seed))
            study.optimize(objective, n_trials=24)
            sizes[name].append(volume(study))
    assert np.mean(sizes["nastk"]) > 1.1 * np.mean(sizes["random"])


@pytest.mark.parametrize("way", ["function", "trial"])
def test_constraints_are_learned_and_kept(way: str) -> None:
    table = Pairwise(1).table

    def objective(trial: Any) -> float:
        x = letters(trial)
        excess = float(sum(x) - 6)
        trial.set_user_attr("excess", excess)
        if way == "trial":
            trial.set_constraint("sum", excess)
        return table[x]

    options = {"constraints_func": lambda trial: (trial.user_attrs["excess"],)} if way == "function" else {}
    study = studied(objective, 30, **options)
    kept = [trial.user_attrs["excess"] <= 0 for trial in study.trials]
    assert np.mean(kept[15:]) > np.mean(kept[:10]), "a third of the space keeps them"
    assert np.mean(kept[15:]) > 0.6
    assert study.best_trial.user_attrs["excess"] <= 0
    assert study.best_value > 0.9 * max(v for x, v in table.items() if sum(x) <= 6)


# ---- parameters


def test_parameters_of_one_branch_are_drawn_at_random_and_the_others_proposed() -> None:
    def objective(trial: Any) -> float:
        kind, width = trial.suggest_categorical("kind", ["small", "large"]), trial.suggest_int("width", 1, 6)
        if kind == "large":
            return width + trial.suggest_float("extra", 0.0, 1.0) + trial.suggest_categorical("bonus", [1, 2])
        return width - trial.suggest_int("loss", 1, 3)

    study = studied(objective, 25)
    proposed = [trial.system_attrs.get("nastk:proposed", {}) for trial in study.trials]
    assert not proposed[0]
    assert all(found.keys() == {"kind", "width"} for found in proposed[2:12])
    assert study.best_params["kind"] == "large"
    assert study.best_params["width"] == 6


def test_a_parameter_of_one_value_or_of_changing_ranges_is_left_out() -> None:
    def objective(trial: Any) -> float:
        trial.suggest_categorical("only", ["one"])
        trial.suggest_int("moving", 0, 3 + trial.number)
        return float(trial.suggest_int("n", 0, 9))

    study = studied(objective, 6)
    assert study.trials[-1].system_attrs["nastk:proposed"].keys() == {"n"}


@pytest.mark.parametrize(
    ("distribution", "options"),
    [
        (CategoricalDistribution([True, 1, 0]), [True, 0]),
        (CategoricalDistribution(["x", None, 2]), ["x", None, 2]),
        (IntDistribution(2, 8, step=3), [2, 5, 8]),
        (IntDistribution(1, 4, log=True), [1, 2, 3, 4]),
        (IntDistribution(0, 100), [0, 25, 50, 75, 100]),
        (IntDistribution(0, 90, step=10), [0, 20, 40, 70, 90]),
        (IntDistribution(1, 10_000, log=True), [1, 10, 100, 1000, 10_000]),
        (FloatDistribution(0.0, 0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (FloatDistribution(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (FloatDistribution(0.0, 1.0, step=0.05), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (FloatDistribution(1e-4, 1.0, log=True), [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
    ],
)
def test_the_options_of_a_parameter(distribution: Any, options: list[Any]) -> None:
    space = Parameters({"p": distribution}, max_options=4, grid=5)
    found = [space.params(arch)["p"] for arch in space.enumerate()]
    assert found == (pytest.approx(options) if isinstance(distribution, FloatDistribution) else options)
    assert [type(v) for v in found] == [type(v) for v in options]
    for place, value in enumerate(found):
        assert distribution._contains(distribution.to_internal_repr(value))
        assert space.row({"p": value}) == (place,)


@pytest.mark.parametrize(
    "distribution",
    [
        IntDistribution(0, 10**12),
        IntDistribution(3, 1000, log=True),
        IntDistribution(5, 999, step=7),
        FloatDistribution(-3.3, 7.7),
        FloatDistribution(1e-7, 3e-2, log=True),
        FloatDistribution(0.1, 9.9, step=0.07),
    ],
)
def test_every_option_of_a_wide_range_is_allowed_and_different(distribution: Any) -> None:
    options = Parameters({"p": distribution}).values["p"]
    assert len(set(options)) == len(options) == 16
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in options)


def test_values_off_the_grid_are_the_nearest_option() -> None:
    space = Parameters({"lr": FloatDistribution(1e-4, 1.0, log=True), "n": IntDistribution(0, 100)}, grid=5)
    assert space.row({"lr": 4e-3, "n": 30}) == (2, 1)
    assert space.row({"lr": 2.0, "n": -3}) == (4, 0)
    assert space.row({"lr": 4e-3}) is None
    assert Parameters({"c": CategoricalDistribution(["x", "y"])}).row({"c": "z"}) is None


def test_parameters_may_be_called_anything() -> None:
    def objective(trial: Any) -> float:
        first, second = (trial.suggest_categorical(n, ["none", "input", None, True]) for n in ("input", "output"))
        return float(first == "none") + float(second is True) + trial.suggest_int("a b_c", 0, 3)

    for predictor in ("gp", "gp-bma"):
        assert studied(objective, 20, predictor=predictor, options={"start": 3}).best_value == 5


@pytest.mark.parametrize("predictor", ["gp", "gp-bma", "ridge", "mlp-ensemble"])
def test_predictors_learn_parameters_without_a_network(predictor: str) -> None:
    def objective(trial: Any) -> float:
        return float(sum(letters(trial, 3))) + trial.suggest_int("n", 0, 5)

    assert studied(objective, 16, predictor=predictor, options={"start": 4}).best_value >= 12


def test_a_space_of_parameters_says_that_it_builds_no_network() -> None:
    space = Parameters({"p": IntDistribution(0, 3)})
    with pytest.raises(Unsupported, match="no network"):
        space.build(space.sample(1, 0)[0])


# ---- trials of all kinds


def test_failed_and_pruned_trials_are_not_repeated() -> None:
    def objective(trial: Any) -> float:
        x = letters(trial, 3)
        if x[0] == 3:
            raise ValueError("out of memory")
        if x[0] == 2:
            raise optuna.TrialPruned
        return float(sum(x))

    study = optuna.create_study(direction="maximize", sampler=NastkSampler(seed=1))
    study.optimize(objective, n_trials=40, catch=ValueError)
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED}
    after = next(t.number for t in study.trials if t.state == TrialState.COMPLETE) + 1
    assert len(set(keys(study)[after:])) == 40 - after
    assert study.best_value == 7


def test_a_study_whose_trials_all_fail_continues() -> None:
    study = optuna.create_study(sampler=NastkSampler(seed=0))
    study.optimize(lambda trial: letters(trial) and float("nan"), n_trials=5)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 5
    assert len(set(keys(study))) == 5


def test_enqueued_trials_are_run_and_not_proposed_meanwhile() -> None:
    study, twin = studied(counted, 12), studied(counted, 12)
    next_one = twin.ask().relative_params
    assert next_one
    running = study.ask()
    study.enqueue_trial(next_one)
    assert running.relative_params.keys() == next_one.keys()
    assert running.relative_params != next_one
    study.optimize(counted, n_trials=1)
    assert study.trials[-1].params == next_one


def test_the_searcher_learns_from_trials_of_others() -> None:
    chance = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    chance.optimize(Pairwise(5), n_trials=40)
    study = optuna.create_study(direction="maximize", sampler=NastkSampler(seed=0))
    study.add_trials(chance.trials)
    study.optimize(Pairwise(5), n_trials=5)
    assert min(trial.value for trial in study.trials[40:]) > np.mean([trial.value for trial in chance.trials]) + 0.3
    assert not set(keys(study)[40:]) & set(keys(chance))


def test_equal_trials_are_averaged_and_unusable_ones_left_out() -> None:
    space = Parameters({"c": CategoricalDistribution(LETTERS)})
    study = optuna.create_study(directions=["minimize", "maximize"])

    def add(letter: str, values: Any, state: TrialState = TrialState.COMPLETE, bound: float | None = None) -> None:
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params={"c": letter},
                distributions={"c": CategoricalDistribution((*LETTERS, "e"))},
                constraints=None if bound is None else {"memory": bound},
            )
        )

    add("a", [1.0, 10.0], bound=4.0)
    add("a", None, TrialState.FAIL)
    add("a", [3.0, 30.0], bound=-2.0)
    add("b", None, TrialState.PRUNED)
    add("c", [float("inf"), 1.0])
    add("d", [5.0, 6.0])
    add("e", [7.0, 8.0])
    records = _records(space, study.trials, ["first", "second", WORST])
    found = {(r.arch, r.objective): r.value for r in records}
    assert found[(0,), "first"] == 2.0
    assert found[(0,), "second"] == 20.0
    assert found[(0,), WORST] == pytest.approx(1.0 + (4 - 2) / 2 / 3.0), "in units of the median, 3"
    assert found[(3,), "first"] == 5.0
    assert ((3,), WORST) not in found, "unknown"
    assert np.isnan([found[(row,), "first"] for row in (1, 2)]).all()
    assert {arch for arch, _ in found} == {(0,), (1,), (2,), (3,)}


def test_an_exhausted_space_is_sampled_on() -> None:
    study = studied(lambda trial: float(sum(letters(trial, 2))), 24)
    assert len(set(keys(study)[:16])) == 16
    assert len(study.trials) == 24


def test_several_asked_at_once_differ_before_they_have_suggested_anything() -> None:
    study = studied(counted, 12)
    common = study.sampler.infer_relative_search_space(study, study.trials[0])
    planned = [study.ask() for _ in range(5)]
    proposals = {tuple(trial.relative_params.values()) for trial in planned}
    assert common.keys() == planned[0].relative_params.keys()
    assert len(proposals) == 5
    assert not proposals & set(keys(study))


def test_two_jobs_do_not_repeat_each_other() -> None:
    def objective(trial: Any) -> float:
        value = counted(trial)
        time.sleep(0.01)
        return value

    study = optuna.create_study(direction="maximize", sampler=NastkSampler(seed=0))
    study.optimize(objective, n_trials=30, n_jobs=2)
    proposed = [t.number for t in study.trials if "nastk:proposed" in t.system_attrs]
    assert len(proposed) >= 26
    assert len({keys(study)[number] for number in proposed}) == len(proposed)
    assert study.best_value >= 11


# ---- seeds and storages


def test_the_same_seed_gives_the_same_trials() -> None:
    first, second, other = (keys(studied(Pairwise(0), 16, seed=seed)) for seed in (0, 0, 1))
    assert first == second
    assert first != other


def test_reseeding_draws_anew() -> None:
    sampler = NastkSampler(seed=0, independent_sampler=optuna.samplers.RandomSampler(seed=0))
    for made in (sampler, NastkSampler(seed=0)):
        before = optuna.create_study(sampler=copy.deepcopy(made)).ask({"x": FloatDistribution(0, 1)}).params["x"]
        made.reseed_rng()
        study = optuna.create_study(sampler=made)
        assert study.ask({"x": FloatDistribution(0, 1)}).params["x"] != before


def test_samplers_without_a_seed_differ() -> None:
    first, second = (optuna.create_study(sampler=NastkSampler()).ask({"x": FloatDistribution(0, 1)}) for _ in range(2))
    assert first.params != second.params


def test_the_sampler_can_be_stored() -> None:
    sampler = NastkSampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(counted, n_trials=12)
    for twin in (pickle.loads(pickle.dumps(sampler)), copy.deepcopy(sampler)):
        again = optuna.create_study(direction="maximize", sampler=twin)
        again.optimize(counted, n_trials=12)
        assert keys(again) == keys(study)


def test_a_study_in_a_database_resumes_as_without_the_interruption(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for n in (6, 7):
        study = optuna.create_study(
            storage=url, study_name="s", direction="maximize", load_if_exists=True, sampler=NastkSampler(seed=4)
        )
        study.optimize(counted, n_trials=n)
    whole = studied(counted, 13, seed=4)
    assert keys(study) == keys(whole)


def test_workers_of_one_database_may_share_a_seed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=url, study_name="s", direction="maximize")
    workers = [optuna.load_study(storage=url, study_name="s", sampler=NastkSampler(seed=0)) for _ in range(2)]
    rows = []
    for _ in range(6):
        trials = [worker.ask() for worker in workers]
        values = [counted(trial) for trial in trials]
        rows += [letters(trial, 4) for trial in trials]
        for worker, trial, value in zip(workers, trials, values, strict=True):
            worker.tell(trial, value)
    assert len(set(rows)) == 12


def test_one_sampler_may_serve_several_studies() -> None:
    sampler = NastkSampler(seed=0)
    for objective in (counted, Pairwise(0)):
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(objective, n_trials=12)
        assert keys(study) == keys(studied(objective, 12))


# ---- arguments


@pytest.mark.parametrize("searcher", ["random", "local-search", "regularised-evolution", "optuna:tpe"])
def test_other_searchers_sample_too(searcher: str) -> None:
    study = studied(counted, 20, searcher=searcher)
    assert len(set(keys(study))) == 20


def test_the_first_trials_may_be_random() -> None:
    study = studied(counted, 12, n_startup_trials=8)
    proposed = ["nastk:proposed" in trial.system_attrs for trial in study.trials]
    assert proposed == [False] * 8 + [True] * 4
    assert study.sampler.options["start"] == 8, "and the searcher learns from then on"


def test_a_sampler_of_ones_own_samples_independently() -> None:
    study = studied(counted, 8, n_startup_trials=8, independent_sampler=optuna.samplers.RandomSampler(seed=3))
    same = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=3))
    same.optimize(counted, n_trials=8)
    assert keys(study) == keys(same)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"searcher": "predicter"}, UnknownName, "did you mean 'predictor'"),
        ({"grid": 1}, InvalidValue, "at least 2"),
        ({"max_options": 0}, InvalidValue, "at least 2"),
        ({"n_startup_trials": -1}, InvalidValue, "0 or more"),
        ({"seed": -1}, InvalidValue, "0 or more"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        NastkSampler(**options)


def test_an_option_that_the_searcher_does_not_take_is_named() -> None:
    with pytest.raises(InvalidValue, match="colour"):
        studied(counted, 2, options={"colour": "red"})


def test_the_example_of_the_guide_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "optuna.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0].replace("n_trials=30", "n_trials=14")
    names: dict[str, Any] = {"train": lambda kernel, block, depth, lr: kernel + depth + len(block) - abs(lr - 1e-3)}
    exec(code, names)
    assert len(names["study"].trials) == 14
    for call in text.split("```python\n")[2].split("```")[0].splitlines():
        eval(call, {"NastkSampler": NastkSampler})
