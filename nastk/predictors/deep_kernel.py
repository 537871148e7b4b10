"""deep-kernel: few-shot GP on learned features (Shala et al., Meta-Learned Bayesian Surrogates, ICLR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nastk.encodings.base import Context, encoding, some_archs
from nastk.errors import InvalidValue
from nastk.gaussian import Observations
from nastk.predictors._normal_scores import Scale
from nastk.predictors._stacked_gcn import seeded
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace, Seed

Array = NDArray[np.float64]

JITTER = 1e-6
"""Least noise variance, without which a learned noise near zero makes the covariance singular."""
LEAST_VARIANCE = 1e-10
"""Floor of predictive variances, which rounding can make negative at the samples themselves."""
LEAST_SUBSET = 4
"""Architectures of the smallest subset of a source task; fewer tell next to nothing of a kernel."""
MAX_NORM = 5.0
"""Norm to which gradients are clipped: the evidence is steep where a covariance is nearly singular."""
FARTHEST = 5.0
"""Standard deviations to which inputs are clipped, so that a rare option's one-hot does not outweigh all others."""
CHUNK = 1024
"""Architectures predicted at once, to bound the memory of their kernels."""
MEAN_VARIANCE = 1.0
"""Prior variance of the constant mean, in standardised units."""
START = (0.5, 0.5, 0.02, 0.5, 1.0)
"""Initial amplitude, linear weight, noise variance, and lengths of the learned features and of the inputs; also the
medians of their log-normal priors. Signal and noise are in standardised units."""
PRIOR_WIDTH = 1.5
"""Standard deviation of those log-normal priors: a factor of 4.5 either direction."""


