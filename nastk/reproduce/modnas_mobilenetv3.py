"""The comparison of MODNAS on MobileNetV3: accuracies of width 1.0, latencies of width 1.2, both by surrogates.

Public accuracies are those of the once-for-all network of width 1.0 at 224 pixels, HELP's latencies those of width 1.2
at many resolutions: of no network both are known, so a row of choices is judged by the accuracy of one network and the
latency of another. All networks are at 224 pixels here, the only resolution with accuracies.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from nastk.oracles.table import benchmark
from nastk.predictors.base import Task
from nastk.predictors.ridge import Ridge
from nastk.reproduce.modnas_surrogates import Predict, Surrogate, SurrogateSetting, World
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.mobilenetv3 import RESOLUTIONS, MobileNetV3
from nastk.spaces.mobilenetv3_w10 import MobileNetV3W10

Array = NDArray[np.float64]

RESOLUTION = 224
"""Side of all images, in pixels."""


class OneResolution(MobileNetV3W10):
    """`mobilenetv3-w10` at :data:`RESOLUTION` only: whatever a row says of the resolution has no effect."""

    def canonical(self, archs: Archs) -> Archs:
        return at_resolution(super().canonical(archs))


def at_resolution(archs: Archs) -> Archs:
    """The same rows with :data:`RESOLUTION`."""
    archs = np.array(archs)
    archs[:, -1] = RESOLUTIONS.index(RESOLUTION)
    return archs


class MobileNetV3Setting(SurrogateSetting):
    """Accuracy of the networks of width 1.0 against latency of those of width 1.2; see :class:`Setting`."""

    @property
    def mixed(self) -> str:
        return "accuracy of networks of width 1.0, latency of those of width 1.2 with the same choices, at 224 pixels"

    def world(self) -> World:
        return _world(tuple(self.devices()))


@lru_cache(maxsize=4)
def _world(devices: tuple[str, ...]) -> World:
    accuracies, latencies = benchmark("mobilenetv3-w10", dataset="ImageNet"), benchmark("mobilenetv3")
    narrow, wide = MobileNetV3W10(), MobileNetV3()
    archs, values = accuracies.space.enumerate(), accuracies.values("val_accuracy")
    measured = {}
    for device in devices:
        ms = latencies.values("latency", device=device)
        known = np.isfinite(ms)
        measured[device] = latencies.space.enumerate()[known], ms[known]
    return World(
        space=OneResolution(),
        whole=wide,
        place=at_resolution,
        latencies={d: Surrogate.fit(partial(_ridge, wide), *of, "ms", "min") for d, of in measured.items()},
        others={
            "val_accuracy": Surrogate.fit(partial(_ridge, narrow), archs, values, "%", "max"),
            "params": Surrogate(lambda a: narrow.statics(a)["params"], "", "min", expensive=False),
            "flops": Surrogate(lambda a: narrow.statics(a)["flops"], "", "min", expensive=False),
        },
        labelled={"val_accuracy": (archs, values)},
        measured=measured,
    )


def _ridge(space: SearchSpace, archs: Archs, values: Array) -> Predict:
    """A ridge on choices and counts."""
    fitted = Ridge("vec+statics").fit(Task(space, archs, values, "value"))
    return lambda more: fitted.predict(more).mean


SETTING = MobileNetV3Setting(
    "mobilenetv3",
    "ImageNet",
    ("val_accuracy", "latency"),
    (
        *("2080ti_1", "2080ti_32", "2080ti_64", "titan_xp_1", "titan_xp_32", "titan_xp_64", "v100_1", "v100_32"),
        *("v100_64", "titan_rtx_1", "titan_rtx_32"),
    ),
    ("titan_rtx_64",),
    steps=1000,
    true_costs=False,
)
"""The devices of the paper: eleven to train on, and HELP's test device."""
