"""What the comparison of MODNAS asks of a space: objectives, devices, what is measured, and how a result is scored.

A :class:`Setting` says what is compared, a :class:`Case` holds what one seed of it knows and measures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.generators import Cost, Device
from nastk.oracles.base import Oracle
from nastk.oracles.goals import Goal
from nastk.predictors.base import Task
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting(ABC):
    """Objectives and devices of a comparison.

    Args:
        space, dataset: of a fetched table.
        objectives: texts for `Goal.parse`; those that need a device but name none are for each device in turn.
        train, unseen: the devices.
        labels: evaluations for predicting expensive objectives that do not depend on the device.
        source_samples: number of latencies of each training device.
        measurements: number of latencies of an unseen device, on the reference architectures.
        network: hypernetwork of the generator.
        evaluations: budget of the searches on a single device.
        rays: number of preferences.
        steps: of the generator's training.
        true_costs: whether generator and enumeration are also run with the true values in place of predictions.
        calculated: whether few-shot-gp also uses calculated latencies; see `FewShotGP`.
    """

    space: str
    dataset: str | None
    objectives: tuple[str, ...]
    train: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    labels: int = 100
    source_samples: int = 900
    measurements: int = 10
    network: str = "bank"
    evaluations: tuple[int, ...] = (10, 24, 50)
    rays: int = 24
    steps: int = 1500
    true_costs: bool = True
    calculated: bool = True

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The objectives, without the devices in turn."""
        return tuple(Goal.parse(text) for text in self.objectives)

    def with_pairs(self, source: str, target: str) -> Setting:
        """The same with sentence pairs.

        Raises:
            InvalidValue: nothing of this space is trained on sentences.
        """
        raise InvalidValue(f"sentence pairs are for translators: --pairs goes with --space hat, not {self.space}")

    @property
    def mixed(self) -> str:
        """What every output and figure says where objectives are of different networks; else empty."""
        return ""

    @property
    def note(self) -> str:
        """What every output says of the values; empty where they are all measured."""
        return self.mixed

    @property
    def scaled_over(self) -> str:
        """What has the costs by which those of results are scaled."""
        return "the table"

    def called(self, method: str) -> str:
        """The name of a method in outputs."""
        return method

    @property
    def best(self) -> str:
        """What the front is that all others are compared with."""
        return "best of the table"

    @abstractmethod
    def open(self) -> list[Goal]:
        """Objectives for each device in turn."""

    @abstractmethod
    def devices(self) -> list[str]:
        """Devices of the results, those to train on first; a single name if no objective depends on one in turn."""

    @abstractmethod
    def check(self) -> None:
        """Refuse objectives and devices that there are not.

        Raises:
            UnknownName: no such metric or device.
            InvalidValue: not enough architectures, or an objective that this comparison does not take.
        """

    @abstractmethod
    def needs_labels(self) -> bool:
        """Whether an objective that does not depend on the device is expensive."""

    @abstractmethod
    def case(self, seed: int) -> Case:
        """What one seed knows and measures."""