class DeepKernel(Predictor):
    """Exact GP whose RBF kernel reads features that a network learns.

    ``pretrain`` meta-learns the network and the kernel's amplitude, lengths and noise on source tasks (other metrics,
    data sets or devices of the same space) by maximising the mean marginal likelihood of random subsets of them.
    ``adapt`` copies all that and refines it by a few steps on the target's own samples. Without ``pretrain``, ``fit``
    learns from the task's samples alone. Values of each task are warped to a standard scale on their own, so that
    sources may be of any unit and direction.

    Args:
        encoding: what the network reads, standardised over the space.
        hidden: widths of the network's hidden layers.
        features: numbers that the kernel reads.
        epochs: steps of pretraining.
        tasks: source tasks a step, whose gradients are averaged.
        subset: architectures drawn from each, at most; the number is drawn anew at every step, as the kernel has to
            serve targets of few samples and of many.
        learning_rate, weight_decay: of pretraining, AdamW annealed by a cosine.
        steps: of fitting from scratch.
        adapt_steps: of refining what was pretrained.
        adapt_learning_rate: of both.
        weight_prior_std: standard deviation of the normal prior, around where they started, of the network's weights
            when a task's own samples refine them: some thousand weights would fit ten samples in any case.
        learn_at_most: architectures of the task, at most, that refine network and kernel; the posterior is of all.
        warp: "normal" (quantiles of a normal), "identity", or "auto": "normal" where more is better.
        seed: of initial weights, subsets of sources.
        device: torch device.
    """

    def __init__(
        self,
        encoding: str = "vec",
        hidden: tuple[int, ...] = (128, 128),
        features: int = 16,
        epochs: int = 600,
        tasks: int = 8,
        subset: int = 48,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-3,
        steps: int = 100,
        adapt_steps: int = 30,
        adapt_learning_rate: float = 2e-3,
        weight_prior_std: float = 0.03,
        learn_at_most: int = 300,
        warp: str = "auto",
        seed: int = 0,
        device: str = "cpu",
    ):
        self.encoding, self.hidden, self.features = encoding, hidden, features
        self.epochs, self.tasks, self.subset = epochs, tasks, subset
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.steps, self.adapt_steps, self.adapt_learning_rate = steps, adapt_steps, adapt_learning_rate
        self.weight_prior_std, self.learn_at_most = weight_prior_std, learn_at_most
        self.warp, self.seed, self.device = warp, seed, device

    # ---- learning

    def pretrain(self, tasks: Sequence[Task]) -> DeepKernel:
        """Meta-learn from source tasks; returns itself.

        Raises:
            InvalidValue: no tasks, tasks of different spaces, or a task with fewer than 4 samples or one value only.
        """
        if not tasks:
            raise InvalidValue("pretraining needs at least one source task")
        space = tasks[0].space
        for task in tasks:
            if task.space.choices != space.choices:
                raise InvalidValue(f"source tasks are of different spaces: {space.name} and {task.space.name}")
            if len(task) < LEAST_SUBSET or np.ptp(task.values) == 0:
                raise InvalidValue(
                    f"the source task {_name(task)} needs at least {LEAST_SUBSET} samples of different values"
                )
        self.source_space_ = space
        self.sources_ = [(task.metric, task.dataset, task.device) for task in tasks]
        self._prepare(space, tasks[0].context)
        xs, zs = [], []
        for task in tasks:
            # sorted, so that what the seed draws does not depend on the order in which samples were given
            order = np.lexsort((task.values, *task.archs.T))
            scale = Scale.fit(self.warp, task.values, task.direction)
            xs.append(self._inputs(task.archs[order]))
            zs.append(self._tensor(scale.forward(task.values[order])))
        rng = np.random.default_rng(self.seed)
        with seeded(self.seed, self.device):
            self.network_ = _Kernel(xs[0].shape[1], self.hidden, self.features).double().to(self.device)
        adam = torch.optim.AdamW(self.network_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(self.epochs, 1))
        for _ in range(self.epochs):
            chosen = rng.choice(len(tasks), min(self.tasks, len(tasks)), replace=False)
            most = min(self.subset, *(len(zs[j]) for j in chosen))
            size = int(rng.integers(LEAST_SUBSET, max(most, LEAST_SUBSET) + 1))
            rows = [rng.choice(len(zs[j]), size, replace=False) for j in chosen]
            x = torch.stack([xs[j][r] for j, r in zip(chosen, rows, strict=True)])
            z = torch.stack([zs[j][r] for j, r in zip(chosen, rows, strict=True)])
            adam.zero_grad()
            # per sample, so that large subsets do not rule the mean over steps
            (-self.network_.evidence(x, z) / size).mean().backward()
            nn.utils.clip_grad_norm_(self.network_.parameters(), MAX_NORM)
            adam.step()
            schedule.step()
        self.pretrained_ = deepcopy(self.network_.state_dict())
        return self

    def adapt(self, task: Task) -> DeepKernel:
        """A copy refined on a task; this one stays as it is.

        Raises:
            InvalidValue: another space than the sources', or the task is one of them (it would leak).
        """
        return deepcopy(self).fit(task)

    def fit(self, task: Task) -> DeepKernel:
        if not len(task):
            raise InvalidValue("deep-kernel needs at least one architecture")
        pretrained = getattr(self, "pretrained_", None)
        if pretrained is not None:
            self._check_target(task)
        self.task_ = task
        self._prepare(task.space, task.context)
        order = np.lexsort((task.values, *task.archs.T))  # what is learned does not depend on the order of the samples
        self.archs_ = task.archs[order]
        values = task.values[order]
        self.warp_ = Scale.fit(self.warp, values, task.direction)
        x, z = self._inputs(self.archs_), self._tensor(self.warp_.forward(values))
        with seeded(self.seed, self.device):
            self.network_ = _Kernel(x.shape[1], self.hidden, self.features).double().to(self.device)
        if pretrained is not None:
            self.network_.load_state_dict(pretrained)
        if np.ptp(values) > 0:
            self._refine(x, z, self.steps if pretrained is None else self.adapt_steps)
        self._condition(x, z)
        return self

    def _check_target(self, task: Task) -> None:
        if task.space.choices != self.source_space_.choices:
            raise InvalidValue(f"pretrained on {self.source_space_.name}, cannot adapt to {task.space.name}")
        named = task.dataset is not None or task.device is not None
        if named and (task.metric, task.dataset, task.device) in self.sources_:
            raise InvalidValue(f"{_name(task)} is one of the source tasks and would leak its values")

    def _refine(self, x: Tensor, z: Tensor, steps: int) -> None:
        """Some steps up the task's own marginal likelihood, times priors of the kernel and of the weights' moves.

        Args:
            x, z: inputs ``(n, k)`` and standardised values ``(n,)``.
            steps: of Adam.
        """
        if len(z) > self.learn_at_most:
            rows = torch.tensor(np.random.default_rng(self.seed).choice(len(z), self.learn_at_most, replace=False))
            x, z = x[rows], z[rows]
        network = self.network_
        start = nn.utils.parameters_to_vector(network.network.parameters()).detach()
        adam = torch.optim.Adam(network.parameters(), lr=self.adapt_learning_rate)
        for _ in range(steps):
            moved = nn.utils.parameters_to_vector(network.network.parameters()) - start
            prior = network.neg_log_prior() + 0.5 * (moved**2).sum() / self.weight_prior_std**2
            adam.zero_grad()
            ((prior - network.evidence(x, z)) / len(z)).backward()
            nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
            adam.step()

    def _prepare(self, space: SearchSpace, context: Context) -> None:
        """Fit the encoding and its scale; a constant feature is left as it is, all zero once centred."""
        self.encoding_ = encoding(self.encoding).fit(space, context)
        reference = self.encoding_.transform(some_archs(space))
        spread = reference.std(axis=0)
        self.scale_ = reference.mean(axis=0), np.where(spread > 1e-9, spread, 1.0) * np.sqrt(reference.shape[1])

    def _inputs(self, archs: Archs) -> Tensor:
        """Standardised encoding, ``(n, k)``, of squared length about one."""
        return self._tensor(
            ((self.encoding_.transform(archs) - self.scale_[0]) / self.scale_[1]).clip(-FARTHEST, FARTHEST)
        )

    def _tensor(self, array: Array) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float64, device=self.device)

    # ---- prediction

    def _condition(self, x: Tensor, z: Tensor) -> None:
        """The posterior of all samples under the network and kernel as they are."""
        with torch.no_grad():
            self.known_ = self.network_.features(x)
            self.posterior_ = self.network_.observations(self.known_).condition(z)

    def _posterior(self, archs: Archs) -> tuple[Array, Array]:
        """Mean and standard deviation on the standard scale, each ``(n,)``."""
        means, stds = [np.empty(0)], [np.empty(0)]
        with torch.no_grad():
            for start in range(0, len(archs), CHUNK):
                features = self.network_.features(self._inputs(archs[start : start + CHUNK]))
                cross = self.network_.covariance(features, self.known_)
                variance = self.posterior_.variance(cross, self.network_.variance(features))
                means.append(self.posterior_.mean(cross).cpu().numpy())
                stds.append(variance.clamp_min(LEAST_VARIANCE).sqrt().cpu().numpy())
        return np.concatenate(means), np.concatenate(stds)

    def predict(self, archs: Any) -> Prediction:
        """Median and half-width of the central 68 % of the latent metric, in its unit; a warp keeps quantiles."""
        mean, std = self._posterior(self._checked(archs))
        low, high = self.warp_.backward(mean - std), self.warp_.backward(mean + std)
        return Prediction(self.warp_.backward(mean), (high - low) / 2)

    def sample(self, archs: Any, n: int, seed: Seed = None) -> Array:
        """Joint draws for up to a few thousand architectures, ``(n, n_archs)``."""
        with torch.no_grad():
            features = self.network_.features(self._inputs(self._checked(archs)))
            cross = self.network_.covariance(features, self.known_)
            prior = self.network_.covariance(features, features)
            draws = self.posterior_.draw(cross, prior, n, np.random.default_rng(seed))
        return self.warp_.backward(draws)

    # ---- storage

    def learned(self) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """None from scratch; what was pretrained is in no training data, so the network is stored."""
        if not hasattr(self, "pretrained_"):
            return None
        space = self.source_space_.whole.name
        facts: dict[str, Any] = {"sources": [list(s) for s in self.sources_], "space": space}
        arrays = {f"pretrained.{k}": v.cpu().numpy() for k, v in self.pretrained_.items()}
        if hasattr(self, "task_"):
            arrays |= {f"network.{k}": v.cpu().numpy() for k, v in self.network_.state_dict().items()}
            arrays |= {"task.archs": self.task_.archs, "task.values": self.task_.values}
        return facts, arrays

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        known = space or (task.space if task is not None else None)
        assert known is not None
        self.source_space_ = known
        self.sources_ = [(str(m), d, v) for m, d, v in facts["sources"]]
        self.pretrained_ = self._state(arrays, "pretrained.")
        if task is None:
            return self
        steps, self.adapt_steps = self.adapt_steps, 0
        self.fit(task)
        self.adapt_steps = steps
        self.network_.load_state_dict(self._state(arrays, "network."))
        order = np.lexsort((task.values, *task.archs.T))
        self._condition(self._inputs(self.archs_), self._tensor(self.warp_.forward(task.values[order])))
        return self

    def _state(self, arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): self._tensor(v) for k, v in arrays.items() if k.startswith(prefix)}


