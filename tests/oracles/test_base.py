"""Function oracles, and that the conformance kit sees what is broken."""

import numpy as np
import pytest

import nastk
from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles import Evaluation, FunctionOracle, Oracle
from nastk.testing import check_oracle

SPACE = nastk.space("nasbench201")
ARCHS = SPACE.sample(6, 0)


def total(archs: np.ndarray) -> np.ndarray:
    return archs.sum(axis=1).astype(float)


def of_one(arch: np.ndarray) -> float:
    if arch.sum() == ARCHS[2].sum():
        raise ZeroDivisionError("no")
    return float(arch.sum())


def test_a_function_keeps_the_contract():
    check_oracle(FunctionOracle(SPACE, total, "total"), ARCHS)


def test_a_function_of_one_architecture_keeps_the_contract():
    check_oracle(FunctionOracle(SPACE, of_one, "total", one_by_one=True, failures=(ZeroDivisionError,)), ARCHS)
    with pytest.raises(InvalidValue, match="a space and a function, in this order"):
        FunctionOracle(total, SPACE, "total")  # type: ignore[arg-type]


def test_only_failures_that_are_named_become_nan():
    with pytest.raises(ZeroDivisionError):
        FunctionOracle(SPACE, of_one, "total", one_by_one=True)(ARCHS)
    values = FunctionOracle(SPACE, of_one, "total", one_by_one=True, failures=(ZeroDivisionError,))(ARCHS)
    assert np.isnan(values[2])


# ---- the kit on broken oracles


class Sum(Oracle):
    name, unit, source, space = "sum", "", "closed form", SPACE

    def _evaluate(self, archs, fidelity):
        if fidelity is not None:
            raise nastk.errors.InvalidValue("sum has no fidelities")
        return self.answer(archs)

    def answer(self, archs):
        return Evaluation(total(archs), np.zeros(len(archs)), np.zeros(len(archs)))


class WrongShape(Sum):
    def answer(self, archs):
        return Evaluation(total(archs)[:, None], np.zeros(len(archs)), np.zeros(len(archs)))


class Integers(Sum):
    def answer(self, archs):
        return Evaluation(archs.sum(axis=1), np.zeros(len(archs)), np.zeros(len(archs)))


class RanksThem(Sum):
    def answer(self, archs):
        return Evaluation(np.arange(len(archs), dtype=float), np.zeros(len(archs)), np.zeros(len(archs)))


class Changes(Sum):
    asked = 0

    def answer(self, archs):
        self.asked += 1
        return Evaluation(total(archs) + self.asked, np.zeros(len(archs)), np.zeros(len(archs)))


class NegativeStd(Sum):
    def answer(self, archs):
        return Evaluation(total(archs), np.full(len(archs), -1.0), np.zeros(len(archs)))


class CertainOfNothing(Sum):
    def answer(self, archs):
        values = total(archs)
        values[:1] = np.nan
        return Evaluation(values, np.zeros(len(archs)), np.zeros(len(archs)))


class KnowsNothing(Sum):
    def answer(self, archs):
        return Evaluation(*(np.full(len(archs), np.nan) for _ in range(3)))


class Infinite(Sum):
    def answer(self, archs):
        return Evaluation(np.full(len(archs), np.inf), np.zeros(len(archs)), np.zeros(len(archs)))


class TakesAnyFidelity(Sum):
    def _evaluate(self, archs, fidelity):
        return self.answer(archs)


class TakesAnything(Sum):
    def evaluate(self, archs, fidelity=None):
        try:
            return super().evaluate(archs, fidelity)
        except InvalidArchitecture:
            return self.answer(np.asarray(archs))


class NeitherWay(Sum):
    direction = "up"


def test_the_oracle_that_the_broken_ones_derive_from_is_sound():
    check_oracle(Sum(), ARCHS)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (WrongShape, r"value has shape \(6, 1\)"),
        (Integers, "value is int64"),
        (RanksThem, "order of the architectures changes"),
        (Changes, "repeated evaluation"),
        (NegativeStd, "standard deviation is negative"),
        (CertainOfNothing, "NaN has a standard deviation"),
        (KnowsNothing, "knows none"),
        (Infinite, "infinite"),
        (TakesAnyFidelity, "an unknown fidelity"),
        (TakesAnything, "must raise InvalidArchitecture"),
        (NeitherWay, "direction is 'up'"),
    ],
)
def test_the_kit_finds_what_is_broken(broken: type[Oracle], message: str):
    with pytest.raises(AssertionError, match=message):
        check_oracle(broken(), ARCHS)


def test_a_function_takes_a_fidelity_as_it_was_given() -> None:
    asked = []

    def train(archs: np.ndarray, epochs: float) -> np.ndarray:
        asked.append(epochs)
        return archs.sum(axis=1) + epochs

    made = FunctionOracle(SPACE, train, "accuracy", fidelities=(5, 50))
    check_oracle(made, ARCHS)
    assert made.evaluate(ARCHS, 5.0).value.tolist() == (SPACE.as_archs(ARCHS).sum(axis=1) + 5).tolist()
    assert made(ARCHS).tolist() == (SPACE.as_archs(ARCHS).sum(axis=1) + 50).tolist()
    assert {type(epochs) for epochs in asked} == {int}
    assert made.source == "function train at 5, 50"
    with pytest.raises(InvalidValue, match="accuracy has fidelities 5, 50; got 7"):
        made.evaluate(ARCHS, 7.0)
    with pytest.raises(InvalidValue, match="fidelities must ascend"):
        FunctionOracle(SPACE, train, "accuracy", fidelities=(50, 5))
