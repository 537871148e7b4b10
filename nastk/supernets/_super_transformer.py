"""A SuperTransformer: one set of weights for all of HAT's translators, trained on sentence pairs.

Hardware-Aware Transformers (Wang et al., ACL 2020, Section 3.1) trains random networks of the space, one a step. Here a
step trains the largest, the smallest and random ones (the sandwich rule; Yu & Huang, ICCV 2019), and all widths are
divided, so that it takes seconds to minutes: a small stand-in, whose losses rank networks of these widths and not
those of the full ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from nastk.data.sentence_pairs import START, SentencePairs
from nastk.errors import InvalidValue
from nastk.spaces._hat_network import TeacherForced
from nastk.spaces.base import Archs
from nastk.spaces.hat import HAT
from nastk.supernets._sharing import SharedWeights

VALIDATED = 256
"""Most sentences that losses are computed on."""


class SuperTransformer:
    """Trains shared weights, and tells the loss of every network with them.

    Sentences are filled up to one length, and what fills them up is attended to, as by networks whose latency is
    measured.

    Args:
        space: of the networks.
        pairs: sentences and translations.
        steps: of the training.
        batch: sentences a step.
        random: random networks a step, beside the largest and the smallest.
        rate: of Adam, annealed to 0 by a cosine.
        shrink: by what all widths are divided; see :meth:`HAT.build`.
        held_out: share of the pairs for validation, of which :data:`VALIDATED` at most are used.
        seed: of split, weights, batches and networks.
        device: torch device.
        progress: called with (done, total) after each step.

    Attributes:
        training: mean loss of the largest network in the last tenth of the steps, nats a token.
        seconds, elapsed: processor time of the training, and time that passed.

    Raises:
        InvalidValue: an option out of range.
    """

    def __init__(
        self,
        space: HAT,
        pairs: SentencePairs,
        steps: int = 200,
        batch: int = 32,
        random: int = 1,
        rate: float = 3e-3,
        shrink: int = 16,
        held_out: float = 0.2,
        seed: int = 0,
        device: str = "cpu",
        progress: Callable[[int, int], None] | None = None,
    ):
        if steps < 1 or batch < 1 or random < 0 or rate <= 0 or not 0 < held_out < 1:
            raise InvalidValue(
                "a SuperTransformer needs at least 1 step, a batch of 1, a positive rate and a share of held-out pairs "
                "between 0 and 1"
            )
        self.space, self.steps, self.batch, self.random, self.rate = space, steps, batch, random, rate
        self.seed, self.device, self.progress = seed, torch.device(device), progress
        order = np.random.default_rng(seed).permutation(len(pairs))
        first = max(1, round(held_out * len(pairs)))
        self.validation = self._tensors(pairs, order[: min(first, VALIDATED)])
        self.learned = self._tensors(pairs, order[first:])
        # the number of tokens that are decoded changes no weight; two are enough to build by
        self.shared = SharedWeights(space, seed, self.device, vocabulary=pairs.vocabulary, length=2, shrink=shrink)
        sizes = np.asarray(space.sizes)
        self.largest, self.smallest = sizes - 1, np.zeros_like(sizes)
        self._trained = False

    def _tensors(self, pairs: SentencePairs, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        source, target = (torch.as_tensor(side[rows], device=self.device) for side in (pairs.source, pairs.target))
        return source, target

    def train(self) -> SuperTransformer:
        """Train, if it is not trained yet; returns itself."""
        if self._trained:
            return self
        started, began = time.process_time(), time.monotonic()
        rng = np.random.default_rng([self.seed, 1])
        self.shared.network(self.largest)  # which has all weights: they never grow while they are trained
        adam = torch.optim.Adam(self.shared.parameters(), self.rate, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self.steps)
        source, target = self.learned
        losses = []
        for step in range(self.steps):
            rows = torch.as_tensor(rng.integers(0, len(source), min(self.batch, len(source))))
            adam.zero_grad()
            for arch in (self.largest, self.smallest, *self.space.sample(self.random, rng)):
                loss = self._loss(arch, source[rows], target[rows])
                loss.backward()
                if arch is self.largest:
                    losses.append(loss.item())
            torch.nn.utils.clip_grad_norm_(self.shared.parameters(), 1.0)
            adam.step()
            schedule.step()
            if self.progress:
                self.progress(step + 1, self.steps)
        self.training = float(np.mean(losses[-max(1, self.steps // 10) :]))
        self.seconds, self.elapsed = time.process_time() - started, time.monotonic() - began
        self._trained = True
        return self

    @property
    def unshared(self) -> str:
        """In one line, what the networks do not share; once it is trained."""
        return self.shared.unshared_summary

    def state(self) -> dict[str, Tensor]:
        """The weights, by name, once it is trained; :meth:`restore` takes them back."""
        return {name: value.detach().cpu().contiguous() for name, value in self.shared.state_dict().items()}

    def restore(self, state: Mapping[str, Tensor], training: float, seconds: float, elapsed: float) -> SuperTransformer:
        """Take over weights and what is known of their training, in place of training; returns itself.

        Raises:
            RuntimeError: they are of other networks.
        """
        self.shared.network(self.largest)
        self.shared.load_state_dict(dict(state))
        self.training, self.seconds, self.elapsed, self._trained = training, seconds, elapsed, True
        return self

    @torch.no_grad()
    def loss(self, arch: Archs) -> float:
        """Validation loss of one network ``(d,)`` with the shared weights, nats a token; NaN if it is not finite."""
        self.train()
        source, target = self.validation
        found = self._loss(arch, source, target).item()
        return found if math.isfinite(found) else math.nan

    def _loss(self, arch: Archs, source: Tensor, target: Tensor) -> Tensor:
        arch = self.space.canonical(np.reshape(arch, (1, -1)))[0]
        network = TeacherForced(self.shared.network(arch))  # type: ignore[arg-type]
        weights = {f"network.{name}": weight for name, weight in self.shared.own_weights(arch).items()}
        logits = functional_call(network, weights, (source, target))
        return functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=START)
