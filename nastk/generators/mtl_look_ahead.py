"""Paths between backbones by what they do to a whole training: the gradient of MTL-NAS's gates through it.

A gate of MTL-NAS (Gao et al., CVPR 2020, arXiv 2003.14058) learns how the loss changes with what passes it at the
weights of the moment. Here the validation loss at the end of a training is differentiated in the gates that were there
all the time, so that what an open path did to the weights is in the gradient: reverse-mode differentiation through the
steps of the optimiser (Maclaurin et al., arXiv 1502.03492; Franceschi et al., ICML 2017, arXiv 1703.01785, section 3.1,
whose states are kept, here without the graph of each step, which is computed again).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.data.images import ImageData, Part
from nastk.errors import InvalidValue
from nastk.generators._mtl_candidates import Candidates
from nastk.generators._mtl_together import Named, batches_of, side_by_side
from nastk.generators.mtl_nas import JUDGED_ON
from nastk.spaces.base import Archs
from nastk.spaces.mtl_fusion import MTLFusion

HALF = 0.5
"""Of a path: each gate during the training, as the gates of MTL-NAS begin."""
BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of AdamW, as in PyTorch."""
LEAST = 1e-14
"""Added to AdamW's mean of squares under the root, which has no derivative at 0."""


class _State(NamedTuple):
    """Of a training: weights, and AdamW's means of gradients and of their squares."""

    weights: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]

    @property
    def all(self) -> list[Tensor]:
        return [*self.weights, *self.means, *self.squares]

    @classmethod
    def of(cls, tensors: list[Tensor]) -> _State:
        third = len(tensors) // 3
        return cls(tensors[:third], tensors[third : 2 * third], tensors[2 * third :])


