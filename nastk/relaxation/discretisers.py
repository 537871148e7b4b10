"""Discretisers: from logits of every choice to architectures, with a gradient of the expected cost.

Logits are ``(..., S)``, one for every option of every choice, concatenated as in `SearchSpace.one_hot`; `sizes` are the
numbers of options. Relaxing discretisers return (relaxed) one-hots through which gradients flow, and the cost may be
any differentiable function of them; the others only need the costs of architectures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from nastk.errors import InvalidValue, UnknownName, Unsupported

CostFunction = Callable[[Tensor], Tensor]
"""From one-hots ``(k, b, S)`` to costs ``(k, b)``; row ``b`` by its own preference and device."""

_NEVER = -1e4
"""Logit of an option that a choice does not have: its probability is 0 in single precision, its gradient finite."""


class Discretiser(ABC):
    """Estimates the gradient of the expected cost of architectures drawn from independent choices.

    Attributes:
        relaxes: whether a call returns (relaxed) one-hots.
        hard: whether their values are one-hots, so that costs are always those of architectures.
    """

    relaxes: bool = False
    hard: bool = True

    def anneal(self, progress: float) -> None:
        """Called before each step with the fraction of the training that is done, 0 to 1."""

    def __call__(self, logits: Tensor, sizes: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """One draw for each row of logits ``(..., S)``, as one-hots ``(..., S)``; gradients flow to the logits.

        Raises:
            Unsupported: it does not relax; use its loss.
        """
        raise Unsupported(f"{type(self).__name__} does not relax architectures; use its loss")

    @abstractmethod
    def loss(
        self, logits: Tensor, cost: CostFunction, sizes: Sequence[int], generator: torch.Generator | None = None
    ) -> Tensor:
        """A surrogate ``(b,)`` whose gradient estimates that of the expected cost, for logits ``(b, S)``."""


class _Relaxing(Discretiser):
    """Returns one-hots through which gradients flow."""

    relaxes = True

    def __call__(self, logits: Tensor, sizes: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        return join(self._relax(split(logits, sizes, _NEVER), generator), sizes)

    @abstractmethod
    def _relax(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """From logits ``(..., d, o)`` to one-hots of that shape."""

    def loss(
        self, logits: Tensor, cost: CostFunction, sizes: Sequence[int], generator: torch.Generator | None = None
    ) -> Tensor:
        return cost(self(logits, sizes, generator)[None])[0]


class Softmax(_Relaxing):
    """The probabilities themselves, a mixture of all options (DARTS, Liu et al., ICLR 2019); biased.

    Args:
        temperature: of the softmax.
    """

    hard = False

    def __init__(self, temperature: float = 1.0):
        self.temperature = temperature

    def _relax(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        return (logits / self.temperature).softmax(-1)


class StraightThrough(_Relaxing):
    """A sampled architecture with the gradient of the probabilities (Bengio et al., arXiv 1308.3432)."""

    def _relax(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        p = logits.softmax(-1)
        return p - p.detach() + _draw(p, generator)


class ReinMax(_Relaxing):
    """A sampled architecture with a second-order accurate gradient, by Heun's method (Liu et al., NeurIPS 2023,
    Algorithm 2): twice the gradient at the mean of sample and probabilities, minus half of the straight-through one.

    Args:
        temperature: of the probabilities in that mean; 1 in MODNAS.
    """

    def __init__(self, temperature: float = 1.0):
        self.temperature = temperature

    def _relax(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        p = logits.softmax(-1)
        drawn = _draw(p, generator)
        between = (drawn + (logits / self.temperature).softmax(-1)).detach() / 2
        heun = ((between.clamp_min(1e-12).log() - logits).detach() + logits).softmax(-1)
        answer = 2 * heun - p / 2
        return answer - answer.detach() + drawn


class StraightThroughGumbel(_Relaxing):
    """A hard Gumbel-softmax sample with the gradient of the soft one (Jang et al., ICLR 2017; GDAS, CVPR 2019).

    Args:
        temperature: initial temperature of the softmax.
        coldest: final temperature if the training calls :meth:`anneal`; decays geometrically.
    """

    def __init__(self, temperature: float = 1.0, coldest: float = 0.3):
        self.temperature, self._hottest, self.coldest = temperature, temperature, coldest

    def anneal(self, progress: float) -> None:
        self.temperature = self._hottest * (self.coldest / self._hottest) ** progress

    def _relax(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        uniform = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
        noise = -(-uniform.clamp(1e-10, 1 - 1e-6).log()).log()
        soft = ((logits + noise) / self.temperature).softmax(-1)
        return soft - soft.detach() + functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft)


class Dirichlet(_Relaxing):
    """Mixtures drawn from a Dirichlet distribution whose concentrations are learned (DrNAS, Chen et al., ICLR 2021)."""

    hard = False

    def _relax(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        concentration = functional.elu(logits) + 1.0 + 1e-4
        exists = logits > _NEVER / 2
        with torch.random.fork_rng(devices=[]):  # the reparametrised sampler takes no generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator, device=logits.device)))
            drawn = torch._standard_gamma(concentration.clamp_min(1e-3)) * exists
        return drawn / drawn.sum(-1, keepdim=True).clamp_min(1e-12)


class Score(Discretiser):
    """Score function (REINFORCE, Williams 1992) with the mean of the other draws as baseline (Kool et al. 2019).

    Unbiased; the costs need not be differentiable.

    Args:
        draws: samples per row and step.
    """

    def __init__(self, draws: int = 8):
        if draws < 2:
            raise InvalidValue(f"the baseline needs at least 2 draws; got {draws}")
        self.draws = draws

    def loss(
        self, logits: Tensor, cost: CostFunction, sizes: Sequence[int], generator: torch.Generator | None = None
    ) -> Tensor:
        log_p = split(logits, sizes, _NEVER).log_softmax(-1)
        drawn = _draw(log_p.detach().exp().expand(self.draws, *log_p.shape), generator)
        with torch.no_grad():
            costs = cost(join(drawn, sizes))
            advantage = (costs - costs.mean(0)) * self.draws / (self.draws - 1)
        likelihood = (drawn * log_p).sum((-1, -2))
        surrogate = (advantage * likelihood).mean(0)
        return surrogate - surrogate.detach() + costs.mean(0)


class Exact(Discretiser):
    """The exact expected cost over all architectures of a small space.

    Args:
        one_hots: of all members, ``(n, S)``. If they are not the product of the choices, the distribution is
            conditioned on membership.
    """

    def __init__(self, one_hots: Tensor):
        self.one_hots = one_hots

    def probabilities(self, logits: Tensor, sizes: Sequence[int]) -> Tensor:
        """Probability of every member, ``(b, n)``."""
        log_p = join(split(logits, sizes, _NEVER).log_softmax(-1), sizes)
        return (log_p @ self.one_hots.to(log_p).T).softmax(-1)

    def loss(
        self, logits: Tensor, cost: CostFunction, sizes: Sequence[int], generator: torch.Generator | None = None
    ) -> Tensor:
        costs = cost(self.one_hots.to(logits)[:, None].expand(-1, len(logits), -1))
        return (self.probabilities(logits, sizes) * costs.T).sum(-1)


DISCRETISERS: dict[str, type[Discretiser]] = {
    "reinmax": ReinMax,
    "st-gumbel": StraightThroughGumbel,
    "straight-through": StraightThrough,
    "softmax": Softmax,
    "dirichlet": Dirichlet,
    "score": Score,
    "exact": Exact,
}
"""Discretisers by name."""


def discretiser(name: str | Discretiser, one_hots: Tensor | None = None) -> Discretiser:
    """The discretiser called `name`, with its defaults.

    Args:
        name: one of :data:`DISCRETISERS`.
        one_hots: all architectures of the space, which "exact" needs.

    Raises:
        UnknownName: no such discretiser.
        InvalidValue: "exact" without the architectures.
    """
    if isinstance(name, Discretiser):
        return name
    if name not in DISCRETISERS:
        raise UnknownName("discretiser", name, DISCRETISERS)
    if name == "exact":
        if one_hots is None:
            raise InvalidValue("the exact expectation needs a space that can be enumerated")
        return Exact(one_hots)
    return DISCRETISERS[name]()


# ---- flat and padded layouts of choices


@lru_cache(maxsize=64)
def _places(sizes: tuple[int, ...]) -> Tensor:
    """Index of each option in the flattened ``(d, max(sizes))``."""
    widest = max(sizes)
    return torch.tensor([j * widest + o for j, size in enumerate(sizes) for o in range(size)])


def split(flat: Tensor, sizes: Sequence[int], fill: float = 0.0) -> Tensor:
    """From ``(..., S)`` to ``(..., d, max(sizes))``; options that a choice does not have are `fill`."""
    sizes = tuple(int(s) for s in sizes)
    if flat.shape[-1] != sum(sizes):
        raise InvalidValue(f"{flat.shape[-1]} logits for {sum(sizes)} options")
    if len(set(sizes)) == 1:
        return flat.unflatten(-1, (len(sizes), sizes[0]))
    empty = flat.new_full((*flat.shape[:-1], len(sizes) * max(sizes)), fill)
    return empty.index_copy(-1, _places(sizes).to(flat.device), flat).unflatten(-1, (len(sizes), max(sizes)))


def join(padded: Tensor, sizes: Sequence[int]) -> Tensor:
    """The inverse of :func:`split`."""
    sizes = tuple(int(s) for s in sizes)
    flat = padded.flatten(-2)
    return flat if len(set(sizes)) == 1 else flat.index_select(-1, _places(sizes).to(flat.device))


def _draw(p: Tensor, generator: torch.Generator | None) -> Tensor:
    """One-hot samples of probabilities ``(..., o)``."""
    uniform = torch.rand((*p.shape[:-1], 1), generator=generator, device=p.device, dtype=p.dtype)
    cumulative = p.detach().cumsum(-1)
    chosen = (cumulative < uniform * cumulative[..., -1:]).sum(-1)
    return functional.one_hot(chosen.clamp_max(p.shape[-1] - 1), p.shape[-1]).to(p)
