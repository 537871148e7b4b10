"""Find the choices that a program makes, and the conditions of each, by running it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.spaces.base import Archs

Answers = Mapping[str, int]
"""Index of an option for each choice; a choice that is not named gets its first option."""

EXHAUSTIVE = 256
"""All combinations of options are run when there are at most this many, random ones otherwise. A larger value makes
more spaces exact and their derivation slower."""


class Impossible(Exception):
    """A run failed.

    Args:
        labels, values: option labels and values of the choices that were made before.
        reason: why it failed.
    """

    def __init__(self, labels: Mapping[str, tuple[str, ...]], values: Mapping[str, Any], reason: str):
        super().__init__(reason)
        self.labels, self.values, self.reason = labels, values, reason


class Exploration:
    """Finds all choices, and for each its gates: the other choices that decide whether it is made.

    Each new choice is run with each of its options, the other choices as they were when it was found. Then random
    combinations are run. Where one makes other choices than its gates predict, a binary search over the differences to
    an agreeing combination finds a missing gate. The search ends after `checks` consecutive combinations without
    anything new.

    Whether given values of the gates make a choice is read from one run in which all other choices have their first
    option. The answer is thus the same for all architectures and independent of earlier calls.

    A combination may be impossible: its run raises :class:`Impossible`. It shows the choices that were made before it
    failed; whether others would have been made is unknown, and an architecture counts as making them.

    Args:
        run: runs the program with answers; returns the option labels of each choice made, in order. May raise
            :class:`Impossible`, but not where every choice has its first option.
        what: name of the program in messages.
        checks: consecutive random combinations that must agree.
        limit: maximum number of runs.

    Attributes:
        options: labels by choice, in the order in which the program makes them.
        gates: by choice.
        runs: number of runs.

    Raises:
        InvalidValue: the limit was reached, the program makes no choice or different choices in equal runs, or it fails
            where every choice has its first option.
    """

    def __init__(
        self, run: Callable[[Answers], Mapping[str, tuple[str, ...]]], what: str, checks: int = 64, limit: int = 2000
    ):
        self._run, self._what, self._checks, self._limit = run, what, checks, limit
        self.runs = 0
        self._order: list[str] = []
        self._labels: dict[str, tuple[str, ...]] = {}
        self._known: dict[frozenset[tuple[str, int]], frozenset[str]] = {}
        self._impossible: set[frozenset[tuple[str, int]]] = set()
        self._found: deque[tuple[str, Answers]] = deque()
        self._complete = False
        self.gates: dict[str, set[str]] = {}
        self.asked({})
        if not self._order:
            raise InvalidValue(f"{what} makes no choice while it is built; write nastk.choice(name, options) in it")
        self._try_options()
        rng = np.random.default_rng(0)
        while not all(self._agrees(answers) for answers in self._combinations(rng)):
            pass
        self._complete = True
        self.options = {name: self._labels[name] for name in self._order}
        self._columns = {name: j for j, name in enumerate(self._order)}

    # ---- running

    def asked(self, answers: Answers) -> frozenset[str]:
        """The choices that the program makes with these answers, or made before it failed."""
        key = _key(answers)
        if key not in self._known:
            if not self._complete and self.runs >= self._limit:
                last = self._order[-1] if self._order else ""
                raise InvalidValue(
                    f"{self._what} still shows new choices or conditions after {self.runs} builds (the last choice is "
                    f"{last!r}); give nastk.space_of a greater runs="
                )
            try:
                labels = self._run({name: value for name, value in answers.items() if value})
            except Impossible as failure:
                if not key:
                    raise InvalidValue(
                        f"{self._what} cannot be built where every choice has its first option: {failure.reason}; give "
                        "each choice first an option that is possible with the first ones of the others"
                    ) from failure
                labels = failure.labels
                self._impossible.add(key)
            if not self._complete:
                self.runs += 1
                self._note(labels, answers)
            self._known[key] = frozenset(labels)
        return self._known[key]

    def makes(self, name: str, answers: Answers) -> bool | None:
        """Whether the program makes a choice with these answers; None if it failed before it came to that."""
        if name in self.asked(answers):
            return True
        return None if _key(answers) in self._impossible else False

    def _note(self, labels: Mapping[str, tuple[str, ...]], answers: Answers) -> None:
        place = 0
        for name, options in labels.items():
            if name not in self._labels:
                self._order.insert(place, name)
                self._labels[name] = options
                self.gates[name] = set()
                self._found.append((name, answers))
            elif self._labels[name] != options:
                raise InvalidValue(differing(self._what, name, self._labels[name], options))
            place = self._order.index(name) + 1

    # ---- learning

    def _try_options(self) -> None:
        while self._found:
            name, answers = self._found.popleft()
            before = self.asked(answers)
            for value in range(len(self._labels[name])):
                changed = {**answers, name: value}
                for other in before ^ self.asked(changed):
                    if None not in (self.makes(other, answers), self.makes(other, changed)):
                        self.gates[other].add(name)
        self._close()

    def _close(self) -> None:
        """Transitive closure: gates of gates are gates."""
        grew = True
        while grew:
            grew = False
            for name, gates in self.gates.items():
                wider = gates.union(*(self.gates[g] for g in gates)) - {name}
                grew |= wider != gates
                self.gates[name] = wider

    def _combinations(self, rng: np.random.Generator) -> Iterator[dict[str, int]]:
        names, sizes = list(self._order), [len(self._labels[name]) for name in self._order]
        if prod(sizes) <= EXHAUSTIVE:
            for values in product(*map(range, sizes)):
                yield dict(zip(names, values, strict=True))
        else:
            for drawn in rng.integers(0, sizes, size=(self._checks, len(sizes))):
                yield dict(zip(names, drawn.tolist(), strict=True))

    def _agrees(self, answers: Answers) -> bool:
        """Whether a combination makes the predicted choices; adds the missing gates if not."""
        choices = len(self._order)
        asked = self.asked(answers)
        self._try_options()
        agreed = len(self._order) == choices
        actual = {name: value for name, value in answers.items() if name in asked}
        while (missing := self._missing_gate(actual)) is not None:
            name, gate = missing
            self.gates[name].add(gate)
            self._close()
            agreed = False
        return agreed

    def _sorted(self) -> list[str]:
        """Choices with each one's gates before it."""
        return sorted(self._order, key=lambda name: len(self.gates[name]))

    def _missing_gate(self, answers: Answers) -> tuple[str, str] | None:
        """The first choice that its gates predict wrongly, and one of its missing gates."""
        for name in self._sorted():
            reference = {g: answers.get(g, 0) for g in self.gates[name]}
            foreseen, made = self.makes(name, reference), self.makes(name, answers)
            if foreseen == made or None in (foreseen, made):
                continue
            differing = [g for g in self._order if g not in reference and g != name and answers.get(g, 0)]
            # Binary search. Invariant: setting the first `low` differing choices changes nothing, the first `high` do.
            low, high = 0, len(differing)
            while high - low > 1:
                middle = (low + high) // 2
                mixed = reference | {g: answers[g] for g in differing[:middle]}
                low, high = (middle, high) if self.makes(name, mixed) == foreseen else (low, middle)
            if not differing:
                raise InvalidValue(f"{self._what} asks for different choices when it is built twice in the same way")
            return name, differing[low]
        return None

    # ---- answering

    def used(self, archs: Archs) -> tuple[NDArray[np.bool_], Archs]:
        """Which choices architectures make, ``(n, d)``, and the architectures with the others at their first option.

        Each combination of gate values not seen before costs one run.
        """
        values = np.array(archs)
        used = np.ones(values.shape, dtype=bool)
        groups: dict[tuple[int, ...], tuple[NDArray[np.int64], list[dict[str, int]]]] = {}
        for name in self._sorted():
            column = self._columns[name]
            gates = tuple(sorted(self._columns[g] for g in self.gates[name]))
            if gates not in groups:
                first, inverse = _distinct(values, gates, [len(self._labels[g]) for g in self._order])
                groups[gates] = inverse, [{self._order[g]: int(values[i, g]) for g in gates} for i in first]
            inverse, answers = groups[gates]
            used[:, column] = np.array([self.makes(name, a) is not False for a in answers], dtype=bool)[inverse]
            values[~used[:, column], column] = 0
        return used, values


def _key(answers: Answers) -> frozenset[tuple[str, int]]:
    return frozenset((name, value) for name, value in answers.items() if value)


def _distinct(
    values: Archs, columns: Sequence[int], sizes: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of one row for each distinct combination of these columns, and the combination of each row."""
    codes = np.zeros(len(values), dtype=np.int64)
    for column in columns:
        codes = np.unique(codes * sizes[column] + values[:, column], return_inverse=True)[1].ravel()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return first, inverse.ravel()


def differing(what: str, name: str, first: Sequence[str], second: Sequence[str]) -> str:
    """Error message for one choice with two sets of options."""
    return (
        f"{what}: the choice {name!r} is made among {', '.join(first)} and among {', '.join(second)}; "
        "one name has one set of options"
    )
