"""Paths between backbones by rounds of trainings, and a linear model of what each path adds to the loss.

No gates: subsets of the paths are trained alone, side by side in one computation, and what they have in common is
learned by Bayesian ridge regression (MacKay, Neural Computation 1992), so that luck with one training counts little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nastk.data.images import ImageData
from nastk.errors import InvalidValue
from nastk.generators._mtl_candidates import Candidates
from nastk.spaces.base import Archs
from nastk.spaces.mtl_fusion import MTLFusion


class MTLRounds(Candidates):
    """Finds which paths of a space of fused backbones to open by training a few subsets of them in rounds.

    ::

        found = nastk.generators.MTLRounds(space, epochs=9).fit(data)   # see nastk.problems.MultiTask
        found.arch, found.effects
        network = found.network()

    The first round is drawn at random. Each next one has the architectures with the least loss that a linear model of
    their paths expects, fitted to all that were trained. The one with the least validation loss is taken.

    It costs ``sum(rounds) * repeats`` trainings; those of a round and a repeat run side by side.

    Args:
        space: the backbones and their paths, a space that can be enumerated.
        epochs, batch: of each training.
        rate, decay: learning rate and weight decay of AdamW, whose rate is annealed to 0 by a cosine.
        rounds: architectures of each.
        repeats: trainings of each, from other initial weights and with other batches, whose mean loss decides.
        seed: random seed of the first round, weights and batches.
        device: of the trainings.
        progress: called with (done, total) after each step.

    Attributes:
        effects: what each path adds to the loss by the model, ``(d,)``, after :meth:`fit`.
        candidates_: what was trained, ``(candidates, d)``, in the order of the rounds.
        losses_: their validation losses, ``(candidates, repeats)``.

    Raises:
        InvalidValue: a number that cannot be used.
        Unsupported: the space is too large to be enumerated.
    """

    effects: NDArray[np.float64]

    def __init__(
        self,
        space: MTLFusion,
        epochs: int = 10,
        batch: int = 32,
        rate: float = 1e-2,
        decay: float = 1e-2,
        rounds: Sequence[int] = (7, 6, 6),
        repeats: int = 2,
        seed: int = 0,
        device: str | torch.device = "cpu",
        progress: Callable[[int, int], None] | None = None,
    ):
        super().__init__(space, epochs, batch, rate, decay, repeats, seed, device, progress)
        self.rounds = tuple(rounds)
        if not self.rounds or min(self.rounds) < 1 or not 2 <= sum(self.rounds) <= space.size:
            raise InvalidValue(
                f"rounds are positive, and train 2 to {space.size} architectures of {space.name}; got {self.rounds}"
            )
        self._everything = space.enumerate()

    def fit(self, data: ImageData) -> MTLRounds:
        """Train on the training part and choose by the validation part; the test part is not looked at. Returns itself.

        Raises:
            InvalidValue: tasks that are not as many as the backbones; losses that are not finite.
        """
        self._begin(data, len(self.rounds) * self.repeats)
        for i, size in enumerate(self.rounds):
            self._train(self._expected_best(size) if i else self.space.sample(size, self.seed, unique=True), data)
            self._learn()
        return self

    def _learn(self) -> None:
        from sklearn.linear_model import BayesianRidge

        model = BayesianRidge().fit(self.candidates_, self.losses_.mean(axis=1))
        self.effects = np.asarray(model.coef_, dtype=np.float64)

    def _expected_best(self, n: int) -> Archs:
        expected = self._everything @ self.effects
        expected[self.space.index(self.candidates_)] = np.inf
        return self._everything[np.argsort(expected, kind="stable")[:n]]
