"""Repeats of an architecture are one value with a spread; those that contradict each other are found."""

from __future__ import annotations

import numpy as np
import pytest

from nastk.data import repeats
from nastk.data.tables import Column
from nastk.spaces.nasbench201 import NASBench201

SPACE = NASBench201()
LATENCY = Column("latency", "latency", "ms", "min")


def test_repeats_become_mean_standard_deviation_and_count():
    archs = SPACE.enumerate()[[7, 3, 7, 3, 7, 9]]
    found = repeats.same_rows(archs)
    assert found
    assert found.first.tolist() == [0, 1, 5]
    mean, std, count = found.merge(np.array([1.0, 5.0, 2.0, np.nan, 3.0, 0.1]))
    assert mean.tolist() == [2.0, 5.0, 0.1]
    np.testing.assert_array_equal(std, [1.0, np.nan, np.nan])
    assert count.tolist() == [3, 1, 1]


def test_different_rows_are_no_repeats_and_an_unknown_value_has_no_mean():
    found = repeats.same_rows(SPACE.enumerate()[[1, 0]])
    assert not found
    mean, _, count = found.merge(np.array([np.nan, 2.0]))
    np.testing.assert_array_equal(mean, [np.nan, 2.0])
    assert count.tolist() == [0, 1]


def test_isomorphic_encodings_are_the_same_network():
    everything = SPACE.enumerate()
    keys = SPACE.keys(everything)
    twins = [i for i, key in enumerate(keys) if key == keys[0]][:2]
    archs = everything[[twins[0], 5000, twins[1]]]
    assert len(repeats.same_networks(SPACE, archs).first) == 2
    assert len(repeats.same_rows(archs).first) == 3


def test_the_median_of_the_others():
    for n in (2, 3, 4, 7):
        values = np.random.default_rng(n).normal(size=n)
        expected = [np.median(np.delete(values, i)) for i in range(n)]
        np.testing.assert_allclose(repeats._median_of_others(values), expected)
    assert repeats._median_of_others(np.array([3.0])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("again", "contradict"),
    [
        ([1.02, 0.99, 1.01], []),
        ([1.02, 0.99, 3.0], [2]),
        ([1.5, 0.6, 1.4], []),  # a noisy device: none stands out
    ],
)
def test_repeats_that_lie_farther_apart_than_others_are_named(again, contradict):
    values = np.concatenate([np.linspace(5, 20, 10), np.linspace(5, 20, 10)[:3] * again])
    found = repeats.same_rows(SPACE.enumerate()[[*range(10), 0, 1, 2]])
    assert found.apart(values).tolist() == contradict
    said = repeats.contradictions(LATENCY, values, found, lambda row: f"mine.csv, line {row + 2}")
    assert len(said) == len(contradict)
    if said:
        assert said[0].startswith("mine.csv, line 4 and mine.csv, line 14: one architecture has latency 8.33333 and 25")


def test_no_more_than_a_few_contradictions_are_named_and_the_rest_counted():
    archs = SPACE.enumerate()[[*range(100), *range(100)]]
    values = np.concatenate([np.linspace(5, 20, 100), np.linspace(5, 20, 100)])
    values[100:110] *= 50
    said = repeats.contradictions(LATENCY, values, repeats.same_rows(archs), lambda row: f"a.csv, line {row + 2}")
    assert len(said) == repeats.NAMED + 1
    assert said[-1] == "a.csv: 7 more architectures have values far apart"
