"""progressive: the largest network first, then smaller kernels, depths and widths, taught by it (once-for-all).

Cai et al., Once-for-All (ICLR 2020, arXiv 1908.09791, section 3.3). What a choice changes is seen on the networks: its
options differ from those of the largest network in kernels alone, in layers that they lack, or in channels.

Differences from the paper: channels are not sorted by importance before widths shrink, as networks do not say which of
their weights belong to one channel; depths and widths shrink to all their options at once and not one after another;
one learning rate is annealed over all phases; a step of every phase trains as many networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nastk.errors import InvalidValue, Unsupported
from nastk.spaces.base import Archs
from nastk.supernets._sharing import SharedWeights
from nastk.supernets.base import PathSupernet
from nastk.supernets.sandwich import extreme

ORDER = ("kernel", "depth", "width")
"""What shrinks in which phase; what is none of these, such as alternatives, is free with the first of them."""

Layout = dict[str, tuple[str, tuple[int, ...]]]


class Progressive(PathSupernet):
    """Progressive shrinking.

    Args:
        random: random networks a step once the largest one is trained.
        first: share of the steps that the largest network is trained alone; the phases after it share the rest.
        options: see :class:`nastk.supernets.base.PathSupernet`.

    Attributes:
        largest: ``(d,)``, by parameters.
        kinds: of each choice, what it changes: "kernel", "depth", "width" or "other".
        phases: what shrinks, in this order.
    """

    name = "progressive"

    def __init__(self, random: int = 2, first: float = 0.25, **options: Any):
        super().__init__(**options)
        if random < 1 or not 0 < first < 1:
            raise InvalidValue(f"needs 1 random network a step and a share between 0 and 1; got {random} and {first}")
        self.random, self.first = random, first

    def _begin(self) -> None:
        self.largest = extreme(self, 1)
        self.kinds = [changes(self.shared, self.largest, choice) for choice in range(self.space.d)]
        self.phases = [kind for kind in ORDER if kind in self.kinds]
        if not self.phases:
            raise Unsupported(
                f"progressive shrinking needs choices of kernels, depths or widths; those of {self.space.name} change "
                "none of them: use single-path or sandwich"
            )
        self._start = max(1, round(self.first * self.steps))
        if self.steps < self._start + len(self.phases):
            raise InvalidValue(
                f"{self.steps} steps are too few: the largest network and {', '.join(self.phases)} need one each"
            )
        self._teacher: nn.Module | None = None
        self.shared.network(self.largest)

    def _position(self) -> dict[str, Any]:
        return {"teacher": None if self._teacher is None else self._teacher.state_dict()}

    def _take_position(self, position: Mapping[str, Any]) -> None:
        if position["teacher"] is not None:
            self._teacher = self.network_of(self.largest)
            self._teacher.load_state_dict(position["teacher"])

    def _train(self, images: Tensor, labels: Tensor, step: int) -> None:
        if step < self._start:
            self.problem.loss(self._logits(images, self.largest), labels).backward()
            return
        if self._teacher is None:
            self._teacher = self.network_of(self.largest)
        with torch.no_grad():
            taught = self.problem.soften(self.problem.read(self._teacher(images)))
        phase = (step - self._start) * len(self.phases) // (self.steps - self._start)
        free = {"other", *self.phases[: phase + 1]}
        held = np.array([kind not in free for kind in self.kinds])
        for arch in self._sample(self.random, lambda drawn: np.where(held, self.largest, drawn)):
            logits = self._logits(images, arch)
            loss = self.problem.loss(logits, labels) + self.problem.distilled(logits, taught)
            (loss / self.random).backward()


def changes(shared: SharedWeights, largest: Archs, choice: int) -> str:
    """What the options of a choice change on the largest network ``(d,)``: kernel, depth, width or other.

    Where options change several, the one that shrinks last.
    """
    space, found = shared.space, set()
    own = shared.layout(largest)
    for option in range(space.sizes[choice]):
        other = largest.copy()
        other[choice] = option
        if option == largest[choice] or not space.is_valid(other[None])[0]:
            continue
        try:
            found.add(difference(own, shared.layout(other)))
        except Exception:  # one that cannot be built is left out of the training too
            continue
    return next((kind for kind in ("other", *reversed(ORDER)) if kind in found), "other")


def difference(large: Layout, small: Layout) -> str:
    """What a smaller network has less of; "other" where it is no part of the larger one, or no different."""
    if set(small) - set(large):
        return "other"
    kernel = width = False
    for name, (kind, shape) in small.items():
        before, full = large[name]
        if _but_width(kind) != _but_width(before) or len(shape) != len(full):
            return "other"
        width |= shape[:2] != full[:2]
        kernel |= shape[2:] != full[2:]
    if width:
        return "width"
    if len(small) < len(large):
        return "depth"
    return "kernel" if kernel else "other"


def _but_width(kind: str) -> str:
    """Kinds name the width of batch normalisation, which has weights of its own for each."""
    return kind.split(" of ")[0] if kind.startswith("BatchNorm") else kind
