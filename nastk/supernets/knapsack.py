"""Exact search where losses and costs are sums over stages: a multiple-choice knapsack, one path from every stage.

Block-wise supernets (`nastk.supernets.block_wise`) rate a network by the sum of its blocks' losses, and parameters,
FLOPs and many latencies are sums as well. The best network within limits is then found exactly, without visiting the
product of the stages' paths: for one cost by merging stages and keeping what no other partial network beats, for
several costs at once by integer programming. :func:`depth_first` is the traversal of DNA (Li et al., CVPR 2020, arXiv
1911.13053, section 3.3; its released code, `process_potential.py`), to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nastk.errors import InvalidValue

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Front:
    """All networks that no other one beats in both the loss and the cost, by ascending cost.

    Args:
        paths: the path taken in each stage, ``(n, stages)``.
        losses, costs: their sums, ``(n,)``.
    """

    paths: Indices
    losses: Array
    costs: Array


def front(losses: Sequence[ArrayLike], costs: Sequence[ArrayLike], limit: float = np.inf) -> Front:
    """The exact front of summed loss against one summed cost.

    Of each stage only its own non-dominated paths matter: replacing any other by one that beats it improves the sum.
    The same holds for the partial sums of the first stages, so that stages are merged one after another.

    Args:
        losses: of each stage's paths, ``(paths of the stage,)``; the numbers of paths may differ.
        costs: likewise, not negative.
        limit: leave out networks that cost more.

    Raises:
        InvalidValue: stages of losses and costs differ, or a value is not finite.
    """
    stages = [_stage(loss, cost, i) for i, (loss, cost) in enumerate(_pairs(losses, costs))]
    if any((cost < 0).any() for _, cost in stages):
        raise InvalidValue("costs of paths are at least 0, or partial sums could not be cut off")
    paths, sums, spent = np.zeros((1, 0), dtype=np.int64), np.zeros(1), np.zeros(1)
    # the least that the stages which are still to come will cost: what exceeds the limit with it need not be kept
    least = np.append(np.cumsum([cost[:, 0].min() for _, cost in stages][::-1])[::-1], 0.0)
    for (loss, cost), rest in zip(stages, least[1:], strict=True):
        some = _nondominated(loss, cost[:, 0])
        total = (sums[:, None] + loss[some]).ravel()
        price = (spent[:, None] + cost[some, 0]).ravel()
        fits = np.flatnonzero(price + rest <= limit)
        kept = fits[_nondominated(total[fits], price[fits])]
        before, path = np.divmod(kept, len(some))
        paths = np.column_stack([paths[before], some[path]])
        sums, spent = total[kept], price[kept]
    return Front(paths, sums, spent)


def _nondominated(losses: Array, costs: Array) -> Indices:
    """Places of the values that no other beats, by ascending cost; of equal ones the first."""
    order = np.lexsort((losses, costs))
    best = np.minimum.accumulate(np.append(np.inf, losses[order]))
    return order[losses[order] < best[:-1]]


def best(losses: Sequence[ArrayLike], costs: Sequence[ArrayLike], limits: ArrayLike) -> Indices | None:
    """The path of each stage, ``(stages,)``, of the network with the least summed loss within the limits.

    Args:
        losses: of each stage's paths, ``(paths of the stage,)``.
        costs: of each stage's paths, ``(paths of the stage,)`` for one cost, ``(paths of the stage, k)`` for several.
        limits: the largest sum of each cost, a number or ``(k,)``.

    Returns:
        None where no network keeps the limits.

    Raises:
        InvalidValue: shapes do not fit, or a value is not finite.
        RuntimeError: the integer program was not solved.
    """
    most = np.atleast_1d(np.asarray(limits, dtype=np.float64))
    stages = [_stage(loss, cost, i) for i, (loss, cost) in enumerate(_pairs(losses, costs))]
    if any(cost.shape[1] != len(most) for _, cost in stages):
        raise InvalidValue(f"there are {len(most)} limits, and paths have {stages[0][1].shape[1]} costs")
    if len(most) == 1 and all((cost >= 0).all() for _, cost in stages):
        found = front(losses, costs, float(most[0]))
        return found.paths[-1] if len(found.paths) else None
    return _integer_program(stages, most)


def _integer_program(stages: Sequence[tuple[Array, Array]], limits: Array) -> Indices | None:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    sizes = [len(loss) for loss, _ in stages]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    ones = csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))))  # one path of every stage
    loss, cost = np.concatenate([x for x, _ in stages]), np.concatenate([c for _, c in stages])
    scale = np.maximum(np.abs(limits), 1e-12)
    bounded = np.isfinite(limits)
    rules = [LinearConstraint(ones, 1, 1)]
    if bounded.any():
        rules.append(LinearConstraint((cost / scale).T[bounded], -np.inf, (limits / scale)[bounded]))
    answer = milp(
        loss, integrality=np.ones(len(loss)), bounds=Bounds(0, 1), constraints=rules, options={"mip_rel_gap": 0}
    )
    if answer.status == 2:  # infeasible
        return None
    if answer.x is None or answer.status != 0:
        raise RuntimeError(f"the integer program was not solved: {answer.message}")
    starts = np.append(0, np.cumsum(sizes))
    return np.array([np.argmax(answer.x[a:b]) for a, b in pairwise(starts)], dtype=np.int64)


def depth_first(losses: Sequence[ArrayLike], costs: Sequence[ArrayLike], limit: float) -> Indices | None:
    """The same network for one limit as :func:`best`, by DNA's traversal: exact, and slow where it cuts late.

    Each stage's paths are visited by ascending loss; a branch ends where the cost exceeds the limit, or the loss is no
    less than that of the best network so far, the least losses of the stages to come included.
    """
    stages = [_stage(loss, cost, i) for i, (loss, cost) in enumerate(_pairs(losses, costs))]
    orders = [np.argsort(loss, kind="stable") for loss, _ in stages]
    to_lose = np.append(np.cumsum([loss.min() for loss, _ in stages][::-1])[::-1], 0.0)
    to_spend = np.append(np.cumsum([cost[:, 0].min() for _, cost in stages][::-1])[::-1], 0.0)
    least, found = np.inf, None
    taken = np.zeros(len(stages), dtype=np.int64)

    def visit(stage: int, lost: float, spent: float) -> None:
        nonlocal least, found
        if stage == len(stages):
            least, found = lost, taken.copy()
            return
        loss, cost = stages[stage]
        for path in orders[stage]:
            if lost + loss[path] + to_lose[stage + 1] >= least:
                return  # the paths behind it lose more
            if spent + cost[path, 0] + to_spend[stage + 1] <= limit:
                taken[stage] = path
                visit(stage + 1, lost + loss[path], spent + cost[path, 0])

    visit(0, 0.0, 0.0)
    return found


def _pairs(losses: Sequence[ArrayLike], costs: Sequence[ArrayLike]) -> list[tuple[ArrayLike, ArrayLike]]:
    if len(losses) != len(costs) or not len(losses):
        raise InvalidValue(f"every stage has losses and costs; got {len(losses)} and {len(costs)} stages")
    return list(zip(losses, costs, strict=True))


def _stage(losses: ArrayLike, costs: ArrayLike, place: int) -> tuple[Array, Array]:
    """Losses ``(n,)`` and costs ``(n, k)`` of a stage, checked."""
    loss, cost = np.asarray(losses, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    cost = cost[:, None] if cost.ndim == 1 else cost
    if loss.ndim != 1 or cost.ndim != 2 or not len(loss) or len(loss) != len(cost):
        raise InvalidValue(f"stage {place + 1}: losses of shape {loss.shape} and costs of {cost.shape} do not fit")
    if not (np.isfinite(loss).all() and np.isfinite(cost).all()):
        raise InvalidValue(f"stage {place + 1}: a loss or a cost is not finite")
    return loss, cost
