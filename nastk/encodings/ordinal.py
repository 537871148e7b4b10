"""ordinal: choices among numbers (kernels, widths, depths) as the logarithm of the number, all others one-hot."""

from __future__ import annotations

import re

import numpy as np
from scipy.linalg import block_diag

from nastk.encodings._linear import Linear
from nastk.encodings.base import Context, Features
from nastk.spaces.base import Archs, Choice, SearchSpace

_NUMBER = re.compile(r"([A-Za-z_]*)(\d+(?:\.\d+)?)")
"""An option that is a number, perhaps after a word: "5", "0.75", "k5"."""


class Ordinal(Linear):
    """One column for the numbers of a choice, and one for each option that is no number, ``(n, k)``.

    A predictor that has seen kernels of 3 and 7 knows from it that 5 lies between, which the one-hot `vec` hides:
    there is one weight for a choice to learn, not one for each option. Numbers are a choice's options that differ in
    nothing else ("k3", "k5", "k7"), at least two; their column is ``log(1 + number)``, for what widths and depths do
    goes by ratios. An option beside them ("none", "k3", "k5") has their mean there, and a column of its own.

    A linear function of the one-hot choices.
    """

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Ordinal:
        self.space_ = space
        blocks = [columns_of(choice) for choice in space.choices]
        self.names_ = [
            choice.name + (f"={option}" if option else "")
            for choice, (_, options) in zip(space.choices, blocks, strict=True)
            for option in options
        ]
        self.matrix_ = block_diag(*[block for block, _ in blocks])
        return self


def has_numbers(space: SearchSpace) -> bool:
    """Whether a choice of the space is between numbers; if none is, `ordinal` is the one-hot `vec`."""
    return any(np.isfinite(_numbers(choice)).any() for choice in space.choices)


def columns_of(choice: Choice) -> tuple[Features, list[str]]:
    """Columns of a choice, ``(options, k)``, and the option that each tells; "" for the one of its numbers, which comes
    first."""
    numbers = np.log1p(_numbers(choice))
    others = np.flatnonzero(np.isnan(numbers))
    block, names = np.eye(len(choice))[:, others], [choice.options[i] for i in others]
    if len(others) == len(choice):
        return block, names
    return np.column_stack([np.where(np.isnan(numbers), np.nanmean(numbers), numbers), block]), ["", *names]


def _numbers(choice: Choice) -> Features:
    """The numbers that a choice is between, NaN for an option that is none of them; all NaN if there are not two."""
    found = [_NUMBER.fullmatch(option) for option in choice.options]
    words = [match[1] for match in found if match]
    word = max(words, key=words.count, default="")
    numbers = np.array([float(match[2]) if match and match[1] == word else np.nan for match in found])
    return numbers if len(np.unique(numbers[np.isfinite(numbers)])) > 1 else np.full(len(numbers), np.nan)
