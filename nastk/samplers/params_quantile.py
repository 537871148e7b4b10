"""params-quantile: one architecture in each part of the range of parameters (Akhauri & Abdelfattah, MLSys 2024)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context, LatencySource
from nastk.errors import Unsupported
from nastk.samplers._quantiles import one_of_each_part
from nastk.samplers.base import Sampler
from nastk.spaces.base import Archs, SearchSpace


class ParamsQuantile(Sampler):
    """Random architectures, one from each of `n` equally full ranges of the number of parameters."""

    def _pick(
        self,
        n: int,
        space: SearchSpace,
        archs: Archs,
        rng: np.random.Generator,
        sources: LatencySource | None,
        context: Context | None,
    ) -> NDArray[np.int64]:
        statics = space.statics(archs, **(context.build_options if context else {}))
        if "params" not in statics:
            raise Unsupported(f"{space.whole.name} has no closed-form parameter count; use another sampler")
        return one_of_each_part(statics["params"], n, rng)
