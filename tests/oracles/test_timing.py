"""From timings to latencies: the machine's speed, intervals of new runs, clocks of threads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scipy.stats import binom

from nastk.metrics import interval_score, spearman
from nastk.oracles._machine import Load, LoadMeter, ThreadClock
from nastk.oracles._timing import Fit, Timings, fit_timings, median_interval

TRUE = np.array([2.0, 2.2, 3.0, 5.0, 5.2, 7.0, 11.0, 13.0])


def simulated(
    seed: int, rounds: int = 40, noise: float = 0.04, slow: float = 0.4, builds: int = 2, layout: float = 0.0
) -> Timings:
    """Visits of two timings each; the machine is slow for a random number of timings at a time."""
    rng = np.random.default_rng(seed)
    network, visit, build, logs = [], [], [], []
    state, level = 0.0, rng.normal(0, layout, (builds, len(TRUE)))
    for r in range(rounds):
        b = r * builds // rounds
        for i in rng.permutation(len(TRUE)):
            for _ in range(2):
                if rng.random() < 0.2:
                    state = slow * rng.integers(2)
                network.append(int(i))
                visit.append(r * len(TRUE) + int(i))
                build.append(b)
                logs.append(np.log(TRUE[i]) + state + level[b, i] + rng.normal(0, noise))
    return Timings(np.array(network), np.array(visit), np.array(build), np.exp(logs))


def test_the_speed_of_the_machine_is_taken_out_and_the_fast_level_is_reported():
    fit = fit_timings(simulated(0), len(TRUE), fast=True)
    assert np.abs(fit.ms / TRUE - 1).max() < 0.06
    plain = np.array([np.median(simulated(0).ms[simulated(0).network == k]) for k in range(len(TRUE))])
    assert np.std(np.log(fit.ms / TRUE)) < 0.5 * np.std(np.log(plain / TRUE))
    assert 0.1 < fit.spread < 0.4


def test_a_quiet_machine_has_narrow_intervals_and_no_spread():
    fit = fit_timings(simulated(0, noise=0.003, slow=0.0), len(TRUE))
    low, high = fit.interval()
    assert ((high - low) / fit.ms < 0.02).all()
    assert fit.spread < 0.01
    assert np.abs(fit.ms / TRUE - 1).max() < 0.005


def test_single_disturbed_timings_do_not_move_a_network():
    timings = simulated(1, noise=0.003, slow=0.0)
    timings.ms[::17] *= 4
    assert np.abs(fit_timings(timings, len(TRUE)).ms / TRUE - 1).max() < 0.01


@pytest.mark.parametrize(("slow", "layout"), [(0.0, 0.0), (0.4, 0.0), (0.2, 0.03)])
def test_the_interval_holds_another_runs_medians_and_beats_that_of_the_plain_median(slow: float, layout: float):
    inside, score, plain = [], [], []
    for seed in range(40):
        runs = [simulated(2 * seed + k, slow=slow, layout=layout) for k in range(2)]
        one, other = (fit_timings(run, len(TRUE), fast=slow > 0) for run in runs)
        low, high = one.interval()
        inside.append((low <= other.ms) & (other.ms <= high))
        score.append(interval_score(low / one.ms, high / one.ms, other.ms / one.ms))
        own = [[run.ms[run.network == k] for k in range(len(TRUE))] for run in runs]
        middle = np.array([[np.median(m) for m in one_run] for one_run in own])
        bounds = np.array([median_interval(m) for m in own[0]])
        plain.append(interval_score(bounds[:, 0] / middle[0], bounds[:, 1] / middle[0], middle[1] / middle[0]))
    assert np.mean(inside) >= 0.93
    if slow:
        assert np.mean(score) < np.mean(plain)


def test_ranks_repeat_better_than_those_of_the_plain_median():
    fitted, plain = [], []
    for seed in range(20):
        runs = [simulated(2 * seed + k, rounds=12) for k in range(2)]
        fitted.append(spearman(*(fit_timings(run, len(TRUE), fast=True).ms for run in runs)))
        plain.append(
            spearman(*(np.array([np.median(run.ms[run.network == k]) for k in range(len(TRUE))]) for run in runs))
        )
    assert np.mean(fitted) > np.mean(plain)


def test_few_networks_are_their_medians_and_what_moves_them_is_said():
    timings = simulated(3)
    few = Timings(
        *(array[timings.network < 2] for array in (timings.network, timings.visit, timings.build, timings.ms))
    )
    fit = fit_timings(few, 2)
    assert fit.ms == pytest.approx([np.median(few.ms[few.network == k]) for k in range(2)], rel=0.01)
    assert fit.spread > 0.05


def test_an_interval_widens_with_each_of_its_errors():
    def width(error: float, level: float) -> float:
        low, high = Fit(np.array([1.0]), np.array([error]), level, 7, np.zeros(3)).interval()
        return float(high[0] - low[0])

    assert width(0.01, 0.0) < width(0.02, 0.0)
    assert width(0.01, 0.0) < width(0.01, 0.02)


@pytest.mark.parametrize("n", [6, 9, 17, 50, 300])
def test_the_median_interval_covers_at_least_95_percent_and_no_narrower_one_does(n: int):
    low, high = median_interval(np.arange(n, dtype=float))
    rank = int(low) + 1
    assert high == n - rank
    assert 1 - 2 * binom.cdf(rank - 1, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(rank, n, 0.5) < 0.95


def _spin(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(1000))


@pytest.mark.skipif(not ThreadClock().available, reason="this system does not tell the times of threads")
def test_threads_of_the_runtime_count_and_others_do_not():
    clock, stop = ThreadClock(), threading.Event()
    stranger = threading.Thread(target=_spin, args=(stop,), daemon=True)
    stranger.start()
    before = clock.processor_ns()
    time.sleep(0.1)
    assert clock.processor_ns() - before < 0.02e9
    with clock.watching():
        own = threading.Thread(target=_spin, args=(stop,), daemon=True)
        own.start()
    before = clock.processor_ns()
    while clock.processor_ns() - before < 0.05e9:  # however long other work delays it
        time.sleep(0.01)
    assert clock.waiting_ns() >= 0
    stop.set()
    own.join()
    assert clock.processor_ns() > 0  # of a thread that has ended
    stranger.join()


def test_load_is_said_in_words_where_there_is_some():
    assert Load(0.0, 0.0, 3000.0, 3000.0).describe() == ""
    assert Load(float("nan"), float("nan"), float("nan"), float("nan")).describe() == ""
    said = Load(1.2, 0.05, 1200.0, 3000.0).describe()
    assert "kept 1.2 of" in said
    assert "5% of the processors' time went to other virtual machines" in said
    assert "between 1200 and 3000 MHz" in said
    others = LoadMeter().read().others
    assert others >= 0 or np.isnan(others)