def _name(task: Task) -> str:
    return " ".join(part for part in (task.metric, task.dataset, task.device) if part)


class _Kernel(nn.Module):
    """``a exp(-|f(x) - f(x')|^2 / 2) + b <f(x), f(x')> + MEAN_VARIANCE`` plus noise.

    ``f`` holds what a network learns and the inputs themselves, each over a length of its own: architectures that the
    network takes for the same still differ by their inputs.

    Args:
        inputs: width of ``x``, whose squared length is about one.
        hidden: widths of the hidden layers.
        outputs: learned features.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int):
        super().__init__()
        widths = [inputs, *hidden, outputs]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.network = nn.Sequential(*layers[:-1])
        self.logs = nn.Parameter(_start())

    def neg_log_prior(self) -> Tensor:
        """Minus the log of a weak log-normal prior of the hyper-parameters."""
        return 0.5 * ((self.logs - _start().to(self.logs)) ** 2).sum() / PRIOR_WIDTH**2

    def features(self, x: Tensor) -> Tensor:
        """What the kernel reads, ``(..., n, outputs + inputs)``."""
        learned = self.network(x * x.shape[-1] ** 0.5)  # each input of variance one, as initial weights expect
        lengths = self.logs[3:].exp()
        return torch.cat([learned / (lengths[0] * learned.shape[-1] ** 0.5), x / lengths[1]], dim=-1)

    def covariance(self, a: Tensor, b: Tensor) -> Tensor:
        """Kernel ``(..., n, m)`` of features, without noise."""
        inner = a @ b.transpose(-1, -2)
        squared = (a * a).sum(-1)[..., :, None] + (b * b).sum(-1)[..., None, :] - 2.0 * inner
        amplitude, linear = self.logs[:2].exp()
        return amplitude * torch.exp(-0.5 * squared.clamp_min(0.0)) + linear * inner + MEAN_VARIANCE

    def variance(self, a: Tensor) -> Tensor:
        """Prior variance ``(..., n)`` of features, without noise: the diagonal of :meth:`covariance`."""
        amplitude, linear = self.logs[:2].exp()
        return amplitude + linear * (a * a).sum(-1) + MEAN_VARIANCE

    def observations(self, features: Tensor) -> Observations[Tensor]:
        """Noisy observations of architectures with these features, ``(..., n, f)``."""
        noise = (self.logs[2].exp() + JITTER) * torch.eye(features.shape[-2]).to(features)
        return Observations.of(self.covariance(features, features) + noise)

    def evidence(self, x: Tensor, z: Tensor) -> Tensor:
        """Log marginal likelihood ``(...)`` of values ``(..., n)`` at inputs ``(..., n, k)``, up to a constant."""
        return self.observations(self.features(x)).log_evidence(z[..., None])[..., 0]


def _start() -> Tensor:
    """Logs of :data:`START`, ``(5,)``."""
    return torch.tensor(START, dtype=torch.float64).log()
