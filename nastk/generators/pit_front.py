"""A front by PIT: one seed network is trained, and pruned at several strengths of the cost; fine-tuning of each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nastk.data.images import ImageData, Part
from nastk.errors import InvalidValue
from nastk.generators.pit import PIT, CostFunction
from nastk.oracles._trainer import error_of
from nastk.oracles.counts import count_network
from nastk.outputs import Logits

EXAMPLES = 2
"""Training series or images with which the network's graph is read."""


@dataclass(frozen=True)
class Phases:
    """Steps of Adam in each phase, and how they are taken; learning rates are annealed to 0 by a cosine but in the
    search.

    Args:
        warmup: steps of the seed's training.
        search: steps with masks.
        finetune: steps of the exported network.
        batch: examples a step, about.
        rate, decay: learning rate and weight decay of the weights.
        mask_rate: learning rate of the masks, which fall from 1 to below 0.5.

    Raises:
        InvalidValue: a number that cannot be used.
    """

    warmup: int = 200
    search: int = 300
    finetune: int = 150
    batch: int = 32
    rate: float = 2e-3
    decay: float = 1e-3
    mask_rate: float = 1e-2

    def __post_init__(self) -> None:
        if min(self.warmup, self.search, self.finetune) < 1 or self.batch < 2:
            raise InvalidValue(f"phases have 1 step or more, and batches 2 examples or more; got {self}")
        if min(self.rate, self.mask_rate) <= 0 or self.decay < 0:
            raise InvalidValue(f"learning rates are positive and the decay is not negative; got {self}")


@dataclass(frozen=True)
class Pruned:
    """A network of the front, in evaluation mode.

    Args:
        network: fine-tuned.
        strength: of the cost; 0 of the seed, NaN where there were limits.
        validation: the problem's metric on the validation part.
        costs: its parameters and multiply-adds, and the other costs.
        layers: what is left of each, see :meth:`PIT.summary`.
        forced: channels and taps that were removed after the search, as it had not met its limits.
    """

    network: nn.Module
    strength: float
    validation: float
    costs: dict[str, float]
    layers: list[dict[str, Any]]
    forced: int = 0


class PITFront:
    """A seed network and what PIT makes of it.

    Args:
        network: the seed, untrained; it is copied.
        data: what it is trained for, and on; the test part is not looked at.
        phases: how long.
        cost, costs: see :class:`nastk.generators.PIT`.
        seed: of batches; the initial weights are the network's.
        device: of the training.
        progress: called with (steps done, steps in all) of a :meth:`run`.

    Attributes:
        seed_network: trained, after :meth:`warm_up`, which :meth:`run` and :meth:`within` call first.
    """

    def __init__(
        self,
        network: nn.Module,
        data: ImageData,
        phases: Phases | None = None,
        cost: str = "params",
        costs: Mapping[str, CostFunction] | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        progress: Callable[[int, int], None] | None = None,
    ):
        self.network, self.data, self.phases = network, data, phases or Phases()
        self.cost, self.costs, self.seed, self.progress = cost, dict(costs or {}), seed, progress
        self.device = torch.device(device)
        self.seed_network: nn.Module | None = None
        self._training = data.training.to(self.device)
        self._done, self._total = 0, 0

    # ---- what is asked

    def run(self, strengths: Sequence[float]) -> list[Pruned]:
        """The seed and the networks that these strengths of the cost leave, in their order."""
        self._begin(len(strengths))
        seed = self.warm_up()
        found = [self._judged(seed, 0.0, [])]
        return found + [self._prune(strength=strength) for strength in strengths]

    def within(self, limits: Mapping[str, float]) -> Pruned:
        """The network that limits of costs, by name, leave: one run for all of them (DUCCIO, arXiv 2310.07217)."""
        self._begin(1)
        self.warm_up()
        return self._prune(limits=limits)

    def metric(self, network: nn.Module, part: Part) -> float:
        """The problem's metric of a network on a part of the data."""
        problem = self.data.problem
        return problem.value(error_of(network.eval(), part, Logits(), self.device, problem))

    # ---- phases

    def _begin(self, searches: int) -> None:
        p = self.phases
        self._done = 0
        self._total = searches * (p.search + p.finetune) + (p.warmup if self.seed_network is None else 0)

    def warm_up(self) -> nn.Module:
        """The seed, trained; once."""
        if self.seed_network is None:
            network = copy.deepcopy(self.network).to(self.device)
            self._train(network, [{"params": list(network.parameters())}], self.phases.warmup, 0)
            self.seed_network = network.eval()
        return self.seed_network

    def _prune(self, strength: float = float("nan"), limits: Mapping[str, float] | None = None) -> Pruned:
        example = self._training.some(EXAMPLES)
        options: dict[str, Any] = {"limits": limits, "steps": self.phases.search} if limits else {"strength": strength}
        search = PIT(self.warm_up(), example, self.cost, costs=self.costs, **options)
        groups = search.parameter_groups(self.phases.rate, self.phases.mask_rate, self.phases.decay)
        self._train(search, groups, self.phases.search, 1, search.cost_term)
        forced = search.meet_limits()
        small = search.export()
        self._train(small, [{"params": list(small.parameters())}], self.phases.finetune, 2)
        with torch.no_grad():
            costs = {name: float(value) for name, value in search.costs().items()}
        return self._judged(small, strength, search.summary(), costs, forced)

    def _judged(
        self,
        network: nn.Module,
        strength: float,
        layers: list[dict[str, Any]],
        costs: Mapping[str, float] | None = None,
        forced: int = 0,
    ) -> Pruned:
        counted = count_network(network, self._training.some(1))
        known = {**(costs or {}), **{name: float(value) for name, value in counted.items()}}
        return Pruned(network.eval(), strength, self.metric(network, self.data.validation), known, layers, forced)

    def _train(
        self,
        network: nn.Module,
        groups: list[dict[str, Any]],
        steps: int,
        phase: int,
        extra: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        p, problem = self.phases, self.data.problem
        optimiser = torch.optim.AdamW(groups, p.rate, weight_decay=p.decay)
        schedule = None if extra else torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        generator = torch.Generator().manual_seed(self.seed * 3 + phase)
        network.train()
        order: list[Tensor] = []
        for _ in range(steps):
            if not order:
                count = len(self._training)
                order = list(torch.randperm(count, generator=generator).tensor_split(max(round(count / p.batch), 1)))
            x, y = self._training.batch(order.pop())
            optimiser.zero_grad()
            loss = problem.loss(problem.read(network(x.to(self.device))), y.to(self.device))
            if extra is not None:
                loss = loss + extra(loss.detach())
            loss.backward()
            optimiser.step()
            if schedule is not None:
                schedule.step()
            self._done += 1
            if self.progress is not None:
                self.progress(self._done, self._total)
        network.eval()
