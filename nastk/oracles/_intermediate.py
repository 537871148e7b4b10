"""Values that a training tells on its way: yielded, reported or printed with their epochs, and ended at one of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")

ASKED_FOR = ("folder", "report")
"""Arguments that a user's function gets by their names, beside the fidelity."""


class TrainingStopped(BaseException):
    """Raised by ``report(epoch, value)`` once the epoch is reached at which the training is to end.

    No Exception, so that a function's own ``except Exception`` does not catch it; ``finally`` runs as ever.
    """


class Curve(Generic[T]):
    """Values by epoch, in the order told.

    Args:
        target: the epoch at which the training is to end; None where it ends by itself.

    Attributes:
        values: so far, by epoch.
    """

    def __init__(self, target: float | None):
        self.target = target
        self.values: dict[float, T] = {}
        self._wrong: Exception | None = None

    @property
    def begun(self) -> bool:
        """Whether it was told anything."""
        return bool(self.values) or self._wrong is not None

    @property
    def reached(self) -> bool:
        """Whether the value that was asked for is known."""
        return self.target in self.values

    def add(self, epoch: Any, value: Any, read: Callable[[Any, str], T]) -> bool:
        """Take the next value; True once the training may end.

        Args:
            read: checks and converts the value; its second argument says what the value is, for messages.

        Raises:
            TypeError, ValueError: no number or no finite one; an epoch that does not follow those before, or that is
                beyond the target, of which nothing is known then. The training cannot go on from there.
        """
        if self.reached:  # told after its end
            return True
        try:
            self._add(number(epoch, "an epoch"), value, read)
        except (TypeError, ValueError) as error:
            self._wrong = error  # though the function may catch it
            raise
        return self.reached

    def _add(self, epoch: float, value: Any, read: Callable[[Any, str], T]) -> None:
        last = next(reversed(self.values), None)
        if last is not None and epoch <= last:
            raise ValueError(f"epoch {epoch:g} came after epoch {last:g}: epochs ascend")
        if self.target is not None and epoch > self.target:
            before = "was the first; does its folder hold a longer training?" if last is None else f"followed {last:g}"
            raise ValueError(f"there is no value at epoch {self.target:g}: epoch {epoch:g} {before}")
        self.values[epoch] = read(value, f"the value at epoch {epoch:g}")

    def final(self, answer: T | None = None) -> T:
        """The value that was asked for: at the target, else what the training answered in its end, else, where there is
        no target, the last.

        Raises:
            ValueError: nothing of these, or a value before could not be used.
        """
        if self.target is not None and self.target in self.values:
            return self.values[self.target]
        if self._wrong is not None:
            raise self._wrong
        if answer is not None:
            return answer
        if not self.values:
            raise ValueError("the training told no value")
        last = next(reversed(self.values))
        if self.target is not None:
            raise ValueError(f"the training ended at epoch {last:g}, before {self.target:g}")
        return self.values[last]


def number(value: Any, what: str) -> float:
    """A finite number.

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite.
    """
    try:
        if value is None or isinstance(value, (bool, np.bool_, str, bytes)):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} is {str(value)[:60]!r}, not a number") from None
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"{what} is {found:g}, which is no finite number")
    return found


@dataclass(frozen=True)
class Arguments:
    """What a user's function takes beside the architecture.

    Args:
        folder, report: whether it has an argument of this name.
        folder_required: whether that has no default.
        generator: whether it yields its values.
        fidelity: name of the argument that the fidelity goes to; None for its second one, whatever its name.
        no_fidelity: whether it has none for it, and so only tells by its epochs what value is of which fidelity.
    """

    folder: bool = False
    report: bool = False
    folder_required: bool = False
    generator: bool = False
    fidelity: str | None = None
    no_fidelity: bool = False

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Arguments:
        """Those of a function; of one that is written in C, none."""
        try:
            parameters = list(inspect.signature(function).parameters.values())[1:]
        except (TypeError, ValueError):
            return cls()
        named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        asked = {name: named[name] for name in ASKED_FOR if name in named}
        generator = inspect.isgeneratorfunction(inspect.unwrap(function))
        if not asked and not generator:
            return cls()
        rest = [p for name, p in named.items() if name not in ASKED_FOR]
        second = next((p.name for p in rest if p.name == "epochs"), None)
        second = second or next((p.name for p in rest if p.kind == p.POSITIONAL_OR_KEYWORD), None)
        folder = asked.get("folder")
        return cls(
            folder=folder is not None,
            report="report" in asked,
            folder_required=folder is not None and folder.default is folder.empty,
            generator=generator,
            fidelity=second,
            no_fidelity=second is None,
        )

    @property
    def told(self) -> bool:
        """Whether it tells values on its way."""
        return self.generator or self.report

    def given(self, fidelity: Sequence[float]) -> tuple[Sequence[float], dict[str, Any]]:
        """The fidelity as positional and named arguments of a call."""
        if not fidelity or self.no_fidelity:
            return (), {}
        return (fidelity, {}) if self.fidelity is None else ((), {self.fidelity: fidelity[0]})


def train(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    named: Mapping[str, Any],
    curve: Curve[float],
    report: bool = False,
) -> Any:
    """Call a user's function until it ends, or has told the value that is asked for; what it returned, or None.

    Args:
        curve: takes the values that it tells.
        report: give it the argument ``report``.

    Raises:
        Exception: whatever the function raises.
        TypeError, ValueError: it told what cannot be used; see :meth:`Curve.add`.
    """

    def tell(epoch: float, value: float) -> None:
        if curve.add(epoch, value, number):
            raise TrainingStopped

    given = {**named, "report": tell} if report else named
    try:
        answer = function(*arguments, **given)
        return _until_reached(answer, curve) if inspect.isgenerator(answer) else answer
    except TrainingStopped:
        if not curve.reached:  # that of another training, within this one
            raise
        return None


def _until_reached(generator: Any, curve: Curve[float]) -> Any:
    """Run a generator of ``epoch, value`` up to the value that is asked for; what it returned in its end, or None."""
    with closing(generator):
        while True:
            try:
                told = next(generator)
            except StopIteration as end:
                return end.value
            if not isinstance(told, (tuple, list)) or len(told) != 2:
                raise TypeError(f"the function yielded {str(told)[:60]!r}; write: yield epoch, value")
            if curve.add(told[0], told[1], number):
                return None
