"""MTL-NAS (Gao et al., CVPR 2020, arXiv 2003.14058): paths between backbones found in one training, by gates.

Each path has a gate, drawn from a relaxed Bernoulli distribution that is learned. Weights and gates are trained in
turns, on halves of the training part. The draws become harder with a temperature that falls, and their probabilities
are driven to 0 or 1 by a minimum-entropy term that grows, so that the network that is left has nothing to learn anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nastk.data.images import ImageData, Part
from nastk.errors import InvalidValue
from nastk.evaluation import reason_of
from nastk.problems import Problem
from nastk.relaxation.entropy import entropies
from nastk.spaces.base import Archs
from nastk.spaces.mtl_fusion import MTLFusion

COLDEST = 0.05
"""Least temperature: the paper's falls to 0, where the draws have no gradient."""
JUDGED_ON = 500
"""Images at once where nothing is learned."""


class MTLNAS:
    """Finds which paths of a space of fused backbones to open, in the time of two trainings.

    ::

        found = nastk.generators.MTLNAS(space).fit(data)   # data for several tasks, see nastk.problems.MultiTask
        found.arch, found.probabilities
        network = found.network()                          # as trained: not trained again

    The paper begins with trained single-task backbones; here the first `warmup` of the steps trains them, with all
    paths closed. Then each step of the weights follows a step of the gates. Both have as many images, from halves of
    the training part that are drawn anew in every epoch.

    A gate learns how the loss changes with what passes it at the weights of the moment, and not what an open path does
    to the weights: a task that reads another's features trains their backbone, too, which can harm that other task.
    Search several times, train what is found, and compare it with no paths and all of them; or pay for some tens of
    trainings: `nastk.generators.MTLRounds`, or with gradients through them, `nastk.generators.MTLLookAhead`.

    Args:
        space: the backbones and their paths.
        steps: of the weights.
        warmup: share of them before the gates are opened.
        batch: images of a step, about.
        rate, decay: learning rate and weight decay of the weights' AdamW, whose rate is annealed to 0 by a cosine. The
            paper's is SGD.
        gate_rate, gate_decay: of the gates' Adam. The paper's rate is 0.003, in 10,000 steps and more.
        entropy: greatest weight of the entropy (the mean over paths, nats), which grows linearly from 0 after the
            warm-up; the paper's. 0 leaves it out.
        power: of the temperature's fall from 1: ``(1 - share of the search) ** power``; the paper's.
        stochastic: draw the gates; otherwise they are their probabilities, at that temperature.
        seed: random seed of weights, gates and batches.
        device: of the training.
        progress: called with (done, total) after each step of the weights.
        build_options: of `SearchSpace.supernet`; by default those of the data.

    Attributes:
        logits_: of the gates, ``(d,)``, after :meth:`fit`.
        supernet_: the network with all paths, after :meth:`fit`.
        curve_: probabilities of the gates, ``(epochs, d)``, after each epoch of the search.

    Raises:
        InvalidValue: a number that cannot be used.
    """

    def __init__(
        self,
        space: MTLFusion,
        steps: int = 300,
        warmup: float = 0.1,
        batch: int = 32,
        rate: float = 3e-3,
        decay: float = 1e-2,
        gate_rate: float = 0.03,
        gate_decay: float = 1e-3,
        entropy: float = 10.0,
        power: float = 2.0,
        stochastic: bool = True,
        seed: int = 0,
        device: str | torch.device = "cpu",
        progress: Callable[[int, int], None] | None = None,
        **build_options: Any,
    ):
        if steps < 2 or batch < 2 or not 0 <= warmup < 1:
            raise InvalidValue(
                "needs 2 steps or more, 2 images a step and a warm-up of 0 to below 1; got "
                f"{steps}, {batch} and {warmup}"
            )
        for name, value in {"rate": rate, "gate_rate": gate_rate, "entropy": entropy, "power": power}.items():
            if not (math.isfinite(value) and value >= 0) or (value == 0 and name.endswith("rate")):
                raise InvalidValue(f"{name} is a positive number, of entropy and power also 0; got {value}")
        self.space, self.steps, self.warmup, self.batch, self.rate, self.decay = (
            space, steps, warmup, batch, rate, decay
        )  # fmt: skip
        self.gate_rate, self.gate_decay, self.entropy, self.power = gate_rate, gate_decay, entropy, power
        self.stochastic, self.seed, self.device, self.progress = stochastic, seed, torch.device(device), progress
        self.build_options = build_options

    def fit(self, data: ImageData) -> MTLNAS:
        """Train gates and weights on the training part; the other parts are not looked at. Returns itself.

        Raises:
            InvalidValue: fewer than 4 images, or tasks that are not as many as the backbones.
        """
        if len(data.training) < 4:
            raise InvalidValue(f"MTL-NAS halves the training part, and needs 4 images; {data.name} has fewer")
        check_tasks(self.space, data)
        self.problem = data.problem
        if not self.build_options:
            self.build_options = {"in_channels": data.shape[0], "input_size": data.shape[-1]}
        self._begin()
        training = data.training.to(self.device)
        resting = round(self.warmup * self.steps)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._weights, self.steps)
        snapshots, waiting = [], list[tuple[Tensor, Tensor]]()
        for step in range(self.steps):
            if not waiting:
                if step > resting:
                    snapshots.append(self.probabilities)
                waiting = self._halves(len(training))
            gates, weights = waiting.pop()
            share = (step - resting) / (self.steps - resting)
            if step >= resting:
                self._gate_step(*training.batch(gates), share)
            self._weight_step(*training.batch(weights), max(share, 0.0), closed=step < resting)
            schedule.step()
            if self.progress is not None:
                self.progress(step + 1, self.steps)
        self.curve_ = np.stack([*snapshots, self.probabilities])
        self.supernet_.eval()
        return self

    def _begin(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.supernet_ = self.space.supernet(**self.build_options).to(self.device).train()
        self.logits_ = torch.zeros(self.space.d, requires_grad=True)
        self._weights = torch.optim.AdamW(self.supernet_.parameters(), self.rate, weight_decay=self.decay)
        self._gates = torch.optim.Adam([self.logits_], self.gate_rate, weight_decay=self.gate_decay)

    def _halves(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """Batches of one half for the gates, and of the other for the weights, in a new random order."""
        order = torch.randperm(count, generator=self._generator)
        parts = max(round(count / (2 * self.batch)), 1)
        one, two = order[: count // 2], order[count // 2 :]
        return list(zip(one.tensor_split(parts), two.tensor_split(parts), strict=True))

    # ---- steps

    def _draw(self, share: float) -> Tensor:
        """Gates ``(d,)`` from 0 to 1, differentiable in the logits, when this share of the search is done."""
        temperature = max((1.0 - share) ** self.power, COLDEST)
        noise: Tensor | float = 0.0
        if self.stochastic:
            noise = torch.logit(torch.rand(self.space.d, generator=self._generator), eps=1e-6)
        return torch.sigmoid((self.logits_ + noise) / temperature)

    def _loss(self, x: Tensor, y: Tensor, gates: Tensor | list[int]) -> Tensor:
        gates = gates.to(self.device) if isinstance(gates, Tensor) else gates
        returned = self.supernet_.gated(x.to(self.device), gates)
        return self.problem.loss(self.problem.read(returned), y.to(self.device)).cpu()

    def _gate_step(self, x: Tensor, y: Tensor, share: float) -> None:
        self.supernet_.requires_grad_(False)
        self._gates.zero_grad()
        loss = self._loss(x, y, self._draw(share))
        if self.entropy:
            loss = loss + self.entropy * share * entropies(pair_of(self.logits_), [2] * self.space.d).mean()
        loss.backward()
        self._gates.step()
        self.supernet_.requires_grad_(True)

    def _weight_step(self, x: Tensor, y: Tensor, share: float, closed: bool) -> None:
        gates = [0] * self.space.d if closed else self._draw(share).detach()
        self._weights.zero_grad()
        self._loss(x, y, gates).backward()
        self._weights.step()

    # ---- what was found

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of each gate to be open, ``(d,)``."""
        found: NDArray[np.float64] = self.logits_.detach().double().sigmoid().numpy()
        return found

    @property
    def arch(self) -> Archs:
        """The paths that are open with a probability above one half, ``(d,)``."""
        return (self.logits_ > 0).long().numpy()

    def network(self) -> nn.Module:
        """The network of :attr:`arch` with the weights that it was searched with, in evaluation mode."""
        network = self.space.build(self.arch, **self.build_options)
        return self.supernet_.hand_over(network).to(self.device).eval()

    @torch.no_grad()
    def gap(self, part: Part) -> tuple[float, float]:
        """Loss on a part of the data of the network with the gates' probabilities in their place, as the search ends,
        and of :meth:`network`."""
        gates = self.logits_.detach().sigmoid().to(self.device)
        searched = loss_on(part, self.problem, lambda x: self.supernet_.gated(x, gates), self.device)
        return searched, loss_on(part, self.problem, self.network(), self.device)


@torch.no_grad()
def loss_on(part: Part, problem: Problem, network: Callable[[Tensor], Any], device: torch.device) -> float:
    """Mean loss on a part of the data of what a network returns."""
    totals = [
        float(problem.total(problem.read(network(x.to(device))), y.to(device))) for x, y in part.batches(JUDGED_ON)
    ]
    return sum(totals) / len(part)


def check_tasks(space: MTLFusion, data: ImageData) -> None:
    """Raise an `InvalidValue` if the data are not for tasks that the backbones of the space have the outputs for."""
    told = len(getattr(data.problem, "tasks", ()))
    if told != len(space.outputs):
        raise InvalidValue(
            f"the space {space.name} has {len(space.outputs)} backbones, and {data.name} is for {told or 'no'} tasks: "
            "give data for a nastk.problems.MultiTask of as many"
        )
    for _, y in data.training.batches(JUDGED_ON):
        outputs = tuple(torch.zeros(len(y), count) for count in space.outputs)
        try:
            data.problem.loss(data.problem.read(outputs), y)
        except (IndexError, RuntimeError, ValueError) as error:
            raise InvalidValue(
                f"backbones of {space.outputs} outputs do not fit the tasks of {data.name} ({reason_of(error)}): a "
                "backbone gives one output for each class, or one number"
            ) from error


def pair_of(logits: Tensor) -> Tensor:
    """Logits ``(2 * d,)`` of a gate's two options, of those ``(d,)`` of its being open."""
    return functional.pad(logits[:, None], (1, 0)).flatten()
