"""Latency of source devices from their own samples: one small GP a device, stored in a few kilobytes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nastk.gaussian import left_out_residuals
from nastk.predictors.base import Task
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

NOISES = (1e-3, 1e-2, 0.05, 0.2, 0.5)
"""Noise variances that are tried, relative to the values': from devices whose tables are nearly additive (a simulated
accelerator, an FPGA) to phones, whose measurements drift."""
MIXES = (0.3, 1.0)
"""Weights of the interactions that are tried beside the additive part of weight one."""
SHORT = 10
"""Spaces of at most this many choices are cells, whose interactions reach less far."""
SHORT_REACHES = (2.0, 4.0)
"""Reaches of interactions that are tried in such spaces: unequal choices at which they have fallen to 1/e."""
LONG_REACHES = (4.0, 8.0)
"""The same in longer spaces, where two random architectures differ in more choices."""
FEW_ROWS = 300
"""Rows below which option counts and statics take part of the additive kernel. A weight for each option of each choice
is learned well from hundreds of rows; from dozens, what all places of an operation have in common has to be told."""
SHARES = (0.5, 0.9)
"""Shares of counts and statics that are then tried."""
GAIN = 1e-4
"""By how much interactions must raise the rank correlation to be kept: they need the training rows stored."""
LOG_FLOOR = 0.02
"""Share of the median to which lower values are lifted before logarithms, which a few near zero would dominate."""
LEAST = 0.5
"""Share of the least measurement below which no latency is predicted, for it must stay positive."""
MOST_ROWS = 1500
"""Rows up to which interactions are modelled; beyond, an exact GP takes minutes and the additive part is well known."""

RANKED = 900
"""Random architectures on which devices are told to rank alike, where no rows are stored."""


@dataclass(frozen=True)
class SourceModels:
    """Exact GPs, one a device, on the number of choices in which two architectures agree.

    ``k(m) = 1 + m / d + mix exp(-(d - m) / reach)`` for ``m`` of ``d`` choices that agree: an additive (lookup-table)
    part and one of interactions. Whether latency or its logarithm is modelled, `mix`, `reach` and the noise are chosen
    for each device by the rank correlation of its leave-one-out predictions. With few rows a share of ``m / d`` may go
    to inner products of option counts, and of statics as far as they are sums over the options. The additive part is
    kept as one weight an option. With more than :data:`MOST_ROWS` rows interactions are left out and the cost grows
    linearly in the rows.

    Args:
        space: of all devices.
        devices: their names.
        archs: architectures of each training set, ``(sets, n, d)`` stacked in one array ``(rows, d)``.
        sets: for each device, first and last row in `archs`.
        alpha: kernel weights of each device's rows in the interactions; empty where there are none.
        additive: ``(devices, 1 + sum(sizes))`` constant and weights of the options.
        kernel: ``(devices, 2)`` mix and reach.
        scaling: ``(devices, 3)`` centre, spread, floor of the modelled values.
        log: whether the logarithm is modelled.
        quality: rank correlation of leave-one-out predictions and values.
    """

    space: SearchSpace
    devices: tuple[str, ...]
    archs: Archs
    sets: tuple[tuple[int, int], ...]
    alpha: tuple[Array, ...]
    additive: Array
    kernel: Array
    scaling: Array
    log: tuple[bool, ...]
    quality: Array

    @classmethod
    def fit(cls, tasks: Sequence[Task]) -> SourceModels:
        """Learn each task's device; tasks as `FewShotPredictor` checks them."""
        names = [str(task.device) for task in tasks]
        space = tasks[0].space
        # devices that were measured on the same architectures share kernels and their decompositions
        groups: dict[bytes, list[int]] = {}
        for i, task in enumerate(tasks):
            groups.setdefault(task.archs.tobytes(), []).append(i)
        archs, start = [], 0
        fitted: dict[int, dict[str, Any]] = {}
        for members in groups.values():
            rows = tasks[members[0]].archs
            archs.append(rows)
            values = [tasks[i].values for i in members]
            if len(rows) > MOST_ROWS:
                models_of = _fit_additive(space, rows, values)
            else:
                shared = _shared(space, tasks[members[0]].context.build_options) if len(rows) < FEW_ROWS else None
                models_of = _fit_exact(space, rows, values, shared)
            for i, model in zip(members, models_of, strict=True):
                fitted[i] = {**model, "set": (start, start + len(rows))}
            start += len(rows)
        models = [fitted[i] for i in range(len(tasks))]
        return cls(
            space,
            tuple(names),
            np.concatenate(archs),
            tuple(m["set"] for m in models),
            tuple(m["alpha"] for m in models),
            np.array([m["additive"] for m in models]),
            np.array([m["kernel"] for m in models]),
            np.array([m["scaling"] for m in models]),
            tuple(m["log"] for m in models),
            np.array([m["quality"] for m in models]),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The devices, as a `LatencySource` calls them."""
        return self.devices

    def __call__(self, archs: Archs) -> Array:
        """Latencies ``(n, devices)``, positive, in each device's unit."""
        archs = self.space.as_networks(archs)  # as those that were learned from
        hot = self.space.one_hot(archs)
        z = self.additive[:, 0] + hot @ self.additive[:, 1:].T
        d = self.space.d
        for first, last in dict.fromkeys(self.sets):
            members = [j for j, s in enumerate(self.sets) if s == (first, last) and self.kernel[j, 0] > 0]
            if not members:
                continue
            # counts of equal choices are small integers, exact in 32 bits; the kernel is then looked up by them
            basis = self.space.one_hot(self.archs[first:last]).T.astype(np.float32)
            kinds = np.unique(self.kernel[members], axis=0)
            for start in range(0, len(archs), 4096):
                equal = (hot[start : start + 4096].astype(np.float32) @ basis).astype(np.intp)
                for mix, reach in kinds:
                    same = [j for j in members if tuple(self.kernel[j]) == (mix, reach)]
                    shape = _interactions(np.arange(d + 1.0), d, mix, reach)[equal]
                    z[start : start + 4096, same] += shape @ np.stack([self.alpha[j] for j in same], axis=1)
        centre, spread, floor = self.scaling.T
        values = z * spread + centre
        log = np.array(self.log)
        values[:, log] = np.exp(values[:, log])
        return np.maximum(values, floor)

    def joined(self, other: SourceModels) -> SourceModels:
        """These devices and others of the same space."""
        rows = len(self.archs)
        return replace(
            self,
            devices=self.devices + other.devices,
            archs=np.concatenate([self.archs, other.archs]),
            sets=self.sets + tuple((first + rows, last + rows) for first, last in other.sets),
            alpha=self.alpha + other.alpha,
            additive=np.concatenate([self.additive, other.additive]),
            kernel=np.concatenate([self.kernel, other.kernel]),
            scaling=np.concatenate([self.scaling, other.scaling]),
            log=self.log + other.log,
            quality=np.concatenate([self.quality, other.quality]),
        )

    def without(self, devices: set[str], duplicates: float | None = None) -> SourceModels | None:
        """The rest, or None if nothing is left; see `FewShotGP.without`."""
        dropped = {j for j, name in enumerate(self.devices) if name in devices}
        if duplicates is not None and dropped:
            # rows that no interactions need are not stored
            archs = self.archs if len(self.archs) else self.space.sample(RANKED, seed=0)
            ranks = np.apply_along_axis(rankdata, 0, self(archs))
            correlation = np.atleast_2d(np.corrcoef(ranks.T))
            dropped |= {
                j for j in range(len(self.devices)) if any(correlation[j, i] > duplicates for i in tuple(dropped))
            }
        kept = [j for j in range(len(self.devices)) if j not in dropped]
        if not kept:
            return None
        return replace(
            self,
            devices=tuple(self.devices[j] for j in kept),
            sets=tuple(self.sets[j] for j in kept),
            alpha=tuple(self.alpha[j] for j in kept),
            additive=self.additive[kept],
            kernel=self.kernel[kept],
            scaling=self.scaling[kept],
            log=tuple(self.log[j] for j in kept),
            quality=self.quality[kept],
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays that :meth:`from_state` reads back; rows that no device's interactions need are left out."""
        archs, sets = self.archs, self.sets
        if not (self.kernel[:, 0] > 0).any():
            archs, sets = archs[:0], ((0, 0),) * len(sets)
        return {
            "archs": archs.astype(np.int16),
            "sets": np.array(sets, dtype=np.int64),
            "alpha": np.concatenate(self.alpha),
            "alphas": np.array([len(a) for a in self.alpha], dtype=np.int64),
            "additive": self.additive,
            "kernel": self.kernel,
            "scaling": self.scaling,
            "log": np.array(self.log, dtype=np.uint8),
            "quality": self.quality,
        }

    @classmethod
    def from_state(cls, space: SearchSpace, devices: Sequence[str], state: dict[str, NDArray[Any]]) -> SourceModels:
        """The inverse of :meth:`state`."""
        alpha = np.split(state["alpha"].astype(np.float64), np.cumsum(state["alphas"])[:-1])
        return cls(
            space,
            tuple(devices),
            state["archs"].astype(np.int64),
            tuple((int(a), int(b)) for a, b in state["sets"]),
            tuple(alpha),
            state["additive"],
            state["kernel"],
            state["scaling"],
            tuple(bool(v) for v in state["log"]),
            state["quality"],
        )


def _interactions(agree: Array, d: int, mix: float, reach: float) -> Array:
    return mix * np.exp(-(d - agree) / reach)


def _variants(raw: Array) -> list[tuple[bool, Array, Array, Array]]:
    """Raw and logarithmic values, each ``(n, devices)`` standardised, with centres and spreads."""
    found = []
    for log in (False, True):
        modelled = np.log(np.maximum(raw, np.median(raw, axis=0) * LOG_FLOOR)) if log else raw
        centre, spread = modelled.mean(axis=0), np.maximum(modelled.std(axis=0), 1e-12)
        found.append((log, (modelled - centre) / spread, centre, spread))
    return found


def _shared(space: SearchSpace, build_options: dict[str, Any]) -> Array:
    """What options have in common, ``(sum(sizes), k)``: option counts, those within groups at half the weight, and
    statics as sums over the options, each block with a mean squared norm of one over the space when centred."""
    archs = space.as_networks(space.sample(min(1000, space.size), seed=0, unique=True))
    hot = space.one_hot(archs)
    blocks = [(space.count_matrix()[0], 1.0), (space.count_matrix(grouped=True)[0], 0.5)]
    statics = space.statics(archs, **build_options)
    if statics:
        raw = np.stack(list(statics.values()), axis=1)
        raw = (raw - raw.mean(axis=0)) / np.maximum(raw.std(axis=0), 1e-12)
        blocks.append((np.linalg.lstsq(hot, raw, rcond=None)[0], 1.0))
    scaled = []
    for block, weight in blocks:
        features = hot @ block
        norm = ((features - features.mean(axis=0)) ** 2).sum(axis=1).mean()
        if block.shape[1] and norm > 1e-12:
            scaled.append(block * np.sqrt(weight / norm))
    return np.concatenate(scaled, axis=1)


def _fit_exact(
    space: SearchSpace, archs: Archs, values: list[Array], shared: Array | None = None
) -> list[dict[str, Any]]:
    """Models of devices that share their architectures, each the best by leave-one-out rank correlation.

    One eigendecomposition a kernel serves all devices and noises: ``(V diag(e) V^T + noise)^-1`` needs no other. Ranks
    are what latency predictors are compared by, and the same for raw latencies and logarithms.

    Args:
        shared: of :func:`_shared`, to which a share of the additive part may go.
    """
    d = space.d
    hot = space.one_hot(archs)
    agree = hot @ hot.T
    # the additive part is linear in the one-hot of the options: its prior covariance (times d) is the identity, or less
    # of it and more of what the options have in common
    common = np.zeros((len(hot), 0)) if shared is None else hot @ shared
    centre_of = common.mean(axis=0)
    common = common - centre_of
    raw = np.stack(values, axis=1)
    ranks = np.apply_along_axis(rankdata, 0, raw)
    floor = raw.min(axis=0) * LEAST
    best: list[dict[str, Any]] = [{"quality": -np.inf}] * len(values)
    reaches = SHORT_REACHES if d <= SHORT else LONG_REACHES
    shares = (0.0,) if shared is None else (0.0, *SHARES)
    kernels = [(0.0, 1.0), *((mix, reach) for mix in MIXES for reach in reaches)]  # without interactions first
    variants = _variants(raw)
    for (mix, reach), share in itertools.product(kernels, shares):
        additive = 1.0 + (1.0 - share) * agree / d + share * (common @ common.T)
        eigenvalues, vectors = np.linalg.eigh(additive + _interactions(agree, d, mix, reach))
        eigenvalues = np.maximum(eigenvalues, 0.0)  # repeated architectures make it singular
        for log, z, centre, spread in variants:
            projected = vectors.T @ z
            for noise in NOISES:
                alpha = vectors @ (projected / (eigenvalues + noise)[:, None])
                diagonal = ((vectors**2) / (eigenvalues + noise)).sum(axis=1)
                left_out = np.apply_along_axis(rankdata, 0, z - left_out_residuals(alpha, diagonal[:, None]))
                for j in range(len(values)):
                    quality = float(np.corrcoef(left_out[:, j], ranks[:, j])[0, 1])
                    if quality > best[j]["quality"] + (GAIN if mix else 0.0):
                        best[j] = {
                            "quality": quality,
                            "alpha": alpha[:, j] if mix else np.empty(0),
                            "additive": _option_weights(alpha[:, j], hot, d, share, common, centre_of, shared),
                            "kernel": (mix, reach),
                            "scaling": (centre[j], spread[j], floor[j]),
                            "log": log,
                        }
    return best


def _option_weights(
    alpha: Array, hot: Array, d: int, share: float, common: Array, centre: Array, shared: Array | None
) -> Array:
    """The linear part of the kernel summed over the rows once: a constant, and one weight an option."""
    constant, weights = alpha.sum(), (1.0 - share) * (hot.T @ alpha) / d
    if shared is not None and share:
        together = share * (common.T @ alpha)
        constant, weights = constant - centre @ together, weights + shared @ together
    return np.concatenate([[constant], weights])


def _fit_additive(space: SearchSpace, archs: Archs, values: list[Array]) -> list[dict[str, Any]]:
    """The same without interactions, from the features' side (Rasmussen & Williams 2006, Section 2.1.2).

    The kernel ``1 + m / d`` is the inner product of as many features as there are options, so that a singular value
    decomposition, whose cost is linear in the rows, takes the place of the eigendecomposition.
    """
    raw = np.stack(values, axis=1)
    ranks = np.apply_along_axis(rankdata, 0, raw)
    floor = raw.min(axis=0) * LEAST
    features = np.concatenate([np.ones((len(archs), 1)), space.one_hot(archs) / np.sqrt(space.d)], axis=1)
    vectors, singular, rest = np.linalg.svd(features, full_matrices=False)
    best: list[dict[str, Any]] = [{"quality": -np.inf}] * len(values)
    for log, z, centre, spread in _variants(raw):
        projected = vectors.T @ z
        for noise in NOISES:
            shrunk = singular**2 / (singular**2 + noise)
            fitted = vectors @ (shrunk[:, None] * projected)
            leverage = (vectors**2 @ shrunk)[:, None]
            # leaving one out of a linear smoother: the residual over one minus the row's leverage
            left_out = np.apply_along_axis(rankdata, 0, z - (z - fitted) / (1.0 - leverage))
            weights = rest.T @ ((singular / (singular**2 + noise))[:, None] * projected)
            weights[1:] /= np.sqrt(space.d)
            for j in range(len(values)):
                quality = float(np.corrcoef(left_out[:, j], ranks[:, j])[0, 1])
                if quality > best[j]["quality"]:
                    best[j] = {
                        "quality": quality,
                        "alpha": np.empty(0),
                        "additive": weights[:, j],
                        "kernel": (0.0, 1.0),
                        "scaling": (centre[j], spread[j], floor[j]),
                        "log": log,
                    }
    return best
