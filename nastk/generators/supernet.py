"""A hypernetwork and a supernet trained alternately (MODNAS, Sukthanker et al., arXiv 2402.18213, Algorithm 1).

A step of the hypernetwork on validation images, with the error through the supernet's shared weights and the latency of
frozen predictors, then a step of those weights on training images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nastk import problems
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.generators import discretisers, hypernetworks, scalarisations
from nastk.generators._entropy import entropies
from nastk.generators.device_gradients import COMBINATIONS, descend
from nastk.generators.discretisers import Discretiser, Exact
from nastk.generators.normalisation import Normalisation
from nastk.generators.preferences import dirichlet
from nastk.generators.scalarisations import Scalarisation
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]
Images = tuple[Tensor, Tensor]
"""Pictures ``(n, channels, size, size)`` and labels ``(n,)``."""


@dataclass(frozen=True)
class Target:
    """A device of the search.

    Args:
        name: of the device.
        embedding: ``(e,)``, such as the latencies of a few reference architectures scaled to [0, 1].
        latency: differentiable, from (relaxed) one-hots ``(n, S)`` to ms ``(n,)``; a predictor's
            `predict_relaxed`, say.
    """

    name: str
    embedding: Array
    latency: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Epoch:
    """Training curve: means over an epoch's draws.

    Args:
        training: cross-entropy of the paths that were trained, nats.
        validation: cross-entropy of the paths that the hypernetwork drew; NaN during the warm-up.
        latency: their normalised latency, from 0 (fastest of random architectures) to 1 (slowest); NaN as above.
    """

    training: float
    validation: float
    latency: float


class SupernetGenerator:
    """Proposes architectures for a preference and a device after training one supernet and no single architecture.

    Both objectives are normalised to their quantile among random architectures: latency once per device, the
    cross-entropy in every epoch, as the supernet learns. (The released code scales the cross-entropy by its minimum and
    maximum so far in the epoch.)

    Args:
        space: one with a supernet (`SearchSpace.supernet`).
        network: the hypernetwork's name; `network_options` go to its constructor.
        discretiser: from logits to architectures. A hard one passes single paths through the supernet; where it
            needs a gradient, also the outputs of the other operations on these paths.
        scalarisation: of the two objectives.
        combination: of the devices' gradients, "mean" or "mgda".
        epochs: passes over the training images.
        warmup: fraction of the epochs in which paths are uniform and the hypernetwork is not trained.
        batch: approximate number of images per step.
        weight_rate, momentum, decay, clip: of the supernet's SGD, whose rate is annealed to 0 by a cosine.
        learning_rate, betas: of the hypernetwork's Adam.
        alignment: weight of the cosine between objectives and preference, subtracted from the loss.
        references: number of random architectures for normalising the cross-entropy.
        seed: random seed.
        device: of the supernet; the hypernetwork stays on the CPU.
        progress: called with (done, total) after each epoch.
        problem: what the supernet is trained for, see :mod:`nastk.problems`; where this says cross-entropy, it is the
            problem's loss.
        entropy: greatest weight of the mean entropy of the choices (nats) in the hypernetwork's loss, which grows
            linearly from 0 after the warm-up, so that what it draws becomes what it proposes (MTL-NAS, arXiv
            2003.14058; its weight is 10). 0, as in MODNAS, leaves it out.
        build_options: of `SearchSpace.supernet`.

    Raises:
        UnknownName: no such hypernetwork, discretiser, scalarisation, combination.
        InvalidValue: an option out of range.
        Unsupported: the exact expectation, which would pass the whole space through the supernet.
    """

    def __init__(
        self,
        space: SearchSpace,
        network: str = "bank",
        discretiser: str | Discretiser = "reinmax",
        scalarisation: str | Scalarisation = "linear",
        combination: str = "mean",
        epochs: int = 100,
        warmup: float = 0.25,
        batch: int = 64,
        weight_rate: float = 0.1,
        momentum: float = 0.9,
        decay: float = 5e-4,
        clip: float = 5.0,
        learning_rate: float = 3.9e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        alignment: float = 0.01,
        references: int = 64,
        seed: int = 0,
        device: str = "cpu",
        network_options: dict[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
        problem: str | problems.Problem = "classification",
        entropy: float = 0.0,
        **build_options: Any,
    ):
        if epochs < 1 or batch < 2 or references < 2 or not 0 <= warmup < 1:
            raise InvalidValue(
                "a supernet needs at least 1 epoch, 2 images per batch, 2 references and a warm-up of 0 up to 1; "
                f"got {epochs}, {batch}, {references} and {warmup}"
            )
        if not entropy >= 0:
            raise InvalidValue(f"the weight of the entropy is not negative; got {entropy}")
        if combination not in COMBINATIONS:
            raise UnknownName("combination of gradients", combination, COMBINATIONS)
        if discretiser == "exact" or isinstance(discretiser, Exact):
            raise Unsupported("the exact expectation would pass the whole space through the supernet; use reinmax")
        self.space, self.network, self.combination = space, network, combination
        self.discretiser = discretisers.discretiser(discretiser)
        self.scalarisation = scalarisations.scalarisation(scalarisation)
        self.epochs, self.warmup, self.batch, self.momentum, self.decay = epochs, warmup, batch, momentum, decay
        self.weight_rate, self.clip, self.learning_rate, self.betas = weight_rate, clip, learning_rate, betas
        self.alignment, self.references, self.seed, self.device = alignment, references, seed, torch.device(device)
        self.entropy = entropy
        self.network_options = dict(network_options or {})
        self.progress, self.build_options, self.problem = progress, build_options, problems.problem(problem)
        self.sizes = [int(size) for size in space.sizes]

    # ---- training

    def fit(self, training: Images, validation: Images, devices: Sequence[Target]) -> SupernetGenerator:
        """Train both networks; returns itself, with the training curve `epochs_`.

        Args:
            training: images for the supernet's weights.
            validation: other images, for the hypernetwork.
            devices: at least one; their embeddings have the same length.

        Raises:
            InvalidValue: no devices, embeddings of different lengths, or too few images.
        """
        for pictures, labels in (training, validation):
            if len(pictures) < 2 or len(pictures) != len(labels):
                raise InvalidValue(f"needs 2 or more images with one label each; got {len(pictures)} and {len(labels)}")
        self.begin(devices)
        training, validation = self._here(training), self._here(validation)
        steps = self._parts(len(training[0]))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._weights, self.epochs * steps)
        resting = round(self.warmup * self.epochs)
        self.epochs_: list[Epoch] = []
        for epoch in range(self.epochs):
            seen: list[tuple[float, float, float]] = []
            held_out = self._batches(len(validation[0]))
            self._entropy = self.entropy * max(epoch - resting, 0) / (self.epochs - resting)
            if epoch >= resting:
                self.normalise_errors(_take(validation, held_out[0]))
            for step, rows in enumerate(self._batches(len(training[0]))):
                upper = (float("nan"), float("nan"))
                if epoch >= resting:
                    upper = self.hypernetwork_step(_take(validation, held_out[step % len(held_out)]))
                seen.append((self.weight_step(_take(training, rows), uniform=epoch < resting), *upper))
                schedule.step()
            self.epochs_.append(Epoch(*np.mean(seen, axis=0).tolist()))
            if self.progress:
                self.progress(epoch + 1, self.epochs)
        return self

    def begin(self, devices: Sequence[Target]) -> None:
        """Initialise networks and optimisers for these devices; :meth:`fit` does this first."""
        if not devices or len({len(device.embedding) for device in devices}) > 1:
            raise InvalidValue("a supernet search needs at least one device, with embeddings of one length")
        self.devices_ = list(devices)
        self._entropy = 0.0
        self._embeddings = torch.as_tensor(np.stack([d.embedding for d in devices]), dtype=torch.float32)
        self._generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.supernet_ = self.space.supernet(**self.build_options).to(self.device).train()
            self.hypernetwork_ = hypernetworks.hypernetwork(
                self.network, 2, self._embeddings.shape[1], sum(self.sizes), **self.network_options
            )
        self.hypernetwork_.observe(self._embeddings)
        self._weights: torch.optim.Optimizer = torch.optim.SGD(
            self.supernet_.parameters(),
            self.weight_rate,
            momentum=self.momentum,
            weight_decay=self.decay,
            nesterov=True,
        )
        self._phi = torch.optim.Adam(self.hypernetwork_.parameters(), self.learning_rate, betas=self.betas)
        hot = torch.as_tensor(self.space.one_hot(self.space.sample(1000, np.random.default_rng([self.seed, 1]))))
        with torch.no_grad():
            latencies = np.stack([device.latency(hot.float()).numpy() for device in devices])
        self._latency_place = Normalisation.fit(latencies)
        self._references = self.space.sample(self.references, np.random.default_rng([self.seed, 2]))

    def normalise_errors(self, images: Images) -> None:
        """Fit the normalisation of the cross-entropy on random architectures through the supernet."""
        self._error_place = Normalisation.fit(self.cross_entropies(self._references, images))

    def hypernetwork_step(self, images: Images) -> tuple[float, float]:
        """One step of the hypernetwork, with one preference per device; the supernet's weights are fixed.

        Returns:
            Means over the devices of the cross-entropy and of the normalised latency.
        """
        preferences = dirichlet(len(self.devices_), 2, self._generator)
        seen = torch.zeros(2)

        def cost(one_hots: Tensor) -> Tensor:
            errors = torch.stack([torch.stack([self._error(hot, images) for hot in draw]) for draw in one_hots])
            latencies = torch.stack([d.latency(one_hots[:, i]).float() for i, d in enumerate(self.devices_)])
            places = (self._error_place(errors.reshape(1, -1)).view_as(errors), self._latency_place(latencies).T)
            seen.copy_(torch.stack([errors.detach().mean(), places[1].detach().mean()]))
            costs = torch.stack(places, -1)
            weights = preferences.expand_as(costs)
            aligned = functional.cosine_similarity(costs, weights, dim=-1)
            return self.scalarisation(costs, weights) - self.alignment * aligned

        logits = self.hypernetwork_(preferences, self._embeddings)
        leaf = logits.detach().requires_grad_()
        self.supernet_.requires_grad_(False)
        try:
            loss = self.discretiser.loss(leaf, cost, self.sizes, self._generator)
            if self._entropy:
                loss = loss + self._entropy * entropies(leaf, self.sizes).mean(-1)
            (slopes,) = torch.autograd.grad(loss.sum(), leaf)
        finally:
            self.supernet_.requires_grad_(True)
        self._phi.zero_grad()
        if self.combination == "mean":
            logits.backward(slopes / len(slopes))
        else:
            parameters = list(self.hypernetwork_.parameters())
            own = [
                torch.autograd.grad(row, parameters, slope, retain_graph=True)
                for row, slope in zip(logits, slopes, strict=True)
            ]
            descend(parameters, own, self.combination)
        self._phi.step()
        error, latency = seen.tolist()
        return error, latency

    def weight_step(self, images: Images, uniform: bool = False) -> float:
        """One step of the supernet's weights on one path per device; the hypernetwork is fixed.

        Args:
            images: a batch.
            uniform: draw the paths from the whole space instead of from the hypernetwork.

        Returns:
            Mean cross-entropy of the paths.
        """
        count = len(self.devices_)
        with torch.no_grad():
            logits = torch.zeros(count, sum(self.sizes))
            if not uniform:
                logits = self.hypernetwork_(dirichlet(count, 2, self._generator), self._embeddings)
            if self.discretiser.relaxes:
                paths = self.discretiser(logits, self.sizes, self._generator)
            else:
                paths = _draws(logits, self.sizes, self._generator)
        self._weights.zero_grad()
        total = 0.0
        for path in paths:
            loss = self._error(path, images) / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.supernet_.parameters(), self.clip)
        self._weights.step()
        return total

    def _error(self, one_hot: Tensor, images: Images) -> Tensor:
        """Cross-entropy, a scalar on the CPU; a hard one-hot without gradient only computes its path."""
        x, y = images
        path = None if one_hot.requires_grad else self._path(one_hot)
        cell = one_hot.to(self.device) if path is None else path
        return self.problem.loss(self.problem.read(self.supernet_(x, cell)), y).cpu()

    def _path(self, one_hot: Tensor) -> list[int] | None:
        """The architecture of a one-hot; None if it is a mixture."""
        rows = one_hot.split(self.sizes)
        mixed = any(bool(((row > 1e-6) & (row < 1 - 1e-6)).any()) for row in rows)
        return None if mixed else [int(row.argmax()) for row in rows]

    # ---- proposals

    def logits(self, embedding: Array, preferences: Array) -> Tensor:
        """Logits ``(n, S)`` for a device ``(e,)`` and preferences ``(n, 2)`` of error and latency.

        Raises:
            InvalidValue: invalid preferences, or an embedding of a wrong length.
        """
        weights = torch.as_tensor(np.atleast_2d(preferences), dtype=torch.float32)
        if weights.ndim != 2 or weights.shape[1] != 2 or not bool(((weights >= 0).all(1) & (weights.sum(1) > 0)).all()):
            raise InvalidValue(
                "a preference is two weights, of error and of latency; they must not be negative nor both be zero"
            )
        place = torch.as_tensor(np.asarray(embedding), dtype=torch.float32)
        if place.shape != self._embeddings.shape[1:]:
            known = tuple(self._embeddings.shape[1:])
            raise InvalidValue(f"the embedding has shape {tuple(place.shape)}, those learned from {known}")
        with torch.no_grad():
            return self.hypernetwork_(weights / weights.sum(1, keepdim=True), place.expand(len(weights), -1))

    def entropies(self, embedding: Array, preferences: Array) -> Array:
        """Mean entropy of the choices for each preference, nats, ``(n,)``: 0 where one architecture is certain."""
        found: Array = entropies(self.logits(embedding, preferences).detach(), self.sizes).mean(-1).double().numpy()
        return found

    def propose(self, embedding: Array, preferences: Array) -> Archs:
        """The most probable architecture for each preference, ``(n, d)``; the device may be new."""
        return self._archs(self.logits(embedding, preferences))

    def sample(self, embedding: Array, preferences: Array, draws: int, seed: int = 0) -> Archs:
        """Architectures sampled for each preference, ``(n * draws, d)``."""
        logits = self.logits(embedding, preferences).repeat_interleave(draws, 0)
        return self._archs(_draws(logits, self.sizes, torch.Generator().manual_seed(seed)))

    def _archs(self, scores: Tensor) -> Archs:
        return np.stack([row.argmax(1).numpy() for row in scores.split(self.sizes, dim=1)], axis=1).astype(np.int64)

    @torch.no_grad()
    def cross_entropies(self, archs: Archs, images: Images) -> Array:
        """Cross-entropy (nats) of each architecture ``(n, d)`` with the shared weights, ``(n,)``."""
        x, y = self._here(images)
        parts = self._parts(len(x))
        batches = list(zip(x.tensor_split(parts), y.tensor_split(parts), strict=True))
        found = np.empty(len(archs))
        for i, arch in enumerate(archs):
            cell = [int(v) for v in arch]
            total = sum(self.problem.total(self.problem.read(self.supernet_(a, cell)), b) for a, b in batches)
            found[i] = float(total) / len(x)
        return found

    def _parts(self, n: int) -> int:
        return max(round(n / self.batch), 1)

    def _batches(self, n: int) -> list[Tensor]:
        """Rows of batches of about `batch` images, in a new random order."""
        return list(torch.randperm(n, generator=self._generator).tensor_split(self._parts(n)))

    def _here(self, images: Images) -> Images:
        return images[0].to(self.device), images[1].to(self.device)


def _draws(logits: Tensor, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """One-hots sampled from logits ``(n, S)``."""
    rows = []
    for row in logits.split(list(sizes), dim=1):
        drawn = torch.multinomial(row.softmax(1), 1, generator=generator)[:, 0]
        rows.append(functional.one_hot(drawn, row.shape[1]).float())
    return torch.cat(rows, 1)


def _take(images: Images, rows: Tensor) -> Images:
    rows = rows.to(images[0].device)
    return images[0][rows], images[1][rows]
