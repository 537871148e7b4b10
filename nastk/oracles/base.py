"""Oracles: one metric of architectures, queried with ``evaluate``."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nastk.code import identify
from nastk.errors import InvalidValue, NastkError
from nastk.evaluation import Failure, Kind, reason_of
from nastk.spaces.base import Archs, SearchSpace

Direction = Literal["min", "max"]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """The result of an oracle for ``n`` architectures.

    Args:
        value: shape ``(n,)``; NaN where the evaluation failed or the value is unknown.
        std: standard deviation of the value (spread of the measurement or of the estimate), shape ``(n,)``; NaN where
            unknown.
        cost: seconds that the evaluation took, shape ``(n,)``; 0 for free oracles, NaN where unknown.
        attempts: how often each was tried, shape ``(n,)``; None for once.
        others: what the same evaluation told of other metrics, by the names of their oracles; see :attr:`Oracle.call`.
    """

    value: Values
    std: Values
    cost: Values
    attempts: NDArray[np.int64] | None = None
    others: Mapping[str, Evaluation] = field(default_factory=dict)


class Oracle(ABC):
    """One metric of the architectures of a space.

    Attributes:
        name: short name, used in constraints and column headings ("latency").
        unit: unit of the value ("ms", "%", "" for a count).
        direction: "min" or "max".
        expensive: whether an evaluation is costly (a training, a measurement); any other oracle is free to evaluate.
        source: where the values come from ("table nasbench201 titan_rtx_256", "measured", "predicted").
        together: preferred batch size (measurements that are interleaved); a batch in progress is lost if a run is
            interrupted.
        per_network: whether isomorphic encodings (`SearchSpace.keys`) have one value, as for accuracies: a study then
            evaluates only one of them.
        fidelities: fidelities that `evaluate` accepts (training epochs), ascending; empty if there is only one.
        fidelity: the default fidelity; None for the highest.
        kind: of its values, a field of every record: "measured" (a training, a measurement), "table", "estimate" or
            "computed". By default "measured" if it is expensive, else "computed".
        dataset, device: of its values, if any; a predictor that learned from the same device is refused.
        few_shot: whether few-shot latency predictors may learn it from a few evaluations.
        call: what an evaluation depends on, where it answers several metrics at once: one evaluation of oracles with an
            equal `call` gives all their values (`Evaluation.others`). None: it answers its own metric alone.
        handles_retries: whether it tries failures again by itself, so that a study does not.
        closed: whether it knows the values of some architectures and can get no others, such as measurements that were
            brought as a file: a study takes :attr:`known` and evaluates nothing.
        known: those architectures, ``(m, d)``.
    """

    space: SearchSpace
    name: str
    unit: str = ""
    direction: Direction = "min"
    expensive: bool = True
    source: str = ""
    together: int = 1
    per_network: bool = False
    fidelities: Sequence[float] = ()
    fidelity: float | None = None
    dataset: str | None = None
    device: str | None = None
    few_shot: bool = False
    handles_retries: bool = False
    closed: bool = False

    @property
    def call(self) -> Any:
        """What oracles of one call share; None where there are no others."""
        return None

    @property
    def known(self) -> Archs:
        """Architectures whose values a closed oracle has, ``(m, d)``."""
        return np.empty((0, self.space.d), dtype=np.int64)

    @property
    def kind(self) -> Kind:
        """What sort of value it answers."""
        return "measured" if self.expensive else "computed"

    def describe(self) -> dict[str, Any]:
        """What it is, by names, JSON-able; with ``oracle`` first: how it can be made again, or "object" if it cannot.

        `nastk.run` makes oracles of what it knows from such a description.
        """
        return {"oracle": "object", "name": self.name, "direction": self.direction, "source": self.source}

    def identity(self) -> dict[str, Any]:
        """What tells its values from those of another oracle of the same space, JSON-able: data set, device, function.

        An evaluation is used again where space, identity and fidelity are equal, so the identity holds whatever changes
        a value.
        """
        kind = type(self)
        return {
            "oracle": f"{kind.__module__}.{kind.__qualname__}", "metric": self.name, "source": self.source,
            "dataset": self.dataset, "device": self.device, "build": repr(getattr(self, "build_options", {})),
        }  # fmt: skip

    def source_code(self) -> Any:
        """The class or function whose source evaluates."""
        return type(self)

    def source_at(self, fidelity: float | None) -> str:
        """Where values at a fidelity come from; by default :attr:`source`, whatever the fidelity."""
        return self.source

    def keys(self, archs: Archs) -> list[Hashable]:
        """One hashable for each architecture, equal where one evaluation tells the values of both; see
        :attr:`per_network`."""
        return self.space.keys(archs)

    def search_proxies(self) -> Any:
        """Zero-cost proxies that a search for this metric may look up (``Context(proxies=...)``), or None."""
        return None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if isinstance(old := vars(cls).get("paid"), bool):  # an oracle written for the old name
            _renamed("paid")
            cls.expensive = old
            del cls.paid

    @property
    def paid(self) -> bool:
        """Deprecated: the old name of :attr:`expensive`."""
        _renamed("paid")
        return self.expensive

    @paid.setter
    def paid(self, value: bool) -> None:
        _renamed("paid")
        self.expensive = value

    def evaluate(self, archs: Any, fidelity: float | None = None) -> Evaluation:
        """Evaluate architectures (text, index, row or ``(n, d)`` array).

        Raises:
            InvalidArchitecture: not members of the space.
            InvalidValue: the oracle has no such fidelity.
        """
        return self._evaluate(self.space.as_archs(archs), fidelity)

    def __call__(self, archs: Any) -> Values:
        """Only the values, shape ``(n,)``."""
        return self.evaluate(archs).value

    @abstractmethod
    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        """Evaluate checked architectures ``(n, d)``."""

    def __repr__(self) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        cost = "expensive" if self.expensive else "free"
        return f"<oracle {self.name}{unit}, {self.direction}imise, {cost}, {self.source}>"


def _renamed(old: str) -> None:
    warnings.warn(f"{old} is now called expensive", DeprecationWarning, stacklevel=3)


def exact(values: Any, cost: float = 0.0) -> Evaluation:
    """An evaluation without spread."""
    value = np.asarray(values, dtype=np.float64)
    return Evaluation(value, np.where(np.isnan(value), np.nan, 0.0), np.full(value.shape, cost))


class FunctionOracle(Oracle):
    """A user's function as an oracle.

    Args:
        space: the space of its architectures.
        function: takes ``(n, d)`` integers and returns ``(n,)`` numbers; with ``one_by_one`` it takes one row and
            returns one number. Where there are fidelities, its second argument is one of them.
        name, unit, direction, expensive, per_network: see :class:`Oracle`.
        one_by_one: call the function once per architecture; an exception gives NaN for that architecture only if
            it is one of `failures`.
        failures: exception types that mean "this architecture failed" (NaN) instead of a programming error.
        fidelities: such as epochs, ascending; the last is the objective, the others are for multi-fidelity searchers.
        paid: deprecated, the old name of `expensive`.

    Raises:
        InvalidValue: fidelities that are not ascending.
    """

    def __init__(
        self,
        space: SearchSpace,
        function: Callable[..., Any],
        name: str,
        unit: str = "",
        direction: Direction = "min",
        expensive: bool = True,
        one_by_one: bool = False,
        failures: tuple[type[Exception], ...] = (),
        per_network: bool = False,
        fidelities: Sequence[float] = (),
        paid: bool | None = None,
    ):
        if paid is not None:
            _renamed("paid")
            expensive = paid
        if list(fidelities) != sorted(set(fidelities)):
            raise InvalidValue(f"fidelities must ascend, such as 5, 50; got {', '.join(f'{f:g}' for f in fidelities)}")
        self.space, self.function, self.name, self.unit, self.direction = space, function, name, unit, direction
        self.expensive, self.one_by_one, self.failures, self.per_network = expensive, one_by_one, failures, per_network
        self.fidelities = tuple(fidelities)
        at = f" at {', '.join(f'{f:g}' for f in fidelities)}" if fidelities else ""
        self.source = f"function {getattr(function, '__name__', type(function).__name__)}{at}"

    def identity(self) -> dict[str, Any]:
        # What it is called is up to the search; what it evaluates is up to the function.
        return {"oracle": "function", **identify(self.function)}

    def source_code(self) -> Any:
        return self.function

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        import time

        at = self._second(fidelity)
        started = time.perf_counter()
        try:
            if self.one_by_one:
                values = np.array([self._one(a, *at) for a in archs], dtype=np.float64)
            else:
                values = np.asarray(self.function(archs, *at), dtype=np.float64)
        except NastkError as error:  # a user's function that uses nastk
            raise Failure(reason_of(error)) from error
        if values.shape != (len(archs),):
            raise InvalidValue(f"{self.name}: the function gave shape {values.shape} for {len(archs)} architectures")
        seconds = (time.perf_counter() - started) / max(len(archs), 1)
        return Evaluation(values, np.full(values.shape, np.nan), np.full(values.shape, seconds))

    def _second(self, fidelity: float | None) -> Sequence[float]:
        """The function's second argument, if any, in the type in which it was declared: whole epochs stay integers."""
        if not self.fidelities:
            if fidelity is not None:
                raise InvalidValue(f"{self.name} has no fidelities")
            return ()
        if fidelity is None:
            return self.fidelities[-1:]
        if fidelity not in self.fidelities:
            known = ", ".join(f"{f:g}" for f in self.fidelities)
            raise InvalidValue(f"{self.name} has fidelities {known}; got {fidelity:g}")
        return [f for f in self.fidelities if f == fidelity]

    def _one(self, arch: Archs, *fidelity: float) -> float:
        try:
            answer = self.function(arch, *fidelity)
        except self.failures:
            return float("nan")
        if answer is None:
            raise TypeError(f"the function of {self.name} returned None, and not a number: has it a return?")
        if isinstance(answer, (bool, np.bool_, str, bytes)):
            raise TypeError(f"the function of {self.name} returned {answer!r}, and not a number")
        return float(answer)
