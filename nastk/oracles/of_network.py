"""An oracle of networks in a space that also chooses their precision: the value is the same in each of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from nastk.evaluation import Kind
from nastk.oracles.base import Evaluation, Oracle
from nastk.spaces.base import Archs
from nastk.spaces.precisions import MARK, WithPrecision


class OfNetwork(Oracle):
    """A metric that is asked of the network alone, such as a table's accuracy, a count or a training.

    An accuracy is then that of float32, also for rows that run in int8: what quantisation costs is not in it, and its
    source says so.

    Args:
        oracle: of the networks' own space.
        space: of networks and precisions.
    """

    space: WithPrecision

    def __init__(self, oracle: Oracle, space: WithPrecision):
        self.oracle, self.space = oracle, space
        self.name, self.unit, self.direction = oracle.name, oracle.unit, oracle.direction
        self.expensive, self.together = oracle.expensive, oracle.together
        self.per_network = True  # of one network all precisions have the same value, which is evaluated once
        self.fidelities, self.fidelity = oracle.fidelities, oracle.fidelity
        self.dataset, self.device = oracle.dataset, oracle.device
        self.needs_folder, self.handles_retries = oracle.needs_folder, oracle.handles_retries
        self.exclusive, self.noisy = oracle.exclusive, oracle.noisy
        exact = oracle.kind == "computed"
        self.source = oracle.source if exact else f"{oracle.source}, of float32 whatever the precision"

    @property
    def study_folder(self) -> str:  # of the networks, which have no precision
        return self.oracle.study_folder

    @study_folder.setter
    def study_folder(self, folder: str) -> None:
        self.oracle.study_folder = folder

    @property
    def seeded(self) -> bool:
        return self.oracle.seeded

    @property
    def call(self) -> Any:
        return self.oracle.call

    @property
    def reasons(self) -> dict[str, str]:
        """Why networks failed, by the texts of their rows in each precision."""
        found: dict[str, str] = getattr(self.oracle, "reasons", {})
        return {f"{text}{MARK}{p}": why for text, why in found.items() for p in self.space.precisions}

    @property
    def kind(self) -> Kind:
        return self.oracle.kind

    def keys(self, archs: Archs) -> list[Hashable]:
        networks = self.space.network_of(archs)
        return self.oracle.keys(networks) if self.oracle.per_network else [row.tobytes() for row in networks]

    def describe(self) -> dict[str, Any]:
        return self.oracle.describe()

    def identity(self) -> dict[str, Any]:
        return self.oracle.identity()

    def files_identity(self) -> dict[str, Any]:
        return self.oracle.files_identity()

    def source_code(self) -> Any:
        return self.oracle.source_code()

    def search_proxies(self) -> Any:
        return self.oracle.search_proxies()

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        return self.oracle.evaluate(self.space.network_of(archs), fidelity)
