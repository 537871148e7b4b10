"""Whether a supernet pays in a search: fronts at equal total cost, with its training and its answers counted in
trainings.

Every network of a pool is trained once, on few images so that networks differ; that is the table in which searchers
look accuracies up. They see those on validation images, and are judged by those of the same networks on test images,
against parameters. A searcher with a supernet has its budget less what its training, and the networks that it judged,
took in units of the pool's mean training.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nastk.data.images import ImageData, Part
from nastk.errors import DataError, InvalidValue
from nastk.files import write_text
from nastk.metrics import hypervolume, mean_ci, nondominated, paired, spearman
from nastk.oracles._trainer import Job, Recipe, fingerprint, train
from nastk.oracles.base import Evaluation, Oracle, lower_values
from nastk.oracles.counts import Count
from nastk.parallel import one_thread
from nastk.spaces._choices import choice
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.factory import space_of

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]

TRAINING, VALIDATION = 100, 500
"""Images of the splits; the rest of the digits is the test part. Hundreds more to train on, and all networks are alike:
their rank correlation from seed to seed falls below .8."""

EPOCHS, BRIEF = 100, 20
"""Epochs of a training, and of a short one for multi-fidelity searchers."""

POOL = 150
"""Networks that are trained for the table."""

REPEATED = 30
"""Networks that are trained with a second seed, which says how well the table ranks."""

FILE = "trainings.jsonl"
"""File of the finished trainings, in the folder of the benchmark."""


class DigitsNet(nn.Module):
    """One to four convolutions of four widths and two kernels: 4,680 networks for images of 8 x 8."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        channels, layers = 1, []
        for i in range(choice("depth", [1, 2, 3, 4])):
            width = choice(f"width {i}", [4, 8, 16, 32])
            kernel = choice(f"kernel {i}", [3, 5])
            layers += [nn.Conv2d(channels, width, kernel, padding="same"), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.body(x))
        return found


def few_digits(training: int = TRAINING, validation: int = VALIDATION) -> ImageData:
    """Scikit-learn's digits with few images to train on, and many to judge by."""
    from sklearn.datasets import load_digits

    pixels, numbers = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    images, labels = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)[order], torch.tensor(numbers)[order]
    images = (images - images[:training].mean()) / images[:training].std()
    ends = np.cumsum([0, training, validation, len(images) - training - validation])
    parts = [Part.of(images[a:b], labels[a:b]) for a, b in zip(ends, ends[1:], strict=False)]
    known_as = fingerprint("digits", training, validation)
    return ImageData(f"{training} digits", *parts, tuple("0123456789"), (1, 8, 8), known_as)


@dataclass(frozen=True)
class Trained:
    """One training of one network.

    Args:
        validation: accuracy after some epochs, %, by epoch.
        test: accuracy in the end, %.
        seconds: processor time.
    """

    validation: dict[int, float]
    test: float
    seconds: float


class Trainings:
    """Trainings that are kept in a file as they end.

    Args:
        folder: of the file.
        data, epochs, brief: of the trainings.

    Raises:
        DataError: the file holds something else.
    """

    def __init__(self, folder: Path, data: ImageData, epochs: int = EPOCHS, brief: int = BRIEF):
        self.file, self.data, self.epochs, self.brief = folder / FILE, data, epochs, brief
        self.space = space_of(DigitsNet)
        self.known_as = fingerprint(self.space.identity(), data.identity, epochs, brief)
        self._known: dict[tuple[str, int], Trained] = {}
        if self.file.exists():
            for number, line in enumerate(self.file.read_text(encoding="utf-8").splitlines(), 1):
                self._take(line, number)

    def _take(self, line: str, number: int) -> None:
        try:
            row = json.loads(line)
            validation = {int(epoch): float(value) for epoch, value in row["validation"].items()}
            key, of = (str(row["arch"]), int(row["seed"])), row["of"]
            found = Trained(validation, float(row["test"]), float(row["seconds"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{self.file}, line {number}: is no training ({error}); remove it") from error
        if of == self.known_as:
            self._known[key] = found

    def get(self, arch: Archs, seed: int) -> Trained:
        """The training of an architecture ``(d,)``, which begins unless it is known."""
        key = self.space.format(arch), seed
        if key not in self._known:
            recipe = Recipe(self.epochs)
            evaluated = {"validation": self.data.validation, "test": self.data.test}
            at = (self.brief, self.epochs)
            job = Job(self.space, arch, {}, self.data.training, evaluated, 10, recipe, seed, "cpu", at)
            done = train(job)
            validation = {epoch: 100.0 - found["validation"] for epoch, found in done.errors.items()}
            self._known[key] = Trained(validation, 100.0 - done.errors[self.epochs]["test"], done.seconds)
            self._write(key, self._known[key])
        return self._known[key]

    def _write(self, key: tuple[str, int], found: Trained) -> None:
        row = {"of": self.known_as, "arch": key[0], "seed": key[1], **vars(found)}
        before = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
        write_text(self.file, f"{before}{json.dumps(row)}\n")
