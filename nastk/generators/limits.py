"""Limits: a cost that must stay below a bound, or land on a target, by a multiplier learned with the generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nastk.errors import InvalidValue
from nastk.generators.costs import CostLike


@dataclass(frozen=True)
class Limit:
    """A condition on what is generated, kept by dual ascent: the multiplier grows while the limit is broken.

    "at-most" is the Lagrangian constraint on size or FLOPs of DCA-NAS (Rajesh et al., arXiv 2307.04443); "target" the
    learned multiplier of LightNAS (Luo et al., DAC 2022), of either sign, so that one search ends at the wanted
    latency.

    Args:
        of: an objective's name, or a cost that is no objective (a function, an oracle such as params).
        bound: in the unit of the cost, positive.
        kind: "at-most" or "target".
        rate: of the ascent, in multiples of the relative violation a step.
        damping: added to the multiplier, in multiples of the present violation, so that it does not swing.
    """

    of: CostLike
    bound: float
    kind: Literal["at-most", "target"] = "at-most"
    rate: float = 0.02
    damping: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("at-most", "target"):
            raise InvalidValue(f"a limit is 'at-most' or a 'target', not {self.kind!r}")
        if not self.bound > 0:
            raise InvalidValue(f"the bound of a limit is positive, not {self.bound:g}")
