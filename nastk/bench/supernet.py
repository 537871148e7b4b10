"""How well supernets rank networks: against stand-alone trainings, beside what costs less, with what each cost.

All methods rate the same random networks of a space, of which each was trained alone
(:mod:`nastk.bench.stand_alone`); some were trained again, with other seeds, which says how far trainings rank networks
the same at all. Where one training of each ranks too much noise, the mean of several is what ratings are compared with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import process_time
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nastk.bench.accuracy import VOTERS
from nastk.bench.stand_alone import Trained, Trainings, accuracy_of, images_of, space_of_setting, train_all
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.metrics import kendall, ndcg, partial_spearman, spearman
from nastk.oracles.counts import Count
from nastk.oracles.zerocost import ZeroCost
from nastk.parallel import one_thread
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.predictors.gp_bma import GPBMA
from nastk.registry import SUPERNETS
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets import Supernet, supernet
from nastk.supernets.base import PathSupernet
from nastk.supernets.sandwich import extreme

Array = NDArray[np.float64]
Rows = list[dict[str, Any]]
Progress = Callable[[int, int, str], None]

TWICE = 30
"""Networks that are trained with a second seed."""

SECOND = 1_000_000
"""Seed of the first network's second training, and what is between the seeds of one; that of its first one is 0."""

DRAWN, MOST_DRAWS = 100, 1000
"""Networks that are drawn at a time, and how often."""

RELIABLE = 0.8
"""Least rank correlation of trainings with two seeds; below it, the trainings themselves rank noise."""

RESAMPLES = 1000
"""Of the networks, for intervals."""

TOP = 10
"""Networks that are rated best, the best of which is looked at."""

COUNTS = ("params", "flops")
"""Methods in which nothing is random."""

PLAIN = (*COUNTS, "votes")
"""Methods that train nothing."""

GP = "gp-bma"
"""The method that learns from some of the trainings; with `+NAME` from a supernet's ratings as well."""

METRICS = ("spearman", "kendall", "ndcg", "best_of_top_ten", "partial_spearman")
"""Of the ratings with the accuracies. `best_of_top_ten` is an accuracy, %; `partial_spearman` is given the number of
parameters."""

LARGEST = "largest_accuracy"
"""The metric of supernets' largest networks: accuracy with the shared weights on the images that judge trainings, %."""

WITH_INTERVAL = ("spearman", "partial_spearman")


@dataclass(frozen=True)
class Largest:
    """A supernet's largest network.

    Args:
        arch: ``(d,)``.
        accuracy: with the shared weights, on the images that judge trainings, %.
        steps, batch: of the supernet's training.
    """

    arch: tuple[int, ...]
    accuracy: float
    steps: int
    batch: int


@dataclass(frozen=True)
class Rating:
    """What a method says of the networks.

    Args:
        values: higher is better, ``(n,)``; NaN where it says nothing, as of the networks that it was trained with.
        seconds: of the processor that it cost, the trainings it learned from included.
        trainings: of those.
        largest: of a supernet, where it was asked for.
    """

    values: Array
    seconds: float
    trainings: int = 0
    largest: Largest | None = None


@dataclass(frozen=True)
class Truth:
    """Networks that were trained alone.

    Args:
        space, archs: the networks, ``(n, d)``.
        accuracy: mean of its trainings, %, ``(n,)``.
        again: mean of as many with other seeds, ``(n,)``, NaN where there are none.
        single: of its first training, ``(n,)``, which a predictor learns from.
        seconds: of that, of the processor, ``(n,)``.
        params: numbers of parameters, ``(n,)``.
        counting: seconds of the processor that counting them took.
        reasons: of networks that failed and are not among these, by their text.
    """

    space: SearchSpace
    archs: Archs
    accuracy: Array
    again: Array
    single: Array
    seconds: Array
    params: Array
    counting: float
    reasons: Mapping[str, str]

    @property
    def reliability(self) -> float:
        """Rank correlation of `accuracy` and `again`; NaN where too few networks have both."""
        both = np.isfinite(self.again)
        return spearman(self.accuracy[both], self.again[both]) if both.sum() > 2 else float("nan")


