"""Source devices that nobody has to measure: latencies calculated from what networks execute.

A calculated device adds, over all operators of a network, a launch, the multiply-adds over a rate, and the bytes over a
bandwidth: the additive form of the roofline model (Williams, Waterman & Patterson, CACM 52(4), 2009). Real devices
differ in how these weigh, which is what few-shot-gp finds out from a few measurements; that is why the constants below
are round numbers of kinds of hardware, and none is fitted to anything.

Only a few networks are traced. A calculated latency is then learned as a measured one is (`SourceModels`), which tells
those of all others within a few per mille.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import DataWarning, Unsupported
from nastk.evaluation import reason_of
from nastk.predictors._local_sources import count_networks
from nastk.predictors._source_models import SourceModels
from nastk.predictors.base import Task
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]


class Hardware(NamedTuple):
    """What a calculated device can do.

    Args:
        launch: microseconds that a kernel takes before it does anything.
        rate: multiply-adds a microsecond.
        bandwidth: bytes a microsecond.
        grouped: share of the rate that grouped (depthwise) convolutions reach.
    """

    launch: float
    rate: float
    bandwidth: float
    grouped: float = 0.25


HARDWARE = {
    "multiply-adds": Hardware(0.0, 1.0, math.inf, 1.0),
    "bytes": Hardware(0.0, math.inf, 1.0),
    "eager processor": Hardware(5.0, 20e3, 8e3),
    "compiled processor": Hardware(0.5, 30e3, 20e3),
    "graphics processor": Hardware(5.0, 1e6, 3e5),
    "edge": Hardware(1.0, 2e3, 4e3),
}
"""Compute-bound, memory-bound, launch-bound, and what is between."""

TRACED = 64
"""Networks that are traced; 200 were no better."""
LEAST = 16
"""Networks that must have been traced for anything to be learned."""


def calculated_devices(space: SearchSpace, build_options: dict[str, Any]) -> SourceModels | None:
    """Models of the calculated devices; None where the space builds no networks or does not say what they take.

    A space's are made once a process. A network that cannot be run is left out; where that leaves fewer than
    :data:`LEAST`, there are none, with a warning.
    """
    space = space.whole
    if not space.has_networks:
        return None
    try:
        space.input_shape(**build_options)
    except Unsupported:
        return None
    return _models(_Networks(space, build_options))


class _Networks:
    """The networks of a space under build options; equal where space, code and options are."""

    def __init__(self, space: SearchSpace, build_options: dict[str, Any]):
        self.space, self.build_options = space, build_options
        facts = json.dumps([space.identity(), sorted(build_options.items())], sort_keys=True, default=repr)
        self._key = facts, space.source_code()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Networks) and self._key == other._key


@lru_cache(maxsize=8)  # a search makes predictors anew, and each would trace again
def _models(networks: _Networks) -> SourceModels | None:
    from nastk.oracles.operators import operators  # torch

    space, options = networks.space, networks.build_options
    archs = space.sample_networks(count_networks(space, TRACED), seed=0)
    rows, counts, reason = [], [], ""
    for row, arch in enumerate(archs):
        try:
            counts.append(operators(space, arch, **options))
            rows.append(row)
        except (Exception, SystemExit) as error:
            reason = reason_of(error)
    if len(rows) < min(LEAST, len(archs)):
        warnings.warn(
            f"the operators of {space.name} are not known to few-shot-gp: {len(rows)} of {len(archs)} random networks "
            f"could be traced; the last failed with: {reason}",
            DataWarning,
            stacklevel=4,
        )
        return None
    tasks = list(_tasks(space, archs[rows], np.stack(counts)))
    return SourceModels.fit(tasks) if tasks else None


def _tasks(space: SearchSpace, archs: Archs, counts: Array) -> Iterator[Task]:
    """Latencies of each calculated device that tells these networks apart, in ms."""
    from nastk.oracles.operators import KINDS

    kernels, products, moved = np.moveaxis(counts, -1, 0)
    for name, hardware in HARDWARE.items():
        rates = np.where(np.array(KINDS) == "grouped convolution", hardware.grouped, 1.0) * hardware.rate
        microseconds = (hardware.launch * kernels + products / rates + moved / hardware.bandwidth).sum(axis=1)
        if microseconds.min() > 0 and np.ptp(microseconds) > 0:
            yield Task(space, archs, microseconds / 1e3, "latency", "ms", "min", device=f"calculated: {name}")


class Together:
    """Measured and calculated devices as one source of latencies (`LatencySource`).

    Attributes:
        trust: how much each weighs, ``(devices,)``. What was measured on few networks, or by a noisy clock, is
            predicted less well than what is calculated; the rank correlation of its leave-one-out predictions, squared
            twice, says how much less.
    """

    def __init__(self, measured: SourceModels | None, calculated: SourceModels):
        self.sources = [calculated] if measured is None else [measured, calculated]
        trust = np.empty(0) if measured is None else np.maximum(measured.quality, 0.0) ** 4
        self.trust: Array = np.concatenate([trust, np.ones(len(calculated.names))])

    @property
    def names(self) -> Sequence[str]:
        return [name for source in self.sources for name in source.names]

    def __call__(self, archs: Archs) -> Array:
        return np.concatenate([source(archs) for source in self.sources], axis=1)
