"""Oracles: one metric of architectures, queried with ``evaluate``."""

from __future__ import annotations

import hashlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nastk.code import identify
from nastk.errors import DataWarning, InvalidValue, NastkError, StorageError
from nastk.evaluation import Failure, Kind, reason_of
from nastk.oracles._intermediate import Arguments, Curve, train
from nastk.oracles._weights import read_weights, stamps, state_of, write_weights
from nastk.spaces.base import Archs, SearchSpace

Direction = Literal["min", "max"]

THIS_MACHINE = "this machine"
"""What an evaluation has to itself (`Oracle.exclusive`) that other work on this machine would spoil."""
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
        lower: what the same evaluation told of lower fidelities that it passed, by fidelity: a training of 50 epochs
            knows its accuracy after 5. NaN where it told nothing.
        details: what else is known of each value, JSON-able numbers and texts by name, one mapping an architecture
            (`nastk.Record.details`); None for nothing.
    """

    value: Values
    std: Values
    cost: Values
    attempts: NDArray[np.int64] | None = None
    others: Mapping[str, Evaluation] = field(default_factory=dict)
    lower: Mapping[float, Evaluation] = field(default_factory=dict)
    details: Sequence[Mapping[str, Any]] | None = None


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
        exclusive: what an evaluation has to itself, where a study evaluates several at a time: :data:`THIS_MACHINE` for
            one that is spoiled by whatever else runs here, such as a latency that is measured here; the name of a
            device that does one thing at a time, beside which other work goes on. None for nothing, as of trainings.
        noisy: whether the same network has another value at another time, as a latency has: what a search delivers is
            measured again at its end (:meth:`nastk.Result.settle`).
        closed: whether it knows the values of some architectures and can get no others, such as measurements that were
            brought as a file: a study takes :attr:`known` and evaluates nothing.
        known: those architectures, ``(m, d)``.
        needs_folder: whether it keeps files of each network, such as the checkpoint that a longer training continues.
        folder: where, as the user says: each network has a folder of its own in it (:meth:`network_folder`). Where it
            is empty, :attr:`study_folder` takes its place.
        study_folder: a folder beside the history of a search, which sets it before it evaluates.
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
    exclusive: str | None = None
    noisy: bool = False
    closed: bool = False
    needs_folder: bool = False
    folder: str = ""
    study_folder: str = ""

    @property
    def call(self) -> Any:
        """What oracles of one call share; None where there are no others."""
        return None

    @property
    def known(self) -> Archs:
        """Architectures whose values a closed oracle has, ``(m, d)``."""
        return np.empty((0, self.space.d), dtype=np.int64)

    @property
    def seeded(self) -> bool:
        """Whether its values are of a random seed that it is given."""
        return hasattr(self, "seed")

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

    def files_identity(self) -> dict[str, Any]:
        """What tells the files that it keeps of networks from another oracle's, JSON-able; by default its identity."""
        return self.identity()

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

    def network_folder(self, arch: Archs) -> str:
        """The folder of the network of an architecture ``(d,)``, an absolute path; the same at every fidelity.

        It is made where it is missing, and nothing in it is ever removed. Isomorphic encodings of one network share it,
        where they are built from the same operations.

        Raises:
            InvalidValue: neither the user nor a search has said where.
        """
        if not (self.folder or self.study_folder):
            raise InvalidValue(
                f"{self.name} keeps files of networks: evaluate it in a search, or say where, such as folder='runs'"
            )
        row = np.asarray(arch, dtype=np.int64)
        if self.per_network:
            row = self.space.as_networks(row[None])[0]
        return make_network_folder(self.folder or self.study_folder, row)

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


LONGEST_NAME = 60
"""Characters of the longest name of a network's folder: integers of a long row are replaced by their hash."""


def make_network_folder(folder: str, row: Archs) -> str:
    """Make the folder of one network ``(d,)`` in that of an oracle, named by its integers; an absolute path."""
    path = os.path.abspath(os.path.join(folder, network_folder_name(row)))
    os.makedirs(path, exist_ok=True)
    return path


def network_folder_name(row: Archs) -> str:
    """Name of the folder of one network ``(d,)``."""
    name = "-".join(str(int(v)) for v in row)
    return hashlib.sha256(name.encode()).hexdigest()[:16] if len(name) > LONGEST_NAME else name