def truth_of(
    setting: Trainings,
    networks: int = 150,
    twice: int = TWICE,
    folder: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    repeats: int = 1,
) -> Truth:
    """Train random networks, or take what the folder keeps of them.

    Raises:
        InvalidValue: too few networks, or too few of them could be trained.
    """
    space, options = space_of_setting(setting)
    archs = networks_of(space, networks)
    rows = [tuple(int(v) for v in arch) for arch in archs]
    # those of a second truth first: what they say decides whether the rest is worth its time
    jobs = [(row, k * SECOND + i) for k in range(repeats, 2 * repeats) for i, row in enumerate(rows[:twice])]
    jobs += [(row, k * SECOND + i) for k in range(repeats) for i, row in enumerate(rows)]
    found = train_all(setting, jobs, folder, workers, progress)
    again = np.full(networks, np.nan)
    again[:twice] = _means(found[: repeats * twice], repeats)
    first = found[repeats * twice :]
    accuracy = _means(first, repeats)
    known = np.isfinite(accuracy)
    reasons = {space.format(archs[i % networks]): one.reason for i, one in enumerate(first) if one.reason}
    if known.sum() < networks / 2 or known.sum() < 4:
        raise InvalidValue(
            f"{int((~known).sum())} of {networks} networks of {space.name} could not be trained; the last: "
            f"{list(reasons.values())[-1] if reasons else 'there are too few'}"
        )
    single = np.array([one.accuracy for one in first[:networks]])
    seconds = np.array([one.seconds for one in first[:networks]])
    start = process_time()
    params = Count(space, "params", **options)(archs[known])
    counting = process_time() - start
    return Truth(
        space, archs[known], accuracy[known], again[known], single[known], seconds[known], params, counting, reasons
    )


def _means(found: Sequence[Trained], repeats: int) -> Array:
    """Mean accuracy of each network over its trainings, all networks of the first ones before those of the second."""
    return np.array([one.accuracy for one in found]).reshape(repeats, -1).mean(axis=0)


def networks_of(space: SearchSpace, count: int) -> Archs:
    """Random networks, ``(count, d)``, none twice; those of a smaller count are the first of a greater one.

    Raises:
        InvalidValue: the space has fewer.
    """
    rng = np.random.default_rng(0)
    found = np.empty((0, space.d), dtype=np.int64)
    for _ in range(MOST_DRAWS):
        found = np.concatenate([found, space.sample(DRAWN, rng)])
        found = found[space.distinct(found)]
        if len(found) >= count:
            return found[:count]
    raise InvalidValue(f"{space.name} has fewer than {count} different networks, or they are hard to find")


# ---- methods


def compare(
    setting: Trainings,
    methods: Sequence[str] | None = None,
    networks: int = 150,
    seeds: int = 5,
    first_seed: int = 0,
    samples: int = 10,
    twice: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Progress = lambda done, total, what: None,
    repeats: int = 1,
    largest: int = 0,
) -> tuple[Rows, Truth, dict[str, str]]:
    """Rate random networks of a space by every method, and compare with their stand-alone trainings.

    Args:
        setting: of the trainings.
        methods: :data:`PLAIN`, supernets (with options behind an ``@``, such as ``single-path@steps=900``), and
            :data:`GP`, alone or as ``gp-bma+SUPERNET``; by default all, with every registered supernet that applies.
        networks: that are rated.
        seeds, first_seed: random seeds of supernets, and of what :data:`GP` learns from.
        samples: trainings that :data:`GP` learns from; it is judged on the other networks.
        twice: networks that are trained again, with other seeds; by default :data:`TWICE`, or all.
        folder: keeps trainings, which are not repeated.
        workers: processes of the trainings; all else runs in one thread of this one.
        progress: called with (done, total, what).
        repeats: trainings of each network, whose mean ratings are compared with.
        largest: trainings, alone and of as many steps and images as the supernet's, of the largest network of each
            supernet that has whole networks; 0 leaves the comparison out.

    Returns:
        Tidy rows by method and metric: the mean over the seeds, the least of them, and for correlations of ranks a
        95 % bootstrap interval of that mean, over networks; row ``trainings`` has the rank correlation of two seeds.
        Then the trainings, and why supernets were left out, by name.

    Raises:
        UnknownName, InvalidValue: an argument that cannot be used, before anything is trained.
        Unsupported: a supernet that was asked for does not take the space.
    """
    twice = min(TWICE, networks) if twice is None else twice
    if seeds < 1 or repeats < 1 or largest < 0 or not 3 <= twice <= networks:
        raise InvalidValue(
            f"needs 1 seed, 1 training of each network, none or more of the largest, and 3 to {networks} (all) trained "
            f"twice; got {seeds} seeds, {repeats} trainings, {largest} of the largest, {twice} networks twice"
        )
    space, options = space_of_setting(setting)
    space.need_networks("a supernet")
    asked, left_out = [], {}
    for method in default_methods() if methods is None else dict.fromkeys(methods):
        try:
            check_method(method, space, options)
            asked.append(method)
        except Unsupported as error:
            if methods is not None:
                raise
            left_out[method] = str(error)
    if any(method.startswith(GP) for method in asked) and not 2 <= samples <= networks // 2:
        raise InvalidValue(
            f"{GP} learns from at least 2 networks, at most half of all, and is judged on the others; got {samples} of "
            f"{networks}"
        )
    chosen = range(first_seed, first_seed + seeds)
    trainings = repeats * (networks + twice)
    total = trainings + len(asked) * seeds

    def follow(done: int, of: int) -> None:
        progress(done, total, "training")

    truth = truth_of(setting, networks, twice, folder, workers, follow, repeats)
    rater = _Rater(setting, truth, samples, largest > 0)
    ratings: dict[str, list[Rating]] = {}
    with one_thread():
        for i, method in enumerate(asked):
            ratings[method] = []
            for k, seed in enumerate(chosen[:1] if method in COUNTS else chosen):
                progress(trainings + i * seeds + k, total, method)
                ratings[method].append(rater.rate(method, seed))
    rows = _rows(setting, truth, ratings)
    if largest:
        rows += _largest_rows(setting, truth, ratings, largest, folder, workers)
    progress(total, total, "")
    return rows, truth, left_out


