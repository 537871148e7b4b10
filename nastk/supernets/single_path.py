"""single-path: one uniformly drawn network a step (Guo et al., ECCV 2020, arXiv 1904.00420).

Strict fairness as an option (FairNAS: Chu et al., ICCV 2021, arXiv 1907.01845, section 3.2): a step accumulates the
gradients of as many networks as a choice has options, so that every option of every choice is trained equally often.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from nastk.spaces.base import Archs
from nastk.supernets.base import PathSupernet


class SinglePath(PathSupernet):
    """Uniform single paths.

    Args:
        fair: strict fairness; a step then costs as many passes as the largest choice has options.
        options: see :class:`nastk.supernets.base.Supernet`.
    """

    name = "single-path"

    def __init__(self, fair: bool = False, **options: Any):
        super().__init__(**options)
        self.fair = fair

    def _train(self, images: Tensor, labels: Tensor, step: int) -> None:
        paths = self._fair_paths() if self.fair else self._sample(1)
        for arch in paths:
            (self.problem.loss(self._logits(images, arch), labels) / len(paths)).backward()

    def _fair_paths(self) -> Archs:
        """As many architectures as the largest choice has options, each option once; smaller choices repeat theirs."""
        most = max(self.space.sizes)
        columns = []
        for size in self.space.sizes:
            repeats = [self._generator.permutation(size) for _ in range(-(-most // size))]
            columns.append(np.concatenate(repeats)[:most])
        archs = np.stack(columns, axis=1).astype(np.int64)
        valid = archs[self.space.is_valid(archs)]
        return valid if len(valid) else self._sample(1)