class FunctionOracle(Oracle):
    """A user's function as an oracle.

    With ``one_by_one`` the function may also tell values on its way: it yields ``epoch, value``, or has an argument
    called ``report`` and calls ``report(epoch, value)``. An evaluation at a fidelity ends at the epoch of that number:
    the generator is closed, or ``report`` raises :class:`TrainingStopped`, which the function lets pass. Values at
    lower fidelities that it passed are kept (:attr:`Evaluation.lower`). Without fidelities the last value counts.

    An argument called ``folder`` gets :meth:`Oracle.network_folder`, in which a checkpoint can be kept: the folder is
    the same at every fidelity, so that a training of 50 epochs continues that of 5.

    With ``weights`` the function may return ``value, weights``, the trained network or its state dict: they are kept in
    that folder as ``weights.safetensors``, unless the function has written this file, or ``weights.pt``, itself.

    Args:
        space: the space of its architectures.
        function: takes ``(n, d)`` integers and returns ``(n,)`` numbers; with ``one_by_one`` it takes one row and
            returns one number. Where there are fidelities, its argument ``epochs``, or else its second, is one of them;
            one that tells values on its way may do without.
        name, unit, direction, expensive, per_network: see :class:`Oracle`.
        one_by_one: call the function once per architecture; an exception gives NaN for that architecture only if
            it is one of `failures`.
        failures: exception types that mean "this architecture failed" (NaN) instead of a programming error.
        fidelities: such as epochs, ascending; the last is the objective, the others are for multi-fidelity searchers.
        paid: deprecated, the old name of `expensive`.
        folder: see :class:`Oracle`; for evaluations outside of a search.
        weights: keep the weights that a function returns behind its value; for `one_by_one`.

    Raises:
        InvalidValue: fidelities that are not ascending; a space or a function that is none.
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
        folder: str | os.PathLike[str] = "",
        weights: bool = False,
    ):
        if paid is not None:
            _renamed("paid")
            expensive = paid
        if not isinstance(space, SearchSpace) or not callable(function):
            raise InvalidValue(
                f"FunctionOracle takes a space and a function, in this order; got {space!r}, {function!r}"
            )
        check_ascending(fidelities)
        self.space, self.function, self.name, self.unit, self.direction = space, function, name, unit, direction
        self.expensive, self.one_by_one, self.failures, self.per_network = expensive, one_by_one, failures, per_network
        self.fidelities = tuple(fidelities)
        self.folder = os.path.abspath(folder) if folder else ""
        self._arguments = Arguments.of(function) if one_by_one else Arguments()
        self.weights = weights and one_by_one
        self.needs_folder = self._arguments.folder or self.weights
        at = f" at {', '.join(f'{f:g}' for f in fidelities)}" if fidelities else ""
        self.source = f"function {getattr(function, '__name__', type(function).__name__)}{at}"

    def identity(self) -> dict[str, Any]:
        # What it is called is up to the search; what it evaluates is up to the function.
        return {"oracle": "function", **identify(self.function)}

    @property
    def seeded(self) -> bool:
        return hasattr(self.function, "seed")

    def source_code(self) -> Any:
        return self.function

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        import time

        at = chosen_fidelity(self, fidelity)
        # An argument with a default keeps it outside of a search.
        has_folder = self._arguments.folder and (self._has_place or self._arguments.folder_required)
        folders = [self.network_folder(arch) if has_folder else "" for arch in archs]
        started = time.perf_counter()
        try:
            if self.one_by_one:
                told = [self._one(arch, folder, *at) for arch, folder in zip(archs, folders, strict=True)]
                values = np.array([value for value, _ in told], dtype=np.float64)
            else:
                told = []
                values = np.asarray(self.function(archs, *at), dtype=np.float64)
        except NastkError as error:  # a user's function that uses nastk
            raise Failure(reason_of(error)) from error
        if values.shape != (len(archs),):
            raise InvalidValue(f"{self.name}: the function gave shape {values.shape} for {len(archs)} architectures")
        seconds = (time.perf_counter() - started) / max(len(archs), 1)
        lower = lower_values(self.fidelities, at[0] if at else None, [on_the_way for _, on_the_way in told])
        return Evaluation(values, np.full(values.shape, np.nan), np.full(values.shape, seconds), lower=lower)

    def _one(self, arch: Archs, folder: str, *fidelity: float) -> tuple[float, Mapping[float, float]]:
        """The value of one architecture, and those that it told on its way, by epoch."""
        curve: Curve[float] = Curve(fidelity[0] if fidelity else None)
        positional, named = self._arguments.given(fidelity)
        if folder:
            named["folder"] = folder
        before = stamps(folder) if folder else {}
        try:
            answer, weights = self._trained(arch, positional, named, curve)
        except self.failures:
            return float("nan"), {}
        if self.weights and isinstance(answer, tuple) and len(answer) == 2:
            answer, weights = answer[0], state_of(answer[1])
        if fidelity and self._arguments.no_fidelity:
            answer = None  # it does not know the fidelity, at which its result is none
        if answer is None and not curve.begun:
            raise TypeError(f"the function of {self.name} {self._what_is_wrong()}")
        if isinstance(answer, (bool, np.bool_, str, bytes)):
            raise TypeError(f"the function of {self.name} returned {answer!r}, and not a number")
        if isinstance(answer, tuple):
            raise TypeError(
                f"the function of {self.name} returned a tuple of {len(answer)}, and not a number"
                + ("" if self.weights else "; FunctionOracle(weights=True) keeps the weights of (value, network)")
            )
        value = curve.final(None if answer is None else float(answer))
        if weights is not None and self.weights and self._has_place:
            self._keep(arch, weights, value, fidelity, before)
        return value, curve.values

    def _trained(
        self, arch: Archs, positional: Sequence[Any], named: Mapping[str, Any], curve: Curve[float]
    ) -> tuple[Any, Any]:
        """What the function returned, and the network that it trained in place, where it was given one."""
        return train(self.function, (arch, *positional), named, curve, report=self._arguments.report), None

    @property
    def _has_place(self) -> bool:
        """Whether it is known where files of networks are kept."""
        return bool(self.folder or self.study_folder)

    def _keep(
        self, arch: Archs, weights: Any, value: float, fidelity: Sequence[float], before: Mapping[str, Any]
    ) -> None:
        """Keep the weights of a training, unless it has itself, or those of a longer one are there.

        A training is not lost for a full disk: its value stands, and the user is warned.

        Args:
            before: :func:`stamps` of the folder before the training; empty where the function did not know it.
        """
        try:
            folder = self.network_folder(arch)
            if self._arguments.folder and stamps(folder) != before:
                return
            if fidelity and any(f > fidelity[0] for f in _trained_for(folder)):
                return
            write_weights(folder, weights, {**self._facts(arch), "value": value, "epochs": list(fidelity)})
        except (OSError, StorageError) as error:
            warnings.warn(
                f"the weights of {self.space.format(arch)} are not kept: {reason_of(error)}", DataWarning, stacklevel=2
            )

    def _facts(self, arch: Archs) -> dict[str, Any]:
        """What is written beside the weights of a network, to know it by."""
        identity = identify(self.function)
        name = identity.get("module")
        if "file" in identity:  # as short as it is from here
            name = os.path.relpath(identity["file"])
            name = identity["file"] if name.startswith(os.pardir) else name
        return {
            "space": self.space.whole.name, "arch": self.space.format(arch), "metric": self.name, "unit": self.unit,
            "function": f"{name}:{identity['function']}",
        }  # fmt: skip

    def _what_is_wrong(self) -> str:
        """Of a function that told no value."""
        if self._arguments.generator:
            return "yielded nothing"
        if self._arguments.report:
            return "reported nothing"
        if self._arguments.no_fidelity and self.fidelities:
            return "takes no `epochs`, and yields no `epoch, value`"
        return "returned None, and not a number: has it a return?"


def _trained_for(folder: str) -> list[float]:
    """The epochs of the weights in a network's folder, as nastk wrote them; empty where it does not say."""
    try:
        found = read_weights(folder)
    except NastkError:
        return []
    return [] if found is None else [e for e in found.facts.get("epochs", ()) if isinstance(e, (int, float))]


