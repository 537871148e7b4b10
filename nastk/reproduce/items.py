"""What a paper shows and what repeats it: an :class:`Item` for each of its tables and figures.

Each paper has one file with its items (:mod:`nastk.reproduce.of_multi_predict`, :mod:`nastk.reproduce.of_modnas`);
:mod:`nastk.reproduce.everything` runs them and writes the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Row = dict[str, Any]
Size = Literal["quick", "full"]
"""How much of an experiment is run: a part that takes minutes, or all of it."""

ROUNDED = 0.005
"""Half of the last digit of figures that are printed with two."""


@dataclass(frozen=True)
class Setting:
    """Of a run of all items.

    Args:
        size: of each experiment.
        folder: for finished runs and pictures.
        workers: processes, by default one a core.
        progress: called with (done, total).
    """

    size: Size
    folder: Path
    workers: int | None = None
    progress: Callable[[int, int], None] | None = None

    @property
    def quick(self) -> bool:
        """Whether only a part is run."""
        return self.size == "quick"


@dataclass(frozen=True)
class Cell:
    """One published figure beside ours.

    Args:
        what: it is, in words: the row and the column of a table.
        published: as printed; None where ours is shown beside nothing.
        ours: the mean, or None where it could not be run, for a `reason`.
        half: half of the width of our 95 % interval over random seeds; NaN of a single one, 0 of what is exact.
        seeds: random seeds of ours; 0 of what is exact.
        published_half: of the published interval; where none is printed, of the last digit.
        reason: why ours is missing, or cannot be compared.
        at_least: the paper prints a lower bound.
    """

    what: str
    published: float | None
    ours: float | None
    half: float = 0.0
    seeds: int = 0
    published_half: float = ROUNDED
    reason: str = ""
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """Whether both agree: "inside" where the intervals overlap, else "above" or "below"; "" without both."""
        if self.published is None or self.ours is None or self.reason or math.isnan(self.half):
            return ""
        difference = self.ours - self.published
        if (self.at_least and difference >= 0) or abs(difference) <= self.half + self.published_half + 1e-9:
            return "inside"
        return "above" if difference > 0 else "below"

    def row(self) -> Row:
        """As a line of a table."""
        unknown = self.ours is None or self.published is None
        return {
            "what": self.what,
            "published": self.published,
            "ours": self.ours,
            "± 95 %": None if self.seeds == 0 else self.half,
            "difference": None if unknown else self.ours - self.published,  # type: ignore[operator]
            "seeds": self.seeds or None,
            "inside": self.verdict or self.reason or "-",
        }


@dataclass(frozen=True)
class Outcome:
    """What an item gave.

    Args:
        cells: published figures beside ours.
        tables: further ones, with their titles.
        pictures: names of files in the folder, with what they show.
        notes: sentences: claims of the paper with what is found here, what is left out and why.
    """

    cells: Sequence[Cell] = ()
    tables: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = ()
    pictures: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Item:
    """A table or figure of a paper.

    Args:
        paper: its title.
        name: "Table 1", "Figure 4".
        what: it shows.
        run: what repeats it; None where nothing can, for the `reason`.
        command: that repeats its numbers, by size.
        reason: why nothing, or only a part, can be repeated with public data.
    """

    paper: str
    name: str
    what: str
    run: Callable[[Setting], Outcome] | None = None
    command: Mapping[Size, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def key(self) -> str:
        """Name of its file: "multi-predict-table-1"."""
        return f"{self.paper} {self.name}".lower().replace(" ", "-")