class Case(ABC):
    """Costs of one seed: true ones, and their predictions.

    Attributes:
        space: where generator and searches look.
        whole: the space of the latency predictors.
        trained: names of the devices that the generator is trained on.
    """

    space: SearchSpace
    whole: SearchSpace

    def __init__(self, setting: Setting, seed: int):
        self.setting, self.seed = setting, seed
        self.goals, self.open = setting.goals, setting.open()
        self.names = [f"{i} {goal}" for i, goal in enumerate(self.goals)]
        self.trained: Sequence[str] = setting.train if self.open else setting.devices()
        self._few: FewShotGP | None = None
        self._references: Archs | None = None

    def draw(self, what: str) -> np.random.Generator:
        """A separate random generator for each purpose."""
        return np.random.default_rng([crc32(what.encode()), self.seed])

    def placed(self, goal: Goal, device: str) -> Goal:
        """An objective on a device."""
        return replace(goal, device=device) if goal in self.open else goal

    # ---- what the searches and the scores use

    @abstractmethod
    def oracle(self, goal: Goal, device: str) -> Oracle:
        """The values by which results are judged, of an objective on a device."""

    @abstractmethod
    def random(self, n: int, device: str) -> Archs:
        """Random architectures of a device's problem, all different."""

    @abstractmethod
    def points(self, archs: Archs, device: str) -> Array:
        """Costs scaled to [0, 1] of the different networks among `archs`, ``(k, m)``; NaN rows do not count."""

    @abstractmethod
    def front(self, device: str) -> Array:
        """The best known front, as :meth:`points`."""

    @abstractmethod
    def enumerated(self, costs: Sequence[Cost]) -> Archs:
        """The architectures that are compared by these costs in place of a search."""

    # ---- predictors

    @abstractmethod
    def source_tasks(self, goal: Goal) -> list[Task]:
        """Measurements on the devices to train on."""

    @abstractmethod
    def measured(self, goal: Goal, device: str) -> Array:
        """Values of the reference architectures on a device, ``(k,)``."""

    @abstractmethod
    def learned(self, goal: Goal) -> Any:
        """A predictor of an objective that does not depend on the device; the oracle itself if it is free."""

    @abstractmethod
    def source_costs(self, few: FewShotGP) -> Mapping[str, Any]:
        """Predicted costs of the devices to train on."""

    def can_measure(self) -> Archs | None:
        """Among which architectures the references are; None for the whole space."""
        return None

    def references(self) -> Archs:
        """Architectures to measure on an unseen device."""
        if self._references is None:
            few = self.few_shot(self.open[0]) if self.open else self.new_few_shot()
            seed = int(self.draw("references").integers(2**31))
            self._references = few.choose(
                self.setting.measurements, self.whole, candidates=self.can_measure(), seed=seed
            )
        return self._references

    def new_few_shot(self) -> FewShotGP:
        """few-shot-gp that has learned nothing."""
        return FewShotGP(calculated=self.setting.calculated)

    def few_shot(self, goal: Goal) -> FewShotGP:
        """few-shot-gp, pretrained on the source devices' samples."""
        if self._few is None:
            self._few = self.new_few_shot().pretrain(self.source_tasks(goal))
        return self._few

    def adapted(self, goal: Goal, values: Array, device: str) -> Any:
        """The predictor of an unseen device, of its values on the references."""
        known = np.isfinite(values)
        unit = self.oracle(goal, device).unit
        task = Task(self.whole, self.references()[known], values[known], goal.metric, unit, device=device)
        return self.few_shot(goal).adapt(task)

    def devices(self, predicted: bool) -> dict[str, Device]:
        """Devices with true values, or with predictions, of the objectives that depend on the device."""
        if not self.open:
            return {device: Device("") for device in self.setting.devices()}
        known: Mapping[str, Any] = self.source_costs(self.few_shot(self.open[0])) if predicted else {}
        found = {}
        for device in self.setting.devices():
            costs: dict[str, Any] = {}
            references: dict[str, Array] = {}
            for name, goal in zip(self.names, self.goals, strict=True):
                if goal not in self.open:
                    continue
                references[name] = self.measured(goal, device)
                if not predicted:
                    costs[name] = self.oracle(goal, device)
                elif device in known:
                    costs[name] = known[device]
                else:
                    costs[name] = self.adapted(goal, references[name], device)
            found[device] = Device(device, costs, references)
        return found

    def shared(self, predicted: bool) -> dict[str, Any]:
        """Objectives of the generator."""
        found: dict[str, Any] = {}
        for name, goal in zip(self.names, self.goals, strict=True):
            if goal in self.open:
                found[name] = None
            else:
                found[name] = self.learned(goal) if predicted else self.oracle(goal, "")
        return found