def chosen_fidelity(oracle: Oracle, fidelity: float | None) -> Sequence[float]:
    """The fidelity of an evaluation, the highest by default, in the type in which the oracle has it, so that whole
    epochs stay integers; empty where it has none.

    Raises:
        InvalidValue: the oracle has no such fidelity.
    """
    if not oracle.fidelities:
        if fidelity is not None:
            raise InvalidValue(f"{oracle.name} has no fidelities")
        return ()
    if fidelity is None:
        return oracle.fidelities[-1:]
    if fidelity not in oracle.fidelities:
        known = ", ".join(f"{f:g}" for f in oracle.fidelities)
        raise InvalidValue(f"{oracle.name} has fidelities {known}; got {fidelity:g}")
    return [f for f in oracle.fidelities if f == fidelity]


def check_ascending(fidelities: Sequence[float]) -> None:
    """Refuse fidelities that do not ascend.

    Raises:
        InvalidValue: they do not.
    """
    if list(fidelities) != sorted(set(fidelities)):
        raise InvalidValue(f"fidelities must ascend, such as 5, 50; got {', '.join(f'{f:g}' for f in fidelities)}")


def lower_values(
    fidelities: Sequence[float], at: float | None, told: Sequence[Mapping[float, float]]
) -> dict[float, Evaluation]:
    """Values at fidelities below `at` that evaluations passed on their way, at no cost of their own.

    Args:
        told: of each architecture, values by epoch.
    """
    passed = [f for f in fidelities if at is not None and f < at and any(f in values for values in told)]
    return {f: _of_training([values.get(f, np.nan) for values in told]) for f in passed}


def _of_training(values: Any) -> Evaluation:
    """Values of a training, whose spread is unknown, at no cost."""
    value = np.array(values, dtype=np.float64)
    return Evaluation(value, np.full(value.shape, np.nan), np.zeros(value.shape))