class MTLLookAhead(Candidates):
    """Finds which paths of a space of fused backbones to open by gradients through trainings, then by trainings.

    ::

        found = nastk.generators.MTLLookAhead(space, epochs=9).fit(data)   # see nastk.problems.MultiTask
        found.arch, found.effects
        network = found.network()

    Replicas of the network with all paths are trained with gates of one half, from different initial weights. The
    validation loss of each is differentiated in its gates through the whole training. The mean over the replicas is how
    much each path adds to the loss; the architectures with the least sums, of which the first opens the paths that
    lower it, are trained alone, and the one with the least validation loss is taken.

    The derivative at gates of one half is not the difference between open and closed: paths of small effects can have
    the wrong sign, and the candidates are neighbours. `nastk.generators.MTLRounds` found better ones at equal cost.

    It costs ``5 * replicas + candidates * repeats`` trainings, about: a step through which is differentiated costs
    another four, in arithmetic. Replicas and candidates are trained side by side, in one computation each. States of
    all steps are kept: memory for three times the weights a step and replica.

    Args:
        space: the backbones and their paths.
        epochs, batch: of each training.
        rate, decay: learning rate and weight decay of AdamW, whose rate is annealed to 0 by a cosine.
        replicas: whose gradients are averaged; weights drawn anew change them as much as paths differ.
        candidates: architectures that are trained.
        repeats: trainings of each, from other initial weights and with other batches, whose mean loss decides.
        seed: random seed of weights and batches.
        device: of the trainings.
        progress: called with (done, total) after each step, forward or backward.

    Attributes:
        effects_: of each path in each replica, ``(replicas, d)``: derivative of the validation loss in its gate.
        at_fixed_weights_: the part of it that MTL-NAS sees, ``(replicas, d)``: at the weights as they end.
        candidates_: what was trained, ``(candidates, d)``, from the least expected loss on.
        losses_: their validation losses, ``(candidates, repeats)``.

    Raises:
        InvalidValue: a number that cannot be used.
    """

    def __init__(
        self,
        space: MTLFusion,
        epochs: int = 10,
        batch: int = 32,
        rate: float = 1e-2,
        decay: float = 1e-2,
        replicas: int = 4,
        candidates: int = 9,
        repeats: int = 2,
        seed: int = 0,
        device: str | torch.device = "cpu",
        progress: Callable[[int, int], None] | None = None,
    ):
        super().__init__(space, epochs, batch, rate, decay, repeats, seed, device, progress)
        if not (replicas >= 1 and 1 <= candidates <= space.size):
            raise InvalidValue(
                f"needs a replica at least, and 1 to {space.size} candidates, the architectures of {space.name}; got "
                f"{replicas} and {candidates}"
            )
        self.replicas, self.candidates = replicas, candidates

    def fit(self, data: ImageData) -> MTLLookAhead:
        """Train on the training part and choose by the validation part; the test part is not looked at. Returns itself.

        Raises:
            InvalidValue: tasks that are not as many as the backbones; trainings whose losses or gradients are not
                finite.
        """
        self._begin(data, 2 + self.repeats)
        self._differentiate(data)
        if not np.isfinite(self.effects_).all():
            raise InvalidValue(f"gradients through the training are not finite: take a rate below {self.rate:g}")
        self._train(self.propose(self.candidates), data)
        return self

    # ---- gradients

    def _differentiate(self, data: ImageData) -> None:
        """Train the replicas, then go back through their steps with what the loss owes to each number of the state."""
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            networks = [
                self.space.supernet(in_channels=data.shape[0], input_size=data.shape[-1]).to(self.device).train()
                for _ in range(self.replicas)
            ]
        named, self._buffers, self._outputs = side_by_side(networks)
        self._names = list(named)
        gates = self._gates()
        training, validation = data.training.to(self.device), data.validation.to(self.device)
        batches = batches_of(len(training), self.epochs, self.batch, generator)
        rates = [self.rate * 0.5 * (1.0 + math.cos(math.pi * i / len(batches))) for i in range(len(batches))]
        weights = list(named.values())
        state = _State(weights, *([torch.zeros_like(w) for w in weights] for _ in range(2)))
        states = []
        for i, rows in enumerate(batches):
            states.append(state)
            state = _State.of([t.detach() for t in self._step(state, gates, i, rates[i], *training.batch(rows)).all])
            self._follow()
        owed, owed_to_gates = self._at_the_end(state, gates, validation)
        self.at_fixed_weights_ = owed_to_gates.cpu().double().numpy()
        for i in reversed(range(len(batches))):
            leaves = [t.requires_grad_() for t in states.pop().all]
            open_gates = gates.clone().requires_grad_()
            after = self._step(_State.of(leaves), open_gates, i, rates[i], *training.batch(batches[i]), graph=True)
            *owed, more = torch.autograd.grad(after.all, [*leaves, open_gates], owed)
            owed_to_gates = owed_to_gates + more
            self._follow()
        self.effects_ = owed_to_gates.cpu().double().numpy()
        del self._buffers, self._outputs

    def _gates(self) -> Tensor:
        """Of the replicas while they are trained, ``(replicas, d)``."""
        return torch.full((self.replicas, self.space.d), HALF, device=self.device)

    def _step(
        self, state: _State, gates: Tensor, i: int, rate: float, x: Tensor, y: Tensor, graph: bool = False
    ) -> _State:
        """The state after AdamW's step `i`, from 0."""
        if not graph:
            state = state._replace(weights=[w.detach().requires_grad_() for w in state.weights])
        slopes = torch.autograd.grad(self._loss(state.weights, gates, x, y), state.weights, create_graph=graph)
        means = [BETAS[0] * m + (1 - BETAS[0]) * g for m, g in zip(state.means, slopes, strict=True)]
        squares = [BETAS[1] * s + (1 - BETAS[1]) * g * g for s, g in zip(state.squares, slopes, strict=True)]
        of_means, of_squares = (1 - beta ** (i + 1) for beta in BETAS)
        weights = [
            w * (1 - rate * self.decay) - rate * (m / of_means) / ((s / of_squares + LEAST).sqrt() + EPSILON)
            for w, m, s in zip(state.weights, means, squares, strict=True)
        ]
        return _State(weights, means, squares)

    def _at_the_end(self, state: _State, gates: Tensor, part: Part) -> tuple[list[Tensor], Tensor]:
        """Gradients of the loss on a part in the state, and in the gates at fixed weights. Features are normalised by
        batches: running statistics would hold what earlier weights made of the images."""
        weights, gates = [w.detach().requires_grad_() for w in state.weights], gates.clone().requires_grad_()
        owed = [torch.zeros_like(t) for t in [*weights, gates]]
        for x, y in part.batches(JUDGED_ON):
            loss = self._loss(weights, gates, x, y) * (len(x) / len(part))
            owed = [a + b for a, b in zip(owed, torch.autograd.grad(loss, [*weights, gates]), strict=True)]
        *of_weights, of_gates = owed
        return [*of_weights, *(torch.zeros_like(t) for t in [*state.means, *state.squares])], of_gates

    def _loss(self, weights: list[Tensor], gates: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The sum over the replicas of their mean losses."""
        named: Named = dict(zip(self._names, weights, strict=True))
        outputs = self._outputs(named, self._buffers, gates, x.to(self.device))
        told = y.to(self.device).repeat(self.replicas, *[1] * (y.ndim - 1))
        return self.replicas * self.problem.loss(self.problem.read(outputs), told)

    # ---- trainings

    def propose(self, n: int) -> Archs:
        """The `n` architectures with the least sums of effects, ``(n, d)``, from the least on.

        Raises:
            InvalidValue: more than there are.
        """
        if not 1 <= n <= self.space.size:
            raise InvalidValue(f"proposes 1 to {self.space.size} architectures; got {n}")
        first = (self.effects < 0).astype(np.int64)
        rows = [first]
        for changed in least_sums(np.abs(self.effects)):
            if len(rows) == n:
                break
            row = first.copy()
            row[changed] = 1 - row[changed]
            rows.append(row)
        return np.stack(rows)

    # ---- what was found

    @property
    def effects(self) -> NDArray[np.float64]:
        """What each path adds to the loss, to first order, ``(d,)``: means over the replicas."""
        found: NDArray[np.float64] = self.effects_.mean(axis=0)
        return found


def least_sums(values: NDArray[np.float64]) -> Iterator[list[int]]:
    """Places of the values of each non-empty subset, by its sum, the least first. Values are not negative."""
    order = np.argsort(values, kind="stable").tolist()
    heap = [(float(values[order[0]]), [0])]  # each subset as ranks: the next ones have its last replaced, or one more
    while heap:
        total, ranks = heapq.heappop(heap)
        yield [order[rank] for rank in ranks]
        last = ranks[-1]
        if last + 1 < len(order):
            here, beyond = float(values[order[last]]), float(values[order[last + 1]])
            heapq.heappush(heap, (total + beyond, [*ranks, last + 1]))
            heapq.heappush(heap, (total - here + beyond, [*ranks[:-1], last + 1]))
