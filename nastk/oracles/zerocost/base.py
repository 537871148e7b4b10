"""Zero-cost proxies: scores of a network from its structure and one batch, without training.

A proxy is a function of a `Pass`, which computes each forward pass, backward pass and Jacobian once for all proxies of
a call. One file per proxy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from nastk.oracles.zerocost._pass import Pass, Undefined

__all__ = ["Proxy", "Undefined"]


class Proxy(ABC):
    """A score of a network.

    Attributes:
        needs: parts of the pass that must be prepared before the forward pass: "activations",
            "codes", "features", "patterns", "ranks", "second order".
        alone: whether it runs the network itself, with other weights or inputs, after the other proxies.
        direction: whether high ("max") or low ("min") scores are good.
    """

    needs: frozenset[str] = frozenset()
    alone: bool = False
    direction: Literal["min", "max"] = "max"

    @abstractmethod
    def __call__(self, run: Pass) -> float:
        """The score.

        Raises:
            Undefined: the network or the batch lacks what the definition needs.
        """
