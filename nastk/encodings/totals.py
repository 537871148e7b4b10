"""totals: over all choices of one kind, the sum of their numbers, or how often each option occurs."""

from __future__ import annotations

import re
from collections.abc import Hashable

import numpy as np

from nastk.encodings._linear import Linear
from nastk.encodings.base import Context, Features
from nastk.encodings.ordinal import columns_of
from nastk.spaces.base import Archs, SearchSpace

_PLACES = re.compile(r"[\d.]+")
"""What tells choices of one kind apart: "block 2 layers" and "block 5 layers", "kernel 1.1" and "kernel 2.3"."""


class Totals(Linear):
    """The columns of `ordinal`, added up over choices of one kind, ``(n, k)``: how deep, how wide, how many of each.

    A few numbers that say much of a network, and that few trainings suffice to learn. Choices are of one kind if they
    have the same options, or are among numbers and have names that differ in numbers only. Of a kind with a single
    choice nothing is added up; where all are, there are no columns.
    """

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Totals:
        self.space_ = space
        blocks = [columns_of(choice) for choice in space.choices]
        places = np.cumsum([0, *(len(choice) for choice in space.choices)])
        kinds: dict[Hashable, list[int]] = {}
        for j, choice in enumerate(space.choices):
            numbers = "" in blocks[j][1] and _PLACES.search(choice.name)
            kinds.setdefault(_PLACES.sub("", choice.name) if numbers else choice.options, []).append(j)
        columns: dict[str, Features] = {}
        for members in kinds.values():
            for j in members if len(members) > 1 else []:
                for column, option in zip(blocks[j][0].T, blocks[j][1], strict=True):
                    name = space.choices[members[0]].name + (f"={option}" if option else "")
                    total = columns.setdefault(f"{name} and {len(members) - 1} more", np.zeros(places[-1]))
                    total[places[j] : places[j + 1]] += column
        self.names_ = list(columns)
        self.matrix_ = np.stack(list(columns.values()), axis=1) if columns else np.zeros((places[-1], 0))
        return self
