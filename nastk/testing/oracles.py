"""Conformance kit of oracles: the contract of every oracle, third-party ones included."""

from __future__ import annotations

from typing import Any

import numpy as np

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.base import Evaluation, Oracle
from nastk.testing.spaces import _refuses


def check_oracle(oracle: Oracle, archs: Any, repeatable: bool = True) -> None:
    """Test the contract of :class:`nastk.Oracle`; raises AssertionError with the violation.

    Args:
        oracle: the oracle.
        archs: a few different architectures of its space; the value of at least one must be known.
        repeatable: whether repeated evaluations must agree; False for measurements, for which only the form of the
            result is tested.
    """
    for attribute in ("name", "unit", "source"):
        assert isinstance(getattr(oracle, attribute, None), str), f"{attribute} must be a string"
    assert oracle.name, "name is empty"
    assert oracle.direction in ("min", "max"), f"direction is {oracle.direction!r}, must be 'min' or 'max'"
    assert isinstance(oracle.expensive, bool), f"expensive is {oracle.expensive!r}, must be True or False"
    assert "\n" not in repr(oracle), "repr has several lines"
    archs = oracle.space.as_archs(archs)
    before = archs.copy()
    whole = oracle.evaluate(archs)
    assert np.array_equal(archs, before), "evaluate changes its argument"
    _check_form(whole, len(archs))
    assert np.isfinite(whole.value).any(), "the oracle knows none of these architectures"
    _check_form(oracle.evaluate(archs[:0]), 0)
    _check_form(oracle.evaluate(oracle.space.format(archs[0])), 1)
    _refuses(InvalidArchitecture, lambda: oracle.evaluate(archs[:1] * 0 - 1), "an architecture outside of the space")
    _refuses(InvalidValue, lambda: oracle.evaluate(archs[:1], fidelity=-1.0), "an unknown fidelity")
    assert list(oracle.fidelities) == sorted(set(oracle.fidelities)), "fidelities are not ascending"
    for fidelity in oracle.fidelities:
        at = oracle.evaluate(archs[:1], fidelity)
        _check_form(at, 1)
        for lower in at.lower:
            assert lower in oracle.fidelities, f"an evaluation tells values at {lower:g}, which is no fidelity"
            assert lower < fidelity, (
                f"an evaluation at {fidelity:g} tells values at {lower:g}, which is no lower fidelity"
            )
    if repeatable:
        _check_values(oracle, archs, whole)


def _check_form(evaluation: Evaluation, n: int) -> None:
    assert isinstance(evaluation, Evaluation), f"evaluate returned a {type(evaluation).__name__}"
    for name in ("value", "std", "cost"):
        values = getattr(evaluation, name)
        assert isinstance(values, np.ndarray), f"{name} is a {type(values).__name__}, must be an array"
        assert values.shape == (n,), f"{name} has shape {values.shape} for {n} architectures"
        assert values.dtype == np.float64, f"{name} is {values.dtype}, must be float64"
        assert not np.isinf(values).any(), f"{name} is infinite; failed or unknown values must be NaN"
    assert not (evaluation.std < 0).any(), "a standard deviation is negative"
    assert not (evaluation.cost < 0).any(), "a cost is negative"
    if evaluation.attempts is not None:
        assert evaluation.attempts.shape == (n,), (
            f"attempts has shape {evaluation.attempts.shape} for {n} architectures"
        )
    for other in (*evaluation.others.values(), *evaluation.lower.values()):
        _check_form(other, n)
    failed = np.isnan(evaluation.value)
    assert np.isnan(evaluation.std[failed]).all(), "a value that is NaN has a standard deviation"


def _check_values(oracle: Oracle, archs: Any, whole: Evaluation) -> None:
    def same(a: Any, b: Any) -> bool:
        return np.allclose(a, b, rtol=1e-9, atol=0, equal_nan=True)

    assert same(oracle.evaluate(archs).value, whole.value), "a repeated evaluation gives other values"
    assert same(oracle(archs), whole.value), "calling the oracle and evaluate().value differ"
    order = np.random.default_rng(0).permutation(len(archs))
    shuffled = oracle.evaluate(archs[order])
    assert same(shuffled.value, whole.value[order]), "the order of the architectures changes their values"
    assert same(shuffled.std, whole.std[order]), "the order of the architectures changes their standard deviations"
    one = oracle.evaluate(archs[-1])
    assert same(one.value, whole.value[-1:]), "a value depends on the rest of the batch"
    text = oracle.evaluate(oracle.space.format(archs[-1]))
    assert same(text.value, one.value), "text and row get different values"
    twice = oracle.evaluate(np.concatenate([archs, archs[:1]]))
    assert same(twice.value[[0, -1]], whole.value[[0, 0]]), "an architecture evaluated twice gets two values"
