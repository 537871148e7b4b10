"""Limits: a cost that must stay below a bound or reach a target, by a multiplier learned with the generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nastk.errors import InvalidValue
from nastk.generators.costs import CostLike


@dataclass(frozen=True)
class Limit:
    """A constraint on generated architectures, by dual ascent: the multiplier grows while the constraint is violated.

    "at-most" is the Lagrangian constraint on size or FLOPs of DCA-NAS (Rajesh et al., arXiv 2307.04443); "target" is
    the learned multiplier of LightNAS (Luo et al., DAC 2022), of either sign, so that one search reaches the specified
    latency.

    Args:
        of: an objective's name, or another cost (a function, an oracle such as params).
        bound: in the unit of the cost, positive.
        kind: "at-most" or "target".
        rate: of the ascent: change of the multiplier per step and relative violation.
        damping: proportional term: added to the multiplier per current relative violation, to prevent oscillation.
    """

    of: CostLike
    bound: float
    kind: Literal["at-most", "target"] = "at-most"
    rate: float = 0.02
    damping: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("at-most", "target"):
            raise InvalidValue(f"the kind of a limit must be 'at-most' or 'target'; got {self.kind!r}")
        if not self.bound > 0:
            raise InvalidValue(f"the bound of a limit must be positive; got {self.bound:g}")