def default_methods() -> list[str]:
    """What does not train, every supernet, and :data:`GP` without and with each."""
    names = SUPERNETS.names()
    return [*PLAIN, *names, GP, *(f"{GP}+{name}" for name in names)]


def check_method(method: str, space: SearchSpace, options: Mapping[str, Any]) -> None:
    """Refuse what is no method, or none for a space and options of its `build`.

    Raises:
        UnknownName: it is none.
        InvalidValue: options that cannot be used.
        Unsupported: a supernet that does not take the space.
    """
    if method in PLAIN or method == GP:
        return
    name, own = parse_supernet(method.removeprefix(f"{GP}+"))
    if ":" not in name and name not in SUPERNETS.names():
        raise UnknownName("method or supernet", name, default_methods())
    supernet(name, **options, **own).check(space)


def parse_supernet(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of a text like ``single-path@steps=900@fair=true``.

    Raises:
        InvalidValue: an option without a value.
    """
    name, *parts = text.split("@")
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise InvalidValue(f"{text!r}: write options as single-path@steps=900")
        options[key] = _value(value)
    return name, options


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class _Rater:
    """Rates the networks of a truth; a supernet is trained once for each seed."""

    def __init__(self, setting: Trainings, truth: Truth, samples: int, largest: bool = False):
        self.truth, self.samples, self.largest = truth, samples, largest
        self.data = images_of(setting)
        self.options = space_of_setting(setting)[1]
        self._supernets: dict[tuple[str, int], Rating] = {}

    def rate(self, method: str, seed: int) -> Rating:
        start = process_time()
        space, archs = self.truth.space, self.truth.archs
        if method == "params":
            return Rating(self.truth.params, self.truth.counting)
        if method in COUNTS:
            values = Count(space, method, **self.options)(archs)
            return Rating(values, process_time() - start)
        if method == "votes":
            proxies = ZeroCost(space, VOTERS, batch=self.data, seed=seed, cache=False, **self.options)(archs)
            return Rating(votes(proxies), process_time() - start)
        if method == GP or method.startswith(f"{GP}+"):
            return self._learned(method.removeprefix(GP).removeprefix("+"), seed)
        return self._shared(method, seed)

    def _shared(self, method: str, seed: int) -> Rating:
        if (method, seed) not in self._supernets:
            start = process_time()
            name, options = parse_supernet(method)
            made: Supernet = supernet(name, seed=seed, **self.options, **options)
            loss = made.fit(self.truth.space, self.data).evaluate(self.truth.archs).loss
            seconds = process_time() - start
            found = self._largest(made) if self.largest and isinstance(made, PathSupernet) else None
            self._supernets[method, seed] = Rating(-loss, seconds, largest=found)
        return self._supernets[method, seed]

    def _largest(self, made: PathSupernet) -> Largest:
        """The largest network with the shared weights, as it would ship."""
        arch = extreme(made, 1)
        accuracy = accuracy_of(made.network_of(arch), self.data.test)
        return Largest(tuple(int(v) for v in arch), accuracy, made.steps, made.batch)

    def _learned(self, method: str, seed: int) -> Rating:
        """gp-bma on some trainings, with a supernet's ratings as a lower fidelity where one is named."""
        shared = self._shared(method, seed) if method else None
        start = process_time()
        truth = self.truth
        rng = np.random.default_rng([seed, crc32(b"samples")])
        taken = rng.choice(len(truth.archs), self.samples, replace=False)
        task = Task(truth.space, truth.archs[taken], truth.single[taken], "accuracy", "%", "max")
        if shared is not None:
            task = replace(task, lower=_Ratings(truth, shared.values))
        values = GPBMA().adapt(task).predict(truth.archs).mean
        values = np.where(np.isin(np.arange(len(values)), taken), np.nan, values)
        seconds = process_time() - start + float(truth.seconds[taken].sum()) + (shared.seconds if shared else 0.0)
        return Rating(values, seconds, self.samples)


class _Ratings(Predictor):
    """Known ratings of networks, as a lower fidelity of their accuracy; those that failed count as the worst."""

    def __init__(self, truth: Truth, values: Array):
        known = np.where(np.isfinite(values), values, np.nanmin(values))
        self.task_ = Task(truth.space, truth.archs, known, "rating", direction="max")
        self._by_row = {row.tobytes(): value for row, value in zip(self.task_.archs, known, strict=True)}

    def fit(self, task: Task) -> Predictor:
        return self

    def predict(self, archs: Any) -> Prediction:
        mean = np.array([self._by_row[row.tobytes()] for row in self._checked(archs)])
        return Prediction(mean, np.full(len(mean), np.nan))


def votes(proxies: Array) -> Array:
    """Sum of the ranks of zero-cost proxies ``(n, k)``, ``(n,)``; unknown values rank last."""
    return np.asarray(rankdata(np.nan_to_num(proxies, nan=-np.inf), axis=0).sum(axis=1), dtype=np.float64)


# ---- figures


def figure(metric: str, rating: Array, truth: Truth) -> float:
    """One of :data:`METRICS` of a rating, over the networks that it says something of."""
    rows = np.flatnonzero(np.isfinite(rating))
    if len(rows) < 3:
        return float("nan")
    a, b = rating[rows], truth.accuracy[rows]
    if metric == "partial_spearman":
        return partial_spearman(a, b, truth.params[rows])
    if metric == "best_of_top_ten":
        return float(b[np.argsort(-a, kind="stable")[:TOP]].max())
    if metric == "ndcg":
        return ndcg(a, b)
    return kendall(a, b) if metric == "kendall" else spearman(a, b)


def interval(metric: str, ratings: Sequence[Rating], truth: Truth) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over ratings of one of :data:`WITH_INTERVAL`.

    Networks are drawn with replacement, the same for all ratings that say something of all.
    """
    drawn = np.random.default_rng(0).random((RESAMPLES, len(truth.accuracy)))
    means = np.mean([_resampled(metric, rating.values, truth, drawn) for rating in ratings], axis=0)
    known = means[np.isfinite(means)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _resampled(metric: str, rating: Array, truth: Truth, drawn: Array) -> Array:
    """A metric of each bootstrap sample, ``(resamples,)``; `drawn` are uniform numbers ``(resamples, n)``."""
    known = np.flatnonzero(np.isfinite(rating))
    if len(known) < 3:
        return np.full(len(drawn), np.nan)
    rows = known[(drawn[:, : len(known)] * len(known)).astype(np.int64)]
    ranks = []
    for values in (rating, truth.accuracy, truth.params):
        centred = rankdata(values[rows], axis=1)
        centred -= centred.mean(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):  # of a sample in which all are equal
            ranks.append(centred / np.sqrt((centred**2).sum(axis=1, keepdims=True)))
    ab, ac, bc = ((ranks[i] * ranks[j]).sum(axis=1) for i, j in ((0, 1), (0, 2), (1, 2)))
    if metric == "spearman":
        return np.asarray(ab)
    left = (1 - ac**2) * (1 - bc**2)
    return np.where(left > 1e-12, (ab - ac * bc) / np.sqrt(np.maximum(left, 1e-12)), np.nan)


def _rows(setting: Trainings, truth: Truth, ratings: Mapping[str, Sequence[Rating]]) -> Rows:
    nan = float("nan")
    common = {
        "experiment": "supernet", "space": truth.space.name, "dataset": setting.data,
        "networks": len(truth.archs), "failed": len(truth.reasons),
    }  # fmt: skip
    both = int(np.isfinite(truth.again).sum())
    rows: Rows = [
        {
            **common, "method": "trainings", "metric": "spearman_of_two_seeds", "mean": truth.reliability, "least": nan,
            "low": nan, "high": nan, "seeds": both, "seconds": float(truth.seconds.sum()),
            "trainings": len(truth.archs), "reference": RELIABLE, "reference_source": "least that says something",
        }
    ]  # fmt: skip
    for method, found in ratings.items():
        for metric in METRICS:
            values = np.array([figure(metric, rating.values, truth) for rating in found])
            low, high = interval(metric, found, truth) if metric in WITH_INTERVAL else (nan, nan)
            best = float(truth.accuracy.max()) if metric == "best_of_top_ten" else None
            rows.append(
                {
                    **common, "method": method, "metric": metric, "mean": float(values.mean()),
                    "least": float(values.min()), "low": low, "high": high, "seeds": len(values),
                    "seconds": float(np.mean([rating.seconds for rating in found])),
                    "trainings": found[0].trainings, "reference": best,
                    "reference_source": None if best is None else "best of these networks",
                }
            )  # fmt: skip
    return rows


def _largest_rows(
    setting: Trainings,
    truth: Truth,
    ratings: Mapping[str, Sequence[Rating]],
    trainings: int,
    folder: str | os.PathLike[str] | None,
    workers: int | None,
) -> Rows:
    """The largest networks of supernets beside their own trainings, of as many steps and images."""
    rows: Rows = []
    for method, found in ratings.items():
        each = [rating.largest for rating in found if rating.largest is not None]
        alone = [
            trained
            for one in dict.fromkeys(replace(largest, accuracy=0.0) for largest in each)
            for trained in train_all(
                replace(setting, steps=one.steps, batch=one.batch), [(one.arch, seed) for seed in range(trainings)],
                folder, workers,
            )
        ]  # fmt: skip
        if not each:
            continue
        accuracies = np.array([largest.accuracy for largest in each])
        rows.append(
            {
                "experiment": "supernet", "space": truth.space.name, "dataset": setting.data,
                "networks": len({largest.arch for largest in each}), "failed": sum(bool(one.reason) for one in alone),
                "method": method, "metric": LARGEST, "mean": float(accuracies.mean()),
                "least": float(accuracies.min()), "low": float("nan"), "high": float("nan"), "seeds": len(each),
                "seconds": float(sum(one.seconds for one in alone)), "trainings": len(alone),
                "reference": float(np.mean([one.accuracy for one in alone])),
                "reference_source": "mean of its own trainings, of as many steps",
            }
        )  # fmt: skip
    return rows


def largest_table(rows: Rows) -> Rows:
    """One line a supernet whose largest network was trained alone."""
    return [
        {
            "method": row["method"], "in the supernet, %": row["mean"], "worst seed": row["least"],
            "trained alone, %": row["reference"], "trainings": row["trainings"],
            "with minus alone": row["mean"] - row["reference"],
        }
        for row in rows
        if row["metric"] == LARGEST
    ]  # fmt: skip


def table(rows: Rows) -> Rows:
    """One line a method."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows[1:]:
        if row["metric"] == LARGEST:
            continue
        line = found.setdefault(row["method"], {"method": row["method"]})
        line[row["metric"].replace("_", " ")] = row["mean"]
        if row["metric"] in WITH_INTERVAL:
            known = np.isfinite([row["low"], row["high"]]).all()  # parameters, given parameters, have none
            line[f"95 % of {'rho' if row['metric'] == 'spearman' else 'partial'}"] = (
                f"{row['low']:.2f} to {row['high']:.2f}" if known else None
            )
        if row["metric"] == "spearman":
            line["least rho"] = row["least"]
        line |= {"trainings": row["trainings"], "processor s": row["seconds"]}
    return list(found.values())
