"""Zero-cost proxies: what a network's structure, one batch and no training say about it.

A proxy is a function of a `Pass`, which computes once each forward, backward and Jacobian that the proxies of one call
ask for. One file is one proxy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from nastk.oracles.zerocost._pass import Pass, Undefined

__all__ = ["Proxy", "Undefined"]


class Proxy(ABC):
    """A score of a network.

    Attributes:
        needs: parts of the pass that it reads and that must be prepared before the forward pass: "activations",
            "codes", "second order".
        alone: whether it runs the network by itself, with other weights or inputs, after the others are done.
        direction: which scores are good.
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
