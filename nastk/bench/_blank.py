"""A table as searchers see it that know nothing but choices: the blank form, for comparisons at equal information."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from nastk.data.tables import Column, spread_of
from nastk.oracles.table import Benchmark, Table
from nastk.spaces.base import Choice, SearchSpace


class BlankSpace(SearchSpace):
    """A product of as many categorical choices, whose options are numbers.

    It has no graph but the chain of its choices, no isomorphic encodings, no counts, no networks, and a name for which
    no weights ship. No two choices share options, so nothing says which of them decide of the same operations.

    Args:
        name: of the space.
        sizes: number of options of each choice.
    """

    def __init__(self, name: str, sizes: Sequence[int]):
        self.name = name
        self.choices = tuple(Choice(f"x{j}", tuple(f"x{j}={v}" for v in range(n))) for j, n in enumerate(sizes))


def blank(table: Benchmark, metrics: Collection[str]) -> Benchmark:
    """The same architectures and values in a :class:`BlankSpace`, with the columns of these metrics alone.

    The integers of an architecture stay the same; rows are in the order of the integers. Counts are shown as
    measurements, for what counts them is the network.
    """
    source = table.table
    content = source.subset(np.lexsort(source.content.archs.T[::-1])).content
    spreads = {spread_of(column).metric for column in content.columns if column.metric in metrics}
    kept = [i for i, column in enumerate(content.columns) if column.metric in {*metrics, *spreads}]
    whole = source.space.whole
    content = replace(
        content,
        name=f"{content.name}-blank",
        columns=[_measured(content.columns[i]) for i in kept],
        places=[content.places[i] for i in kept],
    )
    shown = Table(content, BlankSpace(f"{whole.name}-blank", whole.sizes.tolist()))
    return Benchmark(shown, table.dataset if table.dataset in shown.datasets() else None)


def _measured(column: Column) -> Column:
    """The column as one whose values must be paid for."""
    return column if column.expensive else replace(column, kind="other")
