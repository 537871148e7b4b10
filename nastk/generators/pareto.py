"""MODNAS as a generator: trained once on many devices, it proposes a Pareto front for these and for new devices.

Multi-objective Differentiable Neural Architecture Search (Sukthanker et al., ICLR 2025, arXiv 2402.18213), with
fixed costs (predictors, tables) instead of a supernet that is trained alongside.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.errors import DataError, InvalidValue, UnknownName, Unsupported
from nastk.files import atomic_path, write_text
from nastk.generators._landscapes import Distilled, Grid, archs_to_label, isomorphic_encodings, one_hots
from nastk.generators.costs import Cost, CostLike, Device, scaled
from nastk.generators.decoding import Decoder, greedy
from nastk.generators.limits import Limit
from nastk.relaxation.device_gradients import combine, descend
from nastk.relaxation.discretisers import Exact, discretiser
from nastk.relaxation.hypernetworks import Hypernetwork, hypernetwork
from nastk.relaxation.normalisation import Normalisation
from nastk.relaxation.preferences import dirichlet, rays
from nastk.relaxation.scalarisations import scalarisation
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]
Preferences = int | Array | Sequence[Sequence[float]]
"""A number of evenly spread rays, or rows of non-negative weights ``(n, m)``, in the order of the objectives."""

FORMAT = 1
"""Version of the stored files; increased when older ones can no longer be read."""
TUNED = {"bank": (0.03, 0.05), "smooth": (0.006, 0.1), "constant": (0.03, 0.05)}
"""Learning rate and weight of the entropy by network: tuned on 12-epoch validation accuracies of NAS-Bench-201."""
NO_DEVICE = Device("")
"""Stands for the device where no objective depends on one."""


class ParetoGenerator:
    """A hypernetwork that maps a preference among objectives and a device to architectures.

    ``fit(devices)`` draws new preferences for every device and step, computes logits of every choice with the
    hypernetwork, and descends on the scalarised costs of the sampled architectures. ``propose`` is then one forward
    pass; a new device only needs the latencies of the reference architectures.

    Args:
        space: of the architectures.
        objectives: name to cost (see `nastk.generators.costs.CostLike`), or None if it depends on the device.
        references: architectures ``(k, d)`` whose values describe a device; by default ten chosen by the
            sampler "a-optimal". The paper uses ten random ones.
        network: "bank" (the paper's), "smooth" or "constant" (see `nastk.relaxation.hypernetworks`).
        network_options: of its constructor.
        discretiser: see `nastk.relaxation.discretisers.DISCRETISERS`.
        scalarisation: see `nastk.relaxation.scalarisations.SCALARISATIONS`.
        normalisation: "cdf" or "min-max", of each objective and device.
        combination: "mean" or "mgda", of the devices' gradients.
        condition: "preference"; or "budget" (PNAG, Guo et al., arXiv 2210.07634): the first of two
            objectives is minimised subject to a budget on the second, which replaces the preference.
        limits: constraints with learned multipliers.
        steps: of the training.
        batch: preferences per device and step.
        learning_rate, betas: of Adam; the rate is annealed by a cosine. By default from :data:`TUNED`.
        entropy: weight of the logits' entropy, which keeps samples diverse; annealed to 0 during training. By default
            from :data:`TUNED`.
        alignment: weight of the cosine between costs and preference, 0.01 in the paper's code.
        penalty: weight of the excess over the budget, for "budget".
        labels, distillation_steps: number of architectures for distilling the costs if the space is too large to
            enumerate, and training steps of the distilled perceptron.
        warm_start: a second ``fit`` continues from the first.
        seed: random seed.
        device: torch device of the training.

    Attributes:
        network_: trained, after ``fit``.
        embeddings_: of the devices it was trained on, by name.
        multipliers_: of each limit and device, ``(limits, devices)``.
        distilled_: Spearman correlation of distilled costs on held-out architectures, ``(devices, objectives)``, NaN
            where nothing was distilled.

    Example::

        >>> generator = ParetoGenerator(space, {"error": accuracy_predictor, "latency": None})
        >>> generator.fit([Device(name, {"latency": model}) for name, model in latency_models.items()])
        >>> generator.propose(Device("mine", references={"latency": ten_measurements}))       # (24, d)
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Mapping[str, CostLike | None],
        references: Any = None,
        network: str = "bank",
        network_options: Mapping[str, Any] | None = None,
        discretiser: str = "reinmax",
        scalarisation: str = "linear",
        normalisation: str = "min-max",
        combination: str = "mean",
        condition: Literal["preference", "budget"] = "preference",
        limits: Sequence[Limit] = (),
        steps: int = 1500,
        batch: int = 8,
        learning_rate: float | None = None,
        betas: tuple[float, float] = (0.9, 0.99),
        entropy: float | None = None,
        alignment: float = 0.0,
        penalty: float = 4.0,
        labels: int = 5000,
        distillation_steps: int = 2000,
        warm_start: bool = False,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.space, self.objectives, self.references = space, dict(objectives), references
        self.network, self.network_options = network, dict(network_options or {})
        self.discretiser, self.scalarisation, self.normalisation = discretiser, scalarisation, normalisation
        self.combination, self.condition, self.limits = combination, condition, tuple(limits)
        self.steps, self.batch, self.learning_rate, self.betas = steps, batch, learning_rate, betas
        self.entropy, self.alignment, self.penalty = entropy, alignment, penalty
        self.labels, self.distillation_steps = labels, distillation_steps
        self.warm_start, self.seed, self.device = warm_start, seed, device

    @cached_property
    def _decoder(self) -> Decoder:
        return Decoder(self.space)

    # ---- devices

    @property
    def of_device(self) -> list[str]:
        """Objectives that depend on the device."""
        return [name for name, cost in self.objectives.items() if cost is None]

    @property
    def references_(self) -> Archs:
        """Architectures whose values describe a device, ``(k, d)``."""
        if not hasattr(self, "_references"):
            if self.references is not None:
                self._references = self.space.as_archs(self.references)
            else:
                from nastk.samplers.a_optimal import AOptimal

                self._references = AOptimal().choose(min(10, self.space.size), self.space)
        return self._references

    def embedding(self, device: str | Device) -> Array:
        """Embedding of a device, ``(e,)``: for every objective that depends on the device, the min-max scaled values of
        the reference architectures.

        Raises:
            UnknownName: it was not trained on a device of this name.
            InvalidValue: a device without values of an objective.
        """
        if isinstance(device, str):
            if device not in self._fitted():
                raise UnknownName("device of the generator", device, self.embeddings_)
            return self.embeddings_[device]
        if not self.of_device:
            return np.zeros(1)
        unknown = set(device.references) - set(self.of_device)
        if unknown:
            raise UnknownName("objective that depends on the device", unknown.pop(), self.of_device)
        parts = []
        for name in self.of_device:
            if name in device.references:
                values = device.references[name]
            elif name in device.costs:
                values = Cost.of(self.space, device.costs[name])(self.references_)
            else:
                raise InvalidValue(
                    f"{device.name or 'a device'} needs {name} of the {len(self.references_)} reference architectures"
                )
            parts.append(scaled(values, len(self.references_), f"{name} of {device.name or 'a device'}"))
        return np.concatenate(parts)

    def _costs(self, device: Device) -> list[Cost]:
        """Costs of every objective on a device."""
        found = []
        for name, cost in self.objectives.items():
            if cost is None and name not in device.costs:
                raise InvalidValue(f"{device.name or 'the device'} has no cost for {name}; give Device(costs=...)")
            found.append(Cost.of(self.space, device.costs[name] if cost is None else cost))
        return found

    # ---- training

    def fit(self, devices: Sequence[Device] = ()) -> ParetoGenerator:
        """Train on devices; returns itself.

        Args:
            devices: each with a cost for every objective that depends on the device; none if no objective does.

        Raises:
            InvalidValue: no devices or two of one name, an objective without a cost, or incompatible options.
            UnknownName: no such hypernetwork, discretiser, scalarisation, normalisation or combination.
        """
        devices = list(devices) or ([] if self.of_device else [NO_DEVICE])
        self._check(devices)
        self.embeddings_ = {d.name: self.embedding(d) for d in devices}
        generator = torch.Generator().manual_seed(self.seed)
        embeddings = torch.as_tensor(np.stack([*self.embeddings_.values()]), dtype=torch.float32, device=self.device)
        if self._make_network(embeddings.shape[1]):
            self.network_.observe(embeddings)
        self.multipliers_ = np.zeros((len(self.limits), len(devices)))
        self.distilled_ = np.full((len(devices), len(self.objectives)), np.nan)
        if self.steps:
            landscape, rows = self._landscape(devices, generator)
            self._train(landscape, rows, embeddings, generator)
        return self

    def _check(self, devices: Sequence[Device]) -> None:
        if not self.objectives:
            raise InvalidValue("a generator needs at least one objective")
        if not devices:
            raise InvalidValue(f"{', '.join(self.of_device)} depends on the device; give devices to train on")
        names = [d.name for d in devices]
        if len(set(names)) < len(names):
            raise InvalidValue(f"devices need different names; got {', '.join(names)}")
        if self.condition not in ("preference", "budget"):
            raise InvalidValue(f"the condition must be 'preference' or 'budget'; got {self.condition!r}")
        if self.condition == "budget" and len(self.objectives) != 2:
            raise InvalidValue("a budget needs two objectives: the one to minimise, and the one with the budget")
        if self.steps < 0 or self.batch < 1:
            raise InvalidValue("a training needs at least 0 steps and a batch of at least 1")
        known = Grid.fits(self.space)
        discretiser(self.discretiser, torch.zeros(1, 1) if known else None)
        scalarisation(self.scalarisation)
        combine(torch.zeros(1, 1), self.combination)

    def _make_network(self, embedding: int) -> bool:
        """Create the network, unless training continues with the existing one."""
        outputs = int(self.space.sizes.sum())
        old = getattr(self, "network_", None)
        if self.warm_start and old is not None and (old.embedding, old.outputs) == (embedding, outputs):
            return False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            made = hypernetwork(self.network, len(self.objectives), embedding, outputs, **self.network_options)
        self.network_: Hypernetwork = made.to(self.device)
        return True

    def _landscape(self, devices: Sequence[Device], generator: torch.Generator) -> tuple[Grid | Distilled, Tensor]:
        """Normalised costs, and the rows of each device's objectives and then limits, ``(devices, ...)``."""
        archs = archs_to_label(self.space, self.labels, self.seed)
        costs: list[Cost] = []
        values: list[Array] = []
        bounds: list[float | None] = []  # of rows that are limits
        rows = np.zeros((len(devices), len(self.objectives) + len(self.limits)), dtype=np.int64)
        place: dict[tuple[Any, ...], int] = {}

        def row(key: tuple[Any, ...], cost: Cost, bound: float | None) -> int:
            if key not in place:
                place[key] = len(costs)
                costs.append(cost)
                values.append(_complete(cost(archs), f"{key[0]} on {key[1]}" if key[1] else str(key[0])))
                bounds.append(bound)
            return place[key]

        for i, device in enumerate(devices):
            mine = self._costs(device)
            for j, (name, cost) in enumerate(zip(self.objectives, mine, strict=True)):
                rows[i, j] = row((name, device.name if self.objectives[name] is None else ""), cost, None)
            for j, limit in enumerate(self.limits):
                cost, shared = self._limit_cost(limit, mine)
                rows[i, len(self.objectives) + j] = row(
                    (f"limit {j}", "" if shared else device.name), cost, limit.bound
                )
        table = np.stack(values)
        objective = np.array([bound is None for bound in bounds])
        normalise = Normalisation.fit(table[objective], self.normalisation)
        functions = {int(r): normalise.rows(torch.tensor([i])) for i, r in enumerate(np.flatnonzero(objective))}
        normalised = np.empty_like(table)
        for r, bound in enumerate(bounds):
            if bound is not None:
                normalised[r] = table[r] / bound - 1.0
            else:
                normalised[r] = functions[r](torch.as_tensor(table[r : r + 1], dtype=torch.float32))[0].numpy()
        if Grid.fits(self.space):
            return Grid(self.space, normalised, self.device), torch.as_tensor(rows, device=self.device)
        direct = {}
        for r, (cost, bound) in enumerate(zip(costs, bounds, strict=True)):
            if cost.relaxable:
                direct[r] = _relaxed_cost(cost, functions.get(r), bound)
        found = Distilled(
            one_hots(self.space, self._as_drawn(archs), self.device),
            torch.as_tensor(normalised, dtype=torch.float32, device=self.device),
            direct,
            generator,
            steps=self.distillation_steps,
        )
        self.distilled_ = found.spearman[rows[:, : len(self.objectives)]]
        return found, torch.as_tensor(rows, device=self.device)

    def _as_drawn(self, archs: Archs) -> Archs:
        """Isomorphic encodings of a pool's members (which are canonical), as a generator may draw them."""
        return isomorphic_encodings(self.space, archs, self.seed) if isinstance(self.space, Pool) else archs

    def _limit_cost(self, limit: Limit, costs: Sequence[Cost]) -> tuple[Cost, bool]:
        """The cost that a limit constrains, and whether it is the same on every device."""
        if not isinstance(limit.of, str):
            cost, shared = Cost.of(self.space, limit.of), True
        elif limit.of in self.objectives:
            cost = costs[list(self.objectives).index(limit.of)]
            shared = self.objectives[limit.of] is not None
        else:
            raise UnknownName("objective to limit", limit.of, self.objectives)
        if cost.sign < 0:
            raise InvalidValue("a limit constrains a cost that is minimised")
        return cost, shared

    def _train(self, landscape: Grid | Distilled, rows: Tensor, embeddings: Tensor, generator: torch.Generator) -> None:
        m, count = len(self.objectives), len(embeddings)
        sizes = [int(s) for s in self.space.sizes]
        estimate = discretiser(self.discretiser, landscape.one_hots if isinstance(landscape, Grid) else None)
        scalarise = scalarisation(self.scalarisation)
        parameters = list(self.network_.parameters())
        rate, entropy = TUNED[self.network]
        rate = rate if self.learning_rate is None else self.learning_rate
        entropy = entropy if self.entropy is None else self.entropy
        adam = torch.optim.Adam(parameters, lr=rate, betas=self.betas, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self.steps, rate * 0.05)
        devices = torch.arange(count).repeat_interleave(self.batch).to(self.device)
        own, inputs = rows[devices], embeddings[devices]
        integral = torch.zeros(len(self.limits), count, device=self.device)
        multipliers = torch.zeros_like(integral)

        def total(costs: Tensor, conditions: Tensor) -> Tensor:
            """Scalarised costs ``(...)`` of costs ``(..., m + limits)``."""
            goals = costs[..., :m]
            if self.condition == "budget":
                found = goals[..., 0] + self.penalty * (goals[..., 1] - conditions[..., 1]).relu()
            else:
                found = scalarise(goals, conditions.expand_as(goals))
            if self.alignment:
                found = found - self.alignment * torch.cosine_similarity(goals, conditions.expand_as(goals), dim=-1)
            for j in range(len(self.limits)):  # Lagrangian
                found = found + multipliers[j][devices] * costs[..., m + j]
            return found

        for step in range(self.steps):
            estimate.anneal(step / self.steps)
            conditions = dirichlet(len(devices), m, generator).to(self.device)
            logits = self.network_(conditions, inputs)
            if isinstance(estimate, Exact) and isinstance(landscape, Grid):
                costs = landscape.of_members(own).transpose(1, 2)  # (b, n, m)
                p = estimate.probabilities(logits, sizes)
                loss = (p * _members_total(total, costs, conditions)).sum(1)
                mean_costs = torch.einsum("bn,bnm->bm", p.detach(), costs)
            else:
                seen: list[Tensor] = []

                def cost(one_hot: Tensor, conditions: Tensor = conditions, seen: list[Tensor] = seen) -> Tensor:
                    found = landscape.hard(one_hot, own) if estimate.hard else landscape.mixed(one_hot, own)
                    seen.append(found.detach())
                    return total(found, conditions)

                loss = estimate.loss(logits, cost, sizes, generator)
                mean_costs = seen[0].mean(0)
            if entropy:
                loss = loss - entropy * (1 - step / self.steps) * _entropy(logits, sizes)
            adam.zero_grad()
            if self.combination == "mean":
                loss.mean().backward()
            else:
                losses = loss.reshape(count, -1).mean(1)
                own_gradients = [torch.autograd.grad(one, parameters, retain_graph=True) for one in losses]
                descend(parameters, own_gradients, self.combination)
            adam.step()
            schedule.step()
            for j, limit in enumerate(self.limits):
                violation = mean_costs[:, m + j].reshape(count, -1).mean(1)
                integral[j] += limit.rate * violation
                multipliers[j] = integral[j] + limit.damping * violation
                if limit.kind == "at-most":
                    integral[j].clamp_(min=0.0)
                    multipliers[j].clamp_(min=0.0)
        self.multipliers_ = integral.double().cpu().numpy()

    # ---- proposals

    def _fitted(self) -> dict[str, Array]:
        if not hasattr(self, "embeddings_"):
            raise InvalidValue("the generator is not trained; call fit(devices) first")
        return self.embeddings_

    def _conditions(self, preferences: Preferences, budgets: Any) -> Array:
        m = len(self.objectives)
        if self.condition == "budget":
            if budgets is None:
                n = preferences if isinstance(preferences, int) else len(preferences)
                budgets = (np.arange(n) + 0.5) / n
            levels = np.asarray(budgets, dtype=np.float64).ravel()
            if not ((levels >= 0) & (levels <= 1)).all():
                raise InvalidValue("budgets are levels from 0 to 1: the fraction of architectures within it")
            return np.stack([1 - levels, levels], axis=1)
        if budgets is not None:
            raise InvalidValue("this generator takes preferences; create it with condition='budget' to give budgets")
        if isinstance(preferences, (int, np.integer)):
            return rays(int(preferences), m)
        array = np.atleast_2d(np.asarray(preferences, dtype=np.float64))
        if array.ndim != 2 or array.shape[1] != m:
            raise InvalidValue(f"preferences have {m} weights, one per objective; got shape {array.shape}")
        if not np.isfinite(array).all() or (array < 0).any() or (array.sum(axis=1) <= 0).any():
            raise InvalidValue("weights of a preference must not be negative and must not all be zero")
        return array / array.sum(axis=1, keepdims=True)

    def logits(self, device: str | Device, preferences: Preferences = 24, budgets: Any = None) -> Array:
        """Logits of every option for each preference, ``(n, S)``."""
        conditions = self._conditions(preferences, budgets)
        embedding = self._embedding_of(device)
        with torch.no_grad():
            rows = torch.as_tensor(conditions, dtype=torch.float32, device=self.device)
            inputs = torch.as_tensor(embedding, dtype=torch.float32, device=self.device).expand(len(rows), -1)
            return self.network_(rows, inputs).double().cpu().numpy()

    def _embedding_of(self, device: str | Device) -> Array:
        known = self._fitted()
        if isinstance(device, Device) and device.name in known and not (device.references or device.costs):
            return known[device.name]
        return self.embedding(device)

    def propose(
        self,
        device: str | Device = NO_DEVICE,
        preferences: Preferences = 24,
        budgets: Any = None,
        distinct: bool = True,
    ) -> Archs:
        """An architecture for each preference, ``(n, d)``: one forward pass, without gradient steps or predictions.

        Args:
            device: name of one that it was trained on, or a `Device` with values of the reference architectures.
            preferences: see :data:`Preferences`.
            budgets: for ``condition="budget"`` instead of preferences: for each architecture the fraction of the space
                within its budget (see :meth:`level`), ``(n,)``.
            distinct: if several preferences give the same architecture, the later ones take their next best.

        Raises:
            InvalidValue: not trained, or preferences or budgets of a wrong shape.
            UnknownName: no such device.
            Unsupported: the space is not the product of its choices, and no draw is a member.
        """
        return self._decoder.likeliest(self.logits(device, preferences, budgets), distinct, self.seed)

    def candidates(
        self,
        device: str | Device = NO_DEVICE,
        preferences: Preferences = 24,
        budgets: Any = None,
        samples: int = 30,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> Archs:
        """Distinct architectures, ``(k, d)``: for each preference the most probable one and `samples` draws.

        Args:
            device, preferences, budgets: see :meth:`propose`.
            samples: number of draws.
            seed: random seed of the draws.
            temperature: divides the logits before sampling; higher is more diverse.
        """
        return self._decoder.sample(self.logits(device, preferences, budgets), samples, seed, temperature)

    def decode(
        self,
        device: Device = NO_DEVICE,
        n: int = 24,
        preferences: Preferences = 24,
        budgets: Any = None,
        samples: int = 30,
        draws: int = 32,
        seed: int = 0,
        taken: Archs | None = None,
        temperature: float = 1.0,
    ) -> Archs:
        """The `n` of :meth:`candidates` with the largest expected joint hypervolume.

        Greedy, with the expectation over posterior draws of the costs. Objectives are scaled by their range over the
        space, and the reference point is the worst value of each. Unlike :meth:`propose` it needs the costs; for a new
        device, those of a predictor adapted to it.

        Args:
            device: with a cost for every objective that depends on it.
            n: maximum number of architectures.
            preferences, budgets, samples, temperature: see :meth:`candidates`.
            draws: posterior draws of predictors; 1 uses their means.
            seed: random seed.
            taken: architectures already chosen; the result adds to their hypervolume.
        """
        pool = self.candidates(device, preferences, budgets, samples, seed, temperature)
        costs = self._costs(device)
        if taken is not None and len(taken):
            known = {a.tobytes() for a in np.ascontiguousarray(taken, dtype=np.int64)}
            pool = pool[[a.tobytes() not in known for a in pool]]
        if not len(pool):
            return pool
        ranges = [self._range(cost) for cost in costs]
        believed = np.stack(
            [
                (cost.draws(pool, draws, seed + 1) if draws > 1 else cost(pool)[None]) - low
                for cost, (low, _) in zip(costs, ranges, strict=True)
            ],
            axis=2,
        )
        widths = np.array([width for _, width in ranges])
        believed = np.where(np.isfinite(believed), believed / widths, np.inf)
        there = None
        if taken is not None and len(taken):
            columns = [(cost(taken) - low) / width for cost, (low, width) in zip(costs, ranges, strict=True)]
            there = np.stack(columns, axis=1)
            there = there[np.isfinite(there).all(axis=1)]
        return pool[greedy(believed, n, taken=there)]

    def _range(self, cost: Cost, archs: int = 2000) -> tuple[float, float]:
        """Minimum and range of a cost over random architectures; cached for each cost."""
        kept: dict[int, tuple[Any, float, float]] = vars(self).setdefault("_ranges", {})
        key = id(cost.source)
        if key not in kept or kept[key][0] is not cost.source:
            while len(kept) >= 64:
                del kept[next(iter(kept))]
            values = cost(self._some_archs(archs))
            values = values[np.isfinite(values)]
            if not len(values):
                raise InvalidValue("a cost is unknown for all sampled architectures")
            kept[key] = cost.source, float(values.min()), max(float(np.ptp(values)), 1e-12)
        return kept[key][1:]

    def _some_archs(self, n: int) -> Archs:
        if not hasattr(self, "_random"):
            everything = self.space.enumerable and self.space.size <= n
            self._random = self.space.enumerate() if everything else self.space.sample(n, seed=0)
        return self._random

    def level(self, device: Device, objective: str, values: Any) -> Array:
        """Budgets in an objective's unit as levels: the fraction of architectures within them, ``(n,)``.

        Raises:
            UnknownName: no such objective.
        """
        if objective not in self.objectives:
            raise UnknownName("objective", objective, self.objectives)
        cost = self._costs(device)[list(self.objectives).index(objective)]
        known = np.sort(cost(self._some_archs(2000)))
        return np.asarray(np.searchsorted(known, cost.sign * np.asarray(values, dtype=np.float64)) / len(known))

    # ---- on disk

    def save(self, path: str | os.PathLike[str], notes: dict[str, Any] | None = None) -> tuple[Path, Path]:
        """Write ``<path>.safetensors`` and ``<path>.json``; `nastk.generators.load` reads them.

        Costs are not stored: a loaded generator proposes for any device, but needs costs to decode or train.

        Args:
            notes: stored alongside: how it was trained, how good it is.

        Raises:
            Unsupported: it has limits, or options other than names and numbers.
        """
        from safetensors.torch import save_file

        self._fitted()
        stem = str(path).removesuffix(".json").removesuffix(".safetensors")
        options = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        for name in ("space", "objectives", "references", "limits"):
            del options[name]
        document = {
            "format": FORMAT,
            "generator": "pareto",
            "space": self.space.whole.name,
            "objectives": {name: cost is None for name, cost in self.objectives.items()},
            "devices": list(self.embeddings_),
            "options": options,
            "notes": notes or {},
        }
        try:
            text = json.dumps(document, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Unsupported(f"the generator has an option that cannot be written as JSON: {error}") from error
        arrays = {f"network.{name}": value.cpu().contiguous() for name, value in self.network_.state_dict().items()}
        arrays["embeddings"] = torch.as_tensor(np.stack([*self.embeddings_.values()]))
        if self.of_device:
            arrays["references"] = torch.as_tensor(np.array(self.references_))
        data, note = Path(f"{stem}.safetensors"), Path(f"{stem}.json")
        with atomic_path(data) as temporary:
            save_file(arrays, temporary)
        write_text(note, text + "\n")
        return data, note


def load(
    path: str | os.PathLike[str],
    space: SearchSpace | None = None,
    objectives: Mapping[str, CostLike] | None = None,
) -> ParetoGenerator:
    """Read what `ParetoGenerator.save` wrote; it proposes the same as before.

    Args:
        path: with or without suffix.
        space: needed for a user's own space.
        objectives: costs of objectives that do not depend on the device; only decoding and training need them.

    Raises:
        DataError: missing, truncated, or not the files of a generator.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from nastk.spaces.factory import space as named

    stem = str(path).removesuffix(".json").removesuffix(".safetensors")
    try:
        document = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
        if document.get("generator") != "pareto" or document.get("format") != FORMAT:
            raise DataError(f"{stem}.json does not describe a generator of this version of nastk")
        arrays = load_file(f"{stem}.safetensors")
        given = dict(objectives or {})
        costs = {
            name: None if of_device else given.get(name, _unknown) for name, of_device in document["objectives"].items()
        }
        references = arrays["references"].numpy() if "references" in arrays else None
        options = {**document["options"], "betas": tuple(document["options"]["betas"])}
        found = ParetoGenerator(space or named(document["space"]), costs, references, **options)
        embeddings = arrays["embeddings"].double().numpy()
        found.embeddings_ = dict(zip(document["devices"], embeddings, strict=True))
        found._make_network(embeddings.shape[1])
        state = {name.removeprefix("network."): a for name, a in arrays.items() if name.startswith("network.")}
        found.network_.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise DataError(f"cannot read the generator {stem}: {error}") from error
    return found


def _unknown(archs: Archs) -> Array:
    raise InvalidValue("a loaded generator has no costs; give them to nastk.generators.load(objectives=...)")


def _complete(costs: Array, what: str) -> Array:
    """Costs with unknown ones replaced by the worst."""
    known = np.isfinite(costs)
    if not known.any():
        raise InvalidValue(f"{what} is unknown for every architecture")
    return np.where(known, costs, costs[known].max())


def _relaxed_cost(cost: Cost, function: Normalisation | None, bound: float | None) -> Any:
    """A cost of relaxed one-hots ``(n, S)``, normalised."""

    def answer(one_hot: Tensor) -> Tensor:
        values = cost.relaxed(one_hot)
        if function is not None:
            return function(values[None].float())[0]
        assert bound is not None
        return values / bound - 1.0

    return answer


def _members_total(total: Any, costs: Tensor, conditions: Tensor) -> Tensor:
    """Scalarised costs ``(b, n)`` of all members' costs ``(b, n, m)``, each row under its own condition."""
    found: Tensor = total(costs.transpose(0, 1), conditions[None])
    return found.T


def _entropy(logits: Tensor, sizes: Sequence[int]) -> Tensor:
    """Mean entropy of the choices, ``(b,)``."""
    parts = [part.log_softmax(1) for part in logits.split(list(sizes), dim=1)]
    return torch.stack([-(p.exp() * p).sum(1) for p in parts]).mean(0)
