"""The comparison of MODNAS on Hardware-Aware Transformers: latencies of a Raspberry Pi, a Xeon and a Titan Xp.

The table knows networks by ten features, means over the layers, and no network was measured on two devices. A latency
is therefore that of a row's features, on every device by a surrogate of its 2,000 measurements, and the ten networks
that are measured on the unseen device are among those that it measured.

There is no public table of translation quality. Without sentence pairs the other objective is the number of parameters,
to be maximised, for capacity; with them the validation loss of a small SuperTransformer that is trained on them, by a
surrogate of the losses of some networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from nastk.data.hat import MEASURED
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.goals import VALIDATION_LOSS
from nastk.oracles.table import benchmark
from nastk.reproduce.modnas_surrogates import Predict, Surrogate, SurrogateSetting, World
from nastk.spaces.base import Archs
from nastk.spaces.hat import HAT

Array = NDArray[np.float64]


EVALUATED = 200
"""Networks whose loss in the SuperTransformer is evaluated, for its surrogate and for the labels."""


@dataclass(frozen=True)
class HATSetting(SurrogateSetting):
    """One unseen device, of which ten of its own networks are measured; see :class:`Setting`.

    Args:
        pairs: text files of sentences and of their translations.
        training: steps of the SuperTransformer.
    """

    pairs: tuple[str, str] | None = None
    training: int = 200

    def with_pairs(self, source: str, target: str) -> HATSetting:
        return replace(self, pairs=(source, target), objectives=(VALIDATION_LOSS, "latency"))

    @property
    def mixed(self) -> str:
        if self.pairs is None:
            return ""
        return "loss of narrow networks trained here, latency of the full ones"

    def check(self) -> None:
        if self.dataset not in MEASURED:
            raise UnknownName("task of hat", str(self.dataset), MEASURED)
        if len(self.unseen) != 1:
            raise InvalidValue(
                f"hat has no networks that several devices measured: name one --unseen; got {len(self.unseen)}"
            )
        super().check()

    def world(self) -> World:
        return _world(str(self.dataset), self.pairs, self.training)


@lru_cache(maxsize=4)
def _world(task: str, pairs: tuple[str, str] | None, training: int) -> World:
    table, space = benchmark("hat", dataset=task), HAT()
    archs = table.space.enumerate()
    measured = {}
    for device in MEASURED[task]:
        ms = table.values("latency", device=device)
        known = np.isfinite(ms)
        measured[device] = archs[known], ms[known]
    others = {
        "params": Surrogate(lambda a: space.statics(a)["params"], "", "min", expensive=False),
        "flops": Surrogate(lambda a: space.statics(a)["flops"], "", "min", expensive=False),
    }
    labelled = {}
    if pairs is not None:
        from nastk.oracles.translation import TranslationLoss

        trained = same_features(space.sample(EVALUATED, 0, unique=True))
        losses = TranslationLoss(space, *pairs, steps=training)(trained)
        known = np.isfinite(losses)
        labelled[VALIDATION_LOSS] = trained[known], losses[known]
        # few noisy values: squares and products would promise networks that are better than any
        others[VALIDATION_LOSS] = Surrogate.fit(
            partial(_of_features, degree=1), *labelled[VALIDATION_LOSS], "nats", "min"
        )
    return World(
        space=space,
        whole=space,
        place=same_features,
        latencies={d: Surrogate.fit(_of_features, *of, "ms", "min") for d, of in measured.items()},
        others=others,
        labelled=labelled,
        measured=measured,
    )


def same_features(archs: Archs) -> Archs:
    """For each row the one in the table's form that has its ten features."""
    space = HAT()
    return space.with_features(space.features(archs))


def _of_features(archs: Archs, values: Array, degree: int = 2) -> Predict:
    """A ridge on the ten features and, of degree 2, their squares and products."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    space = HAT()
    model = make_pipeline(StandardScaler(), PolynomialFeatures(degree), StandardScaler(), Ridge(1.0))
    model.fit(space.features(archs), values)
    return lambda more: np.asarray(model.predict(space.features(more)))


SETTING = HATSetting(
    "hat",
    "wmt14ende",
    ("max:params", "latency"),
    ("raspberrypi", "xeon"),
    ("titanxp",),
    steps=1000,
    true_costs=False,
    calculated=False,
)
"""Two devices to train on and one unseen, as in the paper. Calculated latencies are left out, which take minutes."""
