"""sandwich: the largest, the smallest and random networks in every step, taught by the largest (in-place distillation).

Yu and Huang, Universally slimmable networks (ICCV 2019, arXiv 1903.05134, sections 3.2 and 3.3); BigNAS (Yu et al.,
ECCV 2020, arXiv 2003.11142).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from nastk.errors import InvalidValue
from nastk.spaces.base import Archs
from nastk.supernets.base import PathSupernet


class Sandwich(PathSupernet):
    """The sandwich rule.

    Args:
        random: random networks a step, beside the largest and the smallest.
        distil: teach all but the largest by its predictions rather than by the labels.
        options: see :class:`nastk.supernets.base.Supernet`; by default 300 steps.

    Attributes:
        largest, smallest: ``(d,)``, by parameters; see :func:`extreme`.
    """

    name = "sandwich"

    def __init__(self, random: int = 2, distil: bool = True, steps: int = 300, **options: Any):
        super().__init__(steps=steps, **options)
        if random < 0:
            raise InvalidValue(f"random is a number of networks of at least 0; got {random}")
        self.random, self.distil = random, distil

    def _begin(self) -> None:
        self.largest, self.smallest = (extreme(self, sign) for sign in (1, -1))

    def _train(self, images: Tensor, labels: Tensor, step: int) -> None:
        logits = self._logits(images, self.largest)
        self.problem.loss(logits, labels).backward()
        taught = self.problem.soften(logits)
        for arch in (self.smallest, *self._sample(self.random)):
            mine = self._logits(images, arch)
            (self.problem.distilled(mine, taught) if self.distil else self.problem.loss(mine, labels)).backward()


def extreme(supernet: PathSupernet, sign: int) -> Archs:
    """The largest (`sign` 1) or smallest (-1) architecture by parameters, one choice after another until none improves.

    Options that have no parameters, such as activations, stay at the first one.
    """
    space = supernet.space

    def size(arch: Archs) -> float:
        known = space.statics(arch[None], **supernet.build_options).get("params")
        if known is not None:
            return sign * float(known[0])
        try:
            network = supernet.shared.outline(arch)
        except Exception:  # combinations that cannot be built are members of some spaces
            return -np.inf
        return sign * sum(p.numel() for p in network.parameters())

    at = supernet._sample(1)[0]
    best, changed = size(at), True
    while changed:
        changed = False
        for choice, options in enumerate(space.sizes):
            for option in range(options):
                other = at.copy()
                other[choice] = option
                if option != at[choice] and space.is_valid(other[None])[0] and size(other) > best:
                    at, best, changed = other, size(other), True
    return at
