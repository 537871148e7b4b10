"""Zero-cost proxies on live networks; one file per proxy."""

from __future__ import annotations

from nastk.oracles.zerocost._oracle import SeveralOutputs, ZeroCost
from nastk.oracles.zerocost._scores import Scores, zcp

__all__ = ["Scores", "SeveralOutputs", "ZeroCost", "zcp"]
